//! Keys to rows and back.

use billing::{AccountId, Budget, Currency, Nano};
use serde_json::Value;

use super::{Grant, KeySnapshot, NewKey, Sha256, StoredHash, StoredKey};
use crate::fields::Fields;
use crate::pool::{Db, both};
use crate::reader::ReadError;

/// The columns of a key. `SELECT *` would fail in PostgreSQL for as long as a newer node adds one.
macro_rules! columns {
    () => {
        "name, owner, models, min_tier, requests_per_minute, tokens_per_minute, concurrency, \
         expires_at_ms, disabled, account, budget_total, budget_day, budget_month, tags, created_at_ms, created_by, revoked_at_ms"
    };
}

/// Differs after any change to keys, by whatever process.
pub(crate) async fn generation(db: &mut Db<'_>) -> Result<i64, ReadError> {
    const SQL: &str = "SELECT generation FROM key_state";
    Ok(both!(mut *db, db => sqlx::query_scalar(SQL).fetch_one(&mut **db).await?))
}

/// Every key. The caller holds a transaction, so that the three statements see one moment.
pub(crate) async fn all(db: &mut Db<'_>) -> Result<KeySnapshot, ReadError> {
    const KEYS: &str = concat!("SELECT ", columns!(), " FROM keys ORDER BY name");
    const HASHES: &str = "SELECT key, sha256, valid_until_ms FROM key_hashes ORDER BY key, rowid";
    let generation = generation(db).await?;
    let mut keys: Vec<StoredKey> = both!(mut *db, db => sqlx::query(KEYS)
        .fetch_all(&mut **db)
        .await?
        .iter()
        .map(key)
        .collect::<Result<_, _>>()?);
    let hashes: Vec<(String, StoredHash)> = both!(mut *db, db => sqlx::query(HASHES)
        .fetch_all(&mut **db)
        .await?
        .iter()
        .map(|row| Ok((row.text("key")?, hash(row)?)))
        .collect::<Result<_, ReadError>>()?);
    let mut at = 0;
    for (name, hash) in hashes {
        // Both are in the order of names, byte by byte.
        while keys.get(at).is_some_and(|key| key.name < name) {
            at += 1;
        }
        if let Some(key) = keys.get_mut(at).filter(|key| key.name == name) {
            key.hashes.push(hash);
        }
    }
    Ok(KeySnapshot { generation, keys })
}

/// One key. The caller holds a transaction.
pub(crate) async fn find(db: &mut Db<'_>, name: &str) -> Result<Option<StoredKey>, ReadError> {
    const KEY: &str = concat!("SELECT ", columns!(), " FROM keys WHERE name = $1");
    const HASHES: &str = "SELECT sha256, valid_until_ms FROM key_hashes WHERE key = $1 ORDER BY rowid";
    let found: Option<StoredKey> = both!(mut *db, db => sqlx::query(KEY)
        .bind(name)
        .fetch_optional(&mut **db)
        .await?
        .map(|row| key(&row))
        .transpose()?);
    let Some(mut key) = found else { return Ok(None) };
    key.hashes = both!(mut *db, db => sqlx::query(HASHES)
        .bind(name)
        .fetch_all(&mut **db)
        .await?
        .iter()
        .map(hash)
        .collect::<Result<_, _>>()?);
    Ok(Some(key))
}

/// The name of the key that a hash belongs to, and whether that was revoked.
pub(super) async fn holder(db: &mut Db<'_>, sha256: &Sha256) -> Result<Option<(String, bool)>, ReadError> {
    const SQL: &str =
        "SELECT name, revoked_at_ms FROM keys JOIN key_hashes ON key_hashes.key = keys.name WHERE sha256 = $1";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(&sha256.0[..])
        .fetch_optional(&mut **db)
        .await?
        .map(|row| Ok((row.text("name")?, row.maybe_int("revoked_at_ms")?.is_some())))
        .transpose())
}

