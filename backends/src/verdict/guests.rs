//! True verdicts for tests: appraised by the real verifier, of software guests.

use std::sync::Arc;

use attestation::{
    Basis, Claims, Evidence, Hex, Policy, Role, Tier, Verdict, Verifier,
    binding::{Channel, certificate_report_data, gpu_nonce},
};
use attestation_soft_tdx::{SoftTdx, gpu::SoftGpus};

const SPKI: [u8; 32] = [7; 32];
const HOUR: u64 = 3600;

/// A machine whose evidence is appraised at `now` and stands for ten minutes.
pub(crate) struct Guest {
    soft: SoftTdx,
    claims: Claims,
    policy: Policy,
    now: u64,
}

impl Guest {
    pub(crate) fn new(now: u64) -> Self {
        let soft = SoftTdx::builder().build();
        let image = soft.td().image("worker", &[Role::Worker]);
        Self {
            soft,
            claims: Claims::new(Role::Worker, SPKI, now, now + HOUR),
            policy: Policy::of(vec![image]),
            now,
        }
    }

    pub(crate) fn listed(mut self) -> Self {
        self.policy.platforms.ppid.push(Hex(self.soft.recipe().platform.ppid));
        self
    }

    pub(crate) fn with_receipt_key(mut self) -> Self {
        self.claims.receipt_key = Some(Hex([1; 32]));
        self
    }

    /// Tier `tee`.
    pub(crate) fn verdict(&self) -> Arc<Verdict> {
        Arc::new(self.appraise(Verifier::new(self.soft.danger_anchor()), true))
    }

    /// Tier `open`: a key, and no word of a machine.
    pub(crate) fn keyed(mut self) -> Arc<Verdict> {
        self.policy.min_tier = Tier::Open;
        Arc::new(self.appraise(Verifier::new(self.soft.danger_anchor()), false))
    }

    /// Tier `tee+gpu` where the platform is listed.
    pub(crate) fn with_gpu(mut self) -> Arc<Verdict> {
        let gpus = SoftGpus::new([3; 32]);
        let devices = gpus.evidence(&gpu_nonce(&SPKI, self.now), self.now);
        self.claims.gpu_evidence = Some(devices.digest());
        self.policy.gpu = Some(gpus.policy());
        let verifier = || Verifier::new(self.soft.danger_anchor()).danger_gpu_root(gpus.root_der());
        let first = self.appraise(verifier(), true);
        let channel = Channel {
            role: Role::Worker,
            nonce: &[2; 32],
            exporter: &[3; 32],
            attester_spki: &SPKI,
            verifier_spki: &[4; 32],
        };
        let quote = self.soft.quote(&channel.report_data());
        let collateral = self.soft.collateral_set(self.now).expect("its own collateral");
        let basis = Basis::new(&self.policy, &collateral, self.now);
        let second = verifier().appraise_channel(&quote, &channel, &first, Some(&devices), &basis);
        Arc::new(second.expect("a valid guest with a GPU"))
    }

    fn appraise(&self, verifier: Verifier, has_quote: bool) -> Verdict {
        let claims = self.claims.encode();
        let report_data = certificate_report_data(Role::Worker, &SPKI, &claims).expect("claims are short");
        let evidence = Evidence {
            quote: has_quote.then(|| self.soft.quote(&report_data)),
            claims,
        };
        let collateral = self.soft.collateral_set(self.now).expect("its own collateral");
        let basis = Basis::new(&self.policy, &collateral, self.now);
        let verdict = verifier.appraise_certificate(&evidence, Role::Worker, &SPKI, &basis);
        verdict.expect("a valid guest")
    }
}
