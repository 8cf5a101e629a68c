//! Records to rows and back.

use std::borrow::Cow;
use std::time::Duration;

use billing::{Nano, RequestRecord, Usage, Wage};
use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::fields::Fields;
use crate::pool::{Conn, Db, Either, Pool, both};
use crate::reader::ReadError;

/// Longest text of a record, in bytes; a client chooses its model name and may choose its request id.
pub(crate) const TEXT_LIMIT: usize = 256;

/// Greatest count of one class in a row.
pub(crate) const COUNT_LIMIT: u64 = Usage::MOST;

/// Rows in one INSERT: a multiple saves statements, and a fixed number lets the database keep its plan.
const ROWS_A_STATEMENT: usize = 64;

/// How long a server may take for a batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// The columns of a record.
macro_rules! columns {
    () => {
        "request_id, started_at_ms, key, endpoint, model, upstream, backend, \
         status, ending, stream, attempts, prompt, cached, completion, reasoning, usage_source, \
         ttft_ms, duration_ms, error_code, wage, wage_channel, wage_voucher"
    };
}

/// Writes all or none.
///
/// Where the database reports that a commit failed though it reached the disk, a second call writes the records twice.
pub(crate) async fn insert(pool: &Pool, node: Option<&str>, batch: &[RequestRecord]) -> Result<(), sqlx::Error> {
    let mut conn = pool.acquire().await?;
    let outcome = pool.within(PATIENCE, insert_on(&mut conn, node, batch)).await;
    conn.release(outcome).await
}

async fn insert_on(conn: &mut Conn, node: Option<&str>, batch: &[RequestRecord]) -> Result<(), sqlx::Error> {
    let mut tx = conn.begin().await?;
    if let Either::Postgres(tx) = &mut tx {
        // The last records may be lost with the power, and then a batch costs the server no wait for its disk.
        sqlx::query("SET LOCAL synchronous_commit = off")
            .execute(&mut **tx)
            .await?;
    }
    for records in batch.chunks(ROWS_A_STATEMENT) {
        let is_usual = records.len() == ROWS_A_STATEMENT;
        match &mut tx {
            Either::Sqlite(tx) => {
                let mut statement = statement(concat!("INSERT INTO requests (", columns!(), ") "), records, None);
                statement.build().persistent(is_usual).execute(&mut **tx).await?;
            }
            Either::Postgres(tx) => {
                let start = concat!("INSERT INTO requests (", columns!(), ", node) ");
                let mut statement = statement(start, records, Some(node));
                statement.build().persistent(is_usual).execute(&mut **tx).await?;
            }
        }
    }
    tx.commit().await
}

/// With a `node`, which may be unknown, that is the last column.
fn statement<DB: Database>(
    start: &'static str,
    records: &[RequestRecord],
    node: Option<Option<&str>>,
) -> QueryBuilder<DB>
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
    Option<String>: for<'q> Encode<'q, DB>,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    Option<i64>: for<'q> Encode<'q, DB>,
    bool: for<'q> Encode<'q, DB> + Type<DB>,
{
    let mut statement = QueryBuilder::new(start);
    statement.push_values(records, |mut row, record| {
        row.push_bind(record.request_id.clone())
            .push_bind(record.started_at_ms)
            .push_bind(record.key.clone())
            .push_bind(record.endpoint.clone().into_owned())
            .push_bind(record.model.clone())
            .push_bind(record.upstream.clone())
            .push_bind(record.backend.clone())
            .push_bind(i64::from(record.status))
            .push_bind(record.end.as_str().to_owned())
            .push_bind(record.stream)
            .push_bind(i64::from(record.attempts))
            .push_bind(stored(record.usage.prompt))
            .push_bind(stored(record.usage.cached))
            .push_bind(stored(record.usage.completion))
            .push_bind(stored(record.usage.reasoning))
            .push_bind(record.source.as_str().to_owned())
            .push_bind(record.ttft_ms.map(i64::from))
            .push_bind(i64::from(record.duration_ms))
            .push_bind(record.error_code.clone())
            .push_bind(record.wage.map(|wage| nano(wage.amount)))
            .push_bind(
                record
                    .wage
                    .and_then(|wage| wage.channel)
                    .map(|channel| channel.to_string()),
            )
            .push_bind(record.wage.map(|wage| nano(wage.voucher_max)));
        if let Some(node) = node {
            row.push_bind(node.map(str::to_owned));
        }
    });
    statement
}

