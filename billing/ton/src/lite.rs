//! A chain over lite-servers: nodes of TON that answer whoever asks, with proofs. The feature `lite-server`.
//!
//! A toncenter's word is all that there is of it. A lite-server proves what it says of an account, of a transaction or of
//! the configuration, down from the hash of a masterchain block, and every proof is checked ([`Unproven`]). What remains
//! to be believed is that hash: several servers must name the same block ([`Settings::agreeing`]), and no more than
//! [`MOST_APART`] blocks may lie between their newest ones, lest one of them holds us in the past.
//! So one server that lies, of two that must agree, can refuse to answer and nothing else. Two that lie alike are not
//! found out, for signatures of validators are not checked; choose servers that have nothing to do with each other.
//! Where one server suffices (`agreeing: 1`), its word for the block is believed, as a toncenter's is.
//!
//! Connections are encrypted, and made anew when they end. Answers beyond 8 MiB are refused, and each question may take ten
//! seconds. An account that was deleted has no history here; see [`crate::toncenter`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use billing::channel::Network;
//! use billing_ton::{Chain as _, lite::{self, LiteServers, Settings}};
//!
//! // TON's own list: https://ton.org/global-config.json
//! let list = std::fs::read("global-config.json")?;
//! let chain = LiteServers::new(Settings {
//!     network: Network::MAINNET,
//!     servers: lite::servers(&list)?,
//!     agreeing: 2,
//! })?;
//! println!("the newest block is {}", chain.head().await?.seqno);
//! # Ok(()) }
//! ```

use std::{fmt, sync::Mutex, sync::PoisonError};

use billing::channel::{Account, Network};
use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use tl_proto::{Boxed, TlRead, TlWrite};
use tycho_types::boc::Boc;

use crate::{
    chain::{AccountState, Chain, ChainError, Cursor, Head, Status, Transaction},
    history::{self, Linked},
};

pub mod adnl;
mod list;
mod proof;
mod server;
pub mod tl;

pub use list::{BadList, servers};
pub use proof::Unproven;
pub use server::Address;

use server::{AskError, Server};
use tl::BlockId;

/// Blocks between the newest ones of two servers that both are in the present: some ten seconds.
pub const MOST_APART: u32 = 30;
/// Transactions in one answer; servers give no more.
const PAGE: u32 = 16;

/// Which servers are asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which chain they are of. The blocks must say the same.
    pub network: Network,
    /// In the order in which they are asked.
    pub servers: Vec<Address>,
    /// How many must name the same block.
    pub agreeing: usize,
}

/// Why settings are no chain, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("{agreeing} lite-servers must agree, and {servers} are named")]
    TooFew { servers: usize, agreeing: usize },
    #[error("no lite-server must agree; with 1, one is believed")]
    NoneAgree,
    #[error("the key of lite-server {0} is none: no point of the curve")]
    Key(std::net::SocketAddr),
    /// Two names of one server agree with each other.
    #[error("the lite-server {0} is named twice")]
    Twice(std::net::SocketAddr),
}

/// Several lite-servers.
pub struct LiteServers {
    network: Network,
    servers: Vec<Server>,
    agreeing: usize,
    /// The newest block that they agreed on.
    newest: Mutex<Option<BlockId>>,
}

