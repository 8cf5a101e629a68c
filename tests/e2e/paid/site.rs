//! The processes of both hops, in one world, and what their books say.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use billing::{
    Nano,
    channel::{Account, Network},
};
use billing_ton::{
    Chain as _,
    chain::Status,
    contract::{Remittance, State},
    toncenter::{Settings, Toncenter},
    transaction::{Happened, Inbound},
};
use e2e::client::send;
use e2e::process::{Process, mulberry};
use e2e::wait::SOON;
use e2e::{Answer, Connect, Gateway, Llama, Worker, World};
use reqwest::Method;
use serde_json::{Value, json};

use super::ask::{App, CLIENT, Price, WORKER};
use crate::attested::{Ground, TOKEN, digest};
use crate::channels::{PASSPHRASE, UNIT, document, succeed};
use crate::count;
use crate::watch::Chain;

const NETWORK: Network = Network(-217);
/// Where the gateway's earnings and its fee go, and the worker's. Accounts that nobody has.
pub(super) const PAYOUT: [&str; 2] = [
    "0:2222222222222222222222222222222222222222222222222222222222222222",
    "0:4444444444444444444444444444444444444444444444444444444444444444",
];
pub(super) const FEE: [&str; 2] = [
    "0:3333333333333333333333333333333333333333333333333333333333333333",
    "0:5555555555555555555555555555555555555555555555555555555555555555",
];
/// Of 10,000 parts.
pub(super) const FEE_BPS: [u64; 2] = [137, 253];
/// What the app's channel begins with.
pub(super) const DEPOSIT: u64 = 200 * UNIT;
/// For blocks, polls and the settler's own waits, on a busy machine.
const SETTLED: Duration = Duration::from_secs(90);
/// The most that is signed and not charged.
const EXPOSURE: &str = "0.4";

/// Waits until it holds.
pub(super) async fn until(what: &str, log: impl Fn() -> String, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SETTLED;
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}\n{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What makes the answers.
pub(super) enum Engine {
    Llama(Llama),
    Mock { process: Process, port: u16 },
}

impl Engine {
    pub(super) fn llama(world: &World) -> Self {
        Self::Llama(world.llama("chat", None))
    }

    pub(super) fn mock(world: &World) -> Self {
        let port = free();
        Self::Mock {
            process: mock(world, port),
            port,
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Llama(llama) => llama.url.clone(),
            Self::Mock { port, .. } => format!("http://127.0.0.1:{port}"),
        }
    }

    fn model(&self) -> &'static str {
        match self {
            Self::Llama(_) => "tiny-chat",
            Self::Mock { .. } => "mock",
        }
    }

    /// Ends it, and begins it again at the same address.
    fn again(&mut self, world: &World) {
        match self {
            Self::Llama(_) => panic!("only a mock is begun again"),
            Self::Mock { process, port } => {
                process.kill();
                *process = mock(world, *port);
            }
        }
    }
}

fn mock(world: &World, port: u16) -> Process {
    let mut command = Command::new(mulberry());
    command.args(["mock", "--listen", &format!("127.0.0.1:{port}")]);
    let process = Process::start(&mut command, "engine", world.dir());
    let listens = process
        .stdout()
        .wait_for(SOON, |text| text.contains("listening").then_some(()));
    assert!(listens.is_some(), "{}", process.stderr().text());
    process
}

/// A port that a process may have, and have again after a restart.
fn free() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// They end in this order.
pub(super) struct Site {
    pub(super) connect: Connect,
    pub(super) gateway: Gateway,
    pub(super) worker: Worker,
    pub(super) engine: Engine,
    pub(super) chain: Chain,
    /// The channel of the app.
    pub(super) front: String,
    yaml: String,
    pub(super) ground: Ground,
}

impl Site {
    /// With an open channel of the app's, and a worker that works on credit until it has one too.
    pub(super) async fn open(engine: impl FnOnce(&World) -> Engine) -> Self {
        Self::begin(engine, "wallet_file: gas.json\n  passphrase_file: passphrase\n  ").await
    }

    /// The same, and the gateway has no wallet to settle what the app pays.
    pub(super) async fn that_only_signs(engine: impl FnOnce(&World) -> Engine) -> Self {
        Self::begin(engine, "").await
    }

