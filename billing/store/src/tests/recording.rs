use sqlx::{Connection, SqliteConnection};

use super::scene::{Scene, by_hand, on_both};
use super::scratch::Scratch;
use super::{all, open, record, sqlite, until, write};
use crate::{GroupBy, file};

on_both![
    every_field_comes_back,
    closing_writes_all_that_is_queued,
    the_last_handle_gone_ends_the_task_with_all_written,
    records_appear_without_closing,
    a_full_queue_drops_and_counts,
    a_task_that_never_ran_loses_and_counts,
    a_batch_that_is_never_accepted_blocks_no_other,
    a_reader_sees_whole_records_while_the_gateway_writes,
    long_texts_and_absurd_counts_are_cut,
];

async fn every_field_comes_back(scene: Scene) {
    let store = scene.open().await;
    let mut bare = record("bare");
    bare.key = None;
    bare.upstream = None;
    bare.backend = None;
    bare.ttft_ms = None;
    bare.error_code = None;
    bare.stream = false;
    bare.started_at_ms -= 1;
    write(&store, [record("full"), bare.clone()]).await;
    assert_eq!(store.recent(10).await.expect("readable"), [record("full"), bare]);
}

async fn closing_writes_all_that_is_queued(scene: Scene) {
    let store = scene.open().await;
    let (recorder, task) = store.recorder();
    for i in 0..10_000 {
        recorder.record(record(&i.to_string()));
    }
    let task = tokio::spawn(task.run());
    recorder.close().await;
    let rows = store.usage(all(GroupBy::Model)).await.expect("readable");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].requests, 10_000);
    assert_eq!(rows[0].usage.prompt, 400_000);
    assert_eq!(rows[0].usage.cached, 600_000);
    assert_eq!(rows[0].usage.completion, 200_000);
    assert_eq!(rows[0].usage.reasoning, 100_000);
    assert_eq!(recorder.dropped(), 0);
    task.await.expect("the task ends");

    recorder.record(record("late"));
    assert_eq!(recorder.dropped(), 1, "a closed recorder counts what it cannot keep");
}

async fn the_last_handle_gone_ends_the_task_with_all_written(scene: Scene) {
    let store = scene.open().await;
    let (recorder, task) = store.recorder();
    let clone = recorder.clone();
    recorder.record(record("a"));
    clone.record(record("b"));
    drop((recorder, clone));
    task.run().await;
    assert_eq!(store.recent(10).await.expect("readable").len(), 2);
}

async fn records_appear_without_closing(scene: Scene) {
    let store = scene.open().await;
    let (recorder, task) = store.recorder();
    let task = tokio::spawn(task.run());
    recorder.record(record("a"));
    until("the record is there", async || {
        store.record("a").await.expect("readable").is_some()
    })
    .await;
    drop(recorder);
    task.await.expect("the task ends");
}

async fn a_full_queue_drops_and_counts(scene: Scene) {
    let store = scene.open().await;
    let (recorder, task) = store.recorder();
    for _ in 0..65_536 {
        recorder.record(record("kept"));
    }
    assert_eq!(recorder.dropped(), 0);
    for _ in 0..10 {
        recorder.record(record("lost"));
    }
    assert_eq!(recorder.dropped(), 10);

    let task = tokio::spawn(task.run());
    recorder.close().await;
    task.await.expect("the task ends");
    let rows = store.usage(all(GroupBy::Model)).await.expect("readable");
    assert_eq!(rows[0].requests, 65_536);
    assert_eq!(store.record("lost").await.expect("readable"), None);
}

async fn a_task_that_never_ran_loses_and_counts(scene: Scene) {
    let store = scene.open().await;
    let (recorder, task) = store.recorder();
    drop(task);
    recorder.record(record("a"));
    assert_eq!(recorder.dropped(), 1);
    recorder.close().await;
}

#[tokio::test]
async fn a_full_disk_delays_records_and_loses_none() {
    let scratch = Scratch::new();
    let store = open(&scratch.path("usage.db")).await.expect("opens");
    // SQLite answers a page too many as it answers a full disk.
    sqlx::query("PRAGMA max_page_count = 12")
        .execute(sqlite(&store.writer))
        .await
        .expect("the pragma is taken");
    let (recorder, task) = store.recorder();
    let task = tokio::spawn(task.run());
    for i in 0..700 {
        recorder.record(record(&i.to_string()));
    }
    until("the disk refuses", async || recorder.stalled()).await;
    assert_eq!(
        store.recent(1).await.expect("readable"),
        [],
        "a batch is written wholly or not at all"
    );

    sqlx::query("PRAGMA max_page_count = 100000")
        .execute(sqlite(&store.writer))
        .await
        .expect("the pragma is taken");
    until("the disk takes them", async || !recorder.stalled()).await;
    recorder.close().await;
    task.await.expect("the task ends");
    let rows = store.usage(all(GroupBy::Model)).await.expect("readable");
    assert_eq!((rows[0].requests, recorder.dropped()), (700, 0));
}

