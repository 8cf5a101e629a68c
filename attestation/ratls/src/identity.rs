//! Our own certificate: a TLS key and the evidence that names it.
//!
//! An [`Identity`] holds for a day at most and is replaced whole: [`Identities`] makes the next one while half of the
//! time is left, new connections take it, and those that run keep theirs until it ends. A guest gets a fresh key each
//! time; a node without a quote is known by its key and keeps it.
//!
//! No name stands in it and none is looked at: who a peer is, its evidence says.

mod issue;
mod renew;

use std::{fmt, sync::Arc};

use attestation::{Attester, Claims, NoQuote, Role};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

pub use issue::{Draft, Format, GpuAttester, IssueError, Keys, LIFETIME};
pub use renew::Identities;

use crate::{
    channel::{Bytes, Proof},
    key::{BadKey, Key},
};

pub struct Identity {
    key: Key,
    claims: Claims,
    certified: Arc<CertifiedKey>,
    der: CertificateDer<'static>,
    gpu: Option<Arc<[u8]>>,
    attester: Option<Arc<dyn Attester>>,
}

/// In order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    #[error("no quote was made")]
    Quote(#[source] NoQuote),
    #[error("our TLS key made no signature")]
    Signature(#[source] BadKey),
}

impl Identity {
    pub fn role(&self) -> Role {
        self.claims.role
    }

    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub fn spki_sha256(&self) -> &[u8; 32] {
        self.key.spki_sha256()
    }

    pub fn not_after(&self) -> u64 {
        self.claims.not_after
    }

    /// In DER.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// In its canonical form, whose digest is in the claims.
    pub fn gpu_evidence(&self) -> Option<&Arc<[u8]>> {
        self.gpu.as_ref()
    }

    /// Whether a quote stands behind it.
    pub fn is_attested(&self) -> bool {
        self.attester.is_some()
    }

    /// Says who we are under these report data: a fresh quote, or where there is none a signature of the TLS key.
    /// Blocking, and slow on hardware.
    pub fn prove(&self, report_data: &[u8; 64]) -> Result<Proof, NoProof> {
        match &self.attester {
            Some(attester) => {
                let quote = attester.quote(report_data).map_err(NoProof::Quote)?;
                Ok(Proof::Quote(Bytes(quote)))
            }
            None => {
                let signature = self.key.state(report_data).map_err(NoProof::Signature)?;
                Ok(Proof::Signature(Bytes(signature)))
            }
        }
    }

    pub(crate) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("key", &self.key)
            .field("claims", &self.claims)
            .field("attested", &self.is_attested())
            .finish_non_exhaustive()
    }
}