    async fn begin(engine: impl FnOnce(&World) -> Engine, settles: &str) -> Self {
        let ground = Ground::of(&["worker"]);
        let world = &ground.world;
        let engine = engine(world);
        let chain = Chain::start(world, "127.0.0.1:0");
        world.secret("passphrase", PASSPHRASE);
        std::fs::create_dir(world.dir().join("settlements")).expect("it is new");
        for wallet in ["mulberry/wallet.json", "gas.json", "wages.json", "watch.json"] {
            let made = document(world, &["wallet", "create", "--wallet", wallet]);
            chain.fund(made["raw"].as_str().expect("an address"), 2 * DEPOSIT);
        }
        let yaml = yaml(&ground, &chain, settles);
        let gateway = world.gateway(&yaml);
        let opened = [
            "channel",
            "open",
            "200",
            "--to",
            &gateway.url(),
            "--name",
            "work",
            "--yes",
            "--chain",
            &chain.url,
        ];
        document(world, &opened);
        let front = document(world, &["channel", "show", "work", "--chain", &chain.url]);
        let front = front["raw"].as_str().expect("an address").to_owned();
        let worker = begin_worker(&ground, &engine, &gateway, &chain);
        up(&gateway).await;
        let connect = begin_connect(world, &gateway, &chain);
        let site = Self {
            connect,
            gateway,
            worker,
            engine,
            chain,
            front,
            yaml,
            ground,
        };
        site.ready().await;
        site
    }

    pub(super) fn world(&self) -> &World {
        &self.ground.world
    }

    pub(super) fn app(&self) -> App {
        App::new(self.connect.url("/v1/chat/completions"), self.engine.model())
    }

    pub(super) fn logs(&self) -> String {
        let logs = [self.connect.log(), self.gateway.log(), self.worker.log()];
        logs.join("\n---\n")
    }

    /// Until a request would be served, and nothing is under way.
    pub(super) async fn ready(&self) {
        self.connect.stands("verified").await;
        up(&self.gateway).await;
        until(
            "the app's channel is open",
            || self.logs(),
            async || {
                let payment = self.payment().await;
                payment["standing"] == "open" && payment["requests"] == 0
            },
        )
        .await;
    }

    pub(super) fn kill_connect(&mut self) {
        self.connect.kill();
        self.connect = begin_connect(&self.ground.world, &self.gateway, &self.chain);
    }

    pub(super) fn kill_gateway(&mut self) {
        self.gateway.kill();
        self.gateway = self.ground.world.gateway(&self.yaml);
    }

    pub(super) fn kill_worker(&mut self) {
        self.worker.kill();
        self.worker = begin_worker(&self.ground, &self.engine, &self.gateway, &self.chain);
    }

    pub(super) fn kill_engine(&mut self) {
        self.engine.again(&self.ground.world);
    }

    pub(super) fn kill_chain(&mut self) {
        let there = self.chain.there().to_owned();
        self.chain.process.kill();
        self.chain = Chain::start(&self.ground.world, &there);
    }

    /// What `connect` says of its channel.
    pub(super) async fn payment(&self) -> Value {
        self.connect.status().await["payment"].clone()
    }

    pub(super) async fn operator(&self, method: Method, path: &str) -> Answer {
        let token = self.world().dir().join("data/admin.token");
        let token = std::fs::read_to_string(token).expect("it was made at the start");
        let url = format!("{}/admin/v1/{path}", self.gateway.admin_url());
        let request = e2e::client::client().request(method, url).bearer_auth(token.trim());
        Answer::of(send(request).await).await
    }

