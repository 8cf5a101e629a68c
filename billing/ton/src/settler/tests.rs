use billing::channel::Network;
use tycho_types::cell::CellBuilder;

use super::*;
use crate::wallet::Signed;

mod world;

const NOW: u32 = 1_800_000_000;

fn channel(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

fn nano(nano: u64) -> Nano {
    Nano::saturating(nano)
}

fn seed() -> Seed {
    Seed::from_bytes([7; 32])
}

fn wallet() -> Wallet {
    Wallet::new(Network::TESTNET, seed().public_key())
}

fn settler() -> Settler {
    Settler::new(wallet(), seed(), Settings::USUAL).expect("they belong together")
}

fn settle(byte: u8, take: u64) -> Job {
    let mut body = CellBuilder::new();
    body.store_u64(take).expect("it fits");
    Job {
        channel: channel(byte),
        goal: Goal::Claimed(nano(take)),
        amount: nano(50_000_000),
        body: body.build().expect("a cell"),
        init: None,
    }
}

fn deposit(byte: u8, goal: u64, amount: u64) -> Job {
    Job {
        channel: channel(byte),
        goal: Goal::Deposited(nano(goal)),
        amount: nano(amount),
        body: Cell::default(),
        init: Some(StateInit::default()),
    }
}

fn open(deposited: u64, claimed: u64) -> Seen {
    Seen::Open(OnChain {
        close_at: None,
        deposited: nano(deposited),
        claimed: nano(claimed),
    })
}

fn head(time: u32) -> Head {
    Head {
        seqno: time - NOW,
        time,
    }
}

fn wallet_is(time: u32, seqno: u32, balance: u64) -> Event {
    let standing = Standing {
        seqno,
        is_deployed: seqno > 0,
        balance: nano(balance),
    };
    Event::Wallet {
        head: head(time),
        standing: Ok(standing),
    }
}

fn channel_is(byte: u8, time: u32, seen: Seen) -> Event {
    Event::Channel {
        account: channel(byte),
        head: head(time),
        seen,
    }
}

/// Steps, and confirms at once what is to be durable.
fn done(settler: &mut Settler, event: Event, now_s: u64) -> Vec<Effect> {
    let mut effects = settler.step(event, now_s);
    let number = effects.iter().find_map(|effect| match effect {
        Effect::Persist(number) => Some(*number),
        _ => None,
    });
    if let Some(number) = number {
        effects.extend(settler.step(Event::Persisted(number), now_s));
    }
    effects.retain(|effect| !matches!(effect, Effect::Persist(_)));
    effects
}

fn sent(effects: &[Effect]) -> Option<crate::wallet::Decoded> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send(message) => Some(wallet().decode(message).expect("our own message")),
        _ => None,
    })
}

/// A settler whose one settlement is in flight with number 3, until `NOW + 60`.
fn flying() -> Settler {
    let mut settler = settler();
    done(&mut settler, Event::Want(settle(1, 5)), 0);
    done(&mut settler, channel_is(1, NOW, open(10, 0)), 0);
    let effects = done(&mut settler, wallet_is(NOW, 3, 1_000_000_000), 0);
    assert!(sent(&effects).is_some(), "{effects:?}");
    settler
}

const KEY: Key = Key {
    kind: Kind::Settle,
    channel: Account {
        workchain: 0,
        hash: [1; 32],
    },
};

#[test]
fn nothing_is_sent_before_it_is_durable() {
    let mut settler = settler();
    let effects = settler.step(Event::Want(settle(1, 5)), 0);
    assert!(
        matches!(effects[..], [Effect::Persist(1), Effect::ReadChannel(_)]),
        "{effects:?}"
    );
    assert_eq!(settler.step(Event::Persisted(1), 0), [Effect::Accepted(KEY)]);
    let effects = settler.step(channel_is(1, NOW, open(10, 0)), 0);
    assert_eq!(effects, [Effect::ReadWallet]);
    let effects = settler.step(wallet_is(NOW, 3, 1_000_000_000), 0);
    assert!(
        effects.contains(&Effect::Persist(2)) && sent(&effects).is_none(),
        "{effects:?}"
    );
    assert_eq!(sent(&settler.step(Event::Tick, 100)), None);
    // A confirmation of what was never handed out confirms what was.
    let effects = settler.step(Event::Persisted(99), 101);
    let decoded = sent(&effects).expect("it is durable");
    assert_eq!((decoded.seqno, decoded.valid_until), (3, NOW + 60));
    assert_eq!(decoded.batch.payments(), [settle(1, 5).payment()]);
}

