//! What a request can cost at most, before it runs.
//!
//! An estimate is a promise: whatever usage comes back within its bounds, what is charged is at most the ceiling. What
//! exceeds the bounds is the caller's to cut or to bear; [`Amounts::at_most`](crate::Amounts::at_most) does the latter.

use crate::{Nano, Tariff, Terms, Usage};

/// What a prompt can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptBound {
    /// Plain text alone: no token is less than a byte.
    Bytes(u64),
    /// A part is not plain text, or is kept upstream: the model's context window.
    Context(u64),
}

/// What answers can come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Tokens of one answer, reasoning included.
    pub tokens: u64,
    /// Answers to one prompt: the greater of `n` and `best_of`.
    pub choices: u64,
    /// Prompts in the request; of an endpoint that takes a list of them more than one.
    pub prompts: u64,
}

/// The most that a request can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens of all prompts.
    pub prompt: u64,
    /// Tokens of all answers.
    pub output: u64,
}

impl PromptBound {
    /// What chat templates add that no byte of the request stands for: a system prompt of their own, marks of turns.
    /// The longest one that we know is below two hundred tokens.
    const TEMPLATE: u64 = 256;

    /// Of all prompts together; the bytes are those of all.
    fn tokens(self, prompts: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.saturating_add(Self::TEMPLATE.saturating_mul(prompts)),
            Self::Context(tokens) => tokens.saturating_mul(prompts),
        }
    }
}

impl Output {
    /// No answer: embeddings and their like.
    pub const NONE: Self = Self {
        tokens: 0,
        choices: 1,
        prompts: 1,
    };

    fn answers(self) -> u64 {
        self.choices.max(1).saturating_mul(self.prompts.max(1))
    }
}

impl Estimate {
    pub fn new(prompt: PromptBound, output: Output) -> Self {
        Self {
            prompt: prompt.tokens(output.prompts.max(1)),
            output: output.tokens.saturating_mul(output.answers()),
        }
    }

    /// What no usage within these bounds exceeds: every token in the dearest of the classes that it may turn out to be
    /// in, with fee, price for the request and minimum.
    pub fn ceiling(&self, terms: &Terms) -> Nano {
        let dearest = Terms {
            tariff: Tariff {
                prompt: terms.tariff.prompt.max(terms.tariff.cached),
                completion: terms.tariff.completion.max(terms.tariff.reasoning),
                ..terms.tariff
            },
            ..*terms
        };
        let most = Usage {
            prompt: self.prompt,
            completion: self.output,
            ..Usage::default()
        };
        dearest.charge(&most).total
    }

    /// Of an output bound that nobody set: the most tokens for each answer whose ceiling is within `sum`, up to
    /// `output.tokens`. `None` where not even an answer of no token is.
    pub fn affordable_output(terms: &Terms, prompt: PromptBound, output: Output, sum: Nano) -> Option<u64> {
        let fits = |tokens| Self::new(prompt, Output { tokens, ..output }).ceiling(terms) <= sum;
        if fits(output.tokens) {
            return Some(output.tokens);
        }
        if !fits(0) {
            return None;
        }
        // More tokens never have a lower ceiling, so that the last one that fits is found by halving.
        let (mut good, mut bad) = (0_u64, output.tokens);
        while good.saturating_add(1) < bad {
            let middle = good.midpoint(bad);
            if fits(middle) {
                good = middle;
            } else {
                bad = middle;
            }
        }
        Some(good)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Currency, Fee};

    fn price() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 0..200_000_000_000_u64, any::<u64>()]
    }

    fn terms() -> impl Strategy<Value = Terms> {
        let tariff = [price(), price(), price(), price(), price(), price()];
        let rate = proptest::option::of((1..5_000_000_000_u64).prop_map(Nano::saturating));
        (tariff, [price(), price()], rate).prop_map(
            |([prompt, cached, completion, reasoning, request, minimum], [fee, output_fee], rate)| Terms {
                tariff: Tariff {
                    prompt,
                    cached,
                    completion,
                    reasoning,
                    request,
                    minimum,
                },
                fee: Fee {
                    prompt: fee,
                    completion: output_fee,
                },
                currency: Currency::TON,
                rate,
            },
        )
    }

    fn bounds() -> impl Strategy<Value = (PromptBound, Output)> {
        let prompt = prop_oneof![
            (0..200_000_u64).prop_map(PromptBound::Bytes),
            (0..200_000_u64).prop_map(PromptBound::Context),
        ];
        let output = (0..40_000_u64, 0..5_u64, 0..4_u64).prop_map(|(tokens, choices, prompts)| Output {
            tokens,
            choices,
            prompts,
        });
        (prompt, output)
    }

    /// A part of a whole in 1024ths, rounded down.
    fn part(whole: u64, of_1024: u64) -> u64 {
        whole.saturating_mul(of_1024) / 1024
    }

    proptest! {
        #[test]
        fn no_usage_within_the_bounds_exceeds_the_ceiling(
            terms in terms(),
            (prompt, output) in bounds(),
            parts in [0..=1024_u64, 0..=1024, 0..=1024, 0..=1024],
        ) {
            let estimate = Estimate::new(prompt, output);
            let [prompt_part, cached_part, output_part, reasoning_part] = parts;
            let (prompt, output) = (part(estimate.prompt, prompt_part), part(estimate.output, output_part));
            let usage = Usage::from_totals(prompt, part(prompt, cached_part), output, part(output, reasoning_part));
            prop_assert!(terms.charge(&usage).total <= estimate.ceiling(&terms));
        }

        #[test]
        fn what_is_affordable_is_and_one_more_is_not(
            terms in terms(),
            (prompt, output) in bounds(),
            sum in price().prop_map(Nano::saturating),
        ) {
            let ceiling = |tokens| Estimate::new(prompt, Output { tokens, ..output }).ceiling(&terms);
            match Estimate::affordable_output(&terms, prompt, output, sum) {
                None => prop_assert!(ceiling(0) > sum),
                Some(tokens) => {
                    prop_assert!(tokens <= output.tokens && ceiling(tokens) <= sum);
                    prop_assert!(tokens == output.tokens || ceiling(tokens.saturating_add(1)) > sum);
                }
            }
        }
    }

    #[test]
    fn every_answer_of_every_prompt_counts() {
        let output = Output {
            tokens: 100,
            choices: 3,
            prompts: 4,
        };
        let estimate = |prompt| Estimate::new(prompt, output);
        assert_eq!(
            estimate(PromptBound::Bytes(1000)),
            Estimate {
                prompt: 2024,
                output: 1200
            }
        );
        assert_eq!(estimate(PromptBound::Context(8192)).prompt, 32_768);
        assert_eq!(Estimate::new(PromptBound::Bytes(0), Output::NONE).output, 0);
    }
}
