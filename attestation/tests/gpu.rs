//! Software GPUs with one thing broken each, and the one refusal that it gives.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed"
)]

use std::sync::LazyLock;

use attestation::{
    Hex,
    gpu::{Arch, GpuAnchor, GpuEvidence, GpuPolicy, Mode, NrasKey, Revocation, verify},
};
use attestation_soft_tdx::gpu::{Device, Eat, Flaw, Hash, Link, Ocsp, Recipe, SoftGpus, Status};
use proptest::prelude::*;
use serde_json::json;

/// 2026-11-22 08:00 UTC.
const NOW: u64 = 1_795_334_400;
const NONCE: [u8; 32] = [7; 32];
const OK: &str = "ok";

static ANCHOR: LazyLock<GpuAnchor> = LazyLock::new(|| soft().anchor());

fn soft() -> SoftGpus {
    SoftGpus::new([1; 32])
}

fn code(evidence: &GpuEvidence, policy: &GpuPolicy) -> &'static str {
    match verify(evidence, &NONCE, policy, &ANCHOR, NOW) {
        Ok(verdict) => {
            assert!(!verdict.bound_to_td());
            OK
        }
        Err(refusal) => refusal.code(),
    }
}

/// Valid evidence after `edit`, under the policy of valid evidence.
#[track_caller]
fn check(expect: &str, edit: impl FnOnce(&mut Recipe)) {
    let evidence = soft().edit(edit).evidence(&NONCE, NOW);
    assert_eq!(code(&evidence, &soft().policy()), expect);
}

/// The same with one device of another kind.
#[track_caller]
fn device(expect: &str, edit: impl FnOnce(&mut Device)) {
    check(expect, |recipe| edit(&mut recipe.devices[0]));
}

#[track_caller]
fn flaw(expect: &str, flaw: Flaw) {
    check(expect, |recipe| recipe.flaw = Some(flaw));
}

#[track_caller]
fn ocsp(expect: &str, edit: impl FnOnce(&mut Ocsp)) {
    check(expect, |recipe| edit(recipe.ocsp.as_mut().unwrap()));
}

/// An EAT in place of OCSP answers, from a service that the policy names.
#[track_caller]
fn eat(expect: &str, edit: impl FnOnce(&mut Eat)) {
    let gpus = soft().edit(|recipe| {
        let mut eat = Eat::default();
        edit(&mut eat);
        recipe.ocsp = None;
        recipe.eat = Some(eat);
    });
    let mut policy = soft().policy();
    policy.nras = Some(soft().nras());
    assert_eq!(code(&gpus.evidence(&NONCE, NOW), &policy), expect);
}

#[track_caller]
fn policy(expect: &str, edit: impl FnOnce(&mut GpuPolicy)) {
    let mut policy = soft().policy();
    edit(&mut policy);
    assert_eq!(code(&soft().evidence(&NONCE, NOW), &policy), expect);
}

fn several(kinds: [fn() -> Device; 2]) -> impl FnOnce(&mut Recipe) {
    move |recipe| {
        recipe.devices = kinds.map(|kind| kind()).to_vec();
        recipe.devices[1].number = 1;
    }
}

fn numbered(number: u8) -> Device {
    Device {
        number,
        ..Device::hopper()
    }
}

#[test]
fn a_valid_device_of_each_generation_is_accepted() {
    check(OK, |_| ());
    check(OK, |recipe| recipe.devices = vec![Device::blackwell()]);
    check(OK, several([Device::hopper, Device::hopper]));
    check(OK, several([Device::hopper, Device::blackwell]));
    check(OK, several([Device::hopper, Device::switch]));
}

#[test]
fn a_verdict_says_what_was_found() {
    let evidence = soft().evidence(&NONCE, NOW);
    let verdict = verify(&evidence, &NONCE, &soft().policy(), &ANCHOR, NOW).unwrap();
    let said = serde_json::to_value(&verdict).unwrap();
    let device = json!({
        "arch": "hopper", "model": "GH100 A01 GSP BROM", "serial": "410101010101010100",
        "ueid": "4101010101010101010101010101010101010100",
        "driver": "soft.1", "vbios": "96.00.A5.00.01", "mode": "spt",
    });
    assert_eq!(said["devices"], json!([device]));
    assert_eq!(
        said["revocation"],
        json!({ "by": "ocsp", "until": NOW - 3_600 + 43_200 })
    );
    assert_eq!(said["bound_to_td"], json!(false));
    assert_eq!(verdict.until(), NOW - 3_600 + 43_200);
}

