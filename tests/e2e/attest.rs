//! `mulberry attest`: the commands of docs/attest.md as they stand there, Intel's own evidence, and what is refused.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use attestation::{
    Attester, Basis, Bundle, Claims, Evidence, NoQuote, PublicKey, Role, Verifier,
    binding::{Channel, certificate_report_data},
    bundle::{Answer, Exchange},
};
use attestation_ratls::{Draft, KeyKind, Keys};
use attestation_soft_tdx::{Collateral, SoftTdx};
use e2e::{World, process::mulberry};
use serde_json::Value;

/// 2026-11-22T08:30:00Z, the time in the document.
const NOW: u64 = 1_795_336_200;
const AT: [&str; 2] = ["--at", "2026-11-22T08:30:00Z"];

struct Software(SoftTdx);

impl Attester for Software {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
        Ok(self.0.quote(report_data))
    }
}

/// A folder with all that the document's commands name.
fn folder(soft: SoftTdx, now: u64) -> World {
    let world = World::new();
    world.file("root.der", soft.root_der());
    world.file("bundle.json", bundle(&soft, now));
    world.file("quote.bin", soft.quote(&[7; 64]));
    let collateral = soft.collateral(now);
    let name: String = collateral.fmspc.iter().map(|byte| format!("{byte:02x}")).collect();
    write_collateral(
        &world.dir().join("collateral").join(format!("{name}-platform")),
        collateral,
    );
    let mut draft = Draft::new(Role::Worker, Keys::Fresh(KeyKind::Ed25519));
    draft.attester = Some(Arc::new(Software(soft)));
    draft.lifetime = Duration::from_secs(24 * 60 * 60);
    let identity = draft.issue(now).expect("software makes quotes");
    world.file("worker.der", identity.certificate());
    world.file("worker.pem", pem(identity.certificate()));
    world
}

/// What a gateway would archive of such a worker.
fn bundle(soft: &SoftTdx, now: u64) -> String {
    bundle_of(soft, now).unwrap_or_default()
}

/// `None` for one that no gateway accepts.
fn bundle_of(soft: &SoftTdx, now: u64) -> Option<String> {
    let key = PublicKey::Ed25519([7; 32]);
    let spki = key.spki_sha256();
    let claims = Claims::new(Role::Worker, spki, now - 60, now + 3600).encode();
    let vouched = certificate_report_data(Role::Worker, &spki, &claims).expect("claims are short");
    let channel = Channel {
        role: Role::Worker,
        nonce: &[1; 32],
        exporter: &[2; 32],
        attester_spki: &spki,
        verifier_spki: &[3; 32],
    };
    let exchange = Exchange {
        role: Role::Worker,
        key,
        evidence: Evidence {
            quote: Some(soft.quote(&vouched)),
            claims,
        },
        nonce: *channel.nonce,
        exporter: *channel.exporter,
        verifier_spki: *channel.verifier_spki,
        answer: Answer::Quote(soft.quote(&channel.report_data())),
        gpu: None,
    };
    let policy = Arc::new(attestation_soft_tdx::policy(vec![
        soft.td().image("worker", &[Role::Worker]),
    ]));
    let collateral = soft.collateral_set(now).ok()?;
    let verifier = Verifier::new(soft.danger_anchor());
    let basis = Basis::new(&policy, &collateral, now);
    let first = verifier.appraise_certificate(&exchange.evidence, Role::Worker, &spki, &basis);
    let Answer::Quote(quote) = &exchange.answer else {
        unreachable!("it is a guest's")
    };
    let verdict = verifier.appraise_channel(quote, &channel, &first.ok()?, None, &basis);
    let bundle = Bundle::new(exchange, &verifier, &policy, &collateral, &verdict.ok()?);
    Some(bundle.expect("it is of this verdict").text())
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is text"))
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn write_collateral(folder: &Path, collateral: Collateral) {
    fs::create_dir_all(folder).expect("the world is ours");
    for (name, bytes) in [
        ("tcb_info.json", collateral.tcb_info),
        ("tcb_info_issuer_chain.pem", collateral.tcb_info_chain.into_bytes()),
        ("qe_identity.json", collateral.qe_identity),
        (
            "qe_identity_issuer_chain.pem",
            collateral.qe_identity_chain.into_bytes(),
        ),
        ("pck_crl.der", collateral.pck_crl),
        ("pck_crl_issuer_chain.pem", collateral.pck_crl_chain.into_bytes()),
        ("root_ca_crl.der", collateral.root_ca_crl),
    ] {
        fs::write(folder.join(name), bytes).expect("the world is ours");
    }
}

/// Exit status, and all that was printed.
fn attest(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(mulberry())
        .arg("attest")
        .args(arguments)
        .current_dir(world.dir())
        .output()
        .expect("the binary starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("it is text"))
}

#[track_caller]
fn check(world: &World, arguments: &[&str], status: i32, says: &str) -> String {
    let (code, text) = attest(world, arguments);
    assert_eq!(code, Some(status), "{arguments:?}: {text}");
    assert!(text.contains(says), "{arguments:?}: {text:?} should say {says:?}");
    text
}

const VERIFY: [&str; 5] = ["--policy", "policy.json", "--collateral", "collateral", "--danger-root"];

fn verify<'a>(file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["verify", file], &VERIFY[..], &["root.der"], more].concat()
}

fn with_policy(world: &World) {
    let policy = check(world, &["policy", "init", "--from-quote", "quote.bin"], 0, "mrtd");
    world.file("policy.json", policy);
}

#[test]
fn the_documents_commands_do_what_it_says() {
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is past 1970").as_secs();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/attest.md");
    let document = fs::read_to_string(document).expect("it is kept");
    let blocks = document
        .split("```sh\n")
        .skip(1)
        .filter_map(|block| block.split("```").next());
    let commands: Vec<&str> = blocks.flat_map(str::lines).collect();
    assert_eq!(commands.len(), 7, "{commands:?}");
    let current = folder(SoftTdx::builder().build(), now);
    let old = folder(SoftTdx::builder().build(), NOW);
    for command in commands {
        // What is as of a day needs evidence of that day; the policy is the same guest's.
        let world = if command.contains("--at") { &old } else { &current };
        with_policy(&old);
        let bin = mulberry();
        let bin = bin.parent().expect("it lies in a folder");
        let output = Command::new("sh")
            .args(["-c", &format!("PATH=\"{}:$PATH\"; {command}", bin.display())])
            .current_dir(world.dir())
            .output()
            .expect("a shell starts");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{command}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if command.contains("verify") {
            let mut verdict: Value = serde_json::from_str(&text).expect("a verdict is JSON");
            if command.contains("bundle.json") {
                verdict = verdict["verdict"].take();
            }
            assert_eq!(verdict["tier"], "tee");
            assert_eq!(verdict["anchor"], "development");
            assert_eq!(verdict["claims"]["role"], "worker");
        }
    }
}

