//! What the gateway asks of the ledger on disk and of its own journal, in one shape for both databases and for tests.

use backends::serve::BoxError;
use billing::Renewal;
use billing_store::{
    SealedCharge,
    ledger::{Joined, RateUse, Renewed},
};
use futures_util::future::BoxFuture;

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It may later: the database is away, busy or full. Whether it was done is not known.
    #[error("the database of the ledger does not answer")]
    Passing(#[source] BoxError),
    /// This incarnation of the node is over, and nothing of it will be taken.
    #[error("the ledger closed this node's lease")]
    Closed,
    /// What the node and the ledger know of each other differs: it has to join anew.
    #[error("the ledger and this node do not agree")]
    Astray(#[source] BoxError),
    /// It never will.
    #[error("the ledger refuses")]
    Refused(#[source] BoxError),
}

pub(super) type Answer<'a, T> = BoxFuture<'a, Result<T, Trouble>>;

/// The ledger that all nodes share.
pub(super) trait Central: Send + Sync {
    /// Begins an incarnation of this node; whatever was leased to the one before is free.
    fn join(&self) -> Answer<'_, Joined>;
    fn renew<'a>(&'a self, epoch: u64, renewal: &'a Renewal, rates: &'a [RateUse]) -> Answer<'a, Renewed>;
    /// All of them in order, or none. One that is there already is left.
    fn post<'a>(&'a self, epoch: u64, charges: &'a [SealedCharge]) -> Answer<'a, ()>;
    /// All its charges are posted and it holds nothing.
    fn leave(&self, epoch: u64) -> Answer<'_, ()>;
    /// Frees what is leased to nodes that are over and have nothing of their own on disk.
    fn reap(&self) -> Answer<'_, ()>;
}

/// The node's own disk, where captures are durable before they are posted.
pub(super) trait Journal: Send + Sync {
    /// An incarnation begins whose charges follow. Says where their numbers and receipts go on.
    fn begin<'a>(&'a self, joined: &'a Joined) -> Answer<'a, Joined>;
    /// Durable when it is answered.
    fn append<'a>(&'a self, charges: &'a [SealedCharge]) -> Answer<'a, ()>;
    /// What is not shipped, the oldest first, with the incarnation that it is of.
    fn pending(&self, limit: u32) -> Answer<'_, (u64, Vec<SealedCharge>)>;
    /// Up to this number all is shipped.
    fn trim(&self, up_to: u64) -> Answer<'_, ()>;
    /// The ledger has only what came up to this number: the rest is to be shipped again. False where that is not here.
    fn rewind(&self, to: u64) -> Answer<'_, bool>;
    /// Of the last charge that was written; 0 where there is none.
    fn last_seq(&self) -> Answer<'_, u64>;
    /// How many are not shipped, and since when the oldest waits, in Unix time.
    fn backlog(&self) -> Answer<'_, (u64, Option<i64>)>;
}
