//! All that it takes to appraise one peer again, years later, without asking anybody: one JSON document.
//!
//! It holds what the peer showed in its certificate and said on the channel, the policy and the collateral that it was
//! judged by, byte for byte, and the verdict. Whoever reads it runs the same steps at the time of the verdict, and comes
//! to the same verdict or to a refusal: *was it true then*. Under a policy of the reader's own it says what that policy
//! would have said then.
//!
//! One bundle has one text, canonical as policies are (RFC 8785), and no other is read; its name is the SHA-256 of that
//! text. A bundle does not say who wrote it, nor, by itself, when: whoever has a receipt that names it has both.
//! A development root in it counts for nothing unless the reader names that root.

mod document;
mod refusal;

use std::sync::Arc;

use serde_json::Value;

use crate::{
    Anchor, Basis, Collateral, CollateralSet, Evidence, Hex, Part, Policy, PublicKey, Refusal, Role, TrustAnchor,
    Verdict, Verifier,
    binding::Channel,
    canonical,
    digest::sha256,
    gpu::{GpuEvidence, GpuPolicy},
};
use document::{Document, Judged};
pub use refusal::{BundleRefusal, NotThisVerdict};

/// Of the text. Without GPUs one has less than 100 KiB.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Evidence of one peer with its verdict, and what that rests on.
///
/// Proves nothing until [`appraise`](Self::appraise) says so.
#[derive(Clone, Debug)]
pub struct Bundle {
    exchange: Exchange,
    anchor: TrustAnchor,
    /// Of software GPUs; only beside a development anchor.
    gpu_root: Option<Vec<u8>>,
    /// What was known of the peer's kind of platform, and newer lists of the same authority.
    collateral: Vec<Arc<Collateral>>,
    /// Of all collateral that was in force: what the verdict names as its generation.
    digests: Vec<Hex<32>>,
    policy: Arc<Policy>,
    verdict: Value,
    judged: Judged,
}

/// What a peer showed and said, and what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub role: Role,
    /// Of the certificate.
    pub key: PublicKey,
    /// Of the certificate.
    pub evidence: Evidence,
    pub nonce: [u8; 32],
    /// Of the connection.
    pub exporter: [u8; 32],
    /// SHA-256 of the key of whoever asked; zeros where it showed none.
    pub verifier_spki: [u8; 32],
    pub answer: Answer,
    pub gpu: Option<GpuEvidence>,
}

/// By which a peer proved that the connection is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Quote(Vec<u8>),
    /// Of the certificate's key, where there is no quote.
    Signature(Vec<u8>),
}

impl Bundle {
    /// Of a verdict that this verifier came to under this policy and collateral.
    ///
    /// Of GPUs only what was looked at goes into it: nobody vouches for the rest.
    pub fn new(
        mut exchange: Exchange,
        verifier: &Verifier,
        policy: &Arc<Policy>,
        collateral: &CollateralSet,
        verdict: &Verdict,
    ) -> Result<Self, NotThisVerdict> {
        let anchor = verifier.anchor().clone();
        if verdict.policy() != policy.digest() || verdict.collateral() != collateral.generation() {
            return Err(NotThisVerdict);
        }
        let mut used: Vec<Arc<Collateral>> = Vec::new();
        if let Some(platform) = verdict.platform() {
            let own = collateral
                .get(platform.fmspc, platform.ca)
                .map_err(|_| NotThisVerdict)?;
            used = collateral.beside(own, verdict.appraised_at());
        }
        exchange.gpu = exchange.gpu.filter(|_| has_looked_at_gpus(verdict));
        if let (Some(gpu), Some(GpuPolicy { nras: None, .. })) = (&mut exchange.gpu, &policy.gpu) {
            gpu.eat = None;
        }
        let gpu_root = verifier.gpu_root().filter(|_| has_looked_at_gpus(verdict));
        Ok(Self {
            exchange,
            gpu_root: gpu_root.map(<[u8]>::to_vec),
            // The root's copy that the generation is a digest of.
            anchor: match anchor.kind() {
                Anchor::Intel => anchor,
                Anchor::Development => collateral.anchor().clone(),
            },
            collateral: used,
            digests: collateral.digests(),
            policy: Arc::clone(policy),
            verdict: shown(verdict),
            judged: Judged {
                appraised_at: verdict.appraised_at(),
                collateral: verdict.collateral(),
            },
        })
    }

