use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::scene::{Scene, by_hand, on_both};
use super::scratch::Scratch;
use super::{open, read, record, sqlite, write};
use crate::{OpenError, Reader, Store, schema};

on_both![
    records_are_there_when_it_is_opened_again,
    stores_that_open_together_all_open,
    a_newer_schema_is_refused,
    a_reader_cannot_write,
];

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("the file is there");
    metadata.permissions().mode() & 0o777
}

#[tokio::test]
async fn new_files_and_folders_are_private() {
    let scratch = Scratch::new();
    let path = scratch.path("state/usage/mulberry.db");
    let store = open(&path).await.expect("a new file opens");
    write(&store, [record("a")]).await;
    assert_eq!(mode(&scratch.path("state")), 0o700);
    assert_eq!(mode(&scratch.path("state/usage")), 0o700);
    for name in ["mulberry.db", "mulberry.db-wal", "mulberry.db-shm"] {
        assert_eq!(mode(&scratch.path("state/usage").join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn records_survive_reopening() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    for id in ["a", "b"] {
        let store = open(&path).await.expect("the file opens");
        write(&store, [record(id)]).await;
        store.close().await;
        assert!(
            !scratch.path("usage.db-wal").exists(),
            "closing moves the log into the file"
        );
    }
    let reader = read(&path).await.expect("the file opens for reading");
    assert_eq!(reader.record("a").await.expect("readable"), Some(record("a")));
    assert_eq!(reader.record("b").await.expect("readable"), Some(record("b")));
    assert_eq!(reader.record("c").await.expect("readable"), None);
}

async fn stores_that_open_together_all_open(scene: Scene) {
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let location = scene.location.clone();
            tokio::spawn(async move { Store::open(&location).await.map(drop) })
        })
        .collect();
    for opened in opening {
        opened
            .await
            .expect("opening does not panic")
            .expect("opening together works");
    }
}

async fn a_newer_schema_is_refused(scene: Scene) {
    let store = scene.open().await;
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'from tomorrow', true, '', 0)";
    by_hand(&store.writer, sql)
        .await
        .expect("the table of migrations takes a row");
    store.close().await;
    let known = schema::known_version(&scene.location);
    for outcome in [
        Store::open(&scene.location).await.map(drop),
        Reader::open(&scene.location).await.map(drop),
    ] {
        let error = outcome.expect_err("a newer database is refused");
        let OpenError::Newer { found, known: ours, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((*found, *ours), (99, known));
        assert!(error.to_string().contains("run the newer program"), "{error}");
    }
}

async fn records_are_there_when_it_is_opened_again(scene: Scene) {
    for id in ["a", "b"] {
        let store = scene.open().await;
        write(&store, [record(id)]).await;
        store.close().await;
    }
    let reader = scene.read().await;
    assert_eq!(reader.record("a").await.expect("readable"), Some(record("a")));
    assert_eq!(reader.record("b").await.expect("readable"), Some(record("b")));
    assert_eq!(reader.record("c").await.expect("readable"), None);
}

/// Made by the binary before the ledger; see `fixtures/README.md`.
#[tokio::test]
async fn a_file_of_the_version_before_opens_with_all_that_is_in_it() {
    let scratch = Scratch::new();
    let path = scratch.path("mulberry.db");
    fs::write(&path, include_bytes!("fixtures/version-2.db")).expect("writable");
    let store = open(&path).await.expect("no migration of it has changed");
    let keys = store.reader().keys().await.expect("readable");
    assert_eq!(keys.generation, 7);
    let names: Vec<_> = keys
        .keys
        .iter()
        .map(|key| (key.name.as_str(), key.hashes.len(), key.revoked_at_ms.is_some()))
        .collect();
    assert_eq!(names, [("alice", 2, false), ("bob", 1, true)]);
    assert_eq!(keys.keys[0].grant.models, ["qwen3-8b", "gpt-*"]);
    assert_eq!(store.reader().audit(10).await.expect("readable").len(), 4);
    let kept = store.record("fixture-2").await.expect("readable").expect("there");
    assert_eq!((kept.status, kept.key.as_deref()), (502, Some("alice")));
    store.close().await;
}

#[tokio::test]
async fn a_newer_file_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    let store = open(&path).await.expect("a new file opens");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'from tomorrow', true, x'00', 0)",
    )
    .execute(sqlite(&store.writer))
    .await
    .expect("the table of migrations takes a row");
    store.close().await;
    let before = fs::read(&path).expect("readable");

    for outcome in [open(&path).await.map(drop), read(&path).await.map(drop)] {
        let error = outcome.expect_err("a newer file is refused");
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error:?}");
        assert!(error.to_string().contains("run the newer program"), "{error}");
    }
    assert_eq!(fs::read(&path).expect("readable"), before);
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    let store = open(&path).await.expect("a new file opens");
    sqlx::query("PRAGMA application_id = 7")
        .execute(sqlite(&store.writer))
        .await
        .expect("the header takes an id");
    store.close().await;
    let before = fs::read(&path).expect("readable");

    let error = open(&path).await.expect_err("a foreign file is refused");
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    assert_eq!(fs::read(&path).expect("readable"), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    let text = "these are my notes, not a database\n".repeat(400);
    fs::write(&path, &text).expect("writable");

    for outcome in [open(&path).await.map(drop), read(&path).await.map(drop)] {
        let error = outcome.expect_err("a text file is refused");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("nothing was changed"), "{error}");
    }
    assert_eq!(fs::read_to_string(&path).expect("readable"), text);
}

