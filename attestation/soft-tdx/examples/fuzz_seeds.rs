//! Writes the seeds of `attestation/fuzz` anew: something valid for each target, and little else.
//!
//! `cargo run -p attestation-soft-tdx --example fuzz_seeds`. Signatures differ in each run; the rest does not.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::{fs, io, path::Path};

use attestation::{
    Claims, CollateralParts, Evidence, Hex, Role,
    event::{Event, EventLog},
};
use attestation_soft_tdx::{
    SoftTdx,
    gpu::{Eat, SoftGpus},
    recipe::Form,
};
use targets::{ALL, NOW, valid_gpus};

fn main() -> io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
    for (target, _) in ALL {
        fs::create_dir_all(seeds.join(target))?;
    }
    let write = |target: &str, name: &str, bytes: &[u8]| fs::write(seeds.join(target).join(name), bytes);

    for (name, form) in [("v4", Form::V4), ("v5-15ex", Form::V5Td15Ex)] {
        write("quote", name, &SoftTdx::builder().form(form).build().quote(&[7; 64]))?;
    }
    let least = Claims::new(Role::Gateway, [1; 32], NOW, NOW + 60);
    let full = Claims {
        receipt_key: Some(Hex([5; 32])),
        payee_key: Some(Hex([6; 32])),
        hpke_key: Some(Hex([7; 32])),
        gpu_evidence: Some(Hex([8; 32])),
        config: Some(Hex([9; 32])),
        engine: Some(Hex([10; 32])),
        models: Some(Hex([11; 32])),
        ..least.clone()
    };
    write("claims", "least", &least.encode())?;
    write("claims", "full", &full.encode())?;
    for (name, quote) in [("keyed", None), ("quoted", Some(vec![4; 300]))] {
        let claims = least.encode();
        write("evidence", name, &Evidence { quote, claims }.encode())?;
    }
    let tdx = SoftTdx::builder().build();
    let parts: CollateralParts = tdx.collateral(NOW).into();
    for (which, (name, piece)) in (0..).zip([
        ("tcb_info", &parts.tcb_info[..]),
        ("tcb_info_chain", parts.tcb_info_chain.as_bytes()),
        ("qe_identity", &parts.qe_identity),
        ("qe_identity_chain", parts.qe_identity_chain.as_bytes()),
        ("pck_crl", &parts.pck_crl),
        ("pck_crl_chain", parts.pck_crl_chain.as_bytes()),
        ("root_ca_crl", &parts.root_ca_crl),
    ]) {
        write("collateral", name, &[&[which], piece].concat())?;
    }
    let mut policy = attestation_soft_tdx::policy(vec![tdx.td().image("worker", &[Role::Worker])]);
    write("policy", "tee", policy.canonical().as_bytes())?;
    policy.gpu = Some(SoftGpus::new([1; 32]).policy());
    write("policy", "gpu", policy.canonical().as_bytes())?;
    let event = |name, text| Event::new(name, text).map_err(io::Error::other);
    let log = EventLog::new(vec![event("config", "00ff")?, event("engine", "aa")?]).map_err(io::Error::other)?;
    write("event_log", "two", &serde_json::to_vec(&log)?)?;

    let gpus = valid_gpus();
    write("gpu_evidence", "one", &gpus.encode())?;
    write("gpu_report", "one", &gpus.devices[0].report)?;
    if let Some(staple) = gpus.staples.first() {
        write("gpu_staple", "one", staple)?;
    }
    let eat = SoftGpus::new([1; 32]).edit(|recipe| recipe.eat = Some(Eat::default()));
    if let Some(eat) = eat.evidence(&[7; 32], NOW).eat {
        write("gpu_eat", "one", eat.as_bytes())?;
    }
    write("gpu_files", "jwks", &SoftGpus::new([1; 32]).jwks())
}
