//! `mulberry verify`: receipts against the keys of a gateway, without asking anybody.
//!
//! Exits 0 when everything that was asked holds, 1 when something is refused, with the member that does not fit, and 2
//! when nothing can be said: no file, no JSON, no key.
//! The files were written by somebody else: they are bounded, and what they say is printed without its control
//! characters.

mod evidence;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use backends::serve::BoxError;
use billing::receipt::{
    BodyHash, Chains, Checkpoint, Document, Facts, Hash, Keys, Kind, Malformed, statement::Ended, to_hex, verify,
};
use openapi::sse::without_heartbeats;
use serde_json::value::RawValue;

use evidence::Bundles;

use crate::{
    cli::verify::{Salt, VerifyArgs},
    config::Timestamp,
    layers::rescue::Chain,
    receipts::keys::{KeySetError, read_key_set},
};

/// A receipt is not what a gateway signed, or something is missing.
const REFUSED: u8 = 1;
/// Nothing can be said.
const UNUSABLE: u8 = 2;
/// The most that is read of a file.
const MAX_FILE: u64 = 1024 * 1024 * 1024;

/// Why nothing can be said of what was given.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(
        "whose signature it should be is not known; give the gateway's public key with --key, or with --keys what GET /v1/receipts/keys gave"
    )]
    NoKey,
    #[error("cannot read '{}'", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' has more than 1 GiB", path.display())]
    TooLarge { path: PathBuf },
    #[error("'{}' {source}", path.display())]
    KeySet {
        path: PathBuf,
        #[source]
        source: KeySetError,
    },
    #[error("'{}' holds no receipt", path.display())]
    Empty { path: PathBuf },
}

/// Something that was checked and does not hold.
#[derive(Debug)]
struct Refusal {
    place: String,
    why: String,
}

pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode, BoxError> {
    let mut out = io::stdout().lock();
    match check(args, &mut out) {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(Refusal { place, why })) => {
            writeln!(out, "refused: {}: {}", plain(&place), plain(&why))?;
            Ok(ExitCode::from(REFUSED))
        }
        Err(unusable) => {
            writeln!(io::stderr(), "mulberry: {}", Chain(&unusable))?;
            Ok(ExitCode::from(UNUSABLE))
        }
    }
}

