//! What users can check themselves: the bundle that a receipt rests on, and what the gateway shows for a nonce.
//!
//! The worker is a process with a software TDX, behind attested TLS; the files are those that `mulberry demo` would write.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use attestation::{Bundle, Hex, PublicKey, Role, binding::user_report_data};
use attestation_soft_tdx::SoftTdx;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::{
    Answer, Gateway, Mock, Worker, World,
    client::{chat, client, get, request, send},
    process::mulberry,
};
use serde_json::Value;

use crate::count;

const SEED: [u8; 32] = [0x5e; 32];
const KEY: &str = "sk-alice";

/// A gateway, one attested worker that a token names, and the engine beside it.
struct Site {
    gateway: Gateway,
    _worker: Worker,
    _mock: Mock,
    root: PathBuf,
    world: World,
}

impl Site {
    async fn new() -> Self {
        let world = World::new();
        let soft = SoftTdx::danger_from_seed(SEED);
        let seed = world.file("seed", Hex(SEED).to_string());
        fs::set_permissions(&seed, fs::Permissions::from_mode(0o600)).expect("ours");
        let root = world.file("root.der", soft.root_der());
        let guest = soft.clone().with_image("worker");
        let policy = attestation_soft_tdx::policy(vec![guest.td().image("worker", &[Role::Worker])]);
        world.file("policy.json", serde_json::to_vec(&policy).expect("JSON"));
        let now = std::time::UNIX_EPOCH.elapsed().expect("it is past 1970").as_secs();
        let set = soft.collateral_set(now).expect("it is valid");
        attestation_ratls::collateral::bundle::export(&set, &world.dir().join("collateral"))
            .expect("the world is ours");
        let token = world.file("token", "a token that nobody else has, of enough characters");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("ours");
        let mock = world.mock(&[]);
        let gateway = world.gateway(&format!(
            "worker_listen: 127.0.0.1:0
keys: [{{name: alice, secret: {KEY}, budget: {{total: 100}}}}]
attestation:
  policy: policy.json
  collateral: ['bundle:collateral']
  danger_development_trust_anchor: root.der
backends: [{{name: gpu, workers: [{{name: tee, join_token_sha256: {}}}]}}]
models: [{{name: mock, routes: [{{backend: gpu}}], price: {{prompt: 1, completion: 2}}}}]
",
            digest("a token that nobody else has, of enough characters")
        ));
        let key = world.worker_key("box");
        let worker = world.worker(
            &key,
            &mock.url(),
            &[
                "--gateway",
                &gateway.for_workers(),
                "--evidence",
                &format!("danger-software:{}#worker", seed.display()),
                "--join-token-file",
                &token.display().to_string(),
            ],
        );
        count::until(&gateway, r#"mulberry_upstream_up{upstream="gpu/tee"}"#, 1).await;
        Self {
            gateway,
            _worker: worker,
            _mock: mock,
            root,
            world,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.gateway.url());
        Answer::of(send(client().get(url).bearer_auth(KEY)).await).await
    }

    fn mulberry(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(mulberry())
            .args(arguments)
            .current_dir(self.world.dir())
            .output()
            .expect("the binary starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }
}

fn digest(text: &str) -> String {
    use sha2::Digest as _;
    Hex::<32>(sha2::Sha256::digest(text).into()).to_string()
}

#[tokio::test]
async fn a_receipt_names_the_evidence_that_it_rests_on() {
    let site = Site::new().await;
    let url = format!("{}/v1/chat/completions", site.gateway.url());
    let answer = Answer::of(send(request(&url, chat("mock")).bearer_auth(KEY)).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.header("x-receipt").to_owned();
    let receipts = site.get(&format!("/v1/receipts/{id}")).await;
    let receipt = receipts.json()["data"][0].clone();
    assert_eq!(receipt["upstream"]["tier"], "tee", "{receipt}");
    let named = receipt["evidence"].as_str().expect("it names some").to_owned();
    let named = named.strip_prefix("sha256:").expect("a digest").to_owned();

    let bundle = site.get(&format!("/v1/evidence/{named}")).await;
    assert_eq!(bundle.status, 200, "{}", bundle.text());
    let text = bundle.text();
    assert_eq!(Bundle::id_of(text.as_bytes()).to_string(), named);
    // On the disk under its digest before the receipt was given, byte for byte.
    let archived = site.world.dir().join("data/evidence").join(format!("{named}.json"));
    assert_eq!(
        fs::read_to_string(&archived).ok().as_deref(),
        Some(text.as_str()),
        "{}",
        archived.display()
    );

    // Offline, with files alone.
    let keys = site.get("/v1/receipts/keys").await.text();
    for (name, content) in [
        ("receipt.json", receipts.text()),
        ("keys.json", keys),
        ("bundle.json", text.clone()),
    ] {
        site.world.file(name, content);
    }
    let root = site.root.display().to_string();
    let check = |more: &[&str], status, says: &str| {
        let (code, told) = site.mulberry(&[&["verify", "receipt.json", "--keys", "keys.json"], more].concat());
        assert_eq!(code, Some(status), "{told}");
        assert!(told.contains(says), "{told}");
    };
    let anchor = ["--danger-development-trust-anchor", root.as_str()];
    let evidence = ["--evidence", "bundle.json"];
    check(&[], 0, "is not checked without --evidence");
    check(&[&evidence[..], &anchor].concat(), 0, "answered by the image worker");
    check(&evidence, 1, "bundle_development_anchor");
    site.world
        .file("bundle.json", text.replace("\"tier\":\"tee\"", "\"tier\":\"open\""));
    check(&[&evidence[..], &anchor].concat(), 1, "bundle_verdict");

    // The same in one command.
    let fetch = |more: &[&str]| {
        let url = site.gateway.url();
        site.mulberry(&[&["attest", "fetch", url.as_str(), "--key", KEY], &anchor[..], more].concat())
    };
    let (code, told) = fetch(&["--answer", &id]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("answered by the image worker"), "{told}");
    assert!(site.world.dir().join("evidence").join(format!("{named}.json")).exists());
    let (code, told) = fetch(&[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("worker: tee, image worker, anchor development"), "{told}");
    assert!(told.contains("gateway: it holds the key"), "{told}");
    let (code, told) = site.mulberry(&["attest", "fetch", &site.gateway.url(), "--key", KEY]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("bundle_development_anchor"), "{told}");
    let (code, told) = fetch(&["--answer", "none"]);
    assert_eq!(code, Some(2), "{told}");

    // What is on the disk is served, and nothing that is not what its name says.
    fs::write(&archived, "{}").expect("ours");
    let other = "ab".repeat(32);
    for (id, status, code) in [
        (other.as_str(), 404, "evidence_not_found"),
        ("x", 404, "evidence_not_found"),
    ] {
        let answer = site.get(&format!("/v1/evidence/{id}")).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert_eq!(answer.json()["error"]["code"], code);
    }
}

#[tokio::test]
async fn the_gateway_answers_a_users_nonce() {
    let site = Site::new().await;
    let nonce = "5a".repeat(32);
    let shown = site.get(&format!("/v1/attestation?nonce={nonce}")).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let shown = shown.json();
    assert_eq!(shown["nonce"], nonce.as_str());

    // Keyed, and it says so: the signature is of the key of its certificate, over the nonce.
    let gateway = &shown["gateway"];
    assert_eq!(gateway["attested"], false);
    assert!(
        gateway["says"].as_str().expect("a sentence").contains("no quote"),
        "{gateway}"
    );
    let bytes = |value: &Value| BASE64_STANDARD.decode(value.as_str().expect("text")).expect("base64");
    let certificate = rustls_pki_types::CertificateDer::from(bytes(&gateway["certificate"]));
    let certificate = attestation_ratls::Certificate::read(&certificate, &[], 0);
    let key: PublicKey = match certificate {
        Ok(certificate) => *certificate.key(),
        Err(attestation_ratls::CertificateRefusal::NotYet { not_before, .. }) => {
            let der = rustls_pki_types::CertificateDer::from(bytes(&gateway["certificate"]));
            *attestation_ratls::Certificate::read(&der, &[], not_before)
                .expect("it holds then")
                .key()
        }
        Err(error) => panic!("{error}"),
    };
    let report_data = user_report_data(Role::Gateway, &[0x5a; 32], &key.spki_sha256());
    assert_eq!(gateway["report_data"], Hex(report_data).to_string());
    assert!(key.stated(&report_data, &bytes(&gateway["proof"]["signature"])));

    // The worker that may answer, without a name, with all that it takes to judge it.
    let workers = shown["workers"].as_array().expect("a list");
    assert_eq!(workers.len(), 1, "{shown}");
    assert_eq!(workers[0]["tier"], "tee");
    let bundle = workers[0]["bundle"].to_string();
    assert_eq!(workers[0]["evidence"], Bundle::id_of(bundle.as_bytes()).to_string());
    let soft = SoftTdx::danger_from_seed(SEED);
    let verdict = Bundle::read(bundle.as_bytes()).and_then(|bundle| bundle.appraise(&soft.danger_anchor()));
    assert_eq!(verdict.expect("it holds").image(), Some("worker"));
    assert!(!shown.to_string().contains("gpu/tee"), "{shown}");

    for (path, status, code) in [
        ("/v1/attestation", 400, "missing_required_parameter"),
        ("/v1/attestation?nonce=1", 400, "invalid_value"),
        (
            &format!("/v1/attestation?nonce={nonce}&model=none"),
            404,
            "model_not_found",
        ),
        (
            &format!("/v1/aci/attestation?nonce={nonce}"),
            404,
            "gateway_not_attested",
        ),
    ] {
        let answer = site.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.json()["error"]["code"], code, "{path}");
    }
    let stranger = Answer::of(get(&format!("{}/v1/attestation?nonce={nonce}", site.gateway.url())).await).await;
    assert_eq!(stranger.status, 401);

    // Made anew for each nonce, and therefore not without end.
    let mut last = 200;
    for _ in 0..20 {
        last = site
            .get(&format!("/v1/attestation?nonce={nonce}"))
            .await
            .status
            .as_u16();
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
}