#[test]
fn what_was_executed_is_done_when_the_channel_shows_it() {
    let mut settler = flying();
    done(&mut settler, wallet_is(NOW + 5, 4, 900_000_000), 5);
    let effects = done(&mut settler, channel_is(1, NOW + 6, open(10, 4)), 6);
    assert!(
        !effects.iter().any(|effect| matches!(effect, Effect::Done(..))),
        "{effects:?}"
    );
    let effects = done(&mut settler, channel_is(1, NOW + 9, open(10, 5)), 9);
    assert_eq!(effects, [Effect::Done(KEY, Goal::Claimed(nano(5)))]);
    assert!(settler.is_idle());
}

#[test]
fn what_the_wallet_dropped_is_sent_again() {
    let mut settler = flying();
    done(&mut settler, wallet_is(NOW + 5, 4, 900_000_000), 5);
    // Not before its patience is over, by the chain's time.
    let effects = done(&mut settler, channel_is(1, NOW + 65, open(10, 0)), 500);
    assert!(
        !effects.iter().any(|effect| matches!(effect, Effect::Alert(_))),
        "{effects:?}"
    );
    let effects = done(&mut settler, channel_is(1, NOW + 66, open(10, 0)), 501);
    assert!(
        effects.contains(&Effect::Alert(Alert::NotApplied(KEY, 1))),
        "{effects:?}"
    );
    done(&mut settler, Event::Tick, 510);
    // A source that lags shows a time before: it cannot know.
    done(&mut settler, channel_is(1, NOW + 60, open(10, 0)), 511);
    assert_eq!(
        sent(&done(&mut settler, wallet_is(NOW + 70, 4, 900_000_000), 512)),
        None
    );
    done(&mut settler, channel_is(1, NOW + 70, open(10, 0)), 513);
    let again = sent(&done(&mut settler, wallet_is(NOW + 71, 4, 900_000_000), 514)).expect("sent again");
    assert_eq!((again.seqno, again.valid_until), (4, NOW + 131));
}

#[test]
fn a_message_is_made_anew_only_when_the_old_one_is_dead() {
    let mut settler = flying();
    // The same bytes again, while it may have an effect.
    let first = sent(&done(&mut settler, Event::Tick, 10)).expect("sent again");
    assert_eq!(first.seqno, 3);
    for time in [NOW + 30, NOW + 60, NOW + 90] {
        let effects = done(&mut settler, wallet_is(time, 3, 1_000_000_000), 11);
        assert!(!effects.contains(&Effect::Alert(Alert::Expired)), "{effects:?}");
    }
    let effects = done(&mut settler, wallet_is(NOW + 91, 3, 1_000_000_000), 12);
    assert!(effects.contains(&Effect::Alert(Alert::Expired)), "{effects:?}");
    assert_eq!(sent(&effects), None);
    done(&mut settler, Event::Tick, 20);
    done(&mut settler, channel_is(1, NOW + 95, open(10, 0)), 20);
    let second = sent(&done(&mut settler, wallet_is(NOW + 96, 3, 1_000_000_000), 21)).expect("made anew");
    assert_eq!((second.seqno, second.valid_until), (3, NOW + 156));
}

#[test]
fn a_source_that_goes_back_is_told() {
    let mut settler = flying();
    let effects = done(&mut settler, wallet_is(NOW + 5, 2, 1_000_000_000), 5);
    assert!(
        effects.contains(&Effect::Alert(Alert::WentBack { said: 2, known: 3 })),
        "{effects:?}"
    );
    assert_eq!(sent(&effects), None);
}