#[test]
fn a_report_is_what_the_device_signed_for_us() {
    device("gpu_malformed", |device| device.trailing.push(0));
    device("gpu_malformed", |device| device.block.specification = 2);
    device("gpu_malformed", |device| device.block.kind = 0x80);
    device("gpu_malformed", |device| device.block.count_off_by = 1);
    device("gpu_malformed", |device| device.field = Some((3, b"soft.2".to_vec())));
    device("gpu_malformed", |device| device.field = Some((21, vec![0xaa])));
    device("gpu_malformed", |device| device.driver = "../soft".to_owned());
    device("gpu_malformed", |device| device.driver.clear());
    device("gpu_signature", |device| device.is_forged = true);
    device(OK, |device| device.field = Some((999, vec![1; 300])));

    let mut evidence = soft().evidence(&[8; 32], NOW);
    assert_eq!(code(&evidence, &soft().policy()), "gpu_nonce");
    evidence.devices.clear();
    assert_eq!(code(&evidence, &soft().policy()), "gpu_count");
    evidence.devices = vec![soft().evidence(&NONCE, NOW).devices[0].clone(); 17];
    assert_eq!(code(&evidence, &soft().policy()), "gpu_too_large");
}

#[test]
fn a_chain_is_sound_from_the_leaf_to_the_root() {
    flaw("gpu_root", Flaw::OtherRoot);
    flaw("gpu_chain", Flaw::Short);
    flaw("gpu_malformed", Flaw::Trailing);
    flaw("gpu_chain", Flaw::PathLength(Link::Family));
    flaw(OK, Flaw::PathLength(Link::Device));
    for link in Link::ALL {
        let of_root = |other| if link == Link::Root { "gpu_root" } else { other };
        flaw("gpu_chain", Flaw::Authority(link));
        flaw("gpu_chain", Flaw::Usage(link));
        flaw("gpu_chain", Flaw::Critical(link));
        flaw("gpu_chain", Flaw::Algorithm(link));
        flaw(of_root("gpu_chain"), Flaw::Issuer(link));
        flaw(of_root("gpu_chain"), Flaw::Forged(link));
        flaw("gpu_chain_expired", Flaw::Expired(link));
        flaw("gpu_chain_not_yet", Flaw::NotYet(link));
    }
    device("gpu_arch", |device| device.chip = "BF3".to_owned());
}

/// The anchor is an argument: nothing of ours is NVIDIA's.
#[test]
fn a_software_gpu_is_not_nvidias() {
    let evidence = soft().evidence(&NONCE, NOW);
    for anchor in [GpuAnchor::Nvidia, SoftGpus::new([2; 32]).anchor()] {
        let refusal = verify(&evidence, &NONCE, &soft().policy(), &anchor, NOW).unwrap_err();
        assert_eq!(refusal.code(), "gpu_root");
    }
}

#[test]
fn the_firmware_is_the_one_in_the_certificate() {
    for kind in [Device::hopper, Device::blackwell] {
        let firmware = |edit: fn(&mut Device)| {
            check("gpu_fwid", |recipe| {
                recipe.devices = vec![kind()];
                edit(&mut recipe.devices[0]);
            });
        };
        firmware(|device| device.firmware.reported = None);
        firmware(|device| device.firmware.reported = Some([1; 48]));
        firmware(|device| device.firmware.certified = [1; 48]);
        firmware(|device| device.firmware.is_said_twice = true);
    }
    device("gpu_fwid", |device| device.firmware.is_of_another_chip = true);
}

#[test]
fn generation_mode_and_number_are_the_policys() {
    policy("gpu_arch", |policy| policy.arch = vec![Arch::Blackwell]);
    policy("gpu_mode", |policy| policy.modes = vec![Mode::MultiPassthrough]);
    policy("gpu_count", |policy| policy.devices = 2);
    policy(OK, |policy| policy.devices = 0);
    check("gpu_count", |recipe| recipe.devices = vec![Device::switch()]);
    check("gpu_duplicate", |recipe| {
        recipe.devices = vec![numbered(0), numbered(0)]
    });

    let mut old = numbered(0);
    old.has_feature_flag = false;
    check(OK, |recipe| recipe.devices = vec![old]);
}

