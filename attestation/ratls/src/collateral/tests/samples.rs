//! What Intel signed, out of the crate that verifies quotes; cargo knows where its source lies.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use attestation::CollateralParts;
use serde::Deserialize;
use serde_json::Value;

use super::{super::Platform, Reply};

/// Names, and a time in which each holds: 2025-07-01, 2026-10-20, 2026-03-01.
pub(super) const REAL: [(&str, u64); 3] = [
    ("tdx_quote_collateral.json", 1_751_328_000),
    ("tdx_quote_td15ex_collateral.json", 1_792_454_400),
    ("tdx_quote_outdated_collateral.json", 1_772_323_200),
];

/// As that crate keeps them: documents and signatures apart, bytes as numbers or hex.
#[derive(Deserialize)]
struct Sample {
    pck_crl_issuer_chain: String,
    root_ca_crl: Value,
    pck_crl: Value,
    tcb_info_issuer_chain: String,
    tcb_info: String,
    tcb_info_signature: Value,
    qe_identity_issuer_chain: String,
    qe_identity: String,
    qe_identity_signature: Value,
}

pub(super) fn parts(name: &str) -> CollateralParts {
    let sample: Sample = serde_json::from_slice(&read(name)).expect("it has its form");
    let signed = |member: &str, document: &str, signature: &Value| {
        let signature = hex(&bytes(signature));
        format!(r#"{{"{member}":{document},"signature":"{signature}"}}"#).into_bytes()
    };
    CollateralParts {
        tcb_info: signed("tcbInfo", &sample.tcb_info, &sample.tcb_info_signature),
        tcb_info_chain: sample.tcb_info_issuer_chain,
        qe_identity: signed("enclaveIdentity", &sample.qe_identity, &sample.qe_identity_signature),
        qe_identity_chain: sample.qe_identity_issuer_chain,
        pck_crl: bytes(&sample.pck_crl),
        pck_crl_chain: sample.pck_crl_issuer_chain,
        root_ca_crl: bytes(&sample.root_ca_crl),
    }
}

/// As a PCCS would serve them.
pub(super) fn replies(parts: &CollateralParts, platform: Platform) -> BTreeMap<String, Reply> {
    let escape = |pem: &str| -> String { pem.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let fmspc = platform.fmspc.to_string().to_uppercase();
    let reply =
        |header: &str, chain: &str, body: &[u8]| Reply::Good(vec![(header.to_owned(), escape(chain))], body.to_vec());
    BTreeMap::from([
        (
            format!("/tdx/certification/v4/tcb?fmspc={fmspc}&update=standard"),
            reply("TCB-Info-Issuer-Chain", &parts.tcb_info_chain, &parts.tcb_info),
        ),
        (
            "/tdx/certification/v4/qe/identity?update=standard".to_owned(),
            reply(
                "SGX-Enclave-Identity-Issuer-Chain",
                &parts.qe_identity_chain,
                &parts.qe_identity,
            ),
        ),
        (
            format!("/sgx/certification/v4/pckcrl?ca={}&encoding=der", platform.ca),
            reply("SGX-PCK-CRL-Issuer-Chain", &parts.pck_crl_chain, &parts.pck_crl),
        ),
        (
            "/sgx/certification/v4/rootcacrl".to_owned(),
            Reply::Good(Vec::new(), hex(&parts.root_ca_crl).into_bytes()),
        ),
    ])
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(hex) => hex
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16).expect("hex"))
            .collect(),
        Value::Array(numbers) => numbers
            .iter()
            .map(|number| {
                number
                    .as_u64()
                    .and_then(|number| u8::try_from(number).ok())
                    .expect("a byte")
            })
            .collect(),
        other => panic!("bytes in a form that is not known: {other}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(name: &str) -> Vec<u8> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the cargo that built this test starts");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("it lists packages");
    let package = packages.iter().find(|package| package["name"] == "dcap-qvl");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let manifest = manifest.expect("dcap-qvl is below attestation");
    let path = Path::new(manifest).with_file_name("sample").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
