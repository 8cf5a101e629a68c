//! What only a server can do: be away, refuse, hang, be set up by somebody else.

use std::time::{Duration, Instant};

use test_postgres::{Server, Settings};

use super::scene::{Scene, by_hand};
use super::{all, record, until, write};
use crate::pool::{Either, Pool};
use crate::{GroupBy, Location, OpenError, Reader, Store};

/// A reader says within seconds that there is no answer. Whoever waits for the server waits for ever, so that a machine
/// under load may have a minute.
const SOON: Duration = Duration::from_secs(60);

fn location(url: &str) -> Location {
    Location::Postgres(url.parse().expect("the server's URLs are whole"))
}

/// Why it does not open, on every level; never with a password.
async fn refusal(url: &str) -> (OpenError, String) {
    let error = Store::open(&location(url)).await.expect_err("it does not open");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    assert!(!text.contains("secret") && !text.contains("hunter2"), "{text}");
    (error, text)
}

async fn setting(pool: &Pool, name: &str) -> String {
    let Either::Postgres(pool) = pool else {
        panic!("it is a server");
    };
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(pool)
        .await
        .expect("readable")
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_said() {
    let Some(server) = Server::shared() else { return };
    let check = async |url: String, expect: &str| {
        let (_, text) = refusal(&url).await;
        assert!(text.contains(expect), "{text}");
    };
    // Nobody listens on the port that nobody may have.
    check("postgres://u:hunter2@127.0.0.1:1/d".into(), "cannot be reached").await;
    check(
        "postgres://u:hunter2@no-such-host.invalid/d".into(),
        "cannot be reached",
    )
    .await;
    let url = server.database();
    let name = url.rsplit('/').next().expect("it has a path").to_owned();
    check(server.url("nothing_here"), "no such database").await;
    check(server.guarded_url(&name, "hunter2"), "refuses this user or password").await;
    check(server.guarded_url(&name, "secret"), "grant the user CREATE").await;
    check(format!("{url}?sslmode=require"), "check sslmode").await;
    server.sql("postgres", &format!("GRANT CREATE ON DATABASE {name} TO guarded"));
    let store = Store::open(&location(&server.guarded_url(&name, "secret"))).await;
    let store = store.expect("the right to make a schema is all that is needed");
    write(&store, [record("a")]).await;
    assert!(store.record("a").await.expect("readable").is_some());
}

#[tokio::test]
async fn a_database_of_others_is_shared_and_their_schema_refused() {
    let Some(server) = Server::shared() else { return };
    let url = server.database();
    let name = url.rsplit('/').next().expect("it has a path");
    // Tables of the same name elsewhere are none of our business.
    server.sql(name, "CREATE TABLE keys (x int); CREATE TABLE requests (x int)");
    let store = Store::open(&location(&url)).await.expect("public is not ours");
    write(&store, [record("a")]).await;
    assert_eq!(server.sql(name, "SELECT count(*) FROM public.requests"), "0");
    assert_eq!(server.sql(name, "SELECT count(*) FROM mulberry.requests"), "1");

    let other = server.database();
    let name = other.rsplit('/').next().expect("it has a path");
    server.sql(name, "CREATE SCHEMA mulberry; CREATE TABLE mulberry.trees (x int)");
    let (error, _) = refusal(&other).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_eq!(
        server.sql(name, "SELECT tablename FROM pg_tables WHERE schemaname = 'mulberry'"),
        "trees"
    );
}

#[tokio::test]
async fn a_reader_of_an_empty_server_makes_nothing() {
    let Some(server) = Server::shared() else { return };
    let url = server.database();
    let error = Reader::open(&location(&url)).await.expect_err("there is no schema yet");
    assert!(matches!(error, OpenError::Older { found: 0, .. }), "{error:?}");
    let name = url.rsplit('/').next().expect("it has a path");
    assert_eq!(
        server.sql(name, "SELECT count(*) FROM pg_namespace WHERE nspname = 'mulberry'"),
        "0"
    );
}

#[tokio::test]
async fn a_session_is_ours_whatever_the_operator_set() {
    let Some(server) = Server::shared() else { return };
    let url = server.database();
    let name = url.rsplit('/').next().expect("it has a path");
    for set in [
        "synchronous_commit = off",
        "statement_timeout = 1",
        "default_transaction_isolation = 'serializable'",
        "search_path = public",
        "timezone = 'Asia/Kathmandu'",
        "lc_numeric = 'C'",
    ] {
        server.sql("postgres", &format!("ALTER DATABASE {name} SET {set}"));
    }
    let store = Store::open(&location(&url)).await.expect("opens");
    for (name, expect) in [
        ("synchronous_commit", "on"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("default_transaction_isolation", "read committed"),
        ("search_path", "mulberry"),
        ("application_name", "mulberry"),
    ] {
        assert_eq!(setting(&store.writer, name).await, expect, "{name}");
        assert_eq!(setting(&store.ledger, name).await, expect, "{name}");
    }
    assert_eq!(
        setting(store.reader().pool(), "default_transaction_read_only").await,
        "on"
    );
    // A stronger promise than ours is kept.
    server.sql(
        "postgres",
        &format!("ALTER DATABASE {name} SET synchronous_commit = remote_apply"),
    );
    let store = Store::open(&location(&url)).await.expect("opens");
    assert_eq!(setting(&store.ledger, "synchronous_commit").await, "remote_apply");
}

#[tokio::test]
async fn a_database_that_only_reads_is_no_place_for_a_gateway() {
    let Some(scene) = Scene::postgres() else { return };
    drop(scene.open().await);
    let Location::Postgres(url) = &scene.location else {
        panic!("it is a server");
    };
    let server = Server::shared().expect("there was one");
    let name = url.expose().rsplit('/').next().expect("it has a path");
    let standby = Server::start_standby_of(server).expect("the other one started");
    let there = location(&standby.url(name));
    let error = Store::open(&there).await.expect_err("it only reads");
    assert!(matches!(error, OpenError::Standby { .. }), "{error:?}");
    assert!(error.to_string().contains("name the primary"), "{error}");
    let reader = Reader::open(&there).await.expect("reading is what it is for");
    assert_eq!(reader.keys().await.expect("readable").generation, 0);
}

#[tokio::test]
async fn a_record_says_which_gateway_it_is_of() {
    let Some(scene) = Scene::postgres() else { return };
    let store = scene.open().await;
    for node in ["north", "south"] {
        let (recorder, task) = store.recorder_of(node);
        let task = tokio::spawn(task.run());
        recorder.record(record(node));
        recorder.close().await;
        task.await.expect("the task ends");
    }
    write(&store, [record("nowhere")]).await;
    let Pool::Postgres(pool) = &store.writer else {
        panic!("it is a server");
    };
    let nodes: Vec<(String, Option<String>)> = sqlx::query_as("SELECT request_id, node FROM requests ORDER BY id")
        .fetch_all(pool)
        .await
        .expect("readable");
    let expect = [("north", Some("north")), ("south", Some("south")), ("nowhere", None)];
    assert_eq!(nodes, expect.map(|(id, node)| (id.to_owned(), node.map(str::to_owned))));
}

#[tokio::test]
async fn a_zero_byte_of_a_client_costs_no_batch() {
    let Some(scene) = Scene::postgres() else { return };
    let store = scene.open().await;
    let mut odd = record("a\0b");
    odd.model = "\0".repeat(300);
    odd.error_code = Some("\0".into());
    let recorder = write(&store, [odd, record("next")]).await;
    assert_eq!(recorder.dropped(), 0);
    let kept = store
        .record("a\0b")
        .await
        .expect("readable")
        .expect("found as it was sent");
    assert_eq!((kept.request_id.as_str(), kept.model.len()), ("a?b", 256));
    assert!(store.record("next").await.expect("readable").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_delays_records_and_loses_none() {
    let Some(server) = Server::start(Settings::quick()) else {
        return;
    };
    let store = Store::open(&location(&server.database())).await.expect("opens");
    let (recorder, task) = store.recorder();
    let task = tokio::spawn(task.run());
    recorder.record(record("before"));
    until("it is written", async || {
        store.record("before").await.expect("readable").is_some()
    })
    .await;

    server.stop();
    for i in 0..700 {
        recorder.record(record(&i.to_string()));
    }
    until("the server is missed", async || recorder.stalled()).await;
    let began = Instant::now();
    let error = store.reader().key_generation().await.expect_err("nobody answers");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert!(error.to_string().contains("cannot be reached"), "{error}");

    server.start_again();
    until("the server is back", async || !recorder.stalled()).await;
    recorder.close().await;
    task.await.expect("the task ends");
    assert_eq!(recorder.dropped(), 0);
    let rows = store.usage(all(GroupBy::Model)).await.expect("readable");
    assert_eq!(rows[0].requests, 701);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_two_seconds_and_no_connection() {
    let Some(server) = Server::start(Settings::quick()) else {
        return;
    };
    let store = Store::open(&location(&server.database())).await.expect("opens");
    let reader = store.reader();
    let ask = async || {
        let began = Instant::now();
        (reader.key_generation().await, began.elapsed())
    };
    // Connections that are open before, and such that must be made.
    let (before, _) = tokio::join!(ask(), ask());
    assert_eq!(before.0.expect("it answers"), 0);
    server.pause();
    for round in 0..3 {
        let asked = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask());
        for (answer, took) in [asked.0, asked.1, asked.2, asked.3, asked.4, asked.5] {
            answer.expect_err("nobody answers");
            assert!(took < SOON, "{round}: {took:?}");
        }
    }
    server.resume();
    // More at once than there are connections: none was lost. To make new ones may take a busy machine a few rounds.
    until("all are answered again", async || {
        let asked = tokio::join!(ask(), ask(), ask(), ask(), ask(), ask());
        let answers = [asked.0, asked.1, asked.2, asked.3, asked.4, asked.5];
        answers.iter().all(|(answer, _)| matches!(answer, Ok(0)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_is_the_same_after() {
    let Some(server) = Server::start(Settings::durable()) else {
        return;
    };
    let store = Store::open(&location(&server.database())).await.expect("opens");
    let by = crate::By { actor: "ops", at_ms: 1 };
    let entry = crate::AuditEntry {
        at_ms: 1,
        actor: by.actor.into(),
        action: "test".into(),
        object: "it".into(),
        detail: serde_json::json!({}),
    };
    store.keys().audit(&entry).await.expect("it works");
    server.kill();
    store.keys().audit(&entry).await.expect_err("it is gone");
    server.start_again();
    until("it works again", async || store.keys().audit(&entry).await.is_ok()).await;
    assert_eq!(store.reader().audit(10).await.expect("readable").len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_in_a_transaction_holds_nobody_up() {
    let Some(scene) = Scene::postgres() else { return };
    let (ours, other) = (scene.open().await, scene.open().await);
    let mut conn = other.writer.acquire().await.expect("free");
    let mut tx = conn.begin().await.expect("begins");
    let Either::Postgres(held) = &mut tx else {
        panic!("it is a server");
    };
    sqlx::query("UPDATE key_state SET generation = generation + 1")
        .execute(&mut **held)
        .await
        .expect("locks the row that all who change keys lock");
    // Nothing more is done with it: the server ends it, where otherwise it would be open for ever.
    until("somebody else can change keys", async || {
        by_hand(&ours.writer, "UPDATE key_state SET generation = generation")
            .await
            .is_ok()
    })
    .await;
    tx.commit().await.expect_err("it was ended");
}
