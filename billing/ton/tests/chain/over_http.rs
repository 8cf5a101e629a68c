//! The client of toncenter against the simulated chain's front, which speaks as toncenter does.

use std::{sync::Arc, time::Duration};

use billing::channel::Account;
use billing_ton::{
    Chain, Seed, Wallet,
    chain::{ChainError, Cursor, Status},
    settler::{Job, drive::News},
    sources::Sources,
    toncenter::{Settings, Toncenter},
};
use billing_ton_sim::{Settings as ChainSettings, Simulated, http};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::scene::{Channel, Memory, Party, UNIT, nano, prices_of, until};

/// A chain behind HTTP, on a port of its own.
struct Front {
    chain: Simulated,
    client: Arc<Toncenter>,
    task: JoinHandle<()>,
}

impl Front {
    async fn start() -> Self {
        let chain = Simulated::in_memory(ChainSettings::for_development()).expect("in memory");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/api/v2", listener.local_addr().expect("it is bound"));
        let task = tokio::spawn(http::serve(listener, chain.clone(), std::future::pending()));
        let settings = Settings {
            network: chain.network(),
            url,
            api_key: Some("unused".to_owned()),
        };
        let client = Arc::new(Toncenter::new(settings, None).expect("good settings"));
        Self { chain, client, task }
    }

    fn party(&self, byte: u8, coins: u64) -> Party {
        let seed = Seed::from_bytes([byte; 32]);
        let wallet = Wallet::new(self.chain.network(), seed.public_key());
        self.chain.fund(wallet.account(), nano(coins)).expect("it runs");
        Party { seed, wallet }
    }

    /// Both ways to ask are asked, and say the same.
    async fn same(&self, account: Account) {
        let direct = self.chain.account(account).await.expect("an answer");
        let over_http = self.client.account(account).await.expect("an answer");
        assert_eq!(
            (over_http.balance, over_http.last, over_http.status),
            (direct.balance, direct.last, direct.status)
        );
        let direct = self.chain.transactions(account, None, 1000).await.expect("an answer");
        let over_http = self.client.transactions(account, None, 1000).await.expect("an answer");
        assert_eq!(over_http, direct);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_done(news: &News) -> bool {
    matches!(news, News::Done(..))
}

#[tokio::test]
async fn a_channel_lives_over_http() {
    let front = Front::start().await;
    let (payer, payee) = (front.party(1, 20 * UNIT), front.party(2, UNIT));
    let channel = Channel::between(&payer, &payee, 1);
    let at = channel.id.account;
    let prices = prices_of(front.client.as_ref()).await;
    let (drive, paying, mut paid) = payer.settler(front.client.clone() as Arc<dyn Chain>, Memory::default());
    tokio::spawn(drive.run());
    let open = Job::open(&channel.terms, &channel.keys, nano(5 * UNIT), &prices).expect("little");
    paying.want(open).await.expect("it runs");
    until(&mut paid, is_done).await;
    for account in [at, payer.account(), payee.account()] {
        front.same(account).await;
    }
    assert!(matches!(
        front.client.account(at).await.expect("an answer").status,
        Status::Active { .. }
    ));

    // Two sources that stand for each other, where much is at stake.
    let sources = Sources::new(front.client.clone(), Some(Arc::new(front.chain.clone())), nano(UNIT));
    let agreed = sources.account(at, nano(5 * UNIT)).await.expect("they agree");
    assert!(matches!(agreed.status, Status::Active { .. }));

    let (drive, taking, mut taken) = payee.settler(front.client.clone() as Arc<dyn Chain>, Memory::default());
    tokio::spawn(drive.run());
    let last = channel.settle(&payer, &payee, 3 * UNIT, true);
    taking.want(Job::settle(at, &last, &prices)).await.expect("it runs");
    until(&mut taken, is_done).await;
    // It is gone, and so is its history, as on TON.
    let gone = front.client.account(at).await.expect("an answer");
    assert_eq!((gone.status, gone.balance, gone.last), (Status::Nonexistent, 0, None));
    assert_eq!(front.client.transactions(at, None, 9).await.expect("an answer"), []);
}

#[tokio::test]
async fn a_long_history_is_read_in_pages() {
    let front = Front::start().await;
    let party = front.party(1, UNIT);
    for _ in 0..99 {
        front.chain.fund(party.account(), nano(UNIT)).expect("it runs");
    }
    front.same(party.account()).await;
    let all = front
        .client
        .transactions(party.account(), None, 1000)
        .await
        .expect("an answer");
    assert_eq!(all.len(), 100);
    for after in [0, 31, 32, 33, 67, 98, 99] {
        let read = front
            .client
            .transactions(party.account(), Some(all[after].at), 1000)
            .await;
        assert_eq!(read.expect("an answer"), all[after + 1..], "after {after}");
    }
    let elsewhere = Cursor {
        hash: [0; 32],
        ..all[50].at
    };
    let read = front.client.transactions(party.account(), Some(elsewhere), 1000).await;
    assert!(matches!(read, Err(ChainError::Contradiction(_))), "{read:?}");
}

#[tokio::test]
async fn heads_parameters_and_refusals_are_those_of_the_chain() {
    let front = Front::start().await;
    let before = front.client.head().await.expect("an answer");
    front.chain.advance(100).expect("it runs");
    let after = front.client.head().await.expect("an answer");
    assert!(
        after.seqno > before.seqno && after.time >= before.time + 100,
        "{before:?} {after:?}"
    );
    for index in [20, 21, 24, 25] {
        let direct = front
            .chain
            .config_parameter(index)
            .await
            .expect("an answer")
            .expect("there is one");
        let over_http = front
            .client
            .config_parameter(index)
            .await
            .expect("an answer")
            .expect("there is one");
        let hash = |bytes: &[u8]| *tycho_types::boc::Boc::decode(bytes).expect("a bag").repr_hash();
        assert_eq!(hash(&over_http), hash(&direct), "{index}");
    }
    let nobody = Account {
        workchain: 0,
        hash: [3; 32],
    };
    assert_eq!(
        front.client.account(nobody).await.expect("an answer").status,
        Status::Nonexistent
    );
    front.chain.fund(nobody, nano(1)).expect("it runs");
    assert_eq!(
        front.client.account(nobody).await.expect("an answer").status,
        Status::Uninitialised
    );
    let refused = front.client.send(b"no message").await;
    assert!(matches!(refused, Err(ChainError::Refused(_))), "{refused:?}");
    tokio::time::timeout(Duration::from_secs(5), front.client.head())
        .await
        .expect("the connection is good for more")
        .expect("an answer");
}
