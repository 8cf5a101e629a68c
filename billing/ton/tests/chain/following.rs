//! The follower tells what happened to a channel on the simulated chain.

use std::{sync::Arc, time::Duration};

use billing_ton::{
    Chain,
    follower::{Follower, Position, What, poll},
    reconciler::{self, Alert, Known, Ours, Side},
    settler::{Job, drive::News},
};
use billing_ton_sim::{Faulty, Odds};

use crate::scene::{CLOSE_DELAY_S, Channel, Memory, Scene, UNIT, nano, until};

fn is_done(news: &News) -> bool {
    matches!(news, News::Done(..))
}

/// Opened, settled, topped up, closed, opened again under the same address: followed by somebody whose process ends after
/// each round, over a source that fails often.
#[tokio::test(start_paused = true)]
async fn a_life_is_followed_over_a_bad_source() {
    let scene = Scene::new(5);
    let (payer, payee) = (scene.party(1, 40 * UNIT), scene.party(2, UNIT));
    let channel = Channel::between(&payer, &payee, 1);
    let at = channel.id.account;
    let prices = scene.prices().await;
    let chain: Arc<dyn Chain> = Arc::new(scene.chain.clone());
    let odds = Odds {
        unreachable: 300,
        limited: 100,
        ..Odds::default()
    };
    let source = Faulty::drawn(scene.chain.clone(), 5, odds);
    let follows = tokio::spawn(async move {
        let mut kept = Position::START.to_json();
        let mut told = Vec::new();
        let mut alerts = Vec::new();
        loop {
            // A new process each time, which has what was kept.
            let mut follower = Follower::new(0);
            follower.follow(at, Position::from_json(&kept).expect("what was written"));
            for event in poll(&mut follower, &source, 0).await {
                match event.what {
                    What::Current { head, seen, balance } => {
                        let ours = Ours {
                            side: Side::Payee { taken: nano(3 * UNIT) },
                            max: nano(3 * UNIT),
                            known: Known {
                                deposited: nano(0),
                                claimed: nano(0),
                            },
                            ended: told.contains(&What::Closed),
                        };
                        alerts.extend(reconciler::reconcile(&ours, &seen, balance, head, head.time.into()));
                    }
                    what => told.push(what),
                }
            }
            kept = follower.position(&at).expect("followed").to_json();
            if told.contains(&What::Redeployed) && told.last() != Some(&What::Redeployed) {
                return (told, alerts);
            }
            tokio::time::sleep(Duration::from_millis(1700)).await;
        }
    });

    let (drive, paying, mut paid) = payer.settler(chain.clone(), Memory::default());
    tokio::spawn(drive.run());
    let (drive, taking, mut taken) = payee.settler(chain, Memory::default());
    tokio::spawn(drive.run());
    // Long enough for the follower to see each state.
    let pause = || tokio::time::sleep(Duration::from_secs(60));
    let open = Job::open(&channel.terms, &channel.keys, nano(5 * UNIT), &prices).expect("little");
    paying.want(open.clone()).await.expect("it runs");
    until(&mut paid, is_done).await;
    pause().await;
    let settle = Job::settle(at, &channel.settle(&payer, &payee, 2 * UNIT, false), &prices);
    taking.want(settle).await.expect("it runs");
    until(&mut taken, is_done).await;
    pause().await;
    let now = scene.channel(at).await.expect("it is open");
    let top_up = Job::top_up(at, &now, nano(UNIT), &prices).expect("little");
    paying.want(top_up).await.expect("it runs");
    until(&mut paid, is_done).await;
    pause().await;
    paying.want(Job::request_close(at, &prices)).await.expect("it runs");
    until(&mut paid, is_done).await;
    let close_at = scene
        .channel(at)
        .await
        .and_then(|state| state.close_at)
        .expect("it closes");
    tokio::time::sleep(Duration::from_secs(u64::from(CLOSE_DELAY_S) + 60)).await;
    paying.want(Job::finish_close(at, &prices)).await.expect("it runs");
    until(&mut paid, is_done).await;
    pause().await;
    paying.want(open).await.expect("it runs");
    until(&mut paid, is_done).await;

    let (told, alerts) = follows.await.expect("no panic");
    let expect = [
        What::Opened,
        What::Deposited {
            deposited: nano(5 * UNIT),
        },
        What::Claimed {
            claimed: nano(2 * UNIT),
        },
        What::Deposited {
            deposited: nano(6 * UNIT),
        },
        What::CloseRequested { close_at },
        What::Closed,
        What::Redeployed,
        What::Deposited {
            deposited: nano(5 * UNIT),
        },
    ];
    assert_eq!(told, expect);
    // The payee had taken three and settled two when the payer began to close.
    assert!(
        alerts.contains(&Alert::Closing {
            close_at,
            at_risk: nano(UNIT)
        }),
        "{alerts:?}"
    );
    assert!(alerts.contains(&Alert::Redeployed), "{alerts:?}");
}

/// A chain that is reset, or that lies about the past.
#[tokio::test(start_paused = true)]
async fn a_chain_without_our_past_is_not_followed() {
    let scene = Scene::new(6);
    let other = Scene::new(7);
    let (payer, payee) = (scene.party(1, 40 * UNIT), scene.party(2, UNIT));
    let channel = Channel::between(&payer, &payee, 1);
    let at = channel.id.account;
    let mut follower = Follower::new(0);
    follower.follow(at, Position::START);
    for scene in [&scene, &other] {
        let chain: Arc<dyn Chain> = Arc::new(scene.chain.clone());
        scene.chain.fund(payer.account(), nano(40 * UNIT)).expect("it runs");
        let (drive, paying, mut paid) = payer.settler(chain.clone(), Memory::default());
        tokio::spawn(drive.run());
        let prices = scene.prices().await;
        let open = Job::open(&channel.terms, &channel.keys, nano(5 * UNIT), &prices).expect("little");
        paying.want(open).await.expect("it runs");
        until(&mut paid, is_done).await;
        // The second chain is younger than what we know, until it is not.
        tokio::time::sleep(Duration::from_secs(300)).await;
        let now = scene.channel(at).await.expect("it is open");
        paying
            .want(Job::top_up(at, &now, nano(UNIT), &prices).expect("little"))
            .await
            .expect("it runs");
        until(&mut paid, is_done).await;
        poll(&mut follower, chain.as_ref(), 0).await;
        assert_eq!(follower.is_lost(&at), std::ptr::eq(scene, &other));
    }
}
