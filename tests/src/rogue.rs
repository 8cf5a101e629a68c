//! A worker of a test's own making: it dials a gateway, shows what papers it likes, answers as it likes, and keeps every
//! byte that the gateway sends it.
//!
//! It shares no code with the worker that it plays but the encoding of messages: the protocol here is written from
//! docs/attested-tls.md, so that a mistake there is not repeated here.

mod line;
pub mod listener;
mod relay;

use std::convert::Infallible;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use attestation::binding::Channel;
use attestation::{Hex, Role, Tier};
use attestation_ratls::channel::{Bytes as Base64, Message, Proof};
use attestation_soft_tdx::SoftTdx;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::papers::{Papers, now};
use crate::tape::{Recorded, Tape};
use crate::wait::{SOON, eventually};

pub use line::{CONTROL, Versions, knock};
use line::{Joint, Lines, queue};
pub use relay::Relay;

/// A load is due each 3 s.
const LOAD: Duration = Duration::from_secs(2);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// Who dials, and how it behaves.
pub struct Rogue {
    pub papers: Papers,
    pub says: Says,
    pub token: Option<String>,
    /// Where requests go that it gets; without one it answers them itself.
    pub engine: Option<String>,
    /// Floods are counted by address, and each address of 127/8 is one.
    pub from: Ipv4Addr,
    pub models: Vec<String>,
}

/// What it says when it is asked who it is.
pub enum Says {
    /// A quote of this guest, over this very connection.
    Quote(Box<SoftTdx>),
    /// What a node without a guest says.
    Signature,
    /// What the gateway says of itself, when it is asked the same question.
    Reflected,
    /// What an honest guest says to whom it is connected to.
    Relayed(Relay),
    /// A quote of this guest over this very connection, for a question of another time.
    Earlier(Box<SoftTdx>),
    /// Nothing at all.
    Nothing,
    /// Not who it is, but that it has joined and what it offers.
    Welcome,
}

impl Says {
    /// A quote of this guest.
    #[must_use]
    pub fn quote(guest: &SoftTdx) -> Self {
        Self::Quote(Box::new(guest.clone()))
    }
}

/// A connection that a [`Rogue`] made. It ends when this is dropped.
pub struct Visit {
    /// As it came over the wire.
    pub wire: Tape,
    /// What was in it, decrypted: frames of HTTP/2.
    pub heard: Tape,
    seen: Arc<Mutex<Seen>>,
    stage: watch::Receiver<Stage>,
    task: JoinHandle<()>,
}

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Stage {
    #[default]
    Dialled,
    /// The gateway opened the control stream.
    Greeted,
    /// The gateway took its evidence.
    Accepted,
    /// Under this name requests may come.
    Welcome(String),
    /// With this code.
    Refused(String),
}

#[derive(Default)]
struct Seen {
    requests: Vec<String>,
    /// Those that came before the welcome.
    early: usize,
}

struct Session {
    rogue: Rogue,
    tls: Joint,
    gateway: [u8; 32],
    seen: Arc<Mutex<Seen>>,
    stage: watch::Sender<Stage>,
}

impl Rogue {
    /// A worker in this guest that does everything right.
    #[must_use]
    pub fn honest(guest: &SoftTdx) -> Self {
        Self {
            papers: Papers::sound(Role::Worker, guest),
            says: Says::quote(guest),
            token: None,
            engine: None,
            from: Ipv4Addr::LOCALHOST,
            models: vec!["mock".to_owned()],
        }
    }

    /// A worker without a guest that does everything right.
    #[must_use]
    pub fn keyed() -> Self {
        Self {
            papers: Papers::keyed(Role::Worker),
            says: Says::Signature,
            ..Self::honest(&crate::soft::platform())
        }
    }

    /// Dials; whatever comes of it is in the [`Visit`].
    pub async fn dial(self, address: &str) -> Visit {
        let (wire, heard) = (Tape::default(), Tape::default());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stage, watched) = watch::channel(Stage::default());
        let tcp = connect(self.from, address).await;
        let tls = line::dial(&self.papers, Recorded::new(tcp, &wire)).await;
        let task = match tls {
            // Refused while it still shook hands.
            Err(_) => tokio::spawn(async {}),
            Ok(tls) => {
                let session = Arc::new(Session {
                    rogue: self,
                    gateway: tls.peer_spki(),
                    tls: tls.clone(),
                    seen: seen.clone(),
                    stage,
                });
                tokio::spawn(session.serve(Recorded::new(tls, &heard)))
            }
        };
        Visit {
            wire,
            heard,
            seen,
            stage: watched,
            task,
        }
    }
}

