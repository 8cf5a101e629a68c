//! Workers that prove what they are, and those that only say so: real processes over real sockets, on software TDX.
//!
//! Each prompt here holds a word that nothing else has, so that a test can say where it was and where it never came.

use std::path::PathBuf;

use attestation::Role;
use attestation_soft_tdx::{Collateral, SoftTdx, Td};
use e2e::client::{request, send};
use e2e::papers::now;
use e2e::soft::{image, platform};
use e2e::{Answer, Gateway, Mock, Pccs, Worker, World};
use reqwest::RequestBuilder;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::count;

mod cable;
mod churn;
mod collateral;
mod flood;
mod gateways;
mod renewal;
mod revoked;
mod rogues;
mod strangers;

/// The prompt of every request here, and the word to look for.
const CANARY: &str = "quokka-7f3a9c-not-to-be-seen";

/// By which the gateways here know a worker.
pub(crate) const TOKEN: &str = "a-token-that-only-tests-have";

/// A guest on the first platform of the software root.
fn guest(name: &str) -> SoftTdx {
    platform().with_td(Td::of(name))
}

/// A guest's image, as policies name it.
pub(crate) fn worker_image(name: &str) -> attestation::Image {
    image(name, &guest(name), &[Role::Worker])
}

/// What everything here stands on: the files that nodes read, and the service of collateral.
pub(crate) struct Ground {
    pub(crate) world: World,
    pccs: Pccs,
    seed: PathBuf,
    root: PathBuf,
    policy: PathBuf,
    token: PathBuf,
}

impl Ground {
    /// Accepts the image `gateway` as a gateway, and these as workers.
    pub(crate) fn of(images: &[&str]) -> Self {
        Self::with(images, vec![platform().collateral(now())])
    }

    fn with(images: &[&str], shelf: Vec<Collateral>) -> Self {
        let world = World::new();
        let (seed, root) = (world.seed(), world.root());
        let token = world.secret("token", TOKEN);
        let ground = Self {
            pccs: Pccs::serving(shelf),
            policy: world.dir().join("policy.json"),
            world,
            seed,
            root,
            token,
        };
        ground.accept(images);
        ground
    }

    /// Writes the policy anew, with these images for workers.
    fn accept(&self, images: &[&str]) {
        let workers = images.iter().map(|name| image(name, &guest(name), &[Role::Worker]));
        let gateway = image("gateway", &guest("gateway"), &[Role::Gateway]);
        self.world
            .policy("policy.json", [gateway].into_iter().chain(workers).collect());
    }

    /// The section of a gateway's configuration; `more` is added to it.
    pub(crate) fn attestation(&self, more: &str) -> String {
        self.attestation_from(&self.pccs.url(), more)
    }

    fn attestation_from(&self, collateral: &str, more: &str) -> String {
        format!(
            "worker_listen: 127.0.0.1:0\nlog: {{level: debug}}\nattestation:\n  policy: {}\n  collateral: ['{collateral}']\n  danger_development_trust_anchor: {}\n{more}",
            self.policy.display(),
            self.root.display()
        )
    }

    /// A line of that section: evidence of the image `gateway`.
    fn evidence(&self) -> String {
        format!("  evidence: 'danger_software:{}#gateway'\n", self.seed.display())
    }

    /// A gateway whose backend `gpu` has one worker, known by [`TOKEN`].
    fn gateway(&self, attestation: &str) -> Gateway {
        self.gateway_that("", attestation)
    }

    /// The same, with more in its file.
    fn gateway_that(&self, more: &str, attestation: &str) -> Gateway {
        let token = digest(TOKEN);
        let backends = format!("backends: [{{name: gpu, workers: [{{name: box, join_token_sha256: {token}}}]}}]\n");
        self.world
            .gateway(&format!("{more}{}{backends}", self.attestation(attestation)))
    }

    /// A worker in this image, for a gateway that it knows by its key.
    fn worker(&self, engine: &str, image: &str, gateway: &str) -> Worker {
        self.worker_with(engine, image, gateway, &[])
    }

