//! A peer's certificate, read as strictly as one that we make is written.
//!
//! The profile: X.509 v3 in one piece of DER, at most [`MAX_LEN`] bytes, self-issued and self-signed by a key of ours
//! ([`PublicKey`]), no extension twice, nothing critical that we do not know, and evidence in exactly one form:
//! - ours, extension `2.23.133.5.4.9` ([DICE] conceptual message wrapper), not critical; or
//! - Cocoon's, critical extensions `1.3.6.1.4.1.12345.1` (a raw quote) and `.2` (its 32-byte key, which it rebuilds
//!   from the certificate and we compare). Whether such a one is accepted is the policy's word.
//!
//! What this proves: the holder of the key made this certificate. It proves nothing about who that is, nor that the
//! evidence is genuine or names this key: that is appraisal.
//!
//! [DICE]: https://trustedcomputinggroup.org/resource/dice-attestation-architecture/

use attestation::EVIDENCE_OID;
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::{X509Certificate, X509CertificateParser},
    nom::Parser as _,
    x509::X509Version,
};

use crate::key::{KeyKind, PublicKey};

/// Of the certificate. Evidence is at most 32 KiB; the rest of one of ours is below 500 bytes.
pub const MAX_LEN: usize = 36 * 1024;

/// Ours has six extensions and Cocoon's seven.
const MAX_EXTENSIONS: usize = 16;

/// Of Cocoon's quote. 12345 is a number that nobody registered.
pub(crate) const COCOON_QUOTE: &[u64] = &[1, 3, 6, 1, 4, 1, 12345, 1];
/// Of Cocoon's claims.
pub(crate) const COCOON_CLAIMS: &[u64] = &[1, 3, 6, 1, 4, 1, 12345, 2];

/// What may be critical beside Cocoon's: basic constraints, key usage, extended key usage.
const KNOWN: [&[u64]; 3] = [&[2, 5, 29, 19], &[2, 5, 29, 15], &[2, 5, 29, 37]];

/// `AlgorithmIdentifier` of Ed25519 (RFC 8410 §3) and of ECDSA with SHA-256 (RFC 5758 §3.2).
const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];
const ECDSA_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// The certificate of a peer that holds its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: PublicKey,
    spki_sha256: [u8; 32],
    not_before: u64,
    not_after: u64,
    shown: Shown,
}

/// Evidence as it came: not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The content of our extension.
    Evidence(Vec<u8>),
    /// A raw quote.
    Cocoon(Vec<u8>),
}

/// In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefusal {
    #[error("the peer sent {count} certificates more than its own; there is no authority here that could sign one")]
    Chain { count: usize },
    #[error("the certificate has {len} bytes; at most {MAX_LEN} are read")]
    TooLarge { len: usize },
    #[error("the certificate is not one piece of DER that holds an X.509 v3 certificate")]
    Malformed,
    #[error("the certificate's key is neither Ed25519 nor P-256 in its one encoding")]
    Key,
    #[error("the certificate is not issued and signed by its own key")]
    NotSelfSigned,
    #[error("the certificate has {count} extensions; at most {MAX_EXTENSIONS} are read")]
    Extensions { count: usize },
    #[error("the certificate has extension {oid} twice")]
    Repeated { oid: String },
    #[error("the certificate has the critical extension {oid}, which is not known here")]
    Critical { oid: String },
    #[error("the certificate holds no evidence; the peer is not a node of Mulberry")]
    NoEvidence,
    #[error("the certificate holds evidence in more than one form")]
    TwoForms,
    #[error("the certificate's Cocoon claims are not its key")]
    CocoonClaims,
    #[error("the certificate begins at {not_before}, and it is {now}; compare the clocks")]
    NotYet { not_before: u64, now: u64 },
    #[error("the certificate ended at {not_after}, and it is {now}; compare the clocks")]
    Expired { not_after: u64, now: u64 },
}

impl CertificateRefusal {
    /// For metrics, logs and the peer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Chain { .. } => "certificate_chain",
            Self::TooLarge { .. } => "certificate_too_large",
            Self::Malformed => "certificate_malformed",
            Self::Key => "certificate_key",
            Self::NotSelfSigned => "certificate_signature",
            Self::Extensions { .. } => "certificate_extensions",
            Self::Repeated { .. } => "certificate_repeated_extension",
            Self::Critical { .. } => "certificate_critical_extension",
            Self::NoEvidence => "certificate_without_evidence",
            Self::TwoForms => "certificate_two_forms",
            Self::CocoonClaims => "certificate_cocoon_claims",
            Self::NotYet { .. } => "certificate_not_yet_valid",
            Self::Expired { .. } => "certificate_expired",
        }
    }
}

