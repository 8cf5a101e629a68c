//! A mock of a test's own, and a client that shows bytes as they came.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use backends_mock::{Config, serve};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Far longer than anything here takes; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Mock {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Closed,
    Reset,
}

/// One answer, and how its connection ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) raw: Vec<u8>,
    pub(crate) end: End,
}

impl Mock {
    pub(crate) async fn start() -> Self {
        Self::with(Config {
            models: vec!["tiny".into()],
            chunk_delay: Duration::ZERO,
            require_key: None,
        })
        .await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(serve(listener, config, async move {
            stopped.await.expect("the test holds the sender");
        }));
        Self { address, stop, served }
    }

    pub(crate) async fn stop(self) -> io::Result<()> {
        self.stop.send(()).expect("the mock waits for it");
        timeout(PATIENCE, self.served)
            .await
            .expect("it stops")
            .expect("it does not panic")
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the mock listens")
    }

    /// Sends one request on a connection of its own and reads until it ends.
    pub(crate) async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let mut stream = self.connect().await;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: mock\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("the head is sent");
        stream.write_all(body).await.expect("the body is sent");
        timeout(PATIENCE, read(&mut stream)).await.expect("the answer ends")
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(
            "POST",
            path,
            "content-type: application/json\r\n",
            body.to_string().as_bytes(),
        )
        .await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send("GET", path, "", b"").await.json()
    }

    pub(crate) async fn chat(&self, model: &str, stream: bool) -> Answer {
        self.post("/v1/chat/completions", &chat(model, stream)).await
    }

    /// Waits until exactly `count` requests are open.
    pub(crate) async fn wait_for_open(&self, count: u64) {
        let reached = async { while self.get("/_inflight").await["inflight"] != count {} };
        timeout(PATIENCE, reached).await.expect("requests open and end");
    }

    /// Waits until no request is open, and gives the count of those that were cancelled.
    pub(crate) async fn cancelled(&self) -> u64 {
        self.wait_for_open(0).await;
        self.get("/_cancelled").await["cancelled"].as_u64().expect("a number")
    }
}

pub(crate) fn chat(model: &str, stream: bool) -> Value {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "say something"}]})
}

/// Sends a chat request on an open connection, which it does not ask to close.
pub(crate) async fn send_chat(socket: &mut TcpStream, model: &str, stream: bool) -> io::Result<()> {
    let body = chat(model, stream).to_string();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: mock\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await
}

pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
    let mut raw = Vec::new();
    let end = match stream.read_to_end(&mut raw).await {
        Ok(_) => End::Closed,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => End::Reset,
        Err(error) => panic!("{error}"),
    };
    Answer { raw, end }
}

impl Answer {
    pub(crate) fn head(&self) -> String {
        let end = find(&self.raw, b"\r\n\r\n").unwrap_or(self.raw.len());
        String::from_utf8_lossy(&self.raw[..end]).to_lowercase()
    }

    pub(crate) fn status(&self) -> u16 {
        self.head().get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The body, out of its chunks as far as they are whole.
    pub(crate) fn body(&self) -> Vec<u8> {
        let Some(end) = find(&self.raw, b"\r\n\r\n") else {
            return Vec::new();
        };
        let mut rest = &self.raw[end + 4..];
        if !self.head().contains("transfer-encoding: chunked") {
            return rest.to_vec();
        }
        let mut body = Vec::new();
        while let Some(line) = find(rest, b"\r\n") {
            let size = std::str::from_utf8(&rest[..line]).ok();
            let Some(size) = size.and_then(|size| usize::from_str_radix(size, 16).ok()) else {
                break;
            };
            let Some(data) = rest.get(line + 2..line + 2 + size) else {
                break;
            };
            body.extend_from_slice(data);
            rest = rest.get(line + 4 + size..).unwrap_or_default();
        }
        body
    }

    /// Whether a chunked body came to its own end.
    pub(crate) fn whole(&self) -> bool {
        self.raw.ends_with(b"\r\n0\r\n\r\n")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body()).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap_or_else(|_| panic!("not JSON: {:?}", self.text()))
    }

    /// The JSON of each `data:` line.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.filter_map(|data| serde_json::from_str(data).ok()).collect()
    }

    /// All content of choice 0 in a stream.
    pub(crate) fn content(&self) -> String {
        let events = self.events();
        let first = events.iter().filter(|event| event["choices"][0]["index"] == 0);
        first
            .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
            .collect()
    }
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
