//! What must hold of any transaction of a channel, whatever the message: every nanoton is somewhere, and nobody has what is
//! not theirs.

use billing::Nano;
use billing::channel::Account;
use billing_ton::contract::{RENT_RESERVE, Remittance, State};
use billing_ton_sim::Outcome;
use tycho_types::cell::Cell;
use tycho_types::models::{AccountState, IntAddr, MsgInfo, ShardAccount, StateInit, TxInfo};

use crate::codec::{data, opened};
use crate::fixtures::{recorded, replay};

struct Paid {
    to: Account,
    value: u128,
    forwarding: u128,
    body: Cell,
}

fn balance(state: &ShardAccount) -> u128 {
    let account = state.load_account().expect("an account");
    account.map_or(0, |account| account.balance.tokens.into_inner())
}

pub(crate) fn is_frozen(state: &ShardAccount) -> bool {
    let account = state.load_account().expect("an account");
    account.is_some_and(|account| matches!(account.state, AccountState::Frozen(_)))
}

fn account(address: &IntAddr) -> Account {
    let IntAddr::Std(address) = address else {
        panic!("an address of another form");
    };
    Account {
        workchain: address.workchain,
        hash: address.address.0,
    }
}

fn paid(messages: &[Cell]) -> Vec<Paid> {
    messages
        .iter()
        .map(|message| {
            let (info, _, body) = opened(message);
            let MsgInfo::Int(info) = info else {
                panic!("a channel sends to accounts only");
            };
            Paid {
                to: account(&info.dst),
                value: info.value.tokens.into_inner(),
                forwarding: info.fwd_fee.into_inner(),
                body,
            }
        })
        .collect()
}

fn wide(nano: Nano) -> u128 {
    u128::from(nano.get())
}

/// The fee on all that was claimed; never more than the whole, whatever the terms say.
pub(crate) fn fee_on(claimed: Nano, bps: u16) -> u128 {
    wide(claimed) * u128::from(bps.min(10_000)) / 10_000
}

/// Checks one transaction: the account before, the message, what came of it. Gives what rent left of the balance before.
pub(crate) fn check(told: &str, before: &ShardAccount, message: &Cell, outcome: &Outcome) -> u128 {
    let (info, init, _) = opened(message);
    let MsgInfo::Int(info) = info else {
        panic!("{told}: from outside");
    };
    let (from, value) = (account(&info.src), info.value.tokens.into_inner());
    let (had, has) = (balance(before), balance(&outcome.state));
    let sent = paid(&outcome.messages);

    // Every nanoton is somewhere.
    let left: u128 = sent.iter().map(|paid| paid.value + paid.forwarding).sum();
    assert_eq!(had + value, has + left + outcome.fees, "{told}: coins came or went");

    let transaction = outcome.transaction.load().expect("ours");
    let TxInfo::Ordinary(info) = transaction.load_info().expect("ours") else {
        panic!("{told}: not an ordinary transaction");
    };
    let rent = info
        .storage_phase
        .map_or(0, |phase| phase.storage_fees_collected.into_inner());
    // What there was to keep.
    let kept = had.saturating_sub(rent);

    if outcome.exit_code() != Some(0) || outcome.action != Some(0) {
        refused(told, before, outcome, &sent, (from, value, kept));
    } else if !is_frozen(&outcome.state) {
        // In the transaction that freezes an account this executor runs the code still (`fixtures::DIFFERENCES`).
        succeeded(told, before, init, outcome, &sent, (from, kept));
    }
    kept
}

fn succeeded(
    told: &str,
    before: &ShardAccount,
    init: Option<StateInit>,
    outcome: &Outcome,
    sent: &[Paid],
    (from, kept): (Account, u128),
) {
    let has = balance(&outcome.state);
    let newborn = || init.as_ref().and_then(|init| init.data.clone());
    let Some(Ok(first)) = data(before).or_else(newborn).map(|data| State::decode(&data)) else {
        // Amounts beyond ours: the official executor and this one agree on them.
        return;
    };
    let Some(last) = data(&outcome.state).map(|data| State::decode(&data)) else {
        ended(told, &first, sent, (from, kept));
        return;
    };
    let Ok(last) = last else { return };
    assert_eq!(
        (first.terms, first.keys),
        (last.terms, last.keys),
        "{told}: terms changed"
    );
    let (first, terms, last) = (first.on_chain, first.terms, last.on_chain);
    assert!(last.deposited >= first.deposited, "{told}: the deposit shrank");
    assert!(last.claimed >= first.claimed, "{told}: the claim shrank");
    assert!(
        last.claimed <= last.deposited,
        "{told}: more is claimed than was paid in"
    );
    assert!(
        first.close_at.is_none() || first.close_at == last.close_at,
        "{told}: the clock was set anew"
    );
    let delta = wide(last.claimed) - wide(first.claimed);
    payouts(told, sent, (first.claimed, last.claimed), &terms);
    assert!(has >= kept - delta, "{told}: the deposit paid for gas");
    if last.deposited > first.deposited {
        assert_eq!(first.close_at, None, "{told}: a top-up while closing");
        let owed = wide(last.deposited) - wide(last.claimed) + wide(RENT_RESERVE);
        assert!(has >= owed, "{told}: the deposit is not whole after a top-up");
        let noted = sent.iter().any(|paid| {
            paid.to == terms.payee
                && paid.value == 1
                && matches!(Remittance::decode(&paid.body), Ok(Remittance::Event { on_chain, .. }) if on_chain == last)
        });
        assert!(noted, "{told}: the payee was not told");
    }
    if last.close_at != first.close_at {
        assert_eq!(from, terms.payer, "{told}: another than the payer started the clock");
    }
}

