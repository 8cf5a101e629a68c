//! Directory: every API key, of the file and of the database, and the one way to change those of the database.
//!
//! It keeps [`Accounts`] up to date, so that no request ever asks the database.
//! A change through it is in force when it is answered; one by another process (`mulberry key`) within a second.
//! Where the database cannot be read at the start there is no gateway; later the last known keys stay in force, and
//! the log and a metric say so.
//!
//! A name or a hash that is in the file and in the database belongs to the file; but what was revoked stays refused.
//! Without any key the gateway serves its own machine, and only if no other can connect; a key in the database,
//! revoked ones included, ends that for good, and a key or an issuer in the file until the next start: whoever takes
//! the last one out takes access away and gives none.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use backends::serve::BoxError;
use billing::{AccountId, Budget, Currency};
use billing_store::{
    AuditEntry, By, Grant, KeyError, KeySnapshot, KeyStore, LedgerStore, NewKey, ReadError, Reader, Sha256, Store,
    StoredKey,
    ledger::{CreateError, NewAccount},
};
use prometheus_client::metrics::gauge::Gauge;

use crate::{
    accounts::Accounts,
    config::{Config, Key, KeyHash, Oidc},
    layers::rescue::Chain,
    ledger::{Ledger, Payers, account_of},
    limiter::Limiters,
    wall_clock::unix_ms,
};

pub(crate) use edit::{EditError, KeyEdit, LimitsEdit, check_count, check_name, check_text, fresh};
use merge::Merged;
pub(crate) use mint::Minted;
pub(crate) use view::{KeyView, time};

mod edit;
mod merge;
mod mint;
mod view;

/// How often the database is asked whether another process changed keys.
const POLL: Duration = Duration::from_secs(1);

/// How long what was done waits to be written down: an end of the process must not hang on the disk.
const AUDIT: Duration = Duration::from_secs(3);

/// Why keys were not changed, or not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    #[error("nothing is kept on disk (data_dir is null), so keys can only be in the configuration file")]
    NoDatabase,
    #[error("the key '{name}' is in the configuration file; change it there and reload")]
    InFile { name: String },
    #[error("this API key is in the configuration file already, as '{name}'")]
    HashInFile { name: String },
    #[error(
        "the key '{name}' rests, because a secret of it is in the configuration file; change it there, or take it out there first"
    )]
    Resting { name: String },
    #[error("there is no key named '{name}'")]
    NotFound { name: String },
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the account that pays for keys which name none cannot be made")]
    Default(#[from] CreateError),
    #[error("the audit log cannot be read")]
    Audit(#[from] ReadError),
    #[error("no secure random bytes can be had from this system")]
    Random,
}

/// A key that was made or rotated, with the secret that is shown once.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) key: KeyView,
    /// `None` for a key of which only the hash is known.
    pub(crate) secret: Option<Minted>,
    /// When what clients had before is refused.
    pub(crate) old_valid_until_ms: Option<i64>,
}

pub(crate) struct Directory {
    accounts: Arc<ArcSwap<Accounts>>,
    database: Option<Database>,
    /// Held from a change or a read of the database until it is in force, so that nothing older overtakes it.
    order: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// 1 while the database cannot be read.
    stale: Gauge,
}

struct Database {
    keys: KeyStore,
    reader: Reader,
    ledger: LedgerStore,
}

/// What the configuration says of who may ask.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    keys: Vec<Key>,
    /// Web pages that may call.
    origins: Vec<String>,
    /// Whether only this machine can connect.
    is_local: bool,
    /// Whether there are other credentials than keys: tokens of issuers, or payments.
    has_issuers: bool,
    /// Whether channels are charged.
    has_payments: bool,
    /// Whether a file before this one, since the start, had keys or issuers.
    had_any: bool,
    /// Of the organisation that pays for keys which have a budget and name no account.
    currency: Currency,
    /// Who pays where no key is asked for.
    anonymous: Option<AccountId>,
    /// Who pays for tokens of issuers.
    issuers: Vec<AccountId>,
}

