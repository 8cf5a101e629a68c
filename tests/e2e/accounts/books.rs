//! The ledger as a whole: checked, written out, copied and brought back.

use super::*;

fn sqlite(gateway: &Gateway, statement: &str) -> String {
    let mut command = Command::new("sqlite3");
    // The gateway writes its records meanwhile.
    command.args(["-cmd", ".timeout 10000"]);
    let output = command.arg(gateway.database()).arg(statement).output();
    let output = output.expect("sqlite3 is a tool of these tests");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

async fn busy(gateway: &Gateway) -> String {
    done(gateway, &["account", "create", "acme"]);
    done(gateway, &["account", "deposit", "acme", "5"]);
    let alice = key(gateway, "alice", &["--account", "acme"]);
    for _ in 0..3 {
        assert_eq!(ask(gateway, &alice).await.status, 200);
    }
    alice
}

#[tokio::test]
async fn a_wrong_balance_is_found_and_named() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    busy(&gateway).await;
    let clean = mulberry_of(&gateway, false, &["ledger", "verify"]);
    assert!(clean.status.success(), "{}{}", text(&clean.stdout), text(&clean.stderr));
    assert!(
        text(&clean.stdout).starts_with("the ledger is right: "),
        "{}",
        text(&clean.stdout)
    );
    // The same without the gateway.
    let alone = mulberry_of(&gateway, true, &["ledger", "verify", "--output", "json"]);
    assert!(alone.status.success(), "{}", text(&alone.stderr));

    sqlite(
        &gateway,
        "UPDATE balances SET credited = credited + 1 WHERE account = 'org:acme' AND credited > 0",
    );
    for is_alone in [false, true] {
        let found = mulberry_of(&gateway, is_alone, &["ledger", "verify"]);
        assert_eq!(found.status.code(), Some(1), "{}", text(&found.stdout));
        let said = text(&found.stdout);
        assert!(
            said.contains("the ledger is wrong") && said.contains("org:acme"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn an_export_has_every_transfer_once() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    busy(&gateway).await;
    let file = world.dir().join("ledger.ndjson");
    let path = file.display().to_string();
    done(&gateway, &["ledger", "export", "--to", &path]);
    let written = std::fs::read_to_string(&file).expect("it was written");
    let lines: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(lines.len() > 7, "{written}");
    // The first line has the time of the export, and the last its digest.
    let again = done(&gateway, &["ledger", "export"]);
    let inner = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let (mut first, mut second) = (inner(&written), inner(&again));
    assert!(first.pop().is_some() && second.pop().is_some());
    assert_eq!(first, second);
    let again = failed(&gateway, &["ledger", "export", "--to", &path]);
    assert!(again.contains(&path), "{again}");
    assert!(!written.contains("sk-mb-"), "a secret is in it");
}

#[tokio::test]
async fn a_copy_brings_back_balances_and_keys() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let alice = busy(&gateway).await;
    let before = balance(&gateway, "acme");
    let copy = world.dir().join("copy.db");
    done(&gateway, &["backup", &copy.display().to_string()]);
    // What comes after the copy is not in it.
    assert_eq!(ask(&gateway, &alice).await.status, 200);
    let data = gateway.data_dir();
    drop(gateway);

    // As docs/operating.md says.
    for name in ["mulberry.db", "mulberry.db-wal", "mulberry.db-shm"] {
        drop(std::fs::remove_file(data.join(name)));
    }
    std::fs::copy(&copy, data.join("mulberry.db")).expect("the copy is there");
    let token = std::fs::read_to_string(data.join("admin.token")).expect("it was made at the first start");
    let restored = world.gateway(&yaml(&mock, &format!("data_dir: {}\n", data.display())));
    let run = |args: &[&str]| {
        let output = Command::new(mulberry())
            .args(args)
            .args(["--output", "json", "--config"])
            .arg(restored.config())
            .env(
                "MULBERRY_ADMIN_LISTEN",
                restored.admin_url().trim_start_matches("http://"),
            )
            .env("MULBERRY_ADMIN_TOKEN", token.trim())
            .output()
            .expect("the binary has started before");
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(nano(&run(&["account", "show", "acme"])["balance"]), before);
    assert_eq!(run(&["ledger", "verify"])["ok"], true);
    assert_eq!(ask(&restored, &alice).await.status, 200);
    assert!(nano(&run(&["account", "show", "acme"])["balance"]) < before);
    assert_eq!(run(&["ledger", "verify"])["ok"], true);
}

#[tokio::test]
async fn a_gateway_that_lives_is_not_forgotten() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    busy(&gateway).await;
    let ledger = get(&gateway, "ledger").await;
    let nodes = ledger["nodes"].as_array().expect("a list");
    let [node] = nodes.as_slice() else {
        panic!("one node: {ledger}");
    };
    assert_eq!(
        (&node["state"], &node["is_this"], &node["posted"]),
        (&json!("live"), &json!(true), &json!(3))
    );
    let earned = ledger["accounts"].as_array().expect("a list").iter();
    let earned = earned.map(|account| nano(&account["balance"])).sum::<i128>();
    assert_eq!(earned, -balance(&gateway, "acme"), "{ledger}");
    let name = node["name"].as_str().expect("a name");
    let said = failed(&gateway, &["ledger", "forget-node", name]);
    assert!(said.contains(name) && said.contains("lease"), "{said}");
}

#[tokio::test]
async fn without_a_gateway_the_database_itself_is_changed() {
    let world = World::new();
    let mock = world.mock(&[]);
    let mut gateway = world.gateway(&yaml(&mock, ""));
    let made = mulberry_of(&gateway, true, &["account", "create", "acme"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    assert!(
        text(&made.stderr).contains("notices within a second"),
        "{}",
        text(&made.stderr)
    );
    gateway.kill();
    let deposited = mulberry_of(&gateway, true, &["account", "deposit", "acme", "5"]);
    assert!(deposited.status.success(), "{}", text(&deposited.stderr));
    let made = mulberry_of(&gateway, true, &["key", "create", "alice", "--account", "acme"]);
    let alice = text(&made.stdout);
    let gateway = world.gateway(&yaml(&mock, &format!("data_dir: {}\n", gateway.data_dir().display())));
    assert_eq!(ask(&gateway, alice.trim_end()).await.status, 200);
}
