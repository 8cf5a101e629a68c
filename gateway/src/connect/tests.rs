//! An app, `connect`, and the listener of a gateway in a software guest, over real sockets.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use attestation::{Policy, Role, Tier, Verifier};
use attestation_ratls::{Draft, Endpoint, Expect, Identities, KeyKind, Keys, Trust};
use attestation_soft_tdx::{SoftTdx, Td};
use backends::{
    body::BoxBody,
    serve::{BoxError, Serve},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::time_provider::DefaultTimeProvider;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

mod liars;

use super::{Gateway, Guard, Link, Settings, Standing, run, status};
use crate::{
    call::Via,
    config::{Address, KeyDigest},
    drain::{DrainControl, Phase, drain},
    listener::{self, Door, ListenerConfig, Speaks, attested::Attested},
    wall_clock::unix_seconds,
};

const SOON: Duration = Duration::from_secs(20);
const PROMPT: &str = "the-secret-of-the-prompt";

/// What a gateway was asked: method, path, headers, body.
type Heard = Arc<Mutex<Vec<(String, http::HeaderMap, Via, Bytes)>>>;

/// Answers what it is asked; what asks for a stream gets what the test sends.
struct Engine {
    heard: Heard,
    streams: Mutex<VecDeque<mpsc::Receiver<&'static str>>>,
}

impl Serve<Request<Incoming>> for Engine {
    type Response = Response<BoxBody>;

    async fn call(&self, request: Request<Incoming>) -> Result<Response<BoxBody>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let line = format!("{} {}", parts.method, parts.uri.path());
        let heard = (line, parts.headers, Via::of(&parts.extensions), body);
        self.heard.lock().expect("nobody panics").push(heard);
        let pieces = self.streams.lock().expect("nobody panics").pop_front();
        Ok(match pieces {
            Some(pieces) => {
                let frames = futures_util::stream::unfold(pieces, |mut pieces| async move {
                    let piece = pieces.recv().await?;
                    let frame: Result<_, BoxError> = Ok(Frame::data(Bytes::from_static(piece.as_bytes())));
                    Some((frame, pieces))
                });
                let mut response = Response::new(BoxBody::new(StreamBody::new(frames)));
                let kind = http::HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert("content-type", kind);
                response
            }
            None => Response::new(crate::rescue::full("{\"answer\":42}")),
        })
    }
}

fn soft(image: &str) -> SoftTdx {
    SoftTdx::builder().image(image).build()
}

fn policy(image: &str) -> Policy {
    attestation_soft_tdx::policy(vec![Td::of(image).image(image, &[Role::Gateway])])
}

/// What one side accepts, under the software's root.
fn trust(policy: Policy) -> Arc<Trust> {
    let platform = soft("gateway");
    let collateral = platform.collateral_set(unix_seconds()).expect("its own");
    let verifier = Verifier::new(platform.danger_anchor());
    Trust::new(verifier, policy, collateral).expect("it can be meant").0
}

fn any_key() -> Policy {
    Policy {
        min_tier: Tier::Open,
        ..Policy::of(Vec::new())
    }
}

fn endpoint(trust: Arc<Trust>, draft: Option<&Draft>) -> Endpoint {
    let identity = draft.map(|draft| Arc::new(Identities::new(draft.issue(unix_seconds()).expect("a certificate"))));
    Endpoint {
        trust,
        identities: identity,
        alpn: vec![crate::binding::ALPN.to_vec()],
        clock: Arc::new(DefaultTimeProvider),
    }
}

fn attested(image: &str) -> Draft {
    Draft {
        attester: Some(Arc::new(soft(image))),
        ..keyed()
    }
}

fn keyed() -> Draft {
    Draft::new(Role::Gateway, Keys::Fresh(KeyKind::Ed25519))
}

fn config() -> Arc<arc_swap::ArcSwap<ListenerConfig>> {
    Arc::new(arc_swap::ArcSwap::from_pointee(ListenerConfig {
        header_read: SOON,
        keep_alive: SOON,
        body_write: SOON,
        tls: None,
    }))
}

