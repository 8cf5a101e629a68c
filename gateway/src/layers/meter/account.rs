//! The account of a job: from how it ended to the capture of what was held for it.

use billing::{
    Amounts, Currency, End, Nano, Tariff, Terms, Usage,
    receipt::statement::{Absence, Word},
};
use bytes::Bytes;
use http::HeaderValue;
use openapi::{response::Costs, stream::Facts};

use super::{
    CLIENT_LEFT, JobMeter,
    charge::{self, Ending, Seen},
};
use crate::{
    layers::reserve::Coverage,
    ledger::{Captured, Draft, Then},
    statement,
    wall_clock::unix_ms,
};

/// What a job cost its payer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charged {
    pub(super) total: Nano,
    pub(super) currency: Currency,
    pub(super) costs: Costs,
}

impl Charged {
    fn new(amounts: Amounts, terms: &Terms, billed: &Usage, currency: Currency) -> Self {
        // The answer's own share. What is left, with the price for the request and a minimum, is the prompt's.
        let of_tokens = Terms {
            tariff: Tariff {
                request: 0,
                minimum: 0,
                ..terms.tariff
            },
            ..*terms
        };
        let answer = Usage {
            completion: billed.completion,
            reasoning: billed.reasoning,
            ..Usage::default()
        };
        let completion = of_tokens.charge(&answer).total.min(amounts.total);
        Self {
            total: amounts.total,
            currency,
            costs: Costs {
                prompt: amounts.total.saturating_sub(completion).get(),
                completion: completion.get(),
                total: amounts.total.get(),
            },
        }
    }

    /// `0.000072000 TON`
    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::try_from(self.shown()).expect("digits and capitals stand in a header")
    }

    /// The comment in a stream.
    pub(super) fn comment(&self) -> String {
        format!("cost {}", self.shown())
    }

    fn shown(&self) -> String {
        format!("{} {}", self.total, self.currency)
    }
}

impl JobMeter {
    /// Captures what the job is charged and releases the rest of its hold, once. `None` where nothing is charged, or
    /// nobody pays.
    pub(super) fn settle(&mut self, end: End) -> Option<Captured> {
        self.settle_with(end, |_| None).0
    }

    /// The same where the client gets all of the answer. `last`: from what it cost to the last bytes, which are in the
    /// hash of the receipt though they are given only after it is durable. They come back.
    pub(super) fn settle_whole(&mut self, last: impl FnOnce(&Charged) -> Bytes) -> (Option<Captured>, Bytes) {
        let (captured, last) = self.settle_with(End::Complete, |charged| Some(last(charged)));
        (captured, last.unwrap_or_default())
    }

