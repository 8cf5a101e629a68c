//! Token counts of one request, in classes that do not overlap.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Tokens of one request, each counted in exactly one class.
///
/// The wire counts otherwise: there `prompt_tokens` includes the cached ones and `completion_tokens` includes reasoning.
/// Use [`Usage::from_totals`] for numbers from the wire, and the `*_total` methods to go back.
/// Classes have prices of their own, so a token in two of them would be paid twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// Prompt tokens that the upstream had to compute.
    pub prompt: u64,
    /// Prompt tokens that the upstream took from its cache.
    pub cached: u64,
    /// Completion tokens of the answer, without reasoning.
    pub completion: u64,
    /// Completion tokens spent on reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// The most tokens of one total that are believed. No model reads or writes four thousand million, and an upstream
    /// that claims to must make no sum overflow.
    pub const MOST: u64 = 4_294_967_295;

    /// Splits the overlapping counts of the wire.
    ///
    /// The totals are what upstreams agree on, so they win: a part greater than its total is cut down to it.
    pub fn from_totals(prompt_total: u64, cached: u64, completion_total: u64, reasoning: u64) -> Self {
        let cached = cached.min(prompt_total);
        let reasoning = reasoning.min(completion_total);
        Self {
            prompt: prompt_total.saturating_sub(cached),
            cached,
            completion: completion_total.saturating_sub(reasoning),
            reasoning,
        }
    }

    /// `prompt_tokens` as the wire counts them.
    pub fn prompt_total(&self) -> u64 {
        self.prompt.saturating_add(self.cached)
    }

    /// `completion_tokens` as the wire counts them.
    pub fn completion_total(&self) -> u64 {
        self.completion.saturating_add(self.reasoning)
    }

    /// `total_tokens` as the wire counts them.
    pub fn total(&self) -> u64 {
        self.prompt_total().saturating_add(self.completion_total())
    }
}

/// Who counted a [`Usage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageSource {
    /// The upstream reported it.
    Upstream,
    /// The upstream reported nothing and the gateway estimated it.
    Estimated,
    /// Nobody: the request reached no model, and its counts are zero.
    None,
}

impl UsageSource {
    pub const ALL: [Self; 3] = [Self::Upstream, Self::Estimated, Self::None];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

impl FromStr for UsageSource {
    type Err = UnknownUsageSource;

    fn from_str(word: &str) -> Result<Self, UnknownUsageSource> {
        Self::ALL
            .into_iter()
            .find(|source| source.as_str() == word)
            .ok_or(UnknownUsageSource)
    }
}

/// The word names no [`UsageSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a usage source; the words are upstream, estimated and none")]
pub struct UnknownUsageSource;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts as upstreams send them: mostly small, sometimes absurd.
    fn count() -> impl Strategy<Value = u64> {
        prop_oneof![0..200_000_u64, any::<u64>(), Just(u64::MAX)]
    }

    proptest! {
        #[test]
        fn classes_sum_to_the_totals(p in count(), c in count(), o in count(), r in count()) {
            let usage = Usage::from_totals(p, c, o, r);
            prop_assert_eq!(usage.prompt.checked_add(usage.cached), Some(p));
            prop_assert_eq!(usage.completion.checked_add(usage.reasoning), Some(o));
            prop_assert_eq!(usage.prompt_total(), p);
            prop_assert_eq!(usage.completion_total(), o);
            prop_assert_eq!(usage.total(), p.saturating_add(o));
        }

        #[test]
        fn a_part_is_kept_unless_it_exceeds_its_total(p in count(), c in count(), o in count(), r in count()) {
            let usage = Usage::from_totals(p, c, o, r);
            prop_assert_eq!(usage.cached, if c <= p { c } else { p });
            prop_assert_eq!(usage.reasoning, if r <= o { r } else { o });
        }

        #[test]
        fn splitting_again_changes_nothing(p in count(), c in count(), o in count(), r in count()) {
            let usage = Usage::from_totals(p, c, o, r);
            let again = Usage::from_totals(
                usage.prompt_total(),
                usage.cached,
                usage.completion_total(),
                usage.reasoning,
            );
            prop_assert_eq!(again, usage);
        }

        #[test]
        fn sums_of_any_classes_saturate(prompt in count(), cached in count(), completion in count(), reasoning in count()) {
            let usage = Usage { prompt, cached, completion, reasoning };
            let exact = [prompt, cached, completion, reasoning]
                .into_iter()
                .fold(0_u128, |sum, class| sum.saturating_add(u128::from(class)));
            prop_assert_eq!(u128::from(usage.total()), exact.min(u128::from(u64::MAX)));
        }
    }

    #[test]
    fn the_wire_example_splits() {
        let usage = Usage::from_totals(2006, 1920, 300, 64);
        assert_eq!(
            usage,
            Usage {
                prompt: 86,
                cached: 1920,
                completion: 236,
                reasoning: 64
            }
        );
        assert_eq!(usage.total(), 2306);
    }

    #[test]
    fn words_come_back() {
        for source in UsageSource::ALL {
            assert_eq!(source.as_str().parse(), Ok(source));
        }
        assert_eq!("Upstream".parse::<UsageSource>(), Err(UnknownUsageSource));
    }
}
