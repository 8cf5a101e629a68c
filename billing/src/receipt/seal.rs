//! Making receipts: the members of a charge in canonical form, a signature, and a link to the receipt before.

use std::{collections::HashMap, ops::Range, sync::Arc};

use super::{
    Hash,
    document::Document,
    facts::Facts,
    hex::{push_hex, to_hex},
    key::SigningKey,
    sha256, signed,
    statement::Word,
    verify::signing_hash,
    writer::{self, Object},
};
use crate::{AccountId, Charge, ChargeKind, Usage};

/// What is signed begins with this, so that it can be nothing but a receipt.
pub(super) const TAG: &str = "mulberry-receipt-v1\n";
/// The version of the format.
pub(super) const VERSION: u64 = 1;
/// The hash of a member in `digests` is the beginning of its SHA-256: it names what was altered, the signature refuses
/// it.
pub(super) const DIGEST_LEN: usize = 8;

/// Where the chain of an organisation on a node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub organisation: AccountId,
    /// The number of the last receipt at its node.
    pub seq: u64,
    pub hash: Hash,
}

impl Head {
    /// That of a chain which ends with this receipt of ours. The signature is not checked: it comes out of our own
    /// database.
    pub fn of(receipt: &str) -> Option<Self> {
        let document = Document::parse(receipt.as_bytes()).ok()?;
        let facts = Facts::read(&document).ok()?;
        Some(Self {
            seq: facts.seq,
            organisation: facts.account.organisation,
            hash: signing_hash(&document),
        })
    }
}

/// A receipt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The whole document, canonical.
    pub json: Box<str>,
    /// What the next one of its chain names as `previous`.
    pub hash: Hash,
}

/// Makes the receipts of one node, in the order of its charges.
///
/// Chains move on with each [`Sealer::seal`]. Who drops a receipt that was not kept makes a new `Sealer` from the
/// heads of what was.
#[derive(Debug)]
pub struct Sealer {
    key: Arc<SigningKey>,
    heads: HashMap<AccountId, (u64, Hash)>,
}

impl Sealer {
    /// `heads`: where the chains of this node stand; an organisation that is not among them begins one.
    pub fn new(key: Arc<SigningKey>, heads: impl IntoIterator<Item = Head>) -> Self {
        let heads = heads.into_iter().map(|head| (head.organisation, (head.seq, head.hash)));
        Self {
            key,
            heads: heads.collect(),
        }
    }

    /// The receipt of a charge that has its node and number; `None` where the charge has no evidence, which means that
    /// receipts are off.
    pub fn seal(&mut self, charge: &Charge) -> Option<Sealed> {
        let evidence = charge.evidence.as_ref()?;
        let head = self.heads.get(&charge.organisation);

        let mut body = Body::default();
        body.object("account", |o| {
            o.text_or_null("key", charge.key.as_ref().map(AccountId::as_str));
            o.text("organisation", charge.organisation.as_str());
            o.text_or_null("team", charge.team.as_ref().map(AccountId::as_str));
        });
        body.object("amounts", |o| {
            o.amount("cost", charge.amount.saturating_sub(charge.fee));
            o.text("currency", charge.currency.as_str());
            o.amount("fee", charge.fee);
            o.amount("held", charge.held);
            o.amount("total", charge.amount);
        });
        body.null("checkpoint");
        body.text("end", charge.end.as_str());
        body.text("endpoint", &charge.endpoint);
        match &evidence.rests_on {
            Some(rests_on) => body.text("evidence", &format!("sha256:{}", to_hex(&rests_on.bundle))),
            None => body.null("evidence"),
        }
        body.text(
            "kind",
            match charge.kind {
                ChargeKind::Capture => "capture",
                ChargeKind::Refund { .. } => "refund",
            },
        );
        body.text("model", &charge.model);
        body.text("node", &charge.node);
        match head {
            Some((seq, hash)) => body.object("previous", |o| {
                o.text("hash", &to_hex(hash));
                o.count("seq", *seq);
            }),
            None => body.null("previous"),
        }
        body.text("receipt_id", &format!("{}/{}", charge.node, charge.seq));
        body.object("request", |o| {
            o.hash("forwarded", evidence.forwarded.as_ref());
            o.hash("received", Some(&evidence.request));
        });
        body.text("request_id", &charge.request_id);
        body.object("response", |o| o.hash("returned", evidence.response.as_ref()));
        body.count("seq", charge.seq);
        body.count("served_at", seconds(charge.at_ms));
        match charge.kind {
            ChargeKind::Capture => body.null("supersedes"),
            ChargeKind::Refund { of } => body.object("supersedes", |o| o.count("seq", of)),
        }
        body.object("terms", |o| terms(o, charge));
        body.object("upstream", |o| {
            o.text("tier", &evidence.tier);
            o.hash("verified", evidence.rests_on.as_ref().map(|rests_on| &rests_on.verdict));
        });
        body.object("usage", |o| {
            usage(o, "billed", Some(&charge.billed));
            usage(o, "claimed", charge.claimed.as_ref());
            usage(o, "counted", charge.counted.as_ref());
            o.text("source", charge.source.as_str());
        });
        body.count("v", VERSION);
        match &evidence.paid_by {
            Some(paid_by) => body.object("voucher", |o| paid_by.write(o)),
            None => body.null("voucher"),
        }
        body.object("worker_statement", |o| match &evidence.word {
            Word::Absent(why) => o.text("absent", why.as_str()),
            Word::Signed { key, statement } => {
                o.text("key", &key.to_string());
                o.text("signature", &to_hex(statement.signature()));
                // Canonical already, or the receipt would not be.
                o.name("statement").push_str(statement.json());
            }
        });

        let sealed = body.seal(TAG, &self.key);
        self.heads
            .insert(charge.organisation.clone(), (charge.seq, sealed.hash));
        Some(sealed)
    }
}

