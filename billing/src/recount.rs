//! What may be billed where we counted ourselves: claims are checked, not believed.
//!
//! A recount can only lower what is paid. It counts the text that crossed the wire, and so it is a lower bound of what
//! the model read and wrote: templates put words around a prompt, a tokenizer may have cut the same text otherwise.
//! What an honest upstream may claim above it is [`Side::most`]; whoever claims more than that over-claims.

use crate::{Bounds, Charge, ChargeKind, Nano, Usage};

/// Tokens counted with the model's own tokenizer. `None` where that side is not text alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recount {
    pub prompt: Option<Side>,
    pub answer: Option<Answer>,
}

/// A text, and what is known to stand around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    pub tokens: u64,
    /// Tokens that a template or a protocol may have added.
    pub around: u64,
}

/// An answer in what is shown and what was thought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub visible: u64,
    /// Of reasoning that was delivered.
    pub reasoning: u64,
    pub around: u64,
}

/// Whether reasoning that was not delivered is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HiddenReasoning {
    /// As claimed, for nobody but its provider can count it.
    Billed,
    Free,
}

impl Side {
    /// The most that an honest claim is: 2 % and 2 tokens above the count, and what stands around.
    pub fn most(&self) -> u64 {
        let margin = self.tokens.div_euclid(50).saturating_add(2);
        self.tokens.saturating_add(margin).saturating_add(self.around)
    }
}

impl Recount {
    /// What of a usage may be billed. No total grows; reasoning above what was thought becomes completion.
    pub fn bound(&self, usage: &Usage, hidden: HiddenReasoning) -> Usage {
        let prompt = self
            .prompt
            .map_or(usage.prompt_total(), |side| side.most().min(usage.prompt_total()));
        let completion = match self.answer {
            None => *usage,
            Some(answer) if hidden == HiddenReasoning::Billed && usage.reasoning > 0 => Usage {
                completion: usage.completion.min(answer.shown().most()),
                ..*usage
            },
            Some(answer) => {
                let total = usage.completion_total().min(answer.whole().most());
                // What was not thought is not sold as thought.
                let reasoning = usage.reasoning.min(answer.thought().most());
                Usage::from_totals(0, 0, total, reasoning)
            }
        };
        let prompt = Usage::from_totals(prompt, usage.cached, 0, 0);
        Usage {
            completion: completion.completion,
            reasoning: completion.reasoning,
            ..prompt
        }
    }

    /// By how many tokens a claim is above what an honest one is at most; `None` for an honest one.
    ///
    /// Reasoning that nobody saw is no over-claim, whoever pays for it.
    pub fn overclaim(&self, claimed: &Usage, hidden: HiddenReasoning) -> Option<u64> {
        let is_unseen = self.answer.is_some_and(|answer| answer.reasoning == 0);
        let hidden = if is_unseen { HiddenReasoning::Billed } else { hidden };
        let honest = self.bound(claimed, hidden);
        match claimed.total().saturating_sub(honest.total()) {
            0 => None,
            tokens => Some(tokens),
        }
    }

    /// What was counted, as a usage.
    pub fn counted(&self) -> Usage {
        let answer = self.answer.unwrap_or_default();
        Usage {
            prompt: self.prompt.map_or(0, |side| side.tokens),
            cached: 0,
            completion: answer.visible,
            reasoning: answer.reasoning,
        }
    }
}

impl Charge {
    /// What a capture gives back after a recount, at the terms that it was made at: `None` where it was not too much.
    ///
    /// The refund says in `billed` what is paid for after all. Never more comes back than was paid, and what was paid
    /// for a part stays that part.
    pub fn refund(&self, recount: &Recount, hidden: HiddenReasoning, at_ms: i64) -> Option<Self> {
        if self.kind != ChargeKind::Capture {
            return None;
        }
        let billed = recount.bound(&self.billed, hidden);
        let before = self.terms.charge(&self.billed).at_most(self.held);
        let after = self.terms.charge(&billed).at_most(self.held);
        let due = after.total.share_of(self.amount, before.total);
        let fee_due = after.fee.share_of(self.fee, before.fee).min(due);
        let amount = self.amount.checked_sub(due).filter(|amount| !amount.is_zero())?;
        Some(Self {
            kind: ChargeKind::Refund { of: self.seq },
            at_ms,
            bounds: Bounds::NONE,
            held: self.amount,
            amount,
            fee: self.fee.saturating_sub(fee_due).min(amount),
            billed,
            counted: Some(recount.counted()),
            ..self.clone()
        })
    }
}

impl Nano {
    /// What is paid of this where `part` was paid of `whole`: rounded up, and never more than `part`.
    fn share_of(self, part: Self, whole: Self) -> Self {
        if self >= whole {
            return part;
        }
        let product = u128::from(self.get()).saturating_mul(u128::from(part.get()));
        let share = product.div_ceil(u128::from(whole.get()));
        u64::try_from(share).map_or(part, Self::saturating).min(part)
    }
}

