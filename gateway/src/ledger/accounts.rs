//! What is known of accounts, kept as the database has it: who pays for which key, what is disabled, and which leases
//! have to go back because a budget was cut.
//!
//! Keys of the configuration file are made known to the ledger here, so that it can bound them, and its exchange rates, so
//! that it can be seen later which were in force when.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use billing::{AccountId, Currency, Nano};
use billing_store::{
    By, LedgerFault, LedgerStore,
    ledger::{CreateError, DeclareError, DeclaredKey, NewAccount, RateError},
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{Known, Ledger, Payers, account_of, accounts_without_key, default_account};
use crate::{
    config::{Config, Key},
    directory::Directory,
    layers::rescue::Chain,
    wall_clock::unix_ms,
};

/// How often the database is asked whether accounts changed.
const POLL: Duration = Duration::from_secs(1);
/// How long one look may take.
const TRY: Duration = Duration::from_secs(10);
/// How long whoever changed an account waits until it is in force here.
const REFRESH: Duration = Duration::from_secs(3);
/// Who changes accounts here, in the audit log.
const ACTOR: &str = "config";

/// What the configuration says of who is charged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Charged {
    keys: Vec<DeclaredKey>,
    /// Of `org:default`, where it is needed.
    default: Option<Currency>,
    /// What currencies are worth in others.
    rates: Vec<(Currency, Currency, Nano)>,
}

impl Charged {
    pub(crate) fn of(config: &Config) -> Self {
        let declared = |key: &Key| {
            let account = account_of(key)?;
            Some(DeclaredKey {
                name: key.name.clone(),
                account,
                budget: key.budget.as_ref().map(|budget| budget.rules()).unwrap_or_default(),
            })
        };
        let mut keys: Vec<DeclaredKey> = config.keys.iter().filter_map(declared).collect();
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        let beside = accounts_without_key(config);
        let needs_default = keys
            .iter()
            .map(|key| &key.account)
            .chain(&beside)
            .any(|account| *account == default_account());
        Self {
            keys,
            default: needs_default.then_some(config.ledger.currency),
            rates: config
                .ledger
                .rates
                .iter()
                .map(|rate| (rate.from, rate.to, rate.rate))
                .collect(),
        }
    }
}

/// Why accounts are not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountsError {
    #[error("the account 'org:default' cannot be made")]
    Default(#[from] CreateError),
    #[error("the keys of the configuration file cannot be made known to the ledger")]
    Declare(#[from] DeclareError),
    #[error("the exchange rates of the configuration file cannot be recorded in the ledger")]
    Rates(#[from] RateError),
    #[error("the accounts of the ledger cannot be read")]
    Read(#[from] LedgerFault),
}

/// Follows the accounts of the ledger.
pub(crate) struct Accounts {
    store: LedgerStore,
    ledger: Ledger,
    directory: Arc<Directory>,
    written: Mutex<Charged>,
    /// The configuration changed, or somebody knows that accounts did.
    changed: Notify,
    /// How often it was asked to look, and which of these looks is over.
    wanted: AtomicU64,
    looked: watch::Sender<u64>,
}

/// What was read last.
#[derive(Default)]
struct Seen {
    generation: Option<i64>,
    revisions: HashMap<AccountId, i64>,
    declared: Option<Charged>,
}

impl Accounts {
    pub(crate) fn new(store: LedgerStore, ledger: Ledger, directory: Arc<Directory>, charged: Charged) -> Self {
        Self {
            store,
            ledger,
            directory,
            written: Mutex::new(charged),
            changed: Notify::new(),
            wanted: AtomicU64::new(0),
            looked: watch::Sender::new(0),
        }
    }

    /// Takes what a new configuration says. It is in force a moment later.
    pub(crate) fn configure(&self, charged: Charged) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = charged;
        self.changed.notify_one();
    }

    /// What the database has now is in force when this returns, unless it does not answer: then it is later.
    pub(crate) async fn refresh(&self) {
        let ticket = self.wanted.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut looked = self.looked.subscribe();
        self.changed.notify_one();
        drop(timeout(REFRESH, looked.wait_for(|done| *done >= ticket)).await);
        self.ledger.settle().await;
    }

    /// Reads all, and then follows until dropped. The first reading is done when this returns.
    pub(crate) async fn open(self: Arc<Self>) -> Result<impl Future<Output = ()>, AccountsError> {
        let mut seen = Seen::default();
        self.look(&mut seen).await?;
        Ok(self.follow(seen))
    }

    async fn follow(self: Arc<Self>, mut seen: Seen) {
        let mut is_failing = false;
        loop {
            // Whichever comes first.
            drop(timeout(POLL, self.changed.notified()).await);
            let wanted = self.wanted.load(Ordering::Relaxed);
            let looked = match timeout(TRY, self.look(&mut seen)).await {
                Ok(looked) => looked.map_err(|error| Chain(&error).to_string()),
                Err(elapsed) => Err(elapsed.to_string()),
            };
            self.looked.send_replace(wanted);
            match looked {
                Ok(()) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("accounts can be read again");
                    }
                }
                Err(cause) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::error!(%cause, "accounts cannot be read; those known before stay in force");
                    }
                }
            }
        }
    }

    /// Reads accounts where they changed, and makes keys of the file known where that is not done.
    async fn look(&self, seen: &mut Seen) -> Result<(), AccountsError> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_declared = seen.declared.as_ref() == Some(&written);
        if is_declared && seen.generation == Some(self.store.generation().await?) {
            return Ok(());
        }
        let by = By {
            actor: ACTOR,
            at_ms: unix_ms(),
        };
        if let Some(currency) = written.default {
            let default = NewAccount {
                id: default_account(),
                currency: Some(currency),
                credit: None,
                budget: billing::Budget::default(),
                disabled: false,
                tags: Vec::new(),
            };
            self.store.ensure_account(&default, by).await?;
        }
        if !is_declared && !written.rates.is_empty() {
            self.store.record_rates(&written.rates, by).await?;
        }
        // Keys of accounts that nobody made are told of by the directory, and refused.
        let known: HashSet<AccountId> = self
            .store
            .accounts()
            .await?
            .accounts
            .into_iter()
            .map(|a| a.id)
            .collect();
        let keys: Vec<DeclaredKey> = written
            .keys
            .iter()
            .filter(|key| known.contains(&key.account))
            .cloned()
            .collect();
        self.store.declare_keys(&keys, by).await?;
        self.read(seen).await?;
        seen.declared = Some(written);
        Ok(())
    }

    async fn read(&self, seen: &mut Seen) -> Result<(), AccountsError> {
        let snapshot = self.store.accounts().await?;
        let revisions: HashMap<AccountId, i64> = snapshot
            .accounts
            .iter()
            .map(|account| (account.id.clone(), account.revision))
            .collect();
        let changed: HashSet<AccountId> = revisions
            .iter()
            .filter(|(id, revision)| seen.revisions.get(id).is_some_and(|before| before != *revision))
            .map(|(id, _)| id.clone())
            .collect();
        let known = snapshot.accounts.into_iter().map(|account| {
            let known = Known {
                currency: account.currency,
                credit: account.credit,
                budget: account.budget,
                disabled: account.disabled,
            };
            (account.id, known)
        });
        self.directory.charge(self.ledger.clone(), Payers::new(known.collect()));
        if seen.generation.is_some() {
            tracing::info!(changed = changed.len(), "accounts changed, and are in force");
        }
        self.ledger.give_back(&changed);
        seen.generation = Some(snapshot.generation);
        seen.revisions = revisions;
        Ok(())
    }
}
