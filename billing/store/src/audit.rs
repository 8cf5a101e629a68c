//! The audit log: who changed what, and when. It is only added to; the database refuses anything else.

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::reader::ReadError;
use crate::rows::bounded;

/// One change by an operator. It holds no secret, and no hash of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub at_ms: i64,
    /// The name of an admin token, or `cli:` and a user of the machine.
    pub actor: String,
    /// Such as `key.create`.
    pub action: String,
    /// What was changed: the name of a key, a file.
    pub object: String,
    /// A JSON object: of an update, each field that changed, with its old and its new value.
    pub detail: Value,
}

/// Texts longer than 256 bytes are cut, but for the detail.
pub(crate) async fn insert(conn: &mut SqliteConnection, entry: &AuditEntry) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO audit (at_ms, actor, action, object, detail) VALUES (?, ?, ?, ?, ?)")
        .bind(entry.at_ms)
        .bind(bounded(&entry.actor))
        .bind(bounded(&entry.action))
        .bind(bounded(&entry.object))
        .bind(entry.detail.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

pub(crate) fn entry(row: &SqliteRow) -> Result<AuditEntry, ReadError> {
    let detail: &str = row.try_get("detail")?;
    Ok(AuditEntry {
        at_ms: row.try_get("at_ms")?,
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        object: row.try_get("object")?,
        detail: serde_json::from_str(detail).map_err(|_| ReadError::Row { column: "detail" })?,
    })
}