fn check(args: &VerifyArgs, out: &mut impl io::Write) -> Result<Result<(), Refusal>, Unusable> {
    let mut keys = args.key.clone();
    if let Some(path) = &args.keys {
        let set = read_key_set(&read(path)?);
        keys.extend(set.map_err(|source| Unusable::KeySet {
            path: path.clone(),
            source,
        })?);
    }
    let keys: Keys = keys.into_iter().collect();
    if keys.is_empty() {
        return Err(Unusable::NoKey);
    }
    let hashes = Hashes {
        request: hash(args.request.as_deref(), args.salt, |body| body)?,
        response: hash(args.response.as_deref(), args.salt, |body| without_heartbeats(&body))?,
        response_as_it_came: hash(args.response.as_deref(), args.salt, |body| body)?,
        forwarded: hash(args.request.as_deref(), args.salt.map(Salt::of_statement), |body| body)?,
    };
    let bundles = match Bundles::read(args)? {
        Ok(bundles) => bundles,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut chains = Chains::default();
    let mut is_evidence_open = false;
    for path in &args.files {
        let documents = match documents(&read(path)?) {
            Ok(documents) if documents.is_empty() => return Err(Unusable::Empty { path: path.clone() }),
            Ok(documents) => documents,
            Err(malformed) => return Ok(Err(broken(path, &malformed))),
        };
        for document in &documents {
            let refused = |place: &str, why: &str| Refusal {
                place: format!("{}: {place}", path.display()),
                why: why.to_owned(),
            };
            let receipt = match verify(document, &keys) {
                Ok(receipt) => receipt,
                Err(error) => return Ok(Err(refused(&error.field, &error.why))),
            };
            let facts = receipt.facts();
            if let Err((field, why)) = hashes.check(facts) {
                return Ok(Err(refused(&format!("{}: {field}", facts.receipt_id), why)));
            }
            if let Err((field, why)) = bundles.check(facts) {
                return Ok(Err(refused(&format!("{}: {field}", facts.receipt_id), &why)));
            }
            if let Err(gap) = chains.add(&receipt) {
                return Ok(Err(refused("chain", &gap.to_string())));
            }
            // Who reads the exit status alone may have closed the output.
            drop(writeln!(out, "good  {}", line(facts)));
            if let Some(told) = stated(args, facts, &hashes, bundles.has(facts)) {
                match told {
                    Ok(told) => drop(writeln!(out, "      {}", plain(&told))),
                    Err(why) => {
                        return Ok(Err(refused(
                            &format!("{}: worker_statement.key", facts.receipt_id),
                            why,
                        )));
                    }
                }
            }
            if let Some(paid_by) = &facts.voucher {
                drop(writeln!(
                    out,
                    "      paid by the channel {} on {}: {} charged so far, {} signed by the payer's key {}",
                    paid_by.channel,
                    paid_by.network,
                    paid_by.charged,
                    paid_by.max,
                    to_hex(&paid_by.payer),
                ));
            }
            is_evidence_open |= facts.evidence.is_some() && args.evidence.is_empty();
            if let Some(told) = bundles.tell(facts) {
                drop(writeln!(out, "      {}", plain(&told)));
            }
        }
    }
    chain(args, &chains, &keys, is_evidence_open, out)
}

/// Whether the receipts go together, as far as that was asked.
fn chain(
    args: &VerifyArgs,
    chains: &Chains,
    keys: &Keys,
    is_evidence_open: bool,
    out: &mut impl io::Write,
) -> Result<Result<(), Refusal>, Unusable> {
    let refused = |error: &dyn std::fmt::Display| Refusal {
        place: "chain".to_owned(),
        why: error.to_string(),
    };
    let mut checked = chains.check_links();
    if !args.allow_gaps {
        checked = checked.and_then(|()| chains.check_gaps(args.from_first));
    }
    for head in &args.head {
        checked = checked.and_then(|()| chains.check_head(head));
    }
    if let Err(gap) = checked {
        return Ok(Err(refused(&gap)));
    }
    let (count, receipts) = chains.counts();
    let mut told = format!(
        "{receipts} {} of {count} {}",
        noun(receipts, "receipt"),
        noun(count, "chain")
    );
    if receipts > count && !args.allow_gaps {
        told.push_str(", none missing in between");
    }
    if args.from_first {
        told.push_str(", from the first");
    }
    if let Some(path) = &args.checkpoint {
        let in_file = |place: &str, why: &str| Refusal {
            place: format!("{}: {place}", path.display()),
            why: why.to_owned(),
        };
        let document = match Document::parse(&read(path)?) {
            Ok(document) => document,
            Err(malformed) => return Ok(Err(broken(path, &malformed))),
        };
        let checkpoint = match Checkpoint::verify(&document, keys) {
            Ok(checkpoint) => checkpoint,
            Err(error) => return Ok(Err(in_file(&error.field, &error.why))),
        };
        if let Err(gap) = chains.check_ends(&checkpoint) {
            return Ok(Err(refused(&gap)));
        }
        let at = Timestamp::from_unix_seconds(checkpoint.issued_at());
        told.push_str(&format!(
            ", none of {} missing at the end as of {at}",
            checkpoint.organisation()
        ));
    } else if args.head.is_empty() {
        told.push_str("; whether more followed is not checked without --checkpoint or --head");
    }
    if is_evidence_open {
        told.push_str("; who answered is not checked without --evidence");
    }
    drop(writeln!(out, "{}", plain(&told)));
    Ok(Ok(()))
}

/// Salted hashes of what the client sent and received.
struct Hashes {
    request: Option<Hash>,
    /// Without heartbeats.
    response: Option<Hash>,
    /// An answer that passes unread gets no heartbeats of the gateway, and those of its upstream are part of it.
    response_as_it_came: Option<Hash>,
    /// Of the request as the worker would have it, had the gateway changed nothing.
    forwarded: Option<Hash>,
}

impl Hashes {
    fn check(&self, facts: &Facts) -> Result<(), (&'static str, &'static str)> {
        if self.request.is_some_and(|hash| hash != facts.request.received) {
            return Err((
                "request.received",
                "is not the hash of this request with this salt; it must be the bytes that were sent",
            ));
        }
        match (self.response, facts.response.returned) {
            (Some(_), None) => Err((
                "response.returned",
                "there is none, for the client left before the end of the answer",
            )),
            (Some(hash), Some(returned)) if hash != returned && self.response_as_it_came != Some(returned) => Err((
                "response.returned",
                "is not the hash of this response with this salt; it must be the bytes that were received, of a stream all events and comments",
            )),
            _ => Ok(()),
        }
    }
}

fn hash(
    path: Option<&Path>,
    salt: Option<Salt>,
    hashed: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> Result<Option<Hash>, Unusable> {
    let (Some(path), Some(Salt(salt))) = (path, salt) else {
        return Ok(None);
    };
    let mut hash = BodyHash::new(&salt);
    hash.update(&hashed(read(path)?));
    Ok(Some(hash.finish()))
}

/// All receipts of a file: one, one a line, or within `{"object":"list","data":[…]}`, as the gateway answers.
fn documents(bytes: &[u8]) -> Result<Vec<Document>, Malformed> {
    let mut all = Vec::new();
    for document in Document::parse_all(bytes)? {
        let items = document
            .value("data")
            .filter(|_| document.value("object") == Some("\"list\""));
        let items = items.and_then(|items| serde_json::from_str::<Vec<&RawValue>>(items).ok());
        match items {
            Some(items) => {
                for item in items {
                    all.push(Document::parse(item.get().as_bytes())?);
                }
            }
            None => all.push(document),
        }
    }
    Ok(all)
}

fn broken(path: &Path, malformed: &Malformed) -> Refusal {
    let place = match &malformed.member {
        Some(member) => format!("{}: {member}", path.display()),
        None => format!("{}: document", path.display()),
    };
    Refusal {
        place,
        why: format!(
            "{malformed}; a receipt is canonical JSON (RFC 8785), byte for byte as it was given but for white space"
        ),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let failed = |source| Unusable::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(MAX_FILE).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
    };
    let len = read.map_err(failed)?;
    if len as u64 == MAX_FILE {
        return Err(Unusable::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// What the worker stated, which the receipt's own check has found to be signed by the key beside it.
fn stated(
    args: &VerifyArgs,
    facts: &Facts,
    hashes: &Hashes,
    has_evidence: bool,
) -> Option<Result<String, &'static str>> {
    let (key, signed) = facts.worker_statement.signed()?;
    let is_known = args.worker_key.contains(&key);
    if !args.worker_key.is_empty() && !is_known {
        return Some(Err(
            "is another than --worker-key: who signed the statement is not the worker that was meant",
        ));
    }
    let by = if has_evidence {
        "as its evidence names it"
    } else if is_known {
        "as it should be"
    } else {
        "which is the one that the gateway named: give the worker's evidence, or the key with --worker-key"
    };
    let statement = signed.verify(&key).ok()?.exchange;
    let same = hashes.forwarded == Some(statement.request.sha256);
    let about = if same { ", of this very request" } else { "" };
    Some(Ok(format!(
        "stated by its worker{about}: {} bytes in, {} out, {}, signed by {key}, {by}",
        statement.request.bytes,
        statement.response.bytes,
        match statement.ended {
            Ended::Whole => "whole",
            Ended::Cut => "cut off",
        },
    )))
}

/// A receipt in one line.
fn line(facts: &Facts) -> String {
    let amounts = &facts.amounts;
    let kind = match facts.kind {
        Kind::Capture => "",
        Kind::Refund => " back",
    };
    let who = facts.account.key.as_ref().unwrap_or(&facts.account.organisation);
    plain(&format!(
        "{}  {}  {}  {who}  {}  {} {}{kind}  {}",
        facts.receipt_id,
        facts.request_id,
        Timestamp::from_unix_seconds(facts.served_at),
        facts.model,
        amounts.total,
        amounts.currency,
        facts.upstream.tier,
    ))
}

fn noun(count: usize, noun: &str) -> String {
    if count == 1 {
        noun.to_owned()
    } else {
        format!("{noun}s")
    }
}

/// What others wrote, fit for a terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}
