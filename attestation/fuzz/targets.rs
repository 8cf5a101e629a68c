//! What of `attestation` is fuzzed; `targets_ratls.rs` and `targets_measure.rs` are its neighbours'. `attestation/fuzz`
//! has libFuzzer drive it; `tests/corpus.rs` of each package runs the seeds, and near misses of them, in every test run.
//!
//! Each is a reader of bytes from outside. It may refuse anything; it must not panic, and what it reads it must keep its
//! own promises about.

use std::sync::OnceLock;

use attestation::{
    Basis, Claims, Collateral, CollateralParts, CollateralSet, Evidence, Expected, Hex, Image, Policy, Quote, Role,
    TrustAnchor, Verifier,
    event::EventLog,
    gpu::{DeviceEvidence, GpuEvidence, NrasKey},
};
use attestation_soft_tdx::{SoftTdx, gpu::SoftGpus};

/// 2026-11-22 08:00 UTC.
pub(crate) const NOW: u64 = 1_795_334_400;
const NONCE: [u8; 32] = [7; 32];

pub(crate) type Target = fn(&[u8]);

/// By the names of their folders in `attestation/fuzz/seeds`.
pub(crate) const ALL: [(&str, Target); 11] = [
    ("quote", quote),
    ("claims", claims),
    ("evidence", evidence),
    ("collateral", collateral),
    ("policy", policy),
    ("event_log", event_log),
    ("gpu_evidence", gpu_evidence),
    ("gpu_report", gpu_report),
    ("gpu_staple", gpu_staple),
    ("gpu_eat", gpu_eat),
    ("gpu_files", gpu_files),
];

struct World {
    anchor: TrustAnchor,
    parts: CollateralParts,
    collateral: CollateralSet,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let tdx = SoftTdx::builder().build();
        World {
            anchor: tdx.danger_anchor(),
            parts: tdx.collateral(NOW).into(),
            collateral: tdx.collateral_set(NOW).expect("it is valid"),
        }
    })
}

/// Under a policy that lists just this guest, so that the certificates in it are reached.
pub(crate) fn quote(bytes: &[u8]) {
    let Ok(parsed) = Quote::parse(bytes) else {
        return;
    };
    let report = parsed.report();
    // What we read, dcap-qvl reads the same.
    let theirs = dcap_qvl::quote::Quote::parse(bytes).expect("we are the stricter");
    let td = theirs.report.as_td10().expect("a guest's");
    assert_eq!(Hex(td.report_data), report.report_data);
    assert_eq!(Hex(td.mr_td), report.mrtd);
    assert_eq!([td.rt_mr0, td.rt_mr1, td.rt_mr2, td.rt_mr3].map(Hex), report.rtmr);
    assert_eq!(
        (Hex(td.td_attributes), Hex(td.xfam)),
        (report.td_attributes, report.xfam)
    );
    assert_eq!(parsed.signed().len(), theirs.signed_length());

    let claims = Claims::new(Role::Worker, NONCE, NOW, NOW + 60);
    let expected = Expected {
        role: Role::Worker,
        report_data: &report.report_data.0,
        claims: &claims,
        gpu: None,
    };
    let image = Image {
        name: "any".to_owned(),
        roles: vec![Role::Worker],
        mrtd: report.mrtd,
        rtmr: report.rtmr,
        td_attributes: report.td_attributes,
        xfam: report.xfam,
        mr_config_id: report.mr_config_id,
        mr_owner: report.mr_owner,
        mr_owner_config: report.mr_owner_config,
        mr_seam: Vec::new(),
    };
    let policy = attestation_soft_tdx::policy(vec![image]);
    let basis = Basis::new(&policy, &world().collateral, NOW);
    if let Ok(verdict) = Verifier::new(world().anchor.clone()).appraise(bytes, &expected, &basis) {
        assert!(!report.is_debug());
        assert_eq!(verdict.report(), Some(report));
    }
}

pub(crate) fn claims(bytes: &[u8]) {
    if let Ok(claims) = Claims::decode(bytes) {
        assert_eq!(claims.encode(), bytes);
    }
}

