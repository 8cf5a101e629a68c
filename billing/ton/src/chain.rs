//! What we ask of a chain, whoever answers: the simulated one, a toncenter, lite-servers.

use std::sync::Arc;

use billing::channel::{Account, Network};
use futures_util::future::BoxFuture;

/// A chain of TON as one source tells it.
///
/// Answers are of finalised blocks only, and are claims: who acts on one for much money asks a second source.
pub trait Chain: Send + Sync + 'static {
    fn network(&self) -> Network;

    /// The newest final block.
    fn head(&self) -> BoxFuture<'_, Result<Head, ChainError>>;

    /// An account as of the newest final block.
    fn account(&self, account: Account) -> BoxFuture<'_, Result<AccountState, ChainError>>;

    /// An account's transactions after `after`, oldest first, at most `limit`. Where the account was deleted and began anew
    /// after `after`, and the source no longer has what was before: [`ChainError::Anew`], and never a history with a hole.
    fn transactions(
        &self,
        account: Account,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Transaction>, ChainError>>;

    /// Whether [`Chain::transactions`] tells from the first one on what an account did that was deleted and began anew. TON
    /// itself forgets it: a second life looks like a first one. Who cannot promise it says no.
    fn shows_former_lives(&self) -> bool {
        false
    }

    /// The same source for questions that others can make us ask: whatever they do, enough of what the source allows is left
    /// for our own. `None` where nothing is paced.
    fn for_strangers(&self) -> Option<Arc<dyn Chain>> {
        None
    }

    /// Hands over an external message, serialised as a bag of cells. `Ok` says only that it was taken, not that it will
    /// have an effect, or one only.
    fn send<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<(), ChainError>>;

    /// The chain's configuration parameter `index` as a bag of cells: prices are never hard-coded.
    fn config_parameter(&self, index: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, ChainError>>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the masterchain's block.
    pub seqno: u32,
    /// Unix seconds.
    pub time: u32,
}

/// Where in an account's history a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Logical time.
    pub lt: u64,
    pub hash: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// The block that this is the state of.
    pub head: Head,
    pub balance: u128,
    /// The newest transaction; `None` for an account that never had one.
    pub last: Option<Cursor>,
    pub status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Never existed, or deleted.
    Nonexistent,
    /// Has coins at most.
    Uninitialised,
    Frozen,
    /// Code and data as bags of cells. The same cells can be written as many bags: compare hashes of cells, not bytes.
    Active {
        code: Vec<u8>,
        data: Vec<u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    pub at: Cursor,
    /// Unix seconds.
    pub time: u32,
    /// The whole transaction as a bag of cells.
    pub cell: Vec<u8>,
}

/// Why a chain gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No answer, or none in time. What was sent may still take effect.
    #[error("the chain cannot be reached: {0}")]
    Unreachable(String),
    /// An answer that is none.
    #[error("the chain's answer cannot be read: {0}")]
    Unreadable(String),
    /// The source will not take this message; with its reason. What was sent before may have made it so.
    #[error("the chain refused the message: {0}")]
    Refused(String),
    /// It does not agree with what it, or another source, said before: it was reset, or somebody lies.
    #[error("the chain contradicts what was known: {0}")]
    Contradiction(String),
    /// The account's history begins after what was seen of it: it ended and began anew, or the chain was reset.
    #[error(
        "the account ended after logical time {after} and began anew, and the source does not tell what it did in \
         between; nothing that was signed for it before may be used, and nothing signed anew"
    )]
    Anew { after: u64 },
    /// By its own configuration it tells of another chain than it was named for.
    #[error("the source tells of the network {found}, and was named for {wanted}; name a source of {wanted}")]
    Network { wanted: Network, found: Network },
    /// It asks us to come back later.
    #[error("the chain's source allows no more requests now")]
    Limited,
}
