//! A group of equal upstreams: one kind, one strategy, one set of clocks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header};
use openapi::endpoint::Endpoint;
use tokio::sync::Notify;

use crate::{
    balance::Strategy,
    breaker::BreakerConfig,
    client::{Client, Connector, HttpVersion, Target},
    kind::{Capabilities, Kind},
    upstream::{Upstream, UpstreamParts},
    worker::Worker,
};

/// How a backend is set up.
#[derive(Debug)]
pub struct BackendConfig {
    pub name: String,
    pub kind: Kind,
    pub upstreams: Vec<UpstreamConfig>,
    /// `api-version` of an Azure resource.
    pub api_version: Option<String>,
    /// Sent with every request.
    pub headers: HeaderMap,
    pub endpoints: Vec<Endpoint>,
    pub capabilities: Capabilities,
    pub strategy: Strategy,
    pub concurrency: Concurrency,
    pub clocks: Clocks,
    pub keep_alive: Duration,
    pub http: HttpVersion,
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub health: Option<HealthConfig>,
    pub breaker: BreakerConfig,
    /// Bytes of one event of a stream, and of one whole answer.
    pub max_event: usize,
    pub max_answer: usize,
}

/// How one of its upstreams is set up.
#[derive(Debug)]
pub struct UpstreamConfig {
    pub reach: Reach,
    pub weight: u32,
    /// Marked sensitive; sent in the header of the kind.
    pub api_key: Option<HeaderValue>,
}

/// How an upstream is reached.
#[derive(Debug)]
pub enum Reach {
    At(Target),
    /// Over the connection that the worker holds.
    By(Arc<Worker>),
}

/// How many requests at a time, and how many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Per upstream.
    pub limit: Option<usize>,
    /// Waiting for any upstream of the backend.
    pub queue: usize,
    pub queue_timeout: Duration,
}

/// Four clocks, each with one meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Name, TCP and TLS.
    pub connect: Duration,
    /// From sending a request to the first data frame of its stream.
    pub first_frame: Duration,
    /// Between two frames of a stream, or two pieces of an answer.
    pub idle: Duration,
    /// From sending a request to the end of its answer, streams included.
    pub total: Duration,
}

/// How upstreams are probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    pub path: String,
    pub interval: Duration,
    pub timeout: Duration,
}

/// A group of equal upstreams.
#[derive(Debug)]
pub struct Backend {
    pub name: Arc<str>,
    pub kind: Kind,
    pub upstreams: Vec<Arc<Upstream>>,
    pub api_version: Option<String>,
    pub headers: HeaderMap,
    pub endpoints: Vec<Endpoint>,
    pub capabilities: Capabilities,
    pub strategy: Strategy,
    pub clocks: Clocks,
    pub health: Option<HealthConfig>,
    pub max_event: usize,
    pub max_answer: usize,
    pub queue: Queue,
}

/// Those who wait for a free place.
#[derive(Debug)]
pub struct Queue {
    pub freed: Arc<Notify>,
    pub timeout: Duration,
    limit: usize,
    waiting: AtomicUsize,
}

impl Backend {
    pub fn new(config: BackendConfig) -> Self {
        let freed = Arc::new(Notify::new());
        let name: Arc<str> = config.name.into();
        let upstreams = config.upstreams.into_iter().zip(1_u32..).map(|(upstream, place)| {
            let (authority, host, client) = match upstream.reach {
                Reach::At(target) => {
                    let authority = target.authority();
                    let clock = config.clocks.connect;
                    let connector = Connector::new(target, config.http, clock, config.tls.as_deref());
                    let client = Client::new(connector, config.keep_alive);
                    (authority.clone(), authority, client)
                }
                Reach::By(worker) => {
                    let host = Target::worker().authority();
                    (worker.name.to_string(), host, Client::of_worker(worker))
                }
            };
            Arc::new(Upstream::new(UpstreamParts {
                name: format!("{name}/{authority}").into(),
                mark: HeaderValue::from_str(&format!("{name}/{place}")).unwrap_or_else(|_| HeaderValue::from(place)),
                weight: upstream.weight,
                credential: upstream.api_key.map(|key| (config.kind.credential_header(), key)),
                host: HeaderValue::from_str(&host).expect("the authority of a URI is visible ASCII"),
                client,
                breaker: config.breaker,
                limit: config.concurrency.limit,
                freed: freed.clone(),
            }))
        });
        Self {
            upstreams: upstreams.collect(),
            name: name.clone(),
            kind: config.kind,
            api_version: config.api_version,
            headers: config.headers,
            endpoints: config.endpoints,
            capabilities: config.capabilities,
            strategy: config.strategy,
            clocks: config.clocks,
            health: config.health,
            max_event: config.max_event,
            max_answer: config.max_answer,
            queue: Queue {
                freed,
                timeout: config.concurrency.queue_timeout,
                limit: config.concurrency.queue,
                waiting: AtomicUsize::new(0),
            },
        }
    }

    pub fn serves(&self, endpoint: Endpoint) -> bool {
        // Messages are translated to chats where the server does not speak Anthropic's API itself.
        let is_translated = endpoint == Endpoint::Messages && self.kind.dialect().is_none();
        self.endpoints.contains(&endpoint) || is_translated && self.endpoints.contains(&Endpoint::ChatCompletions)
    }
}

impl Queue {
    /// A place in the queue, unless it is full. Held until the guard is dropped.
    pub fn enter(&self) -> Option<Waiting<'_>> {
        let entered = self
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |waiting| {
                (waiting < self.limit).then_some(waiting + 1)
            });
        entered.ok().map(|_| Waiting(self))
    }

    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct Waiting<'a>(&'a Queue);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The value of the credential header for an API key; `None` when the key cannot stand in a header.
pub fn credential(kind: Kind, api_key: &str) -> Option<HeaderValue> {
    let value = if kind.credential_header() == header::AUTHORIZATION {
        HeaderValue::from_str(&format!("Bearer {api_key}"))
    } else {
        HeaderValue::from_str(api_key)
    };
    value.ok().map(|mut value| {
        value.set_sensitive(true);
        value
    })
}
