//! Every field of valid GPU evidence, a bit of it flipped, and what that gives: none is free.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::{ops::Range, sync::LazyLock};

use attestation::gpu::{GpuAnchor, GpuEvidence, GpuPolicy, verify};
use attestation_soft_tdx::gpu::{Eat, SoftGpus};

/// 2026-11-22 08:00 UTC.
const NOW: u64 = 1_795_334_400;
const NONCE: [u8; 32] = [7; 32];

const MALFORMED: &str = "gpu_malformed";
const SIGNATURE: &str = "gpu_signature";

/// Its 64 blocks begin at 45 and its opaque data at 3 599, with a VBIOS version; see docs/gpu-evidence.md.
const BLOCKS: usize = 45;
const BLOCK: usize = 55;
const OPAQUE: usize = BLOCKS + 64 * BLOCK + 32 + 2;

static ANCHOR: LazyLock<GpuAnchor> = LazyLock::new(|| soft().anchor());
static POLICY: LazyLock<GpuPolicy> = LazyLock::new(|| soft().policy());

fn soft() -> SoftGpus {
    SoftGpus::new([1; 32])
}

fn code(evidence: &GpuEvidence, policy: &GpuPolicy) -> &'static str {
    match verify(evidence, &NONCE, policy, &ANCHOR, NOW) {
        Ok(_) => "ok",
        Err(refusal) => refusal.code(),
    }
}

#[test]
fn every_field_of_a_report_has_its_refusal() {
    let valid = soft().evidence(&NONCE, NOW);
    let len = valid.devices[0].report.len();
    let table: &[(&str, Range<usize>, &str)] = &[
        ("request", 0..4, MALFORMED),
        ("nonce", 4..36, "gpu_nonce"),
        ("slot", 36..37, MALFORMED),
        ("response", 37..41, MALFORMED),
        ("number of blocks", 41..42, MALFORMED),
        ("length of the blocks", 42..45, MALFORMED),
        ("index", BLOCKS..BLOCKS + 1, MALFORMED),
        ("specification", BLOCKS + 1..BLOCKS + 2, MALFORMED),
        ("length of a block", BLOCKS + 2..BLOCKS + 4, MALFORMED),
        ("length of a value", BLOCKS + 5..BLOCKS + 7, MALFORMED),
        ("digest", BLOCKS + 7..BLOCKS + BLOCK, SIGNATURE),
        (
            "index in the middle",
            BLOCKS + 9 * BLOCK..BLOCKS + 9 * BLOCK + 1,
            MALFORMED,
        ),
        ("nonce of the device", OPAQUE - 34..OPAQUE - 2, SIGNATURE),
        ("length of the opaque data", OPAQUE - 2..OPAQUE, MALFORMED),
        ("length of a field", OPAQUE + 2..OPAQUE + 4, MALFORMED),
        ("VBIOS", OPAQUE + 4..OPAQUE + 12, SIGNATURE),
        ("signature", len - 96..len, SIGNATURE),
    ];
    for (field, range, expect) in table {
        for at in range.clone() {
            // One bit of each byte where a signature has to be checked for it.
            for bit in if *expect == SIGNATURE { at % 8..at % 8 + 1 } else { 0..8 } {
                let mut flipped = valid.clone();
                flipped.devices[0].report[at] ^= 1 << bit;
                assert_eq!(code(&flipped, &POLICY), *expect, "bit {bit} of byte {at}: {field}");
            }
        }
    }
    // The highest bit says "not a digest"; the others say of what, which is the device's to sign.
    for bit in 0..8 {
        let mut flipped = valid.clone();
        flipped.devices[0].report[BLOCKS + 4] ^= 1 << bit;
        let expect = if bit == 7 { MALFORMED } else { SIGNATURE };
        assert_eq!(code(&flipped, &POLICY), expect);
    }
}

/// Whatever is left out at the end, and whatever is added.
#[test]
fn a_report_has_one_length() {
    let valid = soft().evidence(&NONCE, NOW);
    for len in 0..valid.devices[0].report.len() {
        let mut cut = valid.clone();
        cut.devices[0].report.truncate(len);
        assert_eq!(code(&cut, &POLICY), MALFORMED, "{len} bytes");
    }
}

#[test]
fn no_bit_of_a_certificate_is_free() {
    let valid = soft().evidence(&NONCE, NOW);
    for (certificate, der) in valid.devices[0].chain.iter().enumerate() {
        for at in (certificate..der.len()).step_by(5) {
            let mut flipped = valid.clone();
            flipped.devices[0].chain[certificate][at] ^= 1 << (at % 8);
            let code = code(&flipped, &POLICY);
            let expect = [
                MALFORMED,
                "gpu_chain",
                if certificate == 4 { "gpu_root" } else { "gpu_chain" },
            ];
            assert!(expect.contains(&code), "certificate {certificate}, byte {at}: {code}");
        }
    }
}

#[test]
fn no_bit_of_an_ocsp_answer_is_free() {
    for is_delegated in [false, true] {
        let gpus = soft().edit(|recipe| recipe.ocsp.as_mut().unwrap().is_delegated = is_delegated);
        let valid = gpus.evidence(&NONCE, NOW);
        assert_eq!(code(&valid, &POLICY), "ok");
        for (staple, der) in valid.staples.iter().enumerate() {
            for at in (staple..der.len()).step_by(7) {
                let mut flipped = valid.clone();
                flipped.staples[staple][at] ^= 1 << (at % 8);
                let code = code(&flipped, &POLICY);
                // Another certificate's number, or a date, until the signature is looked at.
                let expect = [MALFORMED, "gpu_chain", "gpu_ocsp_signature", "gpu_ocsp_missing"];
                assert!(expect.contains(&code), "answer {staple}, byte {at}: {code}");
            }
        }
    }
}

#[test]
fn no_character_of_an_eat_is_free() {
    let gpus = soft().edit(|recipe| {
        recipe.ocsp = None;
        recipe.eat = Some(Eat::default());
    });
    let mut policy = POLICY.clone();
    policy.nras = Some(soft().nras());
    let valid = gpus.evidence(&NONCE, NOW);
    assert_eq!(code(&valid, &policy), "ok");
    let text = valid.eat.clone().unwrap().into_bytes();
    for at in (0..text.len()).step_by(13) {
        for with in [b'A', b'"', text[at] ^ 1] {
            let mut flipped = text.clone();
            flipped[at] = with;
            if flipped == text || !flipped.is_ascii() {
                continue;
            }
            let evidence = GpuEvidence {
                eat: Some(String::from_utf8(flipped).unwrap()),
                ..valid.clone()
            };
            let code = code(&evidence, &policy);
            let expect = [MALFORMED, "gpu_eat_signature", "gpu_eat_devices"];
            assert!(expect.contains(&code), "character {at}: {code}");
        }
    }
}

/// What is taken away is missed.
#[test]
fn nothing_can_be_left_out() {
    let valid = soft().evidence(&NONCE, NOW);
    for staple in 0..valid.staples.len() {
        let mut without = valid.clone();
        without.staples.remove(staple);
        assert_eq!(code(&without, &POLICY), "gpu_ocsp_missing");
    }
    for certificate in 0..5 {
        let mut without = valid.clone();
        without.devices[0].chain.remove(certificate);
        assert_eq!(code(&without, &POLICY), "gpu_chain");
        let mut twice = valid.clone();
        twice.devices[0].chain.push(valid.devices[0].chain[certificate].clone());
        assert_eq!(code(&twice, &POLICY), "gpu_chain");
    }
}
