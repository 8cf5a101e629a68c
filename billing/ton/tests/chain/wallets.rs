//! The wallet's contract takes what we sign, once.

use billing_ton::{
    Chain as _,
    wallet::{Batch, Mode, Payment},
};

use crate::scene::{Scene, UNIT, nano};
use billing::channel::Account;

fn account(number: u16) -> Account {
    let mut hash = [9; 32];
    hash[..2].copy_from_slice(&number.to_be_bytes());
    Account { workchain: 0, hash }
}

fn payment(number: u16, amount: u64) -> Payment {
    Payment {
        to: account(number),
        amount: nano(amount),
        bounce: false,
        mode: Mode::FeesApart,
        body: None,
        init: None,
    }
}

/// Blocks until what was sent has arrived.
fn settle_down(scene: &Scene) {
    for _ in 0..10 {
        scene.chain.advance(1).expect("it runs");
        scene.chain.tick().expect("it runs");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wallet_comes_into_being_with_its_first_message() {
    let scene = Scene::new(1);
    let party = scene.party(7, 2 * UNIT);
    settle_down(&scene);
    let state = scene.chain.account(party.account()).await.expect("an answer");
    let standing = party.wallet.standing(&state).expect("ours");
    assert_eq!(
        (standing.seqno, standing.is_deployed, standing.balance),
        (0, false, nano(2 * UNIT))
    );

    let until = scene.chain.now() + 60;
    let batch = Batch::new(vec![payment(1, UNIT)]).expect("one");
    let signed = party.wallet.sign(&party.seed, 0, until, &batch).expect("it fits");
    scene.chain.send(&signed.message).await.expect("it is taken");
    settle_down(&scene);
    assert_eq!(scene.balance(account(1)).await, UNIT);
    let state = scene.chain.account(party.account()).await.expect("an answer");
    let standing = party.wallet.standing(&state).expect("ours");
    assert_eq!((standing.seqno, standing.is_deployed), (1, true));

    // Once: the same again has no effect, nor has one that is too late.
    drop(scene.chain.send(&signed.message).await);
    let late = party
        .wallet
        .sign(&party.seed, 1, scene.chain.now() - 1, &batch)
        .expect("it fits");
    drop(scene.chain.send(&late.message).await);
    settle_down(&scene);
    assert_eq!(scene.balance(account(1)).await, UNIT);
    let after = scene.chain.account(party.account()).await.expect("an answer");
    assert_eq!(after.last, state.last);
}

#[tokio::test(start_paused = true)]
async fn one_message_carries_255_payments() {
    let scene = Scene::new(2);
    let party = scene.party(7, 50 * UNIT);
    settle_down(&scene);
    let payments = (0..255)
        .map(|number| payment(number, 10_000_000 + u64::from(number)))
        .collect();
    let batch = Batch::new(payments).expect("255");
    let until = scene.chain.now() + 60;
    let signed = party.wallet.sign(&party.seed, 0, until, &batch).expect("it fits");
    scene.chain.send(&signed.message).await.expect("it is taken");
    settle_down(&scene);
    for number in 0..255 {
        assert_eq!(
            scene.balance(account(number)).await,
            10_000_000 + u64::from(number),
            "{number}"
        );
    }
    // And the rest goes somewhere else, to the last coin.
    let everything = Payment {
        mode: Mode::Everything,
        ..payment(300, 0)
    };
    let batch = Batch::new(vec![everything]).expect("one");
    let until = scene.chain.now() + 60;
    let signed = party.wallet.sign(&party.seed, 1, until, &batch).expect("it fits");
    scene.chain.send(&signed.message).await.expect("it is taken");
    settle_down(&scene);
    assert_eq!(scene.balance(party.account()).await, 0);
    assert!(scene.balance(account(300)).await > 40 * UNIT);
}

#[tokio::test(start_paused = true)]
async fn what_it_cannot_pay_for_it_drops_in_silence() {
    let scene = Scene::new(3);
    let party = scene.party(7, UNIT);
    settle_down(&scene);
    let batch = Batch::new(vec![payment(1, 5 * UNIT), payment(2, UNIT / 2)]).expect("two");
    let until = scene.chain.now() + 60;
    let signed = party.wallet.sign(&party.seed, 0, until, &batch).expect("it fits");
    scene.chain.send(&signed.message).await.expect("it is taken");
    settle_down(&scene);
    assert_eq!(scene.balance(account(1)).await, 0);
    assert_eq!(scene.balance(account(2)).await, UNIT / 2);
    let state = scene.chain.account(party.account()).await.expect("an answer");
    assert_eq!(
        party.wallet.standing(&state).expect("ours").seqno,
        1,
        "the message was executed all the same"
    );
}
