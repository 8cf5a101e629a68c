//! The ledger and the journal of `billing-store`, in the shape that [`central`](super::central) wants.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use backends::serve::BoxError;
use billing::{
    JournalKind, Renewal,
    ledger::{PostRefusal, RenewRefusal},
};
use billing_store::{
    JournalError, LedgerFault, LedgerStore, SealedCharge, Writer,
    ledger::{JoinError, Joined, LeaveError, PostError, RateUse, RenewError, Renewed},
};
use futures_util::FutureExt as _;

use super::central::{Answer, Central, Journal, Trouble};

/// This node at the ledger.
pub(super) struct Membership {
    pub(super) ledger: LedgerStore,
    pub(super) node: Arc<str>,
    pub(super) kind: JournalKind,
    pub(super) ttl: Duration,
    /// It knows the last incarnation of this node. `None` where captures are durable in the ledger itself.
    pub(super) journal: Option<Arc<LocalJournal>>,
    /// The last incarnation that this process began.
    last_epoch: AtomicU64,
    /// An answer was lost: who has our name now may be ourselves.
    may_be_us: AtomicBool,
}

impl Membership {
    pub(super) fn new(ledger: LedgerStore, node: Arc<str>, ttl: Duration, journal: Option<Arc<LocalJournal>>) -> Self {
        Self {
            ledger,
            node,
            kind: if journal.is_some() {
                JournalKind::Local
            } else {
                JournalKind::Direct
            },
            ttl,
            journal,
            last_epoch: AtomicU64::new(0),
            may_be_us: AtomicBool::new(false),
        }
    }
}

impl Central for Membership {
    fn join(&self) -> Answer<'_, Joined> {
        async move {
            let joined = match &self.journal {
                // Set before it is sent: its answer may be lost.
                Some(journal) if !self.may_be_us.swap(true, Ordering::Relaxed) => {
                    let epoch = journal.epoch.load(Ordering::Relaxed);
                    let epoch = epoch.max(self.last_epoch.load(Ordering::Relaxed));
                    self.ledger.join_after(&self.node, epoch, self.kind, self.ttl).await
                }
                _ => self.ledger.join(&self.node, self.kind, self.ttl).await,
            };
            match &joined {
                Ok(joined) => self.last_epoch.store(joined.epoch, Ordering::Relaxed),
                Err(JoinError::Taken { .. }) => {}
                Err(_) => return joined.map_err(of_join),
            }
            self.may_be_us.store(false, Ordering::Relaxed);
            joined.map_err(of_join)
        }
        .boxed()
    }

    fn renew<'a>(&'a self, epoch: u64, renewal: &'a Renewal, rates: &'a [RateUse]) -> Answer<'a, Renewed> {
        async move {
            let renewed = self.ledger.renew(&self.node, epoch, self.ttl, renewal, rates).await;
            renewed.map_err(|error| match error {
                RenewError::Fault(fault) => of_fault(fault),
                RenewError::Refused(RenewRefusal::UnknownNode | RenewRefusal::Closed) => Trouble::Closed,
                // A later one was taken: somebody has our name, or our clock of rounds was turned back.
                RenewError::Refused(refusal) => Trouble::Astray(refusal.into()),
                other => Trouble::Refused(other.into()),
            })
        }
        .boxed()
    }

    fn post<'a>(&'a self, epoch: u64, charges: &'a [SealedCharge]) -> Answer<'a, ()> {
        // A journal may have charges of the name that this node had before.
        let node = charges.first().map_or(&*self.node, |sealed| &*sealed.charge.node);
        async move {
            let posted = self.ledger.post(node, epoch, charges).await;
            posted.map(drop).map_err(|error| match error {
                PostError::Fault(fault) => of_fault(fault),
                PostError::Refused(PostRefusal::UnknownNode | PostRefusal::Closed) => Trouble::Closed,
                PostError::Refused(refusal @ (PostRefusal::Gap { .. } | PostRefusal::Conflict { .. })) => {
                    Trouble::Astray(refusal.into())
                }
                other => Trouble::Refused(other.into()),
            })
        }
        .boxed()
    }

    fn leave(&self, epoch: u64) -> Answer<'_, ()> {
        async move {
            self.ledger.leave(&self.node, epoch).await.map_err(|error| match error {
                LeaveError::Fault(fault) => of_fault(fault),
                LeaveError::Refused(_) => Trouble::Closed,
                other => Trouble::Refused(other.into()),
            })
        }
        .boxed()
    }

    fn reap(&self) -> Answer<'_, ()> {
        async move {
            let reaped = self.ledger.reap().await.map_err(of_fault)?;
            if !reaped.is_empty() {
                tracing::warn!(nodes = ?reaped, "the leases of these gateways have ended, and what they held is free");
            }
            Ok(())
        }
        .boxed()
    }
}