    /// What the gateway says of the app's channel.
    pub(super) async fn books(&self) -> Value {
        let answer = self.operator(Method::GET, &format!("channels/{}", self.front)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// What the gateway says of its worker.
    pub(super) async fn wage(&self) -> Value {
        let answer = self.operator(Method::GET, "wages").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"][0].clone()
    }

    pub(super) fn earnings(&self) -> PathBuf {
        self.world().dir().join("earnings")
    }

    /// What the worker says of itself, read as its owner does.
    pub(super) fn journal(&self) -> Value {
        let folder = self.earnings().display().to_string();
        document(self.world(), &["channel", "list", "--worker-folder", &folder])
    }

    /// Until `connect` and the gateway have the same, which they must when nothing is under way; what it is.
    pub(super) async fn front_agrees(&self) -> u64 {
        let mut both = (0, 1);
        until(
            "connect and gateway have the same",
            || self.logs(),
            async || {
                let payment = self.payment().await;
                both = (units(&payment["charged"]), gram(&self.books().await["spent"]));
                payment["requests"] == 0 && both.0 == both.1
            },
        )
        .await;
        both.0
    }

    /// Until the gateway and its worker have the same, all of it in the channel; what it is.
    pub(super) async fn back_agrees(&self) -> u64 {
        let mut both = (0, 1);
        let told = std::cell::RefCell::new(String::new());
        until(
            "gateway and worker have the same",
            || format!("{}\n{}", told.borrow(), self.logs()),
            async || {
                let (wage, journal) = (self.wage().await, self.journal());
                both = (gram(&wage["owed"]) + gram(&wage["channel"]["spent"]), earned(&journal));
                *told.borrow_mut() = format!("{wage}\n{journal}");
                both.0 == both.1 && journal["owed"] == json!([]) && wage["channel"]["phase"] == "open"
            },
        )
        .await;
        both.0
    }

    /// Ends everything as its owners would: both channels are settled to the last nanoton. What each hop came to.
    pub(super) async fn settle(&mut self) -> [u64; 2] {
        let front = self.front_agrees().await;
        self.connect.signal("TERM");
        assert!(self.connect.wait(SOON).await.success(), "{}", self.connect.log());
        assert_eq!(units(&self.command(&["show", "work"])["charged"]), front);
        assert_eq!(self.command(&["close", "work", "--yes"])["state"], "closed");
        let books = self.books().await;
        assert_eq!(
            (&books["stage"], gram(&books["spent"]), gram(&books["taken"])),
            (&json!("closed"), front, front),
            "{books}"
        );
        until(
            "the app's channel is no more",
            || self.logs(),
            async || self.claimed(&self.front).await.is_none(),
        )
        .await;

        let back = self.back_agrees().await;
        let wage = self.wage().await;
        assert_eq!(
            (&wage["quarantined"], gram(&wage["loss"])),
            (&json!(false), 0),
            "{wage}"
        );
        let channel = wage["channel"]["id"].as_str().expect("a channel").to_owned();
        let verified = self.operator(Method::POST, "ledger/verify").await;
        assert_eq!(verified.json()["ok"], true, "{}", verified.text());
        self.worker.signal("TERM");
        assert!(self.worker.wait(SOON).await.success(), "{}", self.worker.log());
        self.gateway.signal("TERM");
        assert!(self.gateway.wait(SOON).await.success(), "{}", self.gateway.log());
        self.cash(&channel, back).await;

        for (hop, (channel, total)) in [(self.front.clone(), front), (channel, back)].into_iter().enumerate() {
            let fee = total * FEE_BPS[hop] / 10_000;
            let paid = self.arrived(PAYOUT[hop], &channel).await;
            assert_eq!(
                (paid, self.arrived(FEE[hop], &channel).await),
                (total - fee, fee),
                "hop {hop}"
            );
        }
        [front, back]
    }

    /// The worker's owner takes all that vouchers cover, with neither process there.
    pub(super) async fn cash(&self, channel: &str, back: u64) {
        if self.claimed(channel).await != Some(back) {
            let folder = self.earnings().display().to_string();
            self.command(&["settle", "--worker-folder", &folder, "--yes"]);
        }
        assert_eq!(self.claimed(channel).await, Some(back), "every nanoton");
    }

    /// What `mulberry channel` says.
    pub(super) fn command(&self, arguments: &[&str]) -> Value {
        let arguments = [&["channel"], arguments, &["--chain", &self.chain.url]].concat();
        document(self.world(), &arguments)
    }

    /// The same in words.
    pub(super) fn told(&self, arguments: &[&str]) -> String {
        let arguments = [&["channel"], arguments, &["--chain", &self.chain.url]].concat();
        succeed(self.world(), &arguments)
    }

    fn source(&self) -> Toncenter {
        let settings = Settings {
            network: NETWORK,
            url: self.chain.url.clone(),
            api_key: None,
        };
        Toncenter::new(settings, None).expect("a URL of this machine")
    }

    /// What a channel's contract says of itself; `None` where there is none.
    pub(super) async fn state(&self, channel: &str) -> Option<State> {
        let account: Account = channel.parse().expect("a raw address");
        let state = self.source().account(account).await.expect("it answers");
        match &state.status {
            Status::Active { data, .. } => Some(State::decode_boc(data).expect("its state")),
            _ => None,
        }
    }

    /// What it paid out in all.
    pub(super) async fn claimed(&self, channel: &str) -> Option<u64> {
        Some(self.state(channel).await?.on_chain.claimed.get())
    }

    /// All that arrived at an account out of a channel that was taken from it, as payout or as fee.
    pub(super) async fn arrived(&self, at: &str, channel: &str) -> u64 {
        let remittances = self.remittances(at, channel).await.into_iter();
        let taken =
            remittances.filter(|(what, _)| matches!(what, Remittance::Payout { .. } | Remittance::FeePayout { .. }));
        taken.map(|(_, amount)| amount).sum()
    }

    /// What a channel sent to an account.
    pub(super) async fn remittances(&self, at: &str, channel: &str) -> Vec<(Remittance, u64)> {
        let account: Account = at.parse().expect("a raw address");
        let channel: Account = channel.parse().expect("a raw address");
        let history = self
            .source()
            .transactions(account, None, 5_000)
            .await
            .expect("it answers");
        let happened = history
            .iter()
            .map(|one| Happened::read(&account, one).expect("a transaction"));
        let inbound = happened.filter_map(|one| match one.inbound {
            Some(Inbound::Internal { from, amount, body, .. }) if from == channel => {
                Some((Remittance::decode(&body).ok()?, amount.get()))
            }
            _ => None,
        });
        inbound.collect()
    }

    /// The receipts of a request, as an administrator has them.
    pub(super) async fn receipts(&self, client: &reqwest::Client, token: &str, id: &str) -> Vec<Value> {
        let url = format!("{}/admin/v1/receipts/{id}", self.gateway.admin_url());
        let answer = Answer::of(send(client.get(url).bearer_auth(token)).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"].as_array().expect("a list").clone()
    }

    /// `mulberry verify`, which must find nothing wrong.
    pub(super) async fn verify(&self, receipts: &str) {
        let keys = Answer::of(e2e::client::get(&format!("{}/v1/receipts/keys", self.gateway.url())).await).await;
        let keys = self.world().file("keys.json", &keys.body);
        let receipts = self.world().file("receipts.json", receipts);
        let mut command = Command::new(mulberry());
        command.arg("verify").arg(receipts).arg("--keys").arg(keys);
        let output = command.stdin(Stdio::null()).output().expect("the binary starts");
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The same processes, and nobody pays anybody: the app has a key, and the worker asks for nothing. What `bob` asks is
/// charged in the ledger.
pub(super) struct Unpaid {
    pub(super) connect: Connect,
    pub(super) gateway: Gateway,
    pub(super) worker: Worker,
    engine: Engine,
    _ground: Ground,
}

impl Unpaid {
    pub(super) async fn open() -> Self {
        let ground = Ground::of(&["worker"]);
        let world = &ground.world;
        let engine = Engine::mock(world);
        let gateway = world.gateway(&format!(
            "attested_listen: 127.0.0.1:0\n{}\
             backends: [{{name: gpu, workers: [{{name: box, join_token_sha256: {}}}]}}]\n\
             keys: [{{name: alice, secret: sk-alice}}, {{name: bob, secret: sk-bob, budget: {{total: 1000}}}}]\n\
             models: [{{name: '*', routes: [{{backend: gpu}}], price: {}}}]\n\
             ledger: {{currency: TON, node: unpaid-1}}\n",
            ground.attestation(""),
            digest(TOKEN),
            price(),
        ));
        let worker = ground.worker_with(&engine.url(), "worker", &gateway.for_workers(), &[]);
        up(&gateway).await;
        let (address, key) = gateway.for_connect();
        let connect = world.connect(&["--gateway", &format!("{key}@{address}")]);
        connect.stands("verified").await;
        Self {
            connect,
            gateway,
            worker,
            engine,
            _ground: ground,
        }
    }

    pub(super) fn app(&self, key: &'static str) -> App {
        let app = App::new(self.connect.url("/v1/chat/completions"), self.engine.model());
        app.with_key(key)
    }
}

/// What the app is charged, as the gateway's file says it.
fn price() -> String {
    let Price {
        prompt,
        completion,
        request,
    } = CLIENT;
    let amount = |nano: u64| Nano::saturating(nano).to_string();
    format!(
        "{{currency: TON, prompt: {}, completion: {}, request: {}}}",
        amount(prompt),
        amount(completion),
        amount(request)
    )
}

fn begin_connect(world: &World, gateway: &Gateway, chain: &Chain) -> Connect {
    let (address, key) = gateway.for_connect();
    let file = |name: &str| world.dir().join(name).display().to_string();
    world.connect(&[
        "--gateway",
        &format!("{key}@{address}"),
        "--pay",
        "work",
        "--chain",
        &chain.url,
        "--passphrase-file",
        &file("passphrase"),
        "--channels",
        &file("mulberry/channels"),
        "--budget-day",
        "200",
        "--exposure",
        EXPOSURE,
        "--window",
        "0.1",
    ])
}

fn begin_worker(ground: &Ground, engine: &Engine, gateway: &Gateway, chain: &Chain) -> Worker {
    let earnings = ground.world.dir().join("earnings").display().to_string();
    let amount = |nano: u64| Nano::saturating(nano).to_string();
    let flags = [
        "--payout",
        PAYOUT[1],
        "--price-prompt",
        &amount(WORKER.prompt),
        "--price-completion",
        &amount(WORKER.completion),
        "--price-request",
        &amount(WORKER.request),
        "--fee-bps",
        &FEE_BPS[1].to_string(),
        "--fee-dest",
        FEE[1],
        "--network=-217",
        "--chain",
        &chain.url,
        "--chain-every",
        "200ms",
        "--settle-above",
        "0.1",
        "--min-close-delay",
        "1h",
        "--earnings",
        &earnings,
    ];
    ground.worker_with(&engine.url(), "worker", &gateway.for_workers(), &flags)
}

async fn up(gateway: &Gateway) {
    count::until(gateway, r#"mulberry_upstream_up{upstream="gpu/box"}"#, 1).await;
}

/// A gateway that is paid by the app, pays its worker, and has a wallet for each; at the same ports after a restart.
fn yaml(ground: &Ground, chain: &Chain, settles: &str) -> String {
    let world = &ground.world;
    let file = |name: &str| world.dir().join(name).display().to_string();
    let attestation = ground.attestation("").replace(
        "worker_listen: 127.0.0.1:0",
        &format!("worker_listen: 127.0.0.1:{}", free()),
    );
    format!(
        "data_dir: {data}\n\
         listen: 127.0.0.1:{listen}\n\
         attested_listen: 127.0.0.1:{connect}\n\
         {attestation}\
         backends: [{{name: gpu, workers: [{{name: box, join_token_sha256: {token}}}]}}]\n\
         keys: [{{name: alice, secret: sk-alice}}]\n\
         models: [{{name: '*', routes: [{{backend: gpu}}], price: {price}}}]\n\
         ledger: {{currency: TON, node: paid-1}}\n\
         payments:\n  network: -217\n  chain: ['{chain}']\n  payout: '{payout}'\n  follow: 200ms\n  \
         min_close_delay: 1h\n  two_sources_above: 1000\n  fee_bps: {fee_bps}\n  fee_dest: '{fee}'\n  settle: {{above: 0.2}}\n  \
         {settles}watch: {settlements}\n\
         workers:\n  pay:\n    network: -217\n    chain: ['{chain}']\n    follow: 200ms\n    wallet_file: {wages}\n    \
         passphrase_file: {passphrase}\n    deposit: 1\n    top_up_below: 0.4\n    exposure_cap: 0.2\n    window: 0.1\n    \
         open_above: 0.02\n    matures_after: 200ms\n    settle_least: 0.05\n",
        data = file("data"),
        listen = free(),
        connect = free(),
        token = digest(TOKEN),
        price = price(),
        chain = chain.url,
        payout = PAYOUT[0],
        fee_bps = FEE_BPS[0],
        fee = FEE[0],
        wages = file("wages.json"),
        passphrase = file("passphrase"),
        settlements = file("settlements"),
    )
}

/// Nanoton, as documents of commands have them.
pub(super) fn units(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no amount"))
}

/// An amount as people write it, in nanoton; 0 where there is none.
pub(super) fn gram(value: &Value) -> u64 {
    match value.as_str() {
        Some(text) => text.parse::<Nano>().expect("an amount").get(),
        None => 0,
    }
}

/// All that a worker's journal says it has earned.
pub(super) fn earned(journal: &Value) -> u64 {
    let of = |list: &Value, name: &str| -> u64 {
        let items = list.as_array().expect("a list").iter();
        items.map(|item| item[name].as_u64().unwrap_or_default()).sum()
    };
    of(&journal["channels"], "earned") + of(&journal["owed"], "owed")
}
