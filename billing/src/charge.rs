//! What one request costs its payer.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AccountId, Currency, End, Nano, Tariff, Usage, UsageSource};

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

/// The gateway's own fee: billionths for a million tokens, whatever the model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fee {
    /// Cached ones too.
    pub prompt: u64,
    /// Reasoning too.
    pub completion: u64,
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
}