/// From this address of our own.
async fn connect(from: Ipv4Addr, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.bind((from, 0).into()).expect("all of 127/8 is this machine");
    let address = address.parse().expect("an address with a port");
    let connected = socket.connect(address).await;
    connected.unwrap_or_else(|error| panic!("{address}: {error}"))
}

impl Visit {
    /// The requests that it got beside the control stream: method, path, body.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        lock(&self.seen).requests.clone()
    }

    /// How many of them came before it was welcome.
    #[must_use]
    pub fn early(&self) -> usize {
        lock(&self.seen).early
    }

    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage.borrow().clone()
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.task.is_finished()
    }

    /// Waits until requests may come to it.
    pub async fn welcome(&self) {
        let is_welcome = eventually(SOON, || matches!(self.stage(), Stage::Welcome(_)) || !self.is_open());
        assert!(
            is_welcome.await && self.is_open(),
            "it is not welcome: {:?}",
            self.stage()
        );
    }

    /// Waits until the gateway has closed the connection.
    pub async fn end(&self) {
        let is_over = eventually(SOON, || !self.is_open());
        assert!(is_over.await, "the gateway keeps the connection: {:?}", self.stage());
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit")
            .field("stage", &self.stage())
            .finish_non_exhaustive()
    }
}

impl Session {
    async fn serve(self: Arc<Self>, tls: Recorded<Joint>) {
        let service = service_fn(move |request: Request<Incoming>| {
            let session = self.clone();
            async move { Ok::<_, Infallible>(session.answer(request).await) }
        });
        let served = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tls), service);
        // However it ends, it ends.
        drop(served.await);
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        if request.uri().path() == CONTROL {
            self.stage.send_replace(Stage::Greeted);
            let (says, body) = queue();
            tokio::spawn(self.converse(Lines::of(request.into_body()), says));
            return Response::new(body.map_err(|never| match never {}).boxed_unsync());
        }
        let (head, body) = request.into_parts();
        // A client that leaves in the middle has sent what it has sent.
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        let body = body.unwrap_or_default();
        {
            let mut seen = lock(&self.seen);
            let text = String::from_utf8_lossy(&body).into_owned();
            seen.requests
                .push(format!("{} {} {text}", head.method, head.uri.path()));
            if !matches!(*self.stage.borrow(), Stage::Welcome(_)) {
                seen.early += 1;
            }
        }
        match &self.rogue.engine {
            Some(engine) => forward(engine, &head, body).await,
            None => Response::new(whole(WHOLE)),
        }
    }

    async fn converse(self: Arc<Self>, mut lines: Lines, says: mpsc::Sender<Bytes>) {
        let mut beat = tokio::time::interval(LOAD);
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                _ = beat.tick(), if matches!(*self.stage.borrow(), Stage::Welcome(_)) => {
                    say(&says, &json!({"type": "load", "ready": true, "running": 0, "waiting": 0})).await;
                    continue;
                }
            };
            let Some(line) = line else { return };
            let answers = match Message::from_line(&line) {
                Ok(message) => self.about_itself(message).await,
                Err(_) => self.about_work(&serde_json::from_slice(&line).unwrap_or_default()),
            };
            for answer in answers {
                say(&says, &answer).await;
            }
        }
    }

    /// What is said of who is who.
    async fn about_itself(&self, message: Message) -> Vec<Value> {
        match message {
            Message::Challenge { nonce } => self.prove(nonce).await,
            Message::Evidence { nonce, proof, gpu } => {
                let accepted = Message::Accepted {
                    nonce,
                    tier: Tier::Tee,
                    until: now() + 600,
                };
                let mut said = vec![value(&accepted)];
                if matches!(self.rogue.says, Says::Reflected) {
                    said.push(value(&Message::Evidence { nonce, proof, gpu }));
                }
                said
            }
            Message::Accepted { .. } => {
                self.stage.send_replace(Stage::Accepted);
                vec![self.join()]
            }
            Message::Refused { code } => {
                self.stage.send_replace(Stage::Refused(code));
                Vec::new()
            }
        }
    }

    async fn prove(&self, nonce: Hex<32>) -> Vec<Value> {
        let asked = match &self.rogue.says {
            Says::Earlier(_) => [7; 32],
            _ => nonce.0,
        };
        let exporter = self.tls.export(&asked);
        let report_data = Channel {
            role: self.rogue.papers.claims.role,
            nonce: &asked,
            exporter: &exporter,
            attester_spki: self.rogue.papers.key.spki_sha256(),
            verifier_spki: &self.gateway,
        }
        .report_data();
        let proof = match &self.rogue.says {
            Says::Quote(guest) | Says::Earlier(guest) => Proof::Quote(Base64(guest.quote(&report_data))),
            Says::Signature => {
                let signature = self.rogue.papers.key.state(&report_data);
                Proof::Signature(Base64(signature.expect("the key signs")))
            }
            // The same question back; its answer comes as evidence.
            Says::Reflected => return vec![value(&Message::Challenge { nonce })],
            Says::Relayed(relay) => relay.ask(nonce).await,
            Says::Nothing | Says::Welcome => return Vec::new(),
        };
        vec![value(&Message::Evidence {
            nonce,
            proof,
            gpu: None,
        })]
    }

    fn join(&self) -> Value {
        let mut join = json!({"type": "join", "engine": "openai-compatible"});
        if let Some(token) = &self.rogue.token {
            join["token"] = token.as_str().into();
        }
        join
    }

    fn offer(&self) -> [Value; 2] {
        let models: Vec<Value> = self.rogue.models.iter().map(|id| json!({"id": id})).collect();
        [
            json!({"type": "offer", "engine": "openai-compatible", "models": models}),
            json!({"type": "load", "ready": true, "running": 0, "waiting": 0}),
        ]
    }

    /// What is said of the work that there is.
    fn about_work(&self, said: &Value) -> Vec<Value> {
        match said["type"].as_str() {
            Some("hello") => {
                let hello = json!({"type": "hello", "v": 1, "software": "rogue"});
                let mut said = vec![hello];
                match &self.rogue.says {
                    // The gateway's own question goes back instead.
                    Says::Reflected => {}
                    Says::Welcome => {
                        said.push(self.join());
                        said.extend(self.offer());
                    }
                    _ => {
                        let nonce = Hex(self.tls.random());
                        said.push(value(&Message::Challenge { nonce }));
                    }
                }
                said
            }
            Some("welcome") => {
                let name = said["name"].as_str().unwrap_or_default().to_owned();
                self.stage.send_replace(Stage::Welcome(name));
                self.offer().into()
            }
            Some("turned_away") => {
                let code = said["code"].as_str().unwrap_or_default().to_owned();
                self.stage.send_replace(Stage::Refused(code));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }
}

const WHOLE: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"mock","choices":[{"index":0,"message":{"role":"assistant","content":"rogue"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

fn whole(text: &'static str) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(Bytes::from_static(text.as_bytes()))
        .map_err(|never| match never {})
        .boxed_unsync()
}

async fn forward(engine: &str, head: &http::request::Parts, body: Bytes) -> Answer {
    let url = format!("{engine}{}", head.uri.path());
    let mut asking = crate::client::client().request(head.method.clone(), url).body(body);
    for name in ["content-type", "accept"] {
        if let Some(value) = head.headers.get(name) {
            asking = asking.header(name, value);
        }
    }
    let Ok(answer) = asking.send().await else {
        return Response::builder()
            .status(502)
            .body(whole("{}"))
            .expect("a status is all there is");
    };
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get("content-type") {
        response = response.header("content-type", kind);
    }
    let frames = futures_util::StreamExt::map(answer.bytes_stream(), |piece| {
        piece.map(Frame::data).map_err(BoxError::from)
    });
    response
        .body(StreamBody::new(frames).boxed_unsync())
        .expect("an answer can be passed on")
}

fn value(message: &Message) -> Value {
    serde_json::to_value(message).expect("a message is JSON")
}

async fn say(says: &mpsc::Sender<Bytes>, said: &Value) {
    // Nobody listens where the connection has ended already.
    drop(says.send(format!("{said}\n").into()).await);
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
