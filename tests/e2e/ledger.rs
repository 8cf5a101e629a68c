//! The ledger among processes that die, stop and lose their database: what a client saw the end of is captured once,
//! what nobody saw costs at most once, and no account spends more than it may.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use e2e::client::send;
use e2e::dice::Dice;
use e2e::spender::{Question, Seen, Spender, Usage};
use e2e::{Answer, Gateway, Mock, World};
use reqwest::Method;
use serde_json::Value;
use test_postgres::{Server, Settings};

mod damage;
mod kill9;
mod nodes;
mod outage;
mod recount;

const KEY: &str = "sk-spender";
const ADMIN: &str = "the-admin-token-of-this-test";
/// Billionths for a million tokens; odd ones, so that each sum is rounded.
const PROMPT: u64 = 13_700_001;
const COMPLETION: u64 = 100_900_003;

/// Where the ledger is, and where a capture is durable first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Sqlite,
    /// PostgreSQL itself.
    Direct,
    /// PostgreSQL behind the node's own journal.
    Local,
}

/// A world with an upstream and a ledger, in which gateways come and go.
struct Stage {
    mode: Mode,
    mock: Mock,
    /// Of the modes that need one.
    server: Option<Server>,
    database: Option<String>,
    world: World,
}

impl Stage {
    /// `None` where the machine has no PostgreSQL and the mode needs one.
    fn new(mode: Mode) -> Option<Self> {
        let world = World::new();
        let server = match mode {
            Mode::Sqlite => None,
            Mode::Direct | Mode::Local => Some(Server::start(Settings::durable())?),
        };
        Some(Self {
            mode,
            mock: world.mock(&[]),
            database: server.as_ref().map(Server::database),
            server,
            world,
        })
    }

    /// A gateway under this name, on the disk that it had before. `more` is added to its section `ledger`.
    fn gateway(&self, node: &str, budget: &str, more: &str) -> Gateway {
        self.gateway_with_models(node, budget, more, "")
    }

    fn gateway_with_models(&self, node: &str, budget: &str, more: &str, models: &str) -> Gateway {
        self.world.gateway(&self.yaml(node, budget, more, models))
    }

    /// Another gateway under the name of one, on a disk of its own.
    fn namesake(&self, node: &str, budget: &str, more: &str) -> Gateway {
        let yaml = self.yaml(node, budget, more, "");
        let (own, other) = (self.disk(node), self.disk(&format!("{node}-namesake")));
        self.world
            .gateway(&yaml.replace(&*own.to_string_lossy(), &other.to_string_lossy()))
    }