    fn settle_with(
        &mut self,
        end: End,
        last: impl FnOnce(&Charged) -> Option<Bytes>,
    ) -> (Option<Captured>, Option<Bytes>) {
        self.pay_worker(end);
        let Some(coverage) = self.coverage.take() else {
            return (None, None);
        };
        let coverage = *coverage;
        let steps = self.trail.steps();
        let ending = self.ending_for(end, steps.is_dispatched);
        let seen = Seen {
            given: self.facts,
            in_flight: self.pending.deltas,
            prompt: self.input_len.div_ceil(super::BYTES_PER_TOKEN),
            has_hidden_reasoning: steps.has_hidden_reasoning,
        };
        let currency = coverage.reservation.payer().currency;
        let billed = charge::charge(ending, &seen, &coverage.extent);
        let amounts = billed.map_or_else(Amounts::default, |billed| {
            coverage.terms.charge(&billed.usage).at_most(coverage.held())
        });
        let usage = billed.map_or_else(Usage::default, |billed| billed.usage);
        let charged = Charged::new(amounts, &coverage.terms, &usage, currency);
        let last = last(&charged);
        self.charged = Some(charged);
        // What is not charged below is held no more.
        let held = self.held.take();
        self.paid = held.is_some().then_some(charged.total);
        let cited = self.cited.take().or_else(|| self.cite());
        let rests_on = cited.map(|cited| cited.rests_on());
        let witness = self.witness.take();
        // Dropped, the hold is released.
        let Some(billed) = billed.filter(|_| !amounts.total.is_zero()) else {
            return (None, last);
        };
        let evidence = witness.map(|mut witness| {
            if let Some(last) = &last {
                witness.returns(last);
            }
            let stated = statement::judge(self.trail.take_word());
            if let Word::Absent(why) = stated.word
                && why.is_fault()
            {
                self.strike(steps.upstream.as_deref().unwrap_or_default(), why, stated.disagrees);
            }
            let mut evidence = witness.evidence(last.is_some(), steps.tier().name(), rests_on, stated);
            let channel = self.channel.as_ref();
            evidence.paid_by = channel.and_then(|channel| channel.covers(amounts.total));
            evidence
        });
        let Coverage { reservation, terms, .. } = coverage;
        let then = held.map(|held| -> Then { Box::new(|charge| held.charged(charge.amount)) });
        let draft = Draft {
            at_ms: unix_ms(),
            request_id: self.request_id.clone(),
            amount: amounts.total,
            fee: amounts.fee,
            terms,
            model: self.model.clone(),
            endpoint: self.endpoint.as_str().to_owned(),
            backend: steps.backend.as_deref().map(str::to_owned),
            upstream: steps.upstream.as_deref().map(str::to_owned),
            end,
            billed: billed.usage,
            claimed: self.facts.usage.map(super::believable),
            counted: None,
            source: billed.source,
            tags: std::mem::take(&mut self.tags),
            evidence,
        };
        let captured = reservation.capture_and(draft, then);
        let captured = match self.recounting.take() {
            None => captured,
            Some(recounting) => {
                let is_whole = ending == Ending::Whole;
                recounting.follow(captured, is_whole, steps.has_hidden_reasoning)
            }
        };
        (Some(captured), last)
    }

    /// Says what the worker earned that answered, once: what its client would pay for, at the worker's price, and all of
    /// it where the answer is not what the client wanted.
    fn pay_worker(&mut self, end: End) {
        let Some(errand) = self.errand.take() else { return };
        let steps = self.trail.steps();
        let ending = self.ending_for(end, steps.is_dispatched);
        let extent = self
            .coverage
            .as_ref()
            .map_or_else(|| errand.extent(), |coverage| coverage.extent);
        let seen = Seen {
            given: Facts {
                is_broken_json: false,
                ..self.facts
            },
            in_flight: self.pending.deltas,
            prompt: self.input_len.div_ceil(super::BYTES_PER_TOKEN),
            has_hidden_reasoning: steps.has_hidden_reasoning,
        };
        let billed = charge::charge(ending, &seen, &extent).filter(|_| self.status < 300 || self.status == CLIENT_LEFT);
        self.wage = errand.earned(billed.map(|billed| billed.usage).as_ref());
    }

    /// A worker did not state what it did, or not truly.
    fn strike(&self, upstream: &str, why: Absence, member: Option<&str>) {
        tracing::warn!(
            %upstream,
            request = %self.request_id,
            why = why.as_str(),
            member,
            "a worker's statement of its answer is not to be believed"
        );
        self.metrics.misstatement(upstream, why.as_str());
        if let Some(strikes) = &self.strikes {
            strikes.misstated(upstream);
        }
    }

    fn ending_for(&self, end: End, is_dispatched: bool) -> Ending {
        let has_begun = self.facts.frames > 0 || self.pending.frames > 0;
        match end {
            End::Complete if self.is_cut => Ending::Cut,
            End::Complete => Ending::Whole,
            End::Refused => Ending::NotDispatched,
            End::Failed if has_begun => Ending::BrokenOff,
            End::Failed => Ending::Unanswered,
            End::Cancelled if has_begun => Ending::LeftAnswering,
            End::Cancelled if is_dispatched || self.is_answered => Ending::LeftUnanswered,
            End::Cancelled => Ending::NotDispatched,
        }
    }
}