#[test]
fn under_protected_pcie_every_switch_is_attested() {
    let linked = |pdis: &[[u8; 8]], has_feature_flag| {
        let pdis = pdis.to_vec();
        move |recipe: &mut Recipe| {
            let gpu = Device {
                mode: Mode::ProtectedPcie,
                pdis,
                has_feature_flag,
                ..Device::hopper()
            };
            recipe.devices = vec![gpu, Device::switch()];
        }
    };
    let [here, elsewhere] = [Device::switch().pdis[0], [9; 8]];
    for has_feature_flag in [true, false] {
        check(OK, linked(&[here, here], has_feature_flag));
        check("gpu_switch_missing", linked(&[here, elsewhere], has_feature_flag));
        check("gpu_malformed", linked(&[], has_feature_flag));
    }
}

#[test]
fn every_measurement_is_one_that_the_tables_allow() {
    device("gpu_rim_missing", |device| device.driver = "soft.2".to_owned());
    device("gpu_rim_missing", |device| device.vbios = "96.00.A5.00.02".to_owned());
    policy("gpu_rim_missing", |policy| policy.rims.clear());
    policy("gpu_rim_missing", |policy| policy.rims[0].measurements.clear());
    policy("gpu_rim_missing", |policy| policy.rims.extend(policy.rims.clone()));
    policy("gpu_rim_conflict", |policy| {
        policy.rims[0].measurements.insert(3, vec![Hex([3; 48])]);
    });
    policy("gpu_measurement", |policy| {
        policy.rims[0].measurements.insert(64, vec![Hex([64; 48])]);
    });
    policy("gpu_measurement", |policy| {
        policy.rims[0].measurements.get_mut(&40).unwrap().clear()
    });
    for index in 0..64 {
        device("gpu_measurement", |device| {
            device.measurements.get_mut(&index).unwrap()[47] ^= 1
        });
    }
    // The record is shorter by a block.
    for index in [63, 0] {
        device("gpu_measurement", |device| {
            device.measurements.remove(&index);
        });
    }
    // More than the tables name is the device's affair, as NVIDIA has it.
    device(OK, |device| {
        device.measurements.insert(200, [1; 48]);
    });

    let index_35 = |nvdec0| {
        move |device: &mut Device| {
            device.nvdec0 = nvdec0;
            device.measurements.get_mut(&35).unwrap()[0] ^= 1;
        }
    };
    device("gpu_measurement", index_35(true));
    device(OK, index_35(false));
}

#[test]
fn a_certificate_is_good_by_an_answer_of_its_issuer() {
    ocsp(OK, |ocsp| ocsp.hash = Hash::Sha1);
    ocsp(OK, |ocsp| ocsp.hash = Hash::Sha256);
    ocsp(OK, |ocsp| ocsp.by_key = true);
    ocsp(OK, |ocsp| ocsp.is_delegated = true);
    ocsp("gpu_ocsp_signature", |ocsp| ocsp.is_forged = true);
    ocsp("gpu_ocsp_signature", |ocsp| {
        ocsp.is_delegated = true;
        ocsp.has_purpose = false;
    });
    ocsp("gpu_ocsp_signature", |ocsp| {
        ocsp.is_delegated = true;
        ocsp.is_forged = true;
    });
    ocsp("gpu_malformed", |ocsp| ocsp.is_error = true);
    ocsp("gpu_malformed", |ocsp| ocsp.is_critical = true);
    check("gpu_ocsp_missing", |recipe| recipe.ocsp = None);
    for link in [Link::Device, Link::Provisioner, Link::Family] {
        ocsp("gpu_ocsp_missing", |ocsp| ocsp.without = Some(link));
        for (status, expect) in [
            // 6 is certificateHold, by which NVIDIA sets a device aside; 8 takes one off a hold again in CRLs only.
            (Status::Revoked(6), "gpu_ocsp_revoked"),
            (Status::Revoked(1), "gpu_ocsp_revoked"),
            (Status::Revoked(8), "gpu_ocsp_revoked"),
            (Status::Unknown, "gpu_ocsp_unknown"),
        ] {
            ocsp(expect, |ocsp| {
                ocsp.about = link;
                ocsp.status = status;
            });
        }
    }
}

