//! Gateways whose keys and records are in PostgreSQL.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use e2e::client::{chat, request, send};
use e2e::process::mulberry;
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, World, eventually};
use test_postgres::{Server, Settings};

fn yaml(mock: &Mock, database: &str) -> String {
    format!(
        "database: \"{database}\"\nbackends: [{{name: only, url: '{}', health: {{enabled: false}}}}]\n",
        mock.url()
    )
}

/// A command for the database of a gateway, which does not ask the gateway itself.
fn command(gateway: &Gateway, args: &[&str]) -> Output {
    Command::new(mulberry())
        .args(args)
        .arg("--config")
        .arg(gateway.config())
        .env("MULBERRY_ADMIN_LISTEN", "null")
        .env("USER", "tester")
        .output()
        .expect("the binary has started before")
}

fn secret(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

async fn status(gateway: &Gateway, key: &str, id: &str) -> u16 {
    let url = format!("{}/v1/chat/completions", gateway.url());
    let asked = request(&url, chat("mock")).bearer_auth(key).header("x-request-id", id);
    Answer::of(send(asked).await).await.status.as_u16()
}

/// Asks until the answer has this status, as a change in the database comes to be known.
async fn becomes(gateway: &Gateway, key: &str, expect: u16) -> Duration {
    let began = Instant::now();
    while status(gateway, key, "again").await != expect {
        assert!(began.elapsed() < SOON, "it never answers {expect}:\n{}", gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

async fn recorded(gateway: &Gateway, id: &str) {
    let there = eventually(SOON, || gateway.records().iter().any(|line| line.contains(id))).await;
    assert!(there, "no record of {id}:\n{}", gateway.log());
}

#[tokio::test]
async fn two_gateways_share_keys_and_records() {
    let Some(server) = Server::shared() else { return };
    let (world, database) = (World::new(), server.database());
    let mock = world.mock(&[]);
    let text = yaml(&mock, &database);
    // At the same time, on a database that is empty.
    let (north, south) = (world.gateway(&text), world.gateway(&text));
    let made = command(&north, &["key", "create", "alice"]);
    let told = String::from_utf8_lossy(&made.stderr).into_owned();
    assert!(
        told.contains("PostgreSQL database") && !told.contains("postgres://"),
        "{told}"
    );
    let alice = secret(&made);
    for gateway in [&north, &south] {
        let took = becomes(gateway, &alice, 200).await;
        assert!(took < SOON, "{took:?}");
    }
    assert_eq!(status(&north, &alice, "by-north").await, 200);
    assert_eq!(status(&south, &alice, "by-south").await, 200);
    recorded(&north, "by-south").await;
    recorded(&south, "by-north").await;
    command(&south, &["key", "revoke", "alice"]);
    for gateway in [&north, &south] {
        let took = becomes(gateway, &alice, 401).await;
        assert!(took < SOON, "{took:?}");
    }
}

#[tokio::test]
async fn a_gateway_serves_on_while_its_server_is_away() {
    let Some(server) = Server::start(Settings::quick()) else {
        return;
    };
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, &server.database()));
    let alice = secret(&command(&gateway, &["key", "create", "alice"]));
    let bob = secret(&command(&gateway, &["key", "create", "bob"]));
    becomes(&gateway, &alice, 200).await;
    becomes(&gateway, &bob, 200).await;

    server.stop();
    for i in 0..20 {
        assert_eq!(status(&gateway, &alice, &format!("away-{i}")).await, 200);
    }
    let said = eventually(SOON, || gateway.log().contains("cannot be reached")).await;
    assert!(said, "{}", gateway.log());
    server.start_again();
    for i in 0..20 {
        recorded(&gateway, &format!("away-{i}")).await;
    }
    command(&gateway, &["key", "revoke", "alice"]);
    becomes(&gateway, &alice, 401).await;

    server.pause();
    let began = Instant::now();
    assert_eq!(status(&gateway, &bob, "paused").await, 200);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "a request waited for the database"
    );
    server.resume();
    recorded(&gateway, "paused").await;
}

#[tokio::test]
async fn without_its_server_a_gateway_does_not_start_and_says_why() {
    let world = World::new();
    let mock = world.mock(&[]);
    let said = world.gateway_error(&yaml(&mock, "postgres://mulberry:hunter2@127.0.0.1:1/gate"));
    assert!(said.contains("the PostgreSQL database gate at 127.0.0.1:1"), "{said}");
    assert!(
        said.contains("cannot be reached") && !said.contains("hunter2"),
        "{said}"
    );
    let Some(server) = Server::shared() else { return };
    let said = world.gateway_error(&yaml(&mock, &server.url("nothing_here")));
    assert!(said.contains("no such database"), "{said}");
    let said = world.gateway_error(&yaml(&mock, &server.guarded_url("postgres", "hunter2")));
    assert!(
        said.contains("refuses this user or password") && !said.contains("hunter2"),
        "{said}"
    );
}

/// As docs/operating.md says it.
#[tokio::test]
async fn a_dump_that_is_restored_is_a_database_to_go_on_from() {
    let Some(server) = Server::shared() else { return };
    let (world, database) = (World::new(), server.database());
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, &database));
    let alice = secret(&command(&gateway, &["key", "create", "alice"]));
    becomes(&gateway, &alice, 200).await;
    assert_eq!(status(&gateway, &alice, "before").await, 200);
    recorded(&gateway, "before").await;
    let copy = world.dir().join("backup.db").display().to_string();
    let refused = command(&gateway, &["backup", &copy]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && told.contains("pg_dump --schema=mulberry"),
        "{told}"
    );

    let dump = world.dir().join("backup.dump");
    let run = |mut command: Command| {
        let output = command.output().expect("PostgreSQL has it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let mut dumping = server.program("pg_dump");
    dumping.args(["--schema=mulberry", "--format=custom", "--file"]);
    dumping.arg(&dump).arg(&database);
    run(dumping);
    assert_eq!(status(&gateway, &alice, "after").await, 200);
    let empty = server.database();
    let mut restoring = server.program("pg_restore");
    restoring.args(["--no-owner", "--single-transaction", "--dbname", &empty]);
    run({
        restoring.arg(&dump);
        restoring
    });

    let restored = world.gateway(&yaml(&mock, &empty));
    assert_eq!(status(&restored, &alice, "restored").await, 200);
    recorded(&restored, "restored").await;
    recorded(&restored, "before").await;
    assert!(!restored.records().iter().any(|line| line.contains("after")));
    // Identities go on where they were.
    secret(&command(&restored, &["key", "create", "bob"]));
    secret(&command(&restored, &["key", "rotate", "alice"]));
}
