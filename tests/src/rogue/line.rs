//! Under the conversation: TLS that shows any certificate and looks at none, and lines in a stream of HTTP/2.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use attestation::binding::EXPORTER_LABEL;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, HandshakeKind, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::papers::Papers;
use crate::tape::Recorded;

/// Where a worker answers the control stream.
pub const CONTROL: &str = "/mulberry/worker/v1/control";
const ALPN: &[u8] = b"mulberry-worker/1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    Tls12,
    Tls13,
}

/// A client's configuration that shows these papers, keeps every ticket and would send early data.
fn config(papers: &Papers, versions: Versions) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(papers.key.to_pkcs8()));
    let key = provider.key_provider.load_private_key(key).expect("it is a key");
    let certified = Arc::new(CertifiedKey::new(vec![papers.certificate()], key));
    let version = match versions {
        Versions::Tls12 => &TLS12,
        Versions::Tls13 => &TLS13,
    };
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .expect("the provider has this version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Blind(provider)))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.resumption = Resumption::in_memory_sessions(8);
    config.enable_early_data = true;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

pub(super) async fn dial(papers: &Papers, tcp: Recorded<TcpStream>) -> io::Result<Joint> {
    let connector = TlsConnector::from(config(papers, Versions::Tls13));
    let tls = connector.connect(name(), tcp).await?;
    Ok(Joint(Arc::new(Mutex::new(tls))))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("mulberry").expect("it is a name")
}

/// Shakes hands again and again as one client that remembers its sessions, and says how each handshake was made: whole,
/// or by resuming an earlier one. Nothing where the gateway did not let it in.
pub async fn knock(papers: &Papers, versions: Versions, address: &str, times: usize) -> Vec<Option<HandshakeKind>> {
    let config = config(papers, versions);
    let mut kinds = Vec::new();
    for _ in 0..times {
        kinds.push(knock_once(config.clone(), address).await.ok());
    }
    kinds
}

async fn knock_once(config: Arc<ClientConfig>, address: &str) -> io::Result<HandshakeKind> {
    let tcp = TcpStream::connect(address).await?;
    let mut tls = TlsConnector::from(config).connect(name(), tcp).await?;
    // The gateway speaks first, once it has let us in; tickets come before that.
    tls.read_exact(&mut [0; 1]).await?;
    let kind = tls.get_ref().1.handshake_kind();
    kind.ok_or_else(|| io::Error::other("there was no handshake"))
}

/// The other end's certificate is not looked at: it is the other end that is tested.
#[derive(Debug)]
struct Blind(Arc<CryptoProvider>);

impl ServerCertVerifier for Blind {
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
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// One connection, in the hands of whoever serves it and of whoever speaks about it.
#[derive(Clone)]
pub(super) struct Joint(Arc<Mutex<TlsStream<Recorded<TcpStream>>>>);

impl Joint {
    fn lock(&self) -> MutexGuard<'_, TlsStream<Recorded<TcpStream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn export(&self, nonce: &[u8; 32]) -> [u8; 32] {
        let tls = self.lock();
        let exported = tls
            .get_ref()
            .1
            .export_keying_material([0; 32], EXPORTER_LABEL, Some(nonce));
        exported.expect("the handshake is done")
    }

    /// SHA-256 of the other end's public key.
    pub(super) fn peer_spki(&self) -> [u8; 32] {
        let tls = self.lock();
        let shown = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let shown = shown.expect("a server has a certificate");
        let parsed = ParsedCertificate::try_from(shown).expect("the handshake has read it");
        Sha256::digest(parsed.subject_public_key_info()).into()
    }

    pub(super) fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let filled = aws_lc_rs::default_provider().secure_random.fill(&mut bytes);
        filled.expect("the system has randomness");
        bytes
    }
}

impl AsyncRead for Joint {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Joint {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.lock()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.lock()).poll_shutdown(cx)
    }
}

/// The lines of a body.
pub(super) struct Lines {
    body: Incoming,
    read: BytesMut,
}

impl Lines {
    pub(super) fn of(body: Incoming) -> Self {
        Self {
            body,
            read: BytesMut::new(),
        }
    }

    /// The next, without its end; what was read of it stays when the wait is given up.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end + 1).freeze();
                return Some(line.slice(..end));
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.read.extend_from_slice(&data);
            }
        }
    }
}

/// A body of what is put into a queue, open as long as the queue is.
pub(super) struct Queue(mpsc::Receiver<Bytes>);

pub(super) fn queue() -> (mpsc::Sender<Bytes>, Queue) {
    let (sender, receiver) = mpsc::channel(16);
    (sender, Queue(receiver))
}

impl Body for Queue {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| Some(Ok(Frame::data(bytes?))))
    }
}
