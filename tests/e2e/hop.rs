//! The back hop: a gateway that pays its workers over channels, as real processes on a simulated chain.

mod broke;

use std::{fs, net::TcpListener as Port, time::Duration};

use billing::{
    Nano, Tariff, Usage,
    channel::{Account, Blob, ChannelId, Network, Signer, Take},
};
use billing_ton::{Chain as _, address, chain::Status, contract::State};
use billing_ton_sim::{DEVELOPMENT, Settings, Simulated};
use e2e::client::{client, request, send};
use e2e::{Answer, Gateway, Mock, Worker};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    attested::{Ground, TOKEN, digest},
    channels::{PASSPHRASE, document, succeed},
    count,
    payments::payer::front,
};

const NETWORK: Network = DEVELOPMENT;
/// Where what the worker earns goes: an account that nobody has, and that no coins are in.
const PAYOUT: &str = "0:4444444444444444444444444444444444444444444444444444444444444444";
/// For blocks, polls and the settler's own waits, on a busy machine.
const SETTLED: Duration = Duration::from_secs(90);
/// What the workers here ask: in nanoton for a million tokens, and for a request.
const PRICE: Tariff = Tariff {
    prompt: 10_000_000_000,
    cached: 10_000_000_000,
    completion: 20_000_000_000,
    reasoning: 20_000_000_000,
    request: 5_000_000,
    minimum: 0,
};

/// A chain of its own, with toncenter's API.
struct Chain {
    url: String,
    chain: Simulated,
}

impl Chain {
    fn start() -> Self {
        let chain = Simulated::in_memory(Settings::for_development()).expect("a chain can be made");
        let url = format!("http://{}/api/v2", front(chain.clone()));
        Self { url, chain }
    }

    /// What the contract says of itself; `None` where there is none.
    async fn state(&self, channel: &str) -> Option<State> {
        let account: Account = channel.parse().expect("a raw address");
        let state = self.chain.account(account).await.expect("it answers");
        match &state.status {
            Status::Active { data, .. } => Some(State::decode_boc(data).expect("its state")),
            _ => None,
        }
    }

    /// What it paid out.
    async fn claimed(&self, channel: &str) -> Option<u64> {
        Some(self.state(channel).await?.on_chain.claimed.get())
    }

    async fn balance(&self, account: &str) -> u128 {
        let account: Account = account.parse().expect("a raw address");
        self.chain.account(account).await.expect("it answers").balance
    }
}

/// Waits until it holds.
async fn until(what: &str, log: impl Fn() -> String, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + SETTLED;
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}\n{}", log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A gateway that pays, and a mock for an engine. They end in this order.
struct Site {
    gateway: Gateway,
    yaml: String,
    mock: Mock,
    chain: Chain,
    ground: Ground,
    /// What the worker has earned by the answers' own word.
    earned: u64,
}

impl Site {
    /// `workers`: the list of the backend; `pay`: more of that section.
    async fn open(workers: &str, pay: &str) -> Self {
        Self::with_coins(workers, pay, 50 * Nano::UNIT).await
    }

    /// The same, with so much in the wallet that workers are paid from.
    async fn with_coins(workers: &str, pay: &str, coins: u64) -> Self {
        let chain = Chain::start();
        let ground = Ground::of(&["worker"]);
        let world = &ground.world;
        let made = document(world, &["wallet", "create"]);
        let wallet = address::parse(made["address"].as_str().expect("an address"), NETWORK).expect("one of ours");
        if coins > 0 {
            let coins = Nano::saturating(coins);
            chain.chain.fund(wallet, coins).expect("it is not halted");
        }
        let mock = world.mock(&[]);
        // The same after a restart: the worker dials it again.
        let free = Port::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let attestation = ground.attestation("");
        let attestation = attestation.replace(
            "worker_listen: 127.0.0.1:0",
            &format!("worker_listen: 127.0.0.1:{port}"),
        );
        let yaml = format!(
            "data_dir: {}\n{attestation}\
             backends: [{{name: gpu, workers: [{workers}]}}]\n\
             keys: [{{name: alice, secret: sk-alice, budget: {{total: 1000}}}}]\n\
             models: [{{name: '*', routes: [{{backend: gpu}}], price: {{currency: TON, prompt: 20, completion: 40, request: 0.01}}}}]\n\
             ledger: {{currency: TON, node: hop-1}}\n\
             workers:\n  pay:\n    network: -217\n    chain: ['{}']\n    follow: 200ms\n    wallet_file: {}\n    \
             passphrase_file: {}\n    deposit: 1\n    top_up_below: 0.3\n    exposure_cap: 0.2\n    window: 0.1\n    \
             open_above: 0.02\n    matures_after: 200ms\n    settle_least: 0.02\n{pay}",
            world.dir().join("data").display(),
            chain.url,
            world.dir().join("mulberry/wallet.json").display(),
            world.secret("passphrase", PASSPHRASE).display(),
        );
        Self {
            gateway: world.gateway(&yaml),
            yaml,
            mock,
            chain,
            ground,
            earned: 0,
        }
    }

