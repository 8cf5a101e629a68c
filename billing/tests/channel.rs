//! The rules of payment channels, one at a time, through what machines say. `channels` plays histories of all of them.

use std::sync::Arc;

use billing::{
    Nano,
    channel::{
        Account, Caps, Channel, ChannelId, CommitRefusal, Fact, FundRefusal, HoldId, Keys, Network, Notice, OnChain,
        Payee, Payer, Purse, Resolved, Settlement, Signer, Standing, State, Take, Terms, Ticket, Voucher, Watchtower,
        payee::{self, AcceptRefusal, PayeePolicy, ReserveRefusal},
        payer::{self, Act, Books, Coverage, HoldRefusal, OpenRefusal, PayerPolicy, Trust},
        watchtower,
    },
};

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
    waive: Nano::ZERO,
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

#[test]
fn a_channel_is_accepted_as_demanded_or_refused_by_name() {
    let check = |change: fn(&mut Channel, &mut Fact), is_buried, code: Option<&str>| {
        let (mut channel, mut fact) = (channel(), fact(1, 1000, 0, None));
        change(&mut channel, &mut fact);
        let refusal = demands().check(&channel, is_buried, &fact).err();
        assert_eq!(refusal.as_ref().map(AcceptRefusal::code), code, "{refusal:?}");
    };
    check(|_, _| {}, false, None);
    check(|c, _| c.id.network = Network::MAINNET, false, Some("network"));
    check(|c, _| c.terms.network = Network::MAINNET, false, Some("network"));
    check(|c, _| c.id.account.workchain = -1, false, Some("workchain"));
    check(|c, _| c.terms.payee = account(9), false, Some("payee"));
    check(|c, _| c.keys.payee = [9; 32], false, Some("payee_key"));
    check(|c, _| c.terms.fee_bps = 26, false, Some("fee"));
    check(|c, _| c.terms.fee_dest = account(9), false, Some("fee"));
    check(|c, _| c.terms.close_delay_s = 3599, false, Some("close_delay"));
    check(|_, _| {}, true, Some("buried"));
    check(|_, f| f.state = State::Absent { claimed: None }, false, Some("absent"));
    check(|_, f| *f = fact(1, 1000, 0, Some(9)), false, Some("closing"));
    check(|_, f| *f = fact(1, 1000, 1, None), false, Some("used"));
    check(|_, f| *f = fact(1, 99, 0, None), false, Some("deposit"));
    // The first that applies is the answer.
    let all: fn(&mut Channel, &mut Fact) = |c, f| {
        c.terms.close_delay_s = 0;
        c.terms.fee_bps = 1;
        *f = fact(1, 0, 0, Some(1));
    };
    check(all, true, Some("fee"));
}

#[test]
fn headroom_is_what_is_covered_and_neither_spent_nor_reserved() {
    let mut payee = payee(PAYEE);
    assert_eq!(
        payee.reserve(hold(1), nano(1), 0),
        Err(ReserveRefusal::Short { voucher: nano(1) })
    );
    tell_payee(&mut payee, voucher_notice(100, 0));
    assert_eq!(payee.headroom(), nano(100));
    assert_eq!(payee.reserve(hold(1), nano(60), 0), Ok(()));
    assert_eq!(payee.reserve(hold(1), nano(60), 0), Ok(()), "the same again");
    assert_eq!(payee.headroom(), nano(40));
    assert_eq!(payee.reserve(hold(1), nano(70), 0), Ok(()), "more for the same work");
    assert_eq!(
        payee.reserve(hold(2), nano(31), 0),
        Err(ReserveRefusal::Short { voucher: nano(101) })
    );
    assert_eq!(
        payee.commit(hold(1), nano(71)),
        Err(CommitRefusal::AboveHeld {
            held: nano(70),
            amount: nano(71)
        })
    );
    assert_eq!(payee.commit(hold(1), nano(25)), Ok(Resolved::Now));
    assert_eq!(payee.commit(hold(1), nano(25)), Ok(Resolved::Before));
    assert_eq!(
        payee.commit(hold(1), nano(26)),
        Err(CommitRefusal::Otherwise { amount: nano(25) })
    );
    assert_eq!(
        payee.release(hold(1)),
        Err(CommitRefusal::Otherwise { amount: nano(25) })
    );
    assert_eq!(payee.release(hold(9)), Err(CommitRefusal::Unknown));
    assert_eq!(payee.reserve(hold(1), nano(1), 0), Err(ReserveRefusal::Resolved));
    assert_eq!(
        (payee.spent(), payee.reserved(), payee.headroom()),
        (nano(25), Nano::ZERO, nano(75))
    );
    // Above the deposit it counts up to the deposit; lower is ignored.
    tell_payee(&mut payee, voucher_notice(5000, 0));
    assert_eq!(payee.headroom(), nano(975));
    tell_payee(&mut payee, voucher_notice(50, 0));
    assert_eq!(payee.headroom(), nano(975));
    tell_payee(&mut payee, payee::Event::Chain(fact(2, 1000, 0, Some(90_000))));
    assert_eq!(payee.reserve(hold(3), nano(1), 0), Err(ReserveRefusal::Closing));
}

