//! How the ledger of a gateway begins and ends.

use std::{path::PathBuf, sync::Arc, time::Duration};

use billing::receipt::SigningKey;
use billing_store::Store;
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Accounts, AccountsError, Charged, Ledger,
    central::{Central, Journal},
    committer::{Committer, Sink, Target, Waiting},
    identity::{self, IdentityError},
    node::Node,
    shipper::Shipper,
    store::{JournalOpenError, LocalJournal, Membership},
};
use crate::{
    config::{self, Config},
    directory::Directory,
    limiter::Sharing,
    metrics::LedgerMetrics,
};

/// The name of the database in the data directory.
const DATABASE: &str = "mulberry.db";
/// How long the node may take to leave.
const LEAVING: Duration = Duration::from_secs(15);

/// Why the ledger of this gateway cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("this gateway has no name in the ledger")]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Journal(#[from] JournalOpenError),
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// The name of this gateway in the ledger: the configuration's, or one made once and kept in the data directory.
pub(crate) fn node_name(config: &Config) -> Result<Arc<str>, LedgerError> {
    Ok(match (&config.ledger.node, &config.data_dir) {
        (Some(name), _) => name.as_str().into(),
        (None, Some(folder)) => identity::read_or_make(folder)?.into(),
        // Nothing is kept: with a database, a configuration without both was refused.
        (None, None) => Arc::default(),
    })
}

/// A ledger that is built and does not run yet.
pub(crate) struct Setting {
    ledger: Ledger,
    waiting: Waiting,
    central: Arc<dyn Central>,
    journal: Option<Arc<LocalJournal>>,
    node: Arc<str>,
    ttl: Duration,
    /// How limits are kept with other gateways, where there may be any.
    sharing: Option<Arc<Sharing>>,
    folder: Option<PathBuf>,
    key: Option<Arc<SigningKey>>,
    accounts: Arc<Accounts>,
    /// Keeps the accounts as the database has them.
    following: BoxFuture<'static, ()>,
}

impl Setting {
    /// Opens the journal of this node, where it has one, and reads the accounts. `key` signs receipts.
    pub(crate) async fn build(
        config: &Config,
        store: &Store,
        node: Arc<str>,
        directory: &Arc<Directory>,
        metrics: LedgerMetrics,
        key: Option<Arc<SigningKey>>,
        sharing: Option<Arc<Sharing>>,
    ) -> Result<Self, LedgerError> {
        let folder = config.data_dir.clone();
        let is_shared = config.database.is_some();
        let is_local = is_shared && config.ledger.journal == config::Journal::Local;
        let journal = match &folder {
            Some(folder) if is_local => Some(Arc::new(
                LocalJournal::open(&folder.join(DATABASE), node.clone()).await?,
            )),
            _ => None,
        };
        let central = Membership::new(store.ledger(), node.clone(), config.ledger.lease, journal.clone());
        let central = Arc::new(central);
        let (ledger, waiting) = Ledger::new(metrics);
        let accounts = Accounts::new(store.ledger(), ledger.clone(), directory.clone(), Charged::of(config));
        let accounts = Arc::new(accounts);
        let following = accounts.clone().open().await?.boxed();
        Ok(Self {
            ledger,
            waiting,
            central,
            journal,
            node,
            ttl: config.ledger.lease,
            sharing,
            folder,
            key,
            accounts,
            following,
        })
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The name of this gateway in the ledger.
    pub(crate) fn node(&self) -> &Arc<str> {
        &self.node
    }

    pub(crate) fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// The journal of this node: it has charges, and their receipts, that the ledger does not have yet.
    pub(crate) fn journal(&self) -> Option<billing_store::Journal> {
        self.journal.as_ref().map(|journal| journal.inner().clone())
    }

    /// Joins the ledger where any key is charged, and runs. Where the ledger does not answer now, it is asked again.
    pub(crate) async fn start(self) -> Running {
        let journal: Option<Arc<dyn Journal>> = self.journal.map(|journal| journal as Arc<dyn Journal>);
        let target = match &journal {
            Some(journal) => Target::Journal(journal.clone()),
            None => Target::Central(self.central.clone()),
        };
        let ship = Arc::new(Notify::new());
        let metrics = self.ledger.0.metrics.clone();
        let sink = Sink::new(self.node, target, self.key, metrics, ship.clone());
        let committer = tokio::spawn(Committer::new(self.waiting, sink).run());
        let shipper = journal
            .clone()
            .map(|journal| tokio::spawn(Shipper::new(journal, self.central.clone()).run(ship)));
        let mut node = Node::new(
            self.ledger.0.clone(),
            self.central,
            journal,
            self.ttl,
            self.sharing,
            self.folder,
        );
        // The first request shall not come too early.
        node.step().await;
        let (end, ending) = watch::channel(false);
        Running {
            ledger: self.ledger,
            committer,
            shipper,
            node: tokio::spawn(node.run(ending)),
            following: tokio::spawn(self.following),
            end,
        }
    }
}

/// The tasks of a ledger at work.
pub(crate) struct Running {
    ledger: Ledger,
    committer: JoinHandle<usize>,
    shipper: Option<JoinHandle<()>>,
    node: JoinHandle<()>,
    following: JoinHandle<()>,
    end: watch::Sender<bool>,
}

impl Running {
    /// Makes durable what was captured and leaves. No request may be under way any more.
    pub(crate) async fn close(self) {
        self.following.abort();
        self.ledger.0.queue.close();
        match self.committer.await {
            Ok(0) => {}
            Ok(lost) => tracing::error!(
                lost,
                "charges could not be written before the end; their clients pay nothing"
            ),
            Err(_) => tracing::error!("the writer of charges ended by a panic"),
        }
        self.end.send_replace(true);
        match timeout(LEAVING, self.node).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the node of the ledger ended by a panic"),
            Err(_) => tracing::warn!("the lease was not given back in time; it ends by itself"),
        }
        if let Some(shipper) = self.shipper {
            shipper.abort();
        }
    }
}