    async fn attested(pay: &str) -> Self {
        let token = digest(TOKEN);
        Self::open(&format!("{{name: box, join_token_sha256: {token}}}"), pay).await
    }

    fn flags(&self) -> Vec<String> {
        let flags = [
            "--payout",
            PAYOUT,
            "--price-prompt",
            "10",
            "--price-completion",
            "20",
            "--price-request",
            "0.005",
            "--network=-217",
            "--chain",
            &self.chain.url,
            "--chain-every",
            "200ms",
            "--settle-above",
            "0.03",
            "--min-close-delay",
            "1h",
            "--earnings",
        ];
        let folder = self.ground.world.dir().join("earnings").display().to_string();
        flags.iter().map(|flag| (*flag).to_owned()).chain([folder]).collect()
    }

    async fn worker(&self) -> Worker {
        let flags = self.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let worker = self
            .ground
            .worker_with(&self.mock.url(), "worker", &self.gateway.for_workers(), &flags);
        self.up().await;
        worker
    }

    async fn up(&self) {
        count::until(&self.gateway, r#"mulberry_upstream_up{upstream="gpu/box"}"#, 1).await;
    }

    async fn ask(&mut self, is_stream: bool) -> Answer {
        let body = json!({"model": "mock", "max_tokens": 50, "stream": is_stream,
            "stream_options": is_stream.then(|| json!({"include_usage": true})),
            "messages": [{"role": "user", "content": "What is the colour of a ripe mulberry?"}]});
        let url = format!("{}/v1/chat/completions", self.gateway.url());
        let asked = request(&url, body.to_string()).bearer_auth("sk-alice");
        let answer = Answer::of(send(asked).await).await;
        if answer.status == 200 {
            self.earned += PRICE.cost(&usage(&answer, is_stream)).get();
        }
        answer
    }

    async fn serve(&mut self, requests: usize) {
        for number in 0..requests {
            let answer = self.ask(number % 2 == 1).await;
            assert_eq!(answer.status, 200, "{}\n{}", answer.text(), self.gateway.log());
        }
    }

    /// What an administrator sees of the one worker.
    async fn wage(&self) -> Value {
        let answer = self.admin(Method::GET, "wages").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["data"][0].clone()
    }

    async fn admin(&self, method: Method, path: &str) -> Answer {
        let token = fs::read_to_string(self.ground.world.dir().join("data/admin.token")).expect("it was made");
        let url = format!("{}/admin/v1/{path}", self.gateway.admin_url());
        Answer::of(send(client().request(method, url).bearer_auth(token.trim())).await).await
    }

    /// What the gateway's records say that the worker has earned, request by request, and what of it in a channel.
    async fn recorded(&self) -> (u64, u64) {
        let answer = self.admin(Method::GET, "requests?limit=1000").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let records = answer["data"].as_array().expect("a list");
        let wages = records.iter().map(|record| &record["wage"]);
        let channeled = wages.clone().filter(|wage| wage["channel"].is_string());
        for wage in channeled.clone() {
            assert!(amount(&wage["voucher_max"]) >= amount(&wage["amount"]), "{wage}");
        }
        let sum = |amounts: &mut dyn Iterator<Item = u64>| amounts.sum();
        (
            sum(&mut wages.map(|wage| amount(&wage["amount"]))),
            sum(&mut channeled.map(|wage| amount(&wage["amount"]))),
        )
    }

    /// What the gateway says that the worker has earned.
    async fn owed(&self) -> u64 {
        let wage = self.wage().await;
        amount(&wage["owed"]) + amount(&wage["channel"]["spent"])
    }

    async fn channel(&self) -> String {
        self.wage().await["channel"]["id"]
            .as_str()
            .expect("a channel")
            .to_owned()
    }

    /// Until the gateway has a channel to its worker that is open.
    async fn opened(&self, log: impl Fn() -> String) {
        until("the channel is open", log, async || {
            self.wage().await["channel"]["phase"] == "open"
        })
        .await;
    }

    /// The worker's own books, read as its owner does.
    fn books(&self) -> Value {
        let folder = self.ground.world.dir().join("earnings").display().to_string();
        document(&self.ground.world, &["channel", "list", "--worker-folder", &folder])
    }
}

fn usage(answer: &Answer, is_stream: bool) -> Usage {
    let text = answer.text();
    let said: Value = if is_stream {
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut chunks = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let last = chunks.rfind(|chunk| chunk["usage"].is_object());
        last.unwrap_or_else(|| panic!("no usage in {text}"))
    } else {
        answer.json()
    };
    let count = |value: &Value| value.as_u64().unwrap_or_default();
    let usage = &said["usage"];
    Usage::from_totals(
        count(&usage["prompt_tokens"]),
        count(&usage["prompt_tokens_details"]["cached_tokens"]),
        count(&usage["completion_tokens"]),
        count(&usage["completion_tokens_details"]["reasoning_tokens"]),
    )
}

/// In nanoton, of what is written in GRAM (TON).
fn amount(value: &Value) -> u64 {
    match value.as_str() {
        Some(text) => text.parse::<Nano>().expect("an amount").get(),
        None => 0,
    }
}

fn sum(books: &Value) -> u64 {
    let of = |list: &Value, name: &str| -> u64 {
        let items = list.as_array().expect("a list");
        items.iter().map(|item| item[name].as_u64().unwrap_or_default()).sum()
    };
    of(&books["channels"], "earned") + of(&books["owed"], "owed")
}

#[tokio::test]
async fn a_worker_without_coins_is_paid_to_the_nanoton_and_cashes_the_rest_when_the_gateway_is_gone() {
    let mut site = Site::attested("").await;
    let mut worker = site.worker().await;
    // On credit at first; a channel follows what was earned.
    site.serve(10).await;
    let logs = |site: &Site, worker: &Worker| format!("{}\n---\n{}", site.gateway.log(), worker.log());
    site.opened(|| logs(&site, &worker)).await;
    site.serve(20).await;
    let channel = site.channel().await;
    // The gateway pays the gas of what the worker takes.
    until(
        "the gateway settles",
        || logs(&site, &worker),
        async || {
            site.chain
                .claimed(&channel)
                .await
                .is_some_and(|claimed| claimed >= 30_000_000)
        },
    )
    .await;
    until(
        "both books say the same",
        || logs(&site, &worker),
        async || {
            let books = site.books();
            books["owed"] == json!([]) && sum(&books) == site.earned && site.owed().await == site.earned
        },
    )
    .await;
    until(
        "the records say the same",
        || logs(&site, &worker),
        async || {
            let (all, channeled) = site.recorded().await;
            all == site.earned && channeled > 0 && channeled < all
        },
    )
    .await;
    // What an operator sees of it, on the command line.
    let config = site.ground.world.file(
        "operator.yaml",
        format!(
            "{}admin_listen: {}\n",
            site.yaml,
            site.gateway.admin_url().trim_start_matches("http://")
        ),
    );
    let config = config.display().to_string();
    let listed = document(&site.ground.world, &["channel", "list", "--gateway-config", &config]);
    let listed = &listed["data"][0];
    assert_eq!(listed["channel"]["id"], json!(channel), "{listed}");
    assert!(listed["channel"]["at_risk"].is_string(), "{listed}");
    let said = succeed(&site.ground.world, &["channel", "list", "--gateway-config", &config]);
    assert!(said.contains("gpu/box") && said.contains(&channel), "{said}");
    until(
        "what it claims is at its address",
        || logs(&site, &worker),
        async || {
            let claimed = site.chain.claimed(&channel).await.expect("it is open");
            site.chain.balance(PAYOUT).await == u128::from(claimed)
        },
    )
    .await;
    // Something is left that the worker has not signed yet, and all that it signed is settled.
    let mut left = 0;
    for _ in 0..20 {
        site.serve(1).await;
        until(
            "both books say the same",
            || logs(&site, &worker),
            async || sum(&site.books()) == site.earned && site.owed().await == site.earned,
        )
        .await;
        until(
            "what the worker signed is settled",
            || logs(&site, &worker),
            async || {
                let claimed = site.chain.claimed(&channel).await.expect("it is open");
                site.earned - claimed < 30_000_000
            },
        )
        .await;
        left = site.earned - site.chain.claimed(&channel).await.expect("it is open");
        if left > 0 {
            break;
        }
    }
    assert!(left > 0, "{}", logs(&site, &worker));
    // The gateway is gone for good, and then the worker: what vouchers cover is taken by its owner's hand.
    site.gateway.kill();
    worker.kill();
    let folder = site.ground.world.dir().join("earnings").display().to_string();
    let settled = told_at(&site, &["channel", "settle", "--worker-folder", &folder, "--yes"]);
    assert!(settled.contains("paid"), "{settled}");
    assert_eq!(site.chain.claimed(&channel).await, Some(site.earned), "every nanoton");
    // The account pays a nanoton or two of rent for itself.
    let rent = u128::from(site.earned) - site.chain.balance(PAYOUT).await;
    assert!(rent <= 10, "{rent}");
}

/// A command of the worker's owner, who has a wallet with coins: that of the test's world.
fn told_at(site: &Site, arguments: &[&str]) -> String {
    let chain = ["--chain", site.chain.url.as_str(), "--network=-217", "--output", "json"];
    succeed(&site.ground.world, &[arguments, &chain].concat())
}

#[tokio::test]
async fn a_worker_that_proves_nothing_works_on_credit_and_is_paid_what_has_matured() {
    let world = e2e::World::new();
    let key = world.worker_key("box");
    let mut site = Site::open(&format!("{{name: box, key_sha256: {}}}", key.sha256), "").await;
    let flags = site.flags();
    let gateway = site.gateway.for_workers();
    let flags: Vec<&str> = ["--gateway", &gateway]
        .into_iter()
        .chain(flags.iter().map(String::as_str))
        .collect();
    let worker = world.worker(&key, &site.mock.url(), &flags);
    site.up().await;
    site.serve(10).await;
    let logs = || format!("{}\n---\n{}", site.gateway.log(), worker.log());
    site.opened(logs).await;
    until("the voucher covers what was earned, and no more", logs, async || {
        let wage = site.wage().await;
        amount(&wage["channel"]["voucher_max"]) == site.earned && amount(&wage["owed"]) == 0
    })
    .await;
    let channel = site.channel().await;
    until("it is settled", logs, async || {
        site.chain
            .claimed(&channel)
            .await
            .is_some_and(|claimed| claimed >= 30_000_000)
    })
    .await;
    until("both books say the same", logs, async || {
        sum(&site.books()) == site.earned
    })
    .await;
}

#[tokio::test]
async fn either_end_is_killed_under_load_and_both_books_agree_again() {
    let mut site = Site::attested("").await;
    let mut worker = site.worker().await;
    site.serve(10).await;
    site.opened(|| format!("{}\n---\n{}", site.gateway.log(), worker.log()))
        .await;
    let mut delivered = site.earned;
    for round in 0..5 {
        let url = format!("{}/v1/chat/completions", site.gateway.url());
        let asking: Vec<_> = (0..12)
            .map(|_| {
                let body =
                    json!({"model": "mock", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]});
                let asked = request(&url, body.to_string()).bearer_auth("sk-alice");
                tokio::spawn(async move { asked.send().await.is_ok_and(|answer| answer.status() == 200) })
            })
            .collect();
        if round % 2 == 0 {
            site.gateway.kill();
            site.gateway = site.ground.world.gateway(&site.yaml);
        } else {
            worker.kill();
            worker = site.worker().await;
        }
        for asked in asking {
            if asked.await.expect("it does not panic") {
                delivered += PRICE.request;
            }
        }
        site.up().await;
        site.serve(4).await;
    }
    let logs = || format!("{}\n---\n{}", site.gateway.log(), worker.log());
    until("both books say the same", logs, async || {
        let (books, wage) = (site.books(), site.wage().await);
        sum(&books) == site.owed().await && wage["channel"]["phase"] == "open" && books["owed"] == json!([])
    })
    .await;
    // The voucher is on the worker's disk a moment after it was signed.
    until("what was earned is covered", logs, async || {
        let channel = &site.books()["channels"][0];
        channel["voucher_max"].as_u64() >= channel["earned"].as_u64()
    })
    .await;
    let wage = site.wage().await;
    assert_eq!(
        (&wage["quarantined"], amount(&wage["loss"])),
        (&json!(false), 0),
        "{}",
        logs()
    );
    // What was under way when somebody was killed is all that may be missing.
    let most_in_flight = 5 * 12 * (PRICE.request + 2_000_000);
    assert!(site.owed().await + most_in_flight >= delivered, "{wage}");
    let channel = site.channel().await;
    let total = site.owed().await;
    let wage = site.wage().await;
    site.gateway.kill();
    worker.kill();
    let folder = site.ground.world.dir().join("earnings").display().to_string();
    told_at(&site, &["channel", "settle", "--worker-folder", &folder, "--yes"]);
    let claimed = site.chain.claimed(&channel).await;
    assert_eq!(claimed, Some(total), "every nanoton: {wage} {}", site.books());
}