fn terms(o: &mut Object<'_>, charge: &Charge) {
    let terms = &charge.terms;
    o.text("currency", terms.currency.as_str());
    o.object("fee", |o| {
        o.digits("completion", terms.fee.completion);
        o.digits("prompt", terms.fee.prompt);
    });
    match terms.rate {
        Some(rate) => o.amount("rate", rate),
        None => o.null("rate"),
    }
    o.object("tariff", |o| {
        let tariff = &terms.tariff;
        o.digits("cached", tariff.cached);
        o.digits("completion", tariff.completion);
        o.digits("minimum", tariff.minimum);
        o.digits("prompt", tariff.prompt);
        o.digits("reasoning", tariff.reasoning);
        o.digits("request", tariff.request);
    });
}

fn usage(o: &mut Object<'_>, name: &str, usage: Option<&Usage>) {
    let Some(usage) = usage else {
        return o.null(name);
    };
    o.object(name, |o| {
        o.count("cached", usage.cached);
        o.count("completion", usage.completion);
        o.count("prompt", usage.prompt);
        o.count("reasoning", usage.reasoning);
    });
}

fn seconds(unix_ms: i64) -> u64 {
    u64::try_from(unix_ms.div_euclid(1000)).unwrap_or(0)
}

/// The members of a document that is to be signed, in ascending order of their names.
#[derive(Default)]
pub(super) struct Body {
    values: String,
    members: Vec<(&'static str, Range<usize>)>,
}

impl Body {
    pub(super) fn member(&mut self, name: &'static str, write: impl FnOnce(&mut String)) {
        let begin = self.values.len();
        write(&mut self.values);
        self.members.push((name, begin..self.values.len()));
    }

    pub(super) fn object(&mut self, name: &'static str, members: impl FnOnce(&mut Object<'_>)) {
        self.member(name, |out| writer::object(out, members));
    }

    pub(super) fn text(&mut self, name: &'static str, value: &str) {
        self.member(name, |out| writer::text(out, value));
    }

    pub(super) fn count(&mut self, name: &'static str, value: u64) {
        self.member(name, |out| out.push_str(&value.min(writer::MOST).to_string()));
    }

    fn null(&mut self, name: &'static str) {
        self.member(name, |out| out.push_str("null"));
    }

    /// Adds `digests`, signs, and adds `signatures`.
    pub(super) fn seal(mut self, tag: &str, key: &SigningKey) -> Sealed {
        let digests = digests(self.members.iter().map(|(name, range)| (*name, self.slice(range))));
        let begin = self.values.len();
        self.values.push_str(&digests);
        let digests = ("digests", begin..self.values.len());
        let at = self.members.partition_point(|(name, _)| *name < "digests");
        self.members.insert(at, digests);

        let mut unsigned = String::with_capacity(self.values.len().saturating_mul(2));
        let mut place = None;
        unsigned.push('{');
        for (name, range) in &self.members {
            if *name > "signatures" && place.is_none() {
                place = Some(unsigned.len());
            }
            if unsigned.len() > 1 {
                unsigned.push(',');
            }
            writer::text(&mut unsigned, name);
            unsigned.push(':');
            unsigned.push_str(self.slice(range));
        }
        let place = place.unwrap_or(unsigned.len());
        unsigned.push('}');

        let hash = sha256(unsigned.as_bytes());
        let signature = key.sign(&signed(tag, &hash));
        let (head, tail) = unsigned.split_at_checked(place).unwrap_or((&unsigned, ""));
        let mut json = String::with_capacity(unsigned.len().saturating_add(320));
        json.push_str(head);
        json.push_str(",\"signatures\":[");
        writer::object(&mut json, |o| {
            o.text("key_id", &key.public().id().to_string());
            o.text("role", "gateway");
            o.text("signature", &to_hex(&signature));
        });
        json.push(']');
        json.push_str(tail);
        Sealed {
            json: json.into(),
            hash,
        }
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        self.values.get(range.clone()).unwrap_or_default()
    }
}

/// The value of `digests` for members of these names and values.
pub(super) fn digests<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    writer::object(&mut out, |o| {
        for (name, value) in members {
            let hash = sha256(value.as_bytes());
            let out = o.name(name);
            out.push('"');
            push_hex(out, hash.get(..DIGEST_LEN).unwrap_or_default());
            out.push('"');
        }
    });
    out
}
