//! Our own client of toncenter against the HTTP front: it tells what the chain itself tells.

use billing::Nano;
use billing::channel::Account;
use billing_ton::chain::{Chain, ChainError, Status};
use billing_ton::toncenter::{self, Toncenter};
use billing_ton::wallet::{Batch, Mode, Payment};
use billing_ton::{Seed, Wallet};
use billing_ton_sim::{Blocks, DEVELOPMENT, Settings, Simulated, http};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

const TON: u64 = 1_000_000_000;

fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("small")
}

/// Pays `amount` from the wallet of `seed` to `to`.
fn payment(chain: &Simulated, seed: &Seed, seqno: u32, to: Account, amount: u64) -> Vec<u8> {
    let payment = Payment {
        to,
        amount: nano(amount),
        bounce: false,
        mode: Mode::FeesApart,
        body: None,
        init: None,
    };
    Wallet::new(DEVELOPMENT, seed.public_key())
        .sign(seed, seqno, chain.now() + 60, &Batch::new(vec![payment]).expect("one"))
        .expect("its own key")
        .message
}

#[tokio::test]
async fn our_client_tells_what_the_chain_tells() {
    let chain = Simulated::in_memory(Settings {
        blocks: Blocks::OnDemand,
        ..Settings::for_tests(1)
    })
    .expect("embedded");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let url = format!("http://{}/api/v2", listener.local_addr().expect("bound"));
    let (stop, stopped) = oneshot::channel::<()>();
    let front = tokio::spawn(http::serve(listener, chain.clone(), async move {
        stopped.await.unwrap_or_default();
    }));
    let settings = toncenter::Settings {
        network: DEVELOPMENT,
        url,
        api_key: None,
    };
    let client = Toncenter::new(settings, None).expect("a URL");

    let seed = Seed::from_bytes([7; 32]);
    let wallet = Wallet::new(DEVELOPMENT, seed.public_key());
    let theirs = Account {
        workchain: 0,
        hash: [0xab; 32],
    };
    chain.fund(wallet.account(), nano(10 * TON)).expect("made");
    for seqno in 0..40 {
        let message = payment(&chain, &seed, seqno, theirs, 1_000_000);
        client.send(&message).await.expect("taken");
        // A number is good once.
        assert!(matches!(client.send(&message).await, Err(ChainError::Refused(_))));
    }

    assert_eq!(client.head().await.expect("told"), chain.head().await.expect("told"));
    for account in [
        wallet.account(),
        theirs,
        Account {
            workchain: 0,
            hash: [1; 32],
        },
    ] {
        let (told, known) = (client.account(account).await, chain.account(account).await);
        assert_eq!(told.expect("told"), known.expect("told"));
    }
    let standing = wallet
        .standing(&client.account(wallet.account()).await.expect("told"))
        .expect("our wallet");
    assert_eq!((standing.seqno, standing.is_deployed), (40, true));

    // More than one of its pages, whole and from a cursor on.
    let all = chain.transactions(wallet.account(), None, 1_000).await.expect("told");
    assert_eq!(all.len(), 41);
    assert_eq!(
        client.transactions(wallet.account(), None, 1_000).await.expect("told"),
        all
    );
    let after = client
        .transactions(wallet.account(), Some(all[3].at), 5)
        .await
        .expect("told");
    assert_eq!(after, all[4..9]);
    let mut elsewhere = all[3].at;
    elsewhere.hash = [0; 32];
    assert!(matches!(
        client.transactions(wallet.account(), Some(elsewhere), 5).await,
        Err(ChainError::Contradiction(_))
    ));

    for index in [19, 21, 25, 9_999] {
        let (told, known) = (
            client.config_parameter(index).await,
            chain.config_parameter(index).await,
        );
        assert_eq!(told.expect("told"), known.expect("told"), "parameter {index}");
    }
    // Time moves for both.
    chain.advance(600).expect("made");
    assert_eq!(client.head().await.expect("told"), chain.head().await.expect("told"));

    stop.send(()).expect("it runs");
    front.await.expect("ended");
    assert!(matches!(client.head().await, Err(ChainError::Unreachable(_))));
}

#[tokio::test]
async fn a_wallet_signs_pays_and_expires() {
    let chain = Simulated::in_memory(Settings::for_tests(1)).expect("embedded");
    let seed = Seed::from_bytes([7; 32]);
    let wallet = Wallet::new(DEVELOPMENT, seed.public_key());
    let theirs = Account {
        workchain: 0,
        hash: [0xab; 32],
    };
    chain.fund(wallet.account(), nano(TON)).expect("taken");
    chain.tick().expect("made");
    let late = payment(&chain, &seed, 0, theirs, 5);
    chain.advance(61).expect("moved");
    assert!(matches!(chain.send(&late).await, Err(ChainError::Refused(reason)) if reason.contains("exit code 136")));
    chain.send(&payment(&chain, &seed, 0, theirs, 5)).await.expect("taken");
    chain.tick().expect("made");
    let state = chain.account(wallet.account()).await.expect("told");
    assert!(matches!(state.status, Status::Active { .. }));
    let told = chain
        .get_method(&wallet.account(), "seqno", Vec::new())
        .expect("a wallet");
    assert_eq!(told.stack, [billing_ton_sim::Value::Int(1.into())]);
}