impl Written {
    pub(crate) fn of(config: &Config) -> Self {
        let origins = config.cors.as_ref().map(|cors| cors.origins.clone());
        Self {
            keys: config.keys.clone(),
            origins: origins.unwrap_or_default(),
            is_local: config.is_local(),
            has_issuers: !config.oidc.is_empty() || config.payments.is_some(),
            has_payments: config.payments.is_some(),
            had_any: false,
            currency: config.ledger.currency,
            anonymous: config.ledger.anonymous.clone(),
            issuers: config.oidc.iter().flat_map(Oidc::accounts).cloned().collect(),
        }
    }

    /// Whether there are, or were since the start, keys or issuers.
    fn has_any(&self) -> bool {
        self.had_any || self.has_issuers || !self.keys.is_empty()
    }

    /// Where there is no configuration at all: nobody is let in without a key.
    pub(crate) const fn nothing() -> Self {
        Self {
            keys: Vec::new(),
            origins: Vec::new(),
            is_local: false,
            has_issuers: false,
            has_payments: false,
            had_any: false,
            currency: Currency::USD,
            anonymous: None,
            issuers: Vec::new(),
        }
    }
}

struct State {
    written: Written,
    limiters: Arc<Limiters>,
    payers: Payers,
    /// Hears which accounts pay for nothing.
    ledger: Option<Ledger>,
    stored: KeySnapshot,
    shadowed: Vec<String>,
    revoked: Vec<String>,
}

impl Directory {
    /// Reads all keys. `stale` will say whether the database can be read.
    pub(crate) async fn open(
        written: Written,
        store: Option<&Store>,
        limiters: Arc<Limiters>,
        stale: Gauge,
    ) -> Result<Self, ReadError> {
        let database = store.map(|store| Database {
            keys: store.keys(),
            reader: store.reader().clone(),
            ledger: store.ledger(),
        });
        let stored = match &database {
            Some(database) => database.reader.keys().await?,
            None => KeySnapshot {
                generation: 0,
                keys: Vec::new(),
            },
        };
        let mut state = State {
            written,
            limiters,
            payers: Payers::default(),
            ledger: None,
            stored,
            shadowed: Vec::new(),
            revoked: Vec::new(),
        };
        let accounts = Arc::new(ArcSwap::from_pointee(state.accounts()));
        Ok(Self {
            accounts,
            database,
            order: tokio::sync::Mutex::new(()),
            state: Mutex::new(state),
            stale,
        })
    }

    /// What requests are checked against.
    pub(crate) fn accounts(&self) -> Arc<ArcSwap<Accounts>> {
        self.accounts.clone()
    }

    /// Whether there is, or ever was, a key.
    pub(crate) fn has_keys(&self) -> bool {
        let state = self.state();
        !state.written.keys.is_empty() || !state.stored.keys.is_empty()
    }

    /// Takes the keys of a new configuration. Its `listen` is not in force before the next start.
    pub(crate) fn configure(&self, config: &Config) {
        let mut state = self.state();
        let had_any = state.written.has_any();
        state.written = Written {
            is_local: state.written.is_local,
            had_any,
            ..Written::of(config)
        };
        if had_any && state.written.keys.is_empty() && !state.written.has_issuers && state.stored.keys.is_empty() {
            tracing::warn!(
                "the last API key is gone: everybody is refused until there is one, or until the next start"
            );
        }
        self.accounts.store(Arc::new(state.accounts()));
    }

    /// Charges keys from now on. The ledger is told which of their accounts pay for nothing.
    pub(crate) fn charge(&self, ledger: Ledger, payers: Payers) {
        let mut state = self.state();
        state.ledger = Some(ledger);
        state.payers = payers;
        self.accounts.store(Arc::new(state.accounts()));
    }

