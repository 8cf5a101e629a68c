//! The store on real files and on a real server. Each test owns its database, and the database goes with the test.
//!
//! What both databases must do alike is tested on both, see [`scene::on_both`].

mod channels;
mod copying;
mod heard;
mod keys;
mod ledger;
mod opening;
mod receipts;
mod recording;
mod restoring;
pub(crate) mod scene;
mod scratch;
mod server;
mod strikes;
mod summing;

use std::path::Path;
use std::time::{Duration, Instant};

use billing::{End, Nano, RequestRecord, Usage, UsageSource, Wage, channel::Account};

use sqlx::sqlite::SqlitePool;

use crate::pool::Pool;
use crate::{GroupBy, OpenError, Reader, Recorder, Store, UsageQuery};

/// A whole record: every field holds something of its own.
fn record(id: &str) -> RequestRecord {
    RequestRecord {
        request_id: id.into(),
        started_at_ms: 1_795_258_800_123, // 2026-11-21 11:00 UTC
        key: Some("team-a".into()),
        endpoint: "/v1/chat/completions".into(),
        model: "qwen3-8b".into(),
        upstream: Some("gpu-1".into()),
        backend: Some("local".into()),
        status: 200,
        end: End::Complete,
        stream: true,
        attempts: 2,
        usage: Usage::from_totals(100, 60, 30, 10),
        source: UsageSource::Upstream,
        ttft_ms: Some(41),
        duration_ms: 1_200,
        error_code: Some("none".into()),
        wage: Some(Wage {
            amount: Nano::saturating(7_000),
            channel: Some(Account {
                workchain: 0,
                hash: [7; 32],
            }),
            voucher_max: Nano::saturating(9_000),
        }),
    }
}

fn all(group_by: GroupBy) -> UsageQuery {
    UsageQuery {
        since_ms: i64::MIN,
        until_ms: i64::MAX,
        group_by,
        limit: 100,
    }
}

/// Writes records and waits until they are on disk.
async fn write(store: &Store, records: impl IntoIterator<Item = RequestRecord>) -> Recorder {
    let (recorder, task) = store.recorder();
    let task = tokio::spawn(task.run());
    for record in records {
        recorder.record(record);
    }
    recorder.close().await;
    task.await.expect("the task does not panic");
    recorder
}

/// Waits for something that another task will do; a minute at most, for machines that do much else.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !done().await {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(&path.into()).await
}

async fn read(path: &Path) -> Result<Reader, OpenError> {
    Reader::open(&path.into()).await
}

/// For statements that only SQLite has.
fn sqlite(pool: &Pool) -> &SqlitePool {
    match pool {
        Pool::Sqlite(pool) => pool,
        Pool::Postgres(_) => panic!("the test is one of SQLite's own"),
    }
}