/// The gateway.
struct Served {
    address: SocketAddr,
    engine: Arc<Engine>,
    key: KeyDigest,
    /// Without it the listener ends.
    _control: DrainControl,
}

/// A listener that answers as a gateway does, whatever is behind it; where it is, and its key.
async fn serving<E>(draft: &Draft, engine: Arc<E>) -> (SocketAddr, KeyDigest, DrainControl)
where
    E: Serve<Request<Incoming>, Response = Response<BoxBody>> + 'static,
{
    let endpoint = endpoint(trust(any_key()), Some(draft));
    let identity = endpoint.identities.as_ref().expect("it has one").current();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (control, ending) = drain();
    let door = Door {
        listener,
        connections: 64,
        closes: Phase::Closing,
        open: prometheus_client::metrics::gauge::Gauge::default(),
        speaks: Speaks::Attested(Attested::new(&endpoint)),
    };
    tokio::spawn(listener::serve(door, config(), engine, ending));
    (address, KeyDigest(*identity.spki_sha256()), control)
}

impl Served {
    async fn new(draft: &Draft) -> Self {
        let engine = Arc::new(Engine {
            heard: Heard::default(),
            streams: Mutex::default(),
        });
        let (address, key, control) = serving(draft, engine.clone()).await;
        Self {
            address,
            engine,
            key,
            _control: control,
        }
    }

    /// The next request gets a stream of these.
    fn stream(&self) -> mpsc::Sender<&'static str> {
        let (pieces, stream) = mpsc::channel(16);
        self.engine.streams.lock().expect("nobody panics").push_back(stream);
        pieces
    }

    fn heard(&self) -> usize {
        self.engine.heard.lock().expect("nobody panics").len()
    }
}

/// The app's side.
struct Side {
    address: SocketAddr,
    link: Arc<Link>,
    trust: Arc<Trust>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinSet<()>,
}

impl Side {
    async fn new(gateway: SocketAddr, key: Option<KeyDigest>, policy: Policy) -> Self {
        Self::paying(gateway, key, policy, None).await
    }

    async fn paying(
        gateway: SocketAddr,
        key: Option<KeyDigest>,
        policy: Policy,
        payment: Option<super::Payment>,
    ) -> Self {
        let trust = trust(policy);
        let gateway = Gateway {
            address: Address::parse(&gateway.to_string()).expect("a host and a port"),
            key,
        };
        let link = Link::new(gateway, endpoint(trust.clone(), None));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let settings = Settings {
            listener,
            patience: SOON,
        };
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        let mut running = JoinSet::new();
        let guard = Guard { danger_open: false };
        running.spawn(run(
            settings,
            link.clone(),
            guard,
            payment,
            stopped,
            std::future::pending(),
        ));
        Self {
            address,
            link,
            trust,
            stop: Some(stop),
            running,
        }
    }

    /// Waits until it stands so.
    async fn stands(&self, word: &str) -> Value {
        let mut standing = self.link.standing();
        let waited = timeout(SOON, async {
            loop {
                let now = status::document(&self.link);
                if now["standing"] == word {
                    return now;
                }
                standing.changed().await.expect("it is kept");
            }
        });
        waited
            .await
            .unwrap_or_else(|_| panic!("not {word}: {}", status::document(&self.link)))
    }

