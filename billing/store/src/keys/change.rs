//! The changes, each one transaction with its row of the audit log.

use serde_json::{Map, Value, json};
use sqlx::pool::PoolConnection;
use sqlx::{Connection, Sqlite, SqliteConnection};

use super::{By, Grant, KeyError, KeyStore, NewKey, Sha256, StoredKey, rows};
use crate::audit::{self, AuditEntry};

/// A key that was rotated.
#[derive(Clone, Debug)]
pub struct Rotated {
    pub key: StoredKey,
    /// The first moment at which what clients had before is refused.
    pub old_valid_until_ms: i64,
}

impl KeyStore {
    pub async fn create(&self, new: &NewKey, by: By<'_>) -> Result<StoredKey, KeyError> {
        let mut conn = self.durable().await?;
        let outcome = create(&mut conn, new, by).await;
        release(conn, outcome).await
    }

    /// Creates many at once; each has an outcome of its own, and those that are refused hinder no other.
    pub async fn import(&self, new: &[NewKey], by: By<'_>) -> Result<Vec<Result<(), KeyError>>, KeyError> {
        let mut conn = self.durable().await?;
        let outcome = import(&mut conn, new, by).await;
        release(conn, outcome).await
    }

    /// Changes what a key may use; where `edit` leaves the grant as it is, nothing is written.
    pub async fn update(
        &self,
        name: &str,
        by: By<'_>,
        edit: impl FnOnce(&mut Grant) + Send,
    ) -> Result<StoredKey, KeyError> {
        let mut conn = self.durable().await?;
        let outcome = update(&mut conn, name, by, edit).await;
        release(conn, outcome).await
    }

    /// Gives a key another hash. What clients have now is refused `grace_ms` from now, or earlier if that was said before.
    pub async fn rotate(&self, name: &str, sha256: Sha256, grace_ms: i64, by: By<'_>) -> Result<Rotated, KeyError> {
        let mut conn = self.durable().await?;
        let outcome = rotate(&mut conn, name, sha256, grace_ms, by).await;
        release(conn, outcome).await
    }

    /// Ends a key for ever. Doing it again changes nothing.
    pub async fn revoke(&self, name: &str, by: By<'_>) -> Result<StoredKey, KeyError> {
        let mut conn = self.durable().await?;
        let outcome = revoke(&mut conn, name, by).await;
        release(conn, outcome).await
    }

    /// Adds to the audit log what was changed elsewhere than in the database.
    pub async fn audit(&self, entry: &AuditEntry) -> Result<(), KeyError> {
        let mut conn = self.durable().await?;
        let outcome = audit::insert(&mut conn, entry).await.map_err(KeyError::from);
        release(conn, outcome).await
    }

    /// A connection whose commits are on the disk when they return.
    async fn durable(&self) -> Result<PoolConnection<Sqlite>, KeyError> {
        let mut conn = self.writer.acquire().await?;
        // Records may be lost with the power, changes to keys may not.
        sqlx::query("PRAGMA synchronous = FULL").execute(&mut *conn).await?;
        Ok(conn)
    }
}

/// Gives the connection back as the recorder wants it.
async fn release<T>(mut conn: PoolConnection<Sqlite>, outcome: Result<T, KeyError>) -> Result<T, KeyError> {
    // As in `rows::insert`: after some failures sqlx believes for ever that a transaction is open.
    let is_bad = outcome.is_err() && (conn.ping().await.is_err() || conn.is_in_transaction());
    let reset = sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *conn).await;
    if is_bad || reset.is_err() {
        conn.close_on_drop();
    }
    outcome
}

async fn create(conn: &mut SqliteConnection, new: &NewKey, by: By<'_>) -> Result<StoredKey, KeyError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    add(&mut transaction, new, "key.create", by).await?;
    let key = live(&mut transaction, &new.name).await?;
    transaction.commit().await?;
    Ok(key)
}

async fn import(
    conn: &mut SqliteConnection,
    new: &[NewKey],
    by: By<'_>,
) -> Result<Vec<Result<(), KeyError>>, KeyError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    let mut outcomes = Vec::with_capacity(new.len());
    for new in new {
        let outcome = add(&mut transaction, new, "key.import", by).await;
        match outcome {
            // Not of this key alone.
            Err(error @ (KeyError::Database { .. } | KeyError::Read(_))) => return Err(error),
            outcome => outcomes.push(outcome),
        }
    }
    transaction.commit().await?;
    Ok(outcomes)
}

