//! `mulberry key` as an operator meets it.

use super::*;

#[tokio::test]
async fn with_a_gateway_running_a_change_is_in_force_when_the_command_ends() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let made = key(
        &gateway,
        false,
        &[
            "create",
            "team a",
            "--owner",
            "search",
            "--models",
            "mock,gpt-*",
            "--rpm",
            "600",
            "--concurrency",
            "2",
            "--expires",
            "2099-12-31",
            "--tag",
            "zone=b",
            "--tag",
            "env=prod",
        ],
    );
    let alice = secret(&made);
    assert!(stderr(&made).contains("in force now"), "{}", stderr(&made));
    assert!(!stderr(&made).contains(&alice));
    assert_eq!(ask(&gateway, &alice).await.status, 200);

    let shown = key(&gateway, false, &["show", "team a", "--output", "json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("it is JSON");
    for (field, expect) in [
        ("name", json!("team a")),
        ("owner", json!("search")),
        ("source", json!("database")),
        ("models", json!(["mock", "gpt-*"])),
        ("min_tier", json!("open")),
        (
            "limits",
            json!({"requests_per_minute": 600, "tokens_per_minute": null, "concurrency": 2}),
        ),
        ("expires", json!("2099-12-31T00:00:00Z")),
        ("disabled", json!(false)),
        ("revoked_at", Value::Null),
        ("tags", json!({"env": "prod", "zone": "b"})),
    ] {
        assert_eq!(shown[field], expect, "{field}");
    }
    assert!(
        shown["created_at"].is_string() && shown["now"]["requests"] == 1,
        "{shown}"
    );

    let rotated = key(&gateway, false, &["rotate", "team a", "--grace", "1h"]);
    let newer = secret(&rotated);
    assert!(stderr(&rotated).contains("is refused from 20"), "{}", stderr(&rotated));
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    assert_eq!(ask(&gateway, &newer).await.status, 200);

    for (command, status) in [("disable", 401), ("enable", 200)] {
        let done = key(&gateway, false, &[command, "team a"]);
        assert!(done.status.success(), "{}", stderr(&done));
        assert_eq!(ask(&gateway, &newer).await.status, status, "{command}");
    }
    let done = key(
        &gateway,
        false,
        &["update", "team a", "--rpm", "none", "--models", "other"],
    );
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(ask(&gateway, &newer).await.status, 403);
    let done = key(&gateway, false, &["revoke", "team a"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(is_unknown(&ask(&gateway, &newer).await));

    let list = stdout(&key(&gateway, false, &["list"]));
    let row = list.lines().find(|line| line.starts_with("team a")).unwrap_or_default();
    assert!(
        row.contains("search") && row.contains("revoked") && row.contains("other"),
        "{list}"
    );

    // Who did it, and what: the token's name.
    let audit = admin(&gateway, Method::GET, "audit?limit=100", Value::Null)
        .await
        .json();
    let entries = audit["data"].as_array().expect("a list").iter().rev();
    let actions: Vec<_> = entries
        .map(|entry| (entry["actor"].clone(), entry["action"].clone()))
        .collect();
    let expect = ["create", "rotate", "update", "update", "update", "revoke"];
    let expect = expect.map(|action| (json!("admin"), json!(format!("key.{action}"))));
    assert_eq!(actions, expect, "{audit}");
    let update = &audit["data"][1]["detail"];
    assert_eq!(
        *update,
        json!({
            "models": {"old": ["mock", "gpt-*"], "new": ["other"]},
            "requests_per_minute": {"old": 600, "new": null},
        })
    );
}

#[tokio::test]
async fn without_a_gateway_the_database_is_written() {
    let world = World::new();
    let mock = world.mock(&[]);
    let data = world.dir().join("data");
    let text = format!("{}data_dir: {}\nlisten: 127.0.0.1:0\n", yaml(&mock, ""), data.display());
    let config = world.file("mulberry.yaml", &text);
    let list = run(&config, "null", &["list"]);
    assert!(
        list.status.success() && stdout(&list).lines().count() == 1,
        "{}",
        stdout(&list)
    );
    assert!(!data.exists(), "a question makes nothing");

    let made = run(&config, "null", &["create", "alice", "--output", "text"]);
    let alice = secret(&made);
    // A path that is not where the gateway looks must be seen.
    let new = format!("written to {}/mulberry.db, which is new", data.display());
    assert!(stderr(&made).contains(&new), "{}", stderr(&made));
    let json = run(&config, "null", &["create", "bob", "--output", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("it is JSON");
    assert_eq!(json["key"]["name"], "bob");
    assert!(
        json["secret"]
            .as_str()
            .is_some_and(|secret| secret.starts_with("sk-mb-"))
    );
    let gateway = world.gateway(&text);
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    // The same by naming the database, with no configuration at all.
    let database = data.join("mulberry.db");
    let database = database.display().to_string();
    let listed = Command::new(mulberry())
        .args(["key", "list", "--output", "json", "--database", &database])
        .current_dir(world.dir().join("data"))
        .output()
        .expect("the binary has started before");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("it is JSON");
    let names: Vec<_> = listed["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|key| key["name"].clone())
        .collect();
    assert_eq!(names, ["alice", "bob"]);
}

#[tokio::test]
async fn what_goes_wrong_is_said_and_the_status_tells_it() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, "keys: [{name: filed, secret: sk-filed}]\n"));
    assert!(key(&gateway, false, &["create", "alice"]).status.success());
    for alone in [false, true] {
        for (args, code, said) in [
            (&["create", "alice"][..], 1, "there is a key named 'alice' already"),
            (&["create", "a/b"], 1, "name"),
            (&["create", "c", "--models", "a*b"], 1, "no model"),
            (&["create", "c", "--min-tier", "steel"], 1, "no tier"),
            (&["create", "c", "--rpm", "0"], 1, "disable the key"),
            (&["create", "c", "--expires", "soon"], 1, "no time"),
            (&["create", "filed"], 1, "is in the configuration file"),
            (&["revoke", "filed"], 1, "is in the configuration file"),
            (&["rotate", "nobody"], 1, "no key named 'nobody'"),
            (&["show", "nobody"], 1, "no key named 'nobody'"),
            (&["update", "alice"], 1, "nothing to change"),
            (&["create", "c", "--sha256", "sk-my-secret"], 1, "hexadecimal"),
            (&["rotate", "alice", "--grace", "soon"], 2, "24h"),
            (&["create", "c", "--rpm", "many"], 2, "number"),
            (&["create"], 2, "NAME"),
            (&["destroy", "alice"], 2, "destroy"),
        ] {
            let ended = key(&gateway, alone, args);
            assert_eq!(ended.status.code(), Some(code), "{args:?}: {}", stderr(&ended));
            assert!(stderr(&ended).contains(said), "{args:?}: {}", stderr(&ended));
            assert_eq!(stdout(&ended), "", "{args:?}");
            assert!(!stderr(&ended).contains("sk-my-secret"), "{}", stderr(&ended));
        }
    }
}

#[tokio::test]
async fn a_wrong_token_is_no_way_in_and_the_database_is_written_instead() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let made = Command::new(mulberry())
        .args(["key", "create", "alice", "--config"])
        .arg(gateway.config())
        .env(
            "MULBERRY_ADMIN_LISTEN",
            gateway.admin_url().trim_start_matches("http://"),
        )
        .env("MULBERRY_ADMIN_TOKEN", "not-the-token")
        .output()
        .expect("the binary has started before");
    let alice = secret(&made);
    assert!(
        stderr(&made).contains("does not know our admin token"),
        "{}",
        stderr(&made)
    );
    let begun = Instant::now();
    while ask(&gateway, &alice).await.status != 200 || nobody(&gateway).await.status == 200 {
        assert!(begun.elapsed() < SOON, "after {:?}", begun.elapsed());
    }
}

/// A program of somebody else's that took the port says 200 to everything.
#[tokio::test]
async fn what_is_no_gateway_is_not_believed() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let alice = create(&gateway, "alice").await;
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    let run = |stranger: &Scripted, args: &[&str]| {
        Command::new(mulberry())
            .arg("key")
            .args(args)
            .arg("--config")
            .arg(gateway.config())
            .env("MULBERRY_ADMIN_LISTEN", stranger.url().trim_start_matches("http://"))
            .env("MULBERRY_ADMIN_TOKEN", "any")
            .output()
            .expect("the binary has started before")
    };
    for body in ["[]", "{}", "\"ok\"", r#"{"data": {}, "key": {"name": "bob"}}"#] {
        let listed = run(&Scripted::json(body), &["list"]);
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.status.success() && text.contains("alice"), "{body}: {text}");
    }
    let rotated = secret(&run(&Scripted::json("{}"), &["rotate", "alice", "--grace", "1h"]));
    let revoked = run(&Scripted::json("{}"), &["revoke", "alice"]);
    assert!(stderr(&revoked).contains("is no gateway"), "{}", stderr(&revoked));
    let begun = Instant::now();
    while ask(&gateway, &alice).await.status != 401 || ask(&gateway, &rotated).await.status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it was said to be revoked");
    }
}
