use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection};

use super::scene::{Scene, by_hand, on_both};
use super::scratch::Scratch;
use super::{open, read, record, sqlite, until};
use crate::{By, Grant, KeyError, NewKey, Sha256, Store, StoredHash, file, schema};

on_both![
    every_field_comes_back,
    a_name_and_a_hash_are_given_once_and_never_again,
    a_revoked_key_stays_so,
    an_update_is_logged_field_by_field,
    rotation_gives_grace_and_never_more,
    an_import_takes_what_it_can_at_once,
    every_change_moves_the_generation_whoever_makes_it,
    of_many_who_want_a_name_one_gets_it,
    keys_change_while_records_are_written,
    the_audit_log_is_only_added_to,
    a_limit_of_zero_and_a_short_hash_are_refused_by_the_database,
];

fn grant() -> Grant {
    Grant {
        owner: Some("search".into()),
        models: vec!["qwen3-8b".into(), "gpt-*".into()],
        min_tier: "open".into(),
        requests_per_minute: Some(60),
        tokens_per_minute: None,
        concurrency: Some(u32::MAX),
        expires_at_ms: Some(1_900_000_000_000),
        disabled: false,
        account: None,
        budget: billing::Budget::default(),
        tags: vec![("zone".into(), "b".into()), ("a".into(), "\"'".into())],
    }
}

fn new(name: &str, hash: u8) -> NewKey {
    NewKey {
        name: name.into(),
        grant: grant(),
        sha256: Sha256([hash; 32]),
    }
}

fn at(at_ms: i64) -> By<'static> {
    By { actor: "ops", at_ms }
}

/// Action, object and detail of the audit log, the oldest first.
async fn audit(store: &Store) -> Vec<(String, String, Value)> {
    let entries = store.reader().audit(100).await.expect("readable");
    let entries = entries.into_iter().rev();
    entries
        .map(|entry| (entry.action, entry.object, entry.detail))
        .collect()
}

async fn every_field_comes_back(scene: Scene) {
    let store = scene.open().await;
    let made = store.keys().create(&new("alice", 1), at(5)).await.expect("a free name");
    assert_eq!(made.grant, grant());
    assert_eq!(made.hashes, [hash(1, None)]);
    assert_eq!((made.created_at_ms, made.created_by.as_str()), (5, "ops"));
    assert_eq!(store.reader().key("alice").await.expect("readable"), Some(made.clone()));
    assert_eq!(store.reader().keys().await.expect("readable").keys, [made]);
    assert_eq!(store.reader().key("bob").await.expect("readable"), None);
}

fn hash(hash: u8, valid_until_ms: Option<i64>) -> StoredHash {
    StoredHash {
        sha256: Sha256([hash; 32]),
        valid_until_ms,
    }
}

async fn a_name_and_a_hash_are_given_once_and_never_again(scene: Scene) {
    let store = scene.open().await;
    let keys = store.keys();
    keys.create(&new("alice", 1), at(1)).await.expect("a free name");
    let error = keys.create(&new("alice", 2), at(2)).await.expect_err("taken");
    assert!(matches!(error, KeyError::NameTaken { .. }), "{error:?}");
    let error = keys.create(&new("bob", 1), at(2)).await.expect_err("taken");
    assert!(matches!(error, KeyError::HashTaken { revoked: false, .. }), "{error:?}");
    assert!(error.to_string().contains("'alice'"), "{error}");

    keys.revoke("alice", at(3)).await.expect("there");
    let error = keys.create(&new("alice", 2), at(4)).await.expect_err("revoked");
    assert!(matches!(error, KeyError::NameRevoked { .. }), "{error:?}");
    let error = keys.create(&new("bob", 1), at(4)).await.expect_err("revoked");
    assert!(matches!(error, KeyError::HashTaken { revoked: true, .. }), "{error:?}");
    assert!(error.to_string().ends_with(", which was revoked"), "{error}");
    // What was refused left no trace.
    assert_eq!(audit(&store).await.len(), 2);
    assert_eq!(store.reader().keys().await.expect("readable").keys.len(), 1);
}

