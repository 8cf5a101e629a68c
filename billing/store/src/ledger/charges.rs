//! Charges to rows and back, and the questions about them.

use std::borrow::Cow;
use std::sync::Arc;

use billing::{AccountId, Bounds, Charge, ChargeKind, Currency, Evidence, Level, Nano, Terms, Usage};
use serde::{Deserialize, Serialize};

use super::accounts::{tags_of, tags_to};
use super::sql::{self, Batch, Record, Type, counted, rows, values};
use super::{LedgerFault, LedgerStore, question};
use crate::pool::Db;
use crate::reader::MAX_ROWS;
use crate::rows::storable;

/// A charge that is about to be posted, with its receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedCharge {
    pub charge: Charge,
    /// Canonical JSON.
    pub receipt: Option<Box<str>>,
    /// What the next receipt of this organisation and node names as the one before it; with a receipt only.
    pub receipt_hash: Option<[u8; 32]>,
}

/// A charge that is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostedCharge {
    /// Grows with each.
    pub id: i64,
    /// Its incarnation of the node.
    pub epoch: u64,
    /// It came after its node was forgotten, and the operator bears it.
    pub late: bool,
    pub sealed: SealedCharge,
}

/// A receipt as it was posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReceipt {
    pub node: String,
    pub seq: u64,
    pub at_ms: i64,
    pub organisation: AccountId,
    pub team: Option<AccountId>,
    pub key: Option<AccountId>,
    pub receipt: Box<str>,
    pub receipt_hash: [u8; 32],
}

/// What a request cost in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    pub request_id: String,
    /// When it was charged, in Unix time.
    pub at_ms: i64,
    pub currency: Currency,
    /// Without what was given back.
    pub amount: Nano,
}

/// Which charges to tell of; the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeQuery {
    /// An organisation, a team or a key; all where `None`.
    pub account: Option<AccountId>,
    /// Unix time; charges then or later.
    pub since_ms: i64,
    /// Unix time; charges before it.
    pub until_ms: i64,
    /// Those before this one; for the next page the last id of the page before.
    pub before: Option<i64>,
    /// At most 10,000.
    pub limit: u32,
}

impl LedgerStore {
    /// Charges, the newest first.
    pub async fn charges(&self, query: &ChargeQuery) -> Result<Vec<PostedCharge>, LedgerFault> {
        question!(self.reader, db => list(db, query).await)
    }

    /// All charges of a request, in the order in which they were posted.
    pub async fn charges_of(&self, request_id: &str) -> Result<Vec<PostedCharge>, LedgerFault> {
        question!(self.reader, db => of_request(db, request_id).await)
    }

    /// What was paid for each of these requests. Clients may choose ids: of one that several captures have, and of one
    /// that the operator bears, nothing is told.
    pub async fn paid(&self, request_ids: &[&str]) -> Result<Vec<Paid>, LedgerFault> {
        question!(self.reader, db => paid(db, request_ids).await)
    }

    /// The receipts of a request, its refunds' among them, in the order in which they were posted.
    pub async fn receipt(&self, request_id: &str) -> Result<Vec<StoredReceipt>, LedgerFault> {
        let charges = self.charges_of(request_id).await?;
        Ok(charges
            .into_iter()
            .filter_map(|posted| posted.sealed.into_receipt())
            .collect())
    }
}

impl SealedCharge {
    /// Its receipt, if it has one.
    pub fn into_receipt(self) -> Option<StoredReceipt> {
        let (receipt, receipt_hash) = (self.receipt?, self.receipt_hash?);
        let charge = self.charge;
        Some(StoredReceipt {
            node: charge.node.to_string(),
            seq: charge.seq,
            at_ms: charge.at_ms,
            organisation: charge.organisation,
            team: charge.team,
            key: charge.key,
            receipt,
            receipt_hash,
        })
    }

    /// The same with what a row holds: texts of at most 256 bytes and without a NUL, counts of at most [`Usage::MOST`].
    ///
    /// Clients choose some of the texts, upstreams the counts. What is signed in the receipt stays as it is.
    pub(crate) fn storable(&self) -> Cow<'_, Self> {
        let charge = &self.charge;
        let optional = [charge.backend.as_ref(), charge.upstream.as_ref()];
        let mut texts = [&charge.request_id, &charge.model, &charge.endpoint]
            .into_iter()
            .chain(optional.into_iter().flatten());
        let Usage {
            prompt,
            cached,
            completion,
            reasoning,
        } = charge.billed;
        let mut counts = [prompt, cached, completion, reasoning].into_iter();
        if texts.all(|text| *storable(text) == **text) && counts.all(|count| count <= Usage::MOST) {
            return Cow::Borrowed(self);
        }
        let mut sealed = self.clone();
        let charge = &mut sealed.charge;
        let optional = [charge.backend.as_mut(), charge.upstream.as_mut()];
        for text in [&mut charge.request_id, &mut charge.model, &mut charge.endpoint]
            .into_iter()
            .chain(optional.into_iter().flatten())
        {
            *text = storable(text).into_owned();
        }
        let billed = &mut charge.billed;
        for count in [
            &mut billed.prompt,
            &mut billed.cached,
            &mut billed.completion,
            &mut billed.reasoning,
        ] {
            *count = Usage::MOST.min(*count);
        }
        Cow::Owned(sealed)
    }
}