    /// The database's name at its server.
    fn database_name(&self) -> &str {
        let url = self.database.as_deref().expect("the mode has one");
        let path = url.split('?').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// What a gateway says that must not start.
    fn refused(&self, node: &str, budget: &str) -> String {
        self.world.gateway_error(&self.yaml(node, budget, "", ""))
    }

    fn yaml(&self, node: &str, budget: &str, more: &str, models: &str) -> String {
        let price = |prompt: u64, completion: u64| {
            format!(
                "price: {{currency: TON, prompt: {}, completion: {}}}",
                units(prompt),
                units(completion)
            )
        };
        let mut yaml = format!(
            "backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n\
             models:\n  - {{name: 'fault/*', routes: [{{backend: only}}], max_output: 64, {}}}\n{models}\
             keys: [{{name: spender, secret: {KEY}, budget: {{total: {budget}}}}}]\n\
             admin: {{tokens: [{{name: ops, secret: {ADMIN}}}]}}\n\
             data_dir: {}\n",
            self.mock.url(),
            price(PROMPT, COMPLETION),
            self.disk(node).display(),
        );
        let journal = match self.mode {
            Mode::Sqlite => "",
            Mode::Direct => ", journal: direct",
            Mode::Local => ", journal: local",
        };
        let lease = if self.mode == Mode::Sqlite || more.contains("lease") {
            ""
        } else {
            ", lease: 5s"
        };
        yaml += &format!("ledger: {{currency: TON, node: {node}{journal}{lease}{more}}}\n");
        if let Some(database) = &self.database {
            yaml += &format!("database: {database}\n");
        }
        yaml
    }

    fn disk(&self, node: &str) -> PathBuf {
        self.world.dir().join(format!("disk-{node}"))
    }
}

/// An amount as configurations have it.
fn units(nano: u64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// What a usage costs at the prices of the stage: rounded up once.
fn cost(usage: Usage) -> u64 {
    (usage.prompt * PROMPT + usage.completion * COMPLETION).div_ceil(1_000_000)
}

/// What the ledger says, as its export has it.
#[derive(Debug, Default)]
struct Books {
    /// The amounts captured for each request.
    captured: HashMap<String, Vec<u64>>,
    refunded: u64,
}

impl Books {
    /// Of a running gateway.
    async fn of(gateway: &Gateway) -> Self {
        let answer = admin(gateway, Method::GET, "ledger/export").await;
        let mut books = Self::default();
        for line in answer.text().lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if line["type"] != "charge" {
                continue;
            }
            let amount = nano(&line["amount"]);
            match line["kind"].as_str() {
                Some("capture") => {
                    let id = line["request_id"].as_str().expect("a charge has a request");
                    books.captured.entry(id.to_owned()).or_default().push(amount);
                }
                _ => books.refunded += amount,
            }
        }
        books
    }

    fn total(&self) -> u64 {
        self.captured.values().flatten().sum::<u64>() - self.refunded
    }

    /// What somebody saw the end of is captured once with its amount; nothing is captured twice.
    fn agree_with(&self, seen: &[(String, Seen)], note: &str) {
        for (id, amounts) in &self.captured {
            assert_eq!(amounts.len(), 1, "{id} is captured more than once ({note})");
        }
        for (id, seen) in seen {
            let captured = self.captured.get(id).map(|amounts| amounts[0]);
            match seen {
                Seen::End(usage) => {
                    assert_eq!(captured, Some(cost(*usage)), "{id}, of which the end was seen ({note})")
                }
                Seen::Refused { status, .. } if *status < 500 => {
                    assert_eq!(captured, None, "{id}, which was refused ({note})");
                }
                _ => {}
            }
        }
    }
}

/// Billionths as exports have them, or an amount as the admin API has it.
fn nano(amount: &Value) -> u64 {
    let text = amount.as_str().unwrap_or_else(|| panic!("not an amount: {amount}"));
    let digits = match text.split_once('.') {
        Some((whole, part)) => format!("{whole}{part:0<9}"),
        None => text.to_owned(),
    };
    digits.parse().unwrap_or_else(|_| panic!("not an amount: {text}"))
}

async fn admin(gateway: &Gateway, method: Method, path: &str) -> Answer {
    let url = format!("{}/admin/v1/{path}", gateway.admin_url());
    let request = e2e::client::client().request(method, url).bearer_auth(ADMIN);
    let answer = Answer::of(send(request).await).await;
    assert!(
        answer.status.is_success(),
        "{path}: {} {}",
        answer.status,
        answer.text()
    );
    answer
}

/// Computes every balance anew; they must be right.
async fn verify(gateway: &Gateway, note: &str) {
    let mut report = admin(gateway, Method::POST, "ledger/verify").await.json();
    while report["state"] == "running" {
        tokio::time::sleep(Duration::from_millis(5)).await;
        report = admin(gateway, Method::GET, "ledger/verify").await.json();
    }
    assert_eq!(report["ok"], true, "{note}: {report:#}");
}

/// A question whose answer has so many tokens, each of which takes a while.
fn question(id: String, dice: &mut Dice) -> Question {
    let tokens = dice.between(1, 24);
    let slow = dice.between(0, 4);
    let words = dice.between(1, 30);
    Question {
        id,
        model: format!("fault/tokens-{tokens}+slow-{slow}"),
        prompt: vec!["word"; usize::try_from(words).expect("is small")].join(" "),
        is_stream: dice.percent(75),
        max_tokens: Some(tokens.max(16)),
    }
}

/// One client that asks again and again until the gateway is gone; `ends` counts what was seen to its end.
async fn spend(spender: Spender, name: String, mut dice: Dice, ends: Arc<AtomicU64>) -> Vec<(String, Seen)> {
    let mut all = Vec::new();
    loop {
        let id = format!("{name}-{}", all.len());
        let seen = spender.ask(&question(id.clone(), &mut dice)).await;
        let is_gone = seen == Seen::Nothing;
        ends.fetch_add(u64::from(matches!(seen, Seen::End(_))), Ordering::Relaxed);
        all.push((id, seen));
        if is_gone {
            return all;
        }
    }
}
