//! What may be billed where we counted ourselves: claims are checked, not believed.
//!
//! A recount can only lower what is paid. It counts the text that crossed the wire, and so it is a lower bound of what
//! the model read and wrote: templates put words around a prompt, a tokenizer may have cut the same text otherwise.
//! What an honest upstream may claim above it is [`Side::most`]; whoever claims more than that over-claims.

use crate::Usage;

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
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        fn an_honest_claim_stands(p in 0..1_000_000u64, o in 0..1_000_000u64, more in 0..3u64) {
            let claimed = usage(p + p / 50 + more, 0, o + o / 50 + more, 0);
            prop_assert_eq!(recount(p, o, 0).bound(&claimed, HiddenReasoning::Free), claimed);
            prop_assert_eq!(recount(p, o, 0).overclaim(&claimed, HiddenReasoning::Free), None);
        }
    }
}