async fn add(conn: &mut SqliteConnection, new: &NewKey, action: &str, by: By<'_>) -> Result<(), KeyError> {
    let name = new.name.clone();
    match rows::find(conn, &name).await? {
        Some(StoredKey {
            revoked_at_ms: Some(_), ..
        }) => return Err(KeyError::NameRevoked { name }),
        Some(_) => return Err(KeyError::NameTaken { name }),
        None => {}
    }
    refuse_known(conn, &new.sha256).await?;
    rows::insert(conn, new, by.actor, by.at_ms).await?;
    let detail = rows::fields(&new.grant).map(|(field, value)| (field.to_owned(), value));
    log(conn, by, action, &name, detail.into_iter().collect()).await
}

async fn update(
    conn: &mut SqliteConnection,
    name: &str,
    by: By<'_>,
    edit: impl FnOnce(&mut Grant) + Send,
) -> Result<StoredKey, KeyError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    let mut key = live(&mut transaction, name).await?;
    let old = rows::fields(&key.grant);
    edit(&mut key.grant);
    let pairs = old.into_iter().zip(rows::fields(&key.grant));
    let changed: Map<String, Value> = pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((field, old), (_, new))| (field.to_owned(), json!({"old": old, "new": new})))
        .collect();
    if !changed.is_empty() {
        rows::update(&mut transaction, name, &key.grant).await?;
        log(&mut transaction, by, "key.update", name, changed).await?;
    }
    transaction.commit().await?;
    Ok(key)
}

async fn rotate(
    conn: &mut SqliteConnection,
    name: &str,
    sha256: Sha256,
    grace_ms: i64,
    by: By<'_>,
) -> Result<Rotated, KeyError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    live(&mut transaction, name).await?;
    refuse_known(&mut transaction, &sha256).await?;
    let old_valid_until_ms = by.at_ms.saturating_add(grace_ms.max(0));
    sqlx::query("UPDATE key_hashes SET valid_until_ms = min(coalesce(valid_until_ms, ?1), ?1) WHERE key = ?2")
        .bind(old_valid_until_ms)
        .bind(name)
        .execute(&mut *transaction)
        .await?;
    rows::insert_hash(&mut transaction, name, &sha256, by.at_ms).await?;
    let detail = Map::from_iter([("old_valid_until_ms".to_owned(), old_valid_until_ms.into())]);
    log(&mut transaction, by, "key.rotate", name, detail).await?;
    let key = live(&mut transaction, name).await?;
    transaction.commit().await?;
    Ok(Rotated {
        key,
        old_valid_until_ms,
    })
}

async fn revoke(conn: &mut SqliteConnection, name: &str, by: By<'_>) -> Result<StoredKey, KeyError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    let mut key = known(&mut transaction, name).await?;
    if key.revoked_at_ms.is_none() {
        sqlx::query("UPDATE keys SET revoked_at_ms = ? WHERE name = ?")
            .bind(by.at_ms)
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        key.revoked_at_ms = Some(by.at_ms);
        log(&mut transaction, by, "key.revoke", name, Map::new()).await?;
    }
    transaction.commit().await?;
    Ok(key)
}

async fn refuse_known(conn: &mut SqliteConnection, sha256: &Sha256) -> Result<(), KeyError> {
    match rows::holder(conn, sha256).await? {
        Some((name, revoked)) => Err(KeyError::HashTaken { name, revoked }),
        None => Ok(()),
    }
}

/// A key that may be changed.
async fn live(conn: &mut SqliteConnection, name: &str) -> Result<StoredKey, KeyError> {
    let key = known(conn, name).await?;
    match key.revoked_at_ms {
        Some(_) => Err(KeyError::Revoked { name: key.name }),
        None => Ok(key),
    }
}

async fn known(conn: &mut SqliteConnection, name: &str) -> Result<StoredKey, KeyError> {
    let not_found = || KeyError::NotFound { name: name.to_owned() };
    rows::find(conn, name).await?.ok_or_else(not_found)
}

async fn log(
    conn: &mut SqliteConnection,
    by: By<'_>,
    action: &str,
    name: &str,
    detail: Map<String, Value>,
) -> Result<(), KeyError> {
    let entry = AuditEntry {
        at_ms: by.at_ms,
        actor: by.actor.to_owned(),
        action: action.to_owned(),
        object: name.to_owned(),
        detail: Value::Object(detail),
    };
    Ok(audit::insert(conn, &entry).await?)
}
