//! The payee: whom it accepts, what it serves, what it signs.

use super::*;

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
