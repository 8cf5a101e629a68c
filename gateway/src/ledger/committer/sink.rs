//! Sink: where charges become durable, and the numbers that they get there.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::super::central::{Central, Journal, Sealed, Trouble};
use crate::layers::rescue::Chain;

/// Where the charges of this node become durable.
pub(crate) enum Target {
    /// In the ledger that all share.
    Central(Arc<dyn Central>),
    /// On this node's disk, from where they are shipped.
    Journal(Arc<dyn Journal>),
}

/// Where an incarnation of the node goes on.
pub(crate) struct Start {
    pub(crate) epoch: i64,
    /// Of the last charge of this node.
    pub(crate) last_seq: u64,
}

/// Numbers charges and makes them durable.
pub(crate) struct Sink {
    node: Arc<str>,
    target: Target,
    /// The incarnation that may post; 0 where none may.
    epoch: i64,
    /// Of the last charge that is durable.
    last_seq: u64,
    is_stalled: bool,
    /// Wakes who ships, or who joins anew.
    wake: Arc<Notify>,
}

impl Sink {
    pub(crate) fn new(node: Arc<str>, target: Target, wake: Arc<Notify>) -> Self {
        Self {
            node,
            target,
            epoch: 0,
            last_seq: 0,
            is_stalled: false,
            wake,
        }
    }

    pub(super) fn begin(&mut self, start: Start) {
        self.epoch = start.epoch;
        self.last_seq = start.last_seq;
    }

    /// Whether charges of this incarnation can still be taken. A journal takes all: what becomes of them is decided
    /// when they are posted.
    pub(super) fn takes(&self, epoch: i64) -> bool {
        match self.target {
            Target::Central(_) => epoch == self.epoch && epoch != 0,
            Target::Journal(_) => true,
        }
    }

    /// Gives each charge its number.
    pub(super) fn seal(&mut self, charges: &mut [Sealed]) {
        for (sealed, seq) in charges.iter_mut().zip(self.last_seq + 1..) {
            sealed.charge.node = self.node.clone();
            sealed.charge.seq = seq;
        }
    }

    pub(super) async fn commit(&self, epoch: i64, charges: &[Sealed]) -> Result<(), Trouble> {
        match &self.target {
            Target::Central(central) => central.post(epoch, charges).await,
            Target::Journal(journal) => journal.append(epoch, charges).await,
        }
    }

    pub(super) fn committed(&mut self, charges: &[Sealed], _took: Duration) {
        if let Some(last) = charges.last() {
            self.last_seq = last.charge.seq;
        }
        if std::mem::take(&mut self.is_stalled) {
            tracing::info!("charges are written again");
        }
        if matches!(self.target, Target::Journal(_)) {
            self.wake.notify_one();
        }
    }

    pub(super) fn closed(&mut self, epoch: i64) {
        if epoch == self.epoch {
            self.epoch = 0;
        }
        self.wake.notify_one();
    }

    /// Told once, until it passes.
    pub(super) fn stalled(&mut self, error: &(dyn Error + 'static)) {
        if !std::mem::replace(&mut self.is_stalled, true) {
            tracing::error!(cause = %Chain(error), "charges cannot be written; answers that cost wait for it");
        }
    }
}