    async fn open(&self, head: &str, body: &str) -> TcpStream {
        let mut tcp = TcpStream::connect(self.address).await.expect("it listens");
        let text = format!(
            "{head}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        tcp.write_all(text.as_bytes()).await.expect("it reads");
        tcp
    }

    /// The whole answer to a chat.
    async fn chat(&self) -> String {
        let head = "POST /v1/chat/completions?a=b HTTP/1.1\r\nhost: localhost:4141\r\nauthorization: Bearer sk-app\r\ncontent-type: application/json\r\nx-own: 1\r\n";
        to_end(self.open(head, PROMPT).await).await
    }
}

async fn to_end(mut tcp: TcpStream) -> String {
    let mut text = Vec::new();
    let read = timeout(SOON, tcp.read_to_end(&mut text)).await;
    read.expect("it ends").expect("it ends well");
    String::from_utf8_lossy(&text).into_owned()
}

/// Passes bytes on and keeps them.
async fn recorder(to: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let kept = Arc::new(Mutex::new(Vec::new()));
    let record = kept.clone();
    tokio::spawn(async move {
        while let Ok((app, _)) = listener.accept().await {
            let gateway = TcpStream::connect(to).await.expect("it listens");
            let ((mut from_app, mut to_app), (mut from_gateway, mut to_gateway)) =
                (app.into_split(), gateway.into_split());
            let record = record.clone();
            tokio::spawn(async move {
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = from_app.read(&mut piece).await {
                    record
                        .lock()
                        .expect("nobody panics")
                        .extend_from_slice(&piece[..length]);
                    if to_gateway.write_all(&piece[..length]).await.is_err() {
                        break;
                    }
                }
            });
            tokio::spawn(async move { tokio::io::copy(&mut from_gateway, &mut to_app).await });
        }
    });
    (address, kept)
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_verified_gateway_answers_and_the_request_passes_as_it_came() {
    let gateway = Served::new(&attested("gateway")).await;
    let (between, wire) = recorder(gateway.address).await;
    let side = Side::new(between, None, policy("gateway")).await;
    side.stands("verified").await;
    let answer = side.chat().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("{\"answer\":42}"), "{answer}");
    assert!(
        answer.contains("x-mulberry-via: attested gateway, under a development trust anchor"),
        "{answer}"
    );
    let (line, headers, via, body) = gateway.engine.heard.lock().expect("nobody panics")[0].clone();
    assert_eq!((line.as_str(), via), ("POST /v1/chat/completions", Via::Attested));
    assert_eq!(&body[..], PROMPT.as_bytes());
    let mut names: Vec<&str> = headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "content-length", "content-type", "x-own"]);
    // The recorder is on the right wire, and what it saw says nothing.
    let wire = wire.lock().expect("nobody panics").clone();
    assert!(wire.len() > 1000 && !holds(&wire, PROMPT) && !holds(&wire, "sk-app"));
    let status = status::document(&side.link);
    assert_eq!(
        (&status["standing"], &status["tier"]),
        (&"verified".into(), &"tee".into())
    );
    assert_eq!(status["image"], "gateway");
}

#[tokio::test]
async fn a_gateway_that_is_not_in_the_policy_is_sent_nothing() {
    let gateway = Served::new(&attested("other")).await;
    let (between, wire) = recorder(gateway.address).await;
    let side = Side::new(between, None, policy("gateway")).await;
    let answer = side.chat().await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(
        answer.contains("\"code\":\"image_unknown\"") && answer.contains("x-should-retry: false"),
        "{answer}"
    );
    assert_eq!(gateway.heard(), 0);
    let wire = wire.lock().expect("nobody panics").clone();
    assert!(!wire.is_empty() && !holds(&wire, PROMPT) && !holds(&wire, "sk-app"));
    assert_eq!(side.stands("refused").await["why"]["code"], "image_unknown");
}

#[tokio::test]
async fn a_key_is_evidence_only_where_it_is_pinned() {
    let gateway = Served::new(&keyed()).await;
    let pinned = Side::new(gateway.address, Some(gateway.key), any_key()).await;
    pinned.stands("verified").await;
    let answer = pinned.chat().await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("x-mulberry-via: keyed gateway"),
        "{answer}"
    );
    let other = Side::new(gateway.address, Some(KeyDigest([7; 32])), any_key()).await;
    let answer = other.chat().await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("gateway_key"),
        "{answer}"
    );
    // A policy that takes keys is refused at a start; should one come by, the link itself refuses.
    for accepts in [policy("gateway"), any_key()] {
        let side = Side::new(gateway.address, None, accepts).await;
        let answer = side.chat().await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        let status = side.stands("refused").await;
        let code = status["why"]["code"].as_str().expect("a code");
        assert!(["quote_missing", "tier_too_low"].contains(&code), "{status}");
    }
    assert_eq!(gateway.heard(), 1);
}

