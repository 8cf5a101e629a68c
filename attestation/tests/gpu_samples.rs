//! Real evidence of NVIDIA's devices, as far as it goes: no sample comes with OCSP answers, and none with NVIDIA's tables.
//!
//! The samples are not ours to publish. They are read from `../shared/samples`, and where that is not, this says so.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stderr,
    reason = "a test that panics has failed, and one that did not run says so"
)]

use std::{collections::BTreeMap, fs, path::PathBuf};

use attestation::{
    Hex,
    gpu::{Arch, DeviceEvidence, GpuAnchor, GpuEvidence, GpuPolicy, GpuRefusal, Mode, Rim, verify},
};

/// 2026-06-01.
const NOW: u64 = 1_780_272_000;

fn sample(name: &str) -> Option<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/samples")
        .join(name);
    // A worktree lies one deeper.
    let deeper = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/samples")
        .join(name);
    let found = fs::read(path).or_else(|_| fs::read(deeper)).ok();
    if found.is_none() {
        eprintln!("no sample {name}: the test of it did not run");
    }
    found
}

fn captured(name: &str) -> Option<GpuEvidence> {
    sample(name).map(|json| GpuEvidence::from_nvidia_json(&json).unwrap())
}

fn pair(report: &str, chain: &str) -> Option<GpuEvidence> {
    let (report, chain) = sample(report).zip(sample(chain))?;
    Some(GpuEvidence {
        devices: vec![DeviceEvidence::from_pem(&report, &chain).unwrap()],
        ..GpuEvidence::default()
    })
}

fn nonce(evidence: &GpuEvidence) -> [u8; 32] {
    evidence.devices[0].report[4..36].try_into().unwrap()
}

fn policy() -> GpuPolicy {
    GpuPolicy {
        devices: 1,
        arch: vec![Arch::Hopper, Arch::Blackwell, Arch::Ls10],
        modes: vec![Mode::SinglePassthrough, Mode::MultiPassthrough, Mode::ProtectedPcie],
        rims: Vec::new(),
        ocsp_max_age_s: 86_400,
        nras: None,
    }
}

/// Every measurement of the first report under each of these names in turn: no RIM, only enough to go on.
fn tables(evidence: &GpuEvidence, driver: &str, vbios: &str) -> Vec<Rim> {
    let report = &evidence.devices[0].report;
    let blocks = report[45..].chunks(55).take(report[41].into());
    let mut measurements = blocks
        .map(|block| (block[0] - 1, vec![Hex(block[7..].try_into().unwrap())]))
        .collect::<BTreeMap<_, _>>();
    let rim = |id: &str, measurements| Rim {
        id: id.to_owned(),
        source: Hex([0; 32]),
        measurements,
    };
    let upper = measurements.split_off(&32);
    vec![rim(driver, upper), rim(vbios, measurements)]
}

#[track_caller]
fn check(evidence: &GpuEvidence, policy: &GpuPolicy, expect: &GpuRefusal) {
    let nonce = nonce(evidence);
    let refusal = verify(evidence, &nonce, policy, &GpuAnchor::Nvidia, NOW).unwrap_err();
    assert_eq!(&refusal, expect);
}

fn no_rim(rim: &str) -> GpuRefusal {
    GpuRefusal::Rim { rim: rim.to_owned() }
}

/// What is named is the table that is missing, so everything before it held: the chain up to NVIDIA's root, the
/// signature, the firmware.
#[test]
fn genuine_devices_are_known_as_far_as_their_measurements() {
    for (evidence, rim) in [
        (
            captured("hopper_evidence_cert_hold.json"),
            "NV_GPU_DRIVER_GH100_570.86.10",
        ),
        (captured("near_gpu_payload.json"), "NV_GPU_DRIVER_GH100_550.135"),
        (
            pair(
                "nvidia/gpu/hopperAttestationReportExpired.txt",
                "nvidia/gpu/hopperCertChainExpired.txt",
            ),
            "NV_GPU_DRIVER_GH100_570.124.03",
        ),
        (
            pair(
                "nvidia/gpu/blackwellAttestationReport.txt",
                "nvidia/gpu/blackwellCertChain.txt",
            ),
            "NV_GPU_CC_DRIVER_GB100_575.32",
        ),
    ] {
        if let Some(evidence) = evidence {
            check(&evidence, &policy(), &no_rim(rim));
        }
    }
}

