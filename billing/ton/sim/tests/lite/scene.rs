//! A chain behind lite-servers, each with a key and a port of its own, honest or not.

use std::{net::SocketAddr, sync::Arc};

use billing::{Nano, channel::Account};
use billing_ton::{
    Chain as _, Seed, Wallet,
    lite::{
        Address, LiteServers, Settings,
        adnl::{self, ServerKey},
        tl,
    },
    wallet::{Batch, Mode, Payment},
};
use billing_ton_sim::{Settings as ChainSettings, Simulated, lite};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Nanoton in a coin.
pub(crate) const UNIT: u64 = Nano::UNIT;

/// What a server makes of a question's answer: both as they go over the wire.
pub(crate) type Twist = Arc<dyn Fn(&[u8], Vec<u8>) -> Option<Vec<u8>> + Send + Sync>;

pub(crate) struct Server {
    pub(crate) address: Address,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Scene {
    pub(crate) chain: Simulated,
    pub(crate) front: lite::Front,
}

impl Scene {
    /// Time and blocks are the test's.
    pub(crate) fn new() -> Self {
        Self::of(ChainSettings::for_tests(1))
    }

    pub(crate) fn of(settings: ChainSettings) -> Self {
        let chain = Simulated::in_memory(settings).expect("in memory");
        let front = lite::Front::new(chain.clone());
        Self { chain, front }
    }

    pub(crate) async fn honest(&self, byte: u8) -> Server {
        let (listener, at) = bound().await;
        let key = ServerKey::from_seed(&[byte; 32]);
        let address = Address { at, key: key.public() };
        let task = tokio::spawn(lite::serve(listener, self.front.clone(), key, std::future::pending()));
        Server { address, task }
    }

    /// Says what `twist` makes of the truth; `None` ends the connection.
    pub(crate) async fn lying(&self, byte: u8, twist: Twist) -> Server {
        let (listener, at) = bound().await;
        let key = ServerKey::from_seed(&[byte; 32]);
        let address = Address { at, key: key.public() };
        let front = self.front.clone();
        let key = Arc::new(key);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("it listens");
                connections.spawn(lies(stream, Arc::clone(&key), front.clone(), Arc::clone(&twist)));
            }
        });
        Server { address, task }
    }

    pub(crate) fn client(&self, servers: &[&Server], agreeing: usize) -> LiteServers {
        LiteServers::new(Settings {
            network: self.chain.network(),
            servers: servers.iter().map(|server| server.address).collect(),
            agreeing,
        })
        .expect("good settings")
    }

    pub(crate) fn wallet(&self, byte: u8, coins: u64) -> (Seed, Wallet) {
        let seed = Seed::from_bytes([byte; 32]);
        let wallet = Wallet::new(self.chain.network(), seed.public_key());
        self.chain
            .fund(wallet.account(), Nano::saturating(coins))
            .expect("it runs");
        (seed, wallet)
    }

    /// Blocks until nothing is on its way.
    pub(crate) fn tick(&self) {
        for _ in 0..4 {
            self.chain.tick().expect("it runs");
        }
    }
}

async fn lies(stream: TcpStream, key: Arc<ServerKey>, front: lite::Front, twist: Twist) {
    let Ok(mut channel) = adnl::accept(stream, &key, 1 << 20).await else {
        return;
    };
    while let Ok(packet) = channel.receive().await {
        let query: tl::Query = tl::read(&packet).expect("our client asks");
        let truth = front.answer(&query.query).await;
        let asked: tl::LiteQuery = tl::read(&query.query).expect("our client asks");
        let Some(answer) = twist(&asked.data, truth) else {
            return;
        };
        let answer = tl::Answer { id: query.id, answer };
        if channel.send(&tl::write(answer)).await.is_err() {
            return;
        }
    }
}

/// The message number `seqno` of a wallet, that pays `to`.
pub(crate) fn paying(seed: &Seed, wallet: &Wallet, seqno: u32, to: Account, until: u32) -> Vec<u8> {
    let payment = Payment {
        to,
        amount: Nano::saturating(UNIT / 10),
        bounce: false,
        mode: Mode::FeesApart,
        body: None,
        init: None,
    };
    let batch = Batch::new(vec![payment]).expect("one");
    wallet.sign(seed, seqno, until, &batch).expect("it fits").message
}

pub(crate) fn account(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

async fn bound() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("it is bound");
    (listener, at)
}