#[test]
fn a_voucher_counts_when_it_is_on_disk() {
    let mut payee = payee(PAYEE);
    let effects = payee.step(voucher_notice(100, 0), 0);
    assert_eq!(payee.headroom(), Nano::ZERO, "not yet");
    let mut tickets = effects.into_iter().filter_map(|effect| match effect {
        payee::Effect::Persist(_, ticket) => Some(ticket),
        _ => None,
    });
    let ticket = tickets.next().expect("the voucher is written");
    let effects = payee.step(payee::Event::Persisted(ticket), 0);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, payee::Effect::Headroom(room) if *room == nano(100)))
    );
    assert_eq!(payee.headroom(), nano(100));
}

#[test]
fn books_that_are_kept_in_a_ledger_are_told() {
    let mut payee = payee(PayeePolicy {
        books: Books::Told,
        settle_above: nano(50),
        ..PAYEE
    });
    assert_eq!(payee.reserve(hold(1), nano(1), 0), Err(ReserveRefusal::KeptElsewhere));
    assert_eq!(payee.commit(hold(1), nano(1)), Err(CommitRefusal::KeptElsewhere));
    tell_payee(&mut payee, voucher_notice(100, 60));
    let books = |spent, reserved, open| payee::Event::Books {
        spent: nano(spent),
        reserved: nano(reserved),
        open: nano(open),
    };
    let effects = tell_payee(&mut payee, books(40, 30, 10));
    assert_eq!(payee.headroom(), nano(30));
    assert!(!effects.iter().any(|effect| matches!(effect, payee::Effect::Settle(_))));
    let effects = tell_payee(&mut payee, books(60, 30, 0));
    let settled = effects.iter().find_map(|effect| match effect {
        payee::Effect::Settle(settlement) => Some(settlement.take().amount()),
        _ => None,
    });
    assert_eq!(settled, Some(nano(60)), "what is agreed, above the threshold");
}

#[test]
fn the_last_take_is_terminal_and_survives_a_crash() {
    let mut payee = payee(PAYEE);
    tell_payee(&mut payee, voucher_notice(100, 0));
    payee.reserve(hold(1), nano(40), 0).expect("covered");
    tell_payee(&mut payee, payee::Event::Close);
    assert_eq!(payee.phase(), payee::Phase::Draining, "work is under way");
    payee.commit(hold(1), nano(30)).expect("held");
    let effects = tell_payee(
        &mut payee,
        payee::Event::Notice(Notice::Tally {
            spent: nano(30),
            open: Nano::ZERO,
        }),
    );
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, payee::Effect::Settle(shown)
        if shown.take().is_last() && shown.take().amount() == nano(30)))
    );
    let again = Payee::restore(payee.snapshot(), signer(2), PAYEE, 0).expect("its own records");
    for mut payee in [payee, again] {
        assert_eq!(payee.phase(), payee::Phase::Signed);
        tell_payee(&mut payee, voucher_notice(500, 30));
        assert_eq!(payee.voucher_max(), nano(100), "no voucher is accepted any more");
        let refused = payee.reserve(hold(2), nano(1), 0);
        assert_eq!(refused, Err(ReserveRefusal::NotServing(payee::Phase::Signed)));
    }
}

#[test]
fn a_payee_that_crashed_serves_when_the_payer_has_answered() {
    let mut before = payee(PAYEE);
    tell_payee(&mut before, voucher_notice(100, 0));
    let mut payee = Payee::restore(before.snapshot(), signer(2), PAYEE, 500).expect("its own records");
    assert_eq!(
        payee.reserve(hold(2), nano(1), 0),
        Err(ReserveRefusal::NotServing(payee::Phase::Waking))
    );
    let effects = tell_payee(&mut payee, payee::Event::Connected);
    let asked = effects.iter().find_map(|effect| match effect {
        payee::Effect::Send(Notice::Reestablish { question, .. }) => Some(*question),
        _ => None,
    });
    let standing = Standing {
        voucher: None,
        take: None,
        spent: nano(12),
        open: Nano::ZERO,
    };
    let question = asked.expect("it asks");
    let answer = |question| {
        payee::Event::Notice(Notice::Established {
            question,
            standing: standing.clone(),
        })
    };
    tell_payee(&mut payee, answer(question + 1));
    assert_eq!(
        payee.phase(),
        payee::Phase::Waking,
        "an answer to nothing that was asked"
    );
    tell_payee(&mut payee, answer(question));
    assert_eq!(payee.phase(), payee::Phase::Serving);
    assert_eq!(payee.spent(), nano(12), "the payer admits what the crash lost");
}