async fn paid(db: &mut Db<'_>, request_ids: &[&str]) -> Result<Vec<Paid>, LedgerFault> {
    // Two captures of an id are looked for and no more, however many there are.
    const SQL: &str = "SELECT c.request_id, c.at_ms, c.currency, c.amount, \
         CAST(coalesce((SELECT sum(r.amount) FROM charges r WHERE r.node = c.node AND r.refund_of = c.seq), 0) AS bigint) \
         AS refunded FROM v JOIN charges c ON c.id = \
         (SELECT a.id FROM charges a WHERE a.request_id = v.id AND a.kind = 'capture' LIMIT 1) \
         WHERE NOT c.late AND \
         (SELECT b.id FROM charges b WHERE b.request_id = v.id AND b.kind = 'capture' LIMIT 1 OFFSET 1) IS NULL";
    let mut request_ids = request_ids.to_vec();
    request_ids.sort_unstable();
    request_ids.dedup();
    let mut batch = Batch::new(&[("id", Type::Text)]);
    for id in request_ids {
        batch.push([id.into()]);
    }
    let found = sql::each(db, &batch, SQL).await?;
    let of = |row: &Record| {
        Ok(Paid {
            request_id: row.text("request_id")?,
            at_ms: row.int("at_ms")?,
            currency: row.word("currency")?,
            amount: row.nano("amount")?.saturating_sub(row.nano("refunded")?),
        })
    };
    found.iter().map(of).collect()
}

async fn list(db: &mut Db<'_>, query: &ChargeQuery) -> Result<Vec<PostedCharge>, LedgerFault> {
    let before = query.before.unwrap_or(i64::MAX);
    let limit = i64::from(query.limit.min(MAX_ROWS));
    let (since, until) = (query.since_ms, query.until_ms);
    let found = match &query.account {
        None => {
            let sql = "SELECT * FROM charges WHERE at_ms >= $1 AND at_ms < $2 AND id < $3 ORDER BY id DESC LIMIT $4";
            rows(db, sql, values![since, until, before, limit]).await?
        }
        Some(account) => {
            let sql = match account.level() {
                Level::Key => {
                    "SELECT * FROM charges WHERE key = $5 AND at_ms >= $1 AND at_ms < $2 AND id < $3 \
                     ORDER BY id DESC LIMIT $4"
                }
                Level::Team => {
                    "SELECT * FROM charges WHERE team = $5 AND at_ms >= $1 AND at_ms < $2 AND id < $3 \
                     ORDER BY id DESC LIMIT $4"
                }
                Level::Organisation | Level::System => {
                    "SELECT * FROM charges WHERE organisation = $5 AND at_ms >= $1 AND at_ms < $2 AND id < $3 \
                     ORDER BY id DESC LIMIT $4"
                }
            };
            rows(db, sql, values![since, until, before, limit, account.as_str()]).await?
        }
    };
    found.iter().map(posted).collect()
}

async fn of_request(db: &mut Db<'_>, request_id: &str) -> Result<Vec<PostedCharge>, LedgerFault> {
    let sql = "SELECT * FROM charges WHERE request_id = $1 ORDER BY id LIMIT $2";
    let request_id = storable(request_id);
    let found = rows(db, sql, values![&*request_id, i64::from(MAX_ROWS)]).await?;
    found.iter().map(posted).collect()
}

/// The columns of a charge, in the order of [`row!`](super::post).
pub(super) const COLUMNS: &[(&str, Type)] = &[
    ("node", Type::Text),
    ("seq", Type::Int),
    ("epoch", Type::Int),
    ("kind", Type::Text),
    ("refund_of", Type::Int),
    ("late", Type::Flag),
    ("at_ms", Type::Int),
    ("request_id", Type::Text),
    ("organisation", Type::Text),
    ("team", Type::Text),
    ("key", Type::Text),
    ("day", Type::Int),
    ("month", Type::Int),
    ("bounds", Type::Int),
    ("currency", Type::Text),
    ("held", Type::Int),
    ("amount", Type::Int),
    ("fee", Type::Int),
    ("model", Type::Text),
    ("endpoint", Type::Text),
    ("backend", Type::Text),
    ("upstream", Type::Text),
    ("ending", Type::Text),
    ("prompt", Type::Int),
    ("cached", Type::Int),
    ("completion", Type::Int),
    ("reasoning", Type::Int),
    ("usage_source", Type::Text),
    ("tags", Type::Text),
    ("detail", Type::Text),
    ("receipt", Type::Text),
    ("receipt_hash", Type::Bytes),
];

