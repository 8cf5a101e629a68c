//! One peer with all that it takes to believe it.

use attestation::{
    Basis, Claims, CocoonImage, Collateral, CollateralParts, CollateralSet, Evidence, Hex, Image, Policy, Quote,
    Refusal, Report, Role, TrustAnchor, Verdict, Verifier, binding::certificate_report_data,
};
use attestation_soft_tdx::{SoftTdx, Td};
use aws_lc_rs::digest::{SHA256, digest};

/// 2026-11-22.
pub(crate) const NOW: u64 = 1_795_305_600;
pub(crate) const HOUR: u64 = 3600;
pub(crate) const SPKI: [u8; 32] = [7; 32];

pub(crate) struct Peer {
    pub(crate) soft: SoftTdx,
    root: Vec<u8>,
    pub(crate) claims: Claims,
    pub(crate) evidence: Evidence,
    pub(crate) policy: Policy,
    pub(crate) collateral: CollateralSet,
}

impl Peer {
    pub(crate) fn worker() -> Self {
        Self::with(SoftTdx::builder().build(), Role::Worker)
    }

    pub(crate) fn with(soft: SoftTdx, role: Role) -> Self {
        Self::claiming(soft, role, |_| {})
    }

    /// Its image, and another guest's, are listed for workers.
    pub(crate) fn claiming(soft: SoftTdx, role: Role, edit: impl FnOnce(&mut Claims)) -> Self {
        let mut claims = Claims::new(role, SPKI, NOW, NOW + HOUR);
        edit(&mut claims);
        let bytes = claims.encode();
        let report_data = certificate_report_data(role, &SPKI, &bytes).expect("claims are short");
        let evidence = Evidence {
            quote: Some(soft.quote(&report_data)),
            claims: bytes,
        };
        let image = |name, soft: &SoftTdx| Image::of(name, &[Role::Worker], &report_of(soft));
        let other = soft.clone().with_td(other_td());
        let policy = Policy::of(vec![image("worker", &soft), image("other", &other)]);
        assert_eq!(policy.problems(), []);
        Self {
            root: soft.root_der(),
            collateral: set_of(&soft, NOW),
            soft,
            claims,
            evidence,
            policy,
        }
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(TrustAnchor::Development(self.root.clone()))
    }

    pub(crate) fn appraise(&self, role: Role, spki: &[u8; 32], now: u64) -> Result<Verdict, Refusal> {
        let basis = Basis::new(&self.policy, &self.collateral, now);
        self.verifier().appraise_certificate(&self.evidence, role, spki, &basis)
    }
}

pub(crate) fn other_td() -> Td {
    Td::of("another")
}

pub(crate) fn set_of(soft: &SoftTdx, now: u64) -> CollateralSet {
    let mut set = CollateralSet::new(TrustAnchor::Development(soft.root_der()));
    set.insert(collateral_of(soft, now), now).expect("genuine collateral");
    set
}

pub(crate) fn collateral_of(soft: &SoftTdx, now: u64) -> Collateral {
    let made = soft.collateral(now);
    Collateral::parse(CollateralParts {
        tcb_info: made.tcb_info,
        tcb_info_chain: made.tcb_info_chain,
        qe_identity: made.qe_identity,
        qe_identity_chain: made.qe_identity_chain,
        pck_crl: made.pck_crl,
        pck_crl_chain: made.pck_crl_chain,
        root_ca_crl: made.root_ca_crl,
    })
    .expect("collateral in Intel's format")
}

pub(crate) fn ppid_of(soft: &SoftTdx) -> Hex<16> {
    Hex(soft.recipe().platform.ppid)
}

pub(crate) fn cocoon_image(soft: &SoftTdx) -> CocoonImage {
    let report = report_of(soft);
    let mut registers = Vec::new();
    for register in [
        report.mrtd,
        report.mr_config_id,
        report.mr_owner,
        report.mr_owner_config,
    ] {
        registers.extend(register.0);
    }
    registers.extend(report.rtmr.iter().flat_map(|register| register.0));
    registers.extend([0; 64]);
    let hash = digest(&SHA256, &registers);
    CocoonImage {
        name: "cocoon".to_owned(),
        roles: vec![Role::Worker],
        image_hash: Hex(hash.as_ref().try_into().expect("32 bytes")),
        td_attributes: report.td_attributes,
        xfam: report.xfam,
        mr_seam: Vec::new(),
    }
}

fn report_of(soft: &SoftTdx) -> Report {
    let quote = soft.quote(&[0; 64]);
    Quote::parse(&quote)
        .expect("a quote in Intel's format")
        .report()
        .clone()
}
