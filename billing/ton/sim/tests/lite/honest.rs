//! Whatever the chain says, it says over lite-servers too.

use std::time::{Duration, Instant};

use billing::channel::Account;
use billing_ton::{
    Chain as _,
    chain::{ChainError, Cursor, Status},
    inquiry::{self, InquiryError},
};
use billing_ton_sim::Settings;

use crate::scene::{Scene, UNIT, account, paying};

/// How long anything may take that is expected to happen at once, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A chain on which a wallet has paid `payments` times, with two servers.
async fn played(payments: u32) -> (Scene, Account) {
    let scene = Scene::new();
    let (seed, wallet) = scene.wallet(7, 20 * UNIT);
    scene.tick();
    for seqno in 0..payments {
        scene.chain.advance(1).expect("it runs");
        let message = paying(&seed, &wallet, seqno, account(1), scene.chain.now() + 60);
        scene.chain.send(&message).await.expect("it is taken");
        scene.tick();
    }
    (scene, wallet.account())
}

#[tokio::test]
async fn all_that_a_chain_says_is_proven() {
    let (scene, wallet) = played(3).await;
    let (one, other) = (scene.honest(1).await, scene.honest(2).await);
    let client = scene.client(&[&one, &other], 2);
    assert_eq!(client.network(), scene.chain.network());
    assert_eq!(
        client.head().await.expect("an answer"),
        scene.chain.head().await.expect("an answer")
    );
    let in_masterchain = Account {
        workchain: -1,
        hash: [5; 32],
    };
    for asked in [wallet, account(1), account(9), in_masterchain] {
        let direct = scene.chain.account(asked).await.expect("an answer");
        let proven = client.account(asked).await.expect("an answer");
        assert_eq!(proven, direct, "{asked:?}");
        let direct = scene.chain.transactions(asked, None, 100).await.expect("an answer");
        let proven = client.transactions(asked, None, 100).await.expect("an answer");
        assert_eq!(proven, direct, "{asked:?}");
    }
    let state = client.account(wallet).await.expect("an answer");
    assert!(matches!(state.status, Status::Active { .. }));
    for index in [0, 19, 20, 21, 24, 25, 4_000, u32::MAX] {
        assert_eq!(
            client.config_parameter(index).await.expect("an answer"),
            scene.chain.config_parameter(index).await.expect("an answer"),
            "parameter {index}"
        );
    }
}

#[tokio::test]
async fn a_long_history_comes_in_pages_and_from_a_cursor() {
    // More than two pages of 16.
    let (scene, wallet) = played(40).await;
    let server = scene.honest(1).await;
    let client = scene.client(&[&server], 1);
    let all = scene.chain.transactions(wallet, None, 1_000).await.expect("an answer");
    assert_eq!(all.len(), 41);
    assert_eq!(client.transactions(wallet, None, 1_000).await.expect("an answer"), all);
    for (index, limit) in [(0, 5), (13, 100), (25, 3), (39, 9), (40, 9)] {
        let after = Some(all[index].at);
        let expect: Vec<_> = all.iter().skip(index + 1).take(limit).cloned().collect();
        let told = client.transactions(wallet, after, limit).await.expect("an answer");
        assert_eq!(told, expect, "{limit} after {index}");
    }
    let never = Cursor {
        hash: [1; 32],
        ..all[20].at
    };
    let lost = client.transactions(wallet, Some(never), 9).await;
    assert!(matches!(lost, Err(ChainError::Contradiction(_))), "{lost:?}");
}

#[tokio::test]
async fn a_message_is_taken_once_and_refused_with_a_reason() {
    let scene = Scene::new();
    let (seed, wallet) = scene.wallet(7, UNIT);
    scene.tick();
    let (one, other) = (scene.honest(1).await, scene.honest(2).await);
    let client = scene.client(&[&one, &other], 2);
    let message = paying(&seed, &wallet, 0, account(1), scene.chain.now() + 60);
    client.send(&message).await.expect("it is taken");
    scene.tick();
    assert_eq!(
        client.account(account(1)).await.expect("an answer").balance,
        u128::from(UNIT / 10)
    );
    let again = client.send(&message).await.err().map(|error| error.to_string());
    let again = again.expect("it is refused");
    assert!(again.contains("cannot apply external message"), "{again}");
    assert!(matches!(client.send(b"no message").await, Err(ChainError::Refused(_))));
}

