//! Below the API: connections, compression, HTTP/2, and what becomes of a client that leaves.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use backends::{body::Outgoing, client::HttpVersion};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    finding::{Consequence, Finding},
    probe::Probe,
};

/// More requests than common servers take on one connection.
const REQUESTS: usize = 110;
/// What a server has to notice that its client left.
const NOTICE: Duration = Duration::from_secs(3);

pub(super) async fn examine(probe: &Probe) -> Vec<Finding> {
    vec![
        keep_alive(probe).await,
        compressed_request(probe).await,
        http2(probe).await,
        leaving(probe).await,
    ]
}

/// Many requests on one connection, which clients and gateways keep.
async fn keep_alive(probe: &Probe) -> Finding {
    const CHECK: &str = "keep-alive";
    if probe.target.is_https() {
        return Finding::skipped(CHECK, "looked at without TLS only");
    }
    let follows = Consequence {
        means: "a request that meets the close fails, now and then, without a reason to see",
        mulberry: "sent again on a fresh connection, where it may be; `keep_alive` should be below the server's own",
    };
    match tokio::time::timeout(probe.timeout(), served_on_one_connection(probe)).await {
        Err(_elapsed) => Finding::fault(CHECK, "a request on a kept connection was not answered", follows),
        Ok(Err(why)) => Finding::fault(CHECK, why, follows),
        Ok(Ok(Served { count, says })) if count < REQUESTS => {
            let says = if says.is_empty() {
                String::new()
            } else {
                format!(" (it says {says})")
            };
            Finding::note(CHECK, format!("closed after {count} requests{says}"), follows)
        }
        Ok(Ok(Served { says, .. })) if !says.is_empty() => Finding::note(CHECK, format!("it says {says}"), follows),
        Ok(Ok(_)) => Finding::ok(CHECK, format!("{REQUESTS} requests on one connection")),
    }
}

struct Served {
    count: usize,
    /// The server's own words about its limits.
    says: String,
}

async fn served_on_one_connection(probe: &Probe) -> Result<Served, String> {
    let authority = probe.target.authority();
    let address = if authority.contains(':') && !authority.ends_with(']') {
        authority
    } else {
        format!("{authority}:80")
    };
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.kind().to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| "no HTTP/1.1".to_owned())?;
    let driver = tokio::spawn(connection);
    let mut served = Served {
        count: 0,
        says: String::new(),
    };
    while served.count < REQUESTS {
        let request = probe.request(Method::GET, "/v1/models", Outgoing::Empty)?;
        if sender.ready().await.is_err() {
            break;
        }
        let Ok(response) = sender.send_request(request).await else {
            break;
        };
        if let Some(says) = response.headers().get("keep-alive").and_then(|says| says.to_str().ok())
            && served.says.is_empty()
        {
            served.says = says.to_owned();
        }
        if response.into_body().collect().await.is_err() {
            break;
        }
        served.count += 1;
    }
    driver.abort();
    if served.count == 0 {
        return Err("the first request was not answered".to_owned());
    }
    Ok(served)
}

/// Clients may compress what they send.
async fn compressed_request(probe: &Probe) -> Finding {
    const CHECK: &str = "gzip request";
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder
        .write_all(probe.chat(json!({})).as_bytes())
        .and_then(|()| encoder.finish());
    let follows = Consequence {
        means: "a client that compresses what it sends is refused",
        mulberry: "unpacked before it is sent on",
    };
    let reply = match packed {
        Ok(packed) => {
            let body = Outgoing::whole(Bytes::from(packed));
            match probe.request(Method::POST, "/v1/chat/completions", body) {
                Ok(mut request) => {
                    let gzip = HeaderValue::from_static("gzip");
                    request.headers_mut().insert(header::CONTENT_ENCODING, gzip);
                    probe.ask(request).await
                }
                Err(why) => Err(why),
            }
        }
        Err(error) => Err(error.kind().to_string()),
    };
    match reply {
        Ok(reply) if reply.status == 200 => Finding::ok(CHECK, "taken"),
        Ok(reply) => Finding::note(CHECK, format!("refused with {}", reply.status.as_u16()), follows),
        Err(why) => Finding::note(CHECK, why, follows),
    }
}

async fn http2(probe: &Probe) -> Finding {
    const CHECK: &str = "HTTP/2";
    let follows = Consequence {
        means: "each request under way needs a connection of its own",
        mulberry: "clients may speak HTTP/2 to the gateway, which speaks HTTP/1.1 on",
    };
    let answered = match probe.request(Method::GET, "/v1/models", Outgoing::Empty) {
        Ok(request) => probe.open(request, HttpVersion::Http2).await,
        Err(why) => Err(why),
    };
    match answered {
        Ok(response) if response.version() == http::Version::HTTP_2 => {
            Finding::ok(CHECK, "spoken; `http: http2` may be set")
        }
        Ok(_) | Err(_) => Finding::note(CHECK, "not spoken", follows),
    }
}

/// A client that leaves must not leave the engine at work. Seen only where the server tells what it does.
async fn leaving(probe: &Probe) -> Finding {
    const CHECK: &str = "client leaves";
    if busy(probe).await != Some(0) {
        return Finding::skipped(CHECK, "the server does not say what it is doing");
    }
    let asked = probe.chat(json!({ "stream": true, probe.bound: 4000, "ignore_eos": true }));
    let body = Outgoing::whole(Bytes::from(asked));
    let opened = match probe.request(Method::POST, "/v1/chat/completions", body) {
        Ok(request) => probe.open(request, HttpVersion::Auto).await,
        Err(why) => Err(why),
    };
    let Ok(response) = opened else {
        return Finding::skipped(CHECK, "there was no stream");
    };
    let mut body = response.into_body();
    let first = tokio::time::timeout(probe.timeout(), body.frame()).await;
    let is_streaming = matches!(first, Ok(Some(Ok(_))));
    let was_busy = busy(probe).await.unwrap_or(0) > 0;
    drop(body);
    if !is_streaming || !was_busy {
        return Finding::skipped(CHECK, "it was done before one could leave");
    }
    let left = Instant::now();
    while left.elapsed() < NOTICE {
        if busy(probe).await == Some(0) {
            return Finding::ok(CHECK, "the engine stops");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Finding::fault(
        CHECK,
        format!("still at work {NOTICE:?} later"),
        Consequence {
            means: "the machine works for nobody, and others wait",
            mulberry: "its connection is closed at once, which is all that can be done from outside",
        },
    )
}

/// Requests under way, where a server tells: llama.cpp's slots, vLLM's and SGLang's metrics.
async fn busy(probe: &Probe) -> Option<usize> {
    let at = |path| probe.request(Method::GET, path, Outgoing::Empty);
    if let Ok(reply) = probe.ask(at("/slots").ok()?).await
        && let Some(Value::Array(slots)) = reply.json()
    {
        return Some(slots.iter().filter(|slot| slot["is_processing"] == true).count());
    }
    let reply = probe.ask(at("/metrics").ok()?).await.ok()?;
    let text = std::str::from_utf8(&reply.body).ok()?;
    let running = text
        .lines()
        .filter(|line| line.starts_with("vllm:num_requests_running") || line.starts_with("sglang:num_running_reqs"));
    let counts: Vec<f64> = running
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    (!counts.is_empty()).then(|| counts.iter().filter(|count| **count > 0.0).count())
}
