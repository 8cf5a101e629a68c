//! Whoever showed a certificate that we accepted.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use attestation::{
    Bundle, Claims, CocoonCertificate, Evidence, Refusal, Role, Verdict,
    bundle::{self, Exchange},
};

use crate::{
    certificate::{Certificate, CertificateRefusal, Shown},
    channel::{Attested, Cut, Proof, Question, Said},
    key::PublicKey,
    trust::{Accepted, Trust},
};

/// The peer of one connection.
///
/// Proves: it holds the key of its certificate, and the evidence there names that key and was accepted when the handshake
/// ran. Does not prove: that the evidence was made for this connection. For that see [`channel`](crate::channel).
pub struct Peer {
    certificate: Certificate,
    evidence: Offered,
    role: Role,
    trust: Arc<Trust>,
    /// SHA-256 of the key that we showed it; zeros where we showed none.
    ours: [u8; 32],
    /// Of the handshake.
    verdict: Arc<Verdict>,
}

/// Evidence of a certificate.
enum Offered {
    Mulberry(Evidence),
    /// A raw quote.
    Cocoon(Vec<u8>),
}

impl Offered {
    /// Whether a quote is in it.
    fn is_attested(&self) -> bool {
        !matches!(self, Self::Mulberry(Evidence { quote: None, .. }))
    }
}

/// Whom we expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expect {
    pub role: Role,
    /// From where it comes: floods are counted by address.
    pub address: IpAddr,
}

/// Why a certificate was not accepted. In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRefusal {
    #[error(transparent)]
    Certificate(#[from] CertificateRefusal),
    #[error("it shows no quote, and its key is not one that is known here")]
    Stranger,
    #[error("too much of this address's evidence was refused lately; it may try again in some seconds")]
    Flood,
    #[error(transparent)]
    Evidence(#[from] Refusal),
}

impl PeerRefusal {
    /// For metrics, logs and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Certificate(refusal) => refusal.code(),
            Self::Stranger => "stranger",
            Self::Flood => "flood",
            Self::Evidence(refusal) => refusal.code(),
        }
    }
}

