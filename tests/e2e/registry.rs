//! A registry on a simulated chain that takes away from what a gateway allows: real processes, and owners who change it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    sync::mpsc,
    thread,
    time::Duration,
};

use attestation::{Hex, Image};
use billing::{Nano, channel::Account};
use billing_ton::{
    Chain as _, Seed, Wallet, address,
    registry::{self, Charter, Lists, Registry, Request, Vote, signed_bytes},
    wallet::{Batch, Mode, Payment},
};
use billing_ton_sim::{DEVELOPMENT, Settings, Simulated, http};
use e2e::client::{client, request, send};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Worker};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    attested::{Ground, TOKEN, digest, worker_image},
    count,
    payments::decoded,
};

const DELAY_S: u32 = 3_600;
const FEE_DEST: Account = Account {
    workchain: 0,
    hash: [0x44; 32],
};
const PAYOUT: Account = Account {
    workchain: 0,
    hash: [0x22; 32],
};

fn owner() -> Seed {
    Seed::from_bytes([0x0a; 32])
}

/// A charter of one owner: these images for workers, and these models.
fn charter(images: &[Hex<32>], models: Option<&[[u8; 32]]>) -> Charter {
    Charter {
        delay_s: DELAY_S,
        threshold: 1,
        veto_threshold: 1,
        owners: BTreeSet::from([owner().public_key()]),
        most_fee_bps: 200,
        fee_dest: FEE_DEST,
        lists: Lists {
            images: Some(images.iter().map(|image| (image.0, 2)).collect::<BTreeMap<_, _>>()),
            gateways: None,
            models: models.map(|models| models.iter().copied().collect()),
        },
    }
}

/// A chain with toncenter's API, which can be away and come back at the same address.
struct Chain {
    chain: Simulated,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<thread::JoinHandle<()>>,
}

impl Chain {
    fn start() -> Self {
        let chain = Simulated::in_memory(Settings::for_development()).expect("a chain can be made");
        let mut chain = Self {
            chain,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            stop: None,
            serving: None,
        };
        chain.comes_back();
        chain
    }

    fn url(&self) -> String {
        format!("http://{}/api/v2", self.address)
    }

    fn comes_back(&mut self) {
        let (tell, told) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let (chain, address) = (self.chain.clone(), self.address);
        let serving = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::bind(address).await.expect("the port is free");
                tell.send(listener.local_addr().expect("it is bound"))
                    .expect("the test waits");
                let until = async {
                    stopped.await.ok();
                };
                http::serve(listener, chain, until).await;
            });
        });
        self.address = told.recv().expect("it listens");
        self.stop = Some(stop);
        self.serving = Some(serving);
    }

    /// Nobody answers for it any more.
    fn goes_away(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            serving.join().expect("it ends by itself");
        }
    }

    /// Sends from a wallet that has coins, and waits for its block.
    async fn pay(&self, to: Account, body: Option<&Request>, first: Option<&Charter>) {
        let seed = Seed::from_bytes([0x0b; 32]);
        let wallet = Wallet::new(DEVELOPMENT, seed.public_key());
        self.chain
            .fund(wallet.account(), Nano::saturating(Nano::UNIT))
            .expect("it is not halted");
        let state = self.chain.account(wallet.account()).await.expect("it answers");
        let seqno = wallet.standing(&state).expect("it is ours").seqno;
        let payment = Payment {
            to,
            amount: Nano::saturating(Nano::UNIT / 5),
            bounce: false,
            mode: Mode::FeesApart,
            body: body.map(Request::encode),
            init: first.map(|charter| registry::state_init(DEVELOPMENT, charter)),
        };
        let batch = Batch::new(vec![payment]).expect("one");
        let until = self.chain.now() + 60;
        let signed = wallet.sign(&seed, seqno, until, &batch).expect("its own key");
        self.chain.send(&signed.message).await.expect("it is taken");
    }

    async fn registry(&self, account: Account) -> Option<Registry> {
        let state = self.chain.account(account).await.expect("it answers");
        registry::judge(DEVELOPMENT, account, &state).ok()
    }

    async fn at_change(&self, account: Account, change: u64) {
        let deadline = tokio::time::Instant::now() + SOON;
        while self.registry(account).await.map(|registry| registry.seqno()) != Some(change) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "the registry never came to change {change}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn open(&self, first: &Charter) -> Account {
        let account = registry::account(DEVELOPMENT, first);
        self.pay(account, None, Some(first)).await;
        self.at_change(account, 0).await;
        account
    }

    /// The owner proposes it; until it is applied nothing is otherwise.
    async fn propose(&self, account: Account, charter: &Charter) {
        let seqno = self.registry(account).await.expect("it is there").seqno();
        let signed = signed_bytes(Vote::Propose, DEVELOPMENT, &account, seqno, &charter.hash());
        let request = Request::Propose {
            query_id: 1,
            seqno,
            signatures: BTreeMap::from([(owner().public_key(), owner().sign(&signed))]),
            charter: charter.clone(),
        };
        self.pay(account, Some(&request), None).await;
        self.at_change(account, seqno + 1).await;
    }

    async fn apply(&self, account: Account) {
        let seqno = self.registry(account).await.expect("it is there").seqno();
        self.chain.advance(DELAY_S + 1).expect("it is not halted");
        self.pay(account, Some(&Request::Apply { query_id: 2 }), None).await;
        self.at_change(account, seqno + 1).await;
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.goes_away();
    }
}

