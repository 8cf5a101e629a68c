//! A gateway of a test's own making: workers dial it, and it asks what it likes, when it likes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use attestation::{CollateralSet, Hex, Policy, Role, Tier, Verifier};
use attestation_ratls::{Admit, Draft, Endpoint, Expect, HandshakeError, Identities, Trust};
use attestation_soft_tdx::SoftTdx;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::line::{CONTROL, Lines, Queue, queue};
use crate::papers::now;

/// Takes the calls of workers. It accepts any software guest of an image, and every key.
pub struct RogueGateway {
    listener: TcpListener,
    endpoint: Endpoint,
    key: [u8; 32],
}

/// A worker's call, before anything was said.
pub struct Call {
    sender: SendRequest<Either<Full<Bytes>, Queue>>,
    driving: JoinHandle<()>,
}

/// The control stream, to be spoken on by hand.
pub struct Control {
    says: mpsc::Sender<Bytes>,
    lines: Lines,
}

impl RogueGateway {
    /// One that shows what this draft makes, and accepts workers in this guest.
    pub async fn showing(draft: &Draft, worker: &SoftTdx) -> Self {
        let mut policy = Policy::of(vec![worker.td().image("worker", &[Role::Worker])]);
        policy.min_tier = Tier::Open;
        let anchor = worker.danger_anchor();
        let mut set = CollateralSet::new(anchor.clone());
        let collateral = attestation::Collateral::parse(worker.collateral(now()).into()).expect("its own");
        set.insert(collateral, now()).expect("its own");
        let (trust, _wanted) = Trust::new(Verifier::new(anchor), policy, set).expect("the policy is sound");
        let identity = draft.issue(now()).expect("software makes quotes");
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.expect("there is a free port"),
            key: *identity.spki_sha256(),
            endpoint: Endpoint {
                trust,
                identities: Some(Arc::new(Identities::new(identity))),
                alpn: vec![b"mulberry-worker/1".to_vec()],
                clock: Arc::new(DefaultTimeProvider) as Arc<dyn TimeProvider>,
            },
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    /// As `--gateway` takes it: `KEY@ADDRESS`.
    #[must_use]
    pub fn pinned(&self) -> String {
        format!("{}@{}", Hex(self.key), self.address())
    }

    /// The next call.
    pub async fn accept(&self) -> Result<Call, HandshakeError> {
        let (tcp, _) = self.listener.accept().await.expect("a listener accepts");
        let expect = Expect {
            role: Role::Worker,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let tls = self.endpoint.accept(tcp, expect, Admit::Certified).await?;
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .map_err(|error| HandshakeError::Failed(std::io::Error::other(error)))?;
        Ok(Call {
            sender,
            driving: tokio::spawn(async move { drop(connection.await) }),
        })
    }
}

impl Call {
    /// Asks as if all were settled; the status, or nothing if the worker has hung up.
    pub async fn ask(&mut self, body: &str) -> Option<StatusCode> {
        let request = Request::post("http://worker/v1/chat/completions")
            .header("content-type", "application/json")
            .body(Either::Left(Full::new(body.to_owned().into())))
            .expect("a request");
        let response = self.sender.send_request(request).await.ok()?;
        let status = response.status();
        // What it says is of no matter, but it is read.
        drop(response.into_body().collect().await);
        Some(status)
    }

    /// Opens the control stream.
    pub async fn control(&mut self) -> Option<Control> {
        let (says, body) = queue();
        let request = Request::post(format!("http://worker{CONTROL}"))
            .body(Either::Right(body))
            .expect("a request");
        let response = self.sender.send_request(request).await.ok()?;
        assert_eq!(response.status(), StatusCode::OK);
        Some(Control {
            says,
            lines: Lines::of(response.into_body()),
        })
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.driving.is_finished()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.driving.abort();
    }
}

impl Control {
    pub async fn say(&self, said: &Value) {
        super::say(&self.says, said).await;
    }

    /// The next that the worker says; nothing once it has hung up.
    pub async fn next(&mut self) -> Option<Value> {
        let line = self.lines.next().await?;
        serde_json::from_slice(&line).ok()
    }
}
