//! `mulberry connect --pay`: an app without a key, its sidecar, a gateway and the chain's front, and `mulberry channel`
//! before and after. All but the chain are processes.

use std::fs;
use std::time::Duration;

use billing::Nano;
use e2e::client::{client, send};
use e2e::wait::SOON;
use e2e::{Answer, Connect, Gateway, Mock, World};
use reqwest::Method;
use serde_json::Value;
use tokio::task::{JoinSet, block_in_place};

use super::nano;
use super::payer::{Chain, PAYOUT, until};
use crate::channels::{PASSPHRASE, UNIT, document, succeed};
use crate::flow::Flow;

/// More than a request for 40 tokens may cost: its ceiling is about 0.0004 GRAM.
const CEILING: u64 = 500_000;

fn chat(model: &str, max_tokens: u32, stream: bool) -> String {
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"Say hello"}}],"max_tokens":{max_tokens},"stream":{stream}}}"#
    )
}

/// They end in this order.
struct Site {
    gateway: Gateway,
    chain: Chain,
    yaml: String,
    world: World,
    _mock: Mock,
}

impl Site {
    /// With an open channel that has so much, and a gateway that knows nothing of it.
    async fn new(deposit: &str) -> Self {
        let chain = Chain::start().await;
        let world = World::new();
        let mock = world.mock(&[]);
        let yaml = format!(
            "data_dir: {}\n\
             attested_listen: 127.0.0.1:0\n\
             keys: [{{name: alice, secret: sk-alice}}]\n\
             backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n\
             models: [{{name: '*', routes: [{{backend: only}}], price: {{currency: TON, prompt: 1, completion: 2}}}}]\n\
             ledger: {{currency: TON, node: shop-1}}\n\
             payments: {{network: -217, chain: ['{}/api/v2'], payout: '{PAYOUT}', follow: 200ms, min_close_delay: 1h}}\n",
            world.dir().join("data").display(),
            mock.url(),
            chain.url,
        );
        let gateway = world.gateway(&yaml);
        let (address, _) = gateway.for_connect();
        world.secret("passphrase", PASSPHRASE);
        let site = Self {
            yaml: yaml.replace("attested_listen: 127.0.0.1:0", &format!("attested_listen: {address}")),
            gateway,
            chain,
            world,
            _mock: mock,
        };
        let wallet = block_in_place(|| document(&site.world, &["wallet", "create"]));
        let wallet = wallet["raw"].as_str().expect("an address").parse().expect("an address");
        site.chain.fund(wallet, 20 * UNIT).await;
        site.command(&["open", deposit, "--to", &site.gateway.url(), "--name", "work", "--yes"]);
        site
    }

    /// What `mulberry channel` says.
    fn command(&self, arguments: &[&str]) -> Value {
        let chain = format!("{}/api/v2", self.chain.url);
        let arguments = [&["channel"], arguments, &["--chain", &chain]].concat();
        block_in_place(|| document(&self.world, &arguments))
    }

    /// What each of its commands is told.
    fn flags(&self) -> [String; 9] {
        let (address, key) = self.gateway.for_connect();
        let file = |name: &str| self.world.dir().join(name).display().to_string();
        [
            "--gateway".to_owned(),
            format!("{key}@{address}"),
            "--pay".to_owned(),
            "--chain".to_owned(),
            format!("{}/api/v2", self.chain.url),
            "--passphrase-file".to_owned(),
            file("passphrase"),
            "--channels".to_owned(),
            file("mulberry/channels"),
        ]
    }

    fn begin(&self, flags: &[&str]) -> Connect {
        let always = self.flags();
        let always = always.each_ref().map(String::as_str);
        self.world.connect(&[&always, flags].concat())
    }

    async fn connect(&self, flags: &[&str]) -> Connect {
        let connect = self.begin(flags);
        connect.stands("verified").await;
        pays(&connect).await;
        connect
    }

    /// The gateway's books of the channel.
    async fn books(&self) -> Value {
        let listed = self.operator(Method::GET, "channels").await.json();
        let id = listed["data"][0]["id"].as_str().unwrap_or_default().to_owned();
        self.operator(Method::GET, &format!("channels/{id}")).await.json()
    }