/// The journal of this node, of which one incarnation at a time is the writer.
pub(super) struct LocalJournal {
    journal: billing_store::Journal,
    node: Arc<str>,
    epoch: AtomicU64,
}

/// Why the journal of this node cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalOpenError {
    #[error("the journal of this node cannot be opened")]
    Open(#[from] billing_store::OpenError),
    #[error("the journal of this node cannot be read")]
    Read(#[from] JournalError),
}

impl LocalJournal {
    /// Opens the journal and looks whether all is there that was written.
    pub(super) async fn open(path: &Path, node: Arc<str>) -> Result<Self, JournalOpenError> {
        let journal = billing_store::Journal::open(path).await?;
        let writer = journal.writer().await?;
        Ok(Self {
            journal,
            node,
            epoch: AtomicU64::new(writer.map_or(0, |writer| writer.epoch)),
        })
    }

    pub(super) fn inner(&self) -> &billing_store::Journal {
        &self.journal
    }
}

impl Journal for LocalJournal {
    fn begin<'a>(&'a self, joined: &'a Joined) -> Answer<'a, Joined> {
        async move {
            let writer = Writer {
                node: self.node.to_string(),
                epoch: joined.epoch,
            };
            let begun = self.journal.begin(&writer, joined.last_seq, &joined.heads);
            begun.await.map_err(of_journal)?;
            self.epoch.store(joined.epoch, Ordering::Relaxed);
            Ok(Joined {
                epoch: joined.epoch,
                last_seq: self.journal.last_seq().await.map_err(of_journal)?,
                heads: self.journal.heads().await.map_err(of_journal)?,
            })
        }
        .boxed()
    }

    fn append<'a>(&'a self, charges: &'a [SealedCharge]) -> Answer<'a, ()> {
        async move { self.journal.append(charges).await.map_err(of_journal) }.boxed()
    }

    fn pending(&self, limit: u32) -> Answer<'_, (u64, Vec<SealedCharge>)> {
        async move {
            let epoch = self.epoch.load(Ordering::Relaxed);
            let pending = self.journal.pending(0, limit).await.map_err(of_journal)?;
            Ok((epoch, pending))
        }
        .boxed()
    }

    fn trim(&self, up_to: u64) -> Answer<'_, ()> {
        async move { self.journal.trim(up_to).await.map_err(of_journal) }.boxed()
    }

    fn rewind(&self, to: u64) -> Answer<'_, bool> {
        async move { self.journal.rewind(to).await.map_err(of_journal) }.boxed()
    }

    fn last_seq(&self) -> Answer<'_, u64> {
        async move { self.journal.last_seq().await.map_err(of_journal) }.boxed()
    }

    fn backlog(&self) -> Answer<'_, (u64, Option<i64>)> {
        async move { self.journal.backlog().await.map_err(of_journal) }.boxed()
    }
}

fn of_join(error: JoinError) -> Trouble {
    match error {
        JoinError::Fault(fault) => of_fault(fault),
        taken @ JoinError::Taken { .. } => Trouble::Passing(taken.into()),
        other => Trouble::Refused(other.into()),
    }
}

pub(super) fn of_fault(fault: LedgerFault) -> Trouble {
    let may_pass = fault.may_pass();
    let error = BoxError::from(fault);
    if may_pass {
        Trouble::Passing(error)
    } else {
        Trouble::Refused(error)
    }
}

fn of_journal(error: JournalError) -> Trouble {
    match error {
        JournalError::Fault(fault) => of_fault(fault),
        error @ (JournalError::Gap { .. }
        | JournalError::Conflict { .. }
        | JournalError::OtherNode { .. }
        | JournalError::NoWriter) => Trouble::Astray(error.into()),
        other => Trouble::Refused(other.into()),
    }
}
