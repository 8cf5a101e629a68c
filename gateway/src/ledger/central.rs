//! What the gateway asks of the ledger on disk, in one shape for both databases and for tests.

use backends::serve::BoxError;
use billing::{Charge, Grant, Nano, Renewal};
use futures_util::future::BoxFuture;

/// A charge with its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) charge: Charge,
    pub(super) receipt: Option<Box<str>>,
    pub(super) receipt_hash: Option<[u8; 32]>,
}

impl Sealed {
    pub(super) fn bare(charge: Charge) -> Self {
        Self {
            charge,
            receipt: None,
            receipt_hash: None,
        }
    }
}

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// It may later: the database is away, busy or full. Whether it was done is not known.
    #[error("the database of the ledger does not answer")]
    Passing(#[source] BoxError),
    /// This incarnation of the node is over, and nothing of it will be taken.
    #[error("the ledger closed this node's lease")]
    Closed,
    /// It never will.
    #[error("the ledger refuses")]
    Refused(#[source] BoxError),
}

pub(super) type Answer<'a, T> = BoxFuture<'a, Result<T, Trouble>>;

/// An incarnation of the node that has begun.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) epoch: i64,
    /// Of the last charge of this node that the ledger has.
    pub(super) last_seq: u64,
}

#[derive(Debug)]
pub(super) struct Renewed {
    pub(super) grants: Vec<Grant>,
    pub(super) live_nodes: u32,
    /// Differs after any change of accounts.
    pub(super) generation: i64,
}

/// The ledger that all nodes share.
pub(super) trait Central: Send + Sync {
    /// Begins an incarnation of this node; whatever was leased to the one before is free.
    fn join(&self) -> Answer<'_, Joined>;
    fn renew<'a>(&'a self, epoch: i64, renewal: &'a Renewal) -> Answer<'a, Renewed>;
    /// All of them in order, or none. One that is there already is left.
    fn post<'a>(&'a self, epoch: i64, charges: &'a [Sealed]) -> Answer<'a, ()>;
    /// All its charges are posted and it holds nothing.
    fn leave(&self, epoch: i64) -> Answer<'_, ()>;
    /// Frees what is leased to nodes that are over and have nothing of their own on disk.
    fn reap(&self) -> Answer<'_, ()>;
    fn generation(&self) -> Answer<'_, i64>;
}

/// The node's own disk, where captures are durable before they are posted.
pub(super) trait Journal: Send + Sync {
    fn last_seq(&self) -> Answer<'_, u64>;
    fn append<'a>(&'a self, epoch: i64, charges: &'a [Sealed]) -> Answer<'a, ()>;
    /// What is not shipped, from the oldest on, with the incarnation that it is of. All of one answer are of one.
    fn pending(&self, limit: usize) -> Answer<'_, (i64, Vec<Sealed>)>;
    /// Up to this number all is shipped.
    fn trim(&self, up_to: u64) -> Answer<'_, ()>;
}
