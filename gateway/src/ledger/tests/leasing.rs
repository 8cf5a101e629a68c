//! What is held of what is leased.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_leased_is_held_without_asking() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let first = gateway.reserve(&payer, 10).await.expect("there is room");
    let asked = world.questions();
    let held: Vec<_> = (0..9)
        .map(|_| gateway.ledger.reserve(&payer, nano(10)).now_or_never())
        .collect();
    assert!(held.iter().all(|held| matches!(held, Some(Ok(_)))), "{held:?}");
    assert_eq!(world.questions(), asked, "nobody was asked");
    assert_eq!(gateway.ledger.affordable(&payer), Nano::ZERO);
    drop(first);
    assert_eq!(
        gateway.ledger.affordable(&payer),
        nano(10),
        "what is dropped is released"
    );
}

#[tokio::test(start_paused = true)]
async fn too_little_is_told_and_not_asked_for_again_at_once() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let refused = gateway.reserve(&payer, 130).await.expect_err("there is not so much");
    let short = ReserveError::Short {
        account: key(),
        window: Window::Total,
        missing: nano(30),
        currency: Currency::USD,
    };
    assert_eq!(refused, short);
    let asked = world.questions();
    let again = gateway.ledger.reserve(&payer, nano(130)).now_or_never();
    assert_eq!(again.expect("nobody is asked").expect_err("as before"), short);
    assert_eq!(world.questions(), asked);
    drop(gateway.reserve(&payer, 100).await.expect("so much there is"));
}

#[tokio::test(start_paused = true)]
async fn a_smaller_ask_is_not_refused_while_crumbs_are_on_their_way() {
    let world = World::new(rules(billing::Ledger::shared(), 100));
    let _other = Gateway::start(&world, "other", None).await;
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    drop(gateway.reserve(&payer, 10).await.expect("there is room"));
    assert_eq!(gateway.ledger.affordable(&payer), nano(25), "a part of it is leased");
    let refused = gateway.reserve(&payer, 130).await.expect_err("there is not so much");
    assert!(
        matches!(refused, ReserveError::Short { missing, .. } if missing == nano(30)),
        "{refused:?}"
    );
    // What is free goes back, and the answer is on its way.
    let door = Arc::new(Notify::new());
    *world.door.lock().expect("no test panics with it") = Some(door.clone());
    let ledger = gateway.ledger.clone();
    {
        let renewing = gateway.node.step();
        tokio::pin!(renewing);
        assert!(renewing.as_mut().now_or_never().is_none(), "it waits at the door");
        assert_eq!(ledger.affordable(&payer), Nano::ZERO);
        let asking = ledger.reserve(&payer, nano(100));
        tokio::pin!(asking);
        let early = asking.as_mut().now_or_never();
        assert!(early.is_none(), "the ledger was not asked: {early:?}");
        door.notify_one();
        renewing.await;
    }
    *world.door.lock().expect("no test panics with it") = None;
    drop(
        gateway
            .reserve(&payer, 100)
            .await
            .expect("that is what it was told is left"),
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_after_the_lease_and_all_comes_back_by_itself() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 10).await.expect("there is room");
    world.cut(true);
    tokio::time::advance(Duration::from_secs(26)).await;
    gateway.node.step().await;
    assert!(
        gateway.ledger.reserve(&payer, nano(10)).await.is_ok(),
        "the lease lasts"
    );
    tokio::time::advance(Duration::from_secs(2)).await;
    let refused = gateway.ledger.reserve(&payer, nano(10)).await;
    assert_eq!(refused.expect_err("the lease is over"), ReserveError::Unavailable);
    world.cut(false);
    gateway.node.step().await;
    let reserved = gateway.ledger.reserve(&payer, nano(90)).await;
    drop(reserved.expect("a new lease, with all that is not held"));
    held.capture(draft(4)).await.expect("the hold was good all the time");
    assert_eq!(world.spent(&key()), 4);
}

