//! Keys to rows and back.

use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Grant, KeySnapshot, NewKey, Sha256, StoredHash, StoredKey};
use crate::reader::ReadError;

/// Differs after any change to keys, by whatever process.
pub(crate) async fn generation(conn: &mut SqliteConnection) -> Result<i64, ReadError> {
    let generation = sqlx::query_scalar("SELECT generation FROM key_state").fetch_one(conn);
    Ok(generation.await?)
}

/// Every key. The caller holds a transaction, so that the three statements see one moment.
pub(crate) async fn all(conn: &mut SqliteConnection) -> Result<KeySnapshot, ReadError> {
    let generation = generation(conn).await?;
    let rows = sqlx::query("SELECT * FROM keys ORDER BY name")
        .fetch_all(&mut *conn)
        .await?;
    let mut keys = rows.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let rows = sqlx::query("SELECT * FROM key_hashes ORDER BY key, rowid")
        .fetch_all(&mut *conn)
        .await?;
    let mut at = 0;
    for row in &rows {
        let name: &str = row.try_get("key")?;
        // Both are in the order of names, byte by byte.
        while keys.get(at).is_some_and(|key| key.name.as_str() < name) {
            at += 1;
        }
        if let Some(key) = keys.get_mut(at).filter(|key| key.name == name) {
            key.hashes.push(hash(row)?);
        }
    }
    Ok(KeySnapshot { generation, keys })
}

pub(crate) async fn find(conn: &mut SqliteConnection, name: &str) -> Result<Option<StoredKey>, ReadError> {
    let row = sqlx::query("SELECT * FROM keys WHERE name = ?")
        .bind(name)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut key = key(&row)?;
    let rows = sqlx::query("SELECT * FROM key_hashes WHERE key = ? ORDER BY rowid")
        .bind(name)
        .fetch_all(conn)
        .await?;
    key.hashes = rows.iter().map(hash).collect::<Result<_, _>>()?;
    Ok(Some(key))
}

/// The name of the key that a hash belongs to, and whether that was revoked.
pub(super) async fn holder(
    conn: &mut SqliteConnection,
    sha256: &Sha256,
) -> Result<Option<(String, bool)>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT name, revoked_at_ms FROM keys JOIN key_hashes ON key_hashes.key = keys.name WHERE sha256 = ?",
    )
    .bind(&sha256.0[..])
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok((
            row.try_get("name")?,
            row.try_get::<Option<i64>, _>("revoked_at_ms")?.is_some(),
        ))
    })
    .transpose()
}

pub(super) async fn insert(
    conn: &mut SqliteConnection,
    new: &NewKey,
    created_by: &str,
    at_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO keys (owner, models, min_tier, requests_per_minute, tokens_per_minute, concurrency, \
         expires_at_ms, disabled, tags, name, created_at_ms, created_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.grant.owner.as_deref())
    .bind(models(&new.grant).to_string())
    .bind(&new.grant.min_tier)
    .bind(new.grant.requests_per_minute)
    .bind(new.grant.tokens_per_minute)
    .bind(new.grant.concurrency)
    .bind(new.grant.expires_at_ms)
    .bind(new.grant.disabled)
    .bind(tags(&new.grant).to_string())
    .bind(&new.name)
    .bind(at_ms)
    .bind(created_by)
    .execute(&mut *conn)
    .await?;
    insert_hash(conn, &new.name, &new.sha256, at_ms).await
}

pub(super) async fn insert_hash(
    conn: &mut SqliteConnection,
    name: &str,
    sha256: &Sha256,
    at_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO key_hashes (sha256, key, created_at_ms) VALUES (?, ?, ?)")
        .bind(&sha256.0[..])
        .bind(name)
        .bind(at_ms)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn update(conn: &mut SqliteConnection, name: &str, grant: &Grant) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE keys SET owner = ?, models = ?, min_tier = ?, requests_per_minute = ?, tokens_per_minute = ?, \
         concurrency = ?, expires_at_ms = ?, disabled = ?, tags = ? WHERE name = ?",
    )
    .bind(grant.owner.as_deref())
    .bind(models(grant).to_string())
    .bind(&grant.min_tier)
    .bind(grant.requests_per_minute)
    .bind(grant.tokens_per_minute)
    .bind(grant.concurrency)
    .bind(grant.expires_at_ms)
    .bind(grant.disabled)
    .bind(tags(grant).to_string())
    .bind(name)
    .execute(conn)
    .await?;
    Ok(())
}

/// Every field of a grant with its value, for the audit log.
pub(super) fn fields(grant: &Grant) -> [(&'static str, Value); 9] {
    [
        ("owner", Value::from(grant.owner.clone())),
        ("models", models(grant)),
        ("min_tier", Value::from(grant.min_tier.clone())),
        ("requests_per_minute", Value::from(grant.requests_per_minute)),
        ("tokens_per_minute", Value::from(grant.tokens_per_minute)),
        ("concurrency", Value::from(grant.concurrency)),
        ("expires_at_ms", Value::from(grant.expires_at_ms)),
        ("disabled", Value::from(grant.disabled)),
        ("tags", tags(grant)),
    ]
}

fn models(grant: &Grant) -> Value {
    Value::from(grant.models.clone())
}

fn tags(grant: &Grant) -> Value {
    let tags = grant.tags.iter();
    Value::Object(
        tags.map(|(name, value)| (name.clone(), Value::from(value.clone())))
            .collect(),
    )
}

fn key(row: &SqliteRow) -> Result<StoredKey, ReadError> {
    let models: Vec<String> = json(row, "models", |value| match value {
        Value::Array(items) => items.into_iter().map(text).collect(),
        _ => None,
    })?;
    let tags = json(row, "tags", |value| match value {
        Value::Object(members) => {
            let members = members.into_iter();
            members.map(|(name, value)| Some((name, text(value)?))).collect()
        }
        _ => None,
    })?;
    Ok(StoredKey {
        name: row.try_get("name")?,
        grant: Grant {
            owner: row.try_get("owner")?,
            models,
            min_tier: row.try_get("min_tier")?,
            requests_per_minute: limit(row, "requests_per_minute")?,
            tokens_per_minute: limit(row, "tokens_per_minute")?,
            concurrency: limit(row, "concurrency")?,
            expires_at_ms: row.try_get("expires_at_ms")?,
            disabled: row.try_get("disabled")?,
            tags,
        },
        hashes: Vec::new(),
        created_at_ms: row.try_get("created_at_ms")?,
        created_by: row.try_get("created_by")?,
        revoked_at_ms: row.try_get("revoked_at_ms")?,
    })
}

fn hash(row: &SqliteRow) -> Result<StoredHash, ReadError> {
    let sha256: &[u8] = row.try_get("sha256")?;
    Ok(StoredHash {
        sha256: Sha256(sha256.try_into().map_err(|_| ReadError::Row { column: "sha256" })?),
        valid_until_ms: row.try_get("valid_until_ms")?,
    })
}

fn limit(row: &SqliteRow, column: &'static str) -> Result<Option<u32>, ReadError> {
    let limit: Option<i64> = row.try_get(column)?;
    limit
        .map(u32::try_from)
        .transpose()
        .map_err(|_| ReadError::Row { column })
}

fn json<T>(row: &SqliteRow, column: &'static str, read: impl Fn(Value) -> Option<T>) -> Result<T, ReadError> {
    let text: &str = row.try_get(column)?;
    serde_json::from_str(text)
        .ok()
        .and_then(read)
        .ok_or(ReadError::Row { column })
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