    async fn operator(&self, method: Method, path: &str) -> Answer {
        let token = fs::read_to_string(self.world.dir().join("data/admin.token")).expect("it was made at the start");
        let url = format!("{}/admin/v1/{path}", self.gateway.admin_url());
        Answer::of(send(client().request(method, url).bearer_auth(token.trim())).await).await
    }

    /// The gateway's last take, handed to the contract; what it was.
    async fn close(&self) -> u64 {
        let id = self.books().await["id"].as_str().expect("a channel").to_owned();
        let mut closed = Value::Null;
        until("the gateway signs its last take", async || {
            let answer = self.operator(Method::POST, &format!("channels/{id}/close")).await;
            closed = answer.json();
            answer.status == 200
        })
        .await;
        self.world.file("last.json", closed["settlement"].to_string());
        let settled = self.command(&["settle", "last.json", "--yes"]);
        assert_eq!(settled["closed"], true);
        units(&settled["paid"])
    }
}

async fn payment(connect: &Connect) -> Value {
    connect.status().await["payment"].clone()
}

/// Waits until it can pay.
async fn pays(connect: &Connect) -> Value {
    let mut now = Value::Null;
    until(&format!("the channel is open: {}", connect.log()), async || {
        now = payment(connect).await;
        now["standing"] == "open" && now["requests"] == 0
    })
    .await;
    now
}

/// Waits until both books have the same, which they must when nothing is under way.
async fn agree(site: &Site, connect: &Connect) -> u64 {
    agree_on_more(site, connect, None).await
}

/// The same, of what was charged since: a charge may come a moment after the end of its answer.
async fn agree_on_more(site: &Site, connect: &Connect, than: Option<u64>) -> u64 {
    let mut both = (0, 0);
    until("both books are the same", async || {
        both = (
            units(&pays(connect).await["charged"]),
            gram(&site.books().await["spent"]),
        );
        both.0 == both.1 && Some(both.0) > than
    })
    .await;
    both.0
}

/// Nanoton, as our own documents have them.
fn units(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no amount"))
}

/// An amount as people write it, in nanoton.
fn gram(value: &Value) -> u64 {
    let amount: Nano = value.as_str().expect("a text").parse().expect("an amount");
    amount.get()
}

async fn whole(connect: &Connect) -> Answer {
    Answer::of(send(connect.request(chat("mock", 20, false))).await).await
}

