//! App: from a checked configuration to a running gateway, in the order of start-up.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use billing_store::{Location, OpenError, ReadError, Store, private_folder};
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

use crate::{
    admin::{
        self, Admin,
        token::{AdminTokens, TokenError},
    },
    assembly::{AssembleError, Assembled, Installed, assemble, stack_config},
    config::{self, Config, KeyDigest, Process},
    directory::{Directory, Written},
    drain::{DrainControl, Phase, drain},
    evidence::{Archivist, Evidence, Own},
    ledger::{self, Ledger, LedgerError, Setting},
    limiter::Limiters,
    listener::{self, BindError, Door, ListenerConfig, Speaks, attested::Attested},
    live::{self, Live, Swapped},
    metrics::Metrics,
    notify::Supervisor,
    oidc::{self, Issuers},
    payments::{self, Payments},
    receipts::{self, Receipts},
    records::Records,
    recount::{Counting, Vocabularies, recounts},
    registrar::{self, Registrar},
    signal::Hangup,
    source::{Loaded, Seen, Source},
    stack::{self, Parts, StackConfig, Switch},
    telemetry::{self, Exporter, TelemetryError},
    treasury::Treasury,
    wages::{self, Wages},
    wall_clock::unix_seconds,
    workers::{self, Roster},
};

/// The name of the database in the data directory.
const DATABASE: &str = "mulberry.db";
/// How long the end waits for captures that are still counted anew.
const RECOUNTING: Duration = Duration::from_secs(5);

