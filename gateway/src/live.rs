//! Live: the configuration in force, and the one way to change it.
//!
//! A change is read, checked and built whole before any of it takes effect; what cannot be read or built is refused
//! with the reason, and the old one serves on.
//! Requests under way end as they began: they hold the snapshot that they were resolved with.
//! Backends whose settings did not change stay the same objects, with their connections, health and breakers.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use crate::{
    admin::token::AdminTokens,
    app::StartError,
    assembly::{Assembled, Installed, assemble, stack_config},
    config::{Config, ConfigError, Process},
    directory::Directory,
    layers::rescue::Chain,
    ledger::{Accounts, Charged},
    listener::ListenerConfig,
    notify::Supervisor,
    oidc::Issuers,
    recount::Vocabularies,
    signal::Hangup,
    source::{Loaded, Reading, Seen, Source, Watch},
    stack::{Parts, StackConfig},
    wall_clock::unix_seconds,
    workers::Roster,
};

/// Why a configuration was refused; the old one serves on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the configuration cannot be put in force")]
    Build(#[from] StartError),
    #[error("the gateway is shutting down")]
    Ending,
    #[error("the gateway failed at it; the log has the place")]
    Panicked,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reloaded {
    pub(crate) hash: String,
    /// The sections that differ from before.
    pub(crate) changed: Vec<&'static str>,
    /// What differs from what the process was started with and takes effect only at a start.
    pub(crate) needs_restart: Vec<&'static str>,
}

/// What an administrator sees of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) config: Arc<Config>,
    pub(crate) hash: String,
    pub(crate) loaded_at: u64,
    pub(crate) needs_restart: Vec<&'static str>,
    /// Why the last change was refused, until one is accepted.
    pub(crate) last_error: Option<String>,
}

/// What a reload swaps besides [`Parts`].
pub(crate) struct Swapped {
    pub(crate) listener: Arc<ArcSwap<ListenerConfig>>,
    pub(crate) tokens: Arc<ArcSwap<AdminTokens>>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) roster: Arc<Roster>,
    /// `None` where nobody is charged, for nothing is kept.
    pub(crate) accounts: Option<Arc<Accounts>>,
    /// Builds the Edge floor anew.
    pub(crate) rebuild: Box<dyn Fn(&StackConfig) + Send + Sync>,
}

/// The configuration in force.
pub(crate) struct Live {
    source: Source,
    /// What the process was started with.
    started: Config,
    started_at: u64,
    parts: Parts,
    swapped: Swapped,
    state: Mutex<State>,
}

struct State {
    force: InForce,
    installed: Vec<Installed>,
    vocabularies: Vocabularies,
}

/// Asks for a reload and waits for its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Reloader(mpsc::Sender<Order>);

type Order = oneshot::Sender<Result<Reloaded, ReloadError>>;

impl Reloader {
    pub(crate) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let (answer, outcome) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| ReloadError::Ending)?;
        outcome.await.unwrap_or(Err(ReloadError::Ending))
    }
}

impl Live {
    pub(crate) fn new(
        source: Source,
        loaded: Loaded,
        installed: Vec<Installed>,
        vocabularies: Vocabularies,
        parts: Parts,
        swapped: Swapped,
    ) -> Self {
        let now = unix_seconds();
        Self {
            source,
            started: loaded.config.clone(),
            started_at: now,
            parts,
            swapped,
            state: Mutex::new(State {
                force: InForce {
                    config: Arc::new(loaded.config),
                    hash: loaded.hash,
                    loaded_at: now,
                    needs_restart: Vec::new(),
                    last_error: None,
                },
                installed,
                vocabularies,
            }),
        }
    }

    pub(crate) fn in_force(&self) -> InForce {
        self.state().force.clone()
    }

    /// When the process came up, in unix seconds.
    pub(crate) fn started_at(&self) -> u64 {
        self.started_at
    }