async fn a_revoked_key_stays_so(scene: Scene) {
    let store = scene.open().await;
    let keys = store.keys();
    keys.create(&new("alice", 1), at(1)).await.expect("a free name");
    assert_eq!(keys.revoke("alice", at(2)).await.expect("there").revoked_at_ms, Some(2));
    // Again is an outcome, not an error, and changes nothing.
    assert_eq!(keys.revoke("alice", at(3)).await.expect("there").revoked_at_ms, Some(2));
    let error = keys.update("alice", at(4), |grant| grant.disabled = false).await;
    assert!(matches!(error, Err(KeyError::Revoked { .. })), "{error:?}");
    let error = keys.rotate("alice", Sha256([9; 32]), 0, at(4)).await;
    assert!(matches!(error, Err(KeyError::Revoked { .. })), "{error:?}");
    let error = keys.revoke("bob", at(4)).await;
    assert!(matches!(error, Err(KeyError::NotFound { .. })), "{error:?}");
    assert_eq!(audit(&store).await.len(), 2);
}

async fn an_update_is_logged_field_by_field(scene: Scene) {
    let store = scene.open().await;
    let keys = store.keys();
    keys.create(&new("alice", 1), at(1)).await.expect("a free name");
    let before = store.reader().key_generation().await.expect("readable");
    let same = keys.update("alice", at(2), |_| {}).await.expect("there");
    assert_eq!(same.grant, grant());
    assert_eq!(store.reader().key_generation().await.expect("readable"), before);
    let edited = keys
        .update("alice", at(3), |grant| {
            grant.models = vec!["*".into()];
            grant.requests_per_minute = None;
        })
        .await
        .expect("there");
    assert_eq!(store.reader().key("alice").await.expect("readable"), Some(edited));
    let log = audit(&store).await;
    assert_eq!(log.len(), 2);
    assert_eq!(
        log[1],
        (
            "key.update".into(),
            "alice".into(),
            json!({
                "models": {"old": ["qwen3-8b", "gpt-*"], "new": ["*"]},
                "requests_per_minute": {"old": 60, "new": null},
            })
        )
    );
}

async fn rotation_gives_grace_and_never_more(scene: Scene) {
    let store = scene.open().await;
    let keys = store.keys();
    keys.create(&new("alice", 1), at(0)).await.expect("a free name");
    let rotated = keys
        .rotate("alice", Sha256([2; 32]), 1000, at(10))
        .await
        .expect("there");
    assert_eq!(rotated.old_valid_until_ms, 1010);
    assert_eq!(rotated.key.hashes, [hash(1, Some(1010)), hash(2, None)]);
    // A longer grace later does not lengthen what was said of the first.
    let rotated = keys
        .rotate("alice", Sha256([3; 32]), 5000, at(20))
        .await
        .expect("there");
    assert_eq!(
        rotated.key.hashes,
        [hash(1, Some(1010)), hash(2, Some(5020)), hash(3, None)]
    );
    // Without grace everything before ends now.
    let rotated = keys.rotate("alice", Sha256([4; 32]), 0, at(30)).await.expect("there");
    assert_eq!(
        rotated.key.hashes,
        [hash(1, Some(30)), hash(2, Some(30)), hash(3, Some(30)), hash(4, None)]
    );
    let error = keys.rotate("alice", Sha256([2; 32]), 0, at(40)).await;
    assert!(matches!(error, Err(KeyError::HashTaken { .. })), "{error:?}");
}

