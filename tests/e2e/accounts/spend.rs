//! What was spent, by model, key, team and tag, as JSON and as CSV.

use e2e::eventually;
use e2e::wait::SOON;

use super::*;

#[tokio::test]
async fn spend_adds_up_in_every_group() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    done(&gateway, &["account", "create", "acme", "--credit", "unlimited"]);
    done(&gateway, &["account", "create", "acme/research"]);
    let alice = key(
        &gateway,
        "=alice+1",
        &["--account", "team:acme/research", "--tag", "env=prod"],
    );
    let bob = key(&gateway, "bob", &["--account", "org:acme"]);
    for secret in [&alice, &alice, &bob] {
        assert_eq!(ask(&gateway, secret).await.status, 200);
    }
    let spent = -balance(&gateway, "acme");
    assert!(spent > 0);
    for (by, expect) in [
        ("model", &[("mock", 3)][..]),
        ("key", &[("=alice+1", 2), ("bob", 1)]),
        ("team", &[("acme/research", 2)]),
        ("org", &[("acme", 3)]),
        ("tag:env", &[("prod", 2)]),
    ] {
        let answer = get(&gateway, &format!("spend?by={by}&days=2")).await;
        let rows = answer["data"].as_array().expect("a list");
        assert_eq!(
            rows.iter().map(|row| nano(&row["amount"])).sum::<i128>(),
            spent,
            "{answer}"
        );
        for (group, requests) in expect {
            let row = rows.iter().find(|row| row["group"] == *group);
            let row = row.unwrap_or_else(|| panic!("no {group} in {answer}"));
            assert_eq!(
                (&row["requests"], &row["currency"]),
                (&json!(requests), &json!("USD")),
                "{row}"
            );
        }
    }
    let of_team = get(&gateway, "spend?by=key&account=team:acme%2Fresearch").await;
    assert_eq!(of_team["data"].as_array().map(Vec::len), Some(1), "{of_team}");
    let answer = Answer::of(send(gateway.admin(Method::GET, "spend?by=weather")).await).await;
    assert_eq!(answer.status, 400);
    assert!(answer.envelope().message.contains("tag:NAME"), "{}", answer.text());

    // No name is a formula to a spreadsheet.
    let csv = Answer::of(send(gateway.admin(Method::GET, "spend?by=key&format=csv")).await).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let lines = csv.text();
    let mut lines = lines.split("\r\n");
    assert_eq!(
        lines.next(),
        Some("key,currency,requests,prompt,cached,completion,reasoning,amount,fee")
    );
    let names: Vec<&str> = lines.filter_map(|line| line.split(',').next()).collect();
    assert!(names.contains(&"'=alice+1") && names.contains(&"bob"), "{names:?}");
    assert_eq!(done(&gateway, &["spend", "--by", "key", "--csv"]), csv.text());
    let table = done(&gateway, &["spend", "--by", "key"]);
    assert!(table.starts_with("KEY") && table.contains("bob"), "{table}");
}

#[tokio::test]
async fn a_statement_leads_from_one_balance_to_the_next() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    done(&gateway, &["account", "create", "acme"]);
    done(&gateway, &["account", "deposit", "acme", "5"]);
    done(&gateway, &["account", "withdraw", "acme", "1"]);
    let alice = key(&gateway, "alice", &["--account", "acme"]);
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    let statement = get(&gateway, "accounts/org:acme/statement").await;
    assert_eq!(
        (&statement["opening"], &statement["deposited"], &statement["withdrawn"]),
        (&json!("0.000000000"), &json!("5.000000000"), &json!("1.000000000"))
    );
    assert_eq!(nano(&statement["closing"]), 4_000_000_000 - nano(&statement["spent"]));
    assert_eq!(nano(&statement["closing"]), balance(&gateway, "acme"));
    assert_eq!(statement["models"][0]["group"], "mock", "{statement}");
    let before = get(&gateway, "accounts/org:acme/statement?month=2020-01").await;
    assert_eq!(
        (&before["closing"], &before["spent"]),
        (&json!("0.000000000"), &json!("0.000000000"))
    );
    let answer = Answer::of(send(gateway.admin(Method::GET, "accounts/org:acme/statement?month=2020-13")).await).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    let printed = done(&gateway, &["account", "statement", "acme"]);
    assert!(printed.contains("closing") && printed.contains("mock"), "{printed}");
}

#[tokio::test]
async fn the_rates_that_were_in_force_are_in_the_ledger() {
    let world = World::new();
    let mock = world.mock(&[]);
    let rates = |rate: &str, more: &str| {
        let ledger = format!("ledger: {{rates: [{{from: USD, to: TON, rate: {rate}}}{more}]}}\n");
        yaml(&mock, &ledger)
    };
    let gateway = world.gateway(&rates("0.35", ""));
    let recorded = || {
        let rates = told(&gateway, &["ledger", "rates"]);
        let rates = rates.as_array().expect("a list").clone();
        let text = |rate: &Value, name: &str| rate[name].as_str().expect("a text").to_owned();
        let rates = rates
            .iter()
            .map(|rate| ["from", "to", "rate"].map(|name| text(rate, name)).join(" "));
        rates.collect::<Vec<_>>()
    };
    assert_eq!(recorded(), ["USD TON 0.350000000"]);
    // What stays is not written again, and what was is not forgotten.
    gateway.rewrite(&rates("0.35", ", {from: TON, to: USD, rate: 2.8}"));
    assert_eq!(gateway.reload().await.status, 200);
    assert!(eventually(SOON, || recorded().len() == 2).await, "{:?}", recorded());
    gateway.rewrite(&rates("0.4", ""));
    assert_eq!(gateway.reload().await.status, 200);
    assert!(eventually(SOON, || recorded().len() == 3).await, "{:?}", recorded());
    assert_eq!(
        recorded(),
        ["USD TON 0.400000000", "TON USD 2.800000000", "USD TON 0.350000000"]
    );
    let printed = done(&gateway, &["ledger", "rates"]);
    assert!(
        printed.starts_with("SINCE ") && printed.contains("  USD   TON  0.400000000"),
        "{printed}"
    );
}