/// They are linked by switches whose evidence did not come with theirs.
#[test]
fn protected_pcie_needs_its_switches() {
    for name in ["hopper_evidence.json", "multi_gpu_hopper.json"] {
        if let Some(evidence) = captured(name) {
            let pdi = "3a53b743d811e977".parse().unwrap();
            check(&evidence, &policy(), &GpuRefusal::Switch { pdi });

            let mut policy = policy();
            policy.modes.pop();
            let found = Mode::ProtectedPcie;
            check(&evidence, &policy, &GpuRefusal::Mode { found });
        }
    }
}

/// NVIDIA put this device on hold, which nothing in its evidence shows: only an OCSP answer can, and none came.
#[test]
fn a_device_on_hold_does_not_pass_for_want_of_an_answer() {
    let Some(evidence) = captured("hopper_evidence_cert_hold.json") else {
        return;
    };
    let mut policy = policy();
    policy.rims = tables(
        &evidence,
        "NV_GPU_DRIVER_GH100_570.86.10",
        "NV_GPU_VBIOS_1010_0200_882_9600AF0001",
    );
    let serial = device_serial(&evidence);
    check(&evidence, &policy, &GpuRefusal::OcspMissing { serial });

    let allowed = &mut policy.rims[1].measurements;
    let digest = &mut allowed.get_mut(&9).unwrap()[0];
    digest.0[0] ^= 1;
    let rim = "NV_GPU_VBIOS_1010_0200_882_9600AF0001".to_owned();
    check(&evidence, &policy, &GpuRefusal::Measurement { rim, index: 9 });
}

/// Beside a GPU; alone they are no evidence of one.
#[test]
fn switches_are_devices_too() {
    let names = ["switch_evidence_ls10.json", "multi_switch_ls10.json"];
    let (Some(gpu), Some(one), Some(four)) = (
        captured("hopper_evidence_cert_hold.json"),
        captured(names[0]),
        captured(names[1]),
    ) else {
        return;
    };
    let none = GpuRefusal::Count { found: 0, required: 1 };
    check(&one, &policy(), &none);
    check(&four, &policy(), &none);

    let beside = |switches: &GpuEvidence| GpuEvidence {
        devices: [&gpu.devices[..], &switches.devices].concat(),
        ..GpuEvidence::default()
    };
    let mut policy = policy();
    policy.rims = tables(
        &gpu,
        "NV_GPU_DRIVER_GH100_570.86.10",
        "NV_GPU_VBIOS_1010_0200_882_9600AF0001",
    );
    check(
        &beside(&one),
        &policy,
        &no_rim("NV_SWITCH_BIOS_5612_0002_890_9610550001"),
    );
    // NVIDIA's sample of four is one switch four times.
    check(&beside(&four), &policy, &GpuRefusal::Duplicate);
}

/// What NVIDIA says that this switch's firmware measures to, and what the switch measured, are the same.
#[test]
fn a_genuine_switch_matches_nvidias_own_table() {
    let (Some(gpu), Some(switch), Some(rims)) = (
        captured("hopper_evidence_cert_hold.json"),
        captured("switch_evidence_ls10.json"),
        sample("nvidia/rims.json"),
    ) else {
        return;
    };
    let evidence = GpuEvidence {
        devices: [gpu.devices.clone(), switch.devices].concat(),
        ..GpuEvidence::default()
    };
    let mut policy = policy();
    policy.rims = serde_json::from_slice(&rims).unwrap();
    policy.rims.extend(tables(
        &gpu,
        "NV_GPU_DRIVER_GH100_570.86.10",
        "NV_GPU_VBIOS_1010_0200_882_9600AF0001",
    ));
    // All 31 indices are in the table, so that nothing but an answer about revocation is left to miss.
    let serial = device_serial(&gpu);
    check(&evidence, &policy, &GpuRefusal::OcspMissing { serial });

    let id = "NV_SWITCH_BIOS_5612_0002_890_9610550001";
    let rim = policy.rims.iter_mut().find(|rim| rim.id == id).unwrap();
    assert_eq!(rim.measurements.len(), 31);
    rim.measurements.get_mut(&30).unwrap().clear();
    let rim = id.to_owned();
    check(&evidence, &policy, &GpuRefusal::Measurement { rim, index: 30 });
}