impl Certificate {
    /// Cheap until the last step, which is one signature: a flood costs little before it.
    pub fn read(der: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: u64) -> Result<Self, CertificateRefusal> {
        if !others.is_empty() {
            return Err(CertificateRefusal::Chain { count: others.len() });
        }
        if der.len() > MAX_LEN {
            return Err(CertificateRefusal::TooLarge { len: der.len() });
        }
        let x509 = parse(der)?;
        let key = PublicKey::from_spki(x509.tbs_certificate.subject_pki.raw).ok_or(CertificateRefusal::Key)?;
        if !is_framed(der, &x509, key.kind()) {
            return Err(CertificateRefusal::NotSelfSigned);
        }
        let shown = shown(&x509, &key)?;
        let (not_before, not_after) = dates(&x509)?;
        if now < not_before {
            return Err(CertificateRefusal::NotYet { not_before, now });
        }
        if now >= not_after {
            return Err(CertificateRefusal::Expired { not_after, now });
        }
        if !key.signed(x509.tbs_certificate.as_ref(), &x509.signature_value.data) {
            return Err(CertificateRefusal::NotSelfSigned);
        }
        Ok(Self {
            key,
            spki_sha256: key.spki_sha256(),
            not_before,
            not_after,
            shown,
        })
    }

    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    pub fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }

    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// The certificate's own date. The evidence has one too, and the earlier rules.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    pub fn shown(&self) -> &Shown {
        &self.shown
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateRefusal> {
    // The contents of extensions are read by us, those that we read at all.
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let (rest, x509) = parser.parse(der).map_err(|_syntax| CertificateRefusal::Malformed)?;
    let whole = rest.is_empty() && x509.version() == X509Version::V3 && x509.signature_value.unused_bits == 0;
    whole.then_some(x509).ok_or(CertificateRefusal::Malformed)
}

/// Issued by itself, and around what is signed exactly the bytes that belong there: no signature covers those, and a
/// lenient reader would let them vary.
fn is_framed(der: &CertificateDer<'_>, x509: &X509Certificate<'_>, kind: KeyKind) -> bool {
    let algorithm = match kind {
        KeyKind::Ed25519 => ED25519,
        KeyKind::P256 => ECDSA_SHA256,
    };
    let signed = x509.tbs_certificate.as_ref();
    let signature = &x509.signature_value.data;
    // Neither kind of signature is long enough for more than one byte of length.
    let Ok(length @ 1..=0x7f) = u8::try_from(signature.len() + 1) else {
        return false;
    };
    let after = [algorithm, &[0x03, length, 0x00], signature].concat();
    let body = [signed, &after].concat();
    x509.issuer().as_raw() == x509.subject().as_raw()
        && der.ends_with(&body)
        && der.starts_with(&sequence(body.len()))
        && der.len() - body.len() == sequence(body.len()).len()
}

/// Tag and length of a SEQUENCE (X.690 §10.1); one of 64 KiB or more is not read.
fn sequence(len: usize) -> Vec<u8> {
    match u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes() {
        [0, low @ ..0x80] => vec![0x30, low],
        [0, low] => vec![0x30, 0x81, low],
        [high, low] => vec![0x30, 0x82, high, low],
    }
}

fn shown(x509: &X509Certificate<'_>, key: &PublicKey) -> Result<Shown, CertificateRefusal> {
    let count = x509.extensions().len();
    if count > MAX_EXTENSIONS {
        return Err(CertificateRefusal::Extensions { count });
    }
    let mut seen = Vec::with_capacity(count);
    let (mut evidence, mut quote, mut claims) = (None, None, None);
    for extension in x509.extensions() {
        let oid = extension.oid.to_id_string();
        if seen.contains(&oid) {
            return Err(CertificateRefusal::Repeated { oid });
        }
        let is = |arcs: &[u64]| extension.oid.iter().is_some_and(|own| own.eq(arcs.iter().copied()));
        if is(&EVIDENCE_OID) {
            evidence = Some(extension.value);
        } else if is(COCOON_QUOTE) {
            quote = Some(extension.value);
        } else if is(COCOON_CLAIMS) {
            claims = Some(extension.value);
        } else if extension.critical && !KNOWN.iter().any(|known| is(known)) {
            return Err(CertificateRefusal::Critical { oid });
        }
        seen.push(oid);
    }
    match (evidence, quote, claims) {
        (Some(evidence), None, None) => Ok(Shown::Evidence(evidence.to_vec())),
        (None, Some(quote), Some(claims)) => match key {
            PublicKey::Ed25519(key) if key == claims => Ok(Shown::Cocoon(quote.to_vec())),
            _ => Err(CertificateRefusal::CocoonClaims),
        },
        (None, _, _) => Err(CertificateRefusal::NoEvidence),
        (Some(_), _, _) => Err(CertificateRefusal::TwoForms),
    }
}

fn dates(x509: &X509Certificate<'_>) -> Result<(u64, u64), CertificateRefusal> {
    let validity = x509.validity();
    let seconds = |time: x509_parser::time::ASN1Time| {
        u64::try_from(time.timestamp()).map_err(|_before_1970| CertificateRefusal::Malformed)
    };
    Ok((seconds(validity.not_before)?, seconds(validity.not_after)?))
}
