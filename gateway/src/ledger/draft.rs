//! Drafts: what Meter knows of a request that ended.

use std::sync::Arc;

use billing::{Charge, ChargeKind, End, Evidence, Nano, Payer, Terms, Usage, UsageSource, book};

/// A [`Charge`] without what comes from the hold and from the node.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Unix time.
    pub(crate) at_ms: i64,
    pub(crate) request_id: String,
    /// What the account pays; never more than is held.
    pub(crate) amount: Nano,
    /// What of it is the gateway's own fee.
    pub(crate) fee: Nano,
    pub(crate) terms: Terms,
    pub(crate) model: String,
    pub(crate) endpoint: String,
    pub(crate) backend: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) end: End,
    pub(crate) billed: Usage,
    pub(crate) claimed: Option<Usage>,
    pub(crate) counted: Option<Usage>,
    pub(crate) source: UsageSource,
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) evidence: Option<Box<Evidence>>,
}

impl Draft {
    /// The node and the number come when it is written.
    pub(super) fn charge(self, payer: &Payer, captured: book::Captured) -> Charge {
        let amount = self.amount.min(captured.held);
        Charge {
            node: Arc::default(),
            seq: 0,
            kind: ChargeKind::Capture,
            at_ms: self.at_ms,
            request_id: self.request_id,
            organisation: payer.organisation.clone(),
            team: payer.team.clone(),
            key: payer.key.clone(),
            day: captured.day,
            month: captured.month,
            bounds: captured.bounds,
            currency: payer.currency,
            held: captured.held,
            amount,
            fee: self.fee.min(amount),
            terms: self.terms,
            model: self.model,
            endpoint: self.endpoint,
            backend: self.backend,
            upstream: self.upstream,
            end: self.end,
            billed: self.billed,
            claimed: self.claimed,
            counted: self.counted,
            source: self.source,
            tags: self.tags,
            evidence: self.evidence,
        }
    }
}
