//! Sink: where charges become durable, and the numbers and receipts that they get there.

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use billing::{
    AccountId,
    receipt::{Head, Sealer, SigningKey},
};
use billing_store::{SealedCharge, ledger::Joined};
use tokio::sync::Notify;

use crate::{
    layers::rescue::Chain,
    ledger::central::{Central, Journal, Trouble},
    metrics::LedgerMetrics,
};

/// Where the charges of this node become durable.
pub(crate) enum Target {
    /// In the ledger that all share.
    Central(Arc<dyn Central>),
    /// On this node's disk, from where they are shipped.
    Journal(Arc<dyn Journal>),
}

/// Numbers charges, seals their receipts and makes them durable.
pub(crate) struct Sink {
    node: Arc<str>,
    target: Target,
    /// `None` where receipts are off.
    key: Option<Arc<SigningKey>>,
    /// The incarnation that may post; 0 where none may.
    epoch: u64,
    /// Of the last charge that is durable.
    last_seq: u64,
    /// The last receipts that are durable, each of its organisation.
    heads: HashMap<AccountId, (u64, [u8; 32])>,
    is_stalled: bool,
    metrics: LedgerMetrics,
    /// Wakes who ships, or who joins anew.
    wake: Arc<Notify>,
}

impl Sink {
    pub(crate) fn new(
        node: Arc<str>,
        target: Target,
        key: Option<Arc<SigningKey>>,
        metrics: LedgerMetrics,
        wake: Arc<Notify>,
    ) -> Self {
        Self {
            node,
            target,
            key,
            epoch: 0,
            last_seq: 0,
            heads: HashMap::new(),
            is_stalled: false,
            metrics,
            wake,
        }
    }

    /// An incarnation of the node goes on where the one before ended.
    pub(super) fn begin(&mut self, start: Joined) {
        self.epoch = start.epoch;
        self.last_seq = start.last_seq;
        let heads = start.heads.into_iter();
        self.heads = heads
            .map(|head| (head.organisation, (head.seq, head.receipt_hash)))
            .collect();
    }

    /// Whether charges of this incarnation can still be taken.
    pub(super) fn takes(&self, epoch: u64) -> bool {
        epoch == self.epoch && epoch != 0
    }

    /// Gives each charge its number and its receipt, after the last one that is durable.
    pub(super) fn seal(&self, charges: &mut [SealedCharge]) {
        let mut sealer = self.key.clone().map(|key| {
            // Only the chains that go on here, so that a group costs what it has.
            let organisations = charges.iter().map(|sealed| &sealed.charge.organisation);
            let heads: HashMap<&AccountId, Head> = organisations
                .filter_map(|organisation| {
                    let (seq, hash) = *self.heads.get(organisation)?;
                    let organisation_of_head = organisation.clone();
                    Some((
                        organisation,
                        Head {
                            organisation: organisation_of_head,
                            seq,
                            hash,
                        },
                    ))
                })
                .collect();
            Sealer::new(key, heads.into_values())
        });
        for (sealed, seq) in charges.iter_mut().zip(self.last_seq + 1..) {
            sealed.charge.node = self.node.clone();
            sealed.charge.seq = seq;
            let receipt = sealer.as_mut().and_then(|sealer| sealer.seal(&sealed.charge));
            (sealed.receipt, sealed.receipt_hash) = match receipt {
                Some(receipt) => (Some(receipt.json), Some(receipt.hash)),
                None => (None, None),
            };
        }
    }

    pub(super) async fn commit(&self, epoch: u64, charges: &[SealedCharge]) -> Result<(), Trouble> {
        match &self.target {
            Target::Central(central) => central.post(epoch, charges).await,
            Target::Journal(journal) => journal.append(charges).await,
        }
    }

    pub(super) fn committed(&mut self, charges: &[SealedCharge], took: Duration) {
        self.metrics.committed(charges.len() as u64, took);
        for sealed in charges {
            let charge = &sealed.charge;
            self.last_seq = charge.seq;
            if let Some(hash) = sealed.receipt_hash {
                self.heads.insert(charge.organisation.clone(), (charge.seq, hash));
            }
        }
        if std::mem::take(&mut self.is_stalled) {
            tracing::info!("charges are written again");
        }
        if matches!(self.target, Target::Journal(_)) {
            self.wake.notify_one();
        }
    }

    /// Nothing of this incarnation will be taken any more.
    pub(super) fn closed(&mut self, epoch: u64) {
        if epoch == self.epoch {
            self.epoch = 0;
        }
    }

    /// Told once, until it passes.
    pub(super) fn stalled(&mut self, error: &(dyn Error + 'static)) {
        if !std::mem::replace(&mut self.is_stalled, true) {
            tracing::error!(cause = %Chain(error), "charges cannot be written; the ends of answers that cost wait for it");
        }
    }
}
