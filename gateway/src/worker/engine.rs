//! Engine: the server that a worker stands beside, how it is reached, and what it says of itself.
//!
//! It is on this machine, behind a loopback address or a Unix socket: whatever is promised of the worker says nothing of another machine.
//! An engine elsewhere must be asked for as what it is, a danger, and no attested worker may have one.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use backends::{
    client::{Client, Connector, HttpVersion, Target, TargetError},
    kind::Kind,
};
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::{Notify, watch};

use super::Statements;
use crate::{control::Offered, tls};

pub(crate) mod load;
pub(crate) mod look;

/// How often its load is asked.
const EVERY: Duration = Duration::from_secs(1);
/// How often its models are listed, which change seldom.
const MODELS_EVERY: u32 = 15;
/// Looks in a row that fail before it is called away.
const FAILURES: u32 = 2;
const CONNECT: Duration = Duration::from_secs(2);

/// Where an engine is, as the command line says it.
pub(crate) struct EngineSettings {
    pub(crate) address: String,
    /// Where the engine wants an API key.
    pub(crate) key: Option<String>,
    /// An engine on another machine is meant.
    pub(crate) danger_remote: bool,
}

/// Why an engine cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("the engine's address cannot be used")]
    Address(#[from] TargetError),
    #[error(
        "the engine at {0} is not on this machine: use a loopback address or unix:PATH; --danger-remote-engine allows others, and then whoever is between can read prompts"
    )]
    Remote(String),
    #[error("the engine's key holds a character that no header can carry")]
    Key,
    #[error("TLS to the engine cannot be set up")]
    Tls(#[from] tls::TlsError),
}

/// The engine beside us.
#[derive(Debug)]
pub(crate) struct Engine {
    client: Client,
    headers: HeaderMap,
    state: watch::Sender<State>,
    under_way: AtomicUsize,
    finished: Notify,
    /// Signs what it answers, where it is stated.
    statements: Option<Statements>,
}

/// What an engine says of itself, when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    pub(crate) is_ready: bool,
    pub(crate) models: Vec<Offered>,
    pub(crate) running: u32,
    pub(crate) waiting: u32,
}

impl Engine {
    pub(crate) fn new(settings: &EngineSettings) -> Result<Self, EngineError> {
        let target = target(settings)?;
        let config = target.is_https().then(|| tls::client(None)).transpose()?;
        let mut headers = HeaderMap::new();
        let host = HeaderValue::from_str(&target.authority()).map_err(|_| EngineError::Key)?;
        headers.insert(header::HOST, host);
        if let Some(key) = &settings.key {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| EngineError::Key)?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let connector = Connector::new(target, HttpVersion::Http1, CONNECT, config.as_deref());
        Ok(Self {
            client: Client::new(connector, Duration::from_secs(4)),
            headers,
            state: watch::Sender::new(State {
                kind: Kind::Compatible,
                is_ready: false,
                models: Vec::new(),
                running: 0,
                waiting: 0,
            }),
            under_way: AtomicUsize::new(0),
            finished: Notify::new(),
            statements: None,
        })
    }

    /// The same, whose answers are stated to who asks.
    pub(crate) fn stated_by(self, statements: Statements) -> Self {
        Self {
            statements: Some(statements),
            ..self
        }
    }

    pub(crate) fn statements(&self) -> Option<&Statements> {
        self.statements.as_ref()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn target(&self) -> &Target {
        self.client.target()
    }

    /// The host, and the credential where it wants one.
    pub(crate) fn own_headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Requests that we have sent it and that have not ended.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        UnderWay(self.clone())
    }

    /// Waits until nothing is under way.
    pub(crate) async fn idle(&self) {
        loop {
            let mut finished = std::pin::pin!(self.finished.notified());
            // Registered before the look: an end in between is not missed.
            finished.as_mut().enable();
            if self.under_way() == 0 {
                return;
            }
            finished.await;
        }
    }

