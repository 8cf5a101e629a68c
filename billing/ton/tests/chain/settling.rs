//! The settler makes channels be what is wanted of them, whatever happens on the way.

use std::{sync::Arc, time::Duration};

use billing::channel::OnChain;
use billing_ton::{
    Chain,
    chain::Status,
    settler::{Alert, Goal, Job, Trouble, drive::News},
    sources::Sources,
};
use billing_ton_sim::{Faulty, Odds};

use crate::scene::{CLOSE_DELAY_S, Channel, Memory, Scene, UNIT, nano, until};

fn is_done(news: &News) -> bool {
    matches!(news, News::Done(..))
}

#[tokio::test(start_paused = true)]
async fn a_channel_lives_through_two_wallets() {
    let scene = Scene::new(1);
    let (payer, payee) = (scene.party(1, 20 * UNIT), scene.party(2, UNIT));
    let channel = Channel::between(&payer, &payee, 1);
    let at = channel.id.account;
    let prices = scene.prices().await;
    let chain: Arc<dyn Chain> = Arc::new(scene.chain.clone());
    let (drive, paying, mut paid) = payer.settler(chain.clone(), Memory::default());
    let paying_runs = tokio::spawn(drive.run());
    let (drive, taking, mut taken) = payee.settler(chain, Memory::default());
    let taking_runs = tokio::spawn(drive.run());

    // The payer's wallet, and the channel, come into being with one message.
    let open = Job::open(&channel.terms, &channel.keys, nano(5 * UNIT), &prices).expect("little");
    paying.want(open).await.expect("it runs");
    assert_eq!(
        until(&mut paid, is_done).await,
        News::Done(
            Job::open(&channel.terms, &channel.keys, nano(5 * UNIT), &prices)
                .expect("little")
                .key(),
            Goal::Deposited(nano(5 * UNIT)),
        )
    );
    let open = |deposited: u64, claimed: u64| OnChain {
        close_at: None,
        deposited: nano(deposited),
        claimed: nano(claimed),
    };
    assert_eq!(scene.channel(at).await, Some(open(5 * UNIT, 0)));

    let settle = Job::settle(at, &channel.settle(&payer, &payee, 2 * UNIT, false), &prices);
    let before = scene.balance(payee.account()).await;
    taking.want(settle).await.expect("it runs");
    until(&mut taken, is_done).await;
    assert_eq!(scene.channel(at).await, Some(open(5 * UNIT, 2 * UNIT)));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let gained = scene.balance(payee.account()).await - before;
    assert!((2 * UNIT - UNIT / 10..=2 * UNIT).contains(&gained), "{gained}");

    let top_up = Job::top_up(at, &open(5 * UNIT, 2 * UNIT), nano(UNIT), &prices).expect("little");
    paying.want(top_up).await.expect("it runs");
    until(&mut paid, is_done).await;
    assert_eq!(scene.channel(at).await, Some(open(6 * UNIT, 2 * UNIT)));

    paying.want(Job::request_close(at, &prices)).await.expect("it runs");
    until(&mut paid, is_done).await;
    assert!(scene.channel(at).await.expect("it is there").close_at.is_some());
    tokio::time::sleep(Duration::from_secs(u64::from(CLOSE_DELAY_S) + 60)).await;
    let before = scene.balance(payer.account()).await;
    paying.want(Job::finish_close(at, &prices)).await.expect("it runs");
    until(&mut paid, is_done).await;
    assert_eq!(scene.channel(at).await, None);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let refunded = scene.balance(payer.account()).await - before;
    assert!(
        (4 * UNIT - UNIT / 10..=4 * UNIT + UNIT / 10).contains(&refunded),
        "{refunded}"
    );

    drop((paying, taking));
    paying_runs.await.expect("no panic").expect("it ended well");
    taking_runs.await.expect("no panic").expect("it ended well");
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_closed_by_its_payee_at_once() {
    let scene = Scene::new(2);
    let (payer, payee) = (scene.party(1, 20 * UNIT), scene.party(2, UNIT));
    let channel = Channel::between(&payer, &payee, 1);
    let prices = scene.prices().await;
    let chain: Arc<dyn Chain> = Arc::new(scene.chain.clone());
    let (drive, orders, mut news) = payer.settler(chain.clone(), Memory::default());
    tokio::spawn(drive.run());
    let open = Job::open(&channel.terms, &channel.keys, nano(5 * UNIT), &prices).expect("little");
    orders.want(open).await.expect("it runs");
    until(&mut news, is_done).await;
    let (drive, orders, mut news) = payee.settler(chain, Memory::default());
    tokio::spawn(drive.run());
    let last = channel.settle(&payer, &payee, 3 * UNIT, true);
    orders
        .want(Job::settle(channel.id.account, &last, &prices))
        .await
        .expect("it runs");
    until(&mut news, is_done).await;
    assert_eq!(scene.channel(channel.id.account).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_wallet_without_coins_waits_for_some() {
    let scene = Scene::new(3);
    let (payer, payee) = (scene.party(1, 0), scene.party(2, 0));
    let channel = Channel::between(&payer, &payee, 1);
    let prices = scene.prices().await;
    let (drive, orders, mut news) = payer.settler(Arc::new(scene.chain.clone()) as Arc<dyn Chain>, Memory::default());
    tokio::spawn(drive.run());
    let open = Job::open(&channel.terms, &channel.keys, nano(UNIT), &prices).expect("little");
    orders.want(open).await.expect("it runs");
    let broke = until(&mut news, |news| matches!(news, News::Alert(Alert::Trouble(_)))).await;
    let News::Alert(Alert::Trouble(Trouble::Broke { account, has, needs })) = broke else {
        panic!("another trouble: {broke:?}");
    };
    assert_eq!((account, has), (payer.account(), nano(0)));
    // What it says is enough, to the last nanoton.
    scene.chain.fund(account, needs).expect("it runs");
    until(&mut news, is_done).await;
    assert_eq!(
        scene.channel(channel.id.account).await.map(|state| state.deposited),
        Some(nano(UNIT))
    );
}

/// From a seed: a source that loses, holds, doubles and refuses, and a process that is killed now and then.
#[tokio::test(start_paused = true)]
async fn whatever_happens_each_deposit_is_paid_once() {
    for seed in 0..12 {
        let scene = Scene::new(seed);
        let (payer, payee) = (scene.party(1, 100 * UNIT), scene.party(2, UNIT));
        let prices = scene.prices().await;
        let odds = Odds {
            unreachable: 80,
            limited: 40,
            refused: 40,
            lost: 150,
            held: 100,
            twice: 100,
            unanswered: 100,
        };
        let source: Arc<dyn Chain> = Arc::new(Faulty::drawn(scene.chain.clone(), seed, odds));
        let channels: Vec<Channel> = (0..5).map(|salt| Channel::between(&payer, &payee, salt)).collect();
        let keep = Memory::default();
        let mut left: Vec<usize> = (0..channels.len()).collect();
        let mut lives = 0;
        while !left.is_empty() {
            lives += 1;
            assert!(lives < 200, "seed {seed}: {left:?} are not open");
            let (drive, orders, mut news) = payer.settler(source.clone(), keep.clone());
            let runs = tokio::spawn(drive.run());
            for &at in &left {
                let open = Job::open(&channels[at].terms, &channels[at].keys, nano(UNIT), &prices).expect("little");
                orders.want(open).await.expect("it runs");
            }
            // Killed after a while that differs, in the middle of whatever it does.
            let life = tokio::time::sleep(Duration::from_millis(700 + 1300 * (lives * 7 + seed * 3) % 47_000));
            tokio::pin!(life);
            loop {
                tokio::select! {
                    () = &mut life => break,
                    news = news.recv() => match news {
                        Some(News::Done(key, _)) => left.retain(|&at| channels[at].id.account != key.channel),
                        Some(News::GaveUp(key, why)) => panic!("seed {seed}: {key}: {why}"),
                        Some(_) => {}
                        None => panic!("seed {seed}: it stopped"),
                    },
                }
                if left.is_empty() {
                    break;
                }
            }
            runs.abort();
        }
        // What is still on its way arrives.
        tokio::time::sleep(Duration::from_secs(300)).await;
        for channel in &channels {
            let state = scene.channel(channel.id.account).await.expect("it is open");
            assert_eq!(state.deposited, nano(UNIT), "seed {seed}");
        }
        let spent = 100 * UNIT - scene.balance(payer.account()).await;
        assert!((5 * UNIT..6 * UNIT).contains(&spent), "seed {seed}: {spent}");
    }
}

/// A source that says that a channel is not there, once it is, would have its deposit paid again.
#[tokio::test(start_paused = true)]
async fn a_lie_of_one_source_has_nothing_paid_twice() {
    let scene = Scene::new(4);
    let (payer, payee) = (scene.party(1, 100 * UNIT), scene.party(2, UNIT));
    let channel = Channel::between(&payer, &payee, 1);
    let at = channel.id.account;
    let prices = scene.prices().await;
    let liar = Faulty::new(scene.chain.clone());
    liar.lie(at, |mut state| {
        state.status = Status::Nonexistent;
        state
    });
    let sources = Sources::new(
        Arc::new(liar.clone()),
        Some(Arc::new(scene.chain.clone())),
        nano(UNIT / 2),
    );
    let (drive, orders, mut news) = payer.settler(sources, Memory::default());
    tokio::spawn(drive.run());
    let open = Job::open(&channel.terms, &channel.keys, nano(UNIT), &prices).expect("little");
    orders.want(open).await.expect("it runs");
    let unsure = until(&mut news, |news| matches!(news, News::Unsure(..))).await;
    assert!(
        matches!(&unsure, News::Unsure(channel, _) if *channel == at),
        "{unsure:?}"
    );
    // Long after it would have been tried again on one source's word.
    let hours = tokio::time::sleep(Duration::from_secs(2 * 3600));
    tokio::pin!(hours);
    loop {
        tokio::select! {
            () = &mut hours => break,
            told = news.recv() => assert!(matches!(told, Some(News::Unsure(..))), "{told:?}"),
        }
    }
    assert_eq!(scene.channel(at).await.map(|state| state.deposited), Some(nano(UNIT)));
    liar.be_honest();
    until(&mut news, is_done).await;
    assert_eq!(scene.channel(at).await.map(|state| state.deposited), Some(nano(UNIT)));
}
