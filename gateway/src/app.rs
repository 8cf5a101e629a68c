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
use billing_store::{OpenError, Store};
use http::{HeaderMap, HeaderValue};
use openapi::endpoint::Endpoint;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    accounts::Accounts,
    admin::{self, Admin},
    catalog::Catalog,
    config::{self, Config},
    drain::{DrainControl, Phase, drain},
    layers::{decode::BodyLimits, failover::RetryConfig},
    limiter::Limiters,
    listener::{self, BindError, ListenerConfig},
    metrics::Metrics,
    oidc::{self, Issuers},
    records::Records,
    replays::Bounds,
    stack::{self, Parts, StackConfig},
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
    #[error(transparent)]
    Issuer(#[from] oidc::SourceError),
    #[error("backend '{backend}': the address of an upstream cannot be used")]
    Target { backend: String, source: TargetError },
    #[error("backend '{backend}': {what} holds a character that no header can carry")]
    Header { backend: String, what: &'static str },
}

/// A gateway that is bound and not yet serving.
pub(crate) struct App {
    config: Config,
    parts: Parts,
    listener: TcpListener,
    admin: Option<TcpListener>,
    tls: Option<Arc<rustls::ServerConfig>>,
    store: Option<(Store, billing_store::RecorderTask)>,
    control: DrainControl,
}

impl App {
    pub(crate) async fn build(config: Config) -> Result<Self, StartError> {
        // What can fail without a trace comes first: nothing is created when the port is taken.
        let listener = listener::bind(config.listen)?;
        let admin = config.admin_listen.map(listener::bind).transpose()?;
        let tls = config
            .tls
            .as_ref()
            .map(|tls| tls::server(&tls.certificate, &tls.key))
            .transpose()?;
        let backends = config.backends.iter().map(|backend| build_backend(backend, &config));
        let backends: Vec<Arc<Backend>> = backends.map(|built| built.map(Arc::new)).collect::<Result<_, _>>()?;

        let catalog = Arc::new(ArcSwap::from_pointee(Catalog::new(
            backends,
            &config.models,
            unix_seconds(),
        )));
        let limiters = Arc::new(Limiters::default());
        let accounts = Arc::new(ArcSwap::from_pointee(Accounts::new(
            &config.keys,
            origins(&config),
            &limiters,
        )));
        let issuers = Issuers::new(&config.oidc, &limiters, None)?;
        let (records, store) = match database(&config) {
            Some(path) => {
                let store = Store::open(&path).await?;
                let (recorder, task) = store.recorder();
                (Records::new(Some(recorder)), Some((store, task)))
            }
            None => (Records::new(None), None),
        };
        let metrics = Arc::new(Metrics::new(catalog.clone(), records.clone()));
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
        };
        Ok(Self {
            config,
            parts,
            listener,
            admin,
            tls,
            store,
            control,
        })
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    pub(crate) fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref()?.local_addr().ok()
    }

    /// Serves until `stop` is ready, then drains. `hurry` cuts what is left.
    pub(crate) async fn run(
        self,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<(), ListenerLost> {
        let Self {
            config,
            parts,
            listener,
            admin,
            tls,
            store,
            control,
        } = self;
        let mut background = JoinSet::new();
        let store = store.map(|(store, recorder)| {
            let writing = tokio::spawn(recorder.run());
            (store, writing)
        });
        for backend in &parts.catalog.load().backends {
            background.spawn(health::watch(backend.clone()));
        }
        background.spawn(oidc::watch(parts.issuers.clone()));
        if let Some(admin) = admin {
            background.spawn(admin::serve(
                admin,
                Admin {
                    catalog: parts.catalog.clone(),
                    metrics: parts.metrics.clone(),
                    records: parts.records.clone(),
                    drain: parts.drain.clone(),
                },
            ));
        }
        let service = Arc::new(stack::edge(&stack_config(&config), &parts));
        let listener_config = ListenerConfig {
            connections: config.limits.connections as usize,
            header_read: config.limits.header_read,
            keep_alive: config.limits.keep_alive,
            body_write: config.limits.body_write,
            tls,
        };
        let mut serving = tokio::spawn(listener::serve(
            listener,
            listener_config,
            service,
            parts.drain.clone(),
            parts.metrics.clone(),
        ));

        // A listener ends only by a panic of ours; a process without one must not look alive.
        let outcome = tokio::select! {
            () = stop => {
                shut_down(&config.drain, &control, serving, hurry).await;
                Ok(())
            }
            _ = &mut serving => Err(ListenerLost),
        };
        background.abort_all();
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

fn origins(config: &Config) -> &[String] {
    config.cors.as_ref().map_or(&[], |cors| cors.origins.as_slice())
}

fn stack_config(config: &Config) -> StackConfig {
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
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