impl LiteServers {
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let Settings {
            network,
            servers,
            agreeing,
        } = settings;
        if agreeing == 0 {
            return Err(SettingsError::NoneAgree);
        }
        if servers.len() < agreeing {
            return Err(SettingsError::TooFew {
                servers: servers.len(),
                agreeing,
            });
        }
        for (index, server) in servers.iter().enumerate() {
            if !adnl::is_key(server.key) {
                return Err(SettingsError::Key(server.at));
            }
            let before = servers.iter().take(index);
            if before.into_iter().any(|other| other.key == server.key) {
                return Err(SettingsError::Twice(server.at));
            }
        }
        Ok(Self {
            network,
            servers: servers.into_iter().map(Server::new).collect(),
            agreeing,
            newest: Mutex::default(),
        })
    }

    /// The newest masterchain block that as many servers know as must agree.
    async fn block(&self) -> Result<BlockId, ChainError> {
        let mut told: Vec<(&Server, BlockId)> = Vec::new();
        let mut rest = self.servers.iter();
        let mut last_error = None;
        while told.len() < self.agreeing {
            let asked: Vec<_> = rest.by_ref().take(self.agreeing - told.len()).collect();
            if asked.is_empty() {
                return Err(last_error.unwrap_or(ChainError::Limited));
            }
            let answers = join_all(
                asked
                    .into_iter()
                    .map(|server| async move { (server, last_of(server).await) }),
            );
            for (server, answer) in answers.await {
                match answer {
                    Ok(block) => told.push((server, block)),
                    Err(error) => last_error = Some(error),
                }
            }
        }
        let (lowest, highest) = told.iter().fold((u32::MAX, 0), |(low, high), (_, block)| {
            (low.min(block.seqno), high.max(block.seqno))
        });
        if highest - lowest > MOST_APART {
            return Err(ChainError::Unreachable(format!(
                "the newest blocks of two lite-servers are {lowest} and {highest}: one is behind, or lies"
            )));
        }
        // What the slowest has, all of them must have.
        let known = join_all(told.into_iter().map(|(server, block)| at_number(server, block, lowest))).await;
        let mut agreed = None;
        for block in known {
            let block = block?;
            if agreed.is_some_and(|agreed| agreed != block) {
                return Err(contradiction(lowest));
            }
            agreed = Some(block);
        }
        self.remember(agreed.ok_or(ChainError::Limited)?)
    }

    fn remember(&self, block: BlockId) -> Result<BlockId, ChainError> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        match *newest {
            Some(known) if known.seqno == block.seqno && known != block => Err(contradiction(block.seqno)),
            Some(known) if known.seqno >= block.seqno => Ok(block),
            _ => {
                *newest = Some(block);
                Ok(block)
            }
        }
    }

    /// The first answer that is one, and proven: who fails or lies is passed over.
    async fn proven<Q, A, T>(
        &self,
        question: &Q,
        check: impl Fn(A) -> Result<T, Unproven> + Send,
    ) -> Result<T, ChainError>
    where
        Q: TlWrite<Repr = Boxed> + Sync,
        A: for<'a> TlRead<'a, Repr = Boxed> + Send,
    {
        let mut first_error = None;
        for server in &self.servers {
            let error = match server.ask(question).await {
                Ok(answer) => match check(answer) {
                    Ok(found) => return Ok(found),
                    Err(unproven) => ChainError::Contradiction(format!("{}: {unproven}", server.address.at)),
                },
                Err(error) => error.into_chain_error(),
            };
            first_error.get_or_insert(error);
        }
        Err(first_error.unwrap_or(ChainError::Limited))
    }

    fn of_network(&self, header: &proof::Header) -> Result<(), ChainError> {
        let found = Network(header.network);
        let wanted = self.network;
        if found == wanted {
            Ok(())
        } else {
            Err(ChainError::Network { wanted, found })
        }
    }

    async fn state(&self, account: Account) -> Result<AccountState, ChainError> {
        let block = self.block().await?;
        let question = tl::GetAccountState {
            id: block,
            account: id_of(&account),
        };
        let (header, found) = self
            .proven(&question, |answer: tl::AccountState| checked(&block, &account, &answer))
            .await?;
        self.of_network(&header)?;
        Ok(AccountState {
            head: Head {
                seqno: block.seqno,
                time: header.time,
            },
            balance: found.balance,
            last: found.last,
            status: found.status,
        })
    }

    /// One answer, newest first: transactions up to `from`.
    async fn page(&self, account: &Account, from: Cursor) -> Result<Vec<Linked>, ChainError> {
        let question = tl::GetTransactions {
            count: PAGE,
            account: id_of(account),
            lt: from.lt,
            hash: from.hash,
        };
        self.proven(&question, |answer: tl::TransactionList| {
            linked(account, from, &answer.transactions)
        })
        .await
    }
}

/// What a state says, checked from the masterchain's block down.
fn checked(
    block: &BlockId,
    account: &Account,
    answer: &tl::AccountState,
) -> Result<(proof::Header, proof::Found), Unproven> {
    if i32::from(account.workchain) == proof::MASTERCHAIN {
        // The block itself is the newest of its shard.
        return proof::account(&answer.proof, block, account, &answer.state);
    }
    let header = proof::shard(&answer.shard_proof, block, account, &answer.shard_block)?;
    let (_, found) = proof::account(&answer.proof, &answer.shard_block, account, &answer.state)?;
    Ok((header, found))
}

/// Transactions from `from` back, each the one that the one after it names.
fn linked(account: &Account, from: Cursor, bag: &[u8]) -> Result<Vec<Linked>, Unproven> {
    let mut expected = Some(from);
    let mut read = Vec::new();
    for cell in proof::all_roots(bag)? {
        // One more than the first of all.
        let at = expected.ok_or(Unproven::Place)?;
        let time = cell
            .parse::<tycho_types::models::Transaction>()
            .map_err(|_| Unproven::Form)?
            .now;
        let transaction = Transaction {
            at,
            time,
            cell: Boc::encode(cell),
        };
        let one = Linked::read(account, transaction).map_err(|_| Unproven::Hash)?;
        expected = one.previous;
        read.push(one);
    }
    Ok(read)
}

