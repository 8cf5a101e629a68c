//! The one worker that counts, beside the requests: a core at most, whatever they bring.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use billing::{Charge, HiddenReasoning, Recount};
use tokio::sync::mpsc;

use billing_store::{LedgerFault, LedgerStore, ledger::Strikes};

use super::{
    count::Texts,
    transcript::{Memory, Transcript},
    vocabulary::{Unfinished, Vocabulary},
};
use crate::{
    layers::rescue::Chain,
    ledger::Ledger,
    metrics::{Metrics, RecountOutcome},
    wall_clock::unix_ms,
};

/// Captures that wait to be counted. Beyond it claims stand uncounted, and the metric says so.
const WAITING: usize = 1024;
/// Bytes of all answers that are kept at a time.
const MEMORY: usize = 256 * 1024 * 1024;
/// What one recount may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is counted when the charge is durable.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) texts: Texts,
    pub(crate) vocabulary: Arc<Vocabulary>,
    pub(crate) hidden: HiddenReasoning,
}

/// What the worker is told.
#[derive(Debug)]
enum Order {
    Count(Box<(Pending, Charge)>),
    /// A worker did not state its answer, or not truly.
    Misstated(String),
    /// Nothing more comes.
    Close,
}

/// Where captures are handed in. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Recounts {
    orders: mpsc::Sender<Order>,
    memory: Arc<Memory>,
    metrics: Arc<Metrics>,
    /// Where strikes are kept; `None` where nothing is on disk.
    strikes: Option<LedgerStore>,
}

/// The work that was handed in, for the task that does it.
#[derive(Debug)]
pub(crate) struct Counting {
    orders: mpsc::Receiver<Order>,
    metrics: Arc<Metrics>,
    strikes: Option<LedgerStore>,
}

/// Of one capture, what its recount found.
#[derive(Debug)]
struct Finding {
    charge: Charge,
    recount: Recount,
    hidden: HiddenReasoning,
    /// By how many tokens the upstream claimed too much.
    overclaim: Option<u64>,
}

/// A place to hand captures in, and the worker behind it.
pub(crate) fn recounts(metrics: Arc<Metrics>, strikes: Option<LedgerStore>) -> (Recounts, Counting) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let recounts = Recounts {
        orders: sender,
        memory: Arc::new(Memory::new(MEMORY)),
        metrics: metrics.clone(),
        strikes: strikes.clone(),
    };
    let counting = Counting {
        orders: receiver,
        metrics,
        strikes,
    };
    (recounts, counting)
}

impl Recounts {
    /// Where the words of one answer are kept until they are counted.
    pub(crate) fn transcript(&self) -> Transcript {
        Transcript::new(self.memory.clone())
    }

    /// Hands a durable capture in. Never waits.
    pub(crate) fn submit(&self, pending: Pending, charge: Charge) {
        let order = Order::Count(Box::new((pending, charge)));
        if self.orders.try_send(order).is_err() {
            self.metrics.recount(RecountOutcome::Skipped);
        }
    }

    /// A worker did not state its answer, or not truly: a strike, which is written down beside the requests. Never waits.
    pub(crate) fn misstated(&self, upstream: &str) {
        if self.orders.try_send(Order::Misstated(upstream.to_owned())).is_err() {
            tracing::warn!(%upstream, "a strike was not written down");
        }
    }

    /// What is held against upstreams, by this gateway and all that share its database.
    pub(crate) async fn strikes(&self) -> Result<Vec<Strikes>, LedgerFault> {
        match &self.strikes {
            Some(store) => store.strikes().await,
            None => Ok(Vec::new()),
        }
    }

    /// The worker ends when it has done what was handed in until now.
    pub(crate) async fn close(&self) {
        // It may have ended already.
        drop(self.orders.send(Order::Close).await);
    }
}

impl Counting {
    /// Counts, gives back and strikes, until told to close.
    pub(crate) async fn run(mut self, ledger: Ledger) {
        while let Some(found) = self.next().await {
            self.act(found, &ledger).await;
        }
    }

    async fn act(&self, found: Finding, ledger: &Ledger) {
        let Finding {
            charge,
            recount,
            hidden,
            overclaim,
        } = found;
        if let Some(refund) = charge.refund(&recount, hidden, unix_ms()) {
            // What cannot be written now is tried again behind this, and is in the log if it never can.
            drop(ledger.post(refund).await);
        }
        let (Some(tokens), Some(upstream)) = (overclaim, charge.upstream) else {
            return;
        };
        tracing::warn!(
            %upstream,
            model = %charge.model,
            request = %charge.request_id,
            tokens,
            "an upstream claimed more tokens than there were"
        );
        if let Some(store) = &self.strikes
            && let Err(error) = store.strike(&upstream, tokens, unix_ms()).await
        {
            tracing::warn!(error = %Chain(&error), %upstream, "a strike was not written down");
        }
    }

    async fn misstated(&self, upstream: &str) {
        if let Some(store) = &self.strikes
            && let Err(error) = store.strike_misstatement(upstream, unix_ms()).await
        {
            tracing::warn!(error = %Chain(&error), %upstream, "a strike was not written down");
        }
    }

