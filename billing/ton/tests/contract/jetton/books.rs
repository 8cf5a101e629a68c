//! What must hold of any transaction of a channel that holds a jetton, whatever the message.

use billing::Nano;
use billing::channel::{Account, Terms};
use billing_ton::contract::Remittance;
use billing_ton::jetton::{Held, Request, State, TRANSFER, Transfer, Unpaid, Who};
use tycho_types::cell::Cell;
use tycho_types::models::{IntMsgInfo, MsgInfo, ShardAccount, TxInfo};

use super::world::{Step, account};
use crate::books::{fee_on, is_frozen};
use crate::codec::{data, opened};

fn balance(state: &ShardAccount) -> u128 {
    let account = state.load_account().expect("an account");
    account.map_or(0, |account| account.balance.tokens.into_inner())
}

fn wide(nano: Nano) -> u128 {
    u128::from(nano.get())
}

/// A message that the channel sent.
struct Out {
    info: IntMsgInfo,
    to: Account,
    body: Cell,
}

fn outs(messages: &[Cell]) -> Vec<Out> {
    messages
        .iter()
        .map(|message| {
            let (MsgInfo::Int(info), _, body) = opened(message) else {
                panic!("a channel sends to accounts only");
            };
            let to = account(&info.dst);
            Out { info, to, body }
        })
        .collect()
}

/// Checks one transaction of the channel.
pub(crate) fn check(told: &str, step: &Step) {
    let outcome = &step.outcome;
    let (MsgInfo::Int(info), init, body) = opened(&step.message) else {
        panic!("{told}: from outside");
    };
    let (had, has) = (balance(&step.before), balance(&outcome.state));
    let value = info.value.tokens.into_inner();
    let sent = outs(&outcome.messages);

    // Every nanoton is somewhere.
    let left: u128 = sent
        .iter()
        .map(|out| out.info.value.tokens.into_inner() + out.info.fwd_fee.into_inner())
        .sum();
    assert_eq!(had + value, has + left + outcome.fees, "{told}: coins came or went");

    let transaction = outcome.transaction.load().expect("ours");
    let TxInfo::Ordinary(description) = transaction.load_info().expect("ours") else {
        panic!("{told}: not an ordinary transaction");
    };
    let rent = description
        .storage_phase
        .map_or(0, |phase| phase.storage_fees_collected.into_inner());
    let kept = had.saturating_sub(rent);
    let is_success = outcome.exit_code() == Some(0) && outcome.action == Some(0);
    if !is_success {
        if let (Some(before), Some(after)) = (data(&step.before), data(&outcome.state)) {
            assert_eq!(before, after, "{told}: data of a failed transaction");
        }
        assert!(has >= kept, "{told}: a failure cost the reserve");
        let is_returned = sent.iter().all(|out| out.to == account(&info.src));
        assert!(
            sent.len() <= 1 && is_returned,
            "{told}: a failure sent more than what bounces"
        );
        return;
    }
    if is_frozen(&outcome.state) {
        return;
    }
    let newborn = || init.as_ref().and_then(|init| init.data.clone());
    let first = data(&step.before).or_else(newborn).map(|data| State::decode(&data));
    let last = data(&outcome.state).map(|data| State::decode(&data));
    let (Some(Ok(first)), Some(Ok(last))) = (first, last) else {
        panic!("{told}: the account is gone, or its data are not of the scheme");
    };
    let heard = Heard {
        from: account(&info.src),
        is_bounce: info.bounced,
        body,
    };
    steady(told, &first, &last);
    sums(told, &first, &last, &heard);
    orders(told, &first, &last, &heard, &sent);
    told_of(told, &first, &last, &heard, &sent);
    if let Some(Request::Sweep { .. }) = heard.request() {
        let settled = first.held.payee_due.is_zero() && first.held.fee_due.is_zero();
        let is_late = transaction.now >= first.held.ordered_at + SWEEP_DELAY_S;
        assert!(settled && is_late, "{told}: swept too early");
    }
    if !matches!(heard.request(), Some(Request::Sweep { .. })) {
        assert!(has >= kept, "{told}: the reserve paid for gas");
    }
}

/// A week.
const SWEEP_DELAY_S: u32 = 604_800;

/// What reached the channel.
struct Heard {
    from: Account,
    is_bounce: bool,
    body: Cell,
}

impl Heard {
    fn request(&self) -> Option<Request> {
        match self.is_bounce {
            true => None,
            false => Request::decode(&self.body).ok(),
        }
    }

    /// What the wallet returned.
    fn unpaid(&self, held: &Held) -> Option<Unpaid> {
        let is_ours = self.is_bounce && held.wallet == Some(self.from);
        is_ours.then(|| Unpaid::decode(&self.body).ok()).flatten()
    }
}

fn steady(told: &str, first: &State, last: &State) {
    assert_eq!(
        (first.terms, first.keys),
        (last.terms, last.keys),
        "{told}: terms changed"
    );
    assert_eq!(first.held.master, last.held.master, "{told}: another jetton");
    let (before, after) = (first.on_chain, last.on_chain);
    assert!(after.deposited >= before.deposited, "{told}: the deposit shrank");
    assert!(after.claimed >= before.claimed, "{told}: the claim shrank");
    assert!(
        after.claimed <= after.deposited,
        "{told}: more is claimed than was paid in"
    );
    assert!(
        before.close_at.is_none() || before.close_at == after.close_at,
        "{told}: the clock was set anew"
    );
    assert!(last.held.ended || !first.held.ended, "{told}: it ended, and lives");
    assert!(last.held.ordered_at >= first.held.ordered_at, "{told}: time went back");
    if first.held.ended {
        assert_eq!(before, after, "{told}: it ended, and changed");
    }
}

