//! Evidence that policy accepted.

use serde::Serialize;

use crate::{Anchor, Ca, Claims, Fmspc, Hex, Interop, Report, Role, Standing, Tier, gpu::GpuVerdict};

/// A peer whose evidence our policy accepted.
///
/// Proves, under Intel's anchor: at `appraised_at` the quote was genuine, made by a TDX guest with these measurements on
/// a platform that stood so; and the claims, the TLS key among them, are that guest's.
/// Does not prove: that the worker is healthy, fast, or serves the model that it claims; that nobody took the machine
/// apart and its attestation key out; that a GPU is in this machine. Without a quote, tier `open`, it proves a key.
///
/// Only appraisal builds one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub(crate) tier: Tier,
    /// What the tier says, in the words that every user is shown.
    pub(crate) promise: &'static str,
    pub(crate) role: Role,
    /// Which kind of root it rests on; none without a quote.
    pub(crate) anchor: Option<Anchor>,
    /// The image's name in the policy.
    pub(crate) image: Option<String>,
    pub(crate) report: Option<Report>,
    pub(crate) platform: Option<Platform>,
    pub(crate) tcb: Option<Tcb>,
    /// Devices that the policy accepted. `bound_to_td` is false: they may be somewhere else.
    pub(crate) gpu: Option<GpuVerdict>,
    /// Why devices that sent evidence do not count: the code of the refusal.
    pub(crate) gpu_refused: Option<&'static str>,
    pub(crate) claims: Claims,
    /// With Cocoon, claims are what its certificate says: no quote vouches for role and dates.
    pub(crate) interop: Interop,
    /// SHA-256 of the policy's canonical text.
    pub(crate) policy: Hex<32>,
    /// The generation of the collateral.
    pub(crate) collateral: Hex<32>,
    /// SHA-256 of the signed part of the quote, if there is one, and the claims.
    pub(crate) evidence: Hex<32>,
    pub(crate) appraised_at: u64,
    pub(crate) expires: u64,
}

/// The machine, as its PCK certificate names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// Of the processor.
    pub ppid: Hex<16>,
    /// Changes when the owner registers the platform anew.
    pub instance: Option<Hex<16>>,
    pub fmspc: Fmspc,
    pub ca: Ca,
    /// Whether the policy lists it.
    pub listed: bool,
}

/// How the platform's firmware stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tcb {
    pub status: Standing,
    pub advisories: Vec<String>,
    /// `tcbEvaluationDataNumber` of the collateral.
    pub evaluation: u32,
    /// Of the TCB level, as Unix time.
    pub date: u64,
}

impl Verdict {
    pub fn tier(&self) -> Tier {
        self.tier
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn anchor(&self) -> Option<Anchor> {
        self.anchor
    }

    pub fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    pub fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    pub fn tcb(&self) -> Option<&Tcb> {
        self.tcb.as_ref()
    }

    pub fn gpu(&self) -> Option<&GpuVerdict> {
        self.gpu.as_ref()
    }

    pub fn gpu_refused(&self) -> Option<&'static str> {
        self.gpu_refused
    }

    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    pub fn interop(&self) -> Interop {
        self.interop
    }

    pub fn policy(&self) -> Hex<32> {
        self.policy
    }

    pub fn collateral(&self) -> Hex<32> {
        self.collateral
    }

    pub fn evidence(&self) -> Hex<32> {
        self.evidence
    }

    /// Unix time in seconds, as all times here.
    pub fn appraised_at(&self) -> u64 {
        self.appraised_at
    }

    /// The first second in which it stands no more.
    pub fn expires(&self) -> u64 {
        self.expires
    }

    pub fn holds_at(&self, now: u64) -> bool {
        now < self.expires
    }
}

impl Platform {
    /// The same machine, registered the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (self.ppid, self.instance, self.fmspc) == (other.ppid, other.instance, other.fmspc)
    }
}
