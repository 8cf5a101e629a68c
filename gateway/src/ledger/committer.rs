//! Committer: captures become durable in groups, in order.
//!
//! All that was queued while the last group was written is the next one: the disk sets the pace, and no timer does.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use billing::{Bounds, Charge, ChargeKind, End, Evidence, Nano, Payer, Terms, Usage, UsageSource};
use tokio::sync::{mpsc, oneshot};

/// What Meter knows of a request that ended; the rest of its [`Charge`] comes from the hold and from the node.
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
    pub(super) fn charge(self, payer: &Payer, held: Nano, (day, month): (u32, u32)) -> Charge {
        let amount = self.amount.min(held);
        Charge {
            node: Arc::from(""),
            seq: 0,
            kind: ChargeKind::Capture,
            at_ms: self.at_ms,
            request_id: self.request_id,
            organisation: payer.organisation.clone(),
            team: payer.team.clone(),
            key: payer.key.clone(),
            day,
            month,
            bounds: Bounds::NONE,
            currency: payer.currency,
            held,
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

/// A charge that is durable.
#[derive(Debug)]
pub(crate) struct Receipted {
    pub(crate) charge: Box<Charge>,
}

/// Why a capture is not known to be durable. The client must not see a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CaptureError {
    /// The database or the disk did not take it in time. It may still become durable.
    #[error("the ledger did not take the charge in time")]
    Late,
    /// This node may post nothing any more; the client pays nothing.
    #[error("the ledger refuses charges of this node")]
    Refused,
}

/// A capture on its way to the disk.
#[derive(Debug)]
pub(crate) struct Captured(oneshot::Receiver<Result<Receipted, CaptureError>>);

impl Captured {
    pub(super) fn refused() -> Self {
        let (answer, waiting) = oneshot::channel();
        drop(answer.send(Err(CaptureError::Refused)));
        Self(waiting)
    }
}

impl Future for Captured {
    type Output = Result<Receipted, CaptureError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            // Who was to answer is gone, and with it what is not written.
            .map(|answer| answer.unwrap_or(Err(CaptureError::Late)))
    }
}

pub(super) struct Queue(mpsc::UnboundedSender<Queued>);

struct Queued {
    charge: Box<Charge>,
    answer: oneshot::Sender<Result<Receipted, CaptureError>>,
}

impl Queue {
    pub(super) fn push(&self, charge: Charge) -> Captured {
        let (answer, waiting) = oneshot::channel();
        let charge = Box::new(charge);
        // Without the task nobody answers, and that is told as an error.
        drop(self.0.send(Queued { charge, answer }));
        Captured(waiting)
    }
}

pub(crate) struct Committer(mpsc::UnboundedReceiver<Queued>);

pub(super) fn queue() -> (Queue, Committer) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Queue(sender), Committer(receiver))
}

impl Committer {
    pub(crate) async fn run(mut self) {
        let mut seq = 0;
        while let Some(Queued { mut charge, answer }) = self.0.recv().await {
            seq += 1;
            charge.seq = seq;
            drop(answer.send(Ok(Receipted { charge })));
        }
    }
}
