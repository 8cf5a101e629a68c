//! Two gateways on one PostgreSQL and one small budget: it is never exceeded, and it can be spent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use e2e::client::send;
use e2e::dice::Dice;
use e2e::spender::{Question, Seen, Spender};
use e2e::{Answer, Gateway};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{ADMIN, Books, KEY, Mode, Stage, cost, units, verify};

/// Worth about 500 answers.
const BUDGET: u64 = 1_000_000;
/// Of them, half at each gateway.
const CLIENTS: usize = 64;
/// How long a client that is refused waits before it asks again.
const RETRY: Duration = Duration::from_millis(100);
/// Until then all that can be spent must have been.
const PATIENCE: Duration = Duration::from_secs(120);

/// Clients of two gateways that ask until they are told to stop.
struct Crowd {
    go_on: Arc<AtomicBool>,
    /// What they saw the end of, in billionths.
    spent: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<(String, Seen)>>>,
}

impl Crowd {
    fn of(gateways: &[&Gateway], dice: &mut Dice) -> Self {
        let mut crowd = Self {
            go_on: Arc::new(AtomicBool::new(true)),
            spent: Arc::default(),
            clients: Vec::new(),
        };
        for client in 0..CLIENTS {
            let gateway = gateways[client % gateways.len()];
            let spender = Spender::new(&gateway.url(), KEY);
            let (go_on, spent) = (crowd.go_on.clone(), crowd.spent.clone());
            let mut dice = dice.fork();
            crowd.clients.push(tokio::spawn(async move {
                let mut all = Vec::new();
                while go_on.load(Ordering::Relaxed) {
                    let id = format!("c{client}-{}", all.len());
                    let seen = spender.ask(&question(id.clone(), &mut dice)).await;
                    match &seen {
                        Seen::End(usage) => {
                            spent.fetch_add(cost(*usage), Ordering::Relaxed);
                        }
                        // What a client does that was refused.
                        _ => tokio::time::sleep(RETRY).await,
                    }
                    all.push((id, seen));
                }
                all
            }));
        }
        crowd
    }

    fn spent(&self) -> u64 {
        self.spent.load(Ordering::Relaxed)
    }