async fn last_of(server: &Server) -> Result<BlockId, ChainError> {
    let info: tl::MasterchainInfo = server
        .ask(tl::GetMasterchainInfo)
        .await
        .map_err(AskError::into_chain_error)?;
    let last = info.last;
    if (last.workchain, last.shard) == (proof::MASTERCHAIN, proof::WHOLE) {
        Ok(last)
    } else {
        Err(unreadable("its newest block is not of the masterchain"))
    }
}

/// The block `seqno` as `server` knows it, whose newest one is `newest`.
async fn at_number(server: &Server, newest: BlockId, seqno: u32) -> Result<BlockId, ChainError> {
    if newest.seqno == seqno {
        return Ok(newest);
    }
    let question = tl::LookupBlock {
        mode: (),
        workchain: proof::MASTERCHAIN,
        shard: proof::WHOLE,
        seqno,
        by_seqno: Some(()),
        lt: None,
        time: None,
    };
    let answer: tl::BlockHeader = server.ask(question).await.map_err(AskError::into_chain_error)?;
    let id = answer.id;
    if (id.workchain, id.shard, id.seqno) == (proof::MASTERCHAIN, proof::WHOLE, seqno) {
        Ok(id)
    } else {
        Err(unreadable("it was asked for one block, and told of another"))
    }
}

fn id_of(account: &Account) -> tl::AccountId {
    tl::AccountId {
        workchain: account.workchain.into(),
        id: account.hash,
    }
}

fn contradiction(seqno: u32) -> ChainError {
    ChainError::Contradiction(format!("two lite-servers name two blocks with the number {seqno}"))
}

fn unreadable(reason: &'static str) -> ChainError {
    ChainError::Unreadable(reason.to_owned())
}

impl Chain for LiteServers {
    fn network(&self) -> Network {
        self.network
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, ChainError>> {
        async {
            let block = self.block().await?;
            let question = tl::GetBlockHeader { id: block, mode: 0 };
            let header = self
                .proven(&question, |answer: tl::BlockHeader| {
                    let [root] = proof::roots(&answer.header_proof)?;
                    proof::header(root.as_ref(), &block)
                })
                .await?;
            self.of_network(&header)?;
            Ok(Head {
                seqno: block.seqno,
                time: header.time,
            })
        }
        .boxed()
    }

    fn account(&self, account: Account) -> BoxFuture<'_, Result<AccountState, ChainError>> {
        self.state(account).boxed()
    }

    fn transactions(
        &self,
        account: Account,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Transaction>, ChainError>> {
        async move {
            let state = self.state(account).await?;
            let newest = match state.last {
                Some(last) if state.status != Status::Nonexistent => last,
                _ => return Ok(Vec::new()),
            };
            history::read(after, limit, |from| {
                let from = from.unwrap_or(newest);
                async move { self.page(&account, from).await }
            })
            .await
        }
        .boxed()
    }

    /// All of them get it: one that keeps it to itself, or refuses what is good, changes nothing.
    fn send<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<(), ChainError>> {
        async move {
            let question = tl::SendMessage { body: message.to_vec() };
            let answers = join_all(
                self.servers
                    .iter()
                    .map(|server| server.ask::<_, tl::SendStatus>(&question)),
            )
            .await;
            let mut refusal = None;
            for answer in answers {
                match answer {
                    Ok(_) => return Ok(()),
                    Err(error) => refusal = more_telling(refusal, sending(error)),
                }
            }
            Err(refusal.unwrap_or(ChainError::Limited))
        }
        .boxed()
    }

    fn config_parameter(&self, index: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, ChainError>> {
        async move {
            let block = self.block().await?;
            let Ok(signed) = i32::try_from(index) else {
                return Ok(None);
            };
            let question = tl::GetConfigParams {
                mode: 0,
                id: block,
                list: tl::List(vec![signed]),
            };
            let (header, cell) = self
                .proven(&question, |answer: tl::ConfigInfo| {
                    proof::parameter(&answer.state_proof, &answer.config_proof, &block, index)
                })
                .await?;
            self.of_network(&header)?;
            Ok(cell.map(Boc::encode))
        }
        .boxed()
    }
}

/// Of errors of servers, what they say of a message. Those of the way have numbers: 651 not ready, 652 late.
fn sending(error: AskError) -> ChainError {
    match error {
        AskError::Refused { code, .. } if !matches!(code, 228 | 429 | 651 | 652) => {
            ChainError::Refused(error.to_string())
        }
        other => other.into_chain_error(),
    }
}

/// A refusal says more than silence.
fn more_telling(known: Option<ChainError>, new: ChainError) -> Option<ChainError> {
    match known {
        Some(refused @ ChainError::Refused(_)) => Some(refused),
        _ => Some(new),
    }
}

impl fmt::Debug for LiteServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.servers.len();
        write!(f, "LiteServers({} of {servers} for {})", self.agreeing, self.network)
    }
}

#[cfg(test)]
mod tests;
