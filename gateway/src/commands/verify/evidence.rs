//! What receipts rest on: bundles of evidence, appraised again as of their day.

use std::collections::HashMap;

use attestation::{Anchor, Bundle, Hex, Role, TrustAnchor, Verdict};
use billing::receipt::{Facts, Hash, Kind};
use sha2::{Digest as _, Sha256};

use super::{Refusal, Unusable, read};
use crate::{cli::verify::VerifyArgs, config::Timestamp};

/// For clocks that differ, in seconds.
const LATE: u64 = 60;

/// Those that were given, each of which holds.
pub(super) struct Bundles {
    /// By the SHA-256 of their texts.
    known: HashMap<Hash, Known>,
}

struct Known {
    verdict: Verdict,
    /// SHA-256 of the verdict as it stands in the bundle.
    digest: Hash,
}

impl Bundles {
    pub(super) fn read(args: &VerifyArgs) -> Result<Result<Self, Refusal>, Unusable> {
        let anchor = match &args.root {
            None => TrustAnchor::Intel,
            Some(path) => TrustAnchor::Development(read(path)?),
        };
        let mut known = HashMap::new();
        for path in &args.evidence {
            let text = read(path)?;
            let appraised = Bundle::read(&text).and_then(|bundle| {
                let verdict = bundle.appraise(&anchor)?;
                let digest = bundle.verdict_digest().0;
                Ok(Known { verdict, digest })
            });
            match appraised {
                Ok(appraised) => {
                    known.insert(Bundle::id_of(&text).0, appraised);
                }
                Err(refusal) => {
                    return Ok(Err(Refusal {
                        place: format!("{}: {}", path.display(), refusal.code()),
                        why: refusal.to_string(),
                    }));
                }
            }
        }
        Ok(Ok(Self { known }))
    }

    /// Whether what a receipt says of who answered is what its evidence says. Without any evidence nothing is asked.
    pub(super) fn check(&self, facts: &Facts) -> Result<(), (&'static str, String)> {
        if self.known.is_empty() {
            return Ok(());
        }
        let Some(id) = facts.evidence else {
            return match facts.upstream.tier.as_str() {
                "open" => Ok(()),
                tier => Err(("evidence", format!("there is none for the tier {tier}"))),
            };
        };
        let known = self.known.get(&id);
        let known = known.ok_or(("evidence", "none of the bundles has this digest".to_owned()))?;
        if known.verdict.role() != Role::Worker {
            return Err(("evidence", "is not of a worker".to_owned()));
        }
        if facts.upstream.verified != Some(known.digest) {
            return Err((
                "upstream.verified",
                "is not the digest of the verdict in the bundle".to_owned(),
            ));
        }
        let tier = known.verdict.tier();
        if facts.upstream.tier != tier.name() {
            return Err(("upstream.tier", format!("the evidence reaches {tier}")));
        }
        if let Some((key, signed)) = facts.worker_statement.signed() {
            let claims = known.verdict.claims();
            if claims.receipt_key != Some(Hex(*key.as_bytes())) {
                let why = "is not the key of statements that the worker's evidence names";
                return Err(("worker_statement.key", why.to_owned()));
            }
            let digest: Hash = Sha256::digest(claims.encode()).into();
            if signed.verify(&key).map(|statement| statement.exchange.claims) != Ok(digest) {
                let why = "is by somebody with other claims than the evidence has";
                return Err(("worker_statement.statement", why.to_owned()));
            }
        }
        // What came before the verdict cannot rest on it. A stream may end long after it.
        if facts.served_at < known.verdict.appraised_at() {
            return Err(("served_at", "is before the evidence was appraised".to_owned()));
        }
        // A connection ends with its certificate.
        let ended = known.verdict.claims().not_after.saturating_add(LATE);
        if facts.kind == Kind::Capture && facts.served_at > ended {
            return Err(("served_at", "is after the worker's evidence had ended".to_owned()));
        }
        Ok(())
    }

    /// Whether the evidence of who answered is here, and with it the key by which it states its answers.
    pub(super) fn has(&self, facts: &Facts) -> bool {
        facts.evidence.is_some_and(|id| self.known.contains_key(&id))
    }

    /// What is known of who answered, for a receipt that was found good.
    pub(super) fn tell(&self, facts: &Facts) -> Option<String> {
        let Known { verdict, .. } = self.known.get(&facts.evidence?)?;
        let at = Timestamp::from_unix_seconds(verdict.appraised_at());
        Some(match (verdict.anchor(), verdict.image()) {
            (Some(anchor), Some(image)) => {
                let warning = match anchor {
                    Anchor::Intel => "",
                    Anchor::Development => ", WHICH PROVES NOTHING",
                };
                format!("answered by the image {image}, verified at {at} under the {anchor} root{warning}")
            }
            _ => format!(
                "answered by the holder of the key {}, verified at {at}, on a machine of which nothing is known",
                verdict.claims().spki_sha256
            ),
        })
    }
}