    /// Waits until they have spent so much.
    async fn reaches(&self, amount: u64, note: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.spent() < amount {
            assert!(
                Instant::now() < deadline,
                "{} of {BUDGET} are spent, and {amount} were expected ({note})",
                self.spent()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn end(self) -> Vec<(String, Seen)> {
        self.go_on.store(false, Ordering::Relaxed);
        let mut seen = Vec::new();
        for client in self.clients {
            seen.extend(client.await.expect("a client does not panic"));
        }
        seen
    }
}

/// At most twice as many tokens are asked for as come.
fn question(id: String, dice: &mut Dice) -> Question {
    let tokens = dice.between(8, 16);
    Question {
        id,
        model: format!("fault/tokens-{tokens}+slow-2"),
        prompt: "word word word word".to_owned(),
        is_stream: true,
        max_tokens: Some(16),
    }
}

/// Two seconds, and what a busy machine takes.
const IN_FORCE: Duration = Duration::from_secs(6);
const MOST_OF_IT: u64 = BUDGET / 100 * 95;

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_spent_and_never_exceeded() {
    for mode in [Mode::Direct, Mode::Local] {
        let Some(stage) = Stage::new(mode) else { return };
        let seed = Dice::seed("MULBERRY_NODES_SEED");
        let note = format!("{mode:?}, seed {seed}");
        let first = stage.gateway("n1", &units(BUDGET), "");
        let second = stage.gateway("n2", &units(BUDGET), "");
        let crowd = Crowd::of(&[&first, &second], &mut Dice::new(seed));
        crowd.reaches(MOST_OF_IT, &note).await;
        let seen = crowd.end().await;
        agree(&[&first, &second], &seen, &note).await;
        let refusals: Vec<(u16, &str)> = seen
            .iter()
            .filter_map(|(_, seen)| match seen {
                Seen::Refused { status, code } => Some((*status, code.as_str())),
                _ => None,
            })
            .collect();
        let (no_money, not_asked_in_time) = ((402, "insufficient_quota"), (503, "ledger_unavailable"));
        assert!(
            refusals.contains(&no_money),
            "nobody was short, so the budget bound nobody ({note})"
        );
        // On a busy machine a renewal may take longer than a request waits for it.
        let mut others = refusals
            .iter()
            .filter(|refusal| **refusal != no_money && **refusal != not_asked_in_time);
        assert_eq!(others.next(), None, "{note}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_away_for_ten_seconds() {
    for mode in [Mode::Direct, Mode::Local] {
        let Some(stage) = Stage::new(mode) else { return };
        let server = stage.server.as_ref().expect("both modes have one");
        let seed = Dice::seed("MULBERRY_NODES_SEED");
        let note = format!("{mode:?}, seed {seed}");
        let first = stage.gateway("n1", &units(BUDGET), ", lease: 30s");
        let second = stage.gateway("n2", &units(BUDGET), ", lease: 30s");
        let crowd = Crowd::of(&[&first, &second], &mut Dice::new(seed));
        crowd.reaches(BUDGET / 5, &note).await;
        server.stop();
        let before = crowd.spent();
        tokio::time::sleep(Duration::from_secs(10)).await;
        if mode == Mode::Local {
            assert!(crowd.spent() > before, "what is leased is spent on ({note})");
        }
        server.start_again();
        crowd.reaches(MOST_OF_IT, &note).await;
        let seen = crowd.end().await;
        agree(&[&first, &second], &seen, &note).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_sleeps_past_its_lease() {
    for mode in [Mode::Direct, Mode::Local] {
        let Some(stage) = Stage::new(mode) else { return };
        let seed = Dice::seed("MULBERRY_NODES_SEED");
        let note = format!("{mode:?}, seed {seed}");
        let sleeper = stage.gateway("n1", &units(BUDGET), "");
        let awake = stage.gateway("n2", &units(BUDGET), "");
        let mut dice = Dice::new(seed);
        let crowd = Crowd::of(&[&sleeper, &awake], &mut dice);
        crowd.reaches(BUDGET / 5, &note).await;
        sleeper.signal("STOP");
        // Its lease is 5 s. Who is awake spends what it can get meanwhile.
        tokio::time::sleep(Duration::from_secs(8)).await;
        sleeper.signal("CONT");
        crowd.reaches(MOST_OF_IT, &note).await;
        let seen = crowd.end().await;
        agree(&[&sleeper, &awake], &seen, &note).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_one_gateway_is_in_force_at_the_other() {
    let Some(stage) = Stage::new(Mode::Local) else { return };
    let (first, second) = (
        stage.gateway("n1", &units(BUDGET * 1000), ", lease: 60s"),
        stage.gateway("n2", &units(BUDGET * 1000), ", lease: 60s"),
    );
    let body = json!({"name": "made", "account": "org:default"});
    let made = change(&first, Method::POST, "keys", &body).await;
    let secret = made["secret"].as_str().expect("a key has a secret").to_owned();
    let at_other = |secret: &str| Spender::new(&second.url(), secret);
    let (written, made) = (at_other(KEY), at_other(&secret));
    let refused = |status: u16, code: &str| Seen::Refused {
        status,
        code: code.to_owned(),
    };
    let mut seen = Vec::new();
    comes(&written, &mut seen, |seen| matches!(seen, Seen::End(_))).await;
    comes(&made, &mut seen, |seen| matches!(seen, Seen::End(_))).await;
    for (path, off, on, spender, expected) in [
        (
            "accounts/org:default",
            json!({"disabled": true}),
            json!({"disabled": false}),
            &written,
            refused(403, "account_disabled"),
        ),
        (
            "accounts/org:default",
            json!({"budget": {"total": "0.000000001"}}),
            json!({"budget": {"total": null}}),
            &made,
            refused(402, "insufficient_quota"),
        ),
    ] {
        change(&first, Method::PATCH, path, &off).await;
        comes(spender, &mut seen, |seen| *seen == expected).await;
        change(&first, Method::PATCH, path, &on).await;
        comes(spender, &mut seen, |seen| matches!(seen, Seen::End(_))).await;
    }
    change(&first, Method::DELETE, "keys/made", &Value::Null).await;
    comes(&made, &mut seen, |seen| *seen == refused(401, "invalid_api_key")).await;
    agree(&[&first, &second], &seen, "after the changes").await;
}

/// Asks until the answer is that, which must be soon, and stays.
async fn comes(spender: &Spender, seen: &mut Vec<(String, Seen)>, is_expected: impl Fn(&Seen) -> bool) {
    let began = Instant::now();
    let mut after = 0;
    while after < 3 {
        let id = format!("q-{}", seen.len());
        let question = Question {
            id: id.clone(),
            model: "fault/tokens-8".to_owned(),
            prompt: "word".to_owned(),
            is_stream: true,
            max_tokens: Some(16),
        };
        let answer = spender.ask(&question).await;
        if is_expected(&answer) {
            after += 1;
        } else {
            assert!(
                after == 0 && began.elapsed() < IN_FORCE,
                "{answer:?} after {:?}",
                began.elapsed()
            );
            // A machine that is quick would spend the whole budget meanwhile.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        seen.push((id, answer));
    }
}

async fn change(gateway: &Gateway, method: Method, path: &str, body: &Value) -> Value {
    let url = format!("{}/admin/v1/{path}", gateway.admin_url());
    let request = e2e::client::client().request(method, url).bearer_auth(ADMIN).json(body);
    let answer = Answer::of(send(request).await).await;
    assert!(
        answer.status.is_success(),
        "{path}: {} {}",
        answer.status,
        answer.text()
    );
    answer.json()
}

/// The ledger is right, has every end that was seen, and no more than the budget, on both gateways.
async fn agree(gateways: &[&Gateway], seen: &[(String, Seen)], note: &str) {
    let deadline = Instant::now() + PATIENCE;
    let expected: u64 = seen
        .iter()
        .map(|(_, seen)| if let Seen::End(usage) = seen { cost(*usage) } else { 0 })
        .sum();
    let mut books = Books::of(gateways[0]).await;
    // A journal is shipped behind the answers.
    while books.total() < expected && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        books = Books::of(gateways[0]).await;
    }
    books.agree_with(seen, note);
    assert!(books.total() <= BUDGET, "{} of {BUDGET} ({note})", books.total());
    for gateway in gateways {
        verify(gateway, note).await;
    }
}
