//! The changes, each one transaction with its row of the audit log.

use std::time::Duration;

use billing::{AccountId, Budget};
use serde_json::{Map, Value, json};

use super::{By, Grant, KeyError, KeyStore, NewKey, Sha256, StoredKey, rows};
use crate::audit::{self, AuditEntry};
use crate::pool::{Conn, Db, Either, Tx};

/// How long a server may take for a change, and for an import of many.
const PATIENCE: Duration = Duration::from_secs(10);
const LONG_PATIENCE: Duration = Duration::from_secs(300);

/// A key that was rotated.
#[derive(Clone, Debug)]
pub struct Rotated {
    pub key: StoredKey,
    /// The first moment at which what clients had before is refused.
    pub old_valid_until_ms: i64,
}

impl KeyStore {
    pub async fn create(&self, new: &NewKey, by: By<'_>) -> Result<StoredKey, KeyError> {
        let mut conn = self.writer.acquire().await?;
        let outcome = self.writer.within(PATIENCE, create(&mut conn, new, by)).await;
        conn.release(outcome).await
    }

    /// Creates many at once; each has an outcome of its own, and those that are refused hinder no other.
    pub async fn import(&self, new: &[NewKey], by: By<'_>) -> Result<Vec<Result<(), KeyError>>, KeyError> {
        let mut conn = self.writer.acquire().await?;
        let outcome = self.writer.within(LONG_PATIENCE, import(&mut conn, new, by)).await;
        conn.release(outcome).await
    }

    /// Changes what a key may use; where `edit` leaves the grant as it is, nothing is written.
    pub async fn update(
        &self,
        name: &str,
        by: By<'_>,
        edit: impl FnOnce(&mut Grant) + Send,
    ) -> Result<StoredKey, KeyError> {
        let mut conn = self.writer.acquire().await?;
        let outcome = self.writer.within(PATIENCE, update(&mut conn, name, by, edit)).await;
        conn.release(outcome).await
    }

    /// Gives a key another hash. What clients have now is refused `grace_ms` from now, or earlier if that was said before.
    pub async fn rotate(&self, name: &str, sha256: Sha256, grace_ms: i64, by: By<'_>) -> Result<Rotated, KeyError> {
        let mut conn = self.writer.acquire().await?;
        let outcome = self
            .writer
            .within(PATIENCE, rotate(&mut conn, name, sha256, grace_ms, by))
            .await;
        conn.release(outcome).await
    }

    /// Ends a key for ever. Doing it again changes nothing.
    pub async fn revoke(&self, name: &str, by: By<'_>) -> Result<StoredKey, KeyError> {
        let mut conn = self.writer.acquire().await?;
        let outcome = self.writer.within(PATIENCE, revoke(&mut conn, name, by)).await;
        conn.release(outcome).await
    }

    /// Adds to the audit log what was changed elsewhere than in the database.
    pub async fn audit(&self, entry: &AuditEntry) -> Result<(), KeyError> {
        let mut conn = self.writer.acquire().await?;
        let adding = async { Ok(audit::insert(&mut conn.db(), entry).await?) };
        let outcome = self.writer.within(PATIENCE, adding).await;
        conn.release(outcome).await
    }
}

/// A transaction in which nobody else changes keys: SQLite has one writer, and PostgreSQL a row that each locks first.
async fn begin(conn: &mut Conn) -> Result<Tx<'_>, KeyError> {
    let mut tx = conn.begin().await?;
    if let Either::Postgres(tx) = &mut tx {
        sqlx::query("SELECT FROM key_state FOR UPDATE")
            .execute(&mut **tx)
            .await?;
    }
    Ok(tx)
}

async fn create(conn: &mut Conn, new: &NewKey, by: By<'_>) -> Result<StoredKey, KeyError> {
    let mut transaction = begin(conn).await?;
    let mut db = transaction.db();
    add(&mut db, new, "key.create", by).await?;
    let key = live(&mut db, &new.name).await?;
    transaction.commit().await?;
    Ok(key)
}

async fn import(conn: &mut Conn, new: &[NewKey], by: By<'_>) -> Result<Vec<Result<(), KeyError>>, KeyError> {
    let mut transaction = begin(conn).await?;
    let mut db = transaction.db();
    let mut outcomes = Vec::with_capacity(new.len());
    for new in new {
        let outcome = add(&mut db, new, "key.import", by).await;
        match outcome {
            // Not of this key alone.
            Err(error @ (KeyError::Database { .. } | KeyError::Read(_))) => return Err(error),
            outcome => outcomes.push(outcome),
        }
    }
    transaction.commit().await?;
    Ok(outcomes)
}

