//! What attestation costs a connection, beside TLS without it: `cargo bench -p attestation-ratls`.
//!
//! Both ends share one thread. Handshakes go over no network, requests over the loopback one. Each figure is the median;
//! the ratio is to plain TLS of the same suite, key exchange and key, in the same run.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints its figures, and one that fails has none"
)]

#[expect(dead_code, reason = "the tests need more of this world than the figures do")]
#[path = "../tests/sockets/world.rs"]
mod world;

use std::{convert::Infallible, sync::Arc, time::Instant};

use attestation::{Role, Tier};
use attestation_ratls::{Admit, Connection, Endpoint};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    sign::SingleCertAndKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite, duplex},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use world::{NOW, World, draft, expect, guest, keep, policy};

const ROUNDS: usize = 200;
const TURNS: usize = 7;
const REQUESTS: usize = 2000;
const CHUNKS: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let plain = runtime.block_on(plain());
    println!("{:<44} {:>9} {:>7}", "handshake, both ends", "ms", "ratio");
    row("plain TLS 1.3, server certified", plain, plain);
    for (name, world, cached) in [
        ("both keyed", keyed(), true),
        ("both attested, verified each time", World::new(Tier::Tee), false),
        ("both attested, verdicts cached", World::new(Tier::Tee), true),
    ] {
        row(name, runtime.block_on(attested(&world, cached)), plain);
    }
    let bound = runtime.block_on(bound(&World::new(Tier::Tee)));
    row("the same, and the channel bound both ways", bound, plain);
    println!("\n{:<44} {:>9} {:>7}", "HTTP/2 on an open connection", "ms", "ratio");
    // In turn, so that a machine that slows down slows both.
    let (mut https, mut ratls) = (Costs::default(), Costs::default());
    for _ in 0..TURNS {
        runtime.block_on(async {
            let (client, server) = over_https().await;
            https.add(requests(client, server).await);
            let world = World::new(Tier::Tee);
            let (client, server) = over_ratls(&world).await;
            ratls.add(requests(client, server).await);
        });
    }
    let (https, ratls) = (https.medians(), ratls.medians());
    for (name, of) in [
        ("a request of 1 KiB and its answer", 0),
        ("a chunk of 200 bytes of a stream", 1),
    ] {
        row(&format!("{name}, HTTPS"), https[of], https[of]);
        row(&format!("{name}, attested"), ratls[of], https[of]);
    }
}

/// Of a request, and of a chunk.
#[derive(Default)]
struct Costs([Vec<u128>; 2]);

impl Costs {
    fn add(&mut self, [request, chunk]: [u128; 2]) {
        self.0[0].push(request);
        self.0[1].push(chunk);
    }

    fn medians(self) -> [u128; 2] {
        self.0.map(median)
    }
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (dialled, (accepted, _)) = (dialled.unwrap(), accepted.unwrap());
    dialled.set_nodelay(true).unwrap();
    accepted.set_nodelay(true).unwrap();
    (dialled, accepted)
}

async fn over_https() -> (TlsStream<TcpStream>, TlsStream<TcpStream>) {
    let (acceptor, connector) = unattested();
    let (theirs, ours) = sockets().await;
    let name = ServerName::try_from("mulberry").unwrap();
    let (accepted, dialled) = tokio::join!(acceptor.accept(ours), connector.connect(name, theirs));
    (dialled.unwrap().into(), accepted.unwrap().into())
}

/// As [`Binder`](attestation_ratls::channel::Binder) leaves it between two questions: it touches nothing then.
async fn over_ratls(world: &World) -> (Connection<TcpStream>, Connection<TcpStream>) {
    let (theirs, ours) = sockets().await;
    let (accepted, dialled) = tokio::join!(
        world.gateway.accept(ours, expect(Role::Worker), Admit::Certified),
        world.worker.connect(theirs, expect(Role::Gateway)),
    );
    (dialled.unwrap(), accepted.unwrap())
}

