//! Guests with software GPUs beside them.

use attestation::{
    Basis, Hex, Refusal, Role, Tier, Verdict, Verifier,
    binding::{Channel, gpu_nonce},
    gpu::GpuEvidence,
};
use attestation_soft_tdx::{SoftTdx, gpu::SoftGpus};

use crate::{
    code,
    peer::{HOUR, NOW, Peer, SPKI, ppid_of},
};

struct Guest {
    peer: Peer,
    gpus: GpuEvidence,
    verifier: Verifier,
}

impl Guest {
    /// On a listed platform, with a GPU that the policy accepts.
    fn new() -> Self {
        let gpus = SoftGpus::new([3; 32]);
        let evidence = gpus.evidence(&gpu_nonce(&SPKI, NOW), NOW);
        let mut peer = Peer::claiming(SoftTdx::builder().build(), Role::Worker, |claims| {
            claims.gpu_evidence = Some(evidence.digest());
        });
        peer.policy.gpu = Some(gpus.policy());
        peer.policy.platforms.ppid.push(ppid_of(&peer.soft));
        assert_eq!(peer.policy.problems(), []);
        Self {
            verifier: peer.verifier().danger_gpu_root(gpus.root_der()),
            gpus: evidence,
            peer,
        }
    }

    fn first(&self) -> Result<Verdict, Refusal> {
        let basis = Basis::new(&self.peer.policy, &self.peer.collateral, NOW);
        self.verifier
            .appraise_certificate(&self.peer.evidence, Role::Worker, &SPKI, &basis)
    }

    fn second(&self, gpus: Option<&GpuEvidence>, now: u64) -> Result<Verdict, Refusal> {
        let channel = Channel {
            role: Role::Worker,
            nonce: &[2; 32],
            exporter: &[3; 32],
            attester_spki: &SPKI,
            verifier_spki: &[4; 32],
        };
        let quote = self.peer.soft.quote(&channel.report_data());
        let basis = Basis::new(&self.peer.policy, &self.peer.collateral, now);
        self.verifier
            .appraise_channel(&quote, &channel, &self.first()?, gpus, &basis)
    }
}

#[test]
fn gpus_lift_the_tier_once_they_came() {
    let mut guest = Guest::new();
    for min in [Tier::Tee, Tier::TeeGpu] {
        guest.peer.policy.min_tier = min;
        // Nothing of them fits into a certificate.
        assert_eq!(code(guest.first()), Ok(Tier::Tee));
        let verdict = guest.second(Some(&guest.gpus), NOW).expect("a valid guest with a GPU");
        assert_eq!(verdict.tier(), Tier::TeeGpu);
        let gpu = verdict.gpu().expect("its devices were accepted");
        assert!(!gpu.bound_to_td());
        assert!(verdict.expires() <= gpu.until());
        let document = serde_json::to_value(&verdict).expect("a verdict is shown as JSON");
        assert_eq!(document["tier"], "tee+gpu");
        assert_eq!(document["gpu"]["bound_to_td"], false);
    }
    assert_eq!(code(guest.second(None, NOW)), Err("gpu_missing"));
    guest.peer.policy.min_tier = Tier::Tee;
    assert_eq!(code(guest.second(None, NOW)), Ok(Tier::Tee));
}

#[test]
fn gpus_lift_nothing_on_a_platform_that_nobody_listed() {
    let mut guest = Guest::new();
    guest.peer.policy.platforms.ppid = vec![Hex([9; 16])];
    let verdict = guest.second(Some(&guest.gpus), NOW).expect("a valid guest with a GPU");
    assert_eq!(verdict.tier(), Tier::Tee);
    assert!(verdict.gpu().is_some(), "they are genuine all the same");
    guest.peer.policy.min_tier = Tier::TeeGpu;
    assert_eq!(code(guest.first()), Err("tier_too_low"));
}

#[test]
fn only_the_gpus_of_the_claims_count() {
    let guest = Guest::new();
    let others = SoftGpus::new([3; 32]).evidence(&gpu_nonce(&[8; 32], NOW), NOW);
    assert_eq!(code(guest.second(Some(&others), NOW)), Err("gpu_mismatch"));

    // Named by the claims, and collected for another key.
    let mut relayed = Guest::new();
    relayed.peer = Peer::claiming(relayed.peer.soft.clone(), Role::Worker, |claims| {
        claims.gpu_evidence = Some(others.digest());
    });
    relayed.peer.policy = guest.peer.policy.clone();
    let verdict = relayed
        .second(Some(&others), NOW)
        .expect("the guest is one all the same");
    assert_eq!((verdict.tier(), verdict.gpu_refused()), (Tier::Tee, Some("gpu_nonce")));
    relayed.peer.policy.min_tier = Tier::TeeGpu;
    assert_eq!(code(relayed.second(Some(&others), NOW)), Err("gpu_nonce"));
}

#[test]
fn gpus_are_asked_for_every_time() {
    let mut guest = Guest::new();
    assert_eq!(code(guest.second(Some(&guest.gpus), NOW)), Ok(Tier::TeeGpu));
    // The guest's own quote is remembered; an answer on revocation that is gone is not.
    guest.gpus.staples.clear();
    let verdict = guest
        .second(Some(&guest.gpus), NOW + 1)
        .expect("the guest is one all the same");
    assert_eq!(
        (verdict.tier(), verdict.gpu_refused()),
        (Tier::Tee, Some("gpu_ocsp_missing"))
    );
    guest.peer.policy.min_tier = Tier::TeeGpu;
    assert_eq!(code(guest.second(Some(&guest.gpus), NOW + 1)), Err("gpu_ocsp_missing"));
    assert_eq!(code(guest.second(Some(&guest.gpus), NOW + HOUR)), Err("claims_expired"));
}

#[test]
fn software_gpus_are_nobodys_without_their_root() {
    let mut guest = Guest::new();
    guest.verifier = guest.peer.verifier();
    let verdict = guest
        .second(Some(&guest.gpus), NOW)
        .expect("the guest is one all the same");
    assert_eq!((verdict.tier(), verdict.gpu_refused()), (Tier::Tee, Some("gpu_root")));
    guest.peer.policy.gpu = None;
    let verdict = guest
        .second(Some(&guest.gpus), NOW)
        .expect("the guest is one all the same");
    assert_eq!((verdict.tier(), verdict.gpu()), (Tier::Tee, None));
}