async fn add(db: &mut Db<'_>, new: &NewKey, action: &str, by: By<'_>) -> Result<(), KeyError> {
    let name = new.name.clone();
    match rows::find(db, &name).await? {
        Some(StoredKey {
            revoked_at_ms: Some(_), ..
        }) => return Err(KeyError::NameRevoked { name }),
        Some(_) => return Err(KeyError::NameTaken { name }),
        None => {}
    }
    refuse_known(db, &new.sha256).await?;
    refuse_account(db, &name, &new.grant).await?;
    rows::insert(db, new, by.actor, by.at_ms).await?;
    let detail = rows::fields(&new.grant).map(|(field, value)| (field.to_owned(), value));
    log(db, by, action, &name, detail.into_iter().collect()).await
}

async fn update(
    conn: &mut Conn,
    name: &str,
    by: By<'_>,
    edit: impl FnOnce(&mut Grant) + Send,
) -> Result<StoredKey, KeyError> {
    let mut transaction = begin(conn).await?;
    let mut db = transaction.db();
    let mut key = live(&mut db, name).await?;
    let old = rows::fields(&key.grant);
    edit(&mut key.grant);
    let pairs = old.into_iter().zip(rows::fields(&key.grant));
    let changed: Map<String, Value> = pairs
        .filter(|((_, old), (_, new))| old != new)
        .map(|((field, old), (_, new))| (field.to_owned(), json!({"old": old, "new": new})))
        .collect();
    if !changed.is_empty() {
        refuse_account(&mut db, name, &key.grant).await?;
        rows::update(&mut db, name, &key.grant).await?;
        log(&mut db, by, "key.update", name, changed).await?;
    }
    transaction.commit().await?;
    Ok(key)
}

async fn rotate(conn: &mut Conn, name: &str, sha256: Sha256, grace_ms: i64, by: By<'_>) -> Result<Rotated, KeyError> {
    let mut transaction = begin(conn).await?;
    let mut db = transaction.db();
    live(&mut db, name).await?;
    refuse_known(&mut db, &sha256).await?;
    let old_valid_until_ms = by.at_ms.saturating_add(grace_ms.max(0));
    rows::end_hashes(&mut db, name, old_valid_until_ms).await?;
    rows::insert_hash(&mut db, name, &sha256, by.at_ms).await?;
    let detail = Map::from_iter([("old_valid_until_ms".to_owned(), old_valid_until_ms.into())]);
    log(&mut db, by, "key.rotate", name, detail).await?;
    let key = live(&mut db, name).await?;
    transaction.commit().await?;
    Ok(Rotated {
        key,
        old_valid_until_ms,
    })
}

async fn revoke(conn: &mut Conn, name: &str, by: By<'_>) -> Result<StoredKey, KeyError> {
    let mut transaction = begin(conn).await?;
    let mut db = transaction.db();
    let mut key = known(&mut db, name).await?;
    if key.revoked_at_ms.is_none() {
        rows::revoke(&mut db, name, by.at_ms).await?;
        key.revoked_at_ms = Some(by.at_ms);
        log(&mut db, by, "key.revoke", name, Map::new()).await?;
    }
    transaction.commit().await?;
    Ok(key)
}

async fn refuse_known(db: &mut Db<'_>, sha256: &Sha256) -> Result<(), KeyError> {
    match rows::holder(db, sha256).await? {
        Some((name, revoked)) => Err(KeyError::HashTaken { name, revoked }),
        None => Ok(()),
    }
}

/// Refuses who cannot pay for a key.
async fn refuse_account(db: &mut Db<'_>, name: &str, grant: &Grant) -> Result<(), KeyError> {
    let account = match &grant.account {
        Some(account) => account.clone(),
        None if grant.budget == Budget::default() => return Ok(()),
        None => AccountId::default_organisation(),
    };
    let Some(found) = rows::currency(db, account.as_str()).await? else {
        return Err(KeyError::NoAccount { account });
    };
    match rows::spent(db, name).await? {
        Some(spent) if spent != found => Err(KeyError::Currency {
            name: name.to_owned(),
            spent,
            account,
            found,
        }),
        _ => Ok(()),
    }
}

/// A key that may be changed.
async fn live(db: &mut Db<'_>, name: &str) -> Result<StoredKey, KeyError> {
    let key = known(db, name).await?;
    match key.revoked_at_ms {
        Some(_) => Err(KeyError::Revoked { name: key.name }),
        None => Ok(key),
    }
}

async fn known(db: &mut Db<'_>, name: &str) -> Result<StoredKey, KeyError> {
    let not_found = || KeyError::NotFound { name: name.to_owned() };
    rows::find(db, name).await?.ok_or_else(not_found)
}

async fn log(
    db: &mut Db<'_>,
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
    Ok(audit::insert(db, &entry).await?)
}