/// It signs the last take when it knows what it forgot, not before: there is no other after it.
#[test]
fn a_payee_that_crashed_ends_when_the_payer_has_nothing_under_way() {
    let before = {
        let mut payee = payee(PAYEE);
        tell_payee(&mut payee, voucher_notice(100, 0));
        payee.snapshot()
    };
    let restored = || Payee::restore(before.clone(), signer(2), PAYEE, 500).expect("its own records");
    let answer = |question, spent, open| {
        let standing = Standing {
            voucher: None,
            take: None,
            spent: nano(spent),
            open: nano(open),
        };
        payee::Event::Notice(Notice::Established { question, standing })
    };
    let asked = |effects: &[payee::Effect]| {
        effects.iter().find_map(|effect| match effect {
            payee::Effect::Send(Notice::Reestablish { question, .. }) => Some(*question),
            _ => None,
        })
    };
    let mut payee = restored();
    let mut effects = tell_payee(&mut payee, payee::Event::Connected);
    let question = asked(&effects).expect("it asks");
    effects = tell_payee(&mut payee, payee::Event::Close);
    assert_eq!(payee.phase(), payee::Phase::Draining, "{effects:?}");
    // The payer has not noticed yet that its answer broke off, and will capture what it received of it.
    tell_payee(&mut payee, answer(question, 5, 40));
    assert_eq!(payee.phase(), payee::Phase::Draining);
    effects.clear();
    for now_ms in [1_000, 2_500, 4_000] {
        let stepped = payee.step(payee::Event::Tick, now_ms);
        effects.extend(done_by_payee(&mut payee, stepped));
    }
    let question = asked(&effects).expect("it asks again");
    tell_payee(&mut payee, answer(question, 25, 0));
    assert_eq!((payee.phase(), payee.take()), (payee::Phase::Signed, nano(25)));
    // The payer's own last word is as good as an answer.
    let mut payee = restored();
    tell_payee(&mut payee, payee::Event::Notice(Notice::Close { spent: nano(30) }));
    assert_eq!((payee.phase(), payee.take()), (payee::Phase::Signed, nano(30)));
}

/// The app left: the payer has captured what it received, and the payee still works on it. Both count the same work.
#[test]
fn what_is_under_way_is_not_admitted_as_forgotten() {
    let mut payee = payee(PAYEE);
    let tally = |spent| {
        payee::Event::Notice(Notice::Tally {
            spent: nano(spent),
            open: Nano::ZERO,
        })
    };
    tell_payee(&mut payee, voucher_notice(100, 0));
    payee.reserve(hold(1), nano(40), 0).expect("covered");
    tell_payee(&mut payee, tally(25));
    assert_eq!((payee.spent(), payee.headroom()), (Nano::ZERO, nano(60)));
    payee.commit(hold(1), nano(25)).expect("held");
    tell_payee(&mut payee, payee::Event::Tick);
    assert_eq!(payee.spent(), nano(25), "once");
    // What the payer says beyond that, with nothing under way, a crash made us forget.
    tell_payee(&mut payee, tally(30));
    assert_eq!((payee.spent(), payee.headroom()), (nano(30), nano(70)));
}

#[test]
fn vouchers_go_ahead_of_work_within_the_caps() {
    let mut purse = purse(300);
    let mut first = payer(channel(), payer_policy(), &mut purse);
    let mut second = payer(channel_to(8, 9), payer_policy(), &mut purse);
    assert_eq!(first.voucher_max(), nano(50), "a window, before anything is held");
    assert_eq!(first.hold(&mut purse, hold(1), nano(40)), Ok(Coverage::Sent));
    assert_eq!(first.voucher_max(), nano(90), "less than half a window was left");
    assert_eq!(
        first.hold(&mut purse, hold(2), nano(100)),
        Ok(Coverage::When(nano(140)))
    );
    assert_eq!(first.voucher_max(), nano(190));
    let missing = nano(20);
    assert_eq!(
        first.hold(&mut purse, hold(3), nano(80)),
        Err(HoldRefusal::Exposure { missing })
    );
    // What is left of the purse: 300 - 190 = 110.
    assert_eq!(
        second.hold(&mut purse, hold(1), nano(111)),
        Err(HoldRefusal::Exposure { missing: nano(1) })
    );
    assert_eq!(
        second.hold(&mut purse, hold(1), nano(110)),
        Ok(Coverage::When(nano(110)))
    );
    assert_eq!(purse.exposure(), nano(300));
    // What is earned is no longer at risk.
    first.capture(&mut purse, hold(2), nano(90)).expect("held");
    assert_eq!(purse.exposure(), nano(210));
    let effects = first.effects();
    done_by_payer(&mut first, &mut purse, effects);
    assert_eq!(
        first.hold(&mut purse, hold(4), nano(1000)),
        Err(HoldRefusal::Deposit { missing: nano(130) })
    );
}