/// Nothing changed but the balance, and that by no more than rent.
fn refused(
    told: &str,
    before: &ShardAccount,
    outcome: &Outcome,
    sent: &[Paid],
    (from, value, kept): (Account, u128, u128),
) {
    if let (Some(before), Some(after)) = (data(before), data(&outcome.state)) {
        assert_eq!(before, after, "{told}: data of a failed transaction");
    }
    assert!(balance(&outcome.state) >= kept, "{told}: a failure cost the deposit");
    assert!(sent.len() <= 1, "{told}: a failure sent more than what bounces");
    for paid in sent {
        assert_eq!(paid.to, from, "{told}: coins went elsewhere");
        assert!(paid.value <= value, "{told}: more bounced than came");
    }
}

/// The recipients have what was claimed in this transaction, to the nanoton, and nobody else anything of it.
fn payouts(told: &str, sent: &[Paid], (first, last): (Nano, Nano), terms: &billing::channel::Terms) {
    let fee = fee_on(last, terms.fee_bps) - fee_on(first, terms.fee_bps);
    let delta = wide(last) - wide(first);
    let (mut to_payee, mut to_fee) = (0, 0);
    for paid in sent {
        match Remittance::decode(&paid.body) {
            Ok(Remittance::Payout { cumulative, .. }) => {
                assert_eq!((paid.to, cumulative), (terms.payee, last), "{told}: payout");
                to_payee += paid.value;
            }
            Ok(Remittance::FeePayout { .. }) => {
                assert_eq!(paid.to, terms.fee_dest, "{told}: fee");
                to_fee += paid.value;
            }
            _ => {}
        }
    }
    assert_eq!((to_payee, to_fee), (delta - fee, fee), "{told}: what was claimed");
}

/// The payer has exactly what was left, and who sent the message what it did not need.
fn ended(told: &str, first: &State, sent: &[Paid], (from, kept): (Account, u128)) {
    let claimed = sent
        .iter()
        .find_map(|paid| match Remittance::decode(&paid.body) {
            Ok(Remittance::Payout { cumulative, .. }) => Some(cumulative),
            _ => None,
        })
        .unwrap_or(first.on_chain.claimed);
    assert!(
        claimed <= first.on_chain.deposited,
        "{told}: more is claimed than was paid in"
    );
    payouts(told, sent, (first.on_chain.claimed, claimed), &first.terms);
    let delta = wide(claimed) - wide(first.on_chain.claimed);
    let refunds: Vec<_> = sent
        .iter()
        .filter(|paid| matches!(Remittance::decode(&paid.body), Ok(Remittance::Refund { .. })))
        .map(|paid| (paid.to, paid.value))
        .collect();
    assert_eq!(refunds, [(first.terms.payer, kept - delta)], "{told}: refund");
    let last = sent.last().map(|paid| (paid.to, Remittance::decode(&paid.body)));
    assert!(
        matches!(last, Some((to, Ok(Remittance::Excesses { .. }))) if to == from),
        "{told}: the excess went elsewhere"
    );
}

#[test]
fn every_scenario_keeps_the_books() {
    for (machine, scenarios) in recorded() {
        for scenario in &scenarios {
            replay(&machine, scenario, |step, before, outcome| {
                if let Ok(outcome) = outcome {
                    let told = format!("{}: {}", scenario.name, step.name);
                    check(&told, before, &step.message(), outcome);
                }
            });
        }
    }
}

fn value_to(name: &str, step: &str, to: Account) -> u128 {
    let (_, scenarios) = &recorded()[0];
    let scenario = scenarios
        .iter()
        .find(|scenario| scenario.name == name)
        .expect("it is there");
    let step = scenario
        .steps
        .iter()
        .find(|found| found.name == step)
        .expect("it is there");
    let messages: Vec<_> = step.out().collect();
    paid(&messages)
        .into_iter()
        .filter(|paid| paid.to == to && !matches!(Remittance::decode(&paid.body), Ok(Remittance::Excesses { .. })))
        .map(|paid| paid.value)
        .sum()
}

#[test]
fn many_small_settles_pay_the_fee_of_one() {
    let fee_dest = crate::machine::party(0x33);
    let parts: u128 = (1..=12)
        .map(|at| value_to("many small settles", &format!("settle {at} nanoton"), fee_dest))
        .sum();
    let whole = value_to("the same at once", "settle 12 nanoton", fee_dest);
    // A third of 12, rounded down, and not twelve times a third of one.
    assert_eq!((parts, whole), (3, 3));
}

#[test]
fn settling_works_after_fifteen_years_of_rent() {
    let payee = crate::machine::party(0x22);
    let paid = value_to("fifteen years", "settle after fifteen years", payee);
    assert_eq!(paid, 3_000_000_000, "the payee has all that was signed");
    let payer = crate::machine::party(0x11);
    let rest = value_to("fifteen years", "close together", payer);
    assert!(
        (850_000_000..1_000_000_000).contains(&rest),
        "the rent is the payer's: {rest}"
    );
}
