//! What cannot be: each refused in words that say what to do, with nothing changed.

use super::*;

#[tokio::test]
async fn amounts_that_are_none_are_refused() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    done(&gateway, &["account", "create", "acme"]);
    let amounts = [
        (json!("1e9"), "is not an amount"),
        (json!("-1"), "is not an amount"),
        (json!("0.0000000001"), "up to nine after a point"),
        (json!("9223372036854775808"), "the most that an amount can be"),
        (json!("9223372036.854775808"), "the most that an amount can be"),
        (json!("0"), "moves nothing"),
        (json!(""), "is not an amount"),
        (json!(1), "as text"),
        (json!(0.5), "as text"),
        (Value::Null, "as text"),
    ];
    for (amount, what) in &amounts {
        for kind in ["deposits", "withdrawals"] {
            let path = format!("accounts/org:acme/{kind}");
            let answer = admin(&gateway, Method::POST, &path, json!({"amount": amount})).await;
            let envelope = answer.envelope();
            assert!(
                envelope.is(400, "invalid_request_error", "invalid_value"),
                "{amount}: {envelope:?}"
            );
            assert!(envelope.message.contains(what), "{amount}: {}", envelope.message);
        }
    }
    for (amount, what) in &amounts[..5] {
        let body = json!({"budget": {"day": amount}});
        let answer = admin(&gateway, Method::PATCH, "accounts/org:acme", body).await;
        assert_eq!(answer.status, 400, "{amount}");
        assert!(answer.envelope().message.contains(what), "{amount}: {}", answer.text());
        let amount = amount.as_str().expect("texts");
        let said = failed(&gateway, &["account", "deposit", "acme", amount]);
        assert!(said.contains(what), "{amount}: {said}");
    }
    assert_eq!(balance(&gateway, "acme"), 0);

    // Two that fit each, and whose sum does not.
    let most = json!({"amount": "9223372036.854775807"});
    let answer = admin(&gateway, Method::POST, "accounts/org:acme/deposits", most).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let answer = admin(
        &gateway,
        Method::POST,
        "accounts/org:acme/deposits",
        json!({"amount": "1"}),
    )
    .await;
    assert!(answer.status.is_client_error(), "{}", answer.text());
    assert_eq!(balance(&gateway, "acme"), i128::from(i64::MAX));
}

#[tokio::test]
async fn accounts_that_cannot_be_are_refused() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    done(&gateway, &["account", "create", "acme", "--currency", "EUR"]);
    for (body, status, what) in [
        (json!({"id": "org:acme"}), 409, "named 'org:acme'"),
        (json!({"id": "acme co"}), 400, "no account that can be made"),
        (json!({"id": "system:earnings"}), 400, "nobody changes by hand"),
        (json!({"id": "key:alice"}), 400, "mulberry key update alice"),
        (json!({"id": "team:nobody/research"}), 404, "org:nobody"),
        (json!({"id": "org:b", "currency": "usd"}), 400, "three capital letters"),
        (
            json!({"id": "team:acme/a", "currency": "USD"}),
            400,
            "leave `currency` out",
        ),
        (json!({"id": "team:acme/a", "credit": "1"}), 400, "set it on org:acme"),
        (
            json!({"id": "org:b", "budget": {"week": "1"}}),
            400,
            "unknown field `week`",
        ),
        (json!({"name": "org:b"}), 400, "unknown field `name`"),
    ] {
        let answer = admin(&gateway, Method::POST, "accounts", body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.text());
        assert!(answer.envelope().message.contains(what), "{body}: {}", answer.text());
    }
    for (path, body, status, what) in [
        (
            "accounts/org:nobody/deposits",
            json!({"amount": "1"}),
            404,
            "mulberry account create org:nobody",
        ),
        (
            "accounts/team:acme%2Fa/deposits",
            json!({"amount": "1"}),
            400,
            "name org:acme",
        ),
        (
            "accounts/org:acme/deposits",
            json!({"amount": "1", "currency": "USD"}),
            400,
            "EUR",
        ),
        (
            "accounts/org:acme/deposits",
            json!({"amount": "1", "id": "a b"}),
            400,
            "letters, digits",
        ),
        ("accounts/org:acme/withdrawals", json!({"amount": "1"}), 409, "org:acme"),
        ("ledger/nodes/nobody/forget", json!({}), 404, "nobody"),
    ] {
        let answer = admin(&gateway, Method::POST, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
        assert!(answer.envelope().message.contains(what), "{path}: {}", answer.text());
    }
    // A key cannot be charged to what is not there.
    let said = failed(&gateway, &["key", "create", "alice", "--account", "org:nobody"]);
    assert!(said.contains("mulberry account create org:nobody"), "{said}");
    let said = failed(&gateway, &["key", "create", "alice", "--account", "nonsense:x"]);
    assert!(said.contains("org:NAME"), "{said}");
    assert!(
        get(&gateway, "keys").await["data"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );
}

#[tokio::test]
async fn a_movement_of_one_name_is_made_once() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    done(&gateway, &["account", "create", "acme"]);
    let deposit = |amount: &str| json!({"id": "invoice-7", "amount": amount, "memo": "seven"});
    for (amount, status, is_new) in [("5", 201, true), ("5", 200, false), ("5.000", 200, false)] {
        let answer = admin(&gateway, Method::POST, "accounts/org:acme/deposits", deposit(amount)).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
        assert_eq!(
            (&answer.json()["is_new"], &answer.json()["balance"]),
            (&json!(is_new), &json!("5.000000000"))
        );
    }
    let answer = admin(&gateway, Method::POST, "accounts/org:acme/deposits", deposit("6")).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    assert!(answer.envelope().message.contains("invoice-7"), "{}", answer.text());
    let taken = told(&gateway, &["account", "withdraw", "acme", "2", "--id", "back-1"]);
    assert_eq!(
        (&taken["kind"], &taken["balance"]),
        (&json!("withdrawal"), &json!("3.000000000"))
    );
    let said = failed(&gateway, &["account", "withdraw", "acme", "3.000000001"]);
    assert!(said.contains("--id ") && said.contains("at most once"), "{said}");
    assert_eq!(balance(&gateway, "acme"), 3_000_000_000);
    let transfers = get(&gateway, "accounts/org:acme/transfers").await;
    let kinds = transfers["data"].as_array().expect("a list").iter();
    let kinds: Vec<_> = kinds
        .map(|transfer| transfer["kind"].as_str().unwrap_or_default())
        .collect();
    assert_eq!(kinds, ["withdrawal", "deposit"]);
}

#[tokio::test]
async fn where_nothing_is_kept_there_is_no_ledger() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(
        &mock,
        "data_dir: null\nadmin: {tokens: [{name: ops, secret: the-admin-token-of-this-test}]}\n",
    ));
    for path in ["accounts", "spend", "ledger"] {
        let url = format!("{}/admin/v1/{path}", gateway.admin_url());
        let request = e2e::client::client()
            .get(url)
            .bearer_auth("the-admin-token-of-this-test");
        let answer = Answer::of(send(request).await).await;
        assert_eq!(
            answer.envelope().code.as_deref(),
            Some("no_database"),
            "{path}: {}",
            answer.text()
        );
    }
}