#[tokio::test]
async fn a_worker_that_takes_all_that_was_signed_gains_no_more_than_the_cap_and_is_quarantined() {
    let mut site = Site::attested("    tolerance: 0.01\n").await;
    let mut worker = site.worker().await;
    site.serve(10).await;
    let log = |site: &Site, worker: &Worker| format!("{}\n---\n{}", site.gateway.log(), worker.log());
    site.opened(|| log(&site, &worker)).await;
    site.serve(10).await;
    let channel = site.channel().await;
    until(
        "the worker has signed a take",
        || log(&site, &worker),
        async || site.chain.claimed(&channel).await.is_some_and(|claimed| claimed > 0),
    )
    .await;
    // With its own key, for the voucher that was signed ahead of its work.
    let world = &site.ground.world;
    let folder = world.dir().join("earnings");
    let exported = told_at(
        &site,
        &["channel", "export", "--worker-folder", &folder.display().to_string()],
    );
    let mut blob: Blob = serde_json::from_str(&exported).expect("a settlement");
    let max = blob.voucher.expect("a voucher").max;
    let seed = fs::read_to_string(folder.join("payee.key")).expect("its key");
    let seed = billing::receipt::from_hex(seed.trim()).expect("a seed");
    let signer = Signer::from_seed(&seed).expect("a seed");
    let state = site.chain.state(&channel).await.expect("it is open");
    let id = ChannelId {
        network: NETWORK,
        account: channel.parse().expect("a raw address"),
    };
    blob.take = Take::sign(&signer, &state.keys, &id, max).expect("its key").claim();
    world.file("theft.json", serde_json::to_string(&blob).expect("JSON"));
    let thief = document(world, &["wallet", "create", "--wallet", "thief.json"]);
    let thief = address::parse(thief["address"].as_str().expect("an address"), NETWORK).expect("one of ours");
    site.chain
        .chain
        .fund(thief, Nano::saturating(Nano::UNIT))
        .expect("it is not halted");
    told_at(
        &site,
        &["channel", "settle", "theft.json", "--wallet", "thief.json", "--yes"],
    );
    until(
        "it is quarantined",
        || log(&site, &worker),
        async || site.wage().await["quarantined"] == true,
    )
    .await;
    let wage = site.wage().await;
    let (loss, cap) = (amount(&wage["loss"]), 200_000_000);
    assert!(loss > 0 && loss <= cap, "{wage}");
    assert_eq!(site.chain.claimed(&channel).await, Some(site.earned + loss), "{wage}");
    // No request goes there, nobody stops, and the rest is asked back.
    let refused = site.ask(false).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    until(
        "the contract is asked to close",
        || log(&site, &worker),
        async || {
            site.chain
                .state(&channel)
                .await
                .is_some_and(|state| state.on_chain.close_at.is_some())
        },
    )
    .await;
    // It comes back under another address, and is known; also by a gateway that has started anew.
    worker.kill();
    site.gateway.kill();
    site.gateway = site.ground.world.gateway(&site.yaml);
    let flags = site.flags().join(" ").replace(PAYOUT, &PAYOUT.replace('4', "5"));
    let flags: Vec<&str> = flags.split(' ').collect();
    let gateway = site.gateway.for_workers();
    let worker = site.ground.worker_with(&site.mock.url(), "worker", &gateway, &flags);
    until(
        "it offers its work",
        || log(&site, &worker),
        async || site.gateway.log().contains("a worker is quarantined"),
    )
    .await;
    site.up().await;
    let refused = site.ask(false).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    // A person lifts it.
    let thief = wage["id"].as_str().expect("an id");
    let lifted = site.admin(Method::POST, &format!("wages/{thief}/lift")).await;
    assert_eq!(lifted.json()["quarantined"], false, "{}", lifted.text());
    let served = site.ask(false).await;
    assert_eq!(served.status, 200, "{}", served.text());
    let unknown = site
        .admin(Method::POST, &format!("wages/{}/lift", "0".repeat(64)))
        .await;
    assert_eq!(unknown.status, 404, "{}", unknown.text());
}
