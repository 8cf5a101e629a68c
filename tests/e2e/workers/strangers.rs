//! Strangers: who may not serve, and who may not ask.

use std::sync::Arc;
use std::time::Duration;

use attestation::Role;
use attestation_ratls::{Draft, Key, Keys};
use e2e::client::{chat_stream, get, request, send};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, World, eventually};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Site, ask, chats, up, yaml};

#[tokio::test]
async fn a_strangers_worker_gets_no_request() {
    let site = Site::new("").await;
    let engine = site.world.mock(&[]);
    let stranger = site.world.worker_key("stranger");
    let worker = site
        .world
        .worker(&stranger, &engine.url(), &["--gateway", &site.gateway.for_workers()]);
    worker.says("not connected", 1).await;
    for _ in 0..10 {
        assert_eq!(site.chat("mock").await.status, 200);
    }
    assert_eq!((chats(&engine).len(), site.chats().len()), (0, 10));
    // The operator learns whose key it was.
    assert!(
        eventually(SOON, || site.gateway.log().contains(&stranger.sha256)).await,
        "{}",
        site.gateway.log()
    );
}

#[tokio::test]
async fn a_worker_speaks_to_the_gateway_that_it_was_told_and_to_no_other() {
    let world = World::new();
    let mock = world.mock(&[]);
    let key = world.worker_key("box");
    let gateway = world.gateway(&yaml(&key, ""));
    let to = gateway.for_workers();
    let (_, address) = to.split_once('@').expect("KEY@ADDRESS");
    let another = format!("{}@{address}", "ab".repeat(32));
    let worker = world.worker(&key, &mock.url(), &["--gateway", &another]);
    worker.says("not connected", 1).await;
    assert_eq!(ask(&gateway, "mock").await.status, 503);
    assert_eq!(chats(&mock).len(), 0);
}

#[tokio::test]
async fn an_engine_that_is_not_local_is_refused() {
    let world = World::new();
    let key = world.worker_key("box");
    let to = format!("{}@127.0.0.1:1", "ab".repeat(32));
    for engine in ["http://10.1.2.3:8000", "http://engine:8000", "https://api.example"] {
        let said = world.worker(&key, engine, &["--gateway", &to]).refused();
        assert!(said.contains("not on this machine"), "{said}");
    }
    let said = world.worker(&key, "http://127.0.0.1:1", &[]).refused();
    assert!(said.contains("--gateway"), "{said}");
}

/// The other end's certificate is not looked at here: it is the other end that is tested.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 was expected".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// How a peer of our own making connects.
struct Dialler {
    alpn: &'static [u8],
    version: &'static rustls::SupportedProtocolVersion,
    /// The private key, in PEM.
    key: Option<String>,
    /// What it says to be.
    role: Role,
}

impl Dialler {
    fn with(key: &std::path::Path) -> Self {
        Self {
            alpn: b"mulberry-worker/1",
            version: &TLS13,
            key: Some(std::fs::read_to_string(key).expect("the key is there")),
            role: Role::Worker,
        }
    }

    async fn dial(&self, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[self.version])
            .expect("this version")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
        let mut config = match &self.key {
            Some(pem) => {
                let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).expect("a key in PEM");
                let own = Key::from_pkcs8(key.secret_der()).expect("a key");
                let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
                let identity = Draft::new(self.role, Keys::Own(own)).issue(now).expect("a certificate");
                builder
                    .with_client_auth_cert(vec![identity.certificate().clone()], key)
                    .expect("a pair")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![self.alpn.to_vec()];
        let tcp = TcpStream::connect(address).await?;
        let name = ServerName::try_from("test").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }
}

/// Whether the other end lets this one in: it says nothing before it knows whom it speaks to.
async fn is_let_in(dialler: &Dialler, address: &str) -> bool {
    let Ok(mut stream) = dialler.dial(address).await else {
        return false;
    };
    let mut byte = [0];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut byte);
    matches!(tokio::time::timeout(SOON, read).await, Ok(Ok(1)))
}

#[tokio::test]
async fn only_the_right_handshake_is_let_in() {
    let world = World::new();
    let key = world.worker_key("box");
    let gateway = world.gateway(&yaml(&key, ""));
    let to = gateway.for_workers();
    let (_, address) = to.split_once('@').expect("KEY@ADDRESS");
    let right = || Dialler::with(key.file());
    assert!(is_let_in(&right(), address).await, "{}", gateway.log());
    let stranger = world.worker_key("stranger");
    for (what, wrong) in [
        ("no certificate", Dialler { key: None, ..right() }),
        ("another key", Dialler::with(stranger.file())),
        (
            "another role",
            Dialler {
                role: Role::Gateway,
                ..right()
            },
        ),
        ("another protocol", Dialler { alpn: b"h2", ..right() }),
        (
            "TLS 1.2",
            Dialler {
                version: &TLS12,
                ..right()
            },
        ),
    ] {
        assert!(!is_let_in(&wrong, address).await, "{what} was let in");
    }
}