/// The section; asked so often that a test need not wait.
fn section(chain: &Chain, account: Account, keep: &str) -> String {
    format!(
        "registry: {{address: '{}', network: -217, chain: ['{}'], every: 200ms, keep: {keep}}}\n",
        address::raw(&account),
        chain.url(),
    )
}

/// A gateway with one place for a worker that [`TOKEN`] names.
fn yaml(ground: &Ground, registry: &str) -> String {
    format!(
        "data_dir: {}\n{registry}{}backends: [{{name: gpu, workers: [{{name: box, join_token_sha256: {}}}]}}]\n",
        ground.world.dir().join("data").display(),
        ground.attestation(""),
        digest(TOKEN),
    )
}

async fn up(gateway: &Gateway, is_up: u64) {
    count::until(gateway, r#"mulberry_upstream_up{upstream="gpu/box"}"#, is_up).await;
}

async fn ask(gateway: &Gateway) -> u16 {
    let url = format!("{}/v1/chat/completions", gateway.url());
    let body = json!({"model": "mock", "messages": [{"role": "user", "content": "hello"}]});
    Answer::of(send(request(&url, body.to_string())).await)
        .await
        .status
        .as_u16()
}

async fn standing(ground: &Ground, gateway: &Gateway) -> Value {
    let token = fs::read_to_string(ground.world.dir().join("data/admin.token")).expect("it was made");
    let url = format!("{}/admin/v1/registry", gateway.admin_url());
    let answer = Answer::of(send(client().get(url).bearer_auth(token.trim())).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Until somebody logged it.
async fn logged(log: impl Fn() -> String, what: &str) {
    assert!(
        e2e::wait::eventually(SOON, || log().contains(what)).await,
        "never {what}\n{}",
        log()
    );
}

fn images(names: &[&str]) -> Vec<Hex<32>> {
    names.iter().map(|name| Image::digest(&worker_image(name))).collect()
}

fn worker(ground: &Ground, gateway: &Gateway, engine: &str, image: &str, more: &[&str]) -> Worker {
    ground.worker_with(engine, image, &gateway.for_workers(), more)
}

#[tokio::test]
async fn what_owners_take_off_is_let_go_after_the_delay_and_what_they_add_is_not_let_in() {
    let chain = Chain::start();
    let ground = Ground::of(&["worker"]);
    // It lists an image that the operator's policy does not.
    let account = chain.open(&charter(&images(&["worker", "other"]), None)).await;
    let gateway = ground.world.gateway(&yaml(&ground, &section(&chain, account, "1h")));
    let mock = ground.world.mock(&[]);
    let _ours = worker(&ground, &gateway, &mock.url(), "worker", &[]);
    up(&gateway, 1).await;
    assert_eq!(ask(&gateway).await, 200);
    let other = worker(&ground, &gateway, &mock.url(), "other", &[]);
    logged(|| gateway.log(), "image_unknown").await;
    drop(other);
    let now = standing(&ground, &gateway).await;
    assert_eq!((&now["in_force"], &now["images"]), (&json!(true), &json!(2)), "{now}");

    chain.propose(account, &charter(&images(&["other"]), None)).await;
    count::until(&gateway, "mulberry_registry_pending", 1).await;
    assert_eq!(ask(&gateway).await, 200, "what is proposed does not hold yet");
    chain.apply(account).await;
    up(&gateway, 0).await;
    assert_ne!(ask(&gateway).await, 200);
    count::until(&gateway, "mulberry_registry_change", 2).await;

    chain.propose(account, &charter(&images(&["worker"]), None)).await;
    chain.apply(account).await;
    // The worker dials again by itself.
    up(&gateway, 1).await;
    assert_eq!(ask(&gateway).await, 200, "{}", gateway.log());
}

#[tokio::test]
async fn nobody_is_believed_before_the_registry_was_read_nor_long_after() {
    let mut chain = Chain::start();
    let ground = Ground::of(&["worker"]);
    let account = chain.open(&charter(&images(&["worker"]), None)).await;
    chain.goes_away();
    let gateway = ground.world.gateway(&yaml(&ground, &section(&chain, account, "2s")));
    let mock = ground.world.mock(&[]);
    let _ours = worker(&ground, &gateway, &mock.url(), "worker", &[]);
    logged(|| gateway.log(), "image_unknown").await;
    assert_eq!(standing(&ground, &gateway).await["in_force"], json!(false));
    assert_ne!(ask(&gateway).await, 200);
    chain.comes_back();
    up(&gateway, 1).await;
    count::until(&gateway, "mulberry_registry_in_force", 1).await;
    // What was read holds for a while, and no longer.
    chain.goes_away();
    up(&gateway, 0).await;
    count::until(&gateway, "mulberry_registry_in_force", 0).await;
    assert!(
        gateway.log().contains("no evidence is accepted until it is read"),
        "{}",
        gateway.log()
    );
    chain.comes_back();
    up(&gateway, 1).await;
}

#[tokio::test]
async fn an_earlier_state_is_refused_after_a_restart_too() {
    let (mut chain, mut past) = (Chain::start(), Chain::start());
    let ground = Ground::of(&["worker"]);
    let first = charter(&images(&["worker"]), None);
    let account = chain.open(&first).await;
    assert_eq!(
        past.open(&first).await,
        account,
        "its address follows from its first charter"
    );
    let written = yaml(&ground, &section(&chain, account, "1h"));
    let mut gateway = ground.world.gateway(&written);
    chain.propose(account, &charter(&[], None)).await;
    chain.apply(account).await;
    count::until(&gateway, "mulberry_registry_change", 2).await;
    // From here on the source shows what was before the change.
    chain.goes_away();
    past.goes_away();
    past.address = chain.address;
    past.comes_back();
    logged(|| gateway.log(), "at change 0, and change 2 was seen before").await;
    let mock = ground.world.mock(&[]);
    let ours = worker(&ground, &gateway, &mock.url(), "worker", &[]);
    logged(|| gateway.log(), "image_unknown").await;
    drop(ours);
    gateway.kill();
    let gateway = ground.world.gateway(&written);
    logged(|| gateway.log(), "at change 0, and change 2 was seen before").await;
    let now = standing(&ground, &gateway).await;
    assert_eq!((&now["change"], &now["images"]), (&json!(2), &json!(0)), "{now}");
    let _ours = worker(&ground, &gateway, &mock.url(), "worker", &[]);
    logged(|| gateway.log(), "image_unknown").await;
}

#[tokio::test]
async fn a_worker_names_weights_that_the_registry_lists() {
    let chain = Chain::start();
    let ground = Ground::of(&["worker"]);
    let account = chain.open(&charter(&images(&["worker"]), Some(&[[0xab; 32]]))).await;
    let gateway = ground.world.gateway(&yaml(&ground, &section(&chain, account, "1h")));
    let mock = ground.world.mock(&[]);
    let silent = worker(&ground, &gateway, &mock.url(), "worker", &[]);
    logged(|| gateway.log(), "the claims name no weights").await;
    drop(silent);
    let other = worker(
        &ground,
        &gateway,
        &mock.url(),
        "worker",
        &["--claim-models", &"ac".repeat(32)],
    );
    logged(
        || gateway.log(),
        &format!("the claims name the weights {}", "ac".repeat(32)),
    )
    .await;
    drop(other);
    let _ours = worker(
        &ground,
        &gateway,
        &mock.url(),
        "worker",
        &["--claim-models", &"ab".repeat(32)],
    );
    up(&gateway, 1).await;
    assert_eq!(ask(&gateway).await, 200, "{}", gateway.log());
}

/// What a request without a key is told that it must pay.
async fn offered(gateway: &Gateway) -> (Value, Value) {
    let url = format!("{}/v1/chat/completions", gateway.url());
    let body = json!({"model": "mock", "messages": [{"role": "user", "content": "hello"}]});
    let answer = send(
        client()
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string()),
    )
    .await;
    assert_eq!(answer.status(), 402);
    let header = answer.headers().get("payment-required").expect("it says how to pay");
    let offer = decoded(header.to_str().expect("it is text"));
    let extra = &offer["accepts"][0]["extra"];
    (extra["feeBps"].clone(), extra["feeDest"].clone())
}

#[tokio::test]
async fn the_fee_is_never_more_than_the_registry_allows() {
    let chain = Chain::start();
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    let account = chain.open(&charter(&[], None)).await;
    // What is asked, where it goes, what is offered: the registry allows 200 to FEE_DEST.
    for (number, (asked, dest, expect)) in [(500, FEE_DEST, 200), (150, FEE_DEST, 150), (500, PAYOUT, 0)]
        .into_iter()
        .enumerate()
    {
        let gateway = ground.world.gateway(&format!(
            "data_dir: {}\n{}backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n\
             models: [{{name: '*', routes: [{{backend: only}}], price: {{currency: TON, prompt: 1, completion: 2}}}}]\n\
             ledger: {{currency: TON, node: shop-{number}}}\n\
             payments: {{network: -217, chain: ['{}'], payout: '{}', fee_bps: {asked}, fee_dest: '{}'}}\n",
            ground.world.dir().join(format!("shop-{number}")).display(),
            section(&chain, account, "1h"),
            mock.url(),
            chain.url(),
            address::raw(&PAYOUT),
            address::raw(&dest),
        ));
        let (bps, to) = offered(&gateway).await;
        assert_eq!((bps, to), (json!(expect), json!(address::raw(&dest))), "for {asked}");
    }
}
