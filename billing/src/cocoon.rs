//! Prices as Cocoon states them, and the tariffs that they are.
//!
//! Cocoon counts *adjusted tokens*: a class of tokens times the worker's coefficient (1000 is 1.0) times the class's
//! multiplier (10000 is 1.0), rounded down. A worker's price for a million of a class is exactly a tenth of the product
//! of price, coefficient and multiplier, so that it converts where that product ends in a zero, and is refused
//! otherwise: no price is rounded in silence.

use crate::{Nano, Tariff, Usage};

/// What Cocoon's root contract and a worker say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CocoonPrice {
    /// Nanoton for an adjusted token.
    pub per_token: u64,
    /// What of it the worker gets.
    pub worker_per_token: u64,
    /// The worker's; 1000 is 1.0.
    pub coefficient: u32,
    pub multipliers: Multipliers,
}

/// What a class of tokens weighs; 10000 is 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multipliers {
    pub prompt: u32,
    pub cached: u32,
    pub completion: u32,
    pub reasoning: u32,
}

/// What Cocoon takes for a usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CocoonBill {
    pub adjusted: u64,
    pub client: Nano,
    pub worker: Nano,
    pub proxy: Nano,
}

/// The price is no [`Tariff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTariff {
    #[error("the price of a million {class} tokens is beyond 9223372036.854775807")]
    TooLarge { class: &'static str },
    #[error("the price of a million {class} tokens is not a whole number of nanoton")]
    NotExact { class: &'static str },
}

/// Adjusted tokens: rounded down. What is beyond 64 bits is the most that they hold.
pub fn adjust(tokens: u64, coefficient: u32, multiplier: u32) -> u64 {
    // 1000 for the coefficient times 10000 for the multiplier.
    const ONE: u128 = 10_000_000;
    // 64, 32 and 32 bits.
    let product = u128::from(tokens)
        .saturating_mul(u128::from(coefficient))
        .saturating_mul(u128::from(multiplier));
    u64::try_from(product / ONE).unwrap_or(u64::MAX)
}

impl CocoonPrice {
    /// What Cocoon's proxy computes, class by class.
    pub fn bill(&self, usage: &Usage) -> CocoonBill {
        let classes = [
            (usage.prompt, self.multipliers.prompt),
            (usage.cached, self.multipliers.cached),
            (usage.completion, self.multipliers.completion),
            (usage.reasoning, self.multipliers.reasoning),
        ];
        let adjusted = classes.into_iter().fold(0_u64, |sum, (tokens, multiplier)| {
            sum.saturating_add(adjust(tokens, self.coefficient, multiplier))
        });
        let client = Nano::saturating(adjusted.saturating_mul(self.per_token));
        let worker = Nano::saturating(adjusted.saturating_mul(self.worker_per_token)).min(client);
        CocoonBill {
            adjusted,
            client,
            worker,
            proxy: client.saturating_sub(worker),
        }
    }

    /// What the client pays, for a million tokens of each class.
    ///
    /// A tariff rounds up once and Cocoon down in each class: for the same usage they differ by less than four adjusted
    /// tokens and one nanoton.
    pub fn tariff(&self) -> Result<Tariff, NoTariff> {
        let price = |class, multiplier: u32| {
            // 64, 32 and 32 bits.
            let product = u128::from(self.per_token)
                .saturating_mul(u128::from(self.coefficient))
                .saturating_mul(u128::from(multiplier));
            // A million tokens through 10^7.
            let per_million = u64::try_from(product / 10).ok().and_then(Nano::new);
            let per_million = per_million.ok_or(NoTariff::TooLarge { class })?;
            if product.is_multiple_of(10) {
                Ok(per_million.get())
            } else {
                Err(NoTariff::NotExact { class })
            }
        };
        Ok(Tariff {
            prompt: price("prompt", self.multipliers.prompt)?,
            cached: price("cached", self.multipliers.cached)?,
            completion: price("completion", self.multipliers.completion)?,
            reasoning: price("reasoning", self.multipliers.reasoning)?,
            request: 0,
            minimum: 0,
        })
    }
}

impl Tariff {
    /// [`CocoonPrice::tariff`] of what is public.
    pub fn from_cocoon(per_token: u64, coefficient: u32, multipliers: Multipliers) -> Result<Self, NoTariff> {
        let price = CocoonPrice {
            per_token,
            worker_per_token: per_token,
            coefficient,
            multipliers,
        };
        price.tariff()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Read from the contracts in April 2026.
    const LIVE: CocoonPrice = CocoonPrice {
        per_token: 20,
        worker_per_token: 19,
        coefficient: 1000,
        multipliers: Multipliers {
            prompt: 10_000,
            cached: 1000,
            completion: 80_000,
            reasoning: 80_000,
        },
    };

    #[test]
    fn the_golden_bill() {
        let usage = Usage::from_totals(100, 20, 50, 10);
        let bill = LIVE.bill(&usage);
        assert_eq!(bill.adjusted, 482);
        let amounts = [bill.client, bill.worker, bill.proxy].map(Nano::get);
        assert_eq!(amounts, [9640, 9158, 482]);
        assert_eq!(LIVE.tariff().map(|tariff| tariff.cost(&usage)), Ok(bill.client));
    }

    #[test]
    fn the_golden_tariff() {
        let tariff = Tariff {
            prompt: 20_000_000,
            cached: 2_000_000,
            completion: 160_000_000,
            reasoning: 160_000_000,
            request: 0,
            minimum: 0,
        };
        assert_eq!(Tariff::from_cocoon(20, 1000, LIVE.multipliers), Ok(tariff));
        let four = LIVE.multipliers;
        assert_eq!(
            Tariff::from_cocoon(20, 4000, four).map(|tariff| tariff.completion),
            Ok(640_000_000)
        );
    }

    #[test]
    fn golden_adjustments() {
        let check = |tokens, coefficient, multiplier, expect: u64| {
            assert_eq!(
                adjust(tokens, coefficient, multiplier),
                expect,
                "for {tokens} {coefficient} {multiplier}"
            );
        };
        check(80, 1000, 10_000, 80);
        check(20, 1000, 1000, 2);
        check(40, 1000, 80_000, 320);
        check(19, 1000, 1000, 1);
        check(9, 1000, 1000, 0);
        check(3, 1234, 5678, 2);
        check(200_000, 999_999_999, 80_000, 1_599_999_998_400);
        check(u64::MAX, u32::MAX, u32::MAX, u64::MAX);
    }

    #[test]
    fn what_does_not_convert_is_refused() {
        let odd = Multipliers {
            cached: 1,
            ..LIVE.multipliers
        };
        assert_eq!(
            Tariff::from_cocoon(1, 1, odd),
            Err(NoTariff::NotExact { class: "cached" })
        );
        let huge = Tariff::from_cocoon(u64::MAX, u32::MAX, LIVE.multipliers);
        assert_eq!(huge, Err(NoTariff::TooLarge { class: "prompt" }));
    }

    proptest! {
        /// Cocoon computes in binary fractions: `(int64)(n * coef * 0.001 * mult * 0.0001)`.
        #[test]
        fn a_tariff_charges_what_cocoon_does_but_for_rounding(
            counts in [0..200_000_u64, 0..200_000, 0..200_000, 0..200_000],
            per_token in 1..1000_u64,
            coefficient in 1..10_000_u32,
            tenths in [1..10_000_u32, 1..10_000, 1..10_000, 1..10_000],
        ) {
            let [prompt, cached, completion, reasoning] = tenths.map(|tenth| tenth.saturating_mul(10));
            let price = CocoonPrice {
                per_token,
                worker_per_token: per_token,
                coefficient,
                multipliers: Multipliers { prompt, cached, completion, reasoning },
            };
            let [prompt, cached, completion, reasoning] = counts;
            let usage = Usage { prompt, cached, completion, reasoning };
            let ours = price.tariff().expect("multiples of ten convert").cost(&usage);
            let theirs = price.bill(&usage).client;
            prop_assert!(theirs <= ours);
            let most = per_token.saturating_mul(4).saturating_add(1);
            prop_assert!(ours.saturating_sub(theirs).get() <= most);
        }
    }
}
