//! What is durable here first and shipped behind.

use super::*;

fn shipper(world: &Arc<World>, disk: &Arc<Disk>) -> Shipper {
    let central = Wire {
        world: world.clone(),
        name: NODE,
        kind: JournalKind::Local,
    };
    Shipper::new(disk.clone(), Arc::new(central))
}

#[tokio::test(start_paused = true)]
async fn answers_end_while_the_ledger_is_away_and_all_is_shipped_later() {
    let world = World::new(rules(billing::Ledger::shared(), 1000));
    let disk = Arc::new(Disk::default());
    let mut gateway = Gateway::start(&world, NODE, Some(disk.clone())).await;
    let payer = payer(&world);
    drop(gateway.reserve(&payer, 400).await.expect("there is room"));
    world.cut(true);
    for _ in 0..40 {
        let held = gateway.ledger.reserve(&payer, nano(10)).await.expect("it is leased");
        held.capture(draft(10)).await.expect("the disk of this node has it");
    }
    assert_eq!((world.spent(&key()), disk.waiting()), (0, 40));
    world.cut(false);
    let shipper = shipper(&world, &disk);
    shipper.ship().await.expect("the ledger is back");
    shipper.ship().await.expect("there is nothing left");
    assert_eq!((world.spent(&key()), disk.waiting()), (400, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_node_left_is_shipped_before_it_joins_again() {
    let world = World::new(rules(billing::Ledger::shared(), 100));
    let disk = Arc::new(Disk::default());
    let mut gateway = Gateway::start(&world, NODE, Some(disk.clone())).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 50).await.expect("there is room");
    let lost = gateway.reserve(&payer, 30).await.expect("there is room");
    held.capture(draft(40)).await.expect("the disk of this node has it");
    // Shipped, and killed before the journal heard of it: it is posted twice and counts once.
    let pending = disk.state().charges.clone();
    world
        .rules()
        .post(NODE, 1, &[pending[0].charge.clone()])
        .expect("a good charge");
    std::mem::forget(lost);
    let mut again = Gateway::start(&world, NODE, Some(disk.clone())).await;
    assert_eq!((world.spent(&key()), disk.waiting()), (40, 0));
    let held = again.reserve(&payer, 60).await.expect("the hold that was lost is free");
    let receipted = held.capture(draft(60)).await.expect("the disk has it");
    assert_eq!(receipted.charge.seq, 2, "numbers go on");
}

#[tokio::test(start_paused = true)]
async fn it_does_not_join_before_all_is_shipped() {
    let world = World::new(rules(billing::Ledger::shared(), 100));
    let disk = Arc::new(Disk::default());
    let mut gateway = Gateway::start(&world, NODE, Some(disk.clone())).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 50).await.expect("there is room");
    held.capture(draft(40)).await.expect("the disk of this node has it");
    world.cut(true);
    let mut again = Gateway::start(&world, NODE, Some(disk.clone())).await;
    let refused = again.ledger.reserve(&payer, nano(1)).await;
    assert_eq!(refused.expect_err("it has not joined"), ReserveError::Unavailable);
    assert_eq!(disk.waiting(), 1);
    world.cut(false);
    again.node.step().await;
    assert_eq!((world.spent(&key()), disk.waiting()), (40, 0));
    drop(again.reserve(&payer, 60).await.expect("the rest is there"));
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_a_node_was_forgotten_is_our_loss() {
    let world = World::new(rules(billing::Ledger::shared(), 100));
    let disk = Arc::new(Disk::default());
    let mut gateway = Gateway::start(&world, NODE, Some(disk.clone())).await;
    let payer = payer(&world);
    let held = gateway.reserve(&payer, 50).await.expect("there is room");
    held.capture(draft(40)).await.expect("the disk of this node has it");
    world.rules().forget(NODE, ttl_ms() + 1).expect("its lease is over");
    // It learns of it, ships what it has, and is somebody again.
    gateway.node.step().await;
    gateway.node.step().await;
    assert_eq!((world.spent(&key()), disk.waiting()), (0, 0));
    let lost = world.rules().balance(&AccountId::loss(), Currency::USD);
    assert_eq!(lost.debits, nano(40));
    drop(gateway.reserve(&payer, 100).await.expect("the customer has all of it"));
}

#[tokio::test(start_paused = true)]
async fn what_is_captured_while_a_node_joins_again_is_refused_or_shipped() {
    let world = World::new(rules(billing::Ledger::shared(), 100));
    let disk = Arc::new(Disk::default());
    let mut gateway = Gateway::start(&world, NODE, Some(disk.clone())).await;
    let payer = payer(&world);
    let shipped = gateway.reserve(&payer, 40).await.expect("there is room");
    let late = gateway.reserve(&payer, 10).await.expect("there is room");
    shipped.capture(draft(40)).await.expect("the disk of this node has it");
    world.rules().forget(NODE, ttl_ms() + 1).expect("its lease is over");
    gateway.node.step().await;
    // The journal is shipped, and the ledger is asked for a new incarnation.
    let door = Arc::new(Notify::new());
    *world.door.lock().expect("no test panics with it") = Some(door.clone());
    let captured = async {
        let outcome = late.capture(draft(10)).await;
        door.notify_one();
        outcome
    };
    let (_, outcome) = tokio::join!(gateway.node.step(), captured);
    assert!(outcome.is_err(), "nobody would ever ship it: {outcome:?}");
    assert_eq!(disk.waiting(), 0);
    *world.door.lock().expect("no test panics with it") = None;
    drop(gateway.reserve(&payer, 100).await.expect("it goes on"));
}

#[tokio::test(start_paused = true)]
async fn what_a_restored_ledger_lacks_is_shipped_again() {
    for is_started_again in [false, true] {
        let world = World::new(rules(billing::Ledger::shared(), 100));
        let disk = Arc::new(Disk::default());
        let mut gateway = Gateway::start(&world, NODE, Some(disk.clone())).await;
        let payer = payer(&world);
        let shipper = shipper(&world, &disk);
        let mut backup = None;
        for amount in [1, 2, 4, 8] {
            let held = gateway.reserve(&payer, amount).await.expect("there is room");
            held.capture(draft(amount)).await.expect("the disk of this node has it");
            shipper.ship().await.expect("the ledger is there");
            backup.get_or_insert_with(|| world.rules().clone());
        }
        assert_eq!((world.spent(&key()), disk.waiting()), (15, 0));
        *world.rules() = backup.expect("the first was shipped");
        let expected = if is_started_again {
            gateway = Gateway::start(&world, NODE, Some(disk.clone())).await;
            15
        } else {
            let held = gateway.reserve(&payer, 16).await.expect("it is leased yet");
            held.capture(draft(16)).await.expect("the disk of this node has it");
            shipper.ship().await.expect("what is lacking is here");
            31
        };
        assert_eq!((world.spent(&key()), disk.waiting()), (expected, 0));
        drop(gateway.reserve(&payer, 100 - expected).await.expect("it goes on"));
    }
}