pub(super) async fn insert(db: &mut Db<'_>, new: &NewKey, created_by: &str, at_ms: i64) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT INTO keys (owner, models, min_tier, requests_per_minute, tokens_per_minute, \
        concurrency, expires_at_ms, disabled, tags, name, created_at_ms, created_by, \
        account, budget_total, budget_day, budget_month) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";
    let grant = &new.grant;
    both!(mut *db, db => sqlx::query(SQL)
        .bind(grant.owner.as_deref())
        .bind(models(grant).to_string())
        .bind(&grant.min_tier)
        .bind(grant.requests_per_minute.map(i64::from))
        .bind(grant.tokens_per_minute.map(i64::from))
        .bind(grant.concurrency.map(i64::from))
        .bind(grant.expires_at_ms)
        .bind(grant.disabled)
        .bind(tags(grant).to_string())
        .bind(&new.name)
        .bind(at_ms)
        .bind(created_by)
        .bind(grant.account.as_ref().map(AccountId::as_str))
        .bind(bound(grant.budget.total))
        .bind(bound(grant.budget.day))
        .bind(bound(grant.budget.month))
        .execute(&mut **db)
        .await
        .map(drop))?;
    insert_hash(db, &new.name, &new.sha256, at_ms).await
}

pub(super) async fn insert_hash(db: &mut Db<'_>, name: &str, sha256: &Sha256, at_ms: i64) -> Result<(), sqlx::Error> {
    const SQL: &str = "INSERT INTO key_hashes (sha256, key, created_at_ms) VALUES ($1, $2, $3)";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(&sha256.0[..])
        .bind(name)
        .bind(at_ms)
        .execute(&mut **db)
        .await
        .map(drop))
}

/// What clients have now is refused then, or earlier if that was said before.
pub(super) async fn end_hashes(db: &mut Db<'_>, name: &str, valid_until_ms: i64) -> Result<(), sqlx::Error> {
    const SQL: &str = "UPDATE key_hashes \
        SET valid_until_ms = CASE WHEN valid_until_ms < $1 THEN valid_until_ms ELSE $1 END WHERE key = $2";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(valid_until_ms)
        .bind(name)
        .execute(&mut **db)
        .await
        .map(drop))
}

pub(super) async fn revoke(db: &mut Db<'_>, name: &str, at_ms: i64) -> Result<(), sqlx::Error> {
    const SQL: &str = "UPDATE keys SET revoked_at_ms = $1 WHERE name = $2";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(at_ms)
        .bind(name)
        .execute(&mut **db)
        .await
        .map(drop))
}

pub(super) async fn update(db: &mut Db<'_>, name: &str, grant: &Grant) -> Result<(), sqlx::Error> {
    const SQL: &str = "UPDATE keys SET owner = $1, models = $2, min_tier = $3, requests_per_minute = $4, \
        tokens_per_minute = $5, concurrency = $6, expires_at_ms = $7, disabled = $8, tags = $9, account = $11, \
        budget_total = $12, budget_day = $13, budget_month = $14 WHERE name = $10";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(grant.owner.as_deref())
        .bind(models(grant).to_string())
        .bind(&grant.min_tier)
        .bind(grant.requests_per_minute.map(i64::from))
        .bind(grant.tokens_per_minute.map(i64::from))
        .bind(grant.concurrency.map(i64::from))
        .bind(grant.expires_at_ms)
        .bind(grant.disabled)
        .bind(tags(grant).to_string())
        .bind(name)
        .bind(grant.account.as_ref().map(AccountId::as_str))
        .bind(bound(grant.budget.total))
        .bind(bound(grant.budget.day))
        .bind(bound(grant.budget.month))
        .execute(&mut **db)
        .await
        .map(drop))
}