    /// The next finding of too much; `None` when nothing more comes.
    async fn next(&mut self) -> Option<Finding> {
        loop {
            let (pending, charge) = match self.orders.recv().await? {
                Order::Count(job) => *job,
                Order::Misstated(upstream) => {
                    self.misstated(&upstream).await;
                    continue;
                }
                Order::Close => return None,
            };
            let hidden = pending.hidden;
            let counting = tokio::task::spawn_blocking(move || {
                // The texts end here, whatever comes of the count.
                pending.texts.count(&pending.vocabulary, Instant::now() + PATIENCE)
            });
            // A tokenizer that panics on a text has refused it.
            let counted = counting.await.unwrap_or(Err(Unfinished::Refused));
            let (outcome, found) = judge(charge, counted, hidden);
            if let Some(upstream) = found.as_ref().and_then(Finding::liar) {
                self.metrics.overclaim(upstream);
            }
            self.metrics.recount(outcome);
            if found.is_some() {
                return found;
            }
        }
    }
}

impl Finding {
    /// The upstream that claimed too much, if one did.
    fn liar(&self) -> Option<&str> {
        self.overclaim.and(self.charge.upstream.as_deref())
    }
}

fn judge(
    charge: Charge,
    counted: Result<Recount, Unfinished>,
    hidden: HiddenReasoning,
) -> (RecountOutcome, Option<Finding>) {
    let recount = match counted {
        Err(Unfinished::Late) => return (RecountOutcome::Late, None),
        Err(Unfinished::Refused) => return (RecountOutcome::Uncountable, None),
        Ok(recount) if recount == Recount::default() => return (RecountOutcome::Uncountable, None),
        Ok(recount) => recount,
    };
    // Where the upstream claimed nothing there is nobody to blame, and money to give back all the same.
    let overclaim = charge.claimed.and_then(|claimed| recount.overclaim(&claimed, hidden));
    let outcome = if overclaim.is_some() {
        RecountOutcome::Overclaimed
    } else {
        RecountOutcome::Agreed
    };
    let is_too_much = overclaim.is_some() || recount.bound(&charge.billed, hidden) != charge.billed;
    let found = is_too_much.then_some(Finding {
        charge,
        recount,
        hidden,
        overclaim,
    });
    (outcome, found)
}

#[cfg(test)]
mod tests {
    use billing::{Answer, Side, Usage, UsageSource};

    use super::*;

    fn charge(claimed: Option<Usage>, billed: Usage) -> Charge {
        let zero = billing::Nano::ZERO;
        Charge {
            node: "node".into(),
            seq: 1,
            kind: billing::ChargeKind::Capture,
            at_ms: 0,
            request_id: String::new(),
            organisation: billing::AccountId::organisation("acme").expect("a name"),
            team: None,
            key: None,
            day: 0,
            month: 0,
            bounds: billing::Bounds::NONE,
            currency: billing::Currency::USD,
            held: zero,
            amount: zero,
            fee: zero,
            terms: billing::Terms {
                tariff: billing::Tariff {
                    prompt: 1,
                    cached: 1,
                    completion: 1,
                    reasoning: 1,
                    request: 0,
                    minimum: 0,
                },
                fee: billing::Fee::default(),
                currency: billing::Currency::USD,
                rate: None,
            },
            model: String::new(),
            endpoint: String::new(),
            backend: None,
            upstream: None,
            end: billing::End::Complete,
            billed,
            claimed,
            counted: None,
            source: UsageSource::Upstream,
            tags: Vec::new(),
            evidence: None,
        }
    }

    #[test]
    fn judgements() {
        let counted = Recount {
            prompt: Some(Side { tokens: 100, around: 0 }),
            answer: Some(Answer {
                visible: 100,
                ..Answer::default()
            }),
        };
        let check = |claimed: Option<u64>, billed: u64, counted, outcome, overclaim: Option<Option<u64>>| {
            let usage = |completion| Usage::from_totals(100, 0, completion, 0);
            let charge = charge(claimed.map(usage), usage(billed));
            let (told, found) = judge(charge, counted, HiddenReasoning::Free);
            let found = found.map(|finding| finding.overclaim);
            assert_eq!(
                (told, found),
                (outcome, overclaim),
                "for {claimed:?}, {billed}, {counted:?}"
            );
        };
        check(Some(100), 100, Ok(counted), RecountOutcome::Agreed, None);
        check(Some(104), 104, Ok(counted), RecountOutcome::Agreed, None);
        check(
            Some(300),
            300,
            Ok(counted),
            RecountOutcome::Overclaimed,
            Some(Some(196)),
        );
        // A cheap bound had cut the claim already: a strike all the same.
        check(Some(300), 90, Ok(counted), RecountOutcome::Overclaimed, Some(Some(196)));
        // An estimate of ours was too high.
        check(None, 300, Ok(counted), RecountOutcome::Agreed, Some(None));
        check(
            Some(300),
            300,
            Ok(Recount::default()),
            RecountOutcome::Uncountable,
            None,
        );
        check(
            Some(300),
            300,
            Err(Unfinished::Refused),
            RecountOutcome::Uncountable,
            None,
        );
        check(Some(300), 300, Err(Unfinished::Late), RecountOutcome::Late, None);
    }
}
