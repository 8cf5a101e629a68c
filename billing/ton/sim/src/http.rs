//! The simulated chain over HTTP, as toncenter's v2 API speaks, so that TON's own clients and wallets work against it.
//!
//! `POST /api/v2/jsonRPC`, and `GET` or `POST /api/v2/{method}`; which methods: [`methods`](self#methods) below.
//! This is a development chain, and whoever reaches the port owns it: `GET` or `POST` of
//! - `/danger_faucet?address=…&amount=…` (nanoton) gives coins to anyone who asks,
//! - `/danger_advance?seconds=…` moves the clock,
//! - `/danger_halt` and `/danger_resume` stop and start the making of blocks,
//! - `/danger_fail?calls=…&status=…` answers the next calls of the API with 429 or 503.
//!
//! It allows every origin, so that a page can use it. Listen on loopback.
//!
//! Answers are of final blocks, and there is one shard. What toncenter tells of proofs and validators is not here.
//! An account that was deleted has no last transaction, as on TON; its history is found by logical time and hash.
//!
//! # Methods
//!
//! getMasterchainInfo, getConsensusBlock, lookupBlock, shards, getBlockHeader, getBlockTransactions, getAddressInformation,
//! getExtendedAddressInformation, getWalletInformation, getAddressBalance, getAddressState, packAddress, unpackAddress,
//! detectAddress, getTransactions, tryLocateTx, tryLocateResultTx, tryLocateSourceTx, getConfigParam, getConfigAll,
//! runGetMethod, estimateFee, sendBoc, sendBocReturnHash.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use billing_ton_sim::{Settings, Simulated, http};
//!
//! let chain = Simulated::in_memory(Settings::for_development())?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8081").await?;
//! http::serve(listener, chain, std::future::pending()).await;
//! # Ok(())
//! # }
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::simulated::Simulated;

mod blocks;
mod danger;
mod failure;
mod fees;
mod form;
mod messages;
mod methods;
mod parameters;
mod stack;
mod transactions;

use danger::Front;
use failure::Failure;
use parameters::Parameters;

/// The longest body of a request; the longest message in base64 is a third of it.
const BODY_BYTES: usize = 256 << 10;
/// Connections at a time; more wait.
const CONNECTIONS: usize = 256;
/// The longest wait for the head of a request, and for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Answers on `listener` until `shutdown`, then ends open connections as their requests end.
pub async fn serve(listener: TcpListener, chain: Simulated, shutdown: impl Future<Output = ()>) {
    let front = Arc::new(Front::new(chain));
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let (drain, draining) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (listener.accept().await, permit)
        };
        tokio::select! {
            () = shutdown.as_mut() => break,
            (stream, permit) = accepted => {
                let front = Arc::clone(&front);
                let draining = draining.clone();
                // A client that is gone before it is met. The next one is another.
                if let (Ok((stream, _)), Ok(permit)) = (stream, permit) {
                    connections.spawn(async move {
                        connection(stream, front, draining).await;
                        drop(permit);
                    });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(drain);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, front: Arc<Front>, mut draining: watch::Receiver<()>) {
    let service = service_fn(|request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, Infallible>(answer(request, &front).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = std::pin::pin!(served);
    // An error is a client that left, or that speaks something else. Nobody is there to be told.
    tokio::select! {
        ended = served.as_mut() => return ended.unwrap_or_default(),
        // The sender is dropped; nothing is ever sent.
        _ = draining.changed() => {}
    }
    served.as_mut().graceful_shutdown();
    served.await.unwrap_or_default();
}

async fn answer(request: Request<Incoming>, front: &Front) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    if head.method == Method::OPTIONS {
        return response(StatusCode::NO_CONTENT, Bytes::new());
    }
    let too_long = "the body is cut short, late, or longer than 256 KiB";
    let Some(body) = collected(body).await else {
        return told(Err(Failure::Parameter(too_long.to_owned())), None);
    };
    route(&head.method, head.uri.path(), head.uri.query(), &body, front)
}

/// The whole body; `None` if it is longer than we take, or does not come.
async fn collected(body: Incoming) -> Option<Bytes> {
    // One that says so is not waited for.
    if usize::try_from(body.size_hint().lower()).is_ok_and(|least| least > BODY_BYTES) {
        return None;
    }
    let collecting = Limited::new(body, BODY_BYTES).collect();
    let collected = tokio::time::timeout(READ_TIMEOUT, collecting).await.ok()?;
    Some(collected.ok()?.to_bytes())
}

/// All of it but the socket.
fn route(method: &Method, path: &str, query: Option<&str>, body: &[u8], front: &Front) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::POST) {
        return told(Err(Failure::NoSuchMethod), None);
    }
    let path = path.trim_end_matches('/');
    if path == "/api/v2/jsonRPC" || path == "/jsonRPC" {
        return json_rpc(body, front);
    }
    let parameters = match Parameters::of(query, body) {
        Ok(parameters) => parameters,
        Err(failure) => return told(Err(failure), None),
    };
    let result = match (path.strip_prefix("/danger_"), path.strip_prefix("/api/v2/")) {
        (Some(name), _) => front.danger(name, &parameters),
        (None, Some(name)) => front.call(name, &parameters),
        (None, None) => Err(Failure::NotFound),
    };
    told(result, None)
}

fn json_rpc(body: &[u8], front: &Front) -> Response<Full<Bytes>> {
    let Ok(Json::Object(mut call)) = serde_json::from_slice::<Json>(body) else {
        return told(
            Err(Failure::Parameter("the body is not a JSON object".to_owned())),
            None,
        );
    };
    let id = call.remove("id").unwrap_or(Json::Null);
    let parameters = match call.remove("params") {
        None | Some(Json::Null) => Ok(Parameters::default()),
        Some(Json::Object(parameters)) => Ok(Parameters::from(parameters)),
        Some(_) => Err(Failure::Parameter("params is not an object".to_owned())),
    };
    let result = match (call.get("method").and_then(Json::as_str), parameters) {
        (Some(name), Ok(parameters)) => front.call(name, &parameters),
        (None, _) => Err(Failure::Parameter("method is missing".to_owned())),
        (_, Err(failure)) => Err(failure),
    };
    told(result, Some(id))
}

/// The envelope; with the id that a JSON-RPC call had.
fn told(result: Result<Json, Failure>, id: Option<Json>) -> Response<Full<Bytes>> {
    let (status, mut envelope) = match result {
        Ok(result) => (StatusCode::OK, json!({ "ok": true, "result": result })),
        Err(failure) => {
            let status = failure.status();
            let envelope = json!({ "ok": false, "error": failure.to_string(), "code": status.as_u16() });
            (status, envelope)
        }
    };
    if let (Some(id), Json::Object(envelope)) = (id, &mut envelope) {
        envelope.insert("jsonrpc".to_owned(), json!("2.0"));
        envelope.insert("id".to_owned(), id);
    }
    response(status, envelope.to_string().into())
}

fn response(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .header(ACCESS_CONTROL_ALLOW_HEADERS, "*")
        .header(ACCESS_CONTROL_ALLOW_METHODS, "GET, POST")
        .body(Full::new(body))
        .expect("four headers that we wrote")
}

#[cfg(test)]
mod tests;