/// Every field of a grant with its value, for the audit log.
pub(super) fn fields(grant: &Grant) -> [(&'static str, Value); 13] {
    [
        ("owner", Value::from(grant.owner.clone())),
        ("models", models(grant)),
        ("min_tier", Value::from(grant.min_tier.clone())),
        ("requests_per_minute", Value::from(grant.requests_per_minute)),
        ("tokens_per_minute", Value::from(grant.tokens_per_minute)),
        ("concurrency", Value::from(grant.concurrency)),
        ("expires_at_ms", Value::from(grant.expires_at_ms)),
        ("disabled", Value::from(grant.disabled)),
        ("account", Value::from(grant.account.as_ref().map(AccountId::as_str))),
        ("budget_total", amount(grant.budget.total)),
        ("budget_day", amount(grant.budget.day)),
        ("budget_month", amount(grant.budget.month)),
        ("tags", tags(grant)),
    ]
}

fn bound(amount: Option<Nano>) -> Option<i64> {
    // No amount is beyond 63 bits.
    amount.map(|amount| i64::try_from(amount.get()).unwrap_or(i64::MAX))
}

fn amount(amount: Option<Nano>) -> Value {
    Value::from(amount.map(|amount| amount.to_string()))
}

/// The currency of an account that keys can be charged to.
pub(super) async fn currency(db: &mut Db<'_>, account: &str) -> Result<Option<Currency>, ReadError> {
    const SQL: &str = "SELECT currency FROM accounts WHERE id = $1 AND origin IS NULL";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(account)
        .fetch_optional(&mut **db)
        .await?
        .map(|row| row.word("currency"))
        .transpose())
}

/// The currency of what a key spent, where the ledger knows it.
pub(super) async fn spent(db: &mut Db<'_>, name: &str) -> Result<Option<Currency>, ReadError> {
    const SQL: &str = "SELECT currency FROM accounts WHERE id = $1";
    both!(mut *db, db => sqlx::query(SQL)
        .bind(AccountId::key(name).as_str())
        .fetch_optional(&mut **db)
        .await?
        .map(|row| row.word("currency"))
        .transpose())
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

fn key(row: &impl Fields) -> Result<StoredKey, ReadError> {
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
        name: row.text("name")?,
        grant: Grant {
            owner: row.maybe_text("owner")?,
            models,
            min_tier: row.text("min_tier")?,
            requests_per_minute: row.maybe_narrow("requests_per_minute")?,
            tokens_per_minute: row.maybe_narrow("tokens_per_minute")?,
            concurrency: row.maybe_narrow("concurrency")?,
            expires_at_ms: row.maybe_int("expires_at_ms")?,
            disabled: row.flag("disabled")?,
            account: row
                .maybe_text("account")?
                .map(|account| account.parse().map_err(|_| ReadError::Row { column: "account" }))
                .transpose()?,
            budget: Budget {
                total: nano(row, "budget_total")?,
                day: nano(row, "budget_day")?,
                month: nano(row, "budget_month")?,
            },
            tags,
        },
        hashes: Vec::new(),
        created_at_ms: row.int("created_at_ms")?,
        created_by: row.text("created_by")?,
        revoked_at_ms: row.maybe_int("revoked_at_ms")?,
    })
}

fn nano(row: &impl Fields, column: &'static str) -> Result<Option<Nano>, ReadError> {
    let bound: Option<u64> = row.maybe_narrow(column)?;
    Ok(bound.map(Nano::saturating))
}

fn hash(row: &impl Fields) -> Result<StoredHash, ReadError> {
    let sha256 = row.bytes("sha256")?.try_into();
    Ok(StoredHash {
        sha256: Sha256(sha256.map_err(|_| ReadError::Row { column: "sha256" })?),
        valid_until_ms: row.maybe_int("valid_until_ms")?,
    })
}

fn json<T>(row: &impl Fields, column: &'static str, read: impl Fn(Value) -> Option<T>) -> Result<T, ReadError> {
    serde_json::from_str(&row.text(column)?)
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