#[test]
fn a_wallet_without_coins_says_how_much_to_send_where() {
    let mut settler = settler();
    done(&mut settler, Event::Want(deposit(1, 2_000_000_000, 2_000_000_000)), 0);
    done(&mut settler, channel_is(1, NOW, Seen::Absent), 0);
    let effects = done(&mut settler, wallet_is(NOW, 0, 100_000_000), 0);
    let broke = Trouble::Broke {
        account: wallet().account(),
        has: nano(100_000_000),
        needs: nano(2_055_000_000),
    };
    assert_eq!(effects, [Effect::Alert(Alert::Trouble(broke))]);
    let said = Alert::Trouble(broke).to_string();
    let address = crate::address::raw(&wallet().account());
    assert!(said.contains(&format!("send 1.955000000 to {address}")), "{said}");
    // Once. A settlement, which is less, goes ahead of it.
    assert_eq!(done(&mut settler, wallet_is(NOW + 1, 0, 100_000_000), 1), []);
    done(&mut settler, Event::Want(settle(2, 5)), 2);
    done(&mut settler, channel_is(2, NOW + 2, open(10, 0)), 2);
    let effects = done(&mut settler, wallet_is(NOW + 3, 0, 110_000_000), 3);
    assert!(effects.contains(&Effect::Alert(Alert::Recovered)), "{effects:?}");
    let decoded = sent(&effects).expect("there is enough for it");
    assert_eq!(decoded.batch.payments(), [settle(2, 5).payment()]);
    assert!(decoded.deploys, "the wallet's first message brings its code");
}

#[test]
fn a_wallet_that_is_none_is_told() {
    let mut settler = settler();
    let unusable = Event::Wallet {
        head: head(NOW),
        standing: Err(StandingError::Frozen),
    };
    let effects = done(&mut settler, unusable, 0);
    assert_eq!(
        effects,
        [Effect::Alert(Alert::Trouble(Trouble::Unusable(StandingError::Frozen)))]
    );
    let effects = done(&mut settler, wallet_is(NOW, 3, 5), 1);
    assert_eq!(effects, [Effect::Alert(Alert::Recovered)]);
}

#[test]
fn many_settlements_are_one_message() {
    let mut settler = settler();
    let channels = 0..=255_u8;
    for byte in channels.clone() {
        done(&mut settler, Event::Want(settle(byte, 5)), 0);
    }
    for byte in channels {
        done(&mut settler, channel_is(byte, NOW, open(10, 0)), 0);
    }
    let effects = done(&mut settler, wallet_is(NOW, 1, 100_000_000_000), 0);
    let decoded = sent(&effects).expect("a message");
    assert_eq!(decoded.batch.payments().len(), 255);
    // The last one is not forgotten.
    let effects = done(&mut settler, wallet_is(NOW + 5, 2, 100_000_000_000), 5);
    assert_eq!(
        sent(&effects).expect("a message").batch.payments(),
        [settle(255, 5).payment()]
    );
}

#[test]
fn a_goal_grows_and_does_not_shrink() {
    let mut settler = flying();
    assert_eq!(
        done(&mut settler, Event::Want(settle(1, 4)), 1),
        [Effect::Accepted(KEY)]
    );
    assert_eq!(settler.jobs().collect::<Vec<_>>(), [&settle(1, 5)]);
    let effects = done(&mut settler, Event::Want(settle(1, 8)), 1);
    assert!(effects.contains(&Effect::Accepted(KEY)), "{effects:?}");
    done(&mut settler, wallet_is(NOW + 5, 4, 900_000_000), 5);
    // The smaller one arrived: the larger goes at once, and nobody is alarmed.
    let effects = done(&mut settler, channel_is(1, NOW + 6, open(10, 5)), 6);
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Alert(_) | Effect::Done(..))),
        "{effects:?}"
    );
    let decoded = sent(&done(&mut settler, wallet_is(NOW + 7, 4, 900_000_000), 7)).expect("the larger one");
    assert_eq!(decoded.batch.payments(), [settle(1, 8).payment()]);
}