#[test]
fn a_payer_whose_books_are_kept_elsewhere_asks_and_is_told() {
    let mut purse = purse(300);
    let policy = PayerPolicy {
        books: Books::Told,
        ..payer_policy()
    };
    let mut payer = payer(channel(), policy, &mut purse);
    let books = |spent, held| payer::Event::Books {
        spent: nano(spent),
        held: nano(held),
    };
    assert_eq!(
        payer.hold(&mut purse, hold(1), nano(1)),
        Err(HoldRefusal::KeptElsewhere)
    );
    assert_eq!(payer.coverage(&purse, nano(50)), Ok(Coverage::Sent));
    assert_eq!(payer.coverage(&purse, nano(120)), Ok(Coverage::When(nano(120))));
    assert_eq!(
        payer.coverage(&purse, nano(201)),
        Err(HoldRefusal::Exposure { missing: nano(1) })
    );
    let effects = tell_payer(&mut payer, &mut purse, books(0, 120));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, payer::Effect::Covered(max) if *max >= nano(120)))
    );
    assert_eq!(payer.coverage(&purse, Nano::ZERO), Ok(Coverage::Sent));
    let effects = tell_payer(&mut payer, &mut purse, books(110, 0));
    assert!(effects.iter().any(|effect| matches!(effect, payer::Effect::Send(
        Notice::Tally { spent, .. } | Notice::Voucher { spent, .. }) if *spent == nano(110))));
    assert_eq!(payer.exposure(), nano(60));
}

#[test]
fn what_a_crash_of_the_payer_forgot_is_owed_within_what_was_signed() {
    let check = |books: Books, says: u64, more: u64| {
        let mut purse = purse(300);
        let policy = PayerPolicy {
            books,
            ..payer_policy()
        };
        let before = payer(channel(), policy, &mut purse);
        assert_eq!(before.voucher_max(), nano(50));
        let mut payer = Payer::restore(before.snapshot(), signer(1), policy, 0).expect("its own records");
        assert_eq!(
            payer.coverage(&purse, nano(1)),
            Err(HoldRefusal::NotOpen(payer::Phase::Waking))
        );
        let effects = tell_payer(&mut payer, &mut purse, payer::Event::Connected);
        let asked = effects.iter().find_map(|effect| match effect {
            payer::Effect::Send(Notice::Reestablish { question, .. }) => Some(*question),
            _ => None,
        });
        let standing = Standing {
            voucher: None,
            take: None,
            spent: nano(says),
            open: Nano::ZERO,
        };
        let question = asked.expect("it asks");
        let answer = payer::Event::Notice(Notice::Established { question, standing });
        let effects = tell_payer(&mut payer, &mut purse, answer);
        let owed = effects.iter().find_map(|effect| match effect {
            payer::Effect::Owed { more } => Some(*more),
            _ => None,
        });
        assert_eq!(owed, Some(nano(more)), "{says}, {books:?}");
        if books == Books::Told {
            // A word of the books from before they had it does no harm.
            let old = payer::Event::Books {
                spent: Nano::ZERO,
                held: Nano::ZERO,
            };
            tell_payer(&mut payer, &mut purse, old);
            let told = payer::Event::Books {
                spent: nano(more),
                held: Nano::ZERO,
            };
            tell_payer(&mut payer, &mut purse, told);
            tell_payer(&mut payer, &mut purse, payer::Event::Booked(nano(more)));
        }
        assert_eq!((payer.phase(), payer.spent()), (payer::Phase::Open, nano(more)));
        let room = nano(200 - 1);
        assert!(payer.coverage(&purse, room).is_ok(), "nothing is in doubt any more");
    };
    for books in [Books::Own, Books::Told] {
        check(books, 30, 30);
        check(books, 50, 50);
        check(books, 5000, 50);
    }
}

/// The clock is set an hour ahead, or the machine slept: that is no silence of the payer.
#[test]
fn sleep_is_no_silence() {
    let mut payee = payee(PayeePolicy {
        patience_ms: 600_000,
        sign_every: nano(1),
        ..PAYEE
    });
    tell_payee(&mut payee, voucher_notice(100, 0));
    payee.reserve(hold(1), nano(40), 0).expect("covered");
    payee.commit(hold(1), nano(40)).expect("held");
    payee.step(payee::Event::Tick, 3_600_000);
    assert_eq!(payee.take(), Nano::ZERO, "not agreed");
    let mut now_ms = 3_600_000;
    while payee.take().is_zero() {
        now_ms += 50_000;
        payee.step(payee::Event::Tick, now_ms);
        assert!(now_ms <= 4_200_000);
    }
    // Of the hour one minute counted.
    assert_eq!((payee.take(), now_ms), (nano(40), 4_150_000));
}