#[tokio::test]
async fn a_deleted_account_is_proven_to_be_none() {
    let (scene, wallet) = played(1).await;
    let server = scene.honest(1).await;
    let client = scene.client(&[&server], 1);
    let seen = client.transactions(wallet, None, 9).await.expect("an answer");
    let last = seen.last().expect("it has paid").at;
    assert_eq!(client.account(wallet).await.expect("an answer").last, Some(last));
    // What nobody ever had coins in.
    let state = client.account(account(0xee)).await.expect("an answer");
    assert_eq!(
        (state.status, state.last, state.balance),
        (Status::Nonexistent, None, 0)
    );
    assert_eq!(
        client.transactions(account(0xee), None, 9).await.expect("an answer"),
        []
    );
}

#[tokio::test]
async fn a_connection_that_ended_is_made_anew() {
    let (scene, wallet) = played(1).await;
    let server = scene.honest(1).await;
    let client = scene.client(&[&server], 1);
    let before = client.account(wallet).await.expect("an answer");
    let at = server.address.at;
    drop(server);
    // Another process at the same place, with the same key: the kept connection is dead.
    let key = billing_ton::lite::adnl::ServerKey::from_seed(&[1; 32]);
    let began = Instant::now();
    let listener = loop {
        match tokio::net::TcpListener::bind(at).await {
            Ok(listener) => break listener,
            Err(error) => {
                assert!(began.elapsed() < SOON, "{at} is not free again: {error}");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let again = tokio::spawn(billing_ton_sim::lite::serve(
        listener,
        scene.front.clone(),
        key,
        std::future::pending(),
    ));
    assert_eq!(client.account(wallet).await.expect("an answer"), before);
    again.abort();
}

#[tokio::test]
async fn servers_that_stand_at_two_blocks_agree_on_the_older() {
    let (scene, wallet) = played(1).await;
    // Two fronts of one chain, of which one made its block earlier.
    let slow = Scene {
        chain: scene.chain.clone(),
        front: scene.front.clone(),
    };
    let behind = stuck(&slow).await;
    let head = scene.chain.head().await.expect("an answer");
    scene.tick();
    let ahead = scene.honest(2).await;
    let client = scene.client(&[&ahead, &behind], 2);
    assert_eq!(client.head().await.expect("an answer"), head);
    assert_eq!(client.account(wallet).await.expect("an answer").head, head);
    // Alone, the one ahead is believed.
    let alone = scene.client(&[&ahead], 1);
    assert_eq!(alone.head().await.expect("an answer").seqno, head.seqno + 4);
}

/// A server whose newest block stays what it is now.
async fn stuck(scene: &Scene) -> crate::scene::Server {
    use billing_ton::lite::tl;
    let question = tl::write(tl::LiteQuery {
        data: tl::write(tl::GetMasterchainInfo),
    });
    let now = scene.front.answer(&question).await;
    let twist = move |question: &[u8], truth: Vec<u8>| {
        Some(match tl::constructor(question) {
            Some(tl::GetMasterchainInfo::TL_ID) => now.clone(),
            _ => truth,
        })
    };
    scene.lying(1, std::sync::Arc::new(twist)).await
}

#[tokio::test]
async fn blocks_that_are_made_all_the_time_disturb_nobody() {
    let scene = Scene::of(Settings::for_development());
    let (seed, wallet) = scene.wallet(7, 20 * UNIT);
    let (one, other) = (scene.honest(1).await, scene.honest(2).await);
    let client = scene.client(&[&one, &other], 2);
    for seqno in 0..10 {
        let until = scene.chain.now() + 60;
        let message = paying(&seed, &wallet, seqno, account(1), until);
        client.send(&message).await.expect("it is taken");
        let state = client.account(wallet.account()).await.expect("an answer");
        let standing = wallet.standing(&state).expect("ours");
        assert_eq!(standing.seqno, seqno + 1);
    }
    let history = client
        .transactions(wallet.account(), None, 99)
        .await
        .expect("an answer");
    assert_eq!(history.len(), 11);
}

#[tokio::test]
async fn a_channel_is_asked_about_as_over_any_source() {
    let (scene, wallet) = played(1).await;
    let server = scene.honest(1).await;
    let client = scene.client(&[&server], 1);
    assert!(!client.shows_former_lives());
    let wanted = billing_ton::contract::Wanted {
        network: scene.chain.network(),
        payee: wallet,
        payee_key: [1; 32],
        fee_dest: wallet,
        fee_bps: 0,
        close_delay_s: 3_600,
    };
    let now = u64::from(scene.chain.now());
    let refused = inquiry::channel(&client, account(9), &wanted, None, now).await;
    assert!(matches!(refused, Err(InquiryError::Unacceptable(_))), "{refused:?}");
    // By our own clock the chain stands still.
    let stale = inquiry::channel(&client, account(9), &wanted, None, now + 10_000).await;
    assert!(matches!(stale, Err(InquiryError::Stale { .. })), "{stale:?}");
}