#[test]
fn an_answer_counts_for_a_day_at_most() {
    let lasting = |age_s, lifetime_s| {
        move |ocsp: &mut Ocsp| {
            ocsp.age_s = age_s;
            ocsp.lifetime_s = lifetime_s;
        }
    };
    ocsp(OK, lasting(86_399, Some(1_000_000)));
    ocsp(OK, lasting(86_399, None));
    ocsp("gpu_ocsp_expired", lasting(86_400, Some(1_000_000)));
    ocsp("gpu_ocsp_expired", lasting(86_400, None));
    ocsp("gpu_ocsp_expired", lasting(600, Some(600)));
    ocsp(OK, lasting(600, Some(601)));
    ocsp(OK, lasting(-300, Some(600)));
    ocsp("gpu_ocsp_not_yet", lasting(-301, Some(600)));
    policy("gpu_ocsp_expired", |policy| policy.ocsp_max_age_s = 3_600);
    policy(OK, |policy| policy.ocsp_max_age_s = 3_601);
    policy(OK, |policy| policy.ocsp_max_age_s = u32::MAX);
}

/// Of two answers about one certificate the one that says revoked counts, in either order.
#[test]
fn a_good_answer_does_not_outweigh_a_revocation() {
    let good = soft().evidence(&NONCE, NOW);
    let revoked = soft().edit(|recipe| recipe.ocsp.as_mut().unwrap().status = Status::Revoked(6));
    let forged = soft().edit(|recipe| {
        let ocsp = recipe.ocsp.as_mut().unwrap();
        ocsp.status = Status::Revoked(6);
        ocsp.is_forged = true;
    });
    for (other, expect) in [(revoked, "gpu_ocsp_revoked"), (forged, OK)] {
        let other = other.evidence(&NONCE, NOW).staples;
        for staples in [
            [&good.staples[..], &other].concat(),
            [&other[..], &good.staples].concat(),
        ] {
            let evidence = GpuEvidence {
                staples,
                ..good.clone()
            };
            assert_eq!(code(&evidence, &soft().policy()), expect);
        }
    }
}

/// As a worker does it: what the certificates need is asked for, and what is answered comes along.
#[test]
fn answers_are_asked_for_by_the_certificates() {
    let gpus = soft().edit(several([Device::hopper, Device::switch]));
    let mut evidence = gpus.evidence(&NONCE, NOW);
    evidence.staples.clear();
    let requests = evidence.ocsp_requests().unwrap();
    assert_eq!(requests.len(), 6);
    let answers = requests.iter().map(|request| gpus.ocsp_response(request, NOW).unwrap());
    evidence.staples = answers.collect();
    assert_eq!(code(&evidence, &soft().policy()), OK);

    // Two of one kind have only their own certificates apart.
    let twins = soft()
        .edit(several([Device::hopper, Device::hopper]))
        .evidence(&NONCE, NOW);
    assert_eq!(twins.ocsp_requests().unwrap().len(), 4);
    assert_eq!(gpus.ocsp_response(&twins.ocsp_requests().unwrap()[3], NOW), None);

    evidence.devices[0].chain.pop();
    assert_eq!(evidence.ocsp_requests().unwrap_err().code(), "gpu_chain");
}

/// An answer for one device is none for another.
#[test]
fn every_device_needs_its_own_answer() {
    let mut evidence = soft()
        .edit(several([Device::hopper, Device::hopper]))
        .evidence(&NONCE, NOW);
    assert_eq!(code(&evidence, &soft().policy()), OK);
    evidence.staples = soft().evidence(&NONCE, NOW).staples;
    assert_eq!(code(&evidence, &soft().policy()), "gpu_ocsp_missing");
}

