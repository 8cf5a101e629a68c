//! A worker on a software platform, and a gateway that accepts it.

use std::ops::Range;

use attestation::{
    Basis, Claims, Collateral, CollateralParts, CollateralSet, Evidence, Hex, Policy, Refusal, Role, Verdict, Verifier,
    binding::certificate_report_data,
};
use attestation_soft_tdx::SoftTdx;

/// 2026-11-22 08:00 UTC.
pub(crate) const NOW: u64 = 1_795_334_400;
pub(crate) const SPKI: [u8; 32] = [0x5b; 32];

pub(crate) struct World {
    pub(crate) tdx: SoftTdx,
    pub(crate) policy: Policy,
    pub(crate) collateral: CollateralSet,
}

impl World {
    pub(crate) fn new() -> Self {
        let tdx = SoftTdx::builder().build();
        Self {
            policy: attestation_soft_tdx::policy(vec![tdx.td().image("worker", &[Role::Worker])]),
            collateral: tdx.collateral_set(NOW).expect("it is valid"),
            tdx,
        }
    }

    /// One that has seen nothing yet: what a genuine quote says is remembered, and only what is signed in it is looked at
    /// again.
    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(self.tdx.danger_anchor())
    }

    /// What this gateway says of a platform with its own collateral, under the root that the gateway trusts.
    pub(crate) fn meets(&self, other: &SoftTdx) -> Result<Verdict, Refusal> {
        let collateral = self.took(other.collateral(NOW).into())?;
        self.judges_by(&evidence(other), &self.policy, &collateral)
    }

    /// Collateral that arrives where there was none.
    pub(crate) fn took(&self, parts: CollateralParts) -> Result<CollateralSet, Refusal> {
        let mut set = CollateralSet::new(self.tdx.danger_anchor());
        set.insert(Collateral::parse(parts)?, NOW)?;
        Ok(set)
    }

    pub(crate) fn judges(&self, evidence: &Evidence) -> Result<Verdict, Refusal> {
        self.judges_by(evidence, &self.policy, &self.collateral)
    }

    pub(crate) fn judges_by(
        &self,
        evidence: &Evidence,
        policy: &Policy,
        collateral: &CollateralSet,
    ) -> Result<Verdict, Refusal> {
        let basis = Basis::new(policy, collateral, NOW);
        self.verifier()
            .appraise_certificate(evidence, Role::Worker, &SPKI, &basis)
    }
}

/// With every field.
pub(crate) fn claims() -> Claims {
    Claims {
        receipt_key: Some(Hex([5; 32])),
        payee_key: Some(Hex([6; 32])),
        hpke_key: Some(Hex([7; 32])),
        gpu_evidence: None,
        config: Some(Hex([9; 32])),
        engine: Some(Hex([10; 32])),
        models: Some(Hex([11; 32])),
        ..Claims::new(Role::Worker, SPKI, NOW - 60, NOW + 3_600)
    }
}

/// A quote for the usual claims.
pub(crate) fn evidence(tdx: &SoftTdx) -> Evidence {
    evidence_of(tdx, &claims())
}

pub(crate) fn evidence_of(tdx: &SoftTdx, claims: &Claims) -> Evidence {
    let encoded = claims.encode();
    Evidence {
        quote: Some(tdx.quote(&report_data(claims.role, &claims.spki_sha256.0, &encoded))),
        claims: encoded,
    }
}

pub(crate) fn report_data(role: Role, spki: &[u8; 32], claims: &[u8]) -> [u8; 64] {
    certificate_report_data(role, spki, claims).expect("claims are short")
}

/// The same bytes with one bit flipped, many times: every bit of what is short, one in each of 64 bytes of what is long,
/// its ends among them.
pub(crate) fn flips(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = Vec<u8>> {
    const SHORT: usize = 8;
    const MOST: usize = 64;
    let (start, len) = (range.start, range.len());
    let places: Vec<(usize, usize)> = if len <= SHORT {
        range.flat_map(|place| (0..8).map(move |bit| (place, bit))).collect()
    } else {
        let count = len.min(MOST);
        let spread = (0..count).map(|step| start + step * (len - 1) / (count - 1));
        spread.enumerate().map(|(step, place)| (place, step % 8)).collect()
    };
    places.into_iter().map(|(place, bit)| {
        let mut other = bytes.to_vec();
        other[place] ^= 1 << bit;
        other
    })
}
