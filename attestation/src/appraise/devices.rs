//! Step 11: the GPUs beside the guest.

use super::Basis;
use crate::{
    Claims, Refusal, Tier,
    binding::gpu_nonce,
    gpu::{self, GpuAnchor, GpuEvidence, GpuVerdict},
};

/// What of them has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Devices<'a> {
    /// Nothing yet: evidence follows after the handshake.
    Later,
    /// All that ever will.
    All(Option<&'a GpuEvidence>),
}

#[derive(Debug)]
pub(super) struct Found {
    pub(super) gpu: Option<GpuVerdict>,
    /// Why devices that sent evidence do not count.
    pub(super) refused: Option<&'static str>,
    /// The tier that the policy's least is compared with: before the evidence came, the one that may yet be reached.
    pub(super) counted: Tier,
}

impl Found {
    /// What is shown: evidence that has not come counts for nothing.
    pub(super) fn tier(&self) -> Tier {
        match self.gpu {
            Some(_) => self.counted,
            None => Tier::Tee,
        }
    }
}

/// `listed`: whether the platform is on the policy's list, without which no GPU lifts the tier: it may be anywhere, and
/// the machine's owner may be anybody.
///
/// Evidence that the claims do not name is refused. Named and not good enough, it does not count: the guest is `tee` all
/// the same, unless the policy asks for more; then the reason is the refusal.
pub(super) fn check(
    devices: Devices<'_>,
    claims: &Claims,
    listed: bool,
    anchor: &GpuAnchor,
    basis: &Basis<'_>,
) -> Result<Found, Refusal> {
    let none = |counted| Found {
        gpu: None,
        refused: None,
        counted,
    };
    let needed = basis.policy.min_tier == Tier::TeeGpu;
    let evidence = match devices {
        Devices::Later if claims.gpu_evidence.is_some() && listed => return Ok(none(Tier::TeeGpu)),
        Devices::Later | Devices::All(None) if needed && claims.gpu_evidence.is_none() => {
            return Err(Refusal::GpuMissing);
        }
        Devices::All(None) if needed => return Err(Refusal::GpuMissing),
        Devices::Later | Devices::All(None) => return Ok(none(Tier::Tee)),
        Devices::All(Some(evidence)) => evidence,
    };
    if claims.gpu_evidence != Some(evidence.digest()) {
        return Err(Refusal::GpuMismatch);
    }
    let Some(rules) = &basis.policy.gpu else {
        return Ok(none(Tier::Tee));
    };
    let nonce = gpu_nonce(&claims.spki_sha256.0, claims.not_before);
    match gpu::verify(evidence, &nonce, rules, anchor, basis.now) {
        Ok(gpu) => Ok(Found {
            gpu: Some(gpu),
            refused: None,
            counted: if listed { Tier::TeeGpu } else { Tier::Tee },
        }),
        Err(refusal) if needed => Err(refusal.into()),
        Err(refusal) => Ok(Found {
            refused: Some(refusal.code()),
            ..none(Tier::Tee)
        }),
    }
}
