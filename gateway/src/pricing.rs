//! What a request is charged by: the price of its model, or a special one for its key, in the account's currency.
//!
//! The price is that of the model that the client asked for, whichever model or upstream answers in its place, and it
//! is the one of the moment at which the request was taken: a reload changes nothing for what runs.

use billing::{Currency, Fee, Nano, Tariff, Terms};

use crate::config::{self, Amount, Rate, Unpriced};

/// A tariff and a fee in some currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) currency: Currency,
    pub(crate) tariff: Tariff,
    pub(crate) fee: Fee,
}

/// What is said of prices beside the models.
#[derive(Debug, Default)]
pub(crate) struct Pricing {
    serves_unpriced: bool,
    rates: Vec<Rate>,
    specials: Vec<Special>,
}

#[derive(Debug)]
struct Special {
    keys: Vec<String>,
    models: Vec<String>,
    price: Price,
}

/// Why a request has no terms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PricingError {
    #[error("The model '{model}' has no price, and your account is charged. Ask the gateway's operator for a price.")]
    Unpriced { model: String },
    #[error("The price of the model '{model}' is in {from} and your account is in {to}, and no rate is set.")]
    NoRate {
        model: String,
        from: Currency,
        to: Currency,
    },
}

impl Price {
    pub(crate) fn new(price: &config::Price) -> Self {
        let prompt = price.prompt.nano();
        let completion = price.completion.nano();
        Self {
            currency: price.currency,
            tariff: Tariff {
                prompt,
                cached: price.cached.map_or(prompt, Amount::nano),
                completion,
                reasoning: price.reasoning.map_or(completion, Amount::nano),
                request: price.request.nano(),
                minimum: price.minimum.nano(),
            },
            fee: Fee {
                prompt: price.fee.prompt.nano(),
                completion: price.fee.completion.nano(),
            },
        }
    }
}

impl Pricing {
    pub(crate) fn new(ledger: &config::Ledger) -> Self {
        let specials = ledger.prices.iter().map(|special| Special {
            keys: special.keys.clone(),
            models: special.models.clone(),
            price: Price::new(&special.price),
        });
        Self {
            serves_unpriced: ledger.unpriced == Unpriced::Serve,
            rates: ledger.rates.clone(),
            specials: specials.collect(),
        }
    }

    /// The terms for a key's use of a model; `None` where it costs nothing because it has no price.
    pub(crate) fn terms(
        &self,
        key: &str,
        model: &str,
        price: Option<&Price>,
        to: Currency,
    ) -> Result<Option<Terms>, PricingError> {
        let is_for = |special: &&Special| matches(&special.keys, key) && matches(&special.models, model);
        let special = self.specials.iter().find(is_for);
        let Some(price) = special.map(|special| &special.price).or(price) else {
            return if self.serves_unpriced {
                Ok(None)
            } else {
                Err(PricingError::Unpriced { model: shown(model) })
            };
        };
        let from = price.currency;
        let rate = if from == to {
            None
        } else {
            let rate = self.rate(from, to);
            Some(rate.ok_or_else(|| PricingError::NoRate {
                model: shown(model),
                from,
                to,
            })?)
        };
        Ok(Some(Terms {
            tariff: price.tariff,
            fee: price.fee,
            currency: from,
            rate,
        }))
    }

    fn rate(&self, from: Currency, to: Currency) -> Option<Nano> {
        let rate = self.rates.iter().find(|rate| rate.from == from && rate.to == to);
        rate.map(|rate| rate.rate)
    }
}

/// Whether one of the patterns is the name, or its beginning and `*`.
fn matches(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    })
}

/// A name as an error repeats it: not a novel.
fn shown(model: &str) -> String {
    model.chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(currency: Currency, request: u64) -> Price {
        Price {
            currency,
            tariff: Tariff {
                request,
                ..Tariff::default()
            },
            fee: Fee::default(),
        }
    }

    fn pricing(serves_unpriced: bool) -> Pricing {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        let special = |keys, models, request| Special {
            keys: list(keys),
            models: list(models),
            price: price(Currency::TON, request),
        };
        Pricing {
            serves_unpriced,
            rates: vec![Rate {
                from: Currency::USD,
                to: Currency::TON,
                rate: Nano::saturating(350_000_000),
            }],
            specials: vec![
                special(&["partner-*"], &["gpt-*"], 1),
                special(&["partner-a"], &["*"], 2),
            ],
        }
    }

    /// The price for a request and the rate, in billionths; or why there is none.
    fn check(key: &str, model: &str, own: Option<Price>, to: Currency, expect: &str) {
        let found = match pricing(false).terms(key, model, own.as_ref(), to) {
            Ok(None) => "free".to_owned(),
            Ok(Some(terms)) => format!("{} {:?}", terms.tariff.request, terms.rate.map(Nano::get)),
            Err(PricingError::Unpriced { .. }) => "unpriced".to_owned(),
            Err(PricingError::NoRate { .. }) => "no rate".to_owned(),
        };
        assert_eq!(found, expect, "{key} asks for {model}");
    }

    #[test]
    fn the_first_special_price_that_matches_goes_before_the_models_own() {
        let own = Some(price(Currency::TON, 9));
        check("partner-a", "gpt-4", own, Currency::TON, "1 None");
        check("partner-a", "llama", own, Currency::TON, "2 None");
        check("partner-b", "llama", own, Currency::TON, "9 None");
        check("alice", "gpt-4", own, Currency::TON, "9 None");
        check("partner-a", "llama", None, Currency::TON, "2 None");
        check("alice", "gpt-4", None, Currency::TON, "unpriced");
    }

    #[test]
    fn currencies_are_converted_only_by_a_rate_that_is_set() {
        let own = Some(price(Currency::USD, 9));
        check("alice", "m", own, Currency::TON, "9 Some(350000000)");
        check("alice", "m", own, Currency::USD, "9 None");
        let own = Some(price(Currency::TON, 9));
        check("alice", "m", own, Currency::USD, "no rate");
    }

    #[test]
    fn what_has_no_price_may_be_free_where_the_operator_says_so() {
        assert_eq!(pricing(true).terms("alice", "m", None, Currency::TON), Ok(None));
    }
}
