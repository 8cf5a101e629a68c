use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::scratch::Scratch;
use super::{open, read, record, write};
use crate::BackupError;

#[tokio::test]
async fn a_copy_is_made_while_the_gateway_writes() {
    let scratch = Scratch::new();
    let (path, copy) = (scratch.path("usage.db"), scratch.path("copy.db"));
    let store = open(&path).await.expect("a new file opens");
    // Stays in the log beside the file until the store is closed.
    write(&store, [record("a")]).await;
    let reader = read(&path).await.expect("it is ours");
    reader.copy_to(&copy).await.expect("the folder takes a copy");
    write(&store, [record("b")]).await;

    let mode = fs::metadata(&copy).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "other users may read the copy");
    assert!(!scratch.path("copy.db-wal").exists(), "a copy is one file");
    let copied = read(&copy).await.expect("a copy is a database of ours");
    assert_eq!(copied.record("a").await.expect("readable"), Some(record("a")));
    assert_eq!(
        copied.record("b").await.expect("readable"),
        None,
        "it is an earlier moment"
    );
    copied.close().await;
    // A gateway can go on from it.
    let restored = open(&copy).await.expect("a copy opens for writing");
    write(&restored, [record("c")]).await;
    restored.close().await;
}

#[tokio::test]
async fn a_file_that_exists_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    let store = open(&path).await.expect("a new file opens");
    let reader = read(&path).await.expect("it is ours");
    let other = scratch.path("notes.txt");
    fs::write(&other, "mine").expect("writable");
    for target in [&other, &path] {
        let before = fs::read(target).expect("readable");
        let error = reader.copy_to(target).await.expect_err("it exists");
        assert!(matches!(error, BackupError::Create { .. }), "{error}");
        assert_eq!(fs::read(target).expect("readable"), before);
    }
    store.close().await;
}

#[tokio::test]
async fn a_copy_that_failed_leaves_nothing() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    let store = open(&path).await.expect("a new file opens");
    let reader = read(&path).await.expect("it is ours");
    store.close().await;
    reader.close().await;
    let copy = scratch.path("copy.db");
    let error = reader.copy_to(&copy).await.expect_err("the reader is closed");
    assert!(matches!(error, BackupError::Copy { .. }), "{error}");
    assert!(!copy.exists());
}