/// What one request costs both ends, and one chunk.
async fn requests<IO>(client: IO, server: IO) -> [u128; 2]
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request: Request<Incoming>| async move {
        let chunks = request.uri().path() == "/stream";
        request.into_body().collect().await.unwrap();
        let body = if chunks {
            let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 200])));
            StreamBody::new(
                stream::iter(std::iter::repeat_with(chunk).take(CHUNKS)).then(|chunk| async {
                    // Each goes out by itself, as tokens do.
                    tokio::task::yield_now().await;
                    chunk
                }),
            )
            .boxed_unsync()
        } else {
            Full::new(Bytes::from_static(&[b'x'; 1024])).boxed_unsync()
        };
        Ok::<_, Infallible>(Response::new(body))
    });
    let serving = tokio::spawn(
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(server), service),
    );
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
        .await
        .unwrap();
    let driving = tokio::spawn(connection);
    let mut ask = async |path: &str| {
        let body = Full::new(Bytes::from_static(&[b'x'; 1024]));
        let request = Request::post(format!("http://worker{path}")).body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes().len()
    };
    for _ in 0..REQUESTS / 10 {
        ask("/").await;
    }
    let began = Instant::now();
    for _ in 0..REQUESTS {
        assert_eq!(ask("/").await, 1024);
    }
    let request = began.elapsed().as_nanos() / REQUESTS as u128;
    let began = Instant::now();
    assert_eq!(ask("/stream").await, 200 * CHUNKS);
    let chunk = began.elapsed().as_nanos() / CHUNKS as u128;
    serving.abort();
    driving.abort();
    [request, chunk]
}

fn row(name: &str, nanos: u128, plain: u128) {
    let (micros, percent) = (nanos / 1000, nanos * 100 / plain);
    println!(
        "{name:<44} {:>5}.{:03} {:>4}.{:02}",
        micros / 1000,
        micros % 1000,
        percent / 100,
        percent % 100
    );
}

fn median(mut nanos: Vec<u128>) -> u128 {
    nanos.sort_unstable();
    nanos[nanos.len() / 2]
}

fn keyed() -> World {
    let mut world = World::with(policy(Tier::Open), &draft(Role::Worker, None));
    let gateway = draft(Role::Gateway, None);
    world.gateway = world::endpoint(&gateway, &world.trust, &world.clock);
    world
}

/// Without `cached`, each round trusts anew and remembers nothing.
async fn attested(world: &World, cached: bool) -> u128 {
    let mut nanos = Vec::new();
    for _ in 0..ROUNDS {
        let (gateway, worker) = match cached {
            true => (world.gateway.clone(), world.worker.clone()),
            false => (forgetful(&world.gateway), forgetful(&world.worker)),
        };
        let (ours, theirs) = duplex(1 << 16);
        let began = Instant::now();
        let (accepted, dialled) = tokio::join!(
            gateway.accept(ours, expect(Role::Worker), Admit::Certified),
            worker.connect(theirs, expect(Role::Gateway)),
        );
        nanos.push(began.elapsed().as_nanos());
        drop((accepted.unwrap(), dialled.unwrap()));
    }
    median(nanos)
}

fn forgetful(endpoint: &Endpoint) -> Endpoint {
    Endpoint {
        trust: world::trust(policy(Tier::Tee), &guest("worker")).0,
        ..endpoint.clone()
    }
}

/// With cached verdicts of the certificates; those of the channel are always new.
async fn bound(world: &World) -> u128 {
    let mut nanos = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let (gateway, worker) = world.meet().await;
        let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
        let (gateway, worker) = tokio::join!(gateway.settled(), worker.settled());
        nanos.push(began.elapsed().as_nanos());
        drop((gateway.ok().unwrap(), worker.ok().unwrap()));
    }
    median(nanos)
}

/// One certificate, whose key is checked and whose holder is not.
fn unattested() -> (TlsAcceptor, TlsConnector) {
    let identity = draft(Role::Gateway, None).issue(NOW).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = &[&rustls::version::TLS13];
    let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&made).unwrap();
    assert!(certificate.der().len() < identity.certificate().len());
    let der = rustls_pki_types::PrivatePkcs8KeyDer::from(made.serialize_der());
    let key = provider.key_provider.load_private_key(der.into()).unwrap();
    let certified = rustls::sign::CertifiedKey::new(vec![certificate.into()], key);
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    server.send_tls13_tickets = 0;
    let verifier = KeyOnly(provider.signature_verification_algorithms);
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    (
        TlsAcceptor::from(Arc::new(server)),
        TlsConnector::from(Arc::new(client)),
    )
}

async fn plain() -> u128 {
    let (acceptor, connector) = unattested();
    let mut nanos = Vec::new();
    for _ in 0..ROUNDS {
        let (ours, theirs) = duplex(1 << 16);
        let name = ServerName::try_from("mulberry").unwrap();
        let began = Instant::now();
        let (accepted, dialled) = tokio::join!(acceptor.accept(ours), connector.connect(name, theirs));
        nanos.push(began.elapsed().as_nanos());
        drop((accepted.unwrap(), dialled.unwrap()));
    }
    median(nanos)
}

#[derive(Debug)]
struct KeyOnly(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for KeyOnly {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
