//! Gateways that prove what they are, by a software TDX that the policy's owner chose to believe.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;
use std::{fs, str};

use attestation::{Policy, Role};
use attestation_ratls::collateral::bundle;
use attestation_soft_tdx::SoftTdx;
use e2e::client::{chat, chat_stream, send};
use e2e::{Answer, Connect, Gateway, Mock, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{asked, yaml};
use crate::flow::Flow;

const SEED: [u8; 32] = [7; 32];
/// What must not be seen on a wire.
const PROMPT: &str = "Say hello to me";

/// What an owner of a policy has on disk, and what a gateway has.
struct Site {
    policy: PathBuf,
    root: PathBuf,
    collateral: PathBuf,
    mock: Mock,
    world: World,
}

fn policy(image: &str) -> Policy {
    let soft = SoftTdx::danger_from_seed(SEED).with_image(image);
    attestation_soft_tdx::policy(vec![soft.td().image(image, &[Role::Gateway])])
}

fn json(policy: &Policy) -> String {
    serde_json::to_string(policy).expect("a policy is JSON")
}

impl Site {
    /// Believes the image `good` of the machine with our seed.
    fn new() -> Self {
        let world = World::new();
        let soft = SoftTdx::danger_from_seed(SEED);
        let now = UNIX_EPOCH.elapsed().expect("it is past 1970").as_secs();
        let collateral = world.dir().join("collateral");
        fs::create_dir(&collateral).expect("the world is ours");
        bundle::export(&soft.collateral_set(now).expect("its own"), &collateral).expect("the world is ours");
        Self {
            policy: world.file("policy.json", json(&policy("good"))),
            root: world.file("root.der", soft.root_der()),
            collateral,
            mock: world.mock(&[]),
            world,
        }
    }

    /// A gateway in a guest of this image, on the machine with this seed.
    fn gateway(&self, seed: [u8; 32], image: &str) -> Gateway {
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = self.world.file(&format!("seed-{}", seed[0]), hex);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("the world is ours");
        let more = format!(
            "attestation: {{evidence: \"danger_software:{}#{image}\"}}\n",
            file.display()
        );
        self.world.gateway(&yaml(&self.mock, &more))
    }

    fn flags(&self, address: &str) -> Vec<String> {
        [
            "--gateway",
            address,
            "--policy",
            &self.policy.display().to_string(),
            "--collateral",
            &format!("bundle:{}", self.collateral.display()),
            "--danger-development-trust-anchor",
            &self.root.display().to_string(),
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn connect(&self, address: &str) -> Connect {
        let flags = self.flags(address);
        self.world
            .connect(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn doctor(&self, address: &str) -> (bool, String) {
        let flags = self.flags(address);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let said = Connect::doctor(self.world.dir(), &flags);
        (
            said.status.success(),
            String::from_utf8_lossy(&said.stdout).into_owned(),
        )
    }

    /// What is written there is in force a moment later.
    fn rewrite(&self, policy: &Policy) {
        let next = self.world.file("policy.next", json(policy));
        fs::rename(next, &self.policy).expect("the world is ours");
    }
}

/// A wire between the app's side and a gateway, and all that the app's side said on it.
struct Wire {
    address: String,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    async fn to(gateway: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = said.clone();
        tokio::spawn(async move {
            while let Ok((app, _)) = listener.accept().await {
                let there = TcpStream::connect(&gateway).await.expect("the gateway listens");
                let (mut from_app, mut to_app) = app.into_split();
                let (mut from_there, mut to_there) = there.into_split();
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut piece = vec![0; 16 << 10];
                    while let Ok(length @ 1..) = from_app.read(&mut piece).await {
                        kept.lock().expect("nobody panics").extend_from_slice(&piece[..length]);
                        if to_there.write_all(&piece[..length]).await.is_err() {
                            break;
                        }
                    }
                });
                tokio::spawn(async move { tokio::io::copy(&mut from_there, &mut to_app).await });
            }
        });
        Self { address, said }
    }

    /// Bytes that were said, none of which may be of a request.
    fn said(&self) -> usize {
        let said = self.said.lock().expect("nobody panics");
        for secret in [PROMPT, "sk-app", "chat/completions"] {
            let found = said.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "'{secret}' crossed the wire in the clear");
        }
        said.len()
    }
}

#[tokio::test]
async fn a_gateway_of_the_policy_is_used_and_the_wire_tells_nothing() {
    let site = Site::new();
    let gateway = site.gateway(SEED, "good");
    let wire = Wire::to(gateway.for_connect().0).await;
    let connect = site.connect(&wire.address);
    let status = connect.stands("verified").await;
    assert_eq!((&status["tier"], &status["image"]), (&"tee".into(), &"good".into()));
    assert_eq!(status["verdict"]["anchor"], "development");
    let answer = Answer::of(send(connect.request(chat("mock")).bearer_auth("sk-app")).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("x-mulberry-via"),
        "attested gateway, under a development trust anchor"
    );
    let stream = Flow::begin(connect.request(chat_stream("mock"))).await.end().await;
    assert!(stream.is_done(), "{}", stream.text);
    assert_eq!(asked(&site.mock), 2);
    assert!(wire.said() > 1000);
    let (is_good, said) = site.doctor(&gateway.for_connect().0);
    assert!(
        is_good && said.contains("the image 'good'") && said.contains("DANGER"),
        "{said}"
    );
    assert!(
        connect.log().contains("danger_development_trust_anchor is set"),
        "{}",
        connect.log()
    );
}

#[tokio::test]
async fn a_gateway_outside_the_policy_is_sent_nothing() {
    let site = Site::new();
    let other = site.world.gateway(&yaml(&site.mock, ""));
    for (gateway, codes) in [
        (site.gateway(SEED, "other"), ["image_unknown", "image_unknown"]),
        // The same image, on a machine that another root vouches for.
        (site.gateway([8; 32], "good"), ["anchor_mismatch", "chain_untrusted"]),
        // A key, and nothing else.
        (other, ["quote_missing", "tier_too_low"]),
    ] {
        let wire = Wire::to(gateway.for_connect().0).await;
        let connect = site.connect(&wire.address);
        let answer = Answer::of(send(connect.request(chat("mock")).bearer_auth("sk-app")).await).await;
        let code = answer.envelope().code.expect("a code");
        assert_eq!(answer.status, 503, "{code}");
        assert!(codes.contains(&code.as_str()), "{code}");
        assert_eq!(connect.stands("refused").await["why"]["code"], code);
        assert_eq!(asked(&site.mock), 0);
        assert!(wire.said() > 0);
        let (is_good, said) = site.doctor(&gateway.for_connect().0);
        assert!(!is_good && said.contains(&code) && said.contains("fix: "), "{said}");
    }
}

#[tokio::test]
async fn a_policy_that_changes_on_disk_cuts_the_connection() {
    let site = Site::new();
    let gateway = site.gateway(SEED, "good");
    let connect = site.connect(&gateway.for_connect().0);
    connect.stands("verified").await;
    let flow = Flow::begin(connect.request(chat_stream("fault/slow-50+tokens-2000"))).await;
    site.rewrite(&policy("next"));
    let stream = flow.end().await;
    assert!(
        !stream.is_done() && stream.text.contains("gateway_connection_lost"),
        "{}",
        stream.text
    );
    connect.stands("refused").await;
    let answer = connect.chat("mock").await;
    assert_eq!(
        (answer.status.as_u16(), answer.envelope().code),
        (503, Some("image_unknown".to_owned()))
    );
    assert_eq!(asked(&site.mock), 1);
    // A file that is none changes nothing.
    fs::write(&site.policy, "{").expect("the world is ours");
    let said = e2e::eventually(e2e::wait::SOON, || connect.log().contains("the new policy is refused")).await;
    assert!(said, "{}", connect.log());
    assert_eq!(connect.status().await["standing"], "refused");
    site.rewrite(&policy("good"));
    connect.stands("verified").await;
    assert_eq!(connect.chat("mock").await.status, 200);
}