#[test]
fn deposits_do_not_overlap_and_end_some_time() {
    let mut settler = settler();
    let key = deposit(1, 10, 10).key();
    assert!(done(&mut settler, Event::Want(deposit(1, 10, 10)), 0).contains(&Effect::Accepted(key)));
    let again = done(&mut settler, Event::Want(deposit(1, 10, 10)), 0);
    assert_eq!(again, [Effect::Accepted(key)]);
    let other = done(&mut settler, Event::Want(deposit(1, 20, 20)), 0);
    assert_eq!(other, [Effect::Declined(key, Declined::Busy)]);
    let (mut time, mut now_s, mut sends) = (NOW, 0, 0);
    let given_up = loop {
        (time, now_s) = (time + 601, now_s + 4000);
        done(&mut settler, Event::Tick, now_s);
        let effects = done(&mut settler, channel_is(1, time, Seen::Absent), now_s);
        if let Some(why) = effects.iter().find_map(|effect| match effect {
            Effect::GaveUp(_, why) => Some(*why),
            _ => None,
        }) {
            break why;
        }
        if sent(&done(&mut settler, wallet_is(time + 1, sends, 1_000_000_000), now_s)).is_some() {
            sends += 1;
            done(&mut settler, wallet_is(time + 2, sends, 1_000_000_000), now_s);
        }
        assert!(now_s < 1_000_000, "it goes on for ever");
    };
    assert_eq!((given_up, sends), (GaveUp::Attempts(3), 3));
    assert!(settler.is_idle());
}

#[test]
fn what_cannot_be_is_given_up_or_waited_for() {
    let check = |job: Job, seen: Seen, expect: Option<GaveUp>| {
        let mut settler = settler();
        let key = job.key();
        done(&mut settler, Event::Want(job), 0);
        let effects = done(&mut settler, channel_is(1, NOW, seen), 0);
        let given_up = effects.iter().find_map(|effect| match effect {
            Effect::GaveUp(_, why) => Some(*why),
            _ => None,
        });
        assert_eq!(given_up, expect, "{key}");
        let is_told = effects.contains(&Effect::Alert(Alert::NoChannel(key)));
        assert_eq!(is_told, expect.is_none(), "{effects:?}");
    };
    let closing = Seen::Open(OnChain {
        close_at: Some(NOW),
        deposited: nano(1),
        claimed: nano(0),
    });
    let top_up = Job {
        init: None,
        ..deposit(1, 10, 10)
    };
    check(deposit(1, 10, 10), Seen::Foreign, Some(GaveUp::Foreign));
    check(deposit(1, 10, 10), closing, Some(GaveUp::Closing));
    check(top_up, Seen::Absent, Some(GaveUp::Absent));
    // What was earned is not given up on one source's word.
    check(settle(1, 5), Seen::Absent, None);
    check(settle(1, 5), Seen::Foreign, None);
}

#[test]
fn a_goal_that_is_met_costs_nothing() {
    let check = |goal: Goal, seen: Seen| {
        let mut settler = settler();
        let job = Job { goal, ..settle(1, 5) };
        let key = job.key();
        done(&mut settler, Event::Want(job), 0);
        assert_eq!(
            done(&mut settler, channel_is(1, NOW, seen), 0),
            [Effect::Done(key, goal)]
        );
    };
    check(Goal::Claimed(nano(5)), open(10, 5));
    // Nobody gets more than there is.
    check(Goal::Claimed(nano(50)), open(10, 10));
    check(Goal::Deposited(nano(10)), open(10, 10));
    check(Goal::Gone, Seen::Absent);
    check(Goal::Closing, Seen::Absent);
    let closing = OnChain {
        close_at: Some(1),
        deposited: nano(1),
        claimed: nano(0),
    };
    check(Goal::Closing, Seen::Open(closing));
}

