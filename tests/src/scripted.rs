//! An upstream that answers with given bytes, for answers that no server would write.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Answers every request with the same bytes and closes the connection.
#[derive(Debug)]
pub struct Scripted {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
}

/// A POST that came.
#[derive(Debug, Clone)]
pub struct Post {
    /// Its request line and headers, in lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Scripted {
    /// `answer` is the whole response, its status line included. The thread ends with the test's process.
    #[must_use]
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        Self::serving(answer.into(), false)
    }

    /// The same, and the connection stays open until its client closes it.
    #[must_use]
    pub fn holding(answer: impl Into<Vec<u8>>) -> Self {
        Self::serving(answer.into(), true)
    }

    fn serving(answer: Vec<u8>, is_held: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let posts = Arc::new(Mutex::new(Vec::new()));
        let kept = posts.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = serve(stream, &answer, &kept);
                if let Some(mut stream) = served.filter(|_| is_held) {
                    // One that is held must not keep the next from its answer.
                    thread::spawn(move || drop(stream.read(&mut [0; 1])));
                }
            }
        });
        Self { address, posts }
    }

    /// A 200 of JSON with this body.
    #[must_use]
    pub fn json(body: &str) -> Self {
        let length = body.len();
        Self::answering(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    /// An event stream of this text, which ends with the connection.
    #[must_use]
    pub fn events(text: &str) -> Self {
        Self::answering(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{text}"
        ))
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The POSTs that came.
    #[must_use]
    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Their bodies.
    #[must_use]
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.posts().into_iter().map(|post| post.body).collect()
    }
}

/// Reads one request, keeps it if it is a POST, and answers it; `None` if it does not come whole.
fn serve(mut stream: TcpStream, answer: &[u8], kept: &Mutex<Vec<Post>>) -> Option<TcpStream> {
    let mut request = Vec::new();
    let mut piece = [0; 16 << 10];
    let head = loop {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&piece[..count]);
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&request[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    while request.len() < head + length {
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&piece[..count]);
    }
    if text.starts_with("post ") {
        // Before the answer: who has it will look.
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(Post {
            body: request[head..].to_vec(),
            head: text,
        });
    }
    // A client that has heard enough may have closed.
    drop(stream.write_all(answer));
    Some(stream)
}
