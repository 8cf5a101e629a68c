//! Peers that speak TLS otherwise than our endpoints do: older versions, resumption, early data, no certificate.

use std::sync::Arc;

use attestation::{Role, Tier};
use attestation_ratls::{Admit, Draft};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
    SupportedProtocolVersion,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::world::{ALPN, NOW, Soft, World, draft, expect, guest, policy, sockets};

/// Accepts every server: what is tested is the server.
#[derive(Debug)]
struct Blind;

impl ServerCertVerifier for Blind {
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
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// A worker of its own make: any chain, any version, and every kind of resumption that there is.
pub(crate) fn raw_client(
    chain: Vec<CertificateDer<'static>>,
    key: &attestation_ratls::Key,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.to_pkcs8()));
    let key = provider.key_provider.load_private_key(key).unwrap();
    // Whole chains and unknown extensions too, which the usual constructor refuses.
    let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind))
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    config.resumption = Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

/// What a gateway says of such a worker, and how the worker's handshake went.
pub(crate) async fn raw_meet(world: &World, config: &Arc<ClientConfig>) -> (String, Option<HandshakeKind>) {
    let (accepted, dialled) = sockets().await;
    let dial = async {
        let name = ServerName::try_from("mulberry").unwrap();
        let mut tls = TlsConnector::from(Arc::clone(config))
            .connect(name, dialled)
            .await
            .ok()?;
        // Tickets, if there were any, come with the first bytes.
        tls.write_all(b"ping").await.ok()?;
        tls.read_exact(&mut [0; 4]).await.ok()?;
        let (_, connection): (&TcpStream, &ClientConnection) = tls.get_ref();
        connection.handshake_kind()
    };
    let accept = async {
        match world
            .gateway
            .accept(accepted, expect(Role::Worker), Admit::Certified)
            .await
        {
            Ok(mut connection) => {
                connection.read_exact(&mut [0; 4]).await.unwrap();
                connection.write_all(b"pong").await.unwrap();
                "accepted".to_owned()
            }
            Err(error) => error.code().to_owned(),
        }
    };
    tokio::join!(accept, dial)
}

pub(crate) fn worker_with_known_key() -> (attestation_ratls::Key, Draft) {
    let key = attestation_ratls::Key::generate(attestation_ratls::KeyKind::Ed25519).unwrap();
    let draft = Draft {
        keys: attestation_ratls::Keys::Own(key.clone()),
        ..draft(Role::Worker, Some(Soft::honest(&guest("worker"))))
    };
    (key, draft)
}

#[tokio::test]
async fn a_session_is_never_resumed() {
    let (key, draft) = worker_with_known_key();
    let world = World::with(policy(Tier::Tee), &draft);
    let chain = vec![draft.issue(NOW).unwrap().certificate().clone()];
    let config = raw_client(chain, &key, &rustls::version::TLS13);
    for _ in 0..3 {
        let (verdict, kind) = raw_meet(&world, &config).await;
        assert_eq!(verdict, "accepted");
        assert!(
            matches!(
                kind,
                Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
            ),
            "{kind:?}"
        );
    }
    // So one that is revoked since does not come in by an old session.
    let mut without = policy(Tier::Tee);
    without.images.retain(|image| image.name != "worker");
    world.trust.set_policy(without).unwrap();
    assert_eq!(raw_meet(&world, &config).await, ("image_unknown".to_owned(), None));
}

#[tokio::test]
async fn tls_1_2_is_not_spoken() {
    let (key, draft) = worker_with_known_key();
    let world = World::with(policy(Tier::Tee), &draft);
    let chain = vec![draft.issue(NOW).unwrap().certificate().clone()];
    let config = raw_client(chain, &key, &rustls::version::TLS12);
    assert_eq!(raw_meet(&world, &config).await, ("handshake_failed".to_owned(), None));
}

#[tokio::test]
async fn a_certificate_without_its_key_is_refused() {
    let (_, draft) = worker_with_known_key();
    let world = World::with(policy(Tier::Tee), &draft);
    let chain = vec![draft.issue(NOW).unwrap().certificate().clone()];
    let stranger = attestation_ratls::Key::generate(attestation_ratls::KeyKind::Ed25519).unwrap();
    let config = raw_client(chain, &stranger, &rustls::version::TLS13);
    assert_eq!(raw_meet(&world, &config).await, ("handshake_failed".to_owned(), None));
}

#[tokio::test]
async fn a_chain_is_refused() {
    let (key, draft) = worker_with_known_key();
    let world = World::with(policy(Tier::Tee), &draft);
    let certificate = draft.issue(NOW).unwrap().certificate().clone();
    let config = raw_client(vec![certificate.clone(), certificate], &key, &rustls::version::TLS13);
    assert_eq!(raw_meet(&world, &config).await, ("certificate_chain".to_owned(), None));
}
