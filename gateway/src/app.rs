//! App: from a checked configuration to a running gateway, in the order of start-up.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use backends::{
    backend::{self, Backend, BackendConfig, Clocks, Concurrency, HealthConfig, UpstreamConfig},
    balance::Strategy,
    breaker::BreakerConfig,
    client::{HttpVersion, Target, TargetError},
    health,
    kind::{Capabilities, Kind},
};
use billing_store::{OpenError, ReadError, Store};
use http::{HeaderMap, HeaderValue};
use openapi::endpoint::Endpoint;
use tokio::{
    net::TcpListener,
    sync::Notify,
    task::{AbortHandle, JoinSet},
};

use crate::{
    admin::{
        self, Admin,
        token::{AdminTokens, TokenError},
    },
    catalog::Catalog,
    config::{self, Config, Process},
    directory::{Directory, Written},
    drain::{DrainControl, Phase, drain},
    layers::{decode::BodyLimits, failover::RetryConfig},
    limiter::Limiters,
    listener::{self, BindError, Door, ListenerConfig},
    live::{self, Live, Swapped},
    metrics::Metrics,
    notify::Supervisor,
    oidc::{self, Issuers},
    records::Records,
    replays::Bounds,
    signal::Hangup,
    source::{Loaded, Seen, Source},
    stack::{self, Parts, StackConfig, Switch},
    telemetry::{self, Exporter, TelemetryError},
    tls::{self, TlsError},
};

/// The name of the database in the data directory.
const DATABASE: &str = "mulberry.db";

