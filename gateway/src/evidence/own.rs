//! Our own evidence, for whoever asks: a quote, or where this gateway is no guest a signature of its key, under a nonce
//! of the asker's.
//!
//! On hardware a quote is a second of a service that all guests of the machine share, so that proofs are made at a
//! bounded rate, whoever asks; whoever comes too often is told when to come again.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use attestation::{Hex, binding::user_report_data};
use attestation_ratls::{Identities, Identity, channel::Proof};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Proofs at once, and the time in which one more may be made.
const BURST: u32 = 8;
const REFILL: Duration = Duration::from_secs(4);
/// How long whoever asks waits for one.
const PATIENCE: Duration = Duration::from_secs(20);

const ATTESTED: &str = "This gateway runs in the guest that the quote describes, if a policy of yours accepts it.";
const KEYED: &str = "This gateway shows a key and no quote: it proves that it is the one that you knew before, and nothing about its machine. Whoever runs that machine can read prompts and answers.";

/// What this gateway can show of itself. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Own(Arc<Shown>);

#[derive(Debug)]
struct Shown {
    identities: OnceLock<Arc<Identities>>,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    since: Instant,
}

/// Why there is no proof, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnError {
    #[error(
        "This gateway has no key to show: it serves neither workers nor attested connections. Its operator can set `worker_listen` or `attested_listen`."
    )]
    Nobody,
    #[error(
        "This gateway shows a key and no quote, so that there is no such report of it; GET /v1/attestation says more."
    )]
    NotAttested,
    #[error("Evidence of this gateway was asked for too often; it is made anew for each nonce. Ask again in {} s.", .wait.as_secs().max(1))]
    TooOften { wait: Duration },
    #[error("This gateway's machine made no evidence in time. Ask again later.")]
    NoProof,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            identities: OnceLock::new(),
            bucket: Mutex::new(Bucket {
                tokens: BURST,
                since: Instant::now(),
            }),
        }
    }
}

impl Own {
    /// Said once, when it is known; later it changes nothing.
    pub(crate) fn is(&self, identities: &Arc<Identities>) {
        drop(self.0.identities.set(Arc::clone(identities)));
    }

    /// Everything that it takes to check that this gateway answered this nonce.
    pub(crate) async fn show(&self, nonce: [u8; 32]) -> Result<Value, OwnError> {
        let identity = self.identity()?;
        let report_data = user_report_data(identity.role(), &nonce, identity.spki_sha256());
        let proof = self.prove(Arc::clone(&identity), report_data).await?;
        let proof = match proof {
            Proof::Quote(quote) => json!({ "quote": BASE64_STANDARD.encode(quote.0) }),
            Proof::Signature(signature) => json!({ "signature": BASE64_STANDARD.encode(signature.0) }),
        };
        Ok(json!({
            "attested": identity.is_attested(),
            "says": if identity.is_attested() { ATTESTED } else { KEYED },
            "role": identity.role(),
            "certificate": BASE64_STANDARD.encode(identity.certificate()),
            "spki_sha256": Hex(*identity.spki_sha256()),
            "report_data": Hex(report_data),
            "proof": proof,
        }))
    }

    /// A quote over other report data, of a gateway that is a guest.
    pub(crate) async fn quote(&self, report_data: [u8; 64]) -> Result<Vec<u8>, OwnError> {
        let identity = self.identity()?;
        if !identity.is_attested() {
            return Err(OwnError::NotAttested);
        }
        match self.prove(identity, report_data).await? {
            Proof::Quote(quote) => Ok(quote.0),
            Proof::Signature(_) => Err(OwnError::NotAttested),
        }
    }

    pub(crate) fn identity(&self) -> Result<Arc<Identity>, OwnError> {
        let identities = self.0.identities.get().ok_or(OwnError::Nobody)?;
        Ok(identities.current())
    }

    async fn prove(&self, identity: Arc<Identity>, report_data: [u8; 64]) -> Result<Proof, OwnError> {
        let taken = self
            .0
            .bucket
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(Instant::now());
        taken.map_err(|wait| OwnError::TooOften { wait })?;
        let making = tokio::task::spawn_blocking(move || identity.prove(&report_data));
        match timeout(PATIENCE, making).await {
            Ok(Ok(Ok(answer))) => Ok(answer.proof),
            Ok(Ok(Err(error))) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "this machine made no evidence for a user");
                Err(OwnError::NoProof)
            }
            Ok(Err(_)) | Err(_) => Err(OwnError::NoProof),
        }
    }
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.since);
        let added = u32::try_from(passed.as_millis() / REFILL.as_millis()).unwrap_or(BURST);
        self.tokens = self.tokens.saturating_add(added).min(BURST);
        self.since = if self.tokens == BURST {
            now
        } else {
            self.since + REFILL * added
        };
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err((self.since + REFILL).saturating_duration_since(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proofs_are_made_at_a_bounded_rate() {
        let start = Instant::now();
        let mut bucket = Bucket {
            tokens: BURST,
            since: start,
        };
        for _ in 0..BURST {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(REFILL));
        let later = start + REFILL - Duration::from_secs(1);
        assert_eq!(bucket.take(later), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(start + REFILL), Ok(()));
        assert!(bucket.take(start + REFILL).is_err());
        assert_eq!(bucket.take(start + REFILL * 100), Ok(()));
        assert_eq!(bucket.tokens, BURST - 1);
    }
}