    /// Follows the database until dropped.
    pub(crate) async fn watch(self: Arc<Self>) {
        let Some(database) = &self.database else { return };
        loop {
            tokio::time::sleep(POLL).await;
            self.look(database).await;
        }
    }

    /// Follows once, and tells when that begins or ceases to fail.
    async fn look(&self, database: &Database) {
        match self.follow(database).await {
            Ok(()) => {
                if self.stale.set(0) != 0 {
                    tracing::info!("API keys in the database can be read again");
                }
            }
            Err(error) => {
                if self.stale.set(1) == 0 {
                    tracing::error!(cause = %Chain(&error), "API keys in the database cannot be read; those known before stay in force");
                }
            }
        }
    }

    async fn follow(&self, database: &Database) -> Result<(), ReadError> {
        if database.reader.key_generation().await? == self.state().stored.generation {
            return Ok(());
        }
        let _order = self.order.lock().await;
        self.read(database).await?;
        tracing::info!("API keys changed in the database, and are in force");
        Ok(())
    }

    /// Puts in force what the database has. The caller holds `order`.
    async fn read(&self, database: &Database) -> Result<(), ReadError> {
        let stored = database.reader.keys().await?;
        let mut state = self.state();
        state.stored = stored;
        self.accounts.store(Arc::new(state.accounts()));
        Ok(())
    }

