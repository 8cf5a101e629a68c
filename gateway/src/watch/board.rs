//! The board: how the watch stands, for probes, metrics and people.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use billing_ton::chain::Head;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use tokio::{net::TcpListener, time::Instant};
use tower::ServiceExt as _;

use crate::{
    drain::{Drain, Phase},
    listener::{self, Door, ListenerConfig, Speaks},
    wall_clock,
};

const CONNECTIONS: usize = 64;
/// Chains make blocks every few seconds.
const MOST_LAG_S: u64 = 600;

/// What is told of the watch. Cheap to clone; all clones say the same.
#[derive(Clone, Debug)]
pub(super) struct Board(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    /// A chain's source that says nothing for so long is silent.
    patience: Duration,
    state: Mutex<Told>,
    registry: Registry,
    pub(super) channels: Gauge,
    pub(super) closing: Gauge,
    /// In nanoton.
    pub(super) unpaid: Gauge,
    pub(super) settled: Counter,
    pub(super) missed: Counter,
    pub(super) alerts: Counter,
    lag: Gauge,
    broke: Gauge<f64, AtomicU64>,
}

#[derive(Debug)]
struct Told {
    /// When a chain was heard last, and of which block.
    heard: Option<(Instant, Head)>,
    trouble: Option<String>,
}

impl std::ops::Deref for Board {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Board {
    pub(super) fn new(patience: Duration) -> Self {
        let mut registry = Registry::with_prefix("mulberry_watch");
        let (channels, closing, unpaid) = (Gauge::default(), Gauge::default(), Gauge::default());
        let (settled, missed, alerts) = (Counter::default(), Counter::default(), Counter::default());
        let (lag, broke) = (Gauge::default(), Gauge::<f64, AtomicU64>::default());
        registry.register("channels", "Channels that are watched", channels.clone());
        registry.register("closing", "Channels of which the payer asked to close", closing.clone());
        registry.register(
            "unpaid_nanoton",
            "What payees took and the contracts have not paid, of all channels that are watched",
            unpaid.clone(),
        );
        registry.register(
            "settlements",
            "Settlements that a contract shows to be paid",
            settled.clone(),
        );
        registry.register("missed", "Channels that ended before all was paid", missed.clone());
        registry.register("alerts", "What a person should look at", alerts.clone());
        registry.register(
            "chain_age_seconds",
            "Since the newest block that was heard of; -1 before the first",
            lag.clone(),
        );
        registry.register("wallet_in_trouble", "1 while the wallet cannot send", broke.clone());
        Self(Arc::new(Inner {
            patience,
            state: Mutex::new(Told {
                heard: None,
                trouble: None,
            }),
            registry,
            channels,
            closing,
            unpaid,
            settled,
            missed,
            alerts,
            lag,
            broke,
        }))
    }

    pub(super) fn heard(&self, head: Head) {
        let mut told = self.told();
        let is_newer = told.heard.is_none_or(|(_, known)| head.seqno >= known.seqno);
        if is_newer {
            told.heard = Some((Instant::now(), head));
        }
    }

    /// Why the wallet cannot send, or that it can.
    pub(super) fn trouble(&self, trouble: Option<String>) {
        self.broke.set(if trouble.is_some() { 1.0 } else { 0.0 });
        self.told().trouble = trouble;
    }

    /// Why this watch would not settle in time, if so.
    fn ill(&self) -> Option<String> {
        let told = self.told();
        if let Some(trouble) = &told.trouble {
            return Some(trouble.clone());
        }
        let Some((at, head)) = told.heard else {
            return Some("no source of the chain has answered yet".to_owned());
        };
        let since = at.elapsed();
        if since > self.patience {
            return Some(format!("no source of the chain has answered for {} s", since.as_secs()));
        }
        let age_s = age_s(head);
        (age_s > MOST_LAG_S).then(|| format!("the newest block that is told of is {age_s} s old"))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Two values that are each whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn encode(&self) -> String {
        let heard = self.told().heard;
        let lag = heard.map(|(_, head)| i64::try_from(age_s(head)).unwrap_or(i64::MAX));
        self.lag.set(lag.unwrap_or(-1));
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "a metric does not encode");
        }
        text
    }
}

/// A clock of ours that is behind the chain's says nothing.
fn age_s(head: Head) -> u64 {
    wall_clock::unix_seconds().saturating_sub(head.time.into())
}

/// Answers probes until the drain cuts.
pub(super) async fn serve(listener: TcpListener, board: Board, drain: Drain) {
    let door = Door {
        listener,
        connections: CONNECTIONS,
        closes: Phase::Draining,
        open: Gauge::default(),
        speaks: Speaks::Http,
    };
    let config = ListenerConfig {
        header_read: Duration::from_secs(10),
        keep_alive: Duration::from_secs(75),
        body_write: Duration::from_secs(30),
        tls: None,
    };
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(board);
    let config = Arc::new(ArcSwap::from_pointee(config));
    listener::serve(door, config, Arc::new(Probes(router)), drain).await;
}

struct Probes(Router);

impl Serve<Request<Incoming>> for Probes {
    type Response = Response<BoxBody>;

    async fn call(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        let response = self.0.clone().oneshot(request.map(Body::new)).await;
        let response = response.unwrap_or_else(|never: Infallible| match never {});
        Ok(response.map(|body| BoxBody::new(body.map_err(BoxError::from))))
    }
}

async fn ready(State(board): State<Board>) -> impl IntoResponse {
    match board.ill() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(board): State<Board>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], board.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_would_not_settle_says_so() {
        let board = Board::new(Duration::from_secs(60));
        let check = |expect: Option<&str>| {
            let ill = board.ill();
            assert!(
                match (&ill, expect) {
                    (Some(ill), Some(part)) => ill.contains(part),
                    (None, None) => true,
                    _ => false,
                },
                "{ill:?} and {expect:?}"
            );
        };
        check(Some("has answered yet"));
        let now = u32::try_from(wall_clock::unix_seconds()).expect("before 2106");
        board.heard(Head { seqno: 5, time: now });
        check(None);
        board.trouble(Some("send coins".to_owned()));
        check(Some("send coins"));
        board.trouble(None);
        tokio::time::advance(Duration::from_secs(61)).await;
        check(Some("for 61 s"));
        // One that stands still answers, and tells nothing new.
        let board = Board::new(Duration::from_secs(60));
        board.heard(Head {
            seqno: 5,
            time: now - 3600,
        });
        assert!(board.ill().is_some_and(|ill| ill.contains("s old")));
        board.heard(Head { seqno: 4, time: now });
        assert!(board.ill().is_some_and(|ill| ill.contains("s old")));
        assert!(board.encode().contains("mulberry_watch_channels 0"));
    }
}