/// What an answer says that it cost, in nanoton.
fn cost(answer: &Answer) -> u64 {
    let said = super::decoded(answer.header("payment-response"));
    nano(&said["extra"]["chargedAmount"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_without_a_key_is_paid_for_to_the_nanoton() {
    let site = Site::new("1").await;
    let mut connect = site.connect(&["--exposure", "0.02", "--window", "0.01"]).await;
    let mut received = 0;
    for _ in 0..5 {
        let answer = whole(&connect).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        received += cost(&answer);
    }
    // A key that the app has, of whomever, stays here; one that the gateway knows would rule, and any other be refused.
    for (name, key) in [
        ("authorization", "Bearer sk-alice"),
        ("api-key", "sk-alice"),
        ("x-api-key", "sk-nobody"),
    ] {
        let keyed = connect.request(chat("mock", 20, false)).header(name, key);
        let keyed = Answer::of(send(keyed).await).await;
        assert_eq!(keyed.status, 200, "{}", keyed.text());
        received += cost(&keyed);
    }
    assert_eq!(agree(&site, &connect).await, received);
    // A stream says it behind its end, which the app need not hear.
    for _ in 0..3 {
        let stream = Flow::begin(connect.request(chat("mock", 20, true))).await.end().await;
        assert!(stream.is_done(), "{}", stream.text);
    }
    let streamed = agree_on_more(&site, &connect, Some(received)).await;
    // One that the app leaves is asked about.
    let mut flow = Flow::begin(connect.request(chat("fault/slow-50+tokens-2000", 2000, true))).await;
    flow.until("data: ").await;
    drop(flow);
    let left = agree_on_more(&site, &connect, Some(streamed)).await;
    // What is refused for another reason costs nothing.
    let broken = Answer::of(send(connect.request("{")).await).await;
    assert_eq!(broken.status, 400, "{}", broken.text());
    // What only reads is let in by the channel.
    let models = Answer::of(e2e::client::get(&connect.url("/v1/models")).await).await;
    assert_eq!(models.status, 200, "{}", models.text());
    let now = pays(&connect).await;
    assert_eq!(units(&now["charged"]), left);
    assert!(units(&now["at_risk"]) <= 20_000_000, "{now}");

    // While it runs the channel is its own; others may look.
    let shown = site.command(&["show"]);
    assert_eq!(units(&shown["deposited"]), UNIT);
    let said = block_in_place(|| Connect::doctor(site.world.dir(), &site.flags().each_ref().map(String::as_str)));
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("ok     the channel work has 1.000000000"), "{said}");
    connect.signal("TERM");
    assert!(connect.wait(SOON).await.success(), "{}", connect.log());
    let shown = site.command(&["show"]);
    assert_eq!((units(&shown["charged"]), &shown["state"]), (left, &"open".into()));
    // Both close it together, and what was not used is back at once.
    let payout = PAYOUT.parse().expect("an address");
    let earned = site.chain.balance(payout).await;
    assert_eq!(site.command(&["close", "work", "--yes"])["state"], "closed");
    let books = site.books().await;
    assert_eq!((&books["stage"], gram(&books["taken"])), (&"closed".into(), left));
    let earned = site.chain.balance(payout).await - earned;
    assert!(earned <= u128::from(left) && earned > 0, "{earned} of {left}");
    let shown = site.command(&["show"]);
    assert_eq!(
        (&shown["state"], units(&shown["signed"]) >= left),
        (&"closed".into(), true)
    );
    let again = site
        .world
        .connect_error(&["--gateway", "127.0.0.1:1", "--policy", "none.json", "--pay"]);
    assert!(again.contains("cannot be read"), "{again}");
    for log in [connect.log(), site.gateway.log()] {
        assert!(!log.contains("Say hello") && !log.contains(PASSPHRASE), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_key_rules() {
    let site = Site::new("1").await;
    let connect = site.connect(&["--forward-keys"]).await;
    let ask = async |key| {
        let request = connect.request(chat("mock", 20, false)).bearer_auth(key);
        Answer::of(send(request).await).await
    };
    let keyed = ask("sk-alice").await;
    assert_eq!(keyed.status, 200, "{}", keyed.text());
    assert!(!keyed.headers.contains_key("payment-response"));
    assert_eq!(ask("sk-nobody").await.status, 401);
    // Clients that must send a key send this one.
    let paid = ask("channel").await;
    assert_eq!(paid.status, 200, "{}", paid.text());
    let received = cost(&paid) + cost(&whole(&connect).await);
    assert_eq!(agree(&site, &connect).await, received);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_and_say_how_to_raise_them() {
    let mut site = Site::new("0.01").await;
    let flags = ["--exposure", "0.004", "--window", "0.002", "--budget-day", "0.0045"];
    let mut connect = site.connect(&flags).await;
    let mut paid = 0;
    let end = loop {
        let answer = whole(&connect).await;
        if answer.status != 200 {
            break answer;
        }
        paid += 1;
        let now = payment(&connect).await;
        assert!(
            units(&now["at_risk"]) <= 4_000_000 && units(&now["signed"]) <= 4_500_000,
            "{now}"
        );
        assert!(paid < 2_000, "{now}");
    };
    assert!(
        end.envelope().is(402, "insufficient_quota", "budget_used_up"),
        "{}",
        end.text()
    );
    assert!(end.text().contains("--budget-day"), "{}", end.text());
    assert_eq!(end.header("x-should-retry"), "false");
    assert!(
        units(&payment(&connect).await["signed"]) > 2_000_000,
        "it was raised on the way"
    );
    connect.signal("TERM");
    assert!(connect.wait(SOON).await.success());

    // A greater budget, and a gateway that is away for a while.
    let flags = ["--exposure", "0.004", "--window", "0.002", "--budget-day", "1"];
    let connect = site.connect(&flags).await;
    site.gateway.kill();
    site.gateway = site.world.gateway(&site.yaml);
    connect.stands("verified").await;
    pays(&connect).await;
    let end = loop {
        let answer = whole(&connect).await;
        if answer.status != 200 {
            break answer;
        }
    };
    // All of the deposit: it says how to pay in, and goes on when that was done.
    assert!(
        end.envelope().is(402, "insufficient_quota", "channel_used_up"),
        "{}",
        end.text()
    );
    assert!(end.text().contains("mulberry channel topup work"), "{}", end.text());
    assert!(units(&payment(&connect).await["signed"]) <= 10_000_000);
    site.command(&["topup", "work", "1", "--yes"]);
    until("it sees what was paid in", async || whole(&connect).await.status == 200).await;
    let dear = Answer::of(send(connect.request(chat("mock", 2_001, false))).await).await;
    assert!(
        dear.envelope().is(402, "insufficient_quota", "exposure_used_up"),
        "{}",
        dear.text()
    );
    assert!(dear.text().contains("--exposure"), "{}", dear.text());
    agree(&site, &connect).await;
}

/// A request is kept to be sent again with what the gateway asks for it. One that is too large for that is paid for when its
/// app sends it again, which it is told to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_to_be_kept_is_sent_once_more() {
    let site = Site::new("5").await;
    let connect = site
        .connect(&["--exposure", "3", "--window", "0.01", "--budget-day", "5"])
        .await;
    let body = chat("mock", 1, false).replace("Say hello", &"hello ".repeat(200_000));
    let first = Answer::of(send(connect.request(body.clone())).await).await;
    assert!(
        first.envelope().is(402, "insufficient_quota", "payment_repeat"),
        "{}",
        first.text()
    );
    assert_eq!(first.header("x-should-retry"), "true");
    let mut again = Answer::of(send(connect.request(body.clone())).await).await;
    // SDKs send it twice more: what was signed for it is not set aside for it, and others may come first.
    if again.status == 402 {
        again = Answer::of(send(connect.request(body)).await).await;
    }
    assert_eq!(again.status, 200, "{}", again.text());
    assert!(agree(&site, &connect).await > 0);
}

/// Sends requests, whole and streams, until they are cut; what the whole ones say that they cost.
async fn load(connect: &Connect) -> JoinSet<u64> {
    let mut set = JoinSet::new();
    for number in 0..6 {
        let url = connect.url("/v1/chat/completions");
        set.spawn(async move {
            let mut received = 0;
            loop {
                let body = match number % 2 {
                    0 => chat("mock", 20, false),
                    _ => chat("fault/slow-5+tokens-40", 40, true),
                };
                let Ok(response) = e2e::client::request(&url, body).send().await else {
                    return received;
                };
                let is_good = response.status() == 200;
                let said = response.headers().get("payment-response").cloned();
                let ended = response.bytes().await;
                if !is_good || ended.is_err() {
                    return received;
                }
                received += match said {
                    Some(said) => nano(&super::decoded(said.to_str().expect("text"))["extra"]["chargedAmount"]),
                    // A stream costs less than its ceiling.
                    None => CEILING,
                };
            }
        });
    }
    set
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_it_goes_on_where_it_was() {
    let site = Site::new("2").await;
    let flags = ["--exposure", "0.1", "--window", "0.05"];
    let mut connect = site.connect(&flags).await;
    let (mut signed, mut received) = (0, 0);
    for round in 0..5 {
        let mut load = load(&connect).await;
        let before = units(&payment(&connect).await["charged"]);
        until("something was charged", async || {
            units(&payment(&connect).await["charged"]) > before + 100_000 * round
        })
        .await;
        let most = units(&payment(&connect).await["signed"]);
        connect.kill();
        while let Some(part) = load.join_next().await {
            received += part.expect("it ends");
        }
        connect = site.connect(&flags).await;
        let now = pays(&connect).await;
        assert!(units(&now["signed"]) >= most.max(signed), "a voucher regressed: {now}");
        signed = units(&now["signed"]);
        assert!(units(&now["at_risk"]) <= 100_000_000, "{now}");
        let charged = agree(&site, &connect).await;
        // Six were under way each time.
        assert!(
            charged <= received + 6 * CEILING * (round + 1),
            "{charged} for {received}"
        );
    }
    let charged = agree(&site, &connect).await;
    connect.signal("TERM");
    assert!(connect.wait(Duration::from_secs(20)).await.success());
    let books = site.books().await;
    assert_eq!(gram(&books["spent"]), charged, "{books}");
    assert_eq!(site.close().await, charged, "every nanoton");
    let text = block_in_place(|| {
        let chain = format!("{}/api/v2", site.chain.url);
        succeed(&site.world, &["channel", "show", "work", "--chain", &chain])
    });
    assert!(text.contains("It is over"), "{text}");
}