#[tokio::test]
async fn a_worker_that_speaks_hostile_http2_harms_nobody() {
    let site = Site::new("").await;
    let hostile = site.world.worker_key("hostile");
    site.gateway.rewrite(&format!(
        "{}models: [{{name: mock, routes: [{{backend: gpu}}]}}]\n",
        yaml(&site.key, "").replace(
            "]}]",
            &format!(
                "]}}, {{name: other, workers: [{{name: hostile, key_sha256: {}}}]}}]",
                hostile.sha256
            )
        )
    ));
    let reloaded = site.gateway.reload().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    let to = site.gateway.for_workers();
    let (_, address) = to.split_once('@').expect("KEY@ADDRESS");
    for kind in [
        "settings-flood",
        "ping-flood",
        "continuation-flood",
        "reset-flood",
        "data-flood",
        "empty-data-flood",
        "huge-frame",
        "bad-hpack",
        "go-away",
    ] {
        let attacker = site.world.mock(&["--hostile-h2", kind]);
        let mut outside = Dialler::with(hostile.file()).dial(address).await.expect("it is named");
        let mut inside = TcpStream::connect(attacker.address())
            .await
            .expect("the attacker listens");
        let attack = tokio::time::timeout(SOON, copy_bidirectional(&mut outside, &mut inside));
        // While it goes on, others are served.
        let served = async {
            for _ in 0..5 {
                assert_eq!(site.chat("mock").await.status, 200, "during {kind}");
            }
        };
        let (ended, ()) = tokio::join!(attack, served);
        assert!(ended.is_ok(), "{kind} is let go on");
        up(&site.gateway, "gpu/box").await;
    }
    let log = site.gateway.log();
    assert!(!log.contains("panic"), "{log}");
}

#[tokio::test]
async fn before_the_welcome_a_worker_answers_nothing() {
    let world = World::new();
    let mock = world.mock(&[]);
    let (key, caller) = (world.worker_key("box"), world.worker_key("caller"));
    let worker = world.worker(
        &key,
        &mock.url(),
        &["--listen", "127.0.0.1:0", "--gateway-key", &caller.sha256],
    );
    let address = worker.address();
    let stranger = world.worker_key("stranger");
    assert!(!is_let_in(&Dialler::with(stranger.file()), &address).await);

    let gateway = Dialler {
        role: Role::Gateway,
        ..Dialler::with(caller.file())
    };
    let stream = gateway.dial(&address).await.expect("it is named");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let chat = http::Request::post("http://worker/v1/chat/completions")
        .body(Empty::<bytes::Bytes>::new())
        .expect("a request");
    let refused = sender.send_request(chat).await.expect("an answer");
    assert_eq!(refused.status(), 503);
    let said = refused.into_body().collect().await.expect("a body").to_bytes();
    assert!(String::from_utf8_lossy(&said).contains("control stream"), "{said:?}");
    assert_eq!(chats(&mock).len(), 0);
    // Who never says hello is left.
    assert!(
        tokio::time::timeout(SOON, driving).await.is_ok(),
        "a silent caller is kept"
    );
}

/// The status page of the gateway, as an operator sees it.
async fn seen(gateway: &Gateway) -> Answer {
    Answer::of(send(gateway.admin(reqwest::Method::GET, "upstreams")).await).await
}

#[tokio::test]
async fn operators_see_why_a_worker_is_not_used() {
    let world = World::new();
    let mock = world.mock(&[]);
    let key = world.worker_key("box");
    let gateway = world.gateway(&yaml(&key, ""));
    let away = seen(&gateway).await.text();
    assert!(away.contains("not connected"), "{away}");
    let ready = get(&format!("{}/readyz", gateway.admin_url())).await;
    assert_eq!(ready.status(), 503);
    let _worker = world.worker(&key, &mock.url(), &["--gateway", &gateway.for_workers()]);
    up(&gateway, "gpu/box").await;
    let there = seen(&gateway).await.json();
    assert_eq!(there["data"][0]["in_use"], true, "{there}");
    assert_eq!(there["data"][0]["tier"], "open", "{there}");
    let url = format!("{}/v1/chat/completions", gateway.url());
    let stream = request(&url, chat_stream("mock")).timeout(Duration::from_secs(20));
    assert_eq!(send(stream).await.status(), 200);
}
