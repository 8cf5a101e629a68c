//! What `dcap-qvl` is given to calculate with.
//!
//! The crate's own choices, ring and RustCrypto, stay out of the program: TLS has aws-lc-rs already, and two libraries
//! would be twice to watch.

use dcap_qvl::{
    config::{Config, CryptoProvider},
    signature::DerSigEncoder,
    x509::X509CertBackend,
};
use rustls_pki_types::SignatureVerificationAlgorithm;

use crate::digest::{sha256, sha384};

/// The crate's own audited readers, with our arithmetic.
pub(super) struct AwsLc;

impl Config for AwsLc {
    type X509 = X509CertBackend;
    type SigEncoder = DerSigEncoder;
    type Crypto = Self;
}

impl CryptoProvider for AwsLc {
    fn sig_algo() -> &'static dyn SignatureVerificationAlgorithm {
        webpki::aws_lc_rs::ECDSA_P256_SHA256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        sha256(&[data]).0
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        sha384(&[data]).0
    }
}
