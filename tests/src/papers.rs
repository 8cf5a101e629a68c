//! What a node shows in its certificate, put together by hand, so that each part can be a lie.

use std::time::{Duration, UNIX_EPOCH};

use attestation::{Claims, EVIDENCE_OID, Evidence, Role, binding};
use attestation_ratls::{Key, KeyKind};
use attestation_soft_tdx::SoftTdx;
use rcgen::{CertificateParams, CustomExtension, KeyPair, date_time_ymd};
use rustls_pki_types::CertificateDer;

/// A certificate before it is signed.
#[derive(Clone)]
pub struct Papers {
    pub key: Key,
    pub claims: Claims,
    /// Who quotes. Without one the papers prove a key and nothing more.
    pub guest: Option<SoftTdx>,
    /// What the quote was made for, where that is something else than these claims.
    pub quoted: Option<Claims>,
}

impl Papers {
    /// As an honest node in this guest has them.
    #[must_use]
    pub fn sound(role: Role, guest: &SoftTdx) -> Self {
        Self {
            guest: Some(guest.clone()),
            ..Self::keyed(role)
        }
    }

    /// As an honest node without a guest has them.
    #[must_use]
    pub fn keyed(role: Role) -> Self {
        let key = Key::generate(KeyKind::Ed25519).expect("the system has randomness");
        let now = now();
        let claims = Claims::new(role, *key.spki_sha256(), now - 60, now + 3600);
        Self {
            key,
            claims,
            guest: None,
            quoted: None,
        }
    }

    #[must_use]
    pub fn certificate(&self) -> CertificateDer<'static> {
        let date = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let mut params = CertificateParams::default();
        // These are the holder's word; those of the claims are the guest's.
        params.not_before = date(now() - 60);
        params.not_after = date(now() + 3600);
        let evidence = self.evidence().encode();
        params
            .custom_extensions
            .push(CustomExtension::from_oid_content(&EVIDENCE_OID, evidence));
        let pair = KeyPair::try_from(self.key.to_pkcs8()).expect("it is a key");
        params.self_signed(&pair).expect("a certificate can be signed").into()
    }

    fn evidence(&self) -> Evidence {
        let quote = self.guest.as_ref().map(|guest| {
            let quoted = self.quoted.as_ref().unwrap_or(&self.claims);
            let report_data = binding::certificate_report_data(quoted.role, &quoted.spki_sha256.0, &quoted.encode());
            guest.quote(&report_data.expect("claims are some hundred bytes"))
        });
        Evidence {
            quote,
            claims: self.claims.encode(),
        }
    }
}

/// Unix time in seconds.
#[must_use]
pub fn now() -> u64 {
    UNIX_EPOCH.elapsed().expect("it is past 1970").as_secs()
}
