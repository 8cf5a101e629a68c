//! Adopt: a connection whose other end is known becomes an upstream, until it ends.
//!
//! The roles turn here: whoever dialled, the gateway speaks HTTP/2 as the client and the worker as the server, on a connection that can start nothing from its side.
//! What a hostile server might do is bounded: frames, headers and resets by hyper's HTTP/2, the control stream by [`Listening`], the answers by the clocks and limits of the backend.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use backends::{
    body::Outgoing,
    worker::{Connected, Standing},
};
use http::{Request, StatusCode};
use hyper::{body::Incoming, client::conn::http2, rt::Executor};
use hyper_util::rt::{TokioIo, TokioTimer};
use openapi::model::Model;
use tokio::{sync::oneshot, task::JoinSet};

use super::Named;
use crate::{
    control::{
        ControlError, FromGateway, FromWorker, GREETING, Listening, MAX_MODELS, PATH, SILENCE, VERSION, speaking,
    },
    secure::{Peer, Stream},
    wall_clock::unix_seconds,
};

/// Pings find a peer that is gone without a word within twice this.
const PING: Duration = Duration::from_secs(5);
/// What a worker that leaves has still on the way.
const LAST_WORDS: Duration = Duration::from_secs(10);
const MAX_HEADERS: u32 = 64 * 1024;
/// Streams that the peer reset and we still remember.
const MAX_RESETS: usize = 1024;

/// Why a connection serves no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdoptError {
    #[error("HTTP/2 could not be begun")]
    Http(#[source] hyper::Error),
    #[error("the worker answered the control stream with {0}")]
    Refused(StatusCode),
    #[error("the greeting failed")]
    Greeting(#[source] ControlError),
    #[error(transparent)]
    Control(ControlError),
    #[error("the worker said what is out of order")]
    OutOfOrder,
    #[error("the worker offers more than {MAX_MODELS} models")]
    TooManyModels,
    #[error("the worker has drained")]
    Left,
    #[error("the configuration no longer names the worker")]
    Dismissed,
}

/// Serves requests over this connection until it ends, and says why it did.
pub(super) async fn adopt(stream: Stream, peer: &Peer, named: Named) -> AdoptError {
    let mut stays = named.stays.clone();
    // Dropped with us, whatever is open on it: the connection has no life of its own.
    let dismissed = Dismissed(Crew::default());
    let crew = &dismissed.0;
    let ended = async {
        match begin(stream, peer, &named, crew).await {
            Ok(begun) => {
                let Begun {
                    connected,
                    listening,
                    ended,
                } = begun;
                match follow(connected, listening, &named.place).await {
                    AdoptError::Left => {
                        // The ends of its answers may be behind its last word.
                        drop(tokio::time::timeout(LAST_WORDS, ended).await);
                        AdoptError::Left
                    }
                    error => error,
                }
            }
            Err(error) => error,
        }
    };
    tokio::select! {
        error = ended => error,
        _ = stays.changed() => AdoptError::Dismissed,
    }
}

/// A connection on which both have greeted each other.
struct Begun {
    connected: Connected,
    listening: Listening<Incoming>,
    /// Ready when the connection is over.
    ended: oneshot::Receiver<()>,
}

async fn begin(stream: Stream, peer: &Peer, named: &Named, crew: &Crew) -> Result<Begun, AdoptError> {
    let (mut sender, connection) = http2::Builder::new(crew.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .max_header_list_size(MAX_HEADERS)
        .max_concurrent_reset_streams(MAX_RESETS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(AdoptError::Http)?;
    let (over, ended) = oneshot::channel();
    crew.execute(async move {
        let _over = over;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "the connection of a worker ended");
        }
    });
    let (speaking, body) = speaking();
    let mut request = Request::new(Outgoing::upload(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::builder()
        .scheme("http")
        .authority("worker")
        .path_and_query(PATH)
        .build()
        .map_err(|_| AdoptError::OutOfOrder)?;
    let silent = |_| AdoptError::Greeting(ControlError::Silent(GREETING));
    let answered = tokio::time::timeout(GREETING, sender.send_request(request));
    let response = answered.await.map_err(silent)?.map_err(AdoptError::Http)?;
    if response.status() != StatusCode::OK {
        return Err(AdoptError::Refused(response.status()));
    }
    let mut listening = Listening::new(response.into_body());
    let hello = FromGateway::Hello {
        v: VERSION,
        now: unix_seconds(),
    };
    speaking.say(&hello).await.map_err(AdoptError::Greeting)?;
    let statement_key = match listening.next(GREETING).await.map_err(AdoptError::Greeting)? {
        FromWorker::Hello {
            v: VERSION,
            statement_key,
            ..
        } => statement_key,
        FromWorker::Hello { v, .. } => return Err(AdoptError::Greeting(ControlError::Version { theirs: v })),
        _ => return Err(AdoptError::OutOfOrder),
    };
    let welcome = FromGateway::Welcome {
        name: named.place.to_string(),
    };
    speaking.say(&welcome).await.map_err(AdoptError::Greeting)?;
    // The control stream is open from our side for as long as the connection is.
    crew.execute(async move {
        let _speaking = speaking;
        std::future::pending::<()>().await;
    });
    tracing::info!(worker = %named.place, tier = %peer.tier, "worker connected");
    let connected = named.worker.connect(sender, peer.tier);
    if let Some(key) = statement_key {
        connected.states_by(*key.as_bytes());
    }
    Ok(Begun {
        connected,
        listening,
        ended,
    })
}

/// Hears the worker out.
async fn follow(connected: Connected, mut listening: Listening<Incoming>, place: &str) -> AdoptError {
    let mut is_leaving = false;
    loop {
        match listening.next(SILENCE).await {
            Ok(FromWorker::Hello { .. }) => return AdoptError::OutOfOrder,
            Ok(FromWorker::Offer { engine, models }) => {
                if models.len() > MAX_MODELS {
                    return AdoptError::TooManyModels;
                }
                tracing::debug!(worker = %place, %engine, models = models.len(), "a worker offers");
                connected.offer(models.into_iter().map(|model| Model::new(model.id, 0, "")).collect());
            }
            Ok(FromWorker::Load {
                ready,
                running,
                waiting,
            }) => connected.set(&Standing {
                is_ready: ready && !is_leaving,
                busy: usize::try_from(u64::from(running) + u64::from(waiting)).unwrap_or(usize::MAX),
            }),
            Ok(FromWorker::Drain {}) => {
                is_leaving = true;
                connected.set(&Standing {
                    is_ready: false,
                    busy: 0,
                });
                tracing::info!(worker = %place, "worker drains");
            }
            Err(ControlError::Closed) if is_leaving => return AdoptError::Left,
            Err(error) => return AdoptError::Control(error),
        }
    }
}

/// Every task of one connection. hyper would let the connection live for as long as a stream on it does.
#[derive(Clone, Default)]
struct Crew(Arc<Mutex<JoinSet<()>>>);

/// Ends a crew when dropped.
struct Dismissed(Crew);

impl Drop for Dismissed {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl<F> Executor<F> for Crew
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that ended meanwhile.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            drop(task.await);
        });
    }
}
