//! A service of collateral for software platforms, which says what it is told to: Intel's, as its clients see it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use attestation_soft_tdx::Collateral;

/// Answers until the test's process ends.
#[derive(Debug)]
pub struct Pccs {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Of a target that several of them have, the first one's is served.
    shelf: Vec<Collateral>,
    mood: Mood,
    asked: Vec<String>,
}

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    #[default]
    Serves,
    /// Closes every connection without a word.
    Down,
    /// What it serves has one bit flipped.
    Lies,
}

impl Pccs {
    #[must_use]
    pub fn serving(shelf: Vec<Collateral>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(Mutex::new(State {
            shelf,
            ..State::default()
        }));
        let kept = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that leaves in the middle is no matter of ours.
                drop(serve(stream, &kept));
            }
        });
        Self { address, state }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it serves from now on.
    pub fn put(&self, shelf: Vec<Collateral>) {
        lock(&self.state).shelf = shelf;
    }

    pub fn be(&self, mood: Mood) {
        lock(&self.state).mood = mood;
    }

    /// The targets that were asked for so far.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state).asked.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 4 << 10];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&piece[..count]),
        }
    }
    let text = String::from_utf8_lossy(&request);
    let target = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let (answer, mood) = {
        let mut state = lock(state);
        state.asked.push(target.clone());
        let found = state.shelf.iter().find_map(|collateral| collateral.answer(&target));
        (found, state.mood)
    };
    let response = match (mood, answer) {
        (Mood::Down, _) => return Ok(()),
        (_, None) => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec(),
        (mood, Some(mut answer)) => {
            if mood == Mood::Lies {
                let middle = answer.body.len() / 2;
                answer.body[middle] ^= 1;
            }
            let mut head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n",
                answer.body.len()
            );
            for (name, value) in &answer.headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            [head.into_bytes(), answer.body].concat()
        }
    };
    stream.write_all(&response)
}
