//! What the admin API refuses, and a database that cannot be read.

use std::fs;

use super::*;

#[tokio::test]
async fn bodies_that_make_no_sense_change_nothing() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, "keys: [{name: filed, secret: sk-filed}]\n"));
    create(&gateway, "alice").await;
    let revoked = create(&gateway, "gone").await;
    admin(&gateway, Method::DELETE, "keys/gone", Value::Null).await;
    let before = admin(&gateway, Method::GET, "keys", Value::Null).await.json();
    let invalid = (400, "invalid_value");
    for (method, path, body, (status, code)) in [
        ("POST", "keys", "{", (400, "invalid_json")),
        ("POST", "keys", "[]", invalid),
        ("POST", "keys", "{}", invalid),
        ("POST", "keys", r#"{"name": 7}"#, invalid),
        ("POST", "keys", r#"{"name": ""}"#, invalid),
        ("POST", "keys", r#"{"name": "a", "modles": []}"#, invalid),
        (
            "POST",
            "keys",
            r#"{"name": "a", "limits": {"requests_per_minute": -1}}"#,
            invalid,
        ),
        ("POST", "keys", r#"{"name": "a", "sha256": "abc"}"#, invalid),
        // Of no text at all: what a variable that is not set comes to.
        (
            "POST",
            "keys",
            r#"{"name": "a", "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#,
            invalid,
        ),
        ("POST", "keys", r#"{"name": "oidc:a"}"#, invalid),
        ("POST", "keys", r#"{"name": ".."}"#, invalid),
        ("POST", "keys", r#"{"name": "alice"}"#, (409, "key_exists")),
        ("POST", "keys", r#"{"name": "gone"}"#, (409, "key_exists")),
        ("POST", "keys", r#"{"name": "filed"}"#, (409, "key_in_file")),
        ("PATCH", "keys/filed", "{}", (409, "key_in_file")),
        ("DELETE", "keys/filed", "", (409, "key_in_file")),
        ("PATCH", "keys/alice", r#"{"name": "bob"}"#, invalid),
        ("PATCH", "keys/alice", r#"{"models": ["*a"]}"#, invalid),
        ("PATCH", "keys/alice", "", (400, "invalid_json")),
        ("PATCH", "keys/gone", r#"{"disabled": false}"#, (409, "key_revoked")),
        ("POST", "keys/gone/rotate", "", (409, "key_revoked")),
        ("POST", "keys/alice/rotate", r#"{"grace": "soon"}"#, invalid),
        ("POST", "keys/alice/rotate", r#"{"grace": "999999h"}"#, invalid),
        ("GET", "keys/nobody", "", (404, "key_not_found")),
        ("PATCH", "keys/nobody", "{}", (404, "key_not_found")),
        ("DELETE", "keys/nobody", "", (404, "key_not_found")),
        ("GET", "audit?limit=many", "", invalid),
    ] {
        let method = method.parse::<Method>().expect("it is a method");
        let request = gateway.admin(method.clone(), path).body(body);
        let envelope = Answer::of(send(request).await).await.envelope();
        assert!(
            envelope.is(status, "invalid_request_error", code),
            "{method} {path} {body}: {envelope:?}"
        );
    }
    let after = admin(&gateway, Method::GET, "keys", Value::Null).await.json();
    assert_eq!(before["data"], after["data"]);
    assert!(is_unknown(&ask(&gateway, &revoked).await));
    assert_eq!(ask(&gateway, "sk-filed").await.status, 200);
    let file = admin(&gateway, Method::GET, "keys/filed", Value::Null).await.json();
    assert_eq!(
        (&file["source"], &file["now"]["requests"]),
        (&json!("file"), &json!(1)),
        "{file}"
    );
}

#[tokio::test]
async fn a_name_that_moves_into_the_file_belongs_to_the_file() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let alice = create(&gateway, "alice").await;
    gateway.rewrite(&yaml(&mock, "keys: [{name: alice, secret: sk-filed}]\n"));
    assert_eq!(gateway.reload().await.status, 200);
    assert!(is_unknown(&ask(&gateway, &alice).await));
    assert_eq!(ask(&gateway, "sk-filed").await.status, 200);
    let is_told = eventually(SOON, || {
        gateway.log().contains("are in the configuration file too, which wins")
    });
    assert!(is_told.await, "{}", gateway.log());
    gateway.rewrite(&yaml(&mock, ""));
    assert_eq!(gateway.reload().await.status, 200);
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    assert!(is_unknown(&ask(&gateway, "sk-filed").await));
}

#[tokio::test]
async fn where_nothing_is_kept_no_key_is_made() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(
        &mock,
        "data_dir: null\nadmin: {tokens: [{name: ops, secret: ops-token}]}\n",
    ));
    let url = format!("{}/admin/v1/keys", gateway.admin_url());
    let made = send(request(&url, r#"{"name": "alice"}"#).bearer_auth("ops-token")).await;
    let envelope = Answer::of(made).await.envelope();
    assert!(envelope.is(409, "invalid_request_error", "no_database"), "{envelope:?}");
    assert_eq!(nobody(&gateway).await.status, 200);
    let ended = key(&gateway, true, &["create", "alice"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(stderr(&ended).contains("data_dir is null"), "{}", stderr(&ended));
}

#[tokio::test]
async fn a_damaged_database_is_told_and_left_alone() {
    let world = World::new();
    let mock = world.mock(&[]);
    let data = world.dir().join("data");
    let text = yaml(&mock, &format!("data_dir: {}\n", data.display()));
    let config = world.file("mulberry.yaml", &text);
    secret(&run(&config, "null", &["create", "alice"]));
    let database = data.join("mulberry.db");
    let mut bytes = fs::read(&database).expect("the command closed it");
    // The first page stays, so that it looks like ours.
    bytes[4096..].fill(0xa5);
    fs::write(&database, &bytes).expect("it is ours");
    let said = world.gateway_error(&text);
    assert!(said.contains("damaged"), "{said}");
    let ended = run(&config, "null", &["create", "bob"]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(stderr(&ended).contains("damaged"), "{}", stderr(&ended));
    assert_eq!(stdout(&ended), "");

    fs::write(&database, "these are notes, not a database\n".repeat(300)).expect("it is ours");
    for ended in [
        run(&config, "null", &["list"]),
        run(&config, "null", &["revoke", "alice"]),
    ] {
        assert_eq!(ended.status.code(), Some(1));
        assert!(stderr(&ended).contains("nothing was changed"), "{}", stderr(&ended));
    }
}
