//! The watchtower: what it shows to the contract, and when.

use super::*;

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