#[test]
fn show_says_what_is_in_each_form() {
    let world = folder(SoftTdx::builder().build(), NOW);
    let quote = fs::read(world.dir().join("quote.bin")).expect("it was written");
    let hex: String = quote.iter().map(|byte| format!("{byte:02X}")).collect();
    world.file("quote.hex", format!("{hex}\n"));
    world.file("padded.bin", [quote.as_slice(), &[0; 70]].concat());
    for file in ["quote.bin", "quote.hex", "padded.bin"] {
        let text = check(&world, &["show", file], 0, "a quote; nothing of it is verified");
        assert!(
            text.contains("SEPT_VE_DISABLE") && text.contains("FMSPC 736f66740000"),
            "{text}"
        );
        assert_eq!(text.contains("70 zeros"), file == "padded.bin", "{text}");
    }
    for file in ["worker.pem", "worker.der"] {
        let text = check(&world, &["show", file], 0, "claims: role");
        assert!(text.contains("2026-11-22T08:"), "{text}");
    }
    let debug = folder(SoftTdx::builder().debug().build(), NOW);
    check(&debug, &["show", "quote.bin"], 0, "DEBUG: its host can read it");
}

#[test]
fn what_does_not_hold_has_its_code() {
    let world = folder(SoftTdx::builder().build(), NOW);
    with_policy(&world);
    let seven = "07".repeat(64);
    let quote = |more: &[&'static str]| verify("quote.bin", &[&AT[..], more].concat());
    check(&world, &verify("worker.pem", &AT), 0, "\"anchor\": \"development\"");
    let text = check(
        &world,
        &[&quote(&["--report-data"])[..], &[&seven]].concat(),
        0,
        "\"tier\": \"tee\"",
    );
    assert!(!text.contains("\"claims\""), "a quote alone has none: {text}");
    let eight = "08".repeat(64);
    let other = [&quote(&["--report-data"])[..], &[&eight]].concat();
    check(&world, &other, 1, "refused: binding_mismatch: ");
    check(
        &world,
        &verify("worker.pem", &["--at", "2027-11-22"]),
        1,
        "refused: claims_expired: ",
    );
    let gateway = [&AT[..], &["--role", "gateway"]].concat();
    check(&world, &verify("worker.pem", &gateway), 1, "refused: role_mismatch: ");
    // Intel's root in place of the software's: its collateral is not Intel's, and that is said.
    let intel = [
        "verify",
        "worker.pem",
        "--policy",
        "policy.json",
        "--collateral",
        "collateral",
    ];
    let text = check(&world, &[&intel[..], &AT].concat(), 1, "refused: collateral_missing: ");
    assert!(text.contains("collateral not taken: "), "{text}");
    // Another guest under the same policy.
    let policy = fs::read(world.dir().join("policy.json")).expect("it was written");
    for (soft, code) in [
        (SoftTdx::builder().image("other").build(), "image_unknown"),
        (SoftTdx::builder().debug().build(), "td_debug"),
        (SoftTdx::builder().revoked_pck().build(), "pck_revoked"),
        (
            SoftTdx::builder().tcb("OutOfDate", &["INTEL-SA-00837"]).build(),
            "tcb_refused",
        ),
    ] {
        let world = folder(soft, NOW);
        world.file("policy.json", &policy);
        check(&world, &verify("worker.pem", &AT), 1, &format!("refused: {code}: "));
    }
}

#[test]
fn a_bundle_is_appraised_as_of_its_day() {
    let soft = SoftTdx::builder().build();
    let text = bundle(&soft, NOW);
    let id = Bundle::id_of(text.as_bytes()).to_string();
    let world = folder(soft, NOW);
    world.file("bundle.json", &text);
    with_policy(&world);
    let verify = |more: &[&'static str]| [&["verify", "bundle.json"], more].concat();
    let root = ["--danger-development-trust-anchor", "root.der"];
    check(
        &world,
        &["show", "bundle.json"],
        0,
        "a bundle; nothing of it is verified",
    );
    // It says itself by what and when it was judged; a root that proves nothing must be named.
    check(&world, &verify(&[]), 1, "refused: bundle_development_anchor: ");
    let printed = check(&world, &verify(&root), 0, &id);
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(printed["verdict"]["tier"], "tee");
    assert_eq!(printed["verdict"]["anchor"], "development");
    let with_id = |id: &'static str| [&verify(&root)[..], &["--id", id]].concat();
    check(&world, &with_id(id.leak()), 0, "\"tier\": \"tee\"");
    check(&world, &with_id("00".repeat(32).leak()), 1, "refused: bundle_id: ");
    // A policy of one's own.
    let own = [&verify(&root)[..], &["--policy", "policy.json"]].concat();
    check(&world, &own, 0, "under_your_policy");
    let policy = fs::read_to_string(world.dir().join("policy.json")).expect("it was written");
    let mut policy: Value = serde_json::from_str(&policy).expect("JSON");
    policy["tcb"]["min_evaluation"] = 100_000.into();
    world.file("policy.json", policy.to_string());
    check(&world, &own, 1, "refused: evaluation_too_low: ");
    for flag in ["--at=2026-11-22", "--collateral=collateral", "--gpu=root.der"] {
        check(
            &world,
            &[&verify(&root)[..], &[flag]].concat(),
            2,
            "a bundle says itself",
        );
    }
    let other = [&verify(&root)[..], &["--role", "gateway"]].concat();
    check(&world, &other, 1, "refused: role_mismatch: ");
    // Changed, and in another spelling.
    world.file("bundle.json", text.replace("\"tier\":\"tee\"", "\"tier\":\"tee+gpu\""));
    check(&world, &verify(&root), 1, "refused: bundle_verdict: ");
    world.file("bundle.json", format!("{text}\n"));
    check(&world, &verify(&root), 1, "refused: bundle_not_canonical: ");
}

#[test]
fn nothing_can_be_said_of_what_is_nothing() {
    let world = folder(SoftTdx::builder().build(), NOW);
    with_policy(&world);
    check(&world, &["show", "missing"], 2, "cannot read 'missing'");
    check(&world, &["show", "root.der"], 2, "is not a certificate of a node");
    check(&world, &["show", "policy.json"], 2, "neither a quote");
    check(&world, &verify("quote.bin", &AT), 2, "--report-data");
    world.file("large", vec![4; 5 * 1024 * 1024]);
    check(&world, &["show", "large"], 2, "more than 4 MiB");
    world.file("bad.json", "{\"images\": []}");
    check(&world, &["policy", "check", "bad.json"], 1, "images: none is listed");
    world.file("unknown.yaml", "imagse: []\n");
    check(&world, &["policy", "check", "unknown.yaml"], 2, "imagse");
    let debug = folder(SoftTdx::builder().debug().build(), NOW);
    check(
        &debug,
        &["policy", "init", "--from-quote", "quote.bin"],
        1,
        "refused: td_debug: ",
    );
}

/// A quote and its collateral inside the crate that verifies quotes, whose source cargo has.
fn intels(world: &World, quote: &str) {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the cargo that built this test starts");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("it lists packages");
    let package = packages.iter().find(|package| package["name"] == "dcap-qvl");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let samples = Path::new(manifest.expect("attestation needs it")).with_file_name("sample");
    world.file("intel.bin", fs::read(samples.join(quote)).expect("it is in the crate"));
    let collateral = fs::read(samples.join(format!("{quote}_collateral.json"))).expect("it is in the crate");
    let collateral: Value = serde_json::from_slice(&collateral).expect("it is JSON");
    let text = |name: &str| collateral[name].as_str().expect("it is text").to_owned();
    let folder = world.dir().join("intel");
    fs::create_dir_all(&folder).expect("the world is ours");
    let signed = |member: &str, name: &str| {
        let signature = hex(&bytes(&collateral[format!("{name}_signature")]));
        format!(r#"{{"{member}":{},"signature":"{signature}"}}"#, text(name)).into_bytes()
    };
    for (name, bytes) in [
        ("tcb_info.json", signed("tcbInfo", "tcb_info")),
        ("tcb_info_issuer_chain.pem", text("tcb_info_issuer_chain").into_bytes()),
        ("qe_identity.json", signed("enclaveIdentity", "qe_identity")),
        (
            "qe_identity_issuer_chain.pem",
            text("qe_identity_issuer_chain").into_bytes(),
        ),
        ("pck_crl.der", bytes(&collateral["pck_crl"])),
        ("pck_crl_issuer_chain.pem", text("pck_crl_issuer_chain").into_bytes()),
        ("root_ca_crl.der", bytes(&collateral["root_ca_crl"])),
    ] {
        fs::write(folder.join(name), bytes).expect("the world is ours");
    }
}

/// The crate writes bytes as numbers, or in hex.
fn bytes(value: &Value) -> Vec<u8> {
    if let Some(text) = value.as_str() {
        let pairs = text
            .as_bytes()
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).expect("hex"));
        return pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
    }
    let numbers = value.as_array().expect("bytes").iter();
    numbers
        .map(|number| u8::try_from(number.as_u64().expect("a number")).expect("a byte"))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn intels_own_evidence_is_appraised_as_of_its_day() {
    for (quote, day) in [("tdx_quote", "2025-07-01"), ("tdx_quote_td15ex", "2026-10-20")] {
        let world = World::new();
        intels(&world, quote);
        let policy = check(&world, &["policy", "init", "--from-quote", "intel.bin"], 0, "mrtd");
        world.file("policy.json", policy);
        let shown = check(&world, &["show", "intel.bin"], 0, "report data");
        let line = shown
            .lines()
            .find(|line| line.starts_with("report data"))
            .expect("it is shown");
        let report_data = line.split_whitespace().last().expect("it has digits");
        let verify = [
            "verify",
            "intel.bin",
            "--policy",
            "policy.json",
            "--collateral",
            "intel",
            "--report-data",
            report_data,
        ];
        let text = check(&world, &[&verify[..], &["--at", day]].concat(), 0, "\"tier\": \"tee\"");
        let verdict: Value = serde_json::from_str(&text).expect("a verdict is JSON");
        assert_eq!(verdict["anchor"], "intel", "{quote}");
        assert_eq!(verdict["tcb"]["status"], "UpToDate", "{quote}");
        // A year later nothing that was signed then holds.
        let late = [&verify[..], &["--at", "2027-12-01"]].concat();
        let text = check(&world, &late, 1, "refused: collateral_missing: ");
        assert!(text.contains("collateral not taken: "), "{text}");
    }
}

#[test]
fn a_policy_may_be_yaml_or_toml() {
    let world = folder(SoftTdx::builder().build(), NOW);
    with_policy(&world);
    let digest = |file: &str| {
        let text = check(&world, &["policy", "check", file], 0, "digest ");
        text.split("digest ").nth(1).expect("it was said").to_owned()
    };
    let json = digest("policy.json");
    let text = fs::read_to_string(world.dir().join("policy.json")).expect("it was written");
    // JSON is YAML.
    world.file("policy.yaml", &text);
    assert_eq!(digest("policy.yaml"), json);
    let policy: Value = serde_json::from_str(&text).expect("it is JSON");
    let image = &policy["images"][0];
    let registers = ["mrtd", "td_attributes", "xfam"].map(|name| format!("{name} = {}\n", image[name]));
    let toml = format!(
        "[[images]]\nname = \"worker\"\nroles = [\"worker\"]\nrtmr = {}\n{}",
        image["rtmr"],
        registers.concat()
    );
    world.file("policy.toml", toml);
    assert_eq!(digest("policy.toml"), json);
}
