//! Records to rows and back.

use billing::{RequestRecord, Usage};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::reader::ReadError;

/// Longest text of a record, in bytes; a client chooses its model name and may choose its request id.
pub(crate) const TEXT_LIMIT: usize = 256;

/// Greatest count of one class in a row.
pub(crate) const COUNT_LIMIT: u64 = Usage::MOST;

/// Rows in one INSERT: a multiple saves statements, and a fixed number lets SQLite keep its plan.
const ROWS_A_STATEMENT: usize = 64;

/// Writes all or none.
///
/// Where SQLite reports that a commit failed though it reached the disk, a second call writes the records twice.
pub(crate) async fn insert(pool: &SqlitePool, batch: &[RequestRecord]) -> Result<(), sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let outcome = insert_on(&mut conn, batch).await;
    // A full disk makes SQLite roll back by itself.
    // sqlx then fails to roll back, believes for ever that a transaction is open and refuses to begin another.
    // The ping waits for its attempt.
    if outcome.is_err() && (conn.ping().await.is_err() || conn.is_in_transaction()) {
        conn.close_on_drop();
    }
    outcome
}

async fn insert_on(conn: &mut SqliteConnection, batch: &[RequestRecord]) -> Result<(), sqlx::Error> {
    // Asks for the write lock at once, so that the busy timeout applies.
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    for records in batch.chunks(ROWS_A_STATEMENT) {
        statement(records)
            .build()
            .persistent(records.len() == ROWS_A_STATEMENT)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

fn statement(records: &[RequestRecord]) -> QueryBuilder<Sqlite> {
    let mut statement = QueryBuilder::new(
        "INSERT INTO requests (request_id, started_at_ms, key, endpoint, model, upstream, backend, \
         status, ending, stream, attempts, prompt, cached, completion, reasoning, usage_source, \
         ttft_ms, duration_ms, error_code) ",
    );
    statement.push_values(records, |mut row, record| {
        row.push_bind(&record.request_id)
            .push_bind(record.started_at_ms)
            .push_bind(&record.key)
            .push_bind(record.endpoint.as_ref())
            .push_bind(&record.model)
            .push_bind(&record.upstream)
            .push_bind(&record.backend)
            .push_bind(record.status)
            .push_bind(record.end.as_str())
            .push_bind(record.stream)
            .push_bind(record.attempts)
            .push_bind(stored(record.usage.prompt))
            .push_bind(stored(record.usage.cached))
            .push_bind(stored(record.usage.completion))
            .push_bind(stored(record.usage.reasoning))
            .push_bind(record.source.as_str())
            .push_bind(record.ttft_ms)
            .push_bind(record.duration_ms)
            .push_bind(&record.error_code);
    });
    statement
}

fn stored(count: u64) -> i64 {
    i64::try_from(count.min(COUNT_LIMIT)).expect("COUNT_LIMIT fits in 32 bits")
}

/// Cuts texts that are too long, so that a full queue has a size we can say.
pub(crate) fn bound(record: &mut RequestRecord) {
    let optional = [
        &mut record.key,
        &mut record.upstream,
        &mut record.backend,
        &mut record.error_code,
    ];
    for text in [&mut record.request_id, &mut record.model]
        .into_iter()
        .chain(optional.into_iter().flatten())
    {
        let end = bounded(text).len();
        if end < text.len() {
            text.truncate(end);
            text.shrink_to_fit();
        }
    }
    if record.endpoint.len() > TEXT_LIMIT {
        record.endpoint = bounded(&record.endpoint).to_owned().into();
    }
}

/// The beginning of a text that a row holds.
pub(crate) fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT)]
}

pub(crate) fn record(row: &SqliteRow) -> Result<RequestRecord, ReadError> {
    Ok(RequestRecord {
        request_id: row.try_get("request_id")?,
        started_at_ms: row.try_get("started_at_ms")?,
        key: row.try_get("key")?,
        endpoint: row.try_get::<String, _>("endpoint")?.into(),
        model: row.try_get("model")?,
        upstream: row.try_get("upstream")?,
        backend: row.try_get("backend")?,
        status: narrow(row, "status")?,
        end: word(row, "ending")?,
        stream: row.try_get("stream")?,
        attempts: narrow(row, "attempts")?,
        usage: Usage {
            prompt: count(row, "prompt")?,
            cached: count(row, "cached")?,
            completion: count(row, "completion")?,
            reasoning: count(row, "reasoning")?,
        },
        source: word(row, "usage_source")?,
        ttft_ms: row
            .try_get::<Option<i64>, _>("ttft_ms")?
            .map(u32::try_from)
            .transpose()
            .map_err(|_| ReadError::Row { column: "ttft_ms" })?,
        duration_ms: narrow(row, "duration_ms")?,
        error_code: row.try_get("error_code")?,
    })
}

pub(crate) fn count(row: &SqliteRow, column: &'static str) -> Result<u64, ReadError> {
    narrow(row, column)
}

/// SQLite has one integer; a value that does not fit ours was not written by us.
fn narrow<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, ReadError> {
    T::try_from(row.try_get(column)?).map_err(|_| ReadError::Row { column })
}

fn word<T: std::str::FromStr>(row: &SqliteRow, column: &'static str) -> Result<T, ReadError> {
    row.try_get::<String, _>(column)?
        .parse()
        .map_err(|_| ReadError::Row { column })
}
