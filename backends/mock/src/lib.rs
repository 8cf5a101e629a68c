//! The scripted OpenAI-compatible upstream: `mulberry mock`, the engine of `mulberry demo`, and
//! the fault upstream of our tests.
//!
//! What a request gets is chosen by its `model`.
//! `mock`, or a name in [`Config::models`], is the friendly engine: the same request always gets
//! the same text.
//! `fault/<mode>` (or `m-<mode>`) misbehaves in one way, and `fault/<mode>+<mode>` in several;
//! [`modes`] lists them all, and `GET /_modes` serves that list.
//!
//! A *token* here is a whitespace-separated word; every count in `usage` is a count of words.
//!
//! It also plays Anthropic's `/v1/messages` and Gemini's `/v1beta/models/NAME:generateContent`, under the same names, by
//! the rules of those APIs and with errors in their words.
//!
//! It speaks HTTP/1.1 and HTTP/2 with prior knowledge, both without TLS.
//! Faults below HTTP (resets, broken framing) are played on the socket itself. Over HTTP/2, where
//! the socket is shared, they become a reset of the stream.
//!
//! What it refuses: JSON bodies over 64 MiB, models it does not know, and, if a key is required,
//! every request without it (only `/health` stays open).
//! What it leaves to you: it keeps the last requests, with their bodies and headers, in memory for
//! `GET /_log`. It is an instrument. Do not send it a real prompt or a real key.

mod anthropic;
mod audio;
mod batches;
mod body;
mod chat;
mod completions;
mod connection;
mod control;
mod deliver;
mod embeddings;
mod fault;
mod files;
mod gemini;
mod hostile;
mod images;
mod journal;
mod models;
mod moderations;
mod multipart;
mod ranking;
mod refusal;
mod responses;
mod routes;
mod schema;
mod script;
mod socket;
mod sse;
mod text;
mod tokenizer;
mod tools;
mod wire;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;

pub use fault::modes;
pub use hostile::{HostileH2, hostile_h2};

/// How long open requests may still run after `shutdown`.
const DRAIN: Duration = Duration::from_secs(1);
/// Pause after a failed accept: the usual cause, too many open files, needs time to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub struct Config {
    /// Names that the friendly engine answers to, besides `mock`.
    pub models: Vec<String>,
    /// Pause before each content chunk of a stream.
    pub chunk_delay: Duration,
    /// The API key that a request must carry.
    pub require_key: Option<String>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("models", &self.models)
            .field("chunk_delay", &self.chunk_delay)
            .field("require_key_len", &self.require_key.as_ref().map(String::len))
            .finish()
    }
}

/// Answers on `listener` until `shutdown` resolves, then gives open requests one second.
pub async fn serve(listener: TcpListener, config: Config, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let address = listener.local_addr()?;
    tracing::info!(%address, "mock upstream listens");
    let mock = Arc::new(routes::Mock::new(config));
    let (drain, draining) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection::drive(stream, mock.clone(), draining.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    drain.send_replace(());
    let drained = time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::debug!(open = connections.len(), "connections closed with requests open");
        connections.shutdown().await;
    }
    Ok(())
}