#[tokio::test]
async fn a_database_with_a_broken_first_page_is_refused_and_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    let store = open(&path).await.expect("a new file opens");
    write(&store, [record("a")]).await;
    store.close().await;
    let mut bytes = fs::read(&path).expect("readable");
    // The header stays, the tree behind it goes.
    bytes[100..4096].fill(0xa5);
    fs::write(&path, &bytes).expect("writable");

    let error = open(&path).await.expect_err("a broken file is refused");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read(&path).expect("readable"), bytes);
}

#[tokio::test]
async fn damage_deeper_in_is_an_error_of_the_query() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    let store = open(&path).await.expect("a new file opens");
    write(&store, (0..5_000).map(|i| record(&i.to_string()))).await;
    store.close().await;
    let mut bytes = fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0xa5);
    fs::write(&path, &bytes).expect("writable");

    let reader = read(&path).await.expect("the first pages are whole");
    let error = reader.recent(5_000).await.expect_err("the rows are gone");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[tokio::test]
async fn a_folder_in_place_of_the_file_is_refused() {
    let scratch = Scratch::new();
    let error = open(&scratch.path("")).await.expect_err("a folder is no file");
    assert!(matches!(error, OpenError::File { .. }), "{error:?}");
}

#[tokio::test]
async fn a_reader_creates_nothing() {
    let scratch = Scratch::new();
    let path = scratch.path("none/usage.db");
    let error = read(&path).await.expect_err("there is nothing to read");
    assert!(matches!(error, OpenError::Missing { .. }), "{error:?}");
    assert!(!scratch.path("none").exists());

    let empty = scratch.path("empty.db");
    fs::write(&empty, "").expect("writable");
    let error = read(&empty).await.expect_err("there is no schema yet");
    assert!(matches!(error, OpenError::Older { found: 0, .. }), "{error:?}");
    assert_eq!(fs::read(&empty).expect("readable"), b"");
}

async fn a_reader_cannot_write(scene: Scene) {
    let store = scene.open().await;
    let error = by_hand(store.reader().pool(), "DELETE FROM requests")
        .await
        .expect_err("the connection is read-only");
    let text = error.to_string();
    assert!(text.contains("readonly") || text.contains("read-only"), "{text}");
}