    /// Looks after it for ever. Cancelled by dropping.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut kind = None;
        let mut failures = 0;
        let mut looks = 0;
        loop {
            if kind.is_none() {
                kind = look::kind(&self).await;
                if let Some(kind) = kind {
                    tracing::info!(engine = %self.target(), %kind, "engine found");
                }
            }
            if let Some(kind) = kind {
                let was_ready = self.state.borrow().is_ready;
                if look::is_well(&self, kind).await {
                    failures = 0;
                    let models = if !was_ready || looks % MODELS_EVERY == 0 {
                        look::models(&self, kind).await
                    } else {
                        None
                    };
                    let load = load::ask(&self, kind).await;
                    self.note(kind, models, load);
                } else {
                    failures += 1;
                    if failures >= FAILURES {
                        self.gone(was_ready);
                    }
                }
                looks = looks.wrapping_add(1);
            }
            self.client.sweep();
            tokio::time::sleep(EVERY).await;
        }
    }

    fn note(&self, kind: Kind, models: Option<Vec<Offered>>, load: Option<load::Load>) {
        let own = u32::try_from(self.under_way()).unwrap_or(u32::MAX);
        // One that does not say what it does is doing what we asked of it.
        let load = load.unwrap_or(load::Load {
            running: own,
            waiting: 0,
        });
        self.state.send_if_modified(|state| {
            let next = State {
                kind,
                is_ready: true,
                models: models.unwrap_or_else(|| state.models.clone()),
                running: load.running,
                waiting: load.waiting,
            };
            if !state.is_ready {
                tracing::info!(engine = %self.target(), models = next.models.len(), "engine is ready");
            }
            let is_new = *state != next;
            *state = next;
            is_new
        });
    }

    fn gone(&self, was_ready: bool) {
        if was_ready {
            tracing::warn!(engine = %self.target(), "the engine does not answer; no requests are taken until it does");
        }
        self.state
            .send_if_modified(|state| std::mem::replace(&mut state.is_ready, false));
    }
}

/// A request that the engine has. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Engine>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
        self.0.finished.notify_waiters();
    }
}

fn target(settings: &EngineSettings) -> Result<Target, EngineError> {
    if let Some(socket) = settings.address.strip_prefix("unix:") {
        return Ok(Target::unix(PathBuf::from(socket)));
    }
    // Whatever the machine's own list of hosts says.
    let address = match settings.address.strip_prefix("http://localhost") {
        Some(rest) if rest.is_empty() || rest.starts_with([':', '/']) => {
            format!("http://{}{rest}", Ipv4Addr::LOCALHOST)
        }
        _ => settings.address.clone(),
    };
    let target = Target::parse(&address)?;
    if !settings.danger_remote && !is_loopback(&address) {
        return Err(EngineError::Remote(target.authority()));
    }
    Ok(target)
}

/// Names are not: who answers to them is decided elsewhere.
fn is_loopback(url: &str) -> bool {
    let host = url
        .parse::<http::Uri>()
        .ok()
        .and_then(|uri| uri.host().map(str::to_owned));
    let host = host.unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(address: &str, danger_remote: bool) -> String {
        let settings = EngineSettings {
            address: address.to_owned(),
            key: None,
            danger_remote,
        };
        match target(&settings) {
            Ok(target) => target.to_string(),
            Err(EngineError::Remote(host)) => format!("remote {host}"),
            Err(_) => "bad".to_owned(),
        }
    }

    #[test]
    fn an_engine_is_on_this_machine() {
        for (address, expect) in [
            ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
            ("http://127.9.9.9:1", "http://127.9.9.9:1"),
            ("http://[::1]:8000", "http://[::1]:8000"),
            ("http://localhost:8000", "http://127.0.0.1:8000"),
            ("http://localhost", "http://127.0.0.1"),
            ("unix:/run/engine.sock", "unix:/run/engine.sock"),
            ("http://localhost.example:8000", "remote localhost.example:8000"),
            ("http://127.0.0.1.example:8000", "remote 127.0.0.1.example:8000"),
            ("http://10.0.0.1:8000", "remote 10.0.0.1:8000"),
            ("http://0.0.0.0:8000", "remote 0.0.0.0:8000"),
            ("http://vllm:8000", "remote vllm:8000"),
            ("https://localhost:1", "remote localhost:1"),
            ("http://127.0.0.1@evil.example:1", "bad"),
            ("ftp://127.0.0.1", "bad"),
        ] {
            assert_eq!(reached(address, false), expect, "for {address}");
        }
        assert_eq!(reached("http://vllm:8000", true), "http://vllm:8000");
    }
}
