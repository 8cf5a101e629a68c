//! Requests without a key, where none is asked for: paid for by the account that the file names.

use std::time::{Duration, Instant};

use e2e::client::{chat, request, send};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, World};
use serde_json::Value;

use super::{ask, balance, done, get, key, nano, told, yaml};

/// Asks without a key, under this name.
async fn plainly(gateway: &Gateway, id: &str) -> Answer {
    let url = format!("{}/v1/chat/completions", gateway.url());
    Answer::of(send(request(&url, chat("mock")).header("x-request-id", id)).await).await
}

async fn receipts(gateway: &Gateway, id: &str, key: Option<&str>) -> Answer {
    let url = format!("{}/v1/receipts/{id}", gateway.url());
    let mut asking = e2e::client::client().get(url);
    if let Some(key) = key {
        asking = asking.bearer_auth(key);
    }
    Answer::of(send(asking).await).await
}

/// What an answer says that it cost, in billionths; somebody pays for it.
fn cost(answer: &Answer) -> i128 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.header("x-receipt"), "", "nobody pays");
    let cost = answer.header("x-mulberry-cost");
    let cost = cost.strip_suffix(" USD").unwrap_or_else(|| panic!("{cost:?}"));
    nano(&Value::from(cost))
}

/// The latest requests, when there are as many: records are written a moment later.
async fn eventually_listed(gateway: &Gateway, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + SOON;
    loop {
        let listed = get(gateway, "requests?limit=10").await;
        let rows = listed["data"].as_array().expect("a list");
        if rows.len() >= count {
            return rows.clone();
        }
        assert!(Instant::now() < deadline, "{listed}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_request_without_a_key_is_paid_for_by_the_account_that_the_file_names() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, "ledger: {anonymous: 'team:acme/visitors'}\n"));
    let refused = plainly(&gateway, "early").await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(refused.envelope().code.as_deref(), Some("unknown_account"));
    done(&gateway, &["account", "create", "acme"]);
    done(&gateway, &["account", "create", "acme/visitors"]);
    let refused = plainly(&gateway, "paid").await;
    assert_eq!(refused.status, 402, "{}", refused.text());

    done(&gateway, &["account", "deposit", "acme", "1"]);
    let paid = cost(&plainly(&gateway, "paid").await);
    assert!(paid > 0);
    assert_eq!(balance(&gateway, "org:acme"), 1_000_000_000 - paid);
    let charges = told(&gateway, &["account", "charges", "team:acme/visitors"]);
    let charges = charges["data"].as_array().expect("a list");
    let [charge] = charges.as_slice() else {
        panic!("there is one: {charges:?}")
    };
    assert_eq!((nano(&charge["amount"]), &charge["key"]), (paid, &Value::Null));

    // The list of requests says what it paid; what was refused for lack of money is no request there.
    let rows = eventually_listed(&gateway, 1).await;
    let [row] = rows.as_slice() else {
        panic!("there is one: {rows:?}")
    };
    assert_eq!((nano(&row["cost"]), row["currency"].as_str()), (paid, Some("USD")));

    // Whoever asks there is one and the same, and has the receipts of such requests.
    let shown = receipts(&gateway, "paid", None).await;
    assert_eq!(shown.status, 200, "{}", shown.text());
    let account = &shown.json()["data"][0]["account"];
    assert_eq!(
        (&account["key"], account["team"].as_str()),
        (&Value::Null, Some("team:acme/visitors"))
    );

    // The first key ends it: the keyless are refused, and keys of the same team see no receipts but their own.
    let alice = key(&gateway, "alice", &["--account", "team:acme/visitors"]);
    assert_eq!(plainly(&gateway, "late").await.status, 401);
    assert_eq!(receipts(&gateway, "paid", None).await.status, 401);
    assert_eq!(receipts(&gateway, "paid", Some(&alice)).await.status, 404);
    assert!(cost(&ask(&gateway, &alice).await) > 0);
}

#[tokio::test]
async fn who_pays_without_a_key_is_in_force_after_a_reload() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let free = plainly(&gateway, "free").await;
    assert_eq!(free.status, 200, "{}", free.text());
    assert_eq!(free.header("x-receipt"), "");
    gateway.rewrite(&yaml(&mock, "ledger: {anonymous: 'org:default'}\n"));
    let reloaded = gateway.reload().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    // From the next request on nothing is free; the account is made a moment later.
    let deadline = Instant::now() + SOON;
    let answer = loop {
        let answer = plainly(&gateway, "charged").await;
        if answer.status == 200 {
            break answer;
        }
        assert_eq!(
            answer.envelope().code.as_deref(),
            Some("unknown_account"),
            "{}",
            answer.text()
        );
        assert!(Instant::now() < deadline, "the account is not made");
    };
    assert!(cost(&answer) > 0);
    assert!(balance(&gateway, "org:default") < 0, "it pays later");

    gateway.rewrite(&yaml(&mock, ""));
    assert_eq!(gateway.reload().await.status, 200);
    let free = plainly(&gateway, "free again").await;
    assert_eq!(free.status, 200, "{}", free.text());
    assert_eq!(free.header("x-receipt"), "");
}