#[test]
fn on_credit_only_what_has_matured_is_signed() {
    let mut purse = purse(300);
    let policy = PayerPolicy {
        trust: Trust::Credit,
        ..payer_policy()
    };
    let mut payer = payer(channel(), policy, &mut purse);
    assert_eq!(payer.hold(&mut purse, hold(1), nano(500)), Ok(Coverage::Sent));
    payer.capture(&mut purse, hold(1), nano(400)).expect("held");
    tell_payer(&mut payer, &mut purse, payer::Event::Tick);
    assert_eq!(payer.voucher_max(), Nano::ZERO);
    tell_payer(&mut payer, &mut purse, payer::Event::Matured(nano(150)));
    assert_eq!((payer.voucher_max(), payer.exposure()), (nano(150), Nano::ZERO));
    tell_payer(&mut payer, &mut purse, payer::Event::Matured(nano(9000)));
    assert_eq!(payer.voucher_max(), nano(400), "no more matures than was spent");
}

#[test]
fn a_payee_that_takes_too_much_is_quarantined_and_the_loss_is_booked() {
    let mut purse = purse(300);
    let mut payer = payer(channel(), payer_policy(), &mut purse);
    payer.hold(&mut purse, hold(1), nano(40)).expect("within the caps");
    payer.capture(&mut purse, hold(1), nano(30)).expect("held");
    let effects = payer.effects();
    done_by_payer(&mut payer, &mut purse, effects);
    assert_eq!(payer.voucher_max(), nano(90));
    let effects = tell_payer(&mut payer, &mut purse, payer::Event::Chain(fact(2, 1000, 90, None)));
    assert_eq!((payer.phase(), payer.loss()), (payer::Phase::Quarantined, nano(60)));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, payer::Effect::Act(Act::RequestClose)))
    );
    assert_eq!(
        payer.hold(&mut purse, hold(2), nano(1)),
        Err(HoldRefusal::NotOpen(payer::Phase::Quarantined))
    );
    let again = Payer::restore(payer.snapshot(), signer(1), payer_policy(), 0).expect("its own records");
    assert_eq!((again.phase(), again.loss()), (payer::Phase::Quarantined, nano(60)));
}

/// The same by a signature that it shows, before the chain knows of it.
#[test]
fn a_take_above_what_was_earned_is_enough() {
    let mut purse = purse(300);
    let mut payer = payer(channel(), payer_policy(), &mut purse);
    let take = |amount| {
        let take = Take::sign(&signer(2), &channel().keys, &channel().id, nano(amount)).expect("its key");
        payer::Event::Notice(Notice::Take { take: take.claim() })
    };
    payer.hold(&mut purse, hold(1), nano(40)).expect("within the caps");
    tell_payer(&mut payer, &mut purse, take(40));
    assert_eq!(payer.phase(), payer::Phase::Open, "it may have delivered what is held");
    tell_payer(&mut payer, &mut purse, take(41));
    assert_eq!(payer.phase(), payer::Phase::Quarantined);
}

/// A payee that slept while the clock was started, and then agreed to the end, gets what it earned: by our hand, for it may
/// have no coins.
#[test]
fn a_last_take_is_shown_though_the_clock_runs() {
    let mut purse = purse(300);
    let mut payer = payer(channel(), payer_policy(), &mut purse);
    payer.hold(&mut purse, hold(1), nano(40)).expect("within the caps");
    payer.capture(&mut purse, hold(1), nano(30)).expect("held");
    tell_payer(&mut payer, &mut purse, payer::Event::Close);
    tell_payer(&mut payer, &mut purse, payer::Event::Chain(fact(2, 1000, 0, Some(100))));
    let last = Take::sign_last(&signer(2), &channel().keys, &channel().id, nano(30)).expect("its key");
    let acts = |effects: Vec<payer::Effect>| -> Vec<Act> {
        let act = |effect| match effect {
            payer::Effect::Act(act) => Some(act),
            _ => None,
        };
        effects.into_iter().filter_map(act).collect()
    };
    let told = payer::Event::Notice(Notice::Take { take: last.claim() });
    let shown = acts(tell_payer(&mut payer, &mut purse, told));
    let [Act::Settle(settlement)] = &shown[..] else {
        panic!("{shown:?}");
    };
    assert_eq!(settlement.take().amount(), nano(30));
    // When we could have everything, it still comes first.
    let on_time = tell_payer(
        &mut payer,
        &mut purse,
        payer::Event::Chain(fact(100, 1000, 0, Some(100))),
    );
    assert!(!acts(on_time).contains(&Act::FinishClose));
    let later = tell_payer(
        &mut payer,
        &mut purse,
        payer::Event::Chain(fact(101, 1000, 0, Some(100))),
    );
    assert!(
        acts(later).contains(&Act::FinishClose),
        "whatever the contract has against it"
    );
}