pub(super) const INSERT: &str = "INSERT INTO charges (node, seq, epoch, kind, refund_of, late, at_ms, request_id, \
    organisation, team, key, day, month, bounds, currency, held, amount, fee, model, endpoint, backend, upstream, \
    ending, prompt, cached, completion, reasoning, usage_source, tags, detail, receipt, receipt_hash) SELECT * FROM v";

/// What no question is about, as one JSON object.
#[derive(Serialize)]
struct Detail<'a> {
    terms: &'a Terms,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed: &'a Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counted: &'a Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: &'a Option<Box<Evidence>>,
}

#[derive(Deserialize)]
struct OwnedDetail {
    terms: Terms,
    claimed: Option<Usage>,
    counted: Option<Usage>,
    evidence: Option<Box<Evidence>>,
}

/// The texts of a row that have to be made.
pub(super) struct Made {
    tags: String,
    detail: String,
}

impl Made {
    pub(super) fn of(charge: &Charge) -> Self {
        let detail = Detail {
            terms: &charge.terms,
            claimed: &charge.claimed,
            counted: &charge.counted,
            evidence: &charge.evidence,
        };
        Self {
            tags: tags_to(&charge.tags),
            detail: serde_json::to_string(&detail).expect("numbers, texts and no maps with other keys"),
        }
    }

    pub(super) fn tags(&self) -> &str {
        &self.tags
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

pub(super) fn kind_of(kind: ChargeKind) -> (&'static str, Option<i64>) {
    match kind {
        ChargeKind::Capture => ("capture", None),
        ChargeKind::Refund { of } => ("refund", Some(counted(of))),
    }
}

pub(super) fn posted(row: &Record) -> Result<PostedCharge, LedgerFault> {
    let bad = |column| LedgerFault::Row { column };
    let kind = match (row.text("kind")?.as_str(), row.maybe_int("refund_of")?) {
        ("capture", None) => ChargeKind::Capture,
        ("refund", Some(of)) => ChargeKind::Refund {
            of: u64::try_from(of).map_err(|_| bad("refund_of"))?,
        },
        _ => return Err(bad("kind")),
    };
    let detail: OwnedDetail = serde_json::from_str(&row.text("detail")?).map_err(|_| bad("detail"))?;
    let receipt_hash = row.maybe_bytes("receipt_hash")?.map(<[u8; 32]>::try_from);
    let charge = Charge {
        node: Arc::from(row.text("node")?),
        seq: row.narrow("seq")?,
        kind,
        at_ms: row.int("at_ms")?,
        request_id: row.text("request_id")?,
        organisation: row.word("organisation")?,
        team: row.maybe_word("team")?,
        key: row.maybe_word("key")?,
        day: row.narrow("day")?,
        month: row.narrow("month")?,
        bounds: Bounds::new(row.narrow("bounds")?).ok_or(bad("bounds"))?,
        currency: row.word("currency")?,
        held: row.nano("held")?,
        amount: row.nano("amount")?,
        fee: row.nano("fee")?,
        terms: detail.terms,
        model: row.text("model")?,
        endpoint: row.text("endpoint")?,
        backend: row.maybe_text("backend")?,
        upstream: row.maybe_text("upstream")?,
        end: row.word("ending")?,
        billed: Usage {
            prompt: row.narrow("prompt")?,
            cached: row.narrow("cached")?,
            completion: row.narrow("completion")?,
            reasoning: row.narrow("reasoning")?,
        },
        claimed: detail.claimed,
        counted: detail.counted,
        source: row.word("usage_source")?,
        tags: tags_of(&row.text("tags")?).ok_or(bad("tags"))?,
        evidence: detail.evidence,
    };
    Ok(PostedCharge {
        id: row.int("id")?,
        epoch: row.narrow("epoch")?,
        late: row.flag("late")?,
        sealed: SealedCharge {
            charge,
            receipt: row.maybe_text("receipt")?.map(String::into_boxed_str),
            receipt_hash: receipt_hash.transpose().map_err(|_| bad("receipt_hash"))?,
        },
    })
}

/// As the journal of a node holds it.
pub(crate) fn json_of_charge(charge: &Charge) -> String {
    serde_json::to_string(charge).expect("numbers, texts and no maps with other keys")
}

pub(crate) fn charge_of_json(text: &str) -> Result<Charge, LedgerFault> {
    serde_json::from_str(text).map_err(|_| LedgerFault::Row { column: "charge" })
}
