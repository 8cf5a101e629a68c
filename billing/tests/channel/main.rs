//! The rules of payment channels, one at a time, through what machines say. `channels` plays histories of all of them.

use std::sync::Arc;

use billing::{
    Nano,
    channel::{
        Account, Caps, Channel, ChannelId, CommitRefusal, Fact, FundRefusal, HoldId, Keys, Network, Notice, OnChain,
        Payee, Payer, Purse, Resolved, Settlement, Signer, Slack, Standing, State, Take, Terms, Ticket, Voucher,
        Watchtower,
        payee::{self, AcceptRefusal, PayeePolicy, ReserveRefusal},
        payer::{self, Act, Books, Coverage, HoldRefusal, OpenRefusal, PayerPolicy, Trust},
        watchtower,
    },
};

mod earning;
mod paying;
mod watching;

fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("small")
}

fn signer(seed: u8) -> Arc<Signer> {
    Arc::new(Signer::from_seed(&[seed; 32]).expect("a seed"))
}

fn account(hash: u8) -> Account {
    Account {
        workchain: 0,
        hash: [hash; 32],
    }
}

fn hold(number: u8) -> HoldId {
    HoldId([number; 16])
}

fn channel() -> Channel {
    channel_to(2, 7)
}

fn channel_to(owner: u8, address: u8) -> Channel {
    Channel {
        id: ChannelId {
            network: Network::TESTNET,
            account: account(address),
        },
        keys: Keys {
            payer: signer(1).public(),
            payee: signer(2).public(),
        },
        terms: Terms {
            network: Network::TESTNET,
            close_delay_s: 86_400,
            fee_bps: 25,
            salt: 1,
            payer: account(1),
            payee: account(owner),
            fee_dest: account(3),
        },
    }
}

fn fact(seqno: u32, deposited: u64, claimed: u64, close_at: Option<u32>) -> Fact {
    Fact {
        seqno,
        time_s: seqno,
        state: State::Open(OnChain {
            close_at,
            deposited: nano(deposited),
            claimed: nano(claimed),
        }),
    }
}

fn voucher(max: u64) -> Voucher {
    Voucher::sign(&signer(1), &channel().keys, &channel().id, nano(max)).expect("its key")
}

fn demands() -> payee::Demands {
    payee::Demands {
        network: Network::TESTNET,
        payee: account(2),
        payee_key: signer(2).public(),
        fee_bps: 25,
        fee_dest: account(3),
        least_close_delay_s: 3600,
        least_deposit: nano(100),
    }
}

const PAYEE: PayeePolicy = PayeePolicy {
    credit: Nano::ZERO,
    low_water: Nano::ZERO,
    sign_every: Nano::MOST,
    settle_above: Nano::MOST,
    settle_every_ms: i64::MAX,
    dust: Nano::ZERO,
    waive: Slack::NONE,
    patience_ms: i64::MAX,
    resend_ms: 1000,
    books: Books::Own,
};

fn payer_policy() -> PayerPolicy {
    PayerPolicy {
        trust: Trust::Attested,
        exposure_cap: nano(200),
        window: nano(50),
        top_up_below: Nano::ZERO,
        top_up_by: Nano::ZERO,
        tally_every: Nano::MOST,
        cooperate_ms: 1000,
        resend_ms: 1000,
        tolerance: Slack::NONE,
        books: Books::Own,
    }
}

fn purse(exposure: u64) -> Purse {
    Purse::new(Caps {
        exposure: nano(exposure),
        capital: nano(10_000),
        capital_of_owner: nano(5000),
        open_above: nano(7),
    })
}

/// A payee that serves; every effect of it so far is done.
fn payee(policy: PayeePolicy) -> Payee {
    let fact = fact(1, 1000, 0, None);
    let payee = Payee::accept(channel(), signer(2), policy, &demands(), false, fact, 0);
    let mut payee = payee.expect("what is demanded");
    let effects = payee.effects();
    done_by_payee(&mut payee, effects);
    payee
}

/// Syncs whatever is to be written, as long as there is something. What else was to be done, in order.
fn done_by_payee(payee: &mut Payee, mut effects: Vec<payee::Effect>) -> Vec<payee::Effect> {
    let mut done = Vec::new();
    while !effects.is_empty() {
        let mut last: Option<Ticket> = None;
        for effect in effects {
            match effect {
                payee::Effect::Persist(_, ticket) => last = Some(ticket),
                other => done.push(other),
            }
        }
        effects = last.map_or_else(Vec::new, |ticket| payee.step(payee::Event::Persisted(ticket), 0));
    }
    done
}

fn tell_payee(payee: &mut Payee, event: payee::Event) -> Vec<payee::Effect> {
    let effects = payee.step(event, 0);
    done_by_payee(payee, effects)
}

fn voucher_notice(max: u64, spent: u64) -> payee::Event {
    payee::Event::Notice(Notice::Voucher {
        voucher: voucher(max).claim(),
        spent: nano(spent),
        open: Nano::ZERO,
    })
}

fn done_by_payer(payer: &mut Payer, purse: &mut Purse, mut effects: Vec<payer::Effect>) -> Vec<payer::Effect> {
    let mut done = Vec::new();
    while !effects.is_empty() {
        let mut last: Option<Ticket> = None;
        for effect in effects {
            match effect {
                payer::Effect::Persist(_, ticket) => last = Some(ticket),
                other => done.push(other),
            }
        }
        effects = last.map_or_else(Vec::new, |ticket| payer.step(purse, payer::Event::Persisted(ticket), 0));
    }
    done
}

fn tell_payer(payer: &mut Payer, purse: &mut Purse, event: payer::Event) -> Vec<payer::Effect> {
    let effects = payer.step(purse, event, 0);
    done_by_payer(payer, purse, effects)
}

/// A payer whose channel is open and accepted, with 1,000 in it.
fn payer(channel: Channel, policy: PayerPolicy, purse: &mut Purse) -> Payer {
    let opened = Payer::open(channel, signer(1), policy, nano(1000), nano(7), false, purse, 0);
    let mut payer = opened.expect("within the caps");
    let effects = payer.effects();
    done_by_payer(&mut payer, purse, effects);
    tell_payer(&mut payer, purse, payer::Event::Chain(fact(1, 1000, 0, None)));
    tell_payer(&mut payer, purse, payer::Event::Notice(Notice::Accept {}));
    payer
}
