//! What is captured, and when that is told.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_ended_together_is_written_together_and_told_after() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(gateway.reserve(&payer, 10).await.expect("there is room"));
    }
    let gate = Arc::new(Notify::new());
    *world.gate.lock().expect("no test panics with it") = Some(gate.clone());
    let mut captured: Vec<_> = held.into_iter().map(|held| held.capture(draft(3))).collect();
    tokio::task::yield_now().await;
    assert!(
        captured.iter_mut().all(|captured| captured.now_or_never().is_none()),
        "nothing is written"
    );
    assert_eq!(
        gateway.ledger.affordable(&payer),
        nano(85),
        "what is captured is spent at once"
    );
    gate.notify_one();
    for captured in &mut captured {
        if let Err(error) = captured.await {
            panic!("{error}");
        }
        gate.notify_one();
    }
    assert_eq!(*world.posts.lock().expect("no test panics with it"), [5]);
    assert_eq!(world.spent(&key()), 15);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_left_is_charged_all_the_same() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 10).await.expect("there is room");
    drop(held.capture(draft(3)));
    gateway.ledger.0.queue.flush().await;
    assert_eq!(world.spent(&key()), 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_captured_than_held() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 10).await.expect("there is room");
    let receipted = held.capture(draft(11)).await.expect("it is written");
    assert_eq!((receipted.charge.amount, receipted.charge.held), (nano(10), nano(10)));
    assert_eq!((&*receipted.charge.node, receipted.charge.seq), (NODE, 1));
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_and_told_when_it_lasts() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 10).await.expect("there is room");
    world.cut(true);
    let began = tokio::time::Instant::now();
    let captured = held.capture(draft(3)).await;
    assert_eq!(captured.expect_err("nothing was written"), CaptureError::Late);
    assert!((30..35).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(world.spent(&key()), 0);
    world.cut(false);
    gateway.ledger.0.queue.flush().await;
    assert_eq!(world.spent(&key()), 3, "it is written once it can be");
    assert_eq!(gateway.ledger.0.queue.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_for_good_spoils_no_other() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    // An organisation that nobody made, and no bound that would stop it before.
    let stranger = Arc::new(Payer {
        organisation: "org:nobody".parse().expect("a good name"),
        team: None,
        key: None,
        currency: Currency::USD,
        bounds: Vec::new(),
    });
    let mut captured = Vec::new();
    for i in 0..7 {
        let payer = if i == 4 { &stranger } else { &payer };
        captured.push(gateway.reserve(payer, 10).await.expect("there is room"));
    }
    let captured: Vec<_> = captured.into_iter().map(|held| held.capture(draft(1))).collect();
    for (i, captured) in captured.into_iter().enumerate() {
        assert_eq!(captured.await.is_err(), i == 4, "the one of {i}");
    }
    assert_eq!(world.spent(&key()), 6);
}

#[tokio::test(start_paused = true)]
async fn what_was_captured_is_written_before_the_end() {
    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let payer = payer(&world);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(gateway.reserve(&payer, 10).await.expect("there is room"));
    }
    let captured: Vec<_> = held.into_iter().map(|held| held.capture(draft(2))).collect();
    gateway.ledger.0.queue.close();
    assert_eq!(gateway.committer.await.expect("no panic"), 0);
    assert_eq!(world.spent(&key()), 6);
    drop(captured);

    let world = World::new(rules(billing::Ledger::sole(), 100));
    let mut gateway = Gateway::start(&world, NODE, None).await;
    let held = gateway.reserve(&payer, 10).await.expect("there is room");
    world.cut(true);
    let captured = held.capture(draft(2));
    gateway.ledger.0.queue.close();
    assert_eq!(gateway.committer.await.expect("no panic"), 1, "it could not be written");
    assert_eq!(captured.await.expect_err("nobody can know"), CaptureError::Late);
}
