//! What a receipt says, as values. Only [`super::verify`] says whether to believe it.

use serde::{Deserialize, Deserializer, de::Error};

use serde_json::value::RawValue;

use super::{
    Hash,
    document::Document,
    hex::from_hex,
    key::{KeyId, PublicKey},
    paid_by::PaidBy,
    statement::Signed,
};
use crate::{AccountId, Currency, End, Fee, Nano, Tariff, Terms, Usage, UsageSource};

/// The members of a receipt of version 1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Facts {
    pub v: u64,
    pub receipt_id: String,
    pub request_id: String,
    pub node: String,
    pub seq: u64,
    /// `None` for the first of the chain.
    pub previous: Option<Previous>,
    /// Unix time, in seconds.
    pub served_at: u64,
    pub kind: Kind,
    pub account: Account,
    pub model: String,
    pub endpoint: String,
    pub end: End,
    pub request: Request,
    pub response: Response,
    pub upstream: Upstream,
    pub usage: Used,
    pub terms: Agreed,
    pub amounts: Amounts,
    pub supersedes: Option<Supersedes>,
    pub worker_statement: Worker,
    /// SHA-256 of the bundle that the verdict is in.
    #[serde(deserialize_with = "named_hash_or_null")]
    pub evidence: Option<Hash>,
    /// The payment channel that pays.
    pub voucher: Option<PaidBy>,
}

/// The receipt before, of the same organisation and node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Previous {
    pub seq: u64,
    #[serde(deserialize_with = "hash")]
    pub hash: Hash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Capture,
    Refund,
}

/// Who pays.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Account {
    pub organisation: AccountId,
    pub team: Option<AccountId>,
    pub key: Option<AccountId>,
}

/// Salted hashes of the request: as the gateway received it, and as it sent it on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Request {
    #[serde(deserialize_with = "named_hash")]
    pub received: Hash,
    #[serde(deserialize_with = "named_hash_or_null")]
    pub forwarded: Option<Hash>,
}

/// The salted hash of what the client was given; `None` where it left before the end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Response {
    #[serde(deserialize_with = "named_hash_or_null")]
    pub returned: Option<Hash>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Upstream {
    pub tier: String,
    /// SHA-256 of the verdict on it.
    #[serde(deserialize_with = "named_hash_or_null")]
    pub verified: Option<Hash>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Used {
    pub billed: Usage,
    pub claimed: Option<Usage>,
    pub counted: Option<Usage>,
    pub source: UsageSource,
}

/// The price that was in force: billionths, for a million tokens or for a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Agreed {
    pub currency: Currency,
    pub fee: Fees,
    #[serde(deserialize_with = "amount_or_null")]
    pub rate: Option<Nano>,
    pub tariff: Prices,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fees {
    #[serde(deserialize_with = "digits")]
    pub prompt: u64,
    #[serde(deserialize_with = "digits")]
    pub completion: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Prices {
    #[serde(deserialize_with = "digits")]
    pub prompt: u64,
    #[serde(deserialize_with = "digits")]
    pub cached: u64,
    #[serde(deserialize_with = "digits")]
    pub completion: u64,
    #[serde(deserialize_with = "digits")]
    pub reasoning: u64,
    #[serde(deserialize_with = "digits")]
    pub request: u64,
    #[serde(deserialize_with = "digits")]
    pub minimum: u64,
}

impl Agreed {
    /// The same as the rules know it.
    pub fn terms(&self) -> Terms {
        let Prices {
            prompt,
            cached,
            completion,
            reasoning,
            request,
            minimum,
        } = self.tariff;
        Terms {
            tariff: Tariff {
                prompt,
                cached,
                completion,
                reasoning,
                request,
                minimum,
            },
            fee: Fee {
                prompt: self.fee.prompt,
                completion: self.fee.completion,
            },
            currency: self.currency,
            rate: self.rate,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Amounts {
    pub currency: Currency,
    #[serde(deserialize_with = "amount")]
    pub held: Nano,
    #[serde(deserialize_with = "amount")]
    pub cost: Nano,
    #[serde(deserialize_with = "amount")]
    pub fee: Nano,
    #[serde(deserialize_with = "amount")]
    pub total: Nano,
}

/// The capture, of the same node, that a refund corrects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Supersedes {
    pub seq: u64,
}

/// What the worker signed, or why there is nothing. Of the two, one is there: [`verify`](super::verify) sees to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    pub absent: Option<String>,
    /// The key that the worker named to the gateway.
    pub key: Option<PublicKey>,
    #[serde(default, deserialize_with = "signature_or_none")]
    pub signature: Option<[u8; 64]>,
    #[serde(default, deserialize_with = "text_or_none")]
    pub statement: Option<Box<str>>,
}

impl Worker {
    /// The key and what it signed; `None` where something of it is absent.
    pub fn signed(&self) -> Option<(PublicKey, Signed)> {
        let statement = Signed::new(self.statement.as_ref()?.as_bytes(), self.signature?)?;
        Some((self.key?, statement))
    }
}

/// One of `signatures`. No signature covers it, so that nothing may stand in it besides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signature {
    pub(super) role: Role,
    #[serde(deserialize_with = "key_id")]
    pub(super) key_id: KeyId,
    #[serde(deserialize_with = "signature")]
    pub(super) signature: [u8; 64],
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    Gateway,
    Worker,
}

impl Facts {
    /// What a document says, whoever signed it. A receipt that is to be believed goes through
    /// [`verify`](super::verify).
    pub fn read(document: &Document) -> Result<Self, serde_json::Error> {
        serde_json::from_str(document.text())
    }
}

fn digits<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let text = String::deserialize(from)?;
    let number: Option<u64> = text.parse().ok();
    number
        .filter(|number| number.to_string() == text)
        .ok_or_else(|| D::Error::custom("a whole number as text"))
}

fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<Nano, D::Error> {
    Nano::new(digits(from)?).ok_or_else(|| D::Error::custom("an amount of at most 9223372036854775807 billionths"))
}

fn amount_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Nano>, D::Error> {
    #[derive(Deserialize)]
    struct Text(#[serde(deserialize_with = "amount")] Nano);
    Ok(Option::<Text>::deserialize(from)?.map(|Text(amount)| amount))
}

pub(super) fn hash<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
    let text = String::deserialize(from)?;
    from_hex(&text).ok_or_else(|| D::Error::custom("64 lowercase hexadecimal digits"))
}

fn named_hash<'de, D: Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
    named_hash_or_null(from)?.ok_or_else(|| D::Error::custom("a hash"))
}

fn named_hash_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Hash>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let hash = |text: String| {
        let hash = text.strip_prefix("sha256:").and_then(from_hex);
        hash.ok_or_else(|| D::Error::custom("sha256: and 64 lowercase hexadecimal digits"))
    };
    text.map(hash).transpose()
}

fn key_id<'de, D: Deserializer<'de>>(from: D) -> Result<KeyId, D::Error> {
    let text = String::deserialize(from)?;
    KeyId::from_hex(&text).ok_or_else(|| D::Error::custom("64 lowercase hexadecimal digits"))
}

fn signature_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[u8; 64]>, D::Error> {
    signature(from).map(Some)
}

/// The text of a value, as it stands there.
fn text_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<str>>, D::Error> {
    let value = Box::<RawValue>::deserialize(from)?;
    Ok(Some(value.get().into()))
}

fn signature<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 64], D::Error> {
    let text = String::deserialize(from)?;
    from_hex(&text).ok_or_else(|| D::Error::custom("128 lowercase hexadecimal digits"))
}