#[test]
fn no_money_goes_where_it_should_not() {
    let open = |channel, amount, matured, is_buried, purse: &mut Purse| {
        Payer::open(
            channel,
            signer(1),
            payer_policy(),
            nano(amount),
            nano(matured),
            is_buried,
            purse,
            0,
        )
        .map(|_| ())
    };
    let mut purse = purse(300);
    let check = |opened: Result<(), OpenRefusal>, expect: Result<(), OpenRefusal>| assert_eq!(opened, expect);
    let masterchain = Channel {
        id: ChannelId {
            account: Account {
                workchain: -1,
                hash: [7; 32],
            },
            ..channel().id
        },
        ..channel()
    };
    check(
        open(masterchain, 1, 7, false, &mut purse),
        Err(OpenRefusal::Workchain(-1)),
    );
    check(open(channel(), 1, 7, true, &mut purse), Err(OpenRefusal::Buried));
    let (matured, least) = (nano(6), nano(7));
    let not_earned = FundRefusal::NotEarned { matured, least };
    check(
        open(channel(), 1, 6, false, &mut purse),
        Err(OpenRefusal::Fund(not_earned)),
    );
    let room = nano(5000);
    check(
        open(channel(), 5001, 7, false, &mut purse),
        Err(OpenRefusal::Fund(FundRefusal::OwnerCap { room })),
    );
    check(open(channel(), 5000, 7, false, &mut purse), Ok(()));
    check(open(channel_to(8, 9), 4000, 7, false, &mut purse), Ok(()));
    let room = nano(1000);
    check(
        open(channel_to(9, 10), 1001, 7, false, &mut purse),
        Err(OpenRefusal::Fund(FundRefusal::Cap { room })),
    );
}

#[test]
fn a_top_up_is_made_once_and_never_late() {
    let mut purse = purse(300);
    let mut payer = payer(channel(), payer_policy(), &mut purse);
    let acts = |effects: &[payer::Effect]| {
        let is_top_up = |effect: &&payer::Effect| matches!(effect, payer::Effect::Act(Act::TopUp { .. }));
        effects.iter().filter(is_top_up).count()
    };
    let effects = tell_payer(&mut payer, &mut purse, payer::Event::TopUp(nano(500)));
    assert_eq!(acts(&effects), 1);
    let (amount, to) = (nano(500), nano(1500));
    assert_eq!(payer.pending_payment(), Some(Act::TopUp { amount, to }));
    let effects = tell_payer(&mut payer, &mut purse, payer::Event::TopUp(nano(500)));
    assert_eq!(acts(&effects), 0, "one is under way");
    tell_payer(&mut payer, &mut purse, payer::Event::Failed(Act::TopUp { amount, to }));
    assert_eq!(payer.pending_payment(), None);
    let effects = tell_payer(&mut payer, &mut purse, payer::Event::TopUp(nano(500)));
    assert_eq!(acts(&effects), 1);
    tell_payer(&mut payer, &mut purse, payer::Event::Chain(fact(2, 1500, 0, None)));
    assert_eq!(payer.pending_payment(), None);
    tell_payer(&mut payer, &mut purse, payer::Event::Close);
    let effects = tell_payer(&mut payer, &mut purse, payer::Event::TopUp(nano(500)));
    assert_eq!(acts(&effects), 0);
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, payer::Effect::Alert(payer::Alert::LateTopUp)))
    );
}

fn take(amount: u64) -> Take {
    Take::sign(&signer(2), &channel().keys, &channel().id, nano(amount)).expect("its key")
}

fn brought(take: Take, max: u64) -> watchtower::Event {
    let settlement = Settlement::new(take, Some(voucher(max))).expect("within");
    watchtower::Event::Blob {
        channel: channel().id,
        keys: channel().keys,
        blob: settlement.claim(),
    }
}

fn bring(amount: u64, max: u64) -> watchtower::Event {
    brought(take(amount), max)
}

fn see(fact: Fact) -> watchtower::Event {
    let channel = channel().id;
    watchtower::Event::Chain { channel, fact }
}

