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

use arc_swap::ArcSwapOption;
use attestation::{Attester, Claims, NoQuote, Role, gpu::GpuEvidence};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

pub use issue::{Draft, Format, GpuAttester, IssueError, Keys, LIFETIME};
pub use renew::Identities;

use crate::{
    channel::{Answer, Bytes, Proof},
    key::{BadKey, Key},
};

pub struct Identity {
    key: Key,
    claims: Claims,
    certified: Arc<CertifiedKey>,
    der: CertificateDer<'static>,
    /// Its staples are renewed while the certificate lives.
    gpu: ArcSwapOption<GpuEvidence>,
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

/// The claims name other devices, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evidence is of other GPUs than the claims name")]
pub struct OtherGpus;

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

    pub fn gpu_evidence(&self) -> Option<Arc<GpuEvidence>> {
        self.gpu.load_full()
    }

    /// The same devices with newer OCSP answers or tokens, which end long before the claims do.
    pub fn renew_gpu_evidence(&self, evidence: GpuEvidence) -> Result<(), OtherGpus> {
        if self.claims.gpu_evidence != Some(evidence.digest()) {
            return Err(OtherGpus);
        }
        self.gpu.store(Some(Arc::new(evidence)));
        Ok(())
    }

    /// Whether a quote stands behind it.
    pub fn is_attested(&self) -> bool {
        self.attester.is_some()
    }

    /// Says who we are under these report data: a fresh quote, or where there is none a signature of the TLS key.
    /// Blocking, and slow on hardware.
    pub fn prove(&self, report_data: &[u8; 64]) -> Result<Answer, NoProof> {
        let proof = match &self.attester {
            Some(attester) => Proof::Quote(Bytes(attester.quote(report_data).map_err(NoProof::Quote)?)),
            None => Proof::Signature(Bytes(self.key.state(report_data).map_err(NoProof::Signature)?)),
        };
        let gpu = self.gpu_evidence().map(|evidence| Bytes(evidence.encode()));
        Ok(Answer { proof, gpu })
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