async fn an_import_takes_what_it_can_at_once(scene: Scene) {
    let store = scene.open().await;
    let keys = store.keys();
    keys.create(&new("alice", 1), at(1)).await.expect("a free name");
    let outcomes = keys
        .import(
            &[
                new("bob", 2),
                new("alice", 3),
                new("carol", 1),
                new("dave", 4),
                new("dave", 5),
            ],
            at(2),
        )
        .await
        .expect("the database works");
    let taken: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [true, false, false, true, false]);
    let names: Vec<_> = audit(&store)
        .await
        .into_iter()
        .map(|(action, name, _)| (action, name))
        .collect();
    let expect = [("key.create", "alice"), ("key.import", "bob"), ("key.import", "dave")];
    assert_eq!(names, expect.map(|(action, name)| (action.to_owned(), name.to_owned())));
}

async fn every_change_moves_the_generation_whoever_makes_it(scene: Scene) {
    let ours = scene.open().await;
    let other = scene.open().await;
    let mut last = ours.reader().key_generation().await.expect("readable");
    assert_eq!(last, 0);
    let mut moved = async |what: &str| {
        let now = ours.reader().key_generation().await.expect("readable");
        assert_ne!(now, last, "{what}");
        last = now;
    };
    let keys = other.keys();
    keys.create(&new("alice", 1), at(1)).await.expect("a free name");
    moved("create").await;
    keys.update("alice", at(2), |grant| grant.disabled = true)
        .await
        .expect("there");
    moved("update").await;
    keys.rotate("alice", Sha256([2; 32]), 0, at(3)).await.expect("there");
    moved("rotate").await;
    keys.revoke("alice", at(4)).await.expect("there");
    moved("revoke").await;
    // Also an operator with `sqlite3`.
    by_hand(&other.writer, "DELETE FROM key_hashes")
        .await
        .expect("writable");
    moved("by hand").await;
}

async fn of_many_who_want_a_name_one_gets_it(scene: Scene) {
    let racing: Vec<_> = (0..8)
        .map(|hash| {
            let location = scene.location.clone();
            tokio::spawn(async move {
                let store = Store::open(&location).await.expect("opens");
                store.keys().create(&new("alice", hash), at(1)).await
            })
        })
        .collect();
    let mut won = 0;
    for racer in racing {
        match racer.await.expect("no panic") {
            Ok(_) => won += 1,
            Err(error) => assert!(matches!(error, KeyError::NameTaken { .. }), "{error:?}"),
        }
    }
    assert_eq!(won, 1);
}

async fn keys_change_while_records_are_written(scene: Scene) {
    let store = scene.open().await;
    let (recorder, task) = store.recorder();
    let task = tokio::spawn(task.run());
    for hash in 0..50 {
        for i in 0..200 {
            recorder.record(record(&i.to_string()));
        }
        let name = format!("key-{hash}");
        store
            .keys()
            .create(&new(&name, hash), at(1))
            .await
            .expect("a free name");
    }
    recorder.close().await;
    task.await.expect("the task ends");
    assert_eq!(recorder.dropped(), 0);
    assert_eq!(store.recent(10_000).await.expect("readable").len(), 10_000);
    assert_eq!(store.reader().keys().await.expect("readable").keys.len(), 50);
}

#[tokio::test]
async fn every_commit_is_synced() {
    let scratch = Scratch::new();
    let store = open(&scratch.path("keys.db")).await.expect("opens");
    store.keys().create(&new("alice", 1), at(1)).await.expect("a free name");
    let refused = store.keys().create(&new("alice", 1), at(1)).await;
    assert!(refused.is_err());
    // After a refusal too.
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(sqlite(&store.writer))
        .await
        .expect("readable");
    assert_eq!(synchronous, 2, "2 is FULL");
}