/// What is shown to the contract, in nanoton; nothing is zero.
fn shown(effects: Vec<watchtower::Effect>) -> u64 {
    let settled = effects.into_iter().find_map(|effect| match effect {
        watchtower::Effect::Settle(settlement) => Some(settlement.take().amount().get()),
        _ => None,
    });
    settled.unwrap_or_default()
}

/// What it says that it keeps, in nanoton.
fn kept(effects: &[watchtower::Effect]) -> Option<u64> {
    effects.iter().find_map(|effect| match effect {
        watchtower::Effect::Kept { take, .. } => Some(take.get()),
        _ => None,
    })
}

/// What was to be written, and the last ticket.
fn written(effects: Vec<watchtower::Effect>) -> (Vec<watchtower::Record>, Option<Ticket>) {
    let mut records = Vec::new();
    let mut last = None;
    for effect in effects {
        if let watchtower::Effect::Persist(record, ticket) = effect {
            records.push(record);
            last = Some(ticket);
        }
    }
    (records, last)
}

#[test]
fn a_watchtower_settles_what_closes_until_it_is_paid() {
    let mut tower = Watchtower::new(1000);
    let (id, keys) = (channel().id, channel().keys);
    assert_eq!(shown(tower.step(bring(30, 90), 0)), 0);
    assert_eq!(shown(tower.step(bring(20, 90), 0)), 0);
    assert_eq!(shown(tower.step(see(fact(1, 1000, 0, None)), 0)), 0, "nobody closes");
    assert_eq!(shown(tower.step(see(fact(2, 1000, 0, Some(99))), 0)), 30);
    assert_eq!(shown(tower.step(watchtower::Event::Tick, 999)), 0);
    assert_eq!(shown(tower.step(watchtower::Event::Tick, 1000)), 30, "it had no effect");
    assert_eq!(shown(tower.step(bring(40, 90), 1001)), 40, "a better one at once");
    assert_eq!(shown(tower.step(see(fact(3, 1000, 40, Some(99))), 9000)), 0, "paid");
    assert_eq!(shown(tower.step(watchtower::Event::Tick, 20_000)), 0);
    let mut bad = Settlement::new(take(50), Some(voucher(90))).expect("within").claim();
    bad.take.amount = nano(60);
    let event = watchtower::Event::Blob {
        channel: id,
        keys,
        blob: bad,
    };
    assert!(matches!(
        tower.step(event, 20_000)[..],
        [watchtower::Effect::Alert(watchtower::Alert::BadBlob(_))]
    ));
    assert_eq!(tower.best(&id).map(|best| best.take().amount()), Some(nano(40)));
}

fn see_of(source: usize, fact: Fact) -> watchtower::Event {
    let channel = channel().id;
    watchtower::Event::Source { source, channel, fact }
}

fn is_forgotten(effects: &[watchtower::Effect]) -> bool {
    let forgets = |effect: &watchtower::Effect| matches!(effect, watchtower::Effect::Forget(_));
    effects.iter().any(forgets)
}

/// Whatever one source says of blocks far ahead, of payments or of an end: another one that shows a close is enough.
#[test]
fn a_watchtower_settles_whatever_one_of_its_sources_hides() {
    let gone = |seqno| Fact {
        seqno,
        time_s: seqno,
        state: State::Absent {
            claimed: Some(nano(1000)),
        },
    };
    for lie in [
        fact(u32::MAX, 1000, 0, None),
        fact(u32::MAX, 1000, 1000, Some(99)),
        fact(1, 10, 10, None),
        gone(u32::MAX),
    ] {
        let mut tower = Watchtower::new(1000).with_sources(2);
        tower.step(bring(30, 90), 0);
        let effects = tower.step(see_of(0, lie), 0);
        assert!(!is_forgotten(&effects), "{lie:?}");
        assert_eq!(
            shown(tower.step(see_of(1, fact(2, 1000, 0, Some(99))), 0)),
            30,
            "{lie:?}"
        );
        tower.step(see_of(0, lie), 1);
        assert_eq!(shown(tower.step(watchtower::Event::Tick, 1000)), 30, "still: {lie:?}");
        // It is paid, and gone.
        assert_eq!(
            shown(tower.step(see_of(1, fact(3, 1000, 30, Some(99))), 2000)),
            0,
            "{lie:?}"
        );
    }
    let mut tower = Watchtower::new(1000).with_sources(2);
    let ticket = written(tower.step(bring(30, 90), 0)).1.expect("it is written");
    tower.step(watchtower::Event::Persisted(ticket), 0);
    assert!(!is_forgotten(&tower.step(see_of(0, gone(5)), 0)), "only one says so");
    tower.step(see_of(1, gone(5)), 0);
    assert_eq!(tower.watched().count(), 0, "both do");
    // Where the other one never says anything, a day has to do.
    tower.step(bring(30, 90), 0);
    tower.step(see_of(0, gone(6)), 0);
    tower.step(watchtower::Event::Tick, Watchtower::GONE_AFTER_MS - 1);
    assert_eq!(tower.watched().count(), 1);
    tower.step(watchtower::Event::Tick, Watchtower::GONE_AFTER_MS);
    assert_eq!(tower.watched().count(), 0);
}

