//! What a file holds: a quote, a certificate with evidence in it, or a bundle.

use std::path::Path;

use attestation::{Bundle, Evidence, Quote, bundle::BundleRefusal};
use attestation_ratls::{Certificate, CertificateRefusal, Shown};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use super::{Unusable, read};

pub(super) enum Sample {
    Quote {
        bytes: Vec<u8>,
        /// Zeros that stood behind it.
        padding: usize,
    },
    Certificate(Box<Certificate>),
    /// Its text, of which nothing was looked at.
    Bundle(Vec<u8>),
}

impl Sample {
    /// Dates of a certificate are not compared with anything here.
    pub(super) fn read(path: &Path) -> Result<Self, Unusable> {
        let read = read(path)?;
        // What is wrong with one that could be a bundle is told when it is looked at.
        if read.starts_with(b"{") && !matches!(Bundle::read(&read), Err(BundleRefusal::Malformed { .. })) {
            return Ok(Self::Bundle(read));
        }
        let bytes = from_hex(&read).unwrap_or(read);
        if !is_quote(&bytes) {
            if bytes.starts_with(&[0x30, 0x82]) {
                return certificate(&CertificateDer::from(bytes), path);
            }
            // Last, for the others have certificates in PEM within them.
            if let Ok(der) = CertificateDer::from_pem_slice(&bytes) {
                return certificate(&der, path);
            }
            return Err(Unusable::Neither { path: path.to_owned() });
        }
        let len = Quote::unpadded(&bytes).map_or(bytes.len(), <[u8]>::len);
        let padding = bytes.len() - len;
        let mut bytes = bytes;
        bytes.truncate(len);
        Ok(Self::Quote { bytes, padding })
    }

    /// The quote, wherever it is.
    pub(super) fn quote(&self) -> Option<Vec<u8>> {
        match self {
            Self::Quote { bytes, .. } => Some(bytes.clone()),
            Self::Certificate(certificate) => match certificate.shown() {
                Shown::Evidence(evidence) => Evidence::decode(evidence).ok()?.quote,
                Shown::Cocoon(quote) => Some(Quote::unpadded(quote).unwrap_or(quote).to_vec()),
            },
            Self::Bundle(text) => Bundle::read(text).ok()?.exchange().evidence.quote.clone(),
        }
    }
}

/// An old one is read as of a moment when it held: whether it holds is asked when it is appraised.
fn certificate(der: &CertificateDer<'_>, path: &Path) -> Result<Sample, Unusable> {
    let mut read = Certificate::read(der, &[], 0);
    if let Err(CertificateRefusal::NotYet { not_before, .. }) = read {
        read = Certificate::read(der, &[], not_before);
    }
    let certificate = read.map_err(|source| Unusable::Certificate {
        path: path.to_owned(),
        source,
    })?;
    Ok(Sample::Certificate(Box::new(certificate)))
}

/// The version of a quote, 3 to 5, and the kind of its key, 2 or 3.
fn is_quote(bytes: &[u8]) -> bool {
    matches!(bytes, [3..=5, 0, 2..=3, 0, ..])
}

pub(super) fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let (pairs, odd) = digits.as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        u8::try_from(high? << 4 | low?).ok()
    };
    if pairs.is_empty() || !odd.is_empty() {
        return None;
    }
    pairs.iter().map(byte).collect()
}