#[tokio::test]
async fn a_locked_database_is_said_to_be_so_and_works_again_after() {
    let scratch = Scratch::new();
    let path = scratch.path("keys.db");
    let store = open(&path).await.expect("opens");
    let other = open(&path).await.expect("opens twice");
    let mut lock = sqlite(&other.writer).acquire().await.expect("free");
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut *lock).await.expect("locks");
    let error = store.keys().create(&new("alice", 1), at(1)).await.expect_err("locked");
    assert!(error.to_string().contains("another process holds the file"), "{error}");
    // Reading goes on meanwhile.
    assert_eq!(store.reader().keys().await.expect("readable").keys.len(), 0);
    sqlx::query("ROLLBACK").execute(&mut *lock).await.expect("unlocks");
    drop(lock);
    let store = &store;
    until("the lock is gone", async || {
        store.keys().create(&new("alice", 1), at(1)).await.is_ok()
    })
    .await;
}

async fn the_audit_log_is_only_added_to(scene: Scene) {
    let store = scene.open().await;
    store.keys().create(&new("alice", 1), at(1)).await.expect("a free name");
    for sql in ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"] {
        let error = by_hand(&store.writer, sql).await.expect_err("refused");
        assert!(error.to_string().contains("only added to"), "{error}");
    }
    assert_eq!(audit(&store).await.len(), 1);
}

async fn a_limit_of_zero_and_a_short_hash_are_refused_by_the_database(scene: Scene) {
    let store = scene.open().await;
    let mut zero = new("alice", 1);
    zero.grant.concurrency = Some(0);
    let error = store.keys().create(&zero, at(1)).await.expect_err("refused");
    assert!(matches!(error, KeyError::Database { .. }), "{error:?}");
    by_hand(
        &store.writer,
        "INSERT INTO key_hashes (sha256, key, created_at_ms) VALUES (x'00', 'alice', 1)",
    )
    .await
    .expect_err("refused");
}

#[tokio::test]
async fn no_hash_is_in_any_text() {
    let scratch = Scratch::new();
    let path = scratch.path("keys.db");
    let store = open(&path).await.expect("opens");
    let keys = store.keys();
    keys.create(&new("alice", 0xab), at(1)).await.expect("a free name");
    keys.rotate("alice", Sha256([0xcd; 32]), 0, at(2)).await.expect("there");
    keys.revoke("alice", at(3)).await.expect("there");
    let reader = read(&path).await.expect("opens");
    let said = format!("{:?}{:?}", reader.keys().await, reader.audit(100).await);
    assert!(
        said.contains("***") && !said.contains("171") && !said.contains("abab"),
        "{said}"
    );
    store.close().await;
    let bytes = std::fs::read(&path).expect("readable");
    let hex = [&b"abababab"[..], b"cdcdcdcd", b"ABABABAB", b"CDCDCDCD"];
    for hex in hex {
        assert!(!bytes.windows(hex.len()).any(|window| window == hex));
    }
}

#[tokio::test]
async fn a_first_schema_is_brought_up_with_its_records() {
    let scratch = Scratch::new();
    let path = scratch.path("old.db");
    // What version 1 left behind, with a request.
    let options = file::options(&path).create_if_missing(true);
    let mut conn = options.connect().await.expect("a new file opens");
    schema::migrate_file_to(&mut conn, Some(1))
        .await
        .expect("the first migration runs");
    sqlx::query(
        "INSERT INTO requests (request_id, started_at_ms, endpoint, model, status, ending, stream, attempts, \
         prompt, cached, completion, reasoning, usage_source, duration_ms) \
         VALUES ('a', 1, 'chat', 'm', 200, 'complete', 1, 1, 2, 3, 4, 5, 'upstream', 6)",
    )
    .execute(&mut conn)
    .await
    .expect("it takes a row");
    conn.close().await.expect("it closes");
    let error = read(&path).await.expect_err("too old to read");
    assert!(error.to_string().contains("schema version 1"), "{error}");
    let store = open(&path).await.expect("migrates");
    store.keys().create(&new("alice", 1), at(1)).await.expect("a free name");
    let kept = store.record("a").await.expect("readable").expect("it is there");
    assert_eq!((kept.model.as_str(), kept.usage.total()), ("m", 14));
}