pub(crate) fn evidence(bytes: &[u8]) {
    if let Ok(evidence) = Evidence::decode(bytes) {
        assert_eq!(evidence.encode(), bytes);
    }
}

/// The first byte says which piece of valid collateral the rest stands in for.
pub(crate) fn collateral(bytes: &[u8]) {
    let Some((which, piece)) = bytes.split_first() else {
        return;
    };
    let mut parts = world().parts.clone();
    let text = || String::from_utf8_lossy(piece).into_owned();
    match which % 7 {
        0 => parts.tcb_info = piece.to_vec(),
        1 => parts.tcb_info_chain = text(),
        2 => parts.qe_identity = piece.to_vec(),
        3 => parts.qe_identity_chain = text(),
        4 => parts.pck_crl = piece.to_vec(),
        5 => parts.pck_crl_chain = text(),
        _ => parts.root_ca_crl = piece.to_vec(),
    }
    let Ok(collateral) = Collateral::parse(parts.clone()) else {
        return;
    };
    assert_eq!(*collateral.parts(), parts);
    let mut set = CollateralSet::new(world().anchor.clone());
    let expires = collateral.expires();
    if set.insert(collateral, NOW).is_ok() {
        assert!(expires >= NOW);
    }
}

/// One policy has one text.
pub(crate) fn policy(bytes: &[u8]) {
    let Some(policy) = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| Policy::from_json(text).ok())
    else {
        return;
    };
    let canonical = policy.canonical();
    let again = Policy::from_json(&canonical).expect("the canonical text is a policy");
    assert_eq!(again, policy);
    assert_eq!(again.canonical(), canonical);
    assert_eq!(again.problems(), policy.problems());
}

pub(crate) fn event_log(bytes: &[u8]) {
    if let Ok(log) = serde_json::from_slice::<EventLog>(bytes) {
        let text = serde_json::to_string(&log).expect("a log is JSON");
        assert_eq!(
            serde_json::from_str::<EventLog>(&text).expect("what was written is read"),
            log
        );
    }
}

pub(crate) fn gpu_evidence(bytes: &[u8]) {
    if let Ok(evidence) = GpuEvidence::decode(bytes) {
        assert_eq!(evidence.encode(), bytes);
        judge(&evidence);
    }
}

/// SPDM, and what the vendor put into it.
pub(crate) fn gpu_report(bytes: &[u8]) {
    let device = DeviceEvidence {
        report: bytes.to_vec(),
        chain: valid_gpus().devices[0].chain.clone(),
    };
    judge(&GpuEvidence {
        devices: vec![device],
        ..valid_gpus().clone()
    });
}

/// An OCSP answer.
pub(crate) fn gpu_staple(bytes: &[u8]) {
    judge(&GpuEvidence {
        staples: vec![bytes.to_vec()],
        ..valid_gpus().clone()
    });
}

/// NVIDIA's detached tokens.
pub(crate) fn gpu_eat(bytes: &[u8]) {
    judge(&GpuEvidence {
        eat: Some(String::from_utf8_lossy(bytes).into_owned()),
        ..valid_gpus().clone()
    });
}

/// Files that people bring: captures of NVIDIA's tools, and key sets.
pub(crate) fn gpu_files(bytes: &[u8]) {
    drop(GpuEvidence::from_nvidia_json(bytes));
    drop(DeviceEvidence::from_pem(&valid_gpus().devices[0].report, bytes));
    drop(NrasKey::from_jwks(bytes));
}

pub(crate) fn valid_gpus() -> &'static GpuEvidence {
    static VALID: OnceLock<GpuEvidence> = OnceLock::new();
    VALID.get_or_init(|| gpus().evidence(&NONCE, NOW))
}

fn gpus() -> &'static SoftGpus {
    static GPUS: OnceLock<SoftGpus> = OnceLock::new();
    GPUS.get_or_init(|| SoftGpus::new([1; 32]))
}

fn judge(evidence: &GpuEvidence) {
    if let Ok(verdict) = attestation::gpu::verify(evidence, &NONCE, &gpus().policy(), &gpus().anchor(), NOW) {
        assert!(!verdict.bound_to_td());
    }
}