/// NVIDIA's sample of a driver that does not measure to what its table says.
#[test]
fn a_genuine_gpu_that_does_not_match_its_table_is_refused() {
    let evidence = pair(
        "nvidia/gpu/hopperAttestationReportExpired.txt",
        "nvidia/gpu/hopperCertChainExpired.txt",
    );
    if let Some((evidence, rims)) = evidence.zip(sample("nvidia/rims.json")) {
        let mut policy = policy();
        policy.rims = serde_json::from_slice(&rims).unwrap();
        let rim = "NV_GPU_DRIVER_GH100_570.124.03".to_owned();
        check(&evidence, &policy, &GpuRefusal::Measurement { rim, index: 7 });
    }
}

/// A driver of 2023 does not name its firmware, so nothing ties its report to its certificate but the key.
#[test]
fn a_report_that_does_not_name_its_firmware_is_refused() {
    let evidence = pair(
        "nvidia/gpu/hopperAttestationReport.txt",
        "nvidia/gpu/hopperCertChain.txt",
    );
    if let Some(evidence) = evidence {
        check(&evidence, &policy(), &GpuRefusal::Fwid);
    }
}

#[test]
fn a_report_under_another_devices_certificate_is_refused() {
    let name = "nvidia/gpu/hopperAttestationReportInvalidSignature.txt";
    for chain in ["hopperCertChain", "hopperCertChainExpired", "blackwellCertChain"] {
        if let Some(evidence) = pair(name, &format!("nvidia/gpu/{chain}.txt")) {
            check(&evidence, &policy(), &GpuRefusal::Signature);
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_report_is_refused() {
    let Some(evidence) = captured("hopper_evidence_cert_hold.json") else {
        return;
    };
    let nonce = nonce(&evidence);
    let len = evidence.devices[0].report.len();
    for at in (0..len).step_by(17).chain(0..60).chain(len - 100..len) {
        let mut flipped = evidence.clone();
        flipped.devices[0].report[at] ^= 1 << (at % 8);
        let refusal = verify(&flipped, &nonce, &policy(), &GpuAnchor::Nvidia, NOW).unwrap_err();
        let expect = match at {
            4..36 => ["gpu_nonce"; 2],
            _ => ["gpu_malformed", "gpu_signature"],
        };
        assert!(expect.contains(&refusal.code()), "byte {at}: {refusal:?}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_chain_is_refused() {
    let Some(evidence) = captured("near_gpu_payload.json") else {
        return;
    };
    let nonce = nonce(&evidence);
    for certificate in 0..5 {
        for at in (0..evidence.devices[0].chain[certificate].len()).step_by(5) {
            let mut flipped = evidence.clone();
            flipped.devices[0].chain[certificate][at] ^= 1 << (at % 8);
            let refusal = verify(&flipped, &nonce, &policy(), &GpuAnchor::Nvidia, NOW).unwrap_err();
            let expect = match certificate {
                4 => ["gpu_malformed", "gpu_chain", "gpu_root"],
                _ => ["gpu_malformed", "gpu_chain", "gpu_chain"],
            };
            assert!(
                expect.contains(&refusal.code()),
                "certificate {certificate}, byte {at}: {refusal:?}"
            );
        }
    }
}

/// As it was sent: what a claim binds is what was collected.
#[test]
fn evidence_survives_its_encoding() {
    for name in ["multi_gpu_hopper.json", "near_gpu_payload.json"] {
        if let Some(evidence) = captured(name) {
            let bytes = evidence.encode();
            let decoded = GpuEvidence::decode(&bytes).unwrap();
            assert_eq!(decoded, evidence);
            assert_eq!(decoded.digest(), evidence.digest());
        }
    }
}

/// Bytes 15 and on: the version and the serial come first in a certificate.
fn device_serial(evidence: &GpuEvidence) -> String {
    let der = &evidence.devices[0].chain[1];
    let len = usize::from(der[14]);
    der[15..15 + len].iter().map(|byte| format!("{byte:02x}")).collect()
}
