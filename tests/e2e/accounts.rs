//! Accounts as operators have them: made, funded, bounded and shut by the command and by the admin API, in force at
//! once, and what their clients meet meanwhile.

use std::process::{Command, Output};

use e2e::client::{chat, request, send};
use e2e::process::mulberry;
use e2e::{Answer, Gateway, Mock, World};
use reqwest::Method;
use serde_json::{Value, json};

mod books;
mod refused;
mod spend;
mod without_key;

/// One unit of money for a million tokens of the prompt, two for those of the answer.
fn yaml(mock: &Mock, more: &str) -> String {
    format!(
        "backends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n\
         models: [{{name: mock, routes: [{{backend: only}}], max_output: 64, price: {{prompt: 100, completion: 200}}}}]\n\
         {more}",
        mock.url()
    )
}

/// `mulberry …` for this gateway. Unless it is `alone`, it can reach the gateway's admin API.
fn mulberry_of(gateway: &Gateway, alone: bool, args: &[&str]) -> Output {
    let admin = gateway.admin_url();
    let admin = if alone {
        "null"
    } else {
        admin.trim_start_matches("http://")
    };
    Command::new(mulberry())
        .args(args)
        .arg("--config")
        .arg(gateway.config())
        .env("MULBERRY_ADMIN_LISTEN", admin)
        .env("USER", "tester")
        .env("MULBERRY_ADMIN_TOKEN", gateway.admin_token())
        .output()
        .expect("the binary has started before")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command printed that must succeed.
fn done(gateway: &Gateway, args: &[&str]) -> String {
    let output = mulberry_of(gateway, false, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The same, as JSON.
fn told(gateway: &Gateway, args: &[&str]) -> Value {
    let printed = done(gateway, &[args, &["--output", "json"]].concat());
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("not JSON ({error}): {printed}"))
}

/// What a command said that must fail.
fn failed(gateway: &Gateway, args: &[&str]) -> String {
    let output = mulberry_of(gateway, false, args);
    assert!(!output.status.success(), "{args:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

async fn ask(gateway: &Gateway, key: &str) -> Answer {
    let url = format!("{}/v1/chat/completions", gateway.url());
    Answer::of(send(request(&url, chat("mock")).bearer_auth(key)).await).await
}

async fn admin(gateway: &Gateway, method: Method, path: &str, body: Value) -> Answer {
    let request = gateway.admin(method, path).body(body.to_string());
    Answer::of(send(request).await).await
}

async fn get(gateway: &Gateway, path: &str) -> Value {
    let answer = Answer::of(send(gateway.admin(Method::GET, path)).await).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Makes a key that an account pays for, and gives its secret.
fn key(gateway: &Gateway, name: &str, more: &[&str]) -> String {
    let args = [&["key", "create", name], more].concat();
    done(gateway, &args).trim_end().to_owned()
}

/// A decimal text as billionths.
fn nano(value: &Value) -> i128 {
    let text = value.as_str().unwrap_or_else(|| panic!("not an amount: {value}"));
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    let (whole, part) = digits.split_once('.').expect("nine digits after the point");
    assert_eq!(part.len(), 9, "{text}");
    sign * format!("{whole}{part}").parse::<i128>().expect("digits")
}

fn balance(gateway: &Gateway, account: &str) -> i128 {
    nano(&told(gateway, &["account", "show", account])["balance"])
}

#[tokio::test]
async fn a_prepaid_organisation_is_served_while_it_has_money() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let made = told(&gateway, &["account", "create", "org:acme"]);
    assert_eq!(
        (&made["id"], &made["currency"], &made["credit"], &made["balance"]),
        (
            &json!("org:acme"),
            &json!("USD"),
            &json!("0.000000000"),
            &json!("0.000000000")
        ),
    );
    let alice = key(&gateway, "alice", &["--account", "org:acme"]);

    // Nothing is there: the body says what is missing, and how to top up.
    let refused = ask(&gateway, &alice).await;
    assert!(
        refused.envelope().is(402, "insufficient_quota", "insufficient_quota"),
        "{}",
        refused.text()
    );
    assert_eq!(refused.header("x-should-retry"), "false");
    let message = refused.envelope().message;
    assert!(
        message.contains("org:acme") && message.contains("mulberry account deposit"),
        "{message}"
    );

    let deposited = told(
        &gateway,
        &["account", "deposit", "org:acme", "0.2", "--memo", "invoice 1"],
    );
    assert_eq!(deposited["balance"], "0.200000000");
    let mut spent = 0;
    let mut served = 0_u32;
    let last = loop {
        let answer = ask(&gateway, &alice).await;
        if answer.status != 200 {
            break answer;
        }
        served += 1;
        let usage = &answer.json()["usage"];
        let tokens = |name: &str| i128::from(usage[name].as_u64().expect("a count"));
        spent += tokens("prompt_tokens") * 100_000 + tokens("completion_tokens") * 200_000;
        assert!(served < 1000, "nothing is charged");
    };
    assert!(served > 0, "{}", last.text());
    assert_eq!(last.envelope().code.as_deref(), Some("insufficient_quota"));
    assert_eq!(balance(&gateway, "org:acme"), 200_000_000 - spent);

    // Each request has its charge, and together they are what is gone.
    let charges = get(&gateway, "accounts/org:acme/charges?limit=1000").await;
    let charges = charges["data"].as_array().expect("a list");
    assert_eq!(charges.len(), served as usize);
    assert_eq!(
        charges.iter().map(|charge| nano(&charge["amount"])).sum::<i128>(),
        spent
    );
    assert!(
        charges
            .iter()
            .all(|charge| charge["key"] == "alice" && charge["model"] == "mock"),
        "{charges:?}"
    );

    done(&gateway, &["account", "deposit", "org:acme", "1"]);
    assert_eq!(ask(&gateway, &alice).await.status, 200);

    // Who did it is in the audit log.
    let audit = get(&gateway, "audit?limit=100").await;
    let entries = audit["data"].as_array().expect("a list");
    for action in ["account.create", "key.create", "account.deposit"] {
        assert!(
            entries
                .iter()
                .any(|entry| entry["action"] == action && entry["actor"] == "admin"),
            "no {action} in {audit}"
        );
    }
}

#[tokio::test]
async fn what_is_disabled_or_cut_is_refused_from_the_next_request_on() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    done(&gateway, &["account", "create", "acme", "--credit", "unlimited"]);
    done(&gateway, &["account", "create", "acme/research", "--budget-day", "10"]);
    let alice = key(&gateway, "alice", &["--account", "team:acme/research"]);
    assert_eq!(ask(&gateway, &alice).await.status, 200);

    for account in ["team:acme/research", "org:acme"] {
        done(&gateway, &["account", "disable", account]);
        let refused = ask(&gateway, &alice).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert_eq!(refused.envelope().code.as_deref(), Some("account_disabled"));
        done(&gateway, &["account", "enable", account]);
        assert_eq!(ask(&gateway, &alice).await.status, 200, "{account}");
    }

    for (account, flag) in [
        ("team:acme/research", "--budget-day"),
        ("team:acme/research", "--budget-month"),
        ("org:acme", "--budget"),
    ] {
        done(&gateway, &["account", "update", account, flag, "0.000000001"]);
        let refused = ask(&gateway, &alice).await;
        assert_eq!(refused.status, 402, "{account} {flag}: {}", refused.text());
        assert!(refused.envelope().message.contains(account), "{}", refused.text());
        done(&gateway, &["account", "update", account, flag, "none"]);
        assert_eq!(ask(&gateway, &alice).await.status, 200, "{account} {flag}");
    }

    // A key has a budget of its own.
    done(&gateway, &["key", "update", "alice", "--budget-day", "0.000000001"]);
    let refused = ask(&gateway, &alice).await;
    assert_eq!(refused.status, 402, "{}", refused.text());
    done(&gateway, &["key", "update", "alice", "--budget-day", "none"]);
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    let shown = told(&gateway, &["key", "show", "alice"]);
    assert_eq!(shown["account"], "team:acme/research");
    assert_eq!(shown["budget"], json!({"total": null, "day": null, "month": null}));
}

#[tokio::test]
async fn a_key_with_a_budget_and_no_account_is_charged_to_the_default_organisation() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, "ledger: {currency: USD}\n"));
    let alice = key(&gateway, "alice", &["--budget", "1"]);
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    let default = told(&gateway, &["account", "show", "org:default"]);
    assert_eq!(default["credit"], Value::Null);
    assert!(nano(&default["balance"]) < 0, "{default}");
    let accounts = get(&gateway, "accounts").await;
    let accounts = accounts["data"].as_array().expect("a list");
    let alice = accounts.iter().find(|account| account["id"] == "key:alice");
    let alice = alice.unwrap_or_else(|| panic!("no key:alice in {accounts:?}"));
    assert_eq!(
        (&alice["level"], &alice["parent"], &alice["budget"]["total"]),
        (&json!("key"), &json!("org:default"), &json!("1.000000000"))
    );
    assert_eq!(nano(&alice["spent"]["total"]), -nano(&default["balance"]));
}