    /// Only what [`text`](Self::text) writes.
    pub fn read(text: &[u8]) -> Result<Self, BundleRefusal> {
        if text.len() > MAX_BYTES {
            return Err(BundleRefusal::TooLarge { bytes: text.len() });
        }
        let document: Document =
            serde_json::from_slice(text).map_err(|error| BundleRefusal::Malformed { why: error.to_string() })?;
        let bundle = document.bundle()?;
        if bundle.text().as_bytes() != text {
            return Err(BundleRefusal::NotCanonical);
        }
        Ok(bundle)
    }

    /// The document.
    pub fn text(&self) -> String {
        canonical::text(&Document::of(self))
    }

    /// SHA-256 of the document: what receipts name.
    pub fn id(&self) -> Hex<32> {
        Self::id_of(self.text().as_bytes())
    }

    pub fn id_of(text: &[u8]) -> Hex<32> {
        sha256(&[text])
    }

    pub fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Which root it rests on, if its reader believes that one.
    pub fn anchor(&self) -> &TrustAnchor {
        &self.anchor
    }

    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    pub fn collateral(&self) -> &[Arc<Collateral>] {
        &self.collateral
    }

    /// As it was given; whether it holds, [`appraise`](Self::appraise) says.
    pub fn verdict(&self) -> &Value {
        &self.verdict
    }

    /// SHA-256 of the verdict's canonical text.
    pub fn verdict_digest(&self) -> Hex<32> {
        sha256(&[canonical::text(&self.verdict).as_bytes()])
    }

    /// When the verdict was given, in Unix time.
    pub fn appraised_at(&self) -> u64 {
        self.judged.appraised_at
    }

    /// Comes to the verdict again, by the policy that was in force then. `anchor`: the root that the reader believes.
    ///
    /// 1. The root is the reader's.
    /// 2. The collateral is what the verdict names, and was good then.
    /// 3. The certificate's evidence, then the channel's: every step of appraisal.
    /// 4. Nothing else is in it, which nobody would have looked at.
    /// 5. The verdict is the one that was given, member by member.
    pub fn appraise(&self, anchor: &TrustAnchor) -> Result<Verdict, BundleRefusal> {
        let verdict = self.appraise_by(&self.policy, anchor)?;
        self.check_whole(&verdict)?;
        match differing(&self.verdict, &shown(&verdict)) {
            None => Ok(verdict),
            Some(member) => Err(BundleRefusal::Verdict { member }),
        }
    }

    /// What a policy of the reader's own would have said then. The archived verdict counts for nothing here.
    pub fn appraise_under(&self, policy: &Policy, anchor: &TrustAnchor) -> Result<Verdict, BundleRefusal> {
        self.appraise_by(policy, anchor)
    }

    fn appraise_by(&self, policy: &Policy, anchor: &TrustAnchor) -> Result<Verdict, BundleRefusal> {
        self.check_anchor(anchor)?;
        let collateral = self.collateral_then()?;
        // One that has seen nothing: what was found at another time counts for nothing.
        let mut verifier = Verifier::new(self.anchor.clone());
        if let Some(root) = &self.gpu_root {
            verifier = verifier.danger_gpu_root(root.clone());
        }
        let basis = Basis::new(policy, &collateral, self.judged.appraised_at);
        let verdict = self.exchange.appraise(&verifier, &basis)?;
        Ok(Verdict {
            // Of all that was in force then; here is only what was looked at.
            collateral: self.judged.collateral,
            ..verdict
        })
    }