    /// The same with flags more.
    pub(crate) fn worker_with(&self, engine: &str, image: &str, gateway: &str, more: &[&str]) -> Worker {
        let evidence = format!("danger-software:{}#{image}", self.seed.display());
        let token = self.token.display().to_string();
        let flags = [
            "--gateway",
            gateway,
            "--evidence",
            &evidence,
            "--join-token-file",
            &token,
        ];
        self.world.worker_in(&[], engine, &[&flags[..], more].concat())
    }

    /// The same for a gateway that proves itself, at this address.
    fn worker_that_verifies(&self, engine: &str, image: &str, address: &str) -> Worker {
        let evidence = format!("danger-software:{}#{image}", self.seed.display());
        let token = self.token.display().to_string();
        let (policy, root) = (self.policy.display().to_string(), self.root.display().to_string());
        let flags = [
            "--gateway",
            address,
            "--evidence",
            &evidence,
            "--join-token-file",
            &token,
            "--gateway-policy",
            &policy,
            "--collateral",
            &self.pccs.url(),
            "--danger-development-trust-anchor",
            &root,
        ];
        self.world.worker_in(&[], engine, &flags)
    }
}

/// As the configuration names a token.
pub(crate) fn digest(token: &str) -> String {
    let bytes: [u8; 32] = Sha256::digest(token).into();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A gateway and its worker, both in guests, each of which verifies the other.
struct Site {
    gateway: Gateway,
    worker: Worker,
    mock: Mock,
    _ground: Ground,
}

impl Site {
    async fn new(ground: Ground) -> Self {
        let mock = ground.world.mock(&[]);
        let gateway = ground.gateway(&ground.evidence());
        let worker = ground.worker_that_verifies(&mock.url(), "worker", &address(&gateway));
        up(&gateway, "gpu/box").await;
        Self {
            gateway,
            worker,
            mock,
            _ground: ground,
        }
    }
}

/// Where workers connect.
fn address(gateway: &Gateway) -> String {
    let both = gateway.for_workers();
    let (_, address) = both.split_once('@').expect("KEY@ADDRESS");
    address.to_owned()
}

async fn up(gateway: &Gateway, worker: &str) {
    count::until(gateway, &format!(r#"mulberry_upstream_up{{upstream="{worker}"}}"#), 1).await;
}

async fn down(gateway: &Gateway, worker: &str) {
    count::until(gateway, &format!(r#"mulberry_upstream_up{{upstream="{worker}"}}"#), 0).await;
}

/// A chat with the canary in it.
fn chat(gateway: &Gateway, model: &str, is_stream: bool) -> RequestBuilder {
    let body = json!({"model": model, "messages": [{"role": "user", "content": CANARY}], "stream": is_stream});
    request(&format!("{}/v1/chat/completions", gateway.url()), body.to_string())
}

async fn ask(gateway: &Gateway, model: &str) -> Answer {
    Answer::of(send(chat(gateway, model, false)).await).await
}

/// One that may only be answered in this tier.
async fn ask_for(gateway: &Gateway, tier: &str) -> Answer {
    let asked = chat(gateway, "mock", false).header("x-mulberry-min-tier", tier);
    Answer::of(send(asked).await).await
}

/// How many prompts reached this engine.
fn prompts(mock: &Mock) -> usize {
    let log = mock.log();
    log.iter().filter(|entry| entry.to_string().contains(CANARY)).count()
}

#[tokio::test]
async fn a_worker_that_proves_itself_serves_and_nothing_crosses_in_the_clear() {
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    let gateway = ground.gateway(&ground.evidence());
    let tap = e2e::Tap::before(&address(&gateway)).await;
    let worker = ground.worker_that_verifies(&mock.url(), "worker", &tap.address().to_string());
    up(&gateway, "gpu/box").await;
    for _ in 0..5 {
        let answer = ask_for(&gateway, "tee").await;
        assert_eq!(answer.status, 200, "{}\n{}", answer.text(), worker.log());
    }
    assert_eq!(prompts(&mock), 5);
    // Of what the prompts travelled in there is plenty, and of the prompts nothing.
    assert!(tap.len() > 5 * CANARY.len() && !tap.holds(CANARY), "{tap:?}");
    let both = [gateway.log(), worker.log()].concat();
    assert!(!both.contains(CANARY), "{both}");
    assert!(both.contains("danger_development_trust_anchor"), "{both}");
}
