//! The document of a bundle: names and forms. `docs/evidence.md` has them for whoever writes a reader.
//!
//! Bytes of a fixed length are lowercase hex, others base64 of the standard alphabet with padding; what is text is text.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{Answer, Bundle, BundleRefusal, Exchange};
use crate::{Collateral, CollateralParts, Evidence, Hex, Policy, PublicKey, Refusal, Role, TrustAnchor, gpu};

const VERSION: u64 = 1;

/// Platforms of one gateway.
const COLLATERAL_MAX: usize = 1024;
/// With newer lists than the peer's own.
const MEMBERS_MAX: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    v: u64,
    role: Role,
    anchor: AnchorDocument,
    certificate: CertificateDocument,
    channel: ChannelDocument,
    answer: AnswerDocument,
    gpu: Option<Base64>,
    collateral: CollateralDocument,
    policy: Arc<Policy>,
    verdict: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnchorDocument {
    Intel,
    DangerDevelopment(DevelopmentDocument),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DevelopmentDocument {
    root: Base64,
    gpu_root: Option<Base64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateDocument {
    /// DER of the SubjectPublicKeyInfo.
    key: Base64,
    quote: Option<Base64>,
    claims: Base64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelDocument {
    nonce: Hex<32>,
    exporter: Hex<32>,
    verifier_spki_sha256: Hex<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerDocument {
    Quote(Base64),
    Signature(Base64),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CollateralDocument {
    /// Of every piece that was in force, in its order.
    digests: Vec<Hex<32>>,
    /// Those that were looked at.
    used: Vec<PartsDocument>,
}

/// As files of a collateral folder have them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartsDocument {
    tcb_info: String,
    tcb_info_issuer_chain: String,
    qe_identity: String,
    qe_identity_issuer_chain: String,
    pck_crl: Base64,
    pck_crl_issuer_chain: String,
    root_ca_crl: Base64,
}

/// What is looked at in a verdict before it was come to again.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Judged {
    pub(super) appraised_at: u64,
    pub(super) collateral: Hex<32>,
}

struct Base64(Vec<u8>);

impl Document {
    pub(super) fn of(bundle: &Bundle) -> Self {
        let exchange = &bundle.exchange;
        let gpu_root = bundle.gpu_root.clone().map(Base64);
        Self {
            v: VERSION,
            role: exchange.role,
            anchor: match &bundle.anchor {
                TrustAnchor::Intel => AnchorDocument::Intel,
                TrustAnchor::Development(root) => AnchorDocument::DangerDevelopment(DevelopmentDocument {
                    root: Base64(root.clone()),
                    gpu_root,
                }),
            },
            certificate: CertificateDocument {
                key: Base64(exchange.key.spki()),
                quote: exchange.evidence.quote.clone().map(Base64),
                claims: Base64(exchange.evidence.claims.clone()),
            },
            channel: ChannelDocument {
                nonce: Hex(exchange.nonce),
                exporter: Hex(exchange.exporter),
                verifier_spki_sha256: Hex(exchange.verifier_spki),
            },
            answer: match &exchange.answer {
                Answer::Quote(quote) => AnswerDocument::Quote(Base64(quote.clone())),
                Answer::Signature(signature) => AnswerDocument::Signature(Base64(signature.clone())),
            },
            gpu: exchange.gpu.as_ref().map(|gpu| Base64(gpu.encode())),
            collateral: CollateralDocument {
                digests: bundle.digests.clone(),
                used: bundle.collateral.iter().map(|used| PartsDocument::of(used)).collect(),
            },
            policy: Arc::clone(&bundle.policy),
            verdict: bundle.verdict.clone(),
        }
    }

    pub(super) fn bundle(self) -> Result<Bundle, BundleRefusal> {
        if self.v != VERSION {
            return Err(BundleRefusal::Version { found: self.v });
        }
        let malformed = |why: &str| BundleRefusal::Malformed { why: why.to_owned() };
        if self.collateral.digests.len() > COLLATERAL_MAX || self.collateral.used.len() > MEMBERS_MAX {
            return Err(malformed("it holds more collateral than is read"));
        }
        let judged: Judged = serde_json::from_value(self.verdict.clone())
            .map_err(|_| malformed("its verdict does not say when and by which collateral"))?;
        let key = PublicKey::from_spki(&self.certificate.key.0)
            .ok_or_else(|| malformed("its key is neither Ed25519 nor P-256"))?;
        let gpu = self
            .gpu
            .map(|Base64(bytes)| gpu::GpuEvidence::decode(&bytes))
            .transpose();
        let (anchor, gpu_root) = match self.anchor {
            AnchorDocument::Intel => (TrustAnchor::Intel, None),
            AnchorDocument::DangerDevelopment(DevelopmentDocument { root, gpu_root }) => {
                (TrustAnchor::Development(root.0), gpu_root.map(|root| root.0))
            }
        };
        let used = self.collateral.used.into_iter();
        let collateral = used.map(|parts| parts.collateral().map(Arc::new));
        Ok(Bundle {
            exchange: Exchange {
                role: self.role,
                key,
                evidence: Evidence {
                    quote: self.certificate.quote.map(|quote| quote.0),
                    claims: self.certificate.claims.0,
                },
                nonce: self.channel.nonce.0,
                exporter: self.channel.exporter.0,
                verifier_spki: self.channel.verifier_spki_sha256.0,
                answer: match self.answer {
                    AnswerDocument::Quote(Base64(quote)) => Answer::Quote(quote),
                    AnswerDocument::Signature(Base64(signature)) => Answer::Signature(signature),
                },
                gpu: gpu.map_err(Refusal::from)?,
            },
            anchor,
            gpu_root,
            collateral: collateral.collect::<Result<_, _>>()?,
            digests: self.collateral.digests,
            policy: self.policy,
            verdict: self.verdict,
            judged,
        })
    }
}

impl PartsDocument {
    /// Collateral that was read is JSON and PEM where it should be.
    fn of(collateral: &Collateral) -> Self {
        let parts = collateral.parts();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            tcb_info: text(&parts.tcb_info),
            tcb_info_issuer_chain: parts.tcb_info_chain.clone(),
            qe_identity: text(&parts.qe_identity),
            qe_identity_issuer_chain: parts.qe_identity_chain.clone(),
            pck_crl: Base64(parts.pck_crl.clone()),
            pck_crl_issuer_chain: parts.pck_crl_chain.clone(),
            root_ca_crl: Base64(parts.root_ca_crl.clone()),
        }
    }

    fn collateral(self) -> Result<Collateral, Refusal> {
        Collateral::parse(CollateralParts {
            tcb_info: self.tcb_info.into_bytes(),
            tcb_info_chain: self.tcb_info_issuer_chain,
            qe_identity: self.qe_identity.into_bytes(),
            qe_identity_chain: self.qe_identity_issuer_chain,
            pck_crl: self.pck_crl.0,
            pck_crl_chain: self.pck_crl_issuer_chain,
            root_ca_crl: self.root_ca_crl.0,
        })
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text);
        bytes.map(Self).map_err(|_| de::Error::custom("not base64"))
    }
}