    /// The same root key; of a development root there may be several certificates.
    fn check_anchor(&self, believed: &TrustAnchor) -> Result<(), BundleRefusal> {
        match (self.anchor.kind(), believed.kind()) {
            (Anchor::Development, Anchor::Intel) => Err(BundleRefusal::DevelopmentAnchor),
            _ if self.anchor.has_key_of(believed) => Ok(()),
            _ => Err(Refusal::AnchorMismatch.into()),
        }
    }

    fn check_whole(&self, verdict: &Verdict) -> Result<(), BundleRefusal> {
        let used = match verdict.platform() {
            None => 0,
            Some(platform) => {
                let collateral = self.collateral_then()?;
                let own = collateral.get(platform.fmspc, platform.ca)?;
                collateral.beside(own, self.judged.appraised_at).len()
            }
        };
        let has_gpus = self.exchange.gpu.is_some() || self.gpu_root.is_some();
        if self.collateral.len() != used || has_gpus && !has_looked_at_gpus(verdict) {
            return Err(BundleRefusal::Superfluous);
        }
        Ok(())
    }

    fn collateral_then(&self) -> Result<CollateralSet, BundleRefusal> {
        let places = self.collateral.iter().map(|member| (member.fmspc(), member.ca()));
        let is_listed = |member: &Arc<Collateral>| self.digests.contains(&member.digest());
        if !places.is_sorted_by(|one, next| one < next)
            || !self.collateral.iter().all(is_listed)
            || CollateralSet::generation_of(&self.anchor, &self.digests) != self.judged.collateral
        {
            return Err(BundleRefusal::Collateral);
        }
        let members = self.collateral.iter().map(|member| Collateral::clone(member)).collect();
        Ok(CollateralSet::of(
            self.anchor.clone(),
            members,
            self.judged.appraised_at,
        )?)
    }
}

impl Exchange {
    fn appraise(&self, verifier: &Verifier, basis: &Basis<'_>) -> Result<Verdict, BundleRefusal> {
        let spki = self.key.spki_sha256();
        let first = verifier.appraise_certificate(&self.evidence, self.role, &spki, basis)?;
        let channel = Channel {
            role: self.role,
            nonce: &self.nonce,
            exporter: &self.exporter,
            attester_spki: &spki,
            verifier_spki: &self.verifier_spki,
        };
        match (&self.evidence.quote, &self.answer) {
            (Some(_), Answer::Quote(quote)) => {
                Ok(verifier.appraise_channel(quote, &channel, &first, self.gpu.as_ref(), basis)?)
            }
            (None, Answer::Signature(signature)) if self.key.stated(&channel.report_data(), signature) => Ok(first),
            (None, Answer::Signature(_)) => Err(Refusal::BindingMismatch.into()),
            (Some(_), Answer::Signature(_)) => Err(Refusal::QuoteMissing.into()),
            (None, Answer::Quote(_)) => Err(Refusal::Malformed {
                part: Part::Evidence,
                why: "the certificate has no quote, and the channel has one",
            }
            .into()),
        }
    }
}

fn has_looked_at_gpus(verdict: &Verdict) -> bool {
    verdict.gpu().is_some() || verdict.gpu_refused().is_some()
}

/// A verdict as it is archived: without the sentence of its tier, which follows from the tier and may be worded anew.
fn shown(verdict: &Verdict) -> Value {
    let mut shown = serde_json::to_value(verdict).unwrap_or_default();
    if let Some(members) = shown.as_object_mut() {
        members.remove("promise");
    }
    shown
}

/// The first member in which two verdicts differ.
fn differing(one: &Value, other: &Value) -> Option<String> {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return Some("all of it".to_owned());
    };
    let differs = |name: &&String| one.get(*name) != other.get(*name);
    let name = other.keys().chain(one.keys()).find(differs);
    name.cloned()
}
