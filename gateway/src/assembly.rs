//! Assembly: from a checked configuration to what can be put in force: backends, offers, the settings of the stack.
//!
//! The same at a start and at a reload; all that can fail does so before anything begins to run.

use std::sync::Arc;

use backends::{
    backend::{self, Backend, BackendConfig, Clocks, Concurrency, HealthConfig, Reach, UpstreamConfig},
    balance::Strategy,
    breaker::BreakerConfig,
    client::{HttpVersion, Target, TargetError},
    health,
    kind::{Capabilities, Kind},
};
use http::{HeaderMap, HeaderValue};
use openapi::endpoint::Endpoint;
use tokio::task::AbortHandle;

use crate::{
    catalog::Catalog,
    config::{self, Config, HiddenReasoning},
    layers::{decode::BodyLimits, failover::RetryConfig},
    listener::ListenerConfig,
    recount::{LoadError, Vocabularies},
    replays::Bounds,
    stack::StackConfig,
    tls::{self, TlsError},
    workers::{EnrolError, Roster, Staff},
};

/// Why a configuration cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssembleError {
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    #[error("a tokenizer cannot be loaded")]
    Tokenizer(#[from] LoadError),
    #[error("workers cannot be enrolled")]
    Enrol(#[from] EnrolError),
    #[error("backend '{backend}': the address of an upstream cannot be used")]
    Target { backend: String, source: TargetError },
    #[error("backend '{backend}': {what} holds a character that no header can carry")]
    Header { backend: String, what: &'static str },
}

/// A backend in force, with what it was made from.
pub(crate) struct Installed {
    config: config::Backend,
    /// What `ca_file` held.
    trust: Vec<u8>,
    limits: (usize, usize),
    backend: Arc<Backend>,
    /// Ends with the last who knows the backend.
    _health: Arc<HealthWatch>,
}

impl Installed {
    /// Whether its workers are those of now: one that was named elsewhere meanwhile is another.
    fn has_same(&self, staff: &Staff) -> bool {
        let workers = self.backend.upstreams.iter().filter_map(|upstream| upstream.worker());
        let now = staff.of(&self.config);
        workers.zip(now).all(|(had, (now, _))| Arc::ptr_eq(had, &now))
    }
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
    pub(crate) installed: Vec<Installed>,
    pub(crate) vocabularies: Vocabularies,
    pub(crate) catalog: Catalog,
    pub(crate) listener: ListenerConfig,
    pub(crate) staff: Staff,
}

/// Builds what a configuration says. A backend that stands and is set as before is taken over as it is, and so is a
/// tokenizer whose file is the same.
pub(crate) fn assemble(
    config: &Config,
    before: &[Installed],
    vocabularies: &Vocabularies,
    roster: &Arc<Roster>,
    created: u64,
) -> Result<Assembled, AssembleError> {
    let tls = config
        .tls
        .as_ref()
        .map(|tls| tls::server(&tls.certificate, &tls.key))
        .transpose()?;
    let tokenizers = config.models.iter().filter_map(|model| model.tokenizer.as_deref());
    let vocabularies = Vocabularies::load(tokenizers, vocabularies)?;
    let staff = roster.staff(config)?;
    let mut built = Vec::with_capacity(config.backends.len());
    for backend in &config.backends {
        let trust = match &backend.ca_file {
            // What cannot be read is told when the roots are built from it.
            Some(path) => std::fs::read(path).unwrap_or_default(),
            None => Vec::new(),
        };
        let limits = (config.limits.sse_line.as_usize(), config.limits.response.as_usize());
        let is_same = |old: &&Installed| {
            old.config == *backend && old.trust == trust && old.limits == limits && old.has_same(&staff)
        };
        let same = before.iter().find(is_same);
        let kept = match same {
            Some(old) => (old.backend.clone(), Some(old._health.clone())),
            None => (Arc::new(build_backend(backend, config, &staff)?), None),
        };
        built.push((backend.clone(), trust, limits, kept));
    }
    // Only now, when nothing can fail, does anything begin to run.
    let installed: Vec<Installed> = built
        .into_iter()
        .map(|(config, trust, limits, (backend, health))| Installed {
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
    let backends = installed.iter().map(|installed| installed.backend.clone()).collect();
    Ok(Assembled {
        catalog: Catalog::new(backends, &config.models, &config.ledger, &vocabularies, created),
        installed,
        vocabularies,
        staff,
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
        receipts: config.ledger.receipts,
        idempotency: config.idempotency.as_ref().map(|kept| Bounds {
            ttl: kept.ttl,
            memory: kept.memory.as_usize(),
            answer: kept.answer.as_usize(),
        }),
    }
}

fn build_backend(config: &config::Backend, all: &Config, staff: &Staff) -> Result<Backend, AssembleError> {
    let kind = kind(config.kind);
    let header_error = |what| AssembleError::Header {
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
        let target = Target::parse(&upstream.url.to_string()).map_err(|source| AssembleError::Target {
            backend: config.name.clone(),
            source,
        })?;
        needs_tls |= target.is_https();
        let api_key = match &upstream.api_key {
            Some(key) => Some(backend::credential(kind, key.expose()).ok_or_else(|| header_error("an API key"))?),
            None => None,
        };
        upstreams.push(UpstreamConfig {
            reach: Reach::At(target),
            weight: upstream.weight,
            api_key,
        });
    }
    for (worker, weight) in staff.of(config) {
        upstreams.push(UpstreamConfig {
            reach: Reach::By(worker),
            weight,
            api_key: None,
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
            hidden_reasoning: match config.hidden_reasoning {
                Some(hidden) => hidden == HiddenReasoning::Billed,
                None => defaults.hidden_reasoning,
            },
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