#[test]
fn an_eat_may_stand_in_for_the_answers() {
    eat(OK, |_| ());
    eat("gpu_eat_signature", |eat| eat.is_forged = true);
    eat("gpu_eat_signature", |eat| eat.is_device_forged = true);
    eat("gpu_eat_signature", |eat| eat.header = vec![("kid", json!("other"))]);
    eat("gpu_malformed", |eat| eat.header = vec![("alg", json!("none"))]);
    eat("gpu_malformed", |eat| eat.header = vec![("alg", json!("HS384"))]);
    eat("gpu_malformed", |eat| eat.header = vec![("crit", json!(["exp"]))]);
    eat("gpu_eat_devices", |eat| eat.is_exchanged = true);
    eat("gpu_eat_devices", |eat| eat.without_last = true);
    eat("gpu_eat_devices", |eat| eat.overall = vec![("submods", json!({}))]);
    eat("gpu_eat_devices", |eat| eat.device = vec![("ueid", json!("1"))]);
    eat("gpu_eat_claim", |eat| {
        eat.overall = vec![("x-nvidia-overall-att-result", json!(false))]
    });

    let late = |at| vec![("exp", json!(NOW + at))];
    let early = |at| vec![("nbf", json!(NOW + at))];
    for (whose, expect) in [
        (late(0), "gpu_eat_expired"),
        (early(301), "gpu_eat_not_yet"),
        (late(1), OK),
        (early(300), OK),
    ] {
        eat(expect, |eat| eat.overall = whose.clone());
        eat(expect, |eat| eat.device = whose);
    }
    for (claim, value) in [
        ("iss", json!("https://nras.attestation.nvidia.com")),
        ("eat_nonce", json!("00".repeat(32))),
    ] {
        eat("gpu_eat_claim", |eat| eat.overall = vec![(claim, value.clone())]);
        eat("gpu_eat_claim", |eat| eat.device = vec![(claim, value)]);
    }
    let chain = |status: &str, ocsp: &str| json!({ "x-nvidia-cert-status": status, "x-nvidia-cert-ocsp-status": ocsp });
    for (claim, value) in [
        ("hwmodel", json!("GB100 A01 GSP BROM")),
        ("measres", json!("fail")),
        ("dbgstat", json!("enabled")),
        ("dbgstat", json!(null)),
        ("secboot", json!(false)),
        ("secboot", json!(null)),
        ("x-nvidia-gpu-driver-version", json!("soft.2")),
        ("x-nvidia-gpu-vbios-version", json!(null)),
        ("x-nvidia-gpu-attestation-report-cert-chain", chain("expired", "good")),
        ("x-nvidia-gpu-attestation-report-cert-chain", chain("valid", "revoked")),
    ] {
        eat("gpu_eat_claim", |eat| eat.device = vec![(claim, value)]);
    }
    for claim in [
        "iss",
        "nbf",
        "exp",
        "eat_nonce",
        "ueid",
        "measres",
        "x-nvidia-gpu-attestation-report-cert-chain",
    ] {
        eat("gpu_malformed", |eat| eat.device = vec![(claim, json!(null))]);
    }
    for claim in [
        "iss",
        "nbf",
        "exp",
        "eat_nonce",
        "submods",
        "x-nvidia-overall-att-result",
    ] {
        eat("gpu_malformed", |eat| eat.overall = vec![(claim, json!(null))]);
    }
}

#[test]
fn an_eat_counts_only_where_the_policy_names_its_service() {
    let gpus = soft().edit(|recipe| {
        recipe.ocsp = None;
        recipe.eat = Some(Eat::default());
    });
    let evidence = gpus.evidence(&NONCE, NOW);
    assert_eq!(code(&evidence, &soft().policy()), "gpu_ocsp_missing");

    let mut policy = soft().policy();
    policy.nras = Some(soft().nras());
    let verdict = verify(&evidence, &NONCE, &policy, &ANCHOR, NOW).unwrap();
    assert_eq!(verdict.revocation(), Revocation::Eat { until: NOW + 3_600 });

    // It covers GPUs, not the switches beside them.
    let with_switch = gpus.edit(|recipe| recipe.devices.push(Device::switch()));
    assert_eq!(code(&with_switch.evidence(&NONCE, NOW), &policy), "gpu_ocsp_missing");

    // With answers too, both count.
    let both = soft().edit(|recipe| {
        recipe.eat = Some(Eat::default());
        recipe.ocsp.as_mut().unwrap().status = Status::Revoked(6);
    });
    assert_eq!(code(&both.evidence(&NONCE, NOW), &policy), "gpu_ocsp_revoked");
}

#[test]
fn the_keys_of_a_service_are_read_as_it_publishes_them() {
    assert_eq!(NrasKey::from_jwks(&soft().jwks()).unwrap(), soft().nras().keys);
    assert!(NrasKey::from_jwks(b"{}").is_err());
    let other = br#"{"keys":[{"kid":"1","crv":"P-256","x":"","y":""}]}"#;
    assert_eq!(NrasKey::from_jwks(other).unwrap(), []);
}