impl Peer {
    /// Of a certificate that was read, in a handshake.
    pub(crate) fn appraise(
        certificate: Certificate,
        expect: Expect,
        trust: &Arc<Trust>,
        ours: [u8; 32],
        now: u64,
    ) -> Result<Self, PeerRefusal> {
        let evidence = match certificate.shown() {
            Shown::Evidence(bytes) => Offered::Mulberry(Evidence::decode(bytes)?),
            Shown::Cocoon(quote) => Offered::Cocoon(quote.clone()),
        };
        if let (Some(keyed), false) = (trust.keyed(), evidence.is_attested())
            && !keyed.knows(certificate.spki_sha256())
        {
            return Err(PeerRefusal::Stranger);
        }
        if !trust.admit(expect.address) {
            return Err(PeerRefusal::Flood);
        }
        let accepted = trust.current();
        let verdict = shown(&certificate, &evidence, expect.role, trust, &accepted, now)
            .inspect_err(|refusal| trust.refused(refusal))?;
        trust.vindicate(expect.address);
        Ok(Self {
            certificate,
            evidence,
            role: expect.role,
            trust: Arc::clone(trust),
            ours,
            verdict: Arc::new(verdict),
        })
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// By which a peer without a quote is known.
    pub fn spki_sha256(&self) -> &[u8; 32] {
        self.certificate.spki_sha256()
    }

    pub fn key(&self) -> &PublicKey {
        self.certificate.key()
    }

    /// For how long an answer of it may stand.
    pub(crate) fn max_age(&self) -> Duration {
        Duration::from_secs(self.trust.policy().max_age_s.into())
    }

    /// What it says of itself.
    pub fn claims(&self) -> &Claims {
        self.verdict.claims()
    }

    /// When its certificate or its claims end, whichever is first.
    pub fn not_after(&self) -> u64 {
        self.certificate.not_after().min(self.claims().not_after)
    }

    /// Whether a quote stands behind it.
    pub fn is_attested(&self) -> bool {
        self.evidence.is_attested()
    }

    /// The evidence of its certificate, as it came: for archives.
    pub fn evidence(&self) -> Option<&Evidence> {
        match &self.evidence {
            Offered::Mulberry(evidence) => Some(evidence),
            Offered::Cocoon(_) => None,
        }
    }

    /// What the evidence of the certificate was worth in the handshake. The channel's verdict is the one that counts.
    pub fn shown(&self) -> &Arc<Verdict> {
        &self.verdict
    }

    /// What the evidence of the certificate is worth now.
    pub(crate) fn appraise_again(&self, now: u64) -> Result<Verdict, Refusal> {
        let accepted = self.trust.current();
        shown(
            &self.certificate,
            &self.evidence,
            self.role,
            &self.trust,
            &accepted,
            now,
        )
    }

    pub(crate) fn question(&self, nonce: [u8; 32], exporter: [u8; 32]) -> Question {
        Question {
            role: self.role,
            nonce,
            exporter,
            attester_spki: *self.spki_sha256(),
            verifier_spki: self.ours,
        }
    }

    /// What it said of this connection, and that it is still whom it was: `first` is the last verdict, if there is one.
    pub(crate) fn appraise_channel(
        &self,
        question: Question,
        said: Arc<Said>,
        first: Option<&Verdict>,
        asked_at: u64,
        now: u64,
    ) -> Result<Attested, Cut> {
        let accepted = self.trust.current();
        let Offered::Mulberry(evidence) = &self.evidence else {
            return Err(Cut::Refused(Refusal::InteropRefused));
        };
        let verdict = match (&evidence.quote, &said.proof) {
            (None, Proof::Signature(signature)) => {
                let report_data = question.channel().report_data();
                if !self.certificate.key().stated(&report_data, &signature.0) {
                    return Err(Cut::Statement);
                }
                self.keyed(evidence, &accepted, now)
            }
            (Some(_), Proof::Quote(quote)) => {
                // The certificate's evidence counts as long as the connection: it holds the claims.
                shown(
                    &self.certificate,
                    &self.evidence,
                    self.role,
                    &self.trust,
                    &accepted,
                    now,
                )
                .map_err(|refusal| self.refuse(refusal))?;
                let first = first.unwrap_or(&self.verdict);
                let (channel, basis) = (question.channel(), accepted.basis(now));
                let verifier = accepted.verifier();
                verifier.appraise_channel(&quote.0, &channel, first, said.gpu.as_ref(), &basis)
            }
            (Some(_), Proof::Signature(_)) => Err(Refusal::QuoteMissing),
            (None, Proof::Quote(_)) => {
                return Err(Cut::Protocol("a quote of a peer whose certificate has none"));
            }
        };
        let verdict = verdict.map_err(|refusal| self.refuse(refusal))?;
        Ok(Attested {
            asked_at,
            verdict,
            question,
            said,
            accepted,
        })
    }

    /// All that it takes to come to this verdict again; `attested` is an answer of this peer. `None` for evidence in
    /// Cocoon's format, which answers no question.
    pub fn bundle(&self, attested: &Attested) -> Option<Bundle> {
        let Question {
            role,
            nonce,
            exporter,
            verifier_spki,
            ..
        } = attested.question;
        let exchange = Exchange {
            role,
            key: *self.key(),
            evidence: self.evidence()?.clone(),
            nonce,
            exporter,
            verifier_spki,
            answer: match attested.proof() {
                Proof::Quote(quote) => bundle::Answer::Quote(quote.0.clone()),
                Proof::Signature(signature) => bundle::Answer::Signature(signature.0.clone()),
            },
            gpu: attested.gpu().cloned(),
        };
        let accepted = &attested.accepted;
        let bundle = Bundle::new(
            exchange,
            accepted.verifier(),
            accepted.policy(self.trust.keyed(), self.is_attested()),
            accepted.collateral(),
            attested.verdict(),
        );
        // Both are of one appraisal.
        bundle.ok()
    }

    fn keyed(&self, evidence: &Evidence, accepted: &Accepted, now: u64) -> Result<Verdict, Refusal> {
        let basis = accepted.keyed_basis(self.trust.keyed(), now);
        accepted
            .verifier()
            .appraise_certificate(evidence, self.role, self.spki_sha256(), &basis)
    }

    fn refuse(&self, refusal: Refusal) -> Cut {
        self.trust.refused(&refusal);
        Cut::Refused(refusal)
    }
}

fn shown(
    certificate: &Certificate,
    evidence: &Offered,
    role: Role,
    trust: &Trust,
    accepted: &Accepted,
    now: u64,
) -> Result<Verdict, Refusal> {
    let basis = if evidence.is_attested() {
        accepted.basis(now)
    } else {
        accepted.keyed_basis(trust.keyed(), now)
    };
    let verifier = accepted.verifier();
    match evidence {
        Offered::Mulberry(evidence) => verifier.appraise_certificate(evidence, role, certificate.spki_sha256(), &basis),
        Offered::Cocoon(quote) => {
            // Reading it made sure of that.
            let PublicKey::Ed25519(key) = certificate.key() else {
                return Err(Refusal::InteropRefused);
            };
            let dated = CocoonCertificate {
                key,
                not_before: certificate.not_before(),
                not_after: certificate.not_after(),
            };
            verifier.appraise_cocoon(quote, &dated, role, &basis)
        }
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("role", &self.role)
            .field("key", &attestation::Hex(*self.spki_sha256()))
            .field("tier", &self.verdict.tier())
            .finish_non_exhaustive()
    }
}