/// The listener ended while the gateway was to serve.
#[derive(Debug, thiserror::Error)]
#[error("the listener ended by a fault of the gateway; the log has the place")]
pub(crate) struct ListenerLost;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error("the database cannot be opened")]
    Store(#[from] OpenError),
    #[error("the API keys in the database cannot be read")]
    Keys(#[source] ReadError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Issuer(#[from] oidc::SourceError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    ReceiptKey(#[from] receipts::key::KeyError),
    #[error(transparent)]
    Receipts(#[from] receipts::OpenError),
    #[error("clients cannot pay by channel")]
    Payments(#[from] payments::OpenError),
    #[error("the registry cannot be followed")]
    Registry(#[from] registrar::OpenError),
    #[error("workers cannot be paid")]
    Wages(#[from] wages::OpenError),
    #[error("traces cannot be exported")]
    Telemetry(#[from] TelemetryError),
}

/// A gateway that is bound and not yet serving.
pub(crate) struct App {
    source: Source,
    loaded: Loaded,
    /// What the configuration was read from.
    files: Vec<Seen>,
    installed: Vec<Installed>,
    vocabularies: Vocabularies,
    counting: Counting,
    parts: Parts,
    listener: TcpListener,
    listener_config: ListenerConfig,
    admin: Option<TcpListener>,
    tokens: AdminTokens,
    store: Option<(Store, billing_store::RecorderTask)>,
    directory: Arc<Directory>,
    setting: Option<Setting>,
    control: DrainControl,
    roster: Arc<Roster>,
    /// Where workers connect.
    workers: Option<TcpListener>,
    /// Where apps' sides connect.
    attested: Option<TcpListener>,
    /// Where traces go.
    exporter: Option<Exporter>,
    /// Who writes evidence down.
    archivist: Option<Archivist>,
}

impl App {
    pub(crate) async fn build(source: Source, loaded: Loaded, files: Vec<Seen>) -> Result<Self, StartError> {
        let config = &loaded.config;
        // What can fail without a trace comes first: nothing is created when the port is taken.
        let listener = listener::bind(config.listen)?;
        let admin = config.admin_listen.map(listener::bind).transpose()?;
        let workers = config.worker_listen.map(listener::bind).transpose()?;
        let attested = config.attested_listen.map(listener::bind).transpose()?;
        let keep = Duration::from_secs(u64::from(config.ledger.evidence_days) * 24 * 60 * 60);
        let (evidence, archivist) = Evidence::open(config.data_dir.as_deref(), keep);
        let own = Own::default();
        let wages = match &config.workers.pay {
            Some(settings) => Wages::open(settings, config.data_dir.as_deref()).await?,
            None => Wages::default(),
        };
        let registrar = match &config.registry {
            Some(section) => Registrar::of(section, config.data_dir.as_deref()).await?,
            None => Registrar::default(),
        };
        let roster = Roster::new(config, evidence.clone(), own.clone(), wages.clone(), registrar.clone());
        let Assembled {
            installed,
            vocabularies,
            catalog,
            listener: listener_config,
            staff,
        } = assemble(config, &[], &Vocabularies::default(), &roster, unix_seconds())?;
        let catalog = Arc::new(ArcSwap::from_pointee(catalog));
        // With a database elsewhere it still holds what is this gateway's own.
        if let Some(folder) = &config.data_dir {
            private_folder(folder)?;
        }
        let node = ledger::node_name(config)?;
        let (records, store) = match database(config) {
            Some(location) => {
                let store = Store::open(&location).await?;
                let (recorder, task) = store.recorder_of(&node);
                (Records::new(Some(recorder)), Some((store, task)))
            }
            None => (Records::new(None), None),
        };
        let tokens = AdminTokens::of(config, config)?;
        let metrics = Arc::new(Metrics::new(catalog.clone(), records.clone()));
        let (telemetry, exporter) = telemetry::set_up(&config.telemetry, &metrics)?;
        let limiters = Arc::new(match &config.database {
            Some(_) => Limiters::shared(),
            None => Limiters::default(),
        });
        let issuers = Issuers::new(&config.oidc, &limiters, None)?;
        let opened = store.as_ref().map(|(store, _)| store);
        let directory = Directory::open(
            Written::of(config),
            opened,
            limiters.clone(),
            metrics.keys_stale.clone(),
        )
        .await
        .map_err(StartError::Keys)?;
        let directory = Arc::new(directory);
        let key = receipts::signing_key(config)?;
        let (setting, receipts) = match opened {
            Some(store) => {
                let setting = Setting::build(
                    config,
                    store,
                    node.clone(),
                    &directory,
                    metrics.ledger.clone(),
                    key.clone(),
                    limiters.sharing().cloned(),
                )
                .await?;
                let receipts = Receipts::open(store, node, key, setting.journal()).await?;
                (Some(setting), receipts)
            }
            None => (None, Receipts::default()),
        };
        let ledger = setting
            .as_ref()
            .map_or_else(Ledger::none, |setting| setting.ledger().clone());
        let payments = match &config.payments {
            Some(settings) => {
                let folder = config.data_dir.as_deref();
                Payments::open(settings, folder, opened, &ledger, &limiters, &registrar).await?
            }
            None => Payments::default(),
        };
        if !config.is_local() && config.oidc.is_empty() && !payments.is_on() && !directory.has_keys() {
            tracing::warn!(
                listen = %config.listen,
                "other machines can connect and there are no API keys, so every request is refused: make a key with `mulberry key create NAME`"
            );
        }
        let accounts = directory.accounts();
        let (control, drain) = drain();
        let (recounts, counting) = recounts(metrics.clone(), opened.map(Store::ledger));
        let parts = Parts {
            evidence,
            own,
            accounts,
            issuers: Arc::new(ArcSwap::from_pointee(issuers)),
            limiters,
            replays: Arc::default(),
            catalog,
            metrics,
            records,
            ledger,
            payments,
            wages,
            registrar,
            receipts,
            recounts,
            drain,
            admission: Arc::default(),
            telemetry,
        };
        roster.employ(staff);
        Ok(Self {
            roster,
            workers,
            attested,
            exporter,
            archivist,
            source,
            loaded,
            files,
            installed,
            vocabularies,
            counting,
            parts,
            listener,
            listener_config,
            admin,
            tokens,
            store,
            directory,
            setting,
            control,
        })
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// Where workers connect, and the key by which they know us.
    pub(crate) fn workers(&self) -> Option<(SocketAddr, KeyDigest)> {
        let address = self.workers.as_ref()?.local_addr().ok()?;
        Some((address, self.roster.meeting().ok()?.key()))
    }

    /// Where `mulberry connect` connects, and the key by which it may know us.
    pub(crate) fn attested(&self) -> Option<(SocketAddr, KeyDigest)> {
        let address = self.attested.as_ref()?.local_addr().ok()?;
        Some((address, self.roster.meeting().ok()?.key()))
    }

    /// By which this gateway's receipts are checked, where it makes any.
    #[cfg(feature = "demo")]
    pub(crate) fn receipt_key(&self) -> Option<billing::receipt::PublicKey> {
        self.parts.receipts.signer()
    }

    /// How this gateway is paid.
    #[cfg(feature = "demo")]
    pub(crate) fn payments(&self) -> &Payments {
        &self.parts.payments
    }

    /// How its workers are.
    #[cfg(feature = "demo")]
    pub(crate) fn wages(&self) -> &Wages {
        &self.parts.wages
    }

    /// Serves until `stop` is ready or an administrator drains, then drains. `hurry` cuts what is left.
    pub(crate) async fn run(
        self,
        hangup: Hangup,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), ListenerLost> {
        let Self {
            source,
            loaded,
            files,
            installed,
            vocabularies,
            counting,
            parts,
            listener,
            listener_config,
            admin,
            tokens,
            store,
            directory,
            setting,
            control,
            roster,
            workers,
            attested,
            exporter,
            archivist,
        } = self;
        let config = loaded.config.clone();
        let mut background = JoinSet::new();
        let reader = store.as_ref().map(|(store, _)| store.reader().clone());
        let store = store.map(|(store, recorder)| {
            let writing = tokio::spawn(recorder.run());
            (store, writing)
        });
        let accounts = setting.as_ref().map(|setting| setting.accounts().clone());
        let node = setting.as_ref().map(|setting| setting.node().clone());
        let running = match setting {
            Some(setting) => Some(setting.start().await),
            None => None,
        };
        let mut counting = tokio::spawn(counting.run(parts.ledger.clone()));
        background.spawn(directory.clone().watch());
        background.spawn(oidc::watch(parts.issuers.clone()));
        background.spawn(parts.payments.clone().follow(parts.metrics.payments.clone()));
        background.spawn(parts.registrar.clone().follow(parts.metrics.registrar.clone()));
        background.spawn(parts.wages.clone().run(parts.metrics.wages.clone()));
        if let Some(archivist) = archivist {
            background.spawn(archivist.run());
        }
        let exporting = exporter.map(|exporter| tokio::spawn(exporter.run()));
        let tokens = Arc::new(ArcSwap::from_pointee(tokens));
        let edge = Arc::new(Switch::new(stack::edge(&stack_config(&config), &parts)));
        let listener_config = Arc::new(ArcSwap::from_pointee(listener_config));
        let rebuild = {
            let (edge, parts) = (edge.clone(), parts.clone());
            Box::new(move |config: &StackConfig| edge.replace(stack::edge(config, &parts)))
        };
        let live = Arc::new(Live::new(
            source,
            loaded,
            installed,
            vocabularies,
            parts.clone(),
            Swapped {
                listener: listener_config.clone(),
                tokens: tokens.clone(),
                directory: directory.clone(),
                roster: roster.clone(),
                accounts: accounts.clone(),
                rebuild,
            },
        ));
        let (reloader, orders) = live::reloader();
        background.spawn(live::run(live.clone(), orders, hangup, files));
        let attested = attested.zip(roster.meeting().ok());
        if let Some((listener, meeting)) = workers.zip(roster.meeting().ok()) {
            background.spawn(workers::listen(listener, meeting, roster));
        }
        let ending = Arc::new(Notify::new());
        let treasury = Treasury::new(
            store.as_ref().map(|(store, _)| store.ledger()),
            config.ledger.currency,
            node.zip(accounts),
        );
        let operators = admin.map(|listener| {
            let admin = Admin {
                live: live.clone(),
                reloader,
                tokens,
                treasury,
                directory,
                parts: parts.clone(),
                reader,
                ending: ending.clone(),
            };
            tokio::spawn(admin::serve(listener, admin, edge.clone()))
        });
        let door = |listener, speaks| Door {
            listener,
            connections: config.limits.connections as usize,
            closes: Phase::Closing,
            open: parts.metrics.connections.clone(),
            speaks,
        };
        let attested = attested.map(|(listener, meeting)| {
            let door = door(listener, Speaks::Attested(Attested::new(meeting.endpoint())));
            listener::serve(door, listener_config.clone(), edge.clone(), parts.drain.clone())
        });
        let door = door(listener, Speaks::Http);
        let serving = listener::serve(door, listener_config, edge, parts.drain.clone());
        let mut serving = tokio::spawn(async move {
            let beside = async {
                if let Some(attested) = attested {
                    attested.await;
                }
            };
            tokio::join!(serving, beside);
        });

        let supervisor = Supervisor::new(&Process);
        supervisor.ready();
        // A listener ends only by a panic of ours; a process without one must not look alive.
        let outcome = tokio::select! {
            () = stop => Ok(()),
            () = ending.notified() => Ok(()),
            _ = &mut serving => Err(ListenerLost),
        };
        if outcome.is_ok() {
            supervisor.stopping(&live.in_force().config.drain);
            shut_down(&live.in_force().config.drain, &control, serving, hurry).await;
            // Nobody waits for what operators have open: it is told the end, and has its record.
            control.enter(Phase::Cutting);
            if let Some(operators) = operators
                && operators.await.is_err()
            {
                tracing::error!("the operators' listener ended by a panic");
            }
        }
        background.abort_all();
        parts.wages.flush().await;
        // Before the ledger ends: what is found still gives money back.
        let counted = tokio::time::timeout(RECOUNTING, async {
            parts.recounts.close().await;
            (&mut counting).await
        });
        if !matches!(counted.await, Ok(Ok(()))) {
            tracing::warn!("not all captures were counted anew; for the rest the claims stand");
            counting.abort();
        }
        // After every stream, and what was found of them: what was captured must be durable.
        if let Some(running) = running {
            running.close().await;
        }
        // After every stream: its span is made when it ends.
        parts.telemetry.close();
        if let Some(exporting) = exporting
            && exporting.await.is_err()
        {
            tracing::error!("the exporter of traces ended by a panic");
        }
        // Last: every record of a stream that just ended must reach the disk.
        parts.records.close().await;
        if let Some((store, writing)) = store {
            if writing.await.is_err() {
                tracing::error!("the writer of records ended by a panic");
            }
            store.close().await;
        }
        let lost = parts.records.dropped();
        if lost > 0 {
            tracing::warn!(lost, "records of requests were not kept since start");
        }
        tracing::info!("stopped");
        outcome
    }
}

async fn shut_down(
    config: &config::Drain,
    control: &DrainControl,
    serving: tokio::task::JoinHandle<()>,
    hurry: impl Future<Output = ()>,
) {
    tracing::info!(delay = ?config.delay, timeout = ?config.timeout, "draining; a second signal ends what is left");
    let mut serving = std::pin::pin!(serving);
    let mut hurry = std::pin::pin!(hurry);
    control.enter(Phase::Draining);
    let patience = async {
        tokio::time::sleep(config.delay).await;
        control.enter(Phase::Closing);
        tokio::time::sleep(config.timeout).await;
    };
    tokio::select! {
        _ = &mut serving => return,
        () = &mut hurry => tracing::warn!("told twice: ending open streams now"),
        () = patience => tracing::warn!("the drain timeout has passed: ending open streams"),
    }
    control.enter(Phase::Cutting);
    if serving.await.is_err() {
        tracing::error!("the listener ended by a panic");
    }
}

/// Where records and keys are kept; `None` when nothing is to be on disk.
pub(crate) fn database(config: &Config) -> Option<Location> {
    match (&config.database, &config.data_dir) {
        (Some(url), _) => Some(Location::Postgres(url.url().clone())),
        (None, Some(dir)) => Some(Location::File(dir.join(DATABASE))),
        (None, None) => None,
    }
}
