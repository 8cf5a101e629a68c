//! Tokens that somebody pays for.

use std::time::Instant;

use e2e::client::{chat, client, send};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, World};
use jsonwebtoken::Algorithm;
use reqwest::Method;
use serde_json::{Value, json};

use super::issuer::{Issuer, Signer};
use super::with;

/// The gateway believes the issuer, whose tokens are paid for as `more` says.
fn yaml(mock: &str, issuer: &str, more: &str) -> String {
    format!(
        "backends: [{{name: only, url: '{mock}'}}]\n\
         models: [{{name: mock, routes: [{{backend: only}}], price: {{prompt: 100, completion: 200}}}}]\n\
         oidc:\n  - {{issuer: '{issuer}', audience: mulberry, {more}}}\n"
    )
}

async fn ask(gateway: &Gateway, token: &str, id: &str) -> Answer {
    let request = client().post(format!("{}/v1/chat/completions", gateway.url()));
    let request = request
        .header("content-type", "application/json")
        .header("x-request-id", id);
    Answer::of(send(request.bearer_auth(token).body(chat("mock"))).await).await
}

async fn receipt(gateway: &Gateway, token: &str, id: &str) -> Answer {
    let request = client().get(format!("{}/v1/receipts/{id}", gateway.url()));
    Answer::of(send(request.bearer_auth(token)).await).await
}

async fn admin(gateway: &Gateway, method: Method, path: &str, body: Value) -> Value {
    let answer = Answer::of(send(gateway.admin(method, path).body(body.to_string())).await).await;
    assert!(answer.status.is_success(), "{path}: {}", answer.text());
    answer.json()
}

#[track_caller]
fn check_charged(answer: &Answer) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.header("x-receipt"), "", "nobody pays");
}

#[tokio::test]
async fn tokens_are_paid_for_by_the_account_of_their_rule_or_of_their_issuer() {
    let issuer = Issuer::start().await;
    let signer = Signer::new("k", Algorithm::ES256);
    issuer.publish(&[&signer]);
    let world = World::new();
    let mock = world.mock(&[]);
    let pays = "account: 'org:acme', rules: [{claim: groups, value: research, account: 'team:acme/research'}, {claim: groups, value: sales}]";
    let gateway = world.gateway(&yaml(&mock.url(), &issuer.url(), pays));
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| issuer.claims(name));
    let alice = signer.sign(&with(&alice, json!({"groups": ["research"]})));
    let bob = signer.sign(&with(&bob, json!({"groups": ["sales"]})));
    let carol = signer.sign(&carol);

    for token in [&alice, &carol] {
        let refused = ask(&gateway, token, "early").await.envelope();
        assert!(refused.is(403, "permission_error", "unknown_account"), "{refused:?}");
    }
    for new in [json!({"id": "org:acme"}), json!({"id": "team:acme/research"})] {
        admin(&gateway, Method::POST, "accounts", new).await;
    }
    // Of a token that was believed before, the payer is the one of now.
    for token in [&alice, &bob, &carol] {
        let refused = ask(&gateway, token, "poor").await.envelope();
        assert!(
            refused.is(402, "insufficient_quota", "insufficient_quota"),
            "{refused:?}"
        );
    }
    admin(
        &gateway,
        Method::POST,
        "accounts/org:acme/deposits",
        json!({"amount": "5"}),
    )
    .await;
    for (token, id) in [(&alice, "a"), (&bob, "b"), (&carol, "c")] {
        check_charged(&ask(&gateway, token, id).await);
    }

    // Each subject spends in its own name, and the team is that of the rule.
    let charges = admin(&gateway, Method::GET, "accounts/org:acme/charges?limit=10", Value::Null).await;
    let charges = charges["data"].as_array().expect("a list");
    let mut seen: Vec<(&str, &str, Option<&str>)> = charges
        .iter()
        .map(|charge| {
            let text = |name: &str| charge[name].as_str();
            (
                text("request_id").unwrap_or_default(),
                text("key").unwrap_or_default(),
                text("team"),
            )
        })
        .collect();
    seen.sort_unstable();
    let name = |subject: &str| format!("oidc:{}#{subject}", issuer.url());
    let [a, b, c] = ["alice", "bob", "carol"].map(name);
    assert_eq!(
        seen,
        [
            ("a", a.as_str(), Some("team:acme/research")),
            ("b", b.as_str(), None),
            ("c", c.as_str(), None)
        ]
    );
    // Receipts are the subject's own.
    assert_eq!(receipt(&gateway, &bob, "b").await.status, 200);
    assert_eq!(receipt(&gateway, &carol, "b").await.status, 404);
    let checked = admin(&gateway, Method::POST, "ledger/verify", Value::Null).await;
    assert_eq!(
        (&checked["state"], &checked["ok"]),
        (&json!("done"), &json!(true)),
        "{checked}"
    );

    // A budget of the team binds those of the rule, and nobody else.
    let budget = json!({"budget": {"total": "0.000000001"}});
    admin(&gateway, Method::PATCH, "accounts/team:acme%2Fresearch", budget).await;
    let refused = ask(&gateway, &alice, "over").await.envelope();
    assert!(
        refused.is(402, "insufficient_quota", "insufficient_quota"),
        "{refused:?}"
    );
    check_charged(&ask(&gateway, &carol, "under").await);
}

#[tokio::test]
async fn who_pays_for_tokens_is_in_force_after_a_reload_though_they_were_believed_before() {
    let issuer = Issuer::start().await;
    let signer = Signer::new("k", Algorithm::ES256);
    issuer.publish(&[&signer]);
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock.url(), &issuer.url(), ""));
    let token = signer.sign(&issuer.claims("alice"));
    let free = ask(&gateway, &token, "free").await;
    assert_eq!(free.status, 200, "{}", free.text());
    assert_eq!(free.header("x-receipt"), "");
    gateway.rewrite(&yaml(&mock.url(), &issuer.url(), "account: 'org:default'"));
    assert_eq!(gateway.reload().await.status, 200);
    let deadline = Instant::now() + SOON;
    let answer = loop {
        let answer = ask(&gateway, &token, "charged").await;
        if answer.status == 200 {
            break answer;
        }
        // The account is made a moment later, and nothing is free meanwhile.
        assert_eq!(
            answer.envelope().code.as_deref(),
            Some("unknown_account"),
            "{}",
            answer.text()
        );
        assert!(Instant::now() < deadline, "the account is not made");
    };
    check_charged(&answer);
}
