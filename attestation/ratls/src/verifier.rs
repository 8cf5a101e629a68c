//! The rustls verifier of one handshake, of either direction.
//!
//! One is made for each connection, so that it knows where the peer is expected to come from and what was found out
//! about it stays with the connection. It does no I/O.
//!
//! No name and no authority is looked at: a peer is what its evidence says. Its key's signature over the handshake is
//! checked with the key alone, because rustls' own way parses the certificate again and refuses extensions that are
//! critical in Cocoon's.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::verify_tls13_signature_with_raw_key,
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};

use crate::{
    certificate::Certificate,
    peer::{Expect, Peer, PeerRefusal},
    provider::{SCHEMES, algorithms},
    trust::Trust,
};

pub(crate) struct PeerVerifier {
    expect: Expect,
    trust: Arc<Trust>,
    /// SHA-256 of the key that we show; zeros where we show none.
    ours: [u8; 32],
    /// Of a server: whether a peer may show nothing.
    anonymous: bool,
    found: OnceLock<(CertificateDer<'static>, Result<Arc<Peer>, PeerRefusal>)>,
}

impl PeerVerifier {
    pub(crate) fn new(expect: Expect, trust: Arc<Trust>, ours: [u8; 32], anonymous: bool) -> Self {
        Self {
            expect,
            trust,
            ours,
            anonymous,
            found: OnceLock::new(),
        }
    }

    /// After the handshake: whom it found; `None` where no certificate came.
    pub(crate) fn found(&self) -> Option<Result<Arc<Peer>, PeerRefusal>> {
        self.found.get().map(|(_, found)| found.clone())
    }

    fn check(&self, der: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let now = now.as_secs();
        let found = Certificate::read(der, others, now)
            .map_err(PeerRefusal::Certificate)
            .and_then(|certificate| Peer::appraise(certificate, self.expect, &self.trust, self.ours, now))
            .map(Arc::new);
        let (_, found) = self.found.get_or_init(|| (der.clone().into_owned(), found));
        match found {
            Ok(_) => Ok(()),
            // What was found out is with us; the peer gets an alert.
            Err(_) => Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            )),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let Some((der, Ok(peer))) = self.found.get() else {
            return Err(Error::General("a signature before a certificate".to_owned()));
        };
        if der != certificate {
            return Err(Error::General("a signature for another certificate".to_owned()));
        }
        let spki = SubjectPublicKeyInfoDer::from(peer.key().spki());
        verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms())
    }
}

fn no_tls12() -> Error {
    Error::General("a signature of TLS 1.2, which is not spoken here".to_owned())
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.anonymous
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier")
            .field("expect", &self.expect)
            .finish_non_exhaustive()
    }
}
