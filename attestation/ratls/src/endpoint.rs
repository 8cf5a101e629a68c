//! Handshakes, of both directions: TLS 1.3, our certificate, the peer's verifier, no resumption.
//!
//! A resumed session would skip the verifier, so that a peer revoked since its first handshake comes in again: nothing is
//! ever stored or sent that a session could be resumed from, on either side, nor is early data.

use std::{io, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, ServerConfig, client::Resumption, server::NoServerSessionStorage, sign::SingleCertAndKey,
    time_provider::TimeProvider,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::{
    channel::Binder,
    connection::Connection,
    identity::{Identities, Identity},
    peer::{Expect, PeerRefusal},
    provider::{VERSIONS, provider},
    trust::Trust,
    verifier::PeerVerifier,
};

/// For a handshake.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The name in the client's hello, which TLS wants and nobody looks at; never a host's.
const NAME: &str = "mulberry";

/// Who we are and whom we accept, for as many connections as there are.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub trust: Arc<Trust>,
    /// Without it we show nothing, which only [`Admit::Anyone`] accepts.
    pub identities: Option<Arc<Identities>>,
    /// In order of preference; both sides must name one in common, unless it is empty.
    pub alpn: Vec<Vec<u8>>,
    pub clock: Arc<dyn TimeProvider>,
}

/// Of a listener: whom it lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// A certificate that is accepted, from everybody.
    Certified,
    /// No certificate, or one that is accepted: apps' sides, which check us.
    Anyone,
}

/// In order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("a listener needs a certificate of its own")]
    NoIdentity,
    #[error("our TLS settings are not ones")]
    Settings(#[source] rustls::Error),
    #[error("the peer was not accepted")]
    Refused(#[source] PeerRefusal),
    #[error("the handshake was not done within {} s", DEADLINE.as_secs())]
    Slow,
    #[error("the handshake failed")]
    Failed(#[source] io::Error),
}

impl HandshakeError {
    /// For metrics, logs and tests.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoIdentity | Self::Settings(_) => "own_settings",
            Self::Refused(refusal) => refusal.code(),
            Self::Slow => "handshake_slow",
            Self::Failed(_) => "handshake_failed",
        }
    }
}

impl Endpoint {
    /// As the one who dials.
    ///
    /// Done is not yet accepted: in TLS 1.3 the server looks at our certificate after we are finished.
    pub async fn connect<IO>(&self, io: IO, expect: Expect) -> Result<Connection<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let identity = self.identities.as_ref().map(|identities| identities.current());
        let verifier = self.verifier(identity.as_deref(), expect, Admit::Certified);
        let config = self.client(identity.as_deref(), Arc::clone(&verifier))?;
        let name = ServerName::try_from(NAME).expect("it is a name");
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, io);
        let tls = finish(handshake, &verifier).await?;
        let peer = verifier.found().transpose().map_err(HandshakeError::Refused)?;
        Ok(Connection::new(TlsStream::Client(tls), peer, identity))
    }

    /// As the one who listens.
    pub async fn accept<IO>(&self, io: IO, expect: Expect, admit: Admit) -> Result<Connection<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let identity = self.identities.as_ref().ok_or(HandshakeError::NoIdentity)?.current();
        let verifier = self.verifier(Some(&identity), expect, admit);
        let config = self.server(&identity, Arc::clone(&verifier))?;
        let handshake = TlsAcceptor::from(Arc::new(config)).accept(io);
        let tls = finish(handshake, &verifier).await?;
        let peer = verifier.found().transpose().map_err(HandshakeError::Refused)?;
        Ok(Connection::new(TlsStream::Server(tls), peer, Some(identity)))
    }

    /// What binds a connection that was made here. Nothing confidential is sent before it stands.
    pub fn binder<IO>(&self, connection: &Connection<IO>) -> Binder
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Binder::new(
            connection.handle(),
            connection.identity().cloned(),
            connection.peer().cloned(),
            self.trust.generation(),
            Arc::clone(&self.clock),
        )
    }

    fn verifier(&self, identity: Option<&Identity>, expect: Expect, admit: Admit) -> Arc<PeerVerifier> {
        let ours = identity.map_or([0; 32], |identity| *identity.spki_sha256());
        let anonymous = admit == Admit::Anyone;
        Arc::new(PeerVerifier::new(expect, Arc::clone(&self.trust), ours, anonymous))
    }

    fn client(&self, identity: Option<&Identity>, verifier: Arc<PeerVerifier>) -> Result<ClientConfig, HandshakeError> {
        let builder = ClientConfig::builder_with_details(Arc::clone(provider()), Arc::clone(&self.clock))
            .with_protocol_versions(VERSIONS)
            .map_err(HandshakeError::Settings)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(identity) => {
                let resolver = SingleCertAndKey::from(Arc::clone(identity.certified()));
                builder.with_client_cert_resolver(Arc::new(resolver))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }

    fn server(&self, identity: &Identity, verifier: Arc<PeerVerifier>) -> Result<ServerConfig, HandshakeError> {
        let resolver = SingleCertAndKey::from(Arc::clone(identity.certified()));
        let mut config = ServerConfig::builder_with_details(Arc::clone(provider()), Arc::clone(&self.clock))
            .with_protocol_versions(VERSIONS)
            .map_err(HandshakeError::Settings)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(resolver));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(config)
    }
}

async fn finish<T>(
    handshake: impl Future<Output = io::Result<T>>,
    verifier: &PeerVerifier,
) -> Result<T, HandshakeError> {
    match tokio::time::timeout(DEADLINE, handshake).await {
        Ok(Ok(tls)) => Ok(tls),
        Ok(Err(error)) => match verifier.found() {
            Some(Err(refusal)) => Err(HandshakeError::Refused(refusal)),
            _ => Err(HandshakeError::Failed(error)),
        },
        Err(_elapsed) => Err(HandshakeError::Slow),
    }
}
