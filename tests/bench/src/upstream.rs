//! The inference server of the bench: chat completions, unary and streamed, as fast as one thread can.
//!
//! A unary answer has about 1 kB. A stream sends one event per write, in an HTTP chunk of its own,
//! as engines do; then finish reason, usage (if asked for) and `[DONE]`. Every content carries
//! `#<request id>.<index>`, see [`crate::question`].
//! It refuses bodies that are not JSON or exceed [`BODY_LIMIT`]; it checks no credentials.
//! Delays have the resolution of tokio's timer, one millisecond, the same for every proxy.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

use crate::http1::{Framing, Wire, WireError, request_line};
use crate::question::{Asked, write_hex};

const BODY_LIMIT: usize = 16 << 20;
const BACKLOG: u32 = 4096;

pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the task is dropped. Must run inside a `LocalSet`.
pub async fn serve(listener: TcpListener) {
    let filler: Rc<str> = filler().into();
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of file descriptors: wait for some to be given back rather than spin.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let filler = Rc::clone(&filler);
        tokio::task::spawn_local(async move {
            if let Ok(wire) = Wire::new(socket) {
                // A peer that leaves is its own affair: the load reports what is missing.
                drop(connection(wire, &filler).await);
            }
        });
    }
}

async fn connection(mut wire: Wire, filler: &str) -> Result<(), WireError> {
    let mut body = Vec::new();
    let mut out = Vec::new();
    while let Some(head) = wire.head(request_line).await? {
        if head.expects_continue {
            wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        body.clear();
        let mut oversize = false;
        if head.framing != Framing::Unframed {
            let take = |bytes: &[u8]| {
                oversize |= body.len() + bytes.len() > BODY_LIMIT;
                if !oversize {
                    body.extend_from_slice(bytes);
                }
            };
            wire.body(head.framing, take).await?;
        }
        out.clear();
        let (method, path) = &head.start;
        if method == "POST" && path.ends_with("/chat/completions") {
            match serde_json::from_slice::<Asked<'_>>(&body) {
                Ok(asked) if asked.stream => stream(&mut wire, &asked, &mut out).await?,
                Ok(asked) => {
                    answer(&mut out, 200, &completion(&asked, filler));
                    wire.write(&out).await?;
                }
                Err(_) => {
                    answer(&mut out, 400, BAD_REQUEST);
                    wire.write(&out).await?;
                }
            }
        } else if method == "GET" && path.ends_with("/models") {
            answer(&mut out, 200, MODELS);
            wire.write(&out).await?;
        } else {
            answer(&mut out, 404, NOT_FOUND);
            wire.write(&out).await?;
        }
        if head.close {
            break;
        }
    }
    Ok(())
}

async fn stream(wire: &mut Wire, asked: &Asked<'_>, out: &mut Vec<u8>) -> Result<(), WireError> {
    wire.write(STREAM_HEAD).await?;
    let mut first = Event::new(asked.id(), r#""role":"assistant","#);
    let mut next = Event::new(asked.id(), "");
    let pause = Duration::from_micros(asked.delay_us());
    let start = Instant::now();
    for index in 0..asked.chunks() {
        if index > 0 {
            if pause.is_zero() {
                // Bursts of several streams interleave, as they would from an engine's batch.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep_until(start + pause * index).await;
            }
        }
        let event = if index == 0 { &mut first } else { &mut next };
        wire.write(event.number(index)).await?;
    }
    let finish = r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]"#;
    push_chunk(out, &event(finish, "null"));
    if asked.include_usage() {
        push_chunk(out, &event("[]", &usage(asked)));
    }
    push_chunk(out, "data: [DONE]\n\n");
    out.extend_from_slice(b"0\r\n\r\n");
    wire.write(out).await
}

/// An event framed as an HTTP chunk, whose index is written in place.
struct Event {
    bytes: Vec<u8>,
    index_at: usize,
}

impl Event {
    fn new(id: u32, role: &str) -> Self {
        let mut marker = *b"#00000000.";
        write_hex(id, &mut marker[1..9]);
        let marker = String::from_utf8_lossy(&marker);
        let choices = format!(
            r#"[{{"index":0,"delta":{{{role}"content":"{marker}00000 "}},"logprobs":null,"finish_reason":null}}]"#
        );
        let mut bytes = Vec::new();
        push_chunk(&mut bytes, &event(&choices, "null"));
        let index_at = memchr::memchr(b'#', &bytes).expect("the marker was written") + marker.len();
        Self { bytes, index_at }
    }

    fn number(&mut self, index: u32) -> &[u8] {
        let mut rest = index;
        for byte in self.bytes[self.index_at..self.index_at + 5].iter_mut().rev() {
            *byte = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        &self.bytes
    }
}

const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
    cache-control: no-cache\r\nx-request-id: req-bench\r\ntransfer-encoding: chunked\r\n\r\n";
const MODELS: &str =
    r#"{"object":"list","data":[{"id":"mock-model","object":"model","created":1760000000,"owned_by":"bench"}]}"#;
const BAD_REQUEST: &str = r#"{"error":{"message":"The body is not a chat completion request.","type":"invalid_request_error","param":null,"code":null}}"#;
const NOT_FOUND: &str =
    r#"{"error":{"message":"Unknown path.","type":"invalid_request_error","param":null,"code":null}}"#;

fn event(choices: &str, usage: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-5d1e0bench\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\
         \"model\":\"mock-model\",\"system_fingerprint\":\"fp_bench\",\"choices\":{choices},\"usage\":{usage}}}\n\n"
    )
}

fn push_chunk(out: &mut Vec<u8>, data: &str) {
    out.extend_from_slice(format!("{:x}\r\n{data}\r\n", data.len()).as_bytes());
}

fn completion(asked: &Asked<'_>, filler: &str) -> String {
    format!(
        r##"{{"id":"chatcmpl-5d1e0bench","object":"chat.completion","created":1760000000,"model":"mock-model","system_fingerprint":"fp_bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"#{:08x}.00000 {filler}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{}}}"##,
        asked.id(),
        usage(asked),
    )
}

fn usage(asked: &Asked<'_>) -> String {
    let (prompt, completion) = (asked.prompt_tokens(), asked.chunks());
    format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0}}}}"#,
        prompt + u64::from(completion),
    )
}

fn answer(out: &mut Vec<u8>, status: u16, json: &str) {
    let head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\nx-request-id: req-bench\r\ncontent-length: {}\r\n\r\n",
        if status == 200 { "OK" } else { "Refused" },
        json.len(),
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(json.as_bytes());
}

/// Plain text that brings a unary answer to about 1 kB.
fn filler() -> String {
    const TEXT: &str = "A short chat answer has about a kilobyte on the wire, most of it plain words. ";
    TEXT.chars().cycle().take(560).collect()
}