    /// The name of the file.
    pub(crate) fn file(&self) -> String {
        self.source.name()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads and puts in force. Answers with the files to watch from now on.
    fn reload(&self) -> (Result<Reloaded, ReloadError>, Vec<Seen>) {
        let Reading { config, files } = self.source.read();
        let outcome = config.map_err(ReloadError::from).and_then(|loaded| self.apply(loaded));
        self.parts.metrics.reload(outcome.is_ok());
        match &outcome {
            Ok(reloaded) => {
                let Reloaded {
                    hash,
                    changed,
                    needs_restart,
                } = reloaded;
                tracing::info!(%hash, ?changed, "configuration reloaded");
                if !needs_restart.is_empty() {
                    tracing::warn!(
                        ?needs_restart,
                        "these changes take effect when the gateway is started again"
                    );
                }
            }
            Err(error) => {
                let reason = Chain(error).to_string();
                tracing::error!(%reason, "the new configuration is refused and the old one serves on");
                self.state().force.last_error = Some(reason);
            }
        }
        (outcome, files)
    }

    fn apply(&self, loaded: Loaded) -> Result<Reloaded, ReloadError> {
        let Loaded { config, hash } = loaded;
        let mut state = self.state();
        let Assembled {
            installed,
            vocabularies,
            catalog,
            listener,
            staff,
        } = assemble(
            &config,
            &state.installed,
            &state.vocabularies,
            &self.swapped.roster,
            self.started_at,
        )
        .map_err(StartError::from)?;
        let tokens = AdminTokens::of(&config, &self.started).map_err(StartError::from)?;
        let issuers = Issuers::new(&config.oidc, &self.parts.limiters, Some(&self.parts.issuers.load()))
            .map_err(StartError::from)?;
        // From here on nothing can fail.
        self.swapped.roster.employ(staff);
        self.parts.catalog.store(Arc::new(catalog));
        self.parts.issuers.store(Arc::new(issuers));
        self.swapped.directory.configure(&config);
        if let Some(accounts) = &self.swapped.accounts {
            accounts.configure(Charged::of(&config));
        }
        self.swapped.listener.store(Arc::new(listener));
        self.swapped.tokens.store(Arc::new(tokens));
        (self.swapped.rebuild)(&stack_config(&config));
        let reloaded = Reloaded {
            changed: config.differences(&state.force.config),
            needs_restart: needs_restart(&self.started, &config),
            hash,
        };
        *state = State {
            force: InForce {
                hash: reloaded.hash.clone(),
                loaded_at: unix_seconds(),
                needs_restart: reloaded.needs_restart.clone(),
                last_error: None,
                config: Arc::new(config),
            },
            // Backends that are gone lose their health checks here, and their last request takes them along.
            installed,
            vocabularies,
        };
        Ok(reloaded)
    }
}

/// The keys whose new values the process does not take while it runs.
fn needs_restart(started: &Config, now: &Config) -> Vec<&'static str> {
    let differs = [
        ("listen", started.listen != now.listen),
        ("admin_listen", started.admin_listen != now.admin_listen),
        ("worker_listen", started.worker_listen != now.worker_listen),
        ("attested_listen", started.attested_listen != now.attested_listen),
        (
            "attestation.collateral",
            started.attestation.collateral != now.attestation.collateral,
        ),
        (
            "attestation.evidence",
            started.attestation.evidence != now.attestation.evidence,
        ),
        (
            "attestation.certificate_life",
            started.attestation.certificate_life != now.attestation.certificate_life,
        ),
        (
            "attestation.danger_development_trust_anchor",
            started.attestation.danger_development_trust_anchor != now.attestation.danger_development_trust_anchor,
        ),
        ("data_dir", started.data_dir != now.data_dir),
        ("database", started.database != now.database),
        ("payments", started.payments != now.payments),
        ("workers", started.workers != now.workers),
        ("registry", started.registry != now.registry),
        ("ledger.node", started.ledger.node != now.ledger.node),
        ("ledger.journal", started.ledger.journal != now.ledger.journal),
        ("ledger.lease", started.ledger.lease != now.ledger.lease),
        ("ledger.receipts", started.ledger.receipts != now.ledger.receipts),
        (
            "ledger.receipt_key",
            started.ledger.receipt_key != now.ledger.receipt_key,
        ),
        (
            "ledger.evidence_days",
            started.ledger.evidence_days != now.ledger.evidence_days,
        ),
        (
            "limits.connections",
            started.limits.connections != now.limits.connections,
        ),
        ("log.level", started.log.level != now.log.level),
        ("log.format", started.log.format != now.log.format),
        ("telemetry", started.telemetry != now.telemetry),
    ];
    differs
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
}

/// Orders, and the task that carries them out.
pub(crate) fn reloader() -> (Reloader, mpsc::Receiver<Order>) {
    /// Reloads asked for at a time; more wait to ask.
    const ORDERS: usize = 16;
    let (sender, receiver) = mpsc::channel(ORDERS);
    (Reloader(sender), receiver)
}

/// Reloads when told, when SIGHUP comes and when a file has changed. One at a time.
pub(crate) async fn run(live: Arc<Live>, mut orders: mpsc::Receiver<Order>, mut hangup: Hangup, files: Vec<Seen>) {
    let supervisor = Supervisor::new(&Process);
    let mut watch = Watch::new(files);
    loop {
        let every = live.in_force().config.reload.watch;
        let told = tokio::select! {
            order = orders.recv() => match order {
                Some(order) => Some(order),
                None => return,
            },
            () = hangup.next() => None,
            () = pause(every) => {
                let (looked, changed) = off_thread(watch, |watch| watch.look()).await;
                watch = looked;
                if !changed {
                    continue;
                }
                None
            }
        };
        let reading = {
            let live = live.clone();
            tokio::task::spawn_blocking(move || live.reload())
        };
        let outcome = match reading.await {
            Ok((outcome, files)) => {
                watch = Watch::new(files);
                outcome
            }
            // What was watched before stays watched.
            Err(_) => Err(ReloadError::Panicked),
        };
        supervisor.reloaded(outcome.is_ok());
        if let Some(order) = told {
            // Who asked may be gone.
            drop(order.send(outcome));
        }
    }
}

/// File systems may block for long; a worker of ours must not.
async fn off_thread<T>(mut watch: Watch, look: impl FnOnce(&mut Watch) -> T + Send + 'static) -> (Watch, T)
where
    T: Send + Default + 'static,
{
    let looked = tokio::task::spawn_blocking(move || {
        let found = look(&mut watch);
        (watch, found)
    });
    looked.await.unwrap_or_default()
}

async fn pause(every: Option<Duration>) {
    match every {
        Some(every) => tokio::time::sleep(every).await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}