impl Answer {
    fn shown(&self) -> Side {
        self.side(self.visible)
    }

    fn thought(&self) -> Side {
        self.side(self.reasoning)
    }

    fn whole(&self) -> Side {
        self.side(self.visible.saturating_add(self.reasoning))
    }

    fn side(&self, tokens: u64) -> Side {
        Side {
            tokens,
            around: self.around,
        }
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "what overflows in a test fails it")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AccountId, Currency, End, Fee, Tariff, Terms, UsageSource};

    const NOTHING: Recount = Recount {
        prompt: None,
        answer: None,
    };

    fn recount(prompt: u64, visible: u64, reasoning: u64) -> Recount {
        Recount {
            prompt: Some(Side {
                tokens: prompt,
                around: 0,
            }),
            answer: Some(Answer {
                visible,
                reasoning,
                around: 0,
            }),
        }
    }

    fn usage(prompt: u64, cached: u64, completion: u64, reasoning: u64) -> Usage {
        Usage {
            prompt,
            cached,
            completion,
            reasoning,
        }
    }

    #[test]
    fn the_rule_of_the_contract() {
        // min(claimed, recount × 1.02 + 2), rounded down.
        let check = |counted: u64, claimed: u64, billed: u64| {
            let bounded = recount(0, counted, 0).bound(&usage(0, 0, claimed, 0), HiddenReasoning::Free);
            assert_eq!(
                bounded.completion, billed,
                "for {claimed} claimed and {counted} counted"
            );
        };
        check(100, 99, 99);
        check(100, 104, 104);
        check(100, 105, 104);
        check(100, 300, 104);
        check(149, 400, 153);
        check(0, 9, 2);
        check(u64::MAX, u64::MAX, u64::MAX);
    }

    #[test]
    fn classes_and_sides() {
        let check = |recount: Recount, claimed: Usage, hidden, billed: Usage, over: Option<u64>| {
            assert_eq!(recount.bound(&claimed, hidden), billed, "for {claimed:?}, {recount:?}");
            assert_eq!(
                recount.overclaim(&claimed, hidden),
                over,
                "for {claimed:?}, {recount:?}"
            );
        };
        let free = HiddenReasoning::Free;
        let billed = HiddenReasoning::Billed;
        // Nothing countable: the claim stands.
        check(NOTHING, usage(9, 9, 9, 9), free, usage(9, 9, 9, 9), None);
        // The cached part of a prompt is kept, for it is the cheaper one.
        check(
            recount(100, 0, 0),
            usage(300, 50, 0, 0),
            free,
            usage(54, 50, 0, 0),
            Some(246),
        );
        check(
            recount(10, 0, 0),
            usage(0, 50, 0, 0),
            free,
            usage(0, 12, 0, 0),
            Some(38),
        );
        // Delivered reasoning counts with the rest.
        check(recount(0, 50, 50), usage(0, 0, 100, 0), free, usage(0, 0, 100, 0), None);
        check(
            recount(0, 50, 50),
            usage(0, 0, 50, 150),
            free,
            usage(0, 0, 51, 53),
            Some(96),
        );
        // Hidden reasoning: paid for where the operator says so, and never a strike.
        check(
            recount(0, 50, 0),
            usage(0, 0, 50, 150),
            billed,
            usage(0, 0, 50, 150),
            None,
        );
        check(recount(0, 50, 0), usage(0, 0, 50, 150), free, usage(0, 0, 51, 2), None);
        check(
            recount(0, 50, 0),
            usage(0, 0, 150, 150),
            billed,
            usage(0, 0, 53, 150),
            Some(97),
        );
        // A summary of what was thought.
        check(
            recount(0, 50, 10),
            usage(0, 0, 50, 150),
            billed,
            usage(0, 0, 50, 150),
            None,
        );
    }

    fn captured(billed: Usage, held: u64, amount: u64, fee: u64) -> Charge {
        Charge {
            node: "node".into(),
            seq: 7,
            kind: ChargeKind::Capture,
            at_ms: 1,
            request_id: "req".to_owned(),
            organisation: AccountId::organisation("acme").expect("a name"),
            team: None,
            key: None,
            day: 20_000,
            month: 657,
            bounds: Bounds::NONE,
            currency: Currency::TON,
            held: Nano::saturating(held),
            amount: Nano::saturating(amount),
            fee: Nano::saturating(fee),
            terms: Terms {
                tariff: Tariff {
                    prompt: 20_000_000,
                    cached: 5_000_000,
                    completion: 160_000_000,
                    reasoning: 160_000_000,
                    request: 0,
                    minimum: 0,
                },
                fee: Fee {
                    prompt: 1_000_000,
                    completion: 8_000_000,
                },
                currency: Currency::TON,
                rate: None,
            },
            model: "m".to_owned(),
            endpoint: "chat_completions".to_owned(),
            backend: None,
            upstream: None,
            end: End::Complete,
            billed,
            claimed: Some(billed),
            counted: None,
            source: UsageSource::Upstream,
            tags: Vec::new(),
            evidence: None,
        }
    }

    /// `amount fee`, or nothing.
    fn refunded(charge: &Charge, recount: &Recount) -> Option<(u64, u64)> {
        let refund = charge.refund(recount, HiddenReasoning::Free, 2)?;
        assert_eq!(
            (refund.kind, refund.held),
            (ChargeKind::Refund { of: 7 }, charge.amount)
        );
        assert_eq!(refund.refund(recount, HiddenReasoning::Free, 3), None, "once");
        Some((refund.amount.get(), refund.fee.get()))
    }

    #[test]
    fn refunds() {
        // 300 claimed, 100 counted, 104 billed: 196 tokens at 160 and 8.
        let lied = captured(usage(0, 0, 300, 0), 100_000, 50_400, 2_400);
        let counted = recount(0, 100, 0);
        assert_eq!(refunded(&lied, &counted), Some((196 * 168, 196 * 8)));
        let refund = lied.refund(&counted, HiddenReasoning::Free, 2).expect("too much");
        assert_eq!(refund.billed, usage(0, 0, 104, 0));
        assert_eq!(refund.counted, Some(usage(0, 0, 100, 0)));
        // Honest.
        assert_eq!(
            refunded(&captured(usage(0, 0, 104, 0), 100_000, 17_472, 832), &counted),
            None
        );
        // The hold was short: 30,000 of 50,400 paid, and 17,472 due.
        let clipped = captured(usage(0, 0, 300, 0), 30_000, 30_000, 0);
        assert_eq!(refunded(&clipped, &counted), Some((30_000 - 17_472, 0)));
        // The hold was shorter than what is due.
        assert_eq!(
            refunded(&captured(usage(0, 0, 300, 0), 9_000, 9_000, 0), &counted),
            None
        );
        // Half was paid, and half of the difference comes back.
        let half = captured(usage(0, 0, 300, 0), 100_000, 25_200, 1_200);
        assert_eq!(refunded(&half, &counted), Some((98 * 168, 98 * 8)));
    }

    fn count() -> impl Strategy<Value = u64> {
        prop_oneof![0..2_000_u64, any::<u64>()]
    }

    proptest! {
        #[test]
        fn no_total_grows(
            p in count(), c in count(), o in count(), r in count(),
            counted in proptest::option::of((count(), count())), side in proptest::option::of((count(), count())),
            is_billed: bool,
        ) {
            let claimed = usage(p, c, o, r);
            let recount = Recount {
                prompt: side.map(|(tokens, around)| Side { tokens, around }),
                answer: counted.map(|(visible, reasoning)| Answer { visible, reasoning, around: 0 }),
            };
            let hidden = if is_billed { HiddenReasoning::Billed } else { HiddenReasoning::Free };
            let bounded = recount.bound(&claimed, hidden);
            prop_assert!(bounded.prompt_total() <= claimed.prompt_total());
            prop_assert!(bounded.completion_total() <= claimed.completion_total());
            prop_assert!(bounded.cached <= claimed.cached && bounded.reasoning <= claimed.reasoning);
            // What was bounded is honest, and bounding it again changes nothing.
            prop_assert_eq!(recount.bound(&bounded, hidden), bounded);
            prop_assert_eq!(recount.overclaim(&bounded, hidden), None);
        }

        #[test]
        fn never_more_comes_back_than_was_paid(
            o in 0..100_000u64, p in 0..100_000u64, counted in (0..100_000u64, 0..100_000u64), held in 0..40_000_000u64,
            parts in 1..3u64,
        ) {
            let billed = usage(p, 0, o, 0);
            let mut charge = captured(billed, held, 0, 0);
            let amounts = charge.terms.charge(&billed).at_most(charge.held);
            charge.amount = Nano::saturating(amounts.total.get() / parts);
            charge.fee = Nano::saturating(amounts.fee.get() / parts);
            let recount = recount(counted.0, counted.1, 0);
            if let Some(refund) = charge.refund(&recount, HiddenReasoning::Free, 2) {
                let left = charge.amount.checked_sub(refund.amount);
                let fee_left = charge.fee.checked_sub(refund.fee);
                prop_assert!(fee_left.is_some() && refund.fee <= refund.amount && fee_left <= left);
                let due = charge.terms.charge(&recount.bound(&billed, HiddenReasoning::Free));
                prop_assert!(left >= Some(Nano::saturating(due.at_most(charge.held).total.get() / parts)));
            }
        }

        #[test]
        fn an_honest_claim_stands(p in 0..1_000_000u64, o in 0..1_000_000u64, more in 0..3u64) {
            let claimed = usage(p + p / 50 + more, 0, o + o / 50 + more, 0);
            prop_assert_eq!(recount(p, o, 0).bound(&claimed, HiddenReasoning::Free), claimed);
            prop_assert_eq!(recount(p, o, 0).overclaim(&claimed, HiddenReasoning::Free), None);
        }
    }
}