#[tokio::test]
async fn a_disk_that_stays_full_does_not_keep_the_gateway_from_ending() {
    let scratch = Scratch::new();
    let store = open(&scratch.path("usage.db")).await.expect("opens");
    sqlx::query("PRAGMA max_page_count = 12")
        .execute(sqlite(&store.writer))
        .await
        .expect("the pragma is taken");
    let recorder = write(&store, (0..1_500).map(|i| record(&i.to_string()))).await;
    assert_eq!(recorder.dropped(), 1_500);
}

#[tokio::test]
async fn a_locked_file_delays_records_and_loses_none() {
    let scratch = Scratch::new();
    let path = scratch.path("usage.db");
    let store = open(&path).await.expect("opens");
    sqlx::query("PRAGMA busy_timeout = 10")
        .execute(sqlite(&store.writer))
        .await
        .expect("the pragma is taken");
    let mut other = SqliteConnection::connect_with(&file::options(&path))
        .await
        .expect("a second process can connect");
    let lock = other.begin_with("BEGIN IMMEDIATE").await.expect("it can lock");

    let (recorder, task) = store.recorder();
    let task = tokio::spawn(task.run());
    recorder.record(record("a"));
    until("the file is locked", async || recorder.stalled()).await;
    lock.rollback().await.expect("it can unlock");
    recorder.close().await;
    task.await.expect("the task ends");
    assert_eq!(store.record("a").await.expect("readable"), Some(record("a")));
    assert_eq!(recorder.dropped(), 0);
}

async fn a_batch_that_is_never_accepted_blocks_no_other(scene: Scene) {
    let store = scene.open().await;
    let (recorder, task) = store.recorder();
    let task = tokio::spawn(task.run());
    by_hand(&store.writer, "ALTER TABLE requests RENAME TO away")
        .await
        .expect("the table can be renamed");
    recorder.record(record("lost"));
    until("the batch is given up", async || recorder.dropped() == 1).await;
    by_hand(&store.writer, "ALTER TABLE away RENAME TO requests")
        .await
        .expect("the table can be renamed");
    recorder.record(record("kept"));
    recorder.close().await;
    task.await.expect("the task ends");
    assert!(store.record("kept").await.expect("readable").is_some());
    assert_eq!(recorder.dropped(), 1);
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_blocks_no_other() {
    let scratch = Scratch::new();
    let store = open(&scratch.path("usage.db")).await.expect("opens");
    // As SQLite does when the disk under its log is full.
    sqlx::raw_sql(
        "CREATE TRIGGER ended BEFORE INSERT ON requests WHEN NEW.model = 'poison' \
         BEGIN SELECT RAISE(ROLLBACK, 'ended'); END",
    )
    .execute(sqlite(&store.writer))
    .await
    .expect("the trigger is taken");
    let mut poison = record("lost");
    poison.model = "poison".into();
    let recorder = write(&store, [poison]).await;
    assert_eq!(recorder.dropped(), 1);
    let recorder = write(&store, [record("kept")]).await;
    assert_eq!(recorder.dropped(), 0);
    assert!(store.record("kept").await.expect("readable").is_some());
}

async fn a_reader_sees_whole_records_while_the_gateway_writes(scene: Scene) {
    let store = scene.open().await;
    // As a command-line process would.
    let reader = scene.read().await;
    let (recorder, task) = store.recorder();
    let task = tokio::spawn(task.run());
    let feeder = tokio::spawn({
        let recorder = recorder.clone();
        async move {
            for i in 0..20_000 {
                recorder.record(record(&i.to_string()));
                if i % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let mut seen = Vec::new();
    until("all is written", async || {
        let rows = reader.usage(all(GroupBy::Key)).await.expect("readers never fail");
        let row = rows.first();
        if let Some(row) = row {
            assert_eq!(row.usage.total(), row.requests * 130);
        }
        let requests = row.map_or(0, |row| row.requests);
        seen.push(requests);
        requests == 20_000
    })
    .await;
    assert!(seen.is_sorted(), "an answer is never older than the one before");
    feeder.await.expect("the feeder ends");
    recorder.close().await;
    task.await.expect("the task ends");
    assert_eq!(recorder.dropped(), 0);
}

async fn long_texts_and_absurd_counts_are_cut(scene: Scene) {
    let store = scene.open().await;
    let mut huge = record("x");
    huge.request_id = "é".repeat(300);
    huge.model = "m".repeat(1_000_000);
    huge.error_code = Some("e".repeat(257));
    huge.usage = billing::Usage::from_totals(u64::MAX, 0, u64::MAX, u64::MAX);
    write(&store, [huge.clone(), huge.clone(), huge]).await;
    let kept = store
        .record(&"é".repeat(300))
        .await
        .expect("readable")
        .expect("found by the id that the client sent");
    assert_eq!(kept.request_id, "é".repeat(128));
    assert_eq!(kept.model.len(), 256);
    assert_eq!(kept.error_code.map(|code| code.len()), Some(256));
    let rows = store.usage(all(GroupBy::Model)).await.expect("sums do not overflow");
    assert_eq!(rows[0].usage.prompt, 3 * u64::from(u32::MAX));
}