    /// All keys, those of the file first; revoked ones are among them.
    pub(crate) fn list(&self) -> Vec<KeyView> {
        let state = self.state();
        let file = state.written.keys.iter().map(|key| {
            let mut view = KeyView::of_file(key);
            view.disabled |= state.revoked.contains(&key.name);
            view
        });
        let stored = state.stored.keys.iter().filter(|key| !state.is_in_file(&key.name));
        file.chain(stored.map(KeyView::of_database)).collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<KeyView> {
        self.list().into_iter().find(|key| key.name == name)
    }

    /// Makes a key. Without `sha256` its secret is made here.
    pub(crate) async fn create(
        &self,
        name: &str,
        edit: &KeyEdit,
        sha256: Option<Sha256>,
        actor: &str,
    ) -> Result<Issued, DirectoryError> {
        let database = self.database()?;
        check_name(name)?;
        self.refuse_known(name, sha256.as_ref())?;
        let mut grant = fresh();
        edit.apply(&mut grant)?;
        let (secret, sha256) = match sha256 {
            Some(sha256) if KeyHash::of_bytes(sha256.0).is_of_nothing() => return Err(EditError::HashOfNothing.into()),
            Some(sha256) => (None, sha256),
            None => {
                let secret = Minted::new().ok_or(DirectoryError::Random)?;
                let sha256 = secret.sha256();
                (Some(secret), sha256)
            }
        };
        let new = NewKey {
            name: name.to_owned(),
            grant,
            sha256,
        };
        let _order = self.order.lock().await;
        self.ensure_default(database, &new.grant, actor).await?;
        let key = database.keys.create(&new, by(actor)).await?;
        Ok(Issued {
            key: self.adopt(key),
            secret,
            old_valid_until_ms: None,
        })
    }

    /// Makes many keys at once; each has an outcome of its own.
    pub(crate) async fn import(
        &self,
        keys: &[NewKey],
        actor: &str,
    ) -> Result<Vec<Result<(), DirectoryError>>, DirectoryError> {
        let database = self.database()?;
        let refused = |key: &NewKey| {
            check_name(&key.name)?;
            self.refuse_known(&key.name, Some(&key.sha256))
        };
        let checked: Vec<Result<(), DirectoryError>> = keys.iter().map(refused).collect();
        let good = keys.iter().zip(&checked).filter(|(_, checked)| checked.is_ok());
        let good: Vec<NewKey> = good.map(|(key, _)| key.clone()).collect();
        let _order = self.order.lock().await;
        for new in &good {
            self.ensure_default(database, &new.grant, actor).await?;
        }
        let mut outcomes = database.keys.import(&good, by(actor)).await?.into_iter();
        if let Err(error) = self.read(database).await {
            // They are there; whoever watches tries again.
            tracing::warn!(%error, "the imported keys are not in force yet");
        }
        let outcome =
            |checked: Result<(), DirectoryError>| checked.and_then(|()| Ok(outcomes.next().unwrap_or(Ok(()))?));
        Ok(checked.into_iter().map(outcome).collect())
    }

    pub(crate) async fn update(&self, name: &str, edit: &KeyEdit, actor: &str) -> Result<KeyView, DirectoryError> {
        let database = self.database()?;
        self.refuse_known(name, None)?;
        self.refuse_resting(name)?;
        // Refused before anything is written, for below nothing can be.
        edit.apply(&mut fresh())?;
        let _order = self.order.lock().await;
        let known = self.state().stored.keys.iter().find(|key| key.name == name).cloned();
        if let Some(mut key) = known {
            edit.apply(&mut key.grant)?;
            self.ensure_default(database, &key.grant, actor).await?;
        }
        let applied = |grant: &mut Grant| {
            // It was applied above, so it has no error.
            drop(edit.apply(grant));
        };
        let key = database.keys.update(name, by(actor), applied).await?;
        Ok(self.adopt(key))
    }

    /// Gives a key another secret; what clients have now is refused after `grace`.
    pub(crate) async fn rotate(&self, name: &str, grace: Duration, actor: &str) -> Result<Issued, DirectoryError> {
        let database = self.database()?;
        self.refuse_known(name, None)?;
        self.refuse_resting(name)?;
        let secret = Minted::new().ok_or(DirectoryError::Random)?;
        let by = by(actor);
        let grace_ms = whole_seconds(by.at_ms, grace);
        let _order = self.order.lock().await;
        let rotated = database.keys.rotate(name, secret.sha256(), grace_ms, by).await?;
        Ok(Issued {
            key: self.adopt(rotated.key),
            secret: Some(secret),
            old_valid_until_ms: Some(rotated.old_valid_until_ms),
        })
    }

    /// Ends a key for ever.
    pub(crate) async fn revoke(&self, name: &str, actor: &str) -> Result<KeyView, DirectoryError> {
        let database = self.database()?;
        self.refuse_known(name, None)?;
        let _order = self.order.lock().await;
        let key = database.keys.revoke(name, by(actor)).await?;
        Ok(self.adopt(key))
    }

    /// Adds to the audit log what an administrator did elsewhere. Where nothing is kept on disk only the log has it.
    pub(crate) async fn audit(&self, actor: &str, action: &str, object: &str, detail: serde_json::Value) {
        let entry = AuditEntry {
            at_ms: unix_ms(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            object: object.to_owned(),
            detail,
        };
        let Some(database) = &self.database else { return };
        let written = tokio::time::timeout(AUDIT, database.keys.audit(&entry)).await;
        let outcome = written
            .map_err(BoxError::from)
            .and_then(|written| written.map_err(BoxError::from));
        if let Err(error) = outcome {
            tracing::error!(cause = %Chain(&*error), actor, action, object, "the audit log does not take what was done");
        }
    }

    /// The audit log, newest first.
    pub(crate) async fn audited(&self, limit: u32) -> Result<Vec<AuditEntry>, DirectoryError> {
        match &self.database {
            Some(database) => Ok(database.reader.audit(limit).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Makes the organisation that pays for keys which have a budget and name no account, where it is needed.
    async fn ensure_default(&self, database: &Database, grant: &Grant, actor: &str) -> Result<(), DirectoryError> {
        if grant.account.is_some() || grant.budget == Budget::default() {
            return Ok(());
        }
        let currency = self.state().written.currency;
        let default = NewAccount {
            id: AccountId::default_organisation(),
            currency: Some(currency),
            credit: None,
            budget: Budget::default(),
            disabled: false,
            tags: Vec::new(),
        };
        database.ledger.ensure_account(&default, by(actor)).await?;
        Ok(())
    }

    fn database(&self) -> Result<&Database, DirectoryError> {
        self.database.as_ref().ok_or(DirectoryError::NoDatabase)
    }

    /// Refuses what belongs to the file.
    fn refuse_known(&self, name: &str, sha256: Option<&Sha256>) -> Result<(), DirectoryError> {
        let state = self.state();
        if state.is_in_file(name) {
            return Err(DirectoryError::InFile { name: name.to_owned() });
        }
        let holder = sha256.and_then(|sha256| state.written.keys.iter().find(|key| *key.sha256.as_bytes() == sha256.0));
        match holder {
            Some(holder) => Err(DirectoryError::HashInFile {
                name: holder.name.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Refuses to change what would not be in force; to end it is always in force.
    fn refuse_resting(&self, name: &str) -> Result<(), DirectoryError> {
        if self.state().shadowed.iter().any(|resting| resting == name) {
            return Err(DirectoryError::Resting { name: name.to_owned() });
        }
        Ok(())
    }

    /// Puts a changed key in force. The caller holds `order`.
    fn adopt(&self, key: StoredKey) -> KeyView {
        let view = KeyView::of_database(&key);
        let mut state = self.state();
        let keys = &mut state.stored.keys;
        match keys.binary_search_by(|known| known.name.cmp(&key.name)) {
            Ok(at) => keys[at] = key,
            Err(at) => {
                if keys.is_empty() {
                    tracing::info!("the database has its first API key: requests without one are refused from now on");
                }
                keys.insert(at, key);
            }
        }
        self.accounts.store(Arc::new(state.accounts()));
        view
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of it is one assignment or is followed by another read of the database.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_in_file(&self, name: &str) -> bool {
        self.written.keys.iter().any(|key| key.name == name)
    }

    fn accounts(&mut self) -> Accounts {
        let Merged {
            keys,
            shadowed,
            revoked,
        } = merge::merge(&self.written.keys, &self.stored.keys, unix_ms());
        if shadowed != self.shadowed {
            if !shadowed.is_empty() {
                tracing::warn!(names = ?shadowed, "these API keys of the database are in the configuration file too, which wins");
            }
            self.shadowed = shadowed;
        }
        if revoked != self.revoked {
            if !revoked.is_empty() {
                tracing::warn!(names = ?revoked, "these API keys of the configuration file were revoked in the database, and stay refused");
            }
            self.revoked = revoked;
        }
        let is_open = self.written.is_local && !self.written.has_any() && self.stored.keys.is_empty();
        let anonymous = self.written.anonymous.iter().filter(|_| is_open);
        let beside: Vec<AccountId> = anonymous.chain(&self.written.issuers).cloned().collect();
        if let Some(ledger) = &self.ledger {
            let is_needed =
                self.written.has_payments || !beside.is_empty() || keys.iter().any(|key| account_of(key).is_some());
            ledger.bar(self.payers.barred(&keys, &beside), is_needed);
        }
        let accounts = Accounts::new(&keys, &self.written.origins, &self.limiters, &self.payers);
        let of_issuers = self
            .written
            .issuers
            .iter()
            .map(|id| (id.clone(), self.payers.of_account(id)));
        let accounts = accounts.with_issuers(of_issuers.collect());
        match &self.written.anonymous {
            _ if !is_open => accounts.closed(),
            Some(account) => accounts.charged_to(self.payers.of_account(account)),
            None => accounts,
        }
    }
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Directory")
    }
}

fn by(actor: &str) -> By<'_> {
    By {
        actor,
        at_ms: unix_ms(),
    }
}

/// Milliseconds until the first whole second after a grace, for accounts expire at whole seconds; none stays none.
fn whole_seconds(now_ms: i64, grace: Duration) -> i64 {
    if grace.is_zero() {
        return 0;
    }
    let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX / 4);
    let end_ms = now_ms.saturating_add(grace_ms).saturating_add(999);
    end_ms / 1000 * 1000 - now_ms
}

#[cfg(test)]
mod tests;
