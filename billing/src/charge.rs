//! What one request costs its payer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    AccountId, Bounds, Currency, End, Nano, Pot, Span, Tariff, Usage, UsageSource, Windows,
    receipt::{PaidBy, statement::Word},
    tariff,
};

/// An amount taken from a hold, or given back, with all that explains it. Durable before the client sees the end of
/// its answer.
///
/// `(node, seq)` names it: a charge that is posted twice is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    pub node: Arc<str>,
    /// From 1, without a gap, for each node.
    pub seq: u64,
    pub kind: ChargeKind,
    /// Unix time.
    pub at_ms: i64,
    /// The id in the `x-request-id` header. Clients may choose it, so it need not be unique.
    pub request_id: String,
    pub organisation: AccountId,
    pub team: Option<AccountId>,
    pub key: Option<AccountId>,
    /// The day in which it was held, in days since 1970-01-01, and its month since January 1970: the windows that it
    /// counts in.
    pub day: u32,
    pub month: u32,
    /// Of the nine pots of its accounts in these windows, those that it was held in; none for a refund.
    pub bounds: Bounds,
    /// Of the account, and of all amounts here.
    pub currency: Currency,
    /// What was held for it.
    pub held: Nano,
    /// What the account pays, or gets back; at most `held`.
    pub amount: Nano,
    /// What of it is the gateway's own fee; the rest is earned by who answered.
    pub fee: Nano,
    /// What the amounts were computed from.
    pub terms: Terms,
    /// The model as the client named it.
    pub model: String,
    pub endpoint: String,
    pub backend: Option<String>,
    pub upstream: Option<String>,
    pub end: End,
    /// What is paid for.
    pub billed: Usage,
    /// What the upstream claimed, where it did.
    pub claimed: Option<Usage>,
    /// What we counted with the model's own tokenizer, where we did.
    pub counted: Option<Usage>,
    pub source: UsageSource,
    /// The tags of the key.
    pub tags: Vec<(String, String)>,
    /// For the receipt; without it there is none.
    pub evidence: Option<Box<Evidence>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeKind {
    /// From the account to who answered.
    Capture,
    /// Back to the account: a recount found less than the capture `of`, a charge of the same node.
    Refund { of: u64 },
}

/// The price that was in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    pub tariff: Tariff,
    /// The gateway's own fee, in the currency of the tariff.
    pub fee: Fee,
    /// Of the tariff.
    pub currency: Currency,
    /// Where the account has another currency than the tariff: what one unit of the tariff's is in the account's.
    pub rate: Option<Nano>,
}

/// What a usage comes to, in the currency of the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// At the tariff.
    pub cost: Nano,
    pub fee: Nano,
    /// Both.
    pub total: Nano,
}

impl Charge {
    /// The pots that it counts in, and whether it was held there.
    pub fn pots(&self) -> impl Iterator<Item = (Pot, bool)> {
        let windows = Windows {
            day: self.day,
            month: self.month,
        };
        let accounts = [Some(&self.organisation), self.team.as_ref(), self.key.as_ref()];
        accounts.into_iter().flatten().flat_map(move |account| {
            Span::ALL.into_iter().map(move |span| {
                let pot = Pot {
                    account: account.clone(),
                    window: windows.of(span),
                };
                (pot, self.bounds.contains(account.level(), span))
            })
        })
    }

    /// What is not the gateway's own fee.
    pub fn earned(&self) -> Nano {
        self.amount.saturating_sub(self.fee)
    }

    /// What it moves: the fee to the fees, the rest to the earnings, or back. Debit, credit, amount.
    pub fn moves(&self, payer: &AccountId) -> impl Iterator<Item = (AccountId, AccountId, Nano)> {
        let parts = [(AccountId::earnings(), self.earned()), (AccountId::fees(), self.fee)];
        let moved = parts.into_iter().filter(|(_, amount)| !amount.is_zero());
        moved.map(move |(receiver, amount)| match self.kind {
            ChargeKind::Capture => (payer.clone(), receiver, amount),
            ChargeKind::Refund { .. } => (receiver, payer.clone(), amount),
        })
    }
}

impl Terms {
    /// Cost and fee are each rounded up once in the currency of the tariff, and where there is a rate once more, up,
    /// when they are converted.
    pub fn charge(&self, usage: &Usage) -> Amounts {
        let cost = self.convert(self.tariff.cost(usage));
        let fee = self.convert(self.fee.cost(usage));
        Amounts {
            cost,
            fee,
            total: cost.saturating_add(fee),
        }
    }

