//! What attestation costs a connection, beside TLS without it: `cargo bench -p attestation-ratls`.
//!
//! Both ends share one thread and no network. Each figure is the median; the ratio is to plain TLS of the same suite, key
//! exchange and key, in the same run.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it prints its figures, and one that fails has none"
)]

#[expect(dead_code, reason = "the tests need more of this world than the figures do")]
#[path = "../tests/sockets/world.rs"]
mod world;

use std::{sync::Arc, time::Instant};

use attestation::{Role, Tier};
use attestation_ratls::{Admit, Endpoint};
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
use tokio::io::duplex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use world::{NOW, World, draft, expect, guest, keep, policy};

const ROUNDS: usize = 200;

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
async fn plain() -> u128 {
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
    let (acceptor, connector) = (
        TlsAcceptor::from(Arc::new(server)),
        TlsConnector::from(Arc::new(client)),
    );
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