#[test]
fn evidence_has_one_encoding() {
    let gpus = soft().edit(|recipe| recipe.eat = Some(Eat::default()));
    for evidence in [
        gpus.evidence(&NONCE, NOW),
        soft().evidence(&NONCE, NOW),
        GpuEvidence::default(),
    ] {
        let bytes = evidence.encode();
        assert_eq!(GpuEvidence::decode(&bytes).unwrap(), evidence);
        assert!(
            GpuEvidence::decode(&[&bytes[..], &[0]].concat()).is_err(),
            "something follows"
        );
        for len in 0..bytes.len().min(64) {
            assert!(GpuEvidence::decode(&bytes[..len]).is_err(), "cut short");
        }
    }
    // Version, devices, answers, EAT; the second with a length of two bytes where one would do.
    assert!(GpuEvidence::decode(&[0x84, 1, 0x80, 0x80, 0xf6]).is_ok());
    assert!(GpuEvidence::decode(&[0x84, 1, 0x98, 0, 0x80, 0xf6]).is_err());
    assert!(GpuEvidence::decode(&[0x84, 2, 0x80, 0x80, 0xf6]).is_err());
    assert!(GpuEvidence::decode(&[0x84, 1, 0x9f, 0xff, 0x80, 0xf6]).is_err());
    assert!(
        GpuEvidence::decode(&[0x84, 1, 0x80, 0x80, 0x41, 0xff]).is_err(),
        "an EAT is text"
    );
}

/// What a claim binds is what the devices said. Answers and EATs are renewed beside it.
#[test]
fn the_digest_is_of_reports_and_chains() {
    let evidence = soft().evidence(&NONCE, NOW);
    let mut renewed = evidence.clone();
    renewed.staples.clear();
    renewed.eat = Some("[]".to_owned());
    assert_eq!(renewed.digest(), evidence.digest());

    renewed.devices[0].report[100] ^= 1;
    assert_ne!(renewed.digest(), evidence.digest());
    let mut renewed = evidence.clone();
    renewed.devices[0].chain[0][100] ^= 1;
    assert_ne!(renewed.digest(), evidence.digest());
}

#[test]
fn a_policy_is_read_as_it_is_written() {
    let mut policy = soft().policy();
    policy.nras = Some(soft().nras());
    let text = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<GpuPolicy>(&text).unwrap(), policy);

    let short = serde_json::from_value::<GpuPolicy>(json!({ "arch": ["hopper"] })).unwrap();
    assert_eq!((short.devices, short.ocsp_max_age_s), (1, 86_400));
    assert_eq!(short.modes, [Mode::SinglePassthrough, Mode::MultiPassthrough]);
    assert!(short.rims.is_empty() && short.nras.is_none());
    assert!(serde_json::from_value::<GpuPolicy>(json!({ "arch": [], "tables": [] })).is_err());
}

/// The page has every code, in the order in which they take precedence.
#[test]
fn the_page_lists_the_refusals() {
    let quoted = |line: &str| {
        line.split(['`', '"'])
            .filter(|word| word.starts_with("gpu_"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let code = include_str!("../src/gpu/refusal.rs")
        .lines()
        .filter(|line| line.contains("=> \"gpu_"));
    let page = include_str!("../../docs/gpu-evidence.md")
        .lines()
        .filter(|line| line.starts_with("| `gpu_"));
    let codes = code.flat_map(quoted).collect::<Vec<_>>();
    assert!(codes.len() > 20);
    assert_eq!(page.flat_map(quoted).collect::<Vec<_>>(), codes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent, it is refused by a name, and nothing else happens.
    #[test]
    fn nothing_that_is_sent_does_harm(
        part in 0_usize..4,
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..6),
        is_cut in any::<bool>(),
    ) {
        let mut evidence = soft().edit(|recipe| recipe.eat = Some(Eat::default())).evidence(&NONCE, NOW);
        let mut encoded = evidence.encode();
        let eat = evidence.eat.as_mut().map(|eat| std::mem::take(eat).into_bytes());
        let mut eat = eat.unwrap_or_default();
        let part = match part {
            0 => &mut evidence.devices[0].report,
            1 => &mut evidence.devices[0].chain[0],
            2 => &mut evidence.staples[0],
            _ => &mut eat,
        };
        splice(part, at, &bytes, is_cut);
        splice(&mut encoded, at, &bytes, is_cut);
        evidence.eat = Some(String::from_utf8_lossy(&eat).into_owned());
        let mut policy = soft().policy();
        policy.nras = Some(soft().nras());
        for evidence in [Ok(evidence), GpuEvidence::decode(&encoded)].into_iter().flatten() {
            let code = code(&evidence, &policy);
            prop_assert!(code == OK || code.starts_with("gpu_"));
        }
    }
}

fn splice(into: &mut Vec<u8>, at: prop::sample::Index, bytes: &[u8], is_cut: bool) {
    let at = at.index(into.len());
    let end = if is_cut {
        into.len()
    } else {
        (at + bytes.len()).min(into.len())
    };
    into.splice(at..end, bytes.iter().copied());
}
