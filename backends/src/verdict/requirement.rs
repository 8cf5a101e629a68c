//! What a request may require of a verdict beyond its tier. A short list: each is one question that a verdict answers.

use attestation::{Anchor, Interop, Standing, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Requirement {
    /// It rests on Intel's root, not on one for development.
    IntelAnchor,
    /// The policy lists the machine.
    ListedPlatform,
    /// The platform's firmware is the latest that Intel knows.
    UpToDate,
    /// No advisory of Intel's applies to the platform.
    NoAdvisories,
    /// Devices were attested beside the guest. They may be somewhere else: nothing binds them to it.
    Gpu,
    /// The claims name a key that signs a statement of each answer.
    Statements,
    /// The certificate is not in Cocoon's format, in which no quote vouches for role and dates.
    NativeFormat,
}

impl Requirement {
    pub const ALL: [Self; 7] = [
        Self::IntelAnchor,
        Self::ListedPlatform,
        Self::UpToDate,
        Self::NoAdvisories,
        Self::Gpu,
        Self::Statements,
        Self::NativeFormat,
    ];

    /// As a request says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IntelAnchor => "intel_anchor",
            Self::ListedPlatform => "listed_platform",
            Self::UpToDate => "up_to_date",
            Self::NoAdvisories => "no_advisories",
            Self::Gpu => "gpu",
            Self::Statements => "statements",
            Self::NativeFormat => "native_format",
        }
    }

    /// The code of its absence.
    pub(super) const fn lack(self) -> &'static str {
        match self {
            Self::IntelAnchor => "lacks_intel_anchor",
            Self::ListedPlatform => "lacks_listed_platform",
            Self::UpToDate => "lacks_up_to_date",
            Self::NoAdvisories => "lacks_no_advisories",
            Self::Gpu => "lacks_gpu",
            Self::Statements => "lacks_statements",
            Self::NativeFormat => "lacks_native_format",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|requirement| requirement.name() == name)
    }

    pub fn is_met_by(self, verdict: &Verdict) -> bool {
        // Who proved nothing about a machine meets nothing that is about one.
        let has_quote = verdict.anchor().is_some();
        match self {
            Self::IntelAnchor => verdict.anchor() == Some(Anchor::Intel),
            Self::ListedPlatform => verdict.platform().is_some_and(|platform| platform.listed),
            Self::UpToDate => verdict.tcb().is_some_and(|tcb| tcb.status == Standing::UpToDate),
            Self::NoAdvisories => verdict.tcb().is_some_and(|tcb| tcb.advisories.is_empty()),
            Self::Gpu => verdict.gpu().is_some(),
            Self::Statements => has_quote && verdict.claims().receipt_key.is_some(),
            Self::NativeFormat => has_quote && verdict.interop() == Interop::None,
        }
    }
}
