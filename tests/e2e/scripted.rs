//! An upstream in the test's own process, whose speed and health the test changes as it runs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers every POST with a chat completion and every GET with its health. Ends with its guard.
pub(crate) struct Scripted {
    pub(crate) url: String,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    is_ill: AtomicBool,
    /// Whether POSTs fail.
    is_broken: AtomicBool,
    delay_ms: AtomicU64,
    posts: AtomicU64,
}

impl Scripted {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(State::default());
        let serving = tokio::spawn({
            let state = state.clone();
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let state = state.clone();
                    // A client that leaves ends its connection and nothing else.
                    tokio::spawn(async move { drop(state.answer(stream).await) });
                }
            }
        });
        Self {
            url: format!("http://{address}"),
            state,
            serving,
        }
    }

    pub(crate) fn set_ill(&self, is_ill: bool) {
        self.state.is_ill.store(is_ill, Ordering::SeqCst);
    }

    pub(crate) fn set_broken(&self, is_broken: bool) {
        self.state.is_broken.store(is_broken, Ordering::SeqCst);
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).expect("a short delay");
        self.state.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    /// POSTs since the last time it was asked.
    pub(crate) fn take_posts(&self) -> u64 {
        self.state.posts.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl State {
    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut seen = Vec::new();
        let body_at = loop {
            if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut seen).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&seen[..body_at]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        while seen.len() < body_at + length {
            if stream.read_buf(&mut seen).await? == 0 {
                return Ok(());
            }
        }
        let (status, body) = if head.starts_with("post") {
            self.posts.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst))).await;
            if self.is_broken.load(Ordering::SeqCst) {
                (500, "{\"error\":{\"message\":\"broken\"}}")
            } else {
                (200, ANSWER)
            }
        } else if self.is_ill.load(Ordering::SeqCst) {
            (503, "{}")
        } else {
            (200, "{\"object\":\"list\",\"data\":[]}")
        };
        let response = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(response.as_bytes()).await
    }
}

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,
"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}],
"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