    fn convert(&self, amount: Nano) -> Nano {
        self.rate.map_or(amount, |rate| amount.convert(rate))
    }
}

impl Amounts {
    /// The same where no more than `most` can be had: the fee gives way first, so that who answered is paid.
    #[must_use]
    pub fn at_most(self, most: Nano) -> Self {
        let total = self.total.min(most);
        let cost = self.cost.min(total);
        Self {
            cost,
            fee: total.saturating_sub(cost),
            total,
        }
    }
}

/// The gateway's own fee: billionths for a million tokens, whatever the model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fee {
    /// Cached ones too.
    pub prompt: u64,
    /// Reasoning too.
    pub completion: u64,
}

impl Fee {
    /// Rounded up once. An amount beyond [`Nano::MOST`] is that.
    pub fn cost(&self, usage: &Usage) -> Nano {
        tariff::per_million([
            (usage.prompt, self.prompt),
            (usage.cached, self.prompt),
            (usage.completion, self.completion),
            (usage.reasoning, self.completion),
        ])
    }
}

/// What a receipt says beside the money. Hashes are salted; the salt is the client's alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// SHA-256 of the salt and the request body as it was received.
    pub request: [u8; 32],
    /// SHA-256 of the salt and the response body as it was delivered; `None` where the client left before its end.
    pub response: Option<[u8; 32]>,
    /// What protected the prompt: `open`, `tee` or `tee+gpu`.
    pub tier: String,
    /// SHA-256 of the statement's salt and the request body as a worker was sent it; `None` where no statement was asked
    /// for, or its answer did not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<[u8; 32]>,
    /// What the worker signed, or why there is nothing.
    #[serde(default)]
    pub word: Word,
    /// Whose evidence that is; `None` where nobody showed any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests_on: Option<RestsOn>,
    /// Of a payment channel; `None` also where the node that charged did not have a voucher at hand that covers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_by: Option<Box<PaidBy>>,
}

/// What is archived of the evidence of who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestsOn {
    /// SHA-256 of the bundle.
    pub bundle: [u8; 32],
    /// SHA-256 of the verdict in it.
    pub verdict: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(rate: Option<Nano>) -> Terms {
        Terms {
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
            rate,
        }
    }

    fn check(terms: &Terms, usage: Usage, expect: [u64; 3]) {
        let Amounts { cost, fee, total } = terms.charge(&usage);
        assert_eq!([cost, fee, total].map(Nano::get), expect, "for {usage:?} at {terms:?}");
    }

    #[test]
    fn the_golden_request() {
        check(
            &terms(None),
            Usage::from_totals(1200, 800, 350, 0),
            [68_000, 4000, 72_000],
        );
        check(
            &terms(None),
            Usage::from_totals(1200, 800, 350, 350),
            [68_000, 4000, 72_000],
        );
    }

    #[test]
    fn a_rate_converts_and_rounds_up() {
        let third = Nano::saturating(333_333_333);
        check(
            &terms(Some(third)),
            Usage::from_totals(1200, 800, 350, 0),
            [22_667, 1334, 24_001],
        );
        let same = Nano::saturating(Nano::UNIT);
        check(
            &terms(Some(same)),
            Usage::from_totals(1200, 800, 350, 0),
            [68_000, 4000, 72_000],
        );
        check(
            &terms(Some(Nano::MOST)),
            Usage::from_totals(u64::MAX, 0, 0, 0),
            [Nano::MOST.get(); 3],
        );
    }

    #[test]
    fn a_minimum_is_of_the_tariff_and_the_fee_comes_on_top() {
        let mut terms = terms(None);
        terms.tariff.minimum = 70_000;
        check(&terms, Usage::from_totals(1200, 800, 350, 0), [70_000, 4000, 74_000]);
        terms.tariff.request = 5000;
        check(&terms, Usage::from_totals(1200, 800, 350, 0), [73_000, 4000, 77_000]);
    }

    #[test]
    fn the_fee_gives_way_first() {
        let amounts = terms(None).charge(&Usage::from_totals(1200, 800, 350, 0));
        let at_most = |most| {
            let Amounts { cost, fee, total } = amounts.at_most(Nano::saturating(most));
            [cost, fee, total].map(Nano::get)
        };
        assert_eq!(at_most(72_000), [68_000, 4000, 72_000]);
        assert_eq!(at_most(70_000), [68_000, 2000, 70_000]);
        assert_eq!(at_most(1000), [1000, 0, 1000]);
    }
}