#[tokio::test(start_paused = true)]
async fn the_first_charged_request_waits_for_the_first_join_whatever_comes_of_it() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let payer = payer(&world);
    let mut early = Gateway::before(&world, "early", None);
    let held = early.reserve(&payer, 10).await;
    assert!(held.is_ok(), "{held:?}");

    world.cut(true);
    let mut alone = Gateway::before(&world, "alone", None);
    let began = tokio::time::Instant::now();
    for _ in 0..2 {
        let refused = alone.reserve(&payer, 10).await;
        assert_eq!(refused.expect_err("it could not join"), ReserveError::Unavailable);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "the second did not wait");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_does_not_answer_is_waited_for_two_seconds() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let began = tokio::time::Instant::now();
    let refused = gateway.ledger.reserve(&payer, nano(10)).await;
    assert_eq!(refused.expect_err("nobody renews"), ReserveError::Unavailable);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn two_nodes_never_hold_more_than_there_is_and_use_all_of_it() {
    let world = World::new(rules(billing::Ledger::shared(), 100));
    let mut one = Gateway::start(&world, "one", None).await;
    let mut other = Gateway::start(&world, "other", None).await;
    let payer = payer(&world);
    let mut held = Vec::new();
    // A refused node gives back what it has free, so that the other finds it.
    for _ in 0..8 {
        for gateway in [&mut one, &mut other] {
            while let Ok(reservation) = gateway.reserve(&payer, 7).await {
                held.push(reservation);
            }
            gateway.node.step().await;
        }
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    assert_eq!(held.len(), 14, "7 goes into 100 fourteen times");
}

#[tokio::test(start_paused = true)]
async fn a_cut_budget_holds_at_once() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 10).await.expect("there is room");
    let cut = AccountChange {
        budget: Some(Budget {
            total: Some(nano(25)),
            ..Budget::default()
        }),
        ..AccountChange::default()
    };
    world.rules().change_account(&key(), &cut).expect("it is there");
    gateway.ledger.give_back(&[key()].into());
    gateway.node.step().await;
    assert_eq!(
        gateway.ledger.affordable(&payer),
        Nano::ZERO,
        "all that was free went back"
    );
    assert!(gateway.reserve(&payer, 16).await.is_err());
    let rest = gateway
        .reserve(&payer, 15)
        .await
        .expect("so much is left of the new one");
    drop((held, rest));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_given_up_begins_anew_and_its_holds_are_void() {
    let world = World::new(rules(billing::Ledger::shared(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 10).await.expect("there is room");
    // It was stopped for longer than its lease, and another node freed what it had.
    world.rules().reap(ttl_ms() + 1);
    gateway.node.step().await;
    let refused = gateway.ledger.reserve(&payer, nano(1)).await;
    assert_eq!(refused.expect_err("it is nobody now"), ReserveError::Unavailable);
    gateway.node.step().await;
    let again = gateway.reserve(&payer, 100).await.expect("all is free again");
    let captured = held.capture(draft(4)).await;
    assert_eq!(captured.expect_err("that slice is gone"), CaptureError::Refused);
    again.capture(draft(5)).await.expect("this one is leased");
    assert_eq!(world.spent(&key()), 5);
}

#[tokio::test(start_paused = true)]
async fn a_barred_account_pays_for_nothing() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    drop(gateway.reserve(&payer, 10).await.expect("there is room"));
    gateway.ledger.bar([(key(), super::super::Bar::Disabled)].into(), true);
    let refused = gateway.ledger.reserve(&payer, nano(1)).await;
    assert_eq!(
        refused.expect_err("it is disabled"),
        ReserveError::Disabled { account: key() }
    );
}

#[test]
fn a_lease_ends_by_either_clock() {
    let state = super::super::State {
        open: Some(super::super::Fence {
            at: tokio::time::Instant::now() + Duration::from_secs(60),
            wall_ms: 1000,
        }),
        ..super::super::State::default()
    };
    assert!(state.is_open(999) && !state.is_open(1000), "the machine slept");
}

#[test]
fn spans_of_a_payer_are_those_with_a_bound() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    assert_eq!(payer(&world).bounds, [(key(), Span::Total)]);
}
