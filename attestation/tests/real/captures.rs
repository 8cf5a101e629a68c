//! Captures of real machines: those in the `dcap-qvl` crate, and those in `../shared/samples` where they are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use attestation::CollateralParts;
use serde_json::Value;

use crate::convert::bytes;

/// The `sample` folder of the very crate that this is built with.
static CRATE: LazyLock<PathBuf> = LazyLock::new(|| {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let manifest = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "dcap-qvl"))
        .and_then(|package| package["manifest_path"].as_str())
        .expect("dcap-qvl is a dependency");
    Path::new(manifest).with_file_name("sample")
});

/// Intel's root certificate, as the crate has it.
pub(crate) fn intel_root() -> Vec<u8> {
    let root = CRATE.with_file_name("src").join("TrustedRootCA.der");
    fs::read(root).expect("the crate's root certificate")
}

/// `None` where the samples that are not ours to keep are not here.
pub(crate) fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    // A worktree of its own stands elsewhere than beside the folder.
    let beside = [root.join("../shared/samples"), root.join("../../shared/samples")];
    beside.into_iter().find(|path| path.is_dir())
}

pub(crate) fn quote(name: &str) -> Option<Vec<u8>> {
    match name.strip_prefix("shared/") {
        Some(name) => Some(fs::read(shared()?.join(name)).expect("a sample of the table is there")),
        None => {
            let bytes_of = fs::read(CRATE.join(name)).expect("a sample of the crate");
            Some(if name.ends_with(".hex") {
                bytes(&String::from_utf8(bytes_of).expect("hex"))
            } else {
                bytes_of
            })
        }
    }
}

/// `none` is none; `shared:FMSPC` are Intel's files; anything else is a bundle of the crate.
pub(crate) fn collateral(name: &str) -> Option<CollateralParts> {
    match name.split_once(':') {
        None if name == "none" => None,
        None => Some(bundle(name)),
        Some((_, fmspc)) => Some(files(&shared()?.join("collateral"), fmspc)),
    }
}

/// The crate's own form, JSON with everything taken apart, put together again as Intel serves it.
fn bundle(name: &str) -> CollateralParts {
    let text = fs::read_to_string(CRATE.join(format!("{name}_collateral.json"))).expect("a bundle of the crate");
    let bundle: Value = serde_json::from_str(&text).expect("JSON");
    let text = |name: &str| bundle[name].as_str().expect("text").to_owned();
    let signed = |member: &str, document: &str| {
        let signature = text(&format!("{document}_signature"));
        format!(r#"{{"{member}":{},"signature":"{signature}"}}"#, text(document)).into_bytes()
    };
    CollateralParts {
        tcb_info: signed("tcbInfo", "tcb_info"),
        tcb_info_chain: text("tcb_info_issuer_chain"),
        qe_identity: signed("enclaveIdentity", "qe_identity"),
        qe_identity_chain: text("qe_identity_issuer_chain"),
        pck_crl: bytes(&text("pck_crl")),
        pck_crl_chain: text("pck_crl_issuer_chain"),
        root_ca_crl: bytes(&text("root_ca_crl")),
    }
}

/// As Intel's service answered, chains URL-encoded as in its headers.
fn files(folder: &Path, fmspc: &str) -> CollateralParts {
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let pem = |name: &str| decoded(&String::from_utf8(read(name)).expect("a header is text"));
    CollateralParts {
        tcb_info: read(&format!("tcb_info_{fmspc}.json")),
        tcb_info_chain: pem(&format!("tcb_info_{fmspc}_chain.txt")),
        qe_identity: read("qe_identity.json"),
        qe_identity_chain: pem("qe_identity_chain.txt"),
        pck_crl: read("pck_crl_platform.crl"),
        pck_crl_chain: pem("pck_crl_platform_chain.txt"),
        root_ca_crl: read("root_ca.crl"),
    }
}

fn decoded(header: &str) -> String {
    let mut parts = header.trim().split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        out.extend(bytes(code).into_iter().map(char::from));
        out.push_str(rest);
    }
    out
}