/// Who may change what.
fn sums(told: &str, first: &State, last: &State, heard: &Heard) {
    if first.held.wallet != last.held.wallet {
        assert_eq!(first.held.wallet, None, "{told}: another wallet");
        assert_eq!(
            heard.from, first.held.master,
            "{told}: named by another than the master"
        );
    }
    let credited = last.on_chain.deposited.saturating_sub(first.on_chain.deposited);
    let announced = match heard.request() {
        Some(Request::Notification { amount, .. })
            if first.held.wallet == Some(heard.from) && first.on_chain.close_at.is_none() =>
        {
            amount
        }
        _ => Nano::ZERO,
    };
    assert_eq!(credited, announced, "{told}: what is credited is what our wallet got");
    if first.on_chain.close_at != last.on_chain.close_at && !last.held.ended {
        assert_eq!(
            heard.from, first.terms.payer,
            "{told}: another than the payer started the clock"
        );
    }
    if last.on_chain.claimed != first.on_chain.claimed {
        let is_settle = matches!(heard.request(), Some(Request::Settle(_)));
        assert!(is_settle, "{told}: claimed without a settle");
    }
}

/// What is ordered is what was claimed or due, to the last unit, for whom it is.
fn orders(told: &str, first: &State, last: &State, heard: &Heard, sent: &[Out]) {
    let Some(wallet) = last.held.wallet else {
        return;
    };
    let mut ordered = [0_u128; 3];
    for out in sent.iter().filter(|out| out.to == wallet) {
        // What bounces off the channel goes back there, too.
        let Ok(order) = Transfer::decode(&out.body) else {
            panic!("{told}: the wallet is told something else");
        };
        assert!(out.info.bounce, "{told}: nobody would know that it failed");
        let Some(who) = order.who() else {
            match heard.request() {
                Some(Request::Sweep { amount, .. }) => {
                    assert!(last.held.ended && heard.from == last.terms.payer, "{told}: swept");
                    assert_eq!((order.to, order.amount), (last.terms.payer, amount), "{told}: swept");
                }
                Some(Request::Notification { amount, sender, .. }) => {
                    let to = sender.unwrap_or(last.terms.payer);
                    assert_eq!(
                        (heard.from, order.amount, order.to),
                        (wallet, amount, to),
                        "{told}: sent back"
                    );
                }
                other => panic!("{told}: {other:?} ordered a transfer for nobody"),
            }
            continue;
        };
        assert_eq!(order.to, recipient(who, &last.terms), "{told}: recipient");
        assert!(
            out.info.value.tokens.into_inner() >= wide(TRANSFER),
            "{told}: too little for the news"
        );
        ordered[index(who)] += wide(order.amount);
    }
    let unpaid = heard.unpaid(&first.held);
    let returned = |who| match unpaid {
        Some(unpaid) if unpaid.who == Some(who) => wide(unpaid.amount),
        _ => 0,
    };
    let bps = last.terms.fee_bps;
    let fee = fee_on(last.on_chain.claimed, bps) - fee_on(first.on_chain.claimed, bps);
    let delta = wide(last.on_chain.claimed) - wide(first.on_chain.claimed);
    let rest = match last.held.ended && !first.held.ended {
        true => wide(last.on_chain.deposited) - wide(last.on_chain.claimed),
        false => 0,
    };
    for (who, due) in [(Who::Payee, delta - fee), (Who::Fee, fee), (Who::Payer, rest)] {
        let (before, after) = (owed(&first.held, who), owed(&last.held, who));
        assert_eq!(
            after + ordered[index(who)],
            before + returned(who) + due,
            "{told}: what {who:?} is due"
        );
    }
}

/// The payee of the clock, and who sent what cannot be credited by having it again.
fn told_of(told: &str, first: &State, last: &State, heard: &Heard, sent: &[Out]) {
    if first.on_chain.close_at != last.on_chain.close_at && !last.held.ended {
        let note = sent.iter().any(|out| {
            let is_it = matches!(Remittance::decode(&out.body), Ok(Remittance::Event { on_chain, .. }) if on_chain == last.on_chain);
            is_it && out.to == last.terms.payee
        });
        assert!(note, "{told}: the payee was not told");
    }
    if let Some(Request::Notification { amount, .. }) = heard.request()
        && last.on_chain == first.on_chain
        && !amount.is_zero()
    {
        let back = sent.iter().any(|out| {
            let order = Transfer::decode(&out.body);
            out.to == heard.from && order.is_ok_and(|order| order.amount == amount && order.who().is_none())
        });
        assert!(back, "{told}: neither credited nor sent back");
    }
}

fn index(who: Who) -> usize {
    match who {
        Who::Payee => 0,
        Who::Fee => 1,
        Who::Payer => 2,
    }
}

fn recipient(who: Who, terms: &Terms) -> Account {
    match who {
        Who::Payee => terms.payee,
        Who::Fee => terms.fee_dest,
        Who::Payer => terms.payer,
    }
}

pub(crate) fn owed(held: &Held, who: Who) -> u128 {
    wide(match who {
        Who::Payee => held.payee_due,
        Who::Fee => held.fee_due,
        Who::Payer => held.payer_due,
    })
}
