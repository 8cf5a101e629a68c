//! The simulated chain as a lite-server of TON, so that clients that check proofs work against it: ADNL over TCP, and
//! answers with Merkle proofs from a masterchain block down. The feature `lite-server`.
//!
//! getMasterchainInfo, getMasterchainInfoExt, getTime, getVersion, getBlockHeader, lookupBlock, getAccountState,
//! getAllShardsInfo, getTransactions, getConfigAll, getConfigParams, runSmcMethod, sendMessage, and
//! waitMasterchainSeqno before any of them.
//!
//! There are no validators: nothing proves that a block is of the chain, and a client that wants signatures must be told to
//! do without (pytoniq: `trust_level=1`). A block is written as TON writes it when somebody asks while it is the newest;
//! the last [`VIEWS`] such blocks are known. Get-methods run on the newest block, whichever was asked for.
//! Whoever reaches the port can ask; coins out of nothing and the clock are at the HTTP front ([`crate::http`]).
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use billing_ton::lite::adnl::ServerKey;
//! use billing_ton_sim::{Settings, Simulated, lite};
//!
//! let front = lite::Front::new(Simulated::in_memory(Settings::for_development())?);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:4924").await?;
//! lite::serve(listener, front, ServerKey::from_seed(&[7; 32]), std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use billing_ton::Chain as _;
use billing_ton::lite::adnl::{self, ServerKey};
use billing_ton::lite::tl;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::simulated::Simulated;

mod answers;
mod failure;
mod proofs;
mod view;

use failure::Failure;
use view::View;

/// So many of the last blocks that were asked for are known.
pub const VIEWS: usize = 64;
/// Connections at a time; more wait.
const CONNECTIONS: usize = 256;
/// The longest packet; the longest message is a part of it.
const MOST: usize = 128 << 10;
/// For the handshake, and between two packets.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often somebody who waits for a block looks for it, and how long at most.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What answers for a chain. Clones know the same blocks.
#[derive(Clone)]
pub struct Front {
    chain: Simulated,
    views: Arc<Mutex<VecDeque<Arc<View>>>>,
}

impl Front {
    #[must_use]
    pub fn new(chain: Simulated) -> Self {
        Self {
            chain,
            views: Arc::default(),
        }
    }

    /// The answer to a question, as it goes into an [`tl::Answer`]: what a lite-server says, an error included.
    pub async fn answer(&self, query: &[u8]) -> Vec<u8> {
        match self.answered(query).await {
            Ok(answer) => answer,
            Err(failure) => tl::write(failure.told()),
        }
    }

    async fn answered(&self, query: &[u8]) -> Result<Vec<u8>, Failure> {
        let tl::LiteQuery { data } = tl::read(query).map_err(|_| Failure::Query)?;
        if tl::constructor(&data) != Some(tl::WaitForBlock::TL_ID) {
            return answers::answer(self, &data);
        }
        // The number of the prefix, and two more.
        let (wait, question) = data.split_at_checked(12).ok_or(Failure::Query)?;
        let tl::WaitForBlock { seqno, timeout_ms } = tl::read(wait).map_err(|_| Failure::Query)?;
        let end = Instant::now() + Duration::from_millis(timeout_ms.into()).min(LONGEST_WAIT);
        while self.newest()?.master.id.seqno < seqno {
            if Instant::now() >= end {
                return Err(Failure::Late);
            }
            sleep(BETWEEN_LOOKS).await;
        }
        answers::answer(self, question)
    }

    /// The newest final block, which is known from here on.
    fn newest(&self) -> Result<Arc<View>, Failure> {
        let network = self.chain.network();
        let made = self.chain.newest(
            |seqno| self.at(seqno).map(Ok),
            |newest| View::of(newest, network).map(Arc::new),
        )??;
        let mut views = self.views();
        if !views.iter().any(|view| view.master.id == made.master.id) {
            // A block that was taken back has given its number to another.
            views.retain(|view| view.master.id.seqno != made.master.id.seqno);
            views.push_back(Arc::clone(&made));
            if views.len() > VIEWS {
                views.pop_front();
            }
        }
        Ok(made)
    }

    /// The block `id`, of either workchain.
    fn view(&self, id: tl::BlockId) -> Result<Arc<View>, Failure> {
        let views = self.views();
        let found = views
            .iter()
            .find(|view| view.side(id.workchain).is_some_and(|side| side.id == id));
        found.cloned().ok_or(Failure::NoBlock)
    }

    fn at(&self, seqno: u32) -> Option<Arc<View>> {
        let views = self.views();
        views.iter().find(|view| view.master.id.seqno == seqno).cloned()
    }

    fn views(&self) -> MutexGuard<'_, VecDeque<Arc<View>>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers on `listener` until `shutdown`, and ends all connections then.
pub async fn serve(listener: TcpListener, front: Front, key: ServerKey, shutdown: impl Future<Output = ()>) {
    let key = Arc::new(key);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            () = shutdown.as_mut() => break,
            (stream, permit) = accepted => {
                let (front, key, mut stopped) = (front.clone(), Arc::clone(&key), stopped.clone());
                // A client that is gone before it is met. The next one is another.
                if let (Ok((stream, _)), Ok(permit)) = (stream, permit) {
                    connections.spawn(async move {
                        tokio::select! {
                            () = connection(stream, &front, &key) => {}
                            // The sender is dropped; nothing is ever sent.
                            _ = stopped.changed() => {}
                        }
                        drop(permit);
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(stop);
    while connections.join_next().await.is_some() {}
}

/// Until the client leaves, is silent for long, or says what cannot be read.
async fn connection(stream: TcpStream, front: &Front, key: &ServerKey) {
    let Ok(Ok(mut channel)) = timeout(PATIENCE, adnl::accept(stream, key, MOST)).await else {
        return;
    };
    while let Ok(Ok(packet)) = timeout(PATIENCE, channel.receive()).await {
        let answer = match tl::constructor(&packet) {
            Some(tl::Ping::TL_ID) => tl::read(&packet).map(|tl::Ping { id }| tl::write(tl::Pong { id })),
            _ => match tl::read(&packet) {
                Ok(tl::Query { id, query }) => Ok(tl::write(tl::Answer {
                    id,
                    answer: front.answer(&query).await,
                })),
                Err(error) => Err(error),
            },
        };
        let Ok(answer) = answer else {
            return;
        };
        if channel.send(&answer).await.is_err() {
            return;
        }
    }
}