/// The newest first.
pub(crate) async fn recent(db: &mut Db<'_>, limit: u32) -> Result<Vec<RequestRecord>, ReadError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM requests ORDER BY started_at_ms DESC, id DESC LIMIT $1"
    );
    both!(mut *db, db => sqlx::query(SQL)
        .bind(i64::from(limit))
        .fetch_all(&mut **db)
        .await?
        .iter()
        .map(record)
        .collect())
}

/// The newest of an id.
pub(crate) async fn find(db: &mut Db<'_>, request_id: &str) -> Result<Option<RequestRecord>, ReadError> {
    const SQL: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM requests WHERE request_id = $1 ORDER BY id DESC LIMIT 1"
    );
    let request_id = storable(request_id);
    both!(mut *db, db => sqlx::query(SQL)
        .bind(&*request_id)
        .fetch_optional(&mut **db)
        .await?
        .map(|row| record(&row))
        .transpose())
}

fn nano(amount: Nano) -> i64 {
    i64::try_from(amount.get()).expect("an amount has 63 bits")
}

fn stored(count: u64) -> i64 {
    i64::try_from(count.min(COUNT_LIMIT)).expect("COUNT_LIMIT fits in 32 bits")
}

/// Makes texts such that both databases take them, and cuts those that are too long, so that a full queue has a size we can say.
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
        if text.contains('\0') {
            *text = storable(text).into_owned();
        }
        let end = bounded(text).len();
        if end < text.len() {
            text.truncate(end);
            text.shrink_to_fit();
        }
    }
    if record.endpoint.len() > TEXT_LIMIT || record.endpoint.contains('\0') {
        record.endpoint = storable(&record.endpoint).into_owned().into();
    }
}

/// The beginning of a text that a row holds.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT)]
}

/// A text as a row holds it. PostgreSQL takes no U+0000 in a text, and a client may put one into a model's name.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    let text = bounded(text);
    match text.contains('\0') {
        // Of one byte, so that the text grows no longer.
        true => text.replace('\0', "?").into(),
        false => text.into(),
    }
}

fn record(row: &impl Fields) -> Result<RequestRecord, ReadError> {
    Ok(RequestRecord {
        request_id: row.text("request_id")?,
        started_at_ms: row.int("started_at_ms")?,
        key: row.maybe_text("key")?,
        endpoint: row.text("endpoint")?.into(),
        model: row.text("model")?,
        upstream: row.maybe_text("upstream")?,
        backend: row.maybe_text("backend")?,
        status: row.narrow("status")?,
        end: row.word("ending")?,
        stream: row.flag("stream")?,
        attempts: row.narrow("attempts")?,
        usage: Usage {
            prompt: row.narrow("prompt")?,
            cached: row.narrow("cached")?,
            completion: row.narrow("completion")?,
            reasoning: row.narrow("reasoning")?,
        },
        source: row.word("usage_source")?,
        ttft_ms: row.maybe_narrow("ttft_ms")?,
        duration_ms: row.narrow("duration_ms")?,
        error_code: row.maybe_text("error_code")?,
        wage: wage(row)?,
    })
}

fn wage(row: &impl Fields) -> Result<Option<Wage>, ReadError> {
    let Some(amount) = row.maybe_narrow::<u64>("wage")? else {
        return Ok(None);
    };
    let channel = match row.maybe_text("wage_channel")? {
        Some(_) => Some(row.word("wage_channel")?),
        None => None,
    };
    Ok(Some(Wage {
        amount: Nano::saturating(amount),
        channel,
        voucher_max: Nano::saturating(row.maybe_narrow("wage_voucher")?.unwrap_or(0)),
    }))
}