#[test]
fn a_watchtower_says_that_it_keeps_what_is_on_its_disk() {
    let mut tower = Watchtower::new(1000);
    let effects = tower.step(bring(30, 90), 0);
    assert_eq!(kept(&effects), None, "it is not on disk");
    let ticket = written(effects).1.expect("it is written");
    let effects = tower.step(watchtower::Event::Persisted(ticket), 0);
    assert_eq!(kept(&effects), Some(30));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, watchtower::Effect::Follow(_)))
    );
    // What it has already is no reason to write, and it says what it has.
    let effects = tower.step(bring(20, 90), 0);
    assert_eq!(kept(&effects), Some(30));
    assert_eq!(written(effects).0, []);
}

/// The keys are those that the first who came named; another pair is another's claim to the same address.
#[test]
fn a_watchtower_takes_nothing_by_other_keys() {
    let mut tower = Watchtower::new(1000);
    tower.step(bring(30, 90), 0);
    let theirs = Keys {
        payer: signer(3).public(),
        payee: signer(4).public(),
    };
    let channel = channel().id;
    let take = Take::sign(&signer(4), &theirs, &channel, nano(80)).expect("its key");
    let voucher = Voucher::sign(&signer(3), &theirs, &channel, nano(90)).expect("its key");
    let blob = Settlement::new(take, Some(voucher)).expect("within").claim();
    let effects = tower.step(
        watchtower::Event::Blob {
            channel,
            keys: theirs,
            blob,
        },
        0,
    );
    assert_eq!(written(effects).0, []);
    assert_eq!(shown(tower.step(see(fact(1, 1000, 0, Some(99))), 0)), 30);
}

/// A closing one gives back the rest, which is more than the same amount without.
#[test]
fn a_watchtower_keeps_the_last_take() {
    let mut tower = Watchtower::new(1000);
    let last = Take::sign_last(&signer(2), &channel().keys, &channel().id, nano(30)).expect("its key");
    tower.step(bring(30, 90), 0);
    assert_eq!(written(tower.step(brought(last, 90), 0)).0.len(), 1);
    assert!(tower.best(&channel().id).is_some_and(|best| best.take().is_last()));
    assert_eq!(written(tower.step(bring(30, 90), 0)).0, [], "it does not go back");
}

/// Nor does a clock that was set back make it wait.
#[test]
fn a_watchtower_shows_again_whatever_its_clock_does() {
    let mut tower = Watchtower::new(1000);
    tower.step(bring(30, 90), 5_000_000);
    assert_eq!(shown(tower.step(see(fact(1, 1000, 0, Some(99))), 5_000_000)), 30);
    assert_eq!(shown(tower.step(watchtower::Event::Tick, 5_000_999)), 0);
    assert_eq!(shown(tower.step(watchtower::Event::Tick, 1_000)), 30);
    // What is deposited is all there is to be had.
    assert_eq!(shown(tower.step(see(fact(2, 1000, 20, Some(99))), 2_000)), 30);
    let mut small = Watchtower::new(1000);
    small.step(bring(30, 90), 0);
    assert_eq!(
        shown(small.step(see(fact(1, 25, 25, Some(99))), 0)),
        0,
        "it has paid all"
    );
}

#[test]
fn a_watchtower_forgets_what_is_over_and_tells_what_was_missed() {
    let over = |claimed| State::Absent {
        claimed: Some(nano(claimed)),
    };
    let check = |claimed, expect: Option<u64>| {
        let mut tower = Watchtower::new(1000);
        let (mut records, _) = written(tower.step(bring(30, 90), 0));
        tower.step(see(fact(1, 1000, 0, Some(99))), 0);
        let gone = Fact {
            seqno: 2,
            time_s: 100,
            state: over(claimed),
        };
        let effects = tower.step(see(gone), 0);
        let lost = effects.iter().find_map(|effect| match effect {
            watchtower::Effect::Alert(watchtower::Alert::Missed { lost, .. }) => Some(lost.get()),
            _ => None,
        });
        assert_eq!(lost, expect, "{claimed} were claimed");
        assert_eq!(shown(tower.step(watchtower::Event::Tick, 20_000)), 0);
        records.extend(written(effects).0);
        let again = Watchtower::restore(records, 1000);
        for tower in [tower, again] {
            assert_eq!(tower.watched().count(), 0);
        }
    };
    check(30, None);
    check(10, Some(20));
    check(0, Some(30));
}
