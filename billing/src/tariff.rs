//! What a usage costs, exactly.

use serde::{Deserialize, Serialize};

use crate::{Nano, Usage};

/// The price of a model: billionths of a currency's unit, for a million tokens of each class, and for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    pub prompt: u64,
    pub cached: u64,
    pub completion: u64,
    pub reasoning: u64,
    pub request: u64,
    /// What a request costs at least.
    pub minimum: u64,
}

const MILLION: u128 = 1_000_000;

impl Tariff {
    /// The classes are added up first and rounded once, upward; the fee for the request comes on top, and the sum is
    /// the minimum at least.
    ///
    /// Upstreams report the counts, and a lie may be large: an amount beyond [`Nano::MOST`] is that.
    pub fn cost(&self, usage: &Usage) -> Nano {
        let tokens = per_million([
            (usage.prompt, self.prompt),
            (usage.cached, self.cached),
            (usage.completion, self.completion),
            (usage.reasoning, self.reasoning),
        ]);
        tokens
            .saturating_add(Nano::saturating(self.request))
            .max(Nano::saturating(self.minimum))
    }
}

/// Counts at prices for a million of each: added up first, then rounded once, upward.
pub(crate) fn per_million(classes: [(u64, u64); 4]) -> Nano {
    let sum = classes.into_iter().fold(0_u128, |sum, (count, price)| {
        // Two numbers of 64 bits never exceed 128.
        sum.saturating_add(u128::from(count).saturating_mul(u128::from(price)))
    });
    u64::try_from(sum.div_ceil(MILLION)).map_or(Nano::MOST, Nano::saturating)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..10_000_000_u64, any::<u64>(), Just(0), Just(u64::MAX)]
    }

    fn usage() -> impl Strategy<Value = Usage> {
        (number(), number(), number(), number()).prop_map(|(prompt, cached, completion, reasoning)| Usage {
            prompt,
            cached,
            completion,
            reasoning,
        })
    }

    fn tariff() -> impl Strategy<Value = Tariff> {
        (number(), number(), number(), number(), number(), number()).prop_map(
            |(prompt, cached, completion, reasoning, request, minimum)| Tariff {
                prompt,
                cached,
                completion,
                reasoning,
                request,
                minimum,
            },
        )
    }

    /// The same in decimal digits, as one would by hand; slow, and without a bound.
    fn by_hand(tariff: &Tariff, usage: &Usage) -> u64 {
        const BASE: u128 = 1 << 64;
        // Products as pairs of 64-bit halves, added with carry.
        let products = [
            (usage.prompt, tariff.prompt),
            (usage.cached, tariff.cached),
            (usage.completion, tariff.completion),
            (usage.reasoning, tariff.reasoning),
        ];
        let (mut high, mut low) = (0_u128, 0_u128);
        for (count, price) in products {
            let product = u128::from(count).checked_mul(u128::from(price)).expect("64 bits by 64");
            high = high.checked_add(product / BASE).expect("four halves");
            low = low.checked_add(product % BASE).expect("four halves");
        }
        high = high.checked_add(low / BASE).expect("a carry");
        low %= BASE;
        // Long division by a million, half by half.
        let (whole_high, rest) = (high / MILLION, high % MILLION);
        let low = rest
            .checked_mul(BASE)
            .and_then(|rest| rest.checked_add(low))
            .expect("20 bits and 64");
        let whole_low = low.div_ceil(MILLION);
        let most = u128::from(Nano::MOST.get());
        if whole_high > 0 {
            return Nano::MOST.get();
        }
        let all = whole_low.checked_add(u128::from(tariff.request)).expect("65 bits");
        let all = if all < u128::from(tariff.minimum) {
            u128::from(tariff.minimum)
        } else {
            all
        };
        u64::try_from(if all > most { most } else { all }).expect("63 bits")
    }

    proptest! {
        #[test]
        fn it_is_exact(tariff in tariff(), usage in usage()) {
            prop_assert_eq!(tariff.cost(&usage).get(), by_hand(&tariff, &usage));
        }

        #[test]
        fn more_never_costs_less(tariff in tariff(), usage in usage(), more in number()) {
            let larger = Usage { completion: usage.completion.saturating_add(more), ..usage };
            prop_assert!(tariff.cost(&larger) >= tariff.cost(&usage));
        }

        #[test]
        fn rounding_once_gains_less_than_one_billionth_for_each_part(tariff in tariff(), usage in usage()) {
            let apart = [
                Usage { prompt: usage.prompt, ..Usage::default() },
                Usage { cached: usage.cached, ..Usage::default() },
                Usage { completion: usage.completion, ..Usage::default() },
                Usage { reasoning: usage.reasoning, ..Usage::default() },
            ];
            let tokens_only = Tariff { request: 0, minimum: 0, ..tariff };
            let sum = apart.iter().fold(0_u128, |sum, part| {
                sum.saturating_add(u128::from(tokens_only.cost(part).get()))
            });
            let whole = u128::from(tokens_only.cost(&usage).get());
            let is_capped = sum >= u128::from(Nano::MOST.get());
            prop_assert!(whole <= sum);
            prop_assert!(is_capped || sum.saturating_sub(whole) < 4);
        }

        #[test]
        fn a_price_for_a_million_is_for_a_million(price in number()) {
            let tariff = Tariff { prompt: price, ..Tariff::default() };
            let usage = Usage { prompt: 1_000_000, ..Usage::default() };
            prop_assert_eq!(tariff.cost(&usage), Nano::saturating(price));
        }
    }

    #[test]
    fn a_bill_by_hand() {
        // 0.10, 0.02 and 0.40 for a million; 1000 fresh, 500 cached, 37 out.
        let tariff = Tariff {
            prompt: 100_000_000,
            cached: 20_000_000,
            completion: 400_000_000,
            reasoning: 400_000_000,
            ..Tariff::default()
        };
        let usage = Usage {
            prompt: 1000,
            cached: 500,
            completion: 30,
            reasoning: 7,
        };
        assert_eq!(tariff.cost(&usage).to_string(), "0.000124800");
        let fee = Tariff {
            request: 2_000_000_000,
            ..Tariff::default()
        };
        assert_eq!(fee.cost(&Usage::default()).to_string(), "2.000000000");
    }

    #[test]
    fn a_fraction_of_a_billionth_is_rounded_up() {
        let tariff = Tariff {
            prompt: 1,
            ..Tariff::default()
        };
        let usage = Usage {
            prompt: 1,
            ..Usage::default()
        };
        assert_eq!(tariff.cost(&usage).get(), 1);
        assert_eq!(tariff.cost(&Usage::default()).get(), 0);
    }
}