/// The listener ended while the gateway was to serve.
#[derive(Debug, thiserror::Error)]
#[error("the listener ended by a fault of the gateway; the log has the place")]
pub(crate) struct ListenerLost;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    #[error("the database cannot be opened")]
    Store(#[from] OpenError),
    #[error("the API keys in the database cannot be read")]
    Keys(#[source] ReadError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Issuer(#[from] oidc::SourceError),
    #[error("traces cannot be exported")]
    Telemetry(#[from] TelemetryError),
    #[error("backend '{backend}': the address of an upstream cannot be used")]
    Target { backend: String, source: TargetError },
    #[error("backend '{backend}': {what} holds a character that no header can carry")]
    Header { backend: String, what: &'static str },
}

/// A gateway that is bound and not yet serving.
pub(crate) struct App {
    source: Source,
    loaded: Loaded,
    /// What the configuration was read from.
    files: Vec<Seen>,
    standing: Vec<Standing>,
    parts: Parts,
    listener: TcpListener,
    listener_config: ListenerConfig,
    admin: Option<TcpListener>,
    tokens: AdminTokens,
    store: Option<(Store, billing_store::RecorderTask)>,
    directory: Arc<Directory>,
    control: DrainControl,
    /// Where traces go.
    exporter: Option<Exporter>,
}

impl App {
    pub(crate) async fn build(source: Source, loaded: Loaded, files: Vec<Seen>) -> Result<Self, StartError> {
        let config = &loaded.config;
        // What can fail without a trace comes first: nothing is created when the port is taken.
        let listener = listener::bind(config.listen)?;
        let admin = config.admin_listen.map(listener::bind).transpose()?;
        let Assembled {
            standing,
            catalog,
            listener: listener_config,
        } = assemble(config, &[], unix_seconds())?;
        let catalog = Arc::new(ArcSwap::from_pointee(catalog));
        let (records, store) = match database(config) {
            Some(path) => {
                let store = Store::open(&path).await?;
                let (recorder, task) = store.recorder();
                (Records::new(Some(recorder)), Some((store, task)))
            }
            None => (Records::new(None), None),
        };
        let tokens = AdminTokens::of(config)?;
        let metrics = Arc::new(Metrics::new(catalog.clone(), records.clone()));
        let (telemetry, exporter) = telemetry::set_up(&config.telemetry, &metrics)?;
        let limiters = Arc::new(Limiters::default());
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
        if !config.listen.ip().to_canonical().is_loopback() && config.oidc.is_empty() && !directory.has_keys() {
            tracing::warn!(
                listen = %config.listen,
                "other machines can connect and there are no API keys, so every request is refused: make a key with `mulberry key create NAME`"
            );
        }
        let accounts = directory.accounts();
        let (control, drain) = drain();
        let parts = Parts {
            accounts,
            issuers: Arc::new(ArcSwap::from_pointee(issuers)),
            limiters,
            replays: Arc::default(),
            catalog,
            metrics,
            records,
            drain,
            admission: Arc::default(),
            telemetry,
        };
        Ok(Self {
            exporter,
            source,
            loaded,
            files,
            standing,
            parts,
            listener,
            listener_config,
            admin,
            tokens,
            store,
            directory: Arc::new(directory),
            control,
        })
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
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
            standing,
            parts,
            listener,
            listener_config,
            admin,
            tokens,
            store,
            directory,
            control,
            exporter,
        } = self;
        let config = loaded.config.clone();
        let mut background = JoinSet::new();
        let reader = store.as_ref().map(|(store, _)| store.reader().clone());
        let store = store.map(|(store, recorder)| {
            let writing = tokio::spawn(recorder.run());
            (store, writing)
        });
        background.spawn(directory.clone().watch());
        background.spawn(oidc::watch(parts.issuers.clone()));
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
            standing,
            parts.clone(),
            Swapped {
                listener: listener_config.clone(),
                tokens: tokens.clone(),
                directory: directory.clone(),
                rebuild,
            },
        ));
        let (reloader, orders) = live::reloader();
        background.spawn(live::run(live.clone(), orders, hangup, files));
        let ending = Arc::new(Notify::new());
        if let Some(listener) = admin {
            let admin = Admin {
                live: live.clone(),
                reloader,
                tokens,
                directory,
                parts: parts.clone(),
                reader,
                ending: ending.clone(),
            };
            background.spawn(admin::serve(listener, admin, edge.clone()));
        }
        let door = Door {
            listener,
            connections: config.limits.connections as usize,
            closes: Phase::Closing,
            open: parts.metrics.connections.clone(),
        };
        let mut serving = tokio::spawn(listener::serve(door, listener_config, edge, parts.drain.clone()));

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
        }
        background.abort_all();
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

/// Where records are kept; `None` when nothing is to be on disk.
pub(crate) fn database(config: &Config) -> Option<PathBuf> {
    config.data_dir.as_ref().map(|dir| dir.join(DATABASE))
}

/// A backend in force, with what it was made from.
pub(crate) struct Standing {
    config: config::Backend,
    /// What `ca_file` held.
    trust: Vec<u8>,
    limits: (usize, usize),
    backend: Arc<Backend>,
    /// Ends with the last who knows the backend.
    _health: Arc<HealthWatch>,
}

/// Health checks that end when dropped.
struct HealthWatch(AbortHandle);

impl Drop for HealthWatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a configuration becomes before any of it is in force.
pub(crate) struct Assembled {
    pub(crate) standing: Vec<Standing>,
    pub(crate) catalog: Catalog,
    pub(crate) listener: ListenerConfig,
}

/// Builds what a configuration says. A backend that stands and is set as before is taken over as it is.
pub(crate) fn assemble(config: &Config, before: &[Standing], created: u64) -> Result<Assembled, StartError> {
    let tls = config
        .tls
        .as_ref()
        .map(|tls| tls::server(&tls.certificate, &tls.key))
        .transpose()?;
    let mut built = Vec::with_capacity(config.backends.len());
    for backend in &config.backends {
        let trust = match &backend.ca_file {
            // What cannot be read is told when the roots are built from it.
            Some(path) => std::fs::read(path).unwrap_or_default(),
            None => Vec::new(),
        };
        let limits = (config.limits.sse_line.as_usize(), config.limits.response.as_usize());
        let same = before
            .iter()
            .find(|old| old.config == *backend && old.trust == trust && old.limits == limits);
        let kept = match same {
            Some(old) => (old.backend.clone(), Some(old._health.clone())),
            None => (Arc::new(build_backend(backend, config)?), None),
        };
        built.push((backend.clone(), trust, limits, kept));
    }
    // Only now, when nothing can fail, does anything begin to run.
    let standing: Vec<Standing> = built
        .into_iter()
        .map(|(config, trust, limits, (backend, health))| Standing {
            config,
            trust,
            limits,
            _health: health.unwrap_or_else(|| {
                let watching = tokio::spawn(health::watch(backend.clone()));
                Arc::new(HealthWatch(watching.abort_handle()))
            }),
            backend,
        })
        .collect();
    let backends = standing.iter().map(|standing| standing.backend.clone()).collect();
    Ok(Assembled {
        catalog: Catalog::new(backends, &config.models, created),
        standing,
        listener: ListenerConfig {
            header_read: config.limits.header_read,
            keep_alive: config.limits.keep_alive,
            body_write: config.limits.body_write,
            tls,
        },
    })
}

pub(crate) fn stack_config(config: &Config) -> StackConfig {
    let limits = &config.limits;
    StackConfig {
        concurrency: limits.concurrency as usize,
        limits: BodyLimits {
            body: limits.body.as_usize(),
            decompressed: limits.decompressed.as_usize(),
            upload: limits.upload.as_usize(),
            pause: limits.body_read,
        },
        retry: RetryConfig {
            attempts: config.retry.attempts,
            budget_percent: config.retry.budget_percent,
            heartbeat: config.retry.heartbeat,
            commit_after: config.retry.commit_after,
        },
        origins: config
            .cors
            .as_ref()
            .map(|cors| cors.origins.clone())
            .unwrap_or_default(),
        log_requests: config.log.requests,
        idempotency: config.idempotency.as_ref().map(|kept| Bounds {
            ttl: kept.ttl,
            memory: kept.memory.as_usize(),
            answer: kept.answer.as_usize(),
        }),
    }
}

fn build_backend(config: &config::Backend, all: &Config) -> Result<Backend, StartError> {
    let kind = kind(config.kind);
    let header_error = |what| StartError::Header {
        backend: config.name.clone(),
        what,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers.0 {
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| header_error("the value of a header"))?;
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    let mut upstreams = Vec::with_capacity(config.upstreams.len());
    let mut needs_tls = false;
    for upstream in &config.upstreams {
        let target = Target::parse(&upstream.url.to_string()).map_err(|source| StartError::Target {
            backend: config.name.clone(),
            source,
        })?;
        needs_tls |= target.is_https();
        let api_key = match &upstream.api_key {
            Some(key) => Some(backend::credential(kind, key.expose()).ok_or_else(|| header_error("an API key"))?),
            None => None,
        };
        upstreams.push(UpstreamConfig {
            target,
            weight: upstream.weight,
            api_key,
        });
    }
    let defaults = kind.capabilities();
    let health_path = config
        .health
        .path
        .clone()
        .or_else(|| kind.health_path().map(str::to_owned));
    Ok(Backend::new(BackendConfig {
        name: config.name.clone(),
        kind,
        upstreams,
        api_version: config.api_version.clone(),
        headers,
        endpoints: match &config.endpoints {
            Some(endpoints) => endpoints.iter().map(|name| endpoint(*name)).collect(),
            None => kind.endpoints().to_vec(),
        },
        capabilities: Capabilities {
            stream_usage: config.capabilities.stream_usage.unwrap_or(defaults.stream_usage),
            developer_role: config.capabilities.developer_role.unwrap_or(defaults.developer_role),
            max_completion_tokens: config
                .capabilities
                .max_completion_tokens
                .unwrap_or(defaults.max_completion_tokens),
            n: config.capabilities.n.unwrap_or(defaults.n),
        },
        strategy: strategy(config.strategy),
        concurrency: Concurrency {
            limit: config.concurrency.limit.map(|limit| limit as usize),
            queue: config.concurrency.queue as usize,
            queue_timeout: config.concurrency.queue_timeout,
        },
        clocks: Clocks {
            connect: config.timeouts.connect,
            first_frame: config.timeouts.first_frame,
            idle: config.timeouts.idle,
            total: config.timeouts.total,
        },
        keep_alive: config.keep_alive,
        http: match config.http {
            config::HttpVersion::Auto => HttpVersion::Auto,
            config::HttpVersion::Http1 => HttpVersion::Http1,
            config::HttpVersion::Http2 => HttpVersion::Http2,
        },
        tls: needs_tls.then(|| tls::client(config.ca_file.as_deref())).transpose()?,
        health: config
            .health
            .enabled
            .then_some(health_path)
            .flatten()
            .map(|path| HealthConfig {
                path,
                interval: config.health.interval,
                timeout: config.health.timeout,
            }),
        breaker: BreakerConfig {
            failures: config.breaker.failures,
            cooldown: config.breaker.cooldown,
        },
        max_event: all.limits.sse_line.as_usize(),
        max_answer: all.limits.response.as_usize(),
    }))
}

fn kind(kind: config::Kind) -> Kind {
    match kind {
        config::Kind::Openai => Kind::OpenAi,
        config::Kind::Azure => Kind::Azure,
        config::Kind::Vllm => Kind::Vllm,
        config::Kind::Sglang => Kind::SgLang,
        config::Kind::Llamacpp => Kind::LlamaCpp,
        config::Kind::Ollama => Kind::Ollama,
        config::Kind::Tgi => Kind::Tgi,
        config::Kind::Anthropic => Kind::Anthropic,
        config::Kind::Gemini => Kind::Gemini,
        config::Kind::OpenaiCompatible => Kind::Compatible,
    }
}

fn strategy(strategy: config::Strategy) -> Strategy {
    match strategy {
        config::Strategy::PowerOfTwo => Strategy::PowerOfTwo,
        config::Strategy::LeastOutstanding => Strategy::LeastOutstanding,
        config::Strategy::Latency => Strategy::Latency,
        config::Strategy::PrefixAffinity => Strategy::PrefixAffinity,
    }
}

fn endpoint(endpoint: config::Endpoint) -> Endpoint {
    match endpoint {
        config::Endpoint::ChatCompletions => Endpoint::ChatCompletions,
        config::Endpoint::Completions => Endpoint::Completions,
        config::Endpoint::Embeddings => Endpoint::Embeddings,
        config::Endpoint::Responses => Endpoint::Responses,
        config::Endpoint::Messages => Endpoint::Messages,
        config::Endpoint::Moderations => Endpoint::Moderations,
        config::Endpoint::Rerank => Endpoint::Rerank,
        config::Endpoint::Score => Endpoint::Score,
        config::Endpoint::Tokenize => Endpoint::Tokenize,
        config::Endpoint::Detokenize => Endpoint::Detokenize,
        config::Endpoint::Audio => Endpoint::Audio,
        config::Endpoint::Images => Endpoint::Images,
        config::Endpoint::Files => Endpoint::Files,
        config::Endpoint::Batches => Endpoint::Batches,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "models carry the time at which the gateway came up"
)]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