#[test]
fn jobs_are_bounded() {
    let mut settler = settler();
    let job = |number: usize| {
        let mut job = settle(1, 5);
        job.channel.hash[..8].copy_from_slice(&number.to_be_bytes());
        job
    };
    for number in 0..MAX_JOBS {
        settler.step(Event::Want(job(number)), 0);
    }
    let effects = settler.step(Event::Want(job(MAX_JOBS)), 0);
    assert!(
        effects.contains(&Effect::Declined(job(MAX_JOBS).key(), Declined::Full)),
        "{effects:?}"
    );
    // A large message fits, and so does what it brings along.
    let mut settler = self::settler();
    let mut large = settle(1, 5);
    let mut body = CellBuilder::new();
    body.store_zeros(1023).expect("it fits");
    for _ in 0..4 {
        body.store_reference(Cell::default()).expect("it fits");
    }
    large.body = body.build().expect("a cell");
    large.init = Some(StateInit::default());
    assert!(
        !settler
            .step(Event::Want(large), 0)
            .iter()
            .any(|effect| matches!(effect, Effect::Declined(..)))
    );
}

#[test]
fn a_journal_is_read_back() {
    let mut settler = flying();
    done(&mut settler, Event::Want(deposit(2, 9, 9)), 0);
    let journal = settler.journal();
    let text = journal.to_json();
    let again = Journal::from_json(&text).expect("a journal");
    let mut restored = Settler::restore(wallet(), seed(), Settings::USUAL, &again).expect("ours");
    // The same bytes are sent at once.
    let message = settler.in_flight.as_ref().expect("in flight").message.clone();
    assert!(restored.step(Event::Tick, 0).contains(&Effect::Send(message)));
    assert_eq!(restored.jobs().collect::<Vec<_>>(), settler.jobs().collect::<Vec<_>>());
    assert_eq!(
        restored.in_flight.as_ref().map(|flying| flying.valid_until),
        Some(NOW + 60)
    );

    let elsewhere = Wallet::new(Network::MAINNET, seed().public_key());
    let restored = Settler::restore(elsewhere, seed(), Settings::USUAL, &again);
    assert_eq!(restored.err(), Some(JournalError::Wallet));
    let mut forged = again.clone();
    let other = Seed::from_bytes([8; 32]);
    let batch = crate::wallet::Batch::new(vec![settle(1, 5).payment()]).expect("one");
    let Signed { message, .. } = Wallet::new(Network::TESTNET, other.public_key())
        .sign(&other, 3, NOW, &batch)
        .expect("it fits");
    forged.in_flight.as_mut().expect("in flight").message = message;
    let restored = Settler::restore(wallet(), seed(), Settings::USUAL, &forged);
    assert_eq!(restored.err(), Some(JournalError::Message));
    for (wrong, expect) in [
        ("", JournalError::Form),
        ("{}", JournalError::Form),
        (&text[..text.len() - 1], JournalError::Form),
        (
            &text.replace("\"version\":1", "\"version\":2"),
            JournalError::Version(2),
        ),
        (&text.replace("deposited", "withdrawn"), JournalError::Form),
    ] {
        assert_eq!(Journal::from_json(wrong).err(), Some(expect), "{wrong}");
    }
    assert!(!text.contains(&billing::receipt::to_hex(seed().reveal())));
}

/// Else what arrived looks like what did not, and the rest waits for it in vain.
#[test]
fn what_was_sent_is_known_after_a_restart() {
    let mut settler = flying();
    done(&mut settler, Event::Want(settle(1, 7)), 1);
    done(&mut settler, wallet_is(NOW + 5, 4, 900_000_000), 5);
    let journal = Journal::from_json(&settler.journal().to_json()).expect("our own");
    let mut settler = Settler::restore(wallet(), seed(), Settings::USUAL, &journal).expect("ours");
    // The smaller one arrived; the rest is sent now, and nothing is told to have failed.
    let effects = done(&mut settler, channel_is(1, NOW + 6, open(10, 5)), 6);
    assert!(
        !effects.iter().any(|effect| matches!(effect, Effect::Alert(_))),
        "{effects:?}"
    );
    let again = sent(&done(&mut settler, wallet_is(NOW + 7, 4, 900_000_000), 7)).expect("sent at once");
    assert_eq!(again.batch.payments(), [settle(1, 7).payment()]);
}

#[test]
fn a_key_of_another_wallet_is_refused() {
    let made = Settler::new(wallet(), Seed::from_bytes([8; 32]), Settings::USUAL);
    assert_eq!(made.err(), Some(StartError));
}
