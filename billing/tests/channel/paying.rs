//! The payer: what it signs ahead, what it risks, what it does on the chain.

use super::*;

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

/// Two honest books differ by a little, over and over: what the payee has of that is lost, and ours follow.
#[test]
fn what_is_within_the_tolerance_is_lost_and_no_theft() {
    let mut purse = purse(300);
    let policy = PayerPolicy {
        tolerance: Slack {
            amount: nano(10),
            permille: 100,
        },
        ..payer_policy()
    };
    let mut payer = payer(channel(), policy, &mut purse);
    payer.hold(&mut purse, hold(1), nano(40)).expect("within the caps");
    payer.capture(&mut purse, hold(1), nano(40)).expect("held");
    let effects = payer.effects();
    done_by_payer(&mut payer, &mut purse, effects);
    assert_eq!(payer.voucher_max(), nano(90));
    let mut check = |claimed, phase, spent, loss| {
        tell_payer(
            &mut payer,
            &mut purse,
            payer::Event::Chain(fact(claimed, 1000, claimed.into(), None)),
        );
        assert_eq!(
            (payer.phase(), payer.spent(), payer.loss()),
            (phase, nano(spent), nano(loss)),
            "claimed {claimed}"
        );
        let again = Payer::restore(payer.snapshot(), signer(1), policy, 0).expect("its own records");
        assert_eq!((again.spent(), again.loss()), (payer.spent(), payer.loss()));
    };
    check(40, payer::Phase::Open, 40, 0);
    check(48, payer::Phase::Open, 48, 8);
    check(48, payer::Phase::Open, 48, 8);
    // A tenth of what was spent comes on top: 14 in all.
    check(54, payer::Phase::Open, 54, 14);
    check(60, payer::Phase::Quarantined, 54, 20);
    check(70, payer::Phase::Quarantined, 54, 30);
}

/// What is owed beside the channel is in every word of ours, and goes into it as far as that has room: that puts nothing
/// at risk.
#[test]
fn what_is_owed_beside_is_said_and_folded() {
    let mut purse = purse(0);
    let mut payer = payer(channel(), payer_policy(), &mut purse);
    let amount = nano(40);
    assert_eq!(
        payer.hold(&mut purse, hold(1), amount),
        Err(HoldRefusal::Exposure { missing: amount }),
        "others have all that may be at risk"
    );
    let ask = |payer: &mut Payer, purse: &mut Purse, number| {
        let standing = Standing {
            voucher: None,
            take: None,
            spent: Nano::ZERO,
            open: Nano::ZERO,
        };
        let question = payer::Event::Notice(Notice::Reestablish {
            question: number,
            standing,
        });
        let said = tell_payer(payer, purse, question)
            .into_iter()
            .find_map(|effect| match effect {
                payer::Effect::Send(Notice::Established { standing, .. }) => Some((standing.spent, standing.open)),
                _ => None,
            });
        said.expect("it answers")
    };
    payer.beside(&mut purse, Nano::ZERO, nano(70));
    assert_eq!(
        ask(&mut payer, &mut purse, 1),
        (Nano::ZERO, nano(70)),
        "it is under way"
    );
    payer.beside(&mut purse, nano(1040), Nano::ZERO);
    let effects = payer.effects();
    let folded = effects
        .iter()
        .position(|effect| matches!(effect, payer::Effect::Folded { amount } if *amount == nano(1000)));
    let written = effects.iter().position(
        |effect| matches!(effect, payer::Effect::Persist(payer::Record::Spent { spent, .. }, _) if *spent == nano(1000)),
    );
    assert_eq!(folded, written.map(|at| at + 1), "{effects:?}");
    done_by_payer(&mut payer, &mut purse, effects);
    assert_eq!((payer.voucher_max(), payer.exposure()), (nano(1000), Nano::ZERO));
    assert_eq!(
        ask(&mut payer, &mut purse, 2),
        (nano(1000), nano(40)),
        "there is no room for the rest"
    );
}

/// What a restart admits may be what is owed beside: it is owed once.
#[test]
fn what_a_restart_admits_is_not_owed_beside_any_more() {
    let mut purse = purse(300);
    let mut before = payer(channel(), payer_policy(), &mut purse);
    before.hold(&mut purse, hold(1), nano(40)).expect("within the caps");
    let effects = before.effects();
    done_by_payer(&mut before, &mut purse, effects);
    let mut payer = Payer::restore(before.snapshot(), signer(1), payer_policy(), 0).expect("its own records");
    payer.beside(&mut purse, nano(30), Nano::ZERO);
    let question = tell_payer(&mut payer, &mut purse, payer::Event::Connected)
        .into_iter()
        .find_map(|effect| match effect {
            payer::Effect::Send(Notice::Reestablish { question, .. }) => Some(question),
            _ => None,
        });
    // The payee has all 30 in the channel, and 5 that a crash made us forget.
    let standing = Standing {
        voucher: None,
        take: None,
        spent: nano(35),
        open: Nano::ZERO,
    };
    let answer = Notice::Established {
        question: question.expect("it asks"),
        standing,
    };
    let effects = tell_payer(&mut payer, &mut purse, payer::Event::Notice(answer));
    let folded = effects.iter().find_map(|effect| match effect {
        payer::Effect::Folded { amount } => Some(*amount),
        _ => None,
    });
    assert_eq!((payer.spent(), folded), (nano(35), Some(nano(30))));
}

/// A contract that closes pays nothing more for work.
#[test]
fn no_work_goes_over_a_channel_that_closes() {
    let mut purse = purse(300);
    let mut payer = payer(channel(), payer_policy(), &mut purse);
    tell_payer(&mut payer, &mut purse, payer::Event::Chain(fact(2, 1000, 0, Some(9))));
    assert_eq!(payer.hold(&mut purse, hold(1), nano(1)), Err(HoldRefusal::Closing));
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
