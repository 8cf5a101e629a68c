//! The audit log: who changed what, and when. It is only added to; the database refuses anything else.

use serde_json::Value;

use crate::fields::Fields;
use crate::pool::{Db, both};
use crate::reader::ReadError;
use crate::rows::storable;

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
pub(crate) async fn insert(db: &mut Db<'_>, entry: &AuditEntry) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT INTO audit (at_ms, actor, action, object, detail) VALUES ($1, $2, $3, $4, $5)";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(entry.at_ms)
        .bind(&*storable(&entry.actor))
        .bind(&*storable(&entry.action))
        .bind(&*storable(&entry.object))
        .bind(entry.detail.to_string())
        .execute(&mut **db)
        .await
        .map(drop))
}

/// The newest first.
pub(crate) async fn newest(db: &mut Db<'_>, limit: u32) -> Result<Vec<AuditEntry>, ReadError> {
    const SQL: &str = "SELECT at_ms, actor, action, object, detail FROM audit ORDER BY id DESC LIMIT $1";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(i64::from(limit))
        .fetch_all(&mut **db)
        .await?
        .iter()
        .map(entry)
        .collect())
}

fn entry(row: &impl Fields) -> Result<AuditEntry, ReadError> {
    let detail = row.text("detail")?;
    Ok(AuditEntry {
        at_ms: row.int("at_ms")?,
        actor: row.text("actor")?,
        action: row.text("action")?,
        object: row.text("object")?,
        detail: serde_json::from_str(&detail).map_err(|_| ReadError::Row { column: "detail" })?,
    })
}