/// It ends TLS itself, with a key of its own, and dials the true gateway.
#[tokio::test]
async fn whoever_ends_tls_between_is_refused() {
    let gateway = Served::new(&attested("gateway")).await;
    let thief = Served::new(&keyed()).await;
    let side = Side::new(thief.address, None, policy("gateway")).await;
    let answer = side.chat().await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!((thief.heard(), gateway.heard()), (0, 0));
}

#[tokio::test]
async fn a_change_of_policy_cuts_what_runs_and_lets_nothing_more_through() {
    let gateway = Served::new(&attested("gateway")).await;
    let side = Side::new(gateway.address, None, policy("gateway")).await;
    side.stands("verified").await;
    let pieces = gateway.stream();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
    let mut tcp = side.open(head, PROMPT).await;
    pieces.send("data: {\"choices\":[]}\n\n").await.expect("somebody reads");
    let mut begun = String::new();
    while !begun.contains("choices") {
        let mut piece = [0; 1024];
        let length = tcp.read(&mut piece).await.expect("it is open");
        assert_ne!(length, 0, "{begun}");
        begun.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    side.trust.set_policy(policy("another")).expect("it can be meant");
    let rest = to_end(tcp).await;
    assert!(
        rest.contains("gateway_connection_lost") && !rest.contains("[DONE]"),
        "{rest}"
    );
    side.stands("refused").await;
    let answer = side.chat().await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("image_unknown"),
        "{answer}"
    );
    assert_eq!(gateway.heard(), 1);
    // Back again, at once.
    side.trust.set_policy(policy("gateway")).expect("it can be meant");
    side.stands("verified").await;
    assert!(side.chat().await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_request_before_the_channel_is_refused_by_the_gateway() {
    let gateway = Served::new(&attested("gateway")).await;
    let endpoint = endpoint(trust(policy("gateway")), None);
    let tcp = TcpStream::connect(gateway.address).await.expect("it listens");
    let expect = Expect {
        role: Role::Gateway,
        address: gateway.address.ip(),
    };
    let met = endpoint.connect(tcp, expect).await.expect("it shows evidence");
    let (mut sender, http) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(met))
        .await
        .expect("HTTP/2");
    tokio::spawn(http);
    let request = Request::get("https://localhost/v1/models").body(Empty::<Bytes>::new());
    let answer = sender
        .send_request(request.expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 403);
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    assert!(holds(&body, "gateway_unverified"));
    assert_eq!(gateway.heard(), 0);
}

#[tokio::test]
async fn strangers_to_this_machine_are_refused() {
    let gateway = Served::new(&keyed()).await;
    let side = Side::new(gateway.address, Some(gateway.key), any_key()).await;
    for (headers, code) in [
        ("host: evil.example\r\n", "foreign_host"),
        ("host: localhost\r\norigin: https://evil.example\r\n", "foreign_origin"),
    ] {
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\n{headers}");
        let answer = to_end(side.open(&head, PROMPT).await).await;
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains(code), "{answer}");
    }
    assert_eq!(gateway.heard(), 0);
    let answer = to_end(
        side.open("GET /mulberry/status HTTP/1.1\r\nhost: localhost\r\n", "")
            .await,
    )
    .await;
    assert!(answer.contains("\"gateway\":"), "{answer}");
}

#[tokio::test]
async fn the_end_waits_for_what_runs() {
    let gateway = Served::new(&keyed()).await;
    let mut side = Side::new(gateway.address, Some(gateway.key), any_key()).await;
    let pieces = gateway.stream();
    let tcp = side
        .open("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n", PROMPT)
        .await;
    pieces.send("data: 1\n\n").await.expect("somebody reads");
    // Heard by the gateway, so it is under way here.
    let heard = timeout(SOON, async {
        while gateway.heard() == 0 {
            tokio::task::yield_now().await;
        }
    });
    heard.await.expect("it is asked");
    drop(side.stop.take());
    pieces.send("data: [DONE]\n\n").await.expect("somebody reads still");
    drop(pieces);
    let answer = to_end(tcp).await;
    assert!(answer.contains("[DONE]"), "{answer}");
    let ended = timeout(SOON, side.running.join_next()).await.expect("in time");
    ended.expect("it ran").expect("it ended well");
    assert!(matches!(*side.link.standing().borrow(), Standing::Up(_)));
}
