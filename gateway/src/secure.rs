//! Secure: the connection between a gateway and a worker, whichever of them dialled, and who is at its other end.
//!
//! TLS 1.3 with X25519MLKEM768 and nothing else; both ends show a certificate; ALPN is `mulberry-worker/1`; no session is resumed, because a resumed one skips the look at the certificate.
//! A certificate here is no more than a public key: who it is stands in the configuration, by the SHA-256 of its SubjectPublicKeyInfo, and no authority is asked.
//! The handshake proves that the peer has the private key of a certificate that is pinned, and so its tier is `open`: nothing is said about the machine.
//!
//! This is the seam of attestation: a peer with evidence is made a [`Peer`] of a higher tier here, and nothing above it changes.

use std::{fmt, io, sync::Arc, time::Duration};

use backends::verdict::Tier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    server::{
        NoServerSessionStorage, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::config::KeyDigest;

pub(crate) use identity::{Identity, IdentityError};

mod identity;

/// What both ends must speak.
const ALPN: &[u8] = b"mulberry-worker/1";
/// From the first byte to a finished handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// No certificate of ours is near this, with evidence or without.
const MAX_CERTIFICATE: usize = 64 * 1024;

/// Who is at the other end, as the handshake proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) key: KeyDigest,
    /// What protects a prompt there.
    pub(crate) tier: Tier,
}

/// Whether a key is one that we know. Asked before anything is computed for the peer.
pub(crate) type Admits = Arc<dyn Fn(&KeyDigest) -> bool + Send + Sync>;

/// A stream on which both ends are known.
pub(crate) type Stream = TlsStream<TcpStream>;

/// Why there is no connection, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecureError {
    #[error("the handshake took longer than {HANDSHAKE:?}")]
    Timeout,
    #[error("the handshake failed")]
    Tls(#[source] io::Error),
    #[error("the peer speaks another protocol than mulberry-worker/1")]
    Protocol,
    #[error("the peer showed no certificate")]
    NoCertificate,
}

/// Opens and accepts connections under one identity.
#[derive(Clone)]
pub(crate) struct Secure {
    dialling: TlsConnector,
    accepting: TlsAcceptor,
}

impl Secure {
    /// `admits` decides on every peer, whoever dialled.
    pub(crate) fn new(identity: &Identity, admits: Admits) -> Result<Self, rustls::Error> {
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
            ..aws_lc_rs::default_provider()
        });
        let pinned = Arc::new(Pinned {
            admits,
            algorithms: provider.signature_verification_algorithms,
        });
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(pinned.clone())
            .with_client_auth_cert(vec![identity.certificate()], identity.private_key())?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(pinned)
            .with_single_cert(vec![identity.certificate()], identity.private_key())?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self {
            dialling: TlsConnector::from(Arc::new(client)),
            accepting: TlsAcceptor::from(Arc::new(server)),
        })
    }

    /// The handshake of whoever dialled.
    pub(crate) async fn dial(&self, tcp: TcpStream) -> Result<(Stream, Peer), SecureError> {
        // Of no meaning: the key is pinned, and the name is not sent.
        let name = ServerName::try_from("mulberry").map_err(|_| SecureError::Protocol)?;
        let stream = by_clock(self.dialling.connect(name, tcp)).await?;
        known(stream.into())
    }

    /// The handshake of whoever listened.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> Result<(Stream, Peer), SecureError> {
        let stream = by_clock(self.accepting.accept(tcp)).await?;
        known(stream.into())
    }
}

async fn by_clock<T>(handshake: impl Future<Output = io::Result<T>>) -> Result<T, SecureError> {
    let done = tokio::time::timeout(HANDSHAKE, handshake).await;
    done.map_err(|_| SecureError::Timeout)?.map_err(SecureError::Tls)
}

fn known(stream: Stream) -> Result<(Stream, Peer), SecureError> {
    let (_, state) = stream.get_ref();
    if state.alpn_protocol() != Some(ALPN) {
        return Err(SecureError::Protocol);
    }
    let shown = state.peer_certificates().and_then(|chain| chain.first());
    let key = shown.and_then(key_digest).ok_or(SecureError::NoCertificate)?;
    let peer = Peer { key, tier: Tier::Open };
    Ok((stream, peer))
}

/// The SHA-256 of the public key in a certificate.
fn key_digest(certificate: &CertificateDer<'_>) -> Option<KeyDigest> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    Some(KeyDigest(Sha256::digest(parsed.subject_public_key_info()).into()))
}

/// Accepts the certificates of known keys, whoever signed them, from those who have the private key.
struct Pinned {
    admits: Admits,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    fn check(&self, certificate: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        if certificate.len() > MAX_CERTIFICATE || !rest.is_empty() {
            return Err(CertificateError::BadEncoding.into());
        }
        let key = key_digest(certificate).ok_or(CertificateError::BadEncoding)?;
        if !(self.admits)(&key) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(())
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pinned")
    }
}

/// There is no TLS 1.2 here.
fn no_tls12() -> rustls::Error {
    rustls::Error::General("TLS 1.3 only".to_owned())
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(certificate, rest)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.check(certificate, rest)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn of(identity: &Identity, known: &[KeyDigest]) -> Secure {
        let known = known.to_vec();
        Secure::new(identity, Arc::new(move |key| known.contains(key))).expect("a configuration")
    }

    /// What each end says of a handshake: the dialler, then the one that listened.
    async fn meet(dialling: &Secure, accepting: &Secure) -> [Result<KeyDigest, String>; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let dialled = async {
            let tcp = TcpStream::connect(address).await.expect("it listens");
            let met = dialling.dial(tcp).await;
            let (mut stream, peer) = met.map_err(|error| error.to_string())?;
            // In TLS 1.3 the one who dialled is done first, and hears of a refusal when it reads.
            let mut byte = [0];
            let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut byte).await;
            read.map(|_| peer.key).map_err(|error| error.kind().to_string())
        };
        let accepted = async {
            let (tcp, _) = listener.accept().await.expect("somebody dials");
            let met = accepting.accept(tcp).await;
            let (mut stream, peer) = met.map_err(|error| error.to_string())?;
            let written = tokio::io::AsyncWriteExt::write_all(&mut stream, b"!").await;
            let flushed = tokio::io::AsyncWriteExt::flush(&mut stream).await;
            written
                .and(flushed)
                .map(|()| peer.key)
                .map_err(|error| error.kind().to_string())
        };
        let (dialled, accepted) = tokio::join!(dialled, accepted);
        [dialled, accepted]
    }

    #[tokio::test]
    async fn both_ends_know_each_other_by_their_keys() {
        let gateway = Identity::make().expect("a key");
        let worker = Identity::make().expect("a key");
        let met = meet(&of(&worker, &[gateway.key()]), &of(&gateway, &[worker.key()])).await;
        assert_eq!(met, [Ok(gateway.key()), Ok(worker.key())]);
    }

    #[tokio::test]
    async fn a_stranger_at_either_end_is_refused() {
        let gateway = Identity::make().expect("a key");
        let worker = Identity::make().expect("a key");
        let stranger = Identity::make().expect("a key");
        let [dialled, accepted] = meet(&of(&stranger, &[gateway.key()]), &of(&gateway, &[worker.key()])).await;
        assert!(dialled.is_err() && accepted.is_err(), "{dialled:?} {accepted:?}");
        let [dialled, accepted] = meet(&of(&worker, &[gateway.key()]), &of(&stranger, &[worker.key()])).await;
        assert!(dialled.is_err() && accepted.is_err(), "{dialled:?} {accepted:?}");
    }
}
