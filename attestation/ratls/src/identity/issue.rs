//! Making one certificate.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use attestation::{Attester, Claims, EVIDENCE_OID, Evidence, Hex, NoQuote, Role, binding, gpu::GpuEvidence};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use super::Identity;
use crate::{
    certificate::{COCOON_CLAIMS, COCOON_QUOTE},
    key::{BadKey, Key, KeyKind, PublicKey},
};

/// As long as claims may hold.
pub const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Before now: a peer's clock may be behind ours.
const SKEW_S: u64 = 300;

/// Past this date the certificate's own format of dates ends (RFC 5280 §4.1.2.5): 9999-12-31.
const LAST_DATE: u64 = 253_402_300_799;

/// What a certificate is made from. Each one that is issued is quoted anew.
#[derive(Clone)]
pub struct Draft {
    pub role: Role,
    pub keys: Keys,
    pub lifetime: Duration,
    pub format: Format,
    /// Without one the node is keyed, tier `open`.
    pub attester: Option<Arc<dyn Attester>>,
    /// What else the claims name; role, key and dates are filled in.
    pub receipt_key: Option<Hex<32>>,
    pub payee_key: Option<Hex<32>>,
    pub hpke_key: Option<Hex<32>>,
    pub config: Option<Hex<32>>,
    pub engine: Option<Hex<32>>,
    pub models: Option<Hex<32>>,
    /// Asked for evidence of the GPUs under a nonce that names the key.
    pub gpu: Option<Arc<dyn GpuAttester>>,
}

/// Which key a new certificate gets.
#[derive(Clone, Debug)]
pub enum Keys {
    /// One that never was and is never written anywhere.
    Fresh(KeyKind),
    /// The node's own.
    Own(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Mulberry,
    /// For Cocoon's network alone: the quote binds the key, and neither dates nor claims.
    Cocoon,
}

/// Collects evidence of all GPUs of this guest. Blocking.
pub trait GpuAttester: Send + Sync {
    /// Whose reports answer this nonce.
    fn evidence(&self, nonce: &[u8; 32]) -> Result<GpuEvidence, NoQuote>;
}

/// In order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("a certificate holds for at least a minute and at most {} s, not {lifetime_s}", LIFETIME.as_secs())]
    Lifetime { lifetime_s: u64 },
    #[error("the clock says {now}, which no certificate can say")]
    Clock { now: u64 },
    #[error("no key")]
    Key(#[source] BadKey),
    #[error("Cocoon's certificates need an Ed25519 key and a quote")]
    Cocoon,
    #[error("no evidence of the GPUs")]
    Gpu(#[source] NoQuote),
    #[error("no quote")]
    Quote(#[source] NoQuote),
    #[error("the certificate was not made")]
    Certificate(#[source] rcgen::Error),
}

impl Draft {
    /// Keyed, with nothing in the claims but the key.
    pub fn new(role: Role, keys: Keys) -> Self {
        Self {
            role,
            keys,
            lifetime: LIFETIME,
            format: Format::Mulberry,
            attester: None,
            receipt_key: None,
            payee_key: None,
            hpke_key: None,
            config: None,
            engine: None,
            models: None,
            gpu: None,
        }
    }

    /// Blocking: one quote, and one collection of GPU evidence.
    pub fn issue(&self, now: u64) -> Result<Identity, IssueError> {
        let (not_before, not_after) = self.dates(now)?;
        let key = match &self.keys {
            Keys::Fresh(kind) => Key::generate(*kind).map_err(IssueError::Key)?,
            Keys::Own(key) => key.clone(),
        };
        let mut claims = Claims::new(self.role, *key.spki_sha256(), not_before, not_after);
        claims.receipt_key = self.receipt_key;
        claims.payee_key = self.payee_key;
        claims.hpke_key = self.hpke_key;
        claims.config = self.config;
        claims.engine = self.engine;
        claims.models = self.models;
        let gpu = self.gpu_evidence(&key, not_before)?;
        claims.gpu_evidence = gpu.as_ref().map(GpuEvidence::digest);
        let extensions = match self.format {
            Format::Mulberry => self.evidence(&claims)?,
            Format::Cocoon => self.cocoon(&key)?,
        };
        let der = certificate(&key, self.format, extensions, not_before, not_after)?;
        Ok(Identity {
            certified: Arc::new(CertifiedKey::new(vec![der.clone()], Arc::clone(key.signing()))),
            der,
            key,
            claims,
            gpu: ArcSwapOption::from_pointee(gpu),
            attester: self.attester.clone(),
        })
    }

    fn dates(&self, now: u64) -> Result<(u64, u64), IssueError> {
        let lifetime_s = self.lifetime.as_secs();
        if !(60..=LIFETIME.as_secs()).contains(&lifetime_s) {
            return Err(IssueError::Lifetime { lifetime_s });
        }
        // The time for skewed clocks is taken from the lifetime, which is bounded as a whole.
        let before = SKEW_S.min(lifetime_s / 4);
        let not_before = now.checked_sub(before).ok_or(IssueError::Clock { now })?;
        let not_after = not_before.saturating_add(lifetime_s);
        if not_after > LAST_DATE {
            return Err(IssueError::Clock { now });
        }
        Ok((not_before, not_after))
    }

    fn gpu_evidence(&self, key: &Key, not_before: u64) -> Result<Option<GpuEvidence>, IssueError> {
        let Some(gpu) = &self.gpu else {
            return Ok(None);
        };
        let nonce = binding::gpu_nonce(key.spki_sha256(), not_before);
        gpu.evidence(&nonce).map(Some).map_err(IssueError::Gpu)
    }

    fn evidence(&self, claims: &Claims) -> Result<Vec<CustomExtension>, IssueError> {
        let encoded = claims.encode();
        let quote = match &self.attester {
            Some(attester) => {
                let report_data = binding::certificate_report_data(self.role, &claims.spki_sha256.0, &encoded)
                    .expect("claims are some hundred bytes");
                Some(attester.quote(&report_data).map_err(IssueError::Quote)?)
            }
            None => None,
        };
        let evidence = Evidence { quote, claims: encoded };
        Ok(vec![CustomExtension::from_oid_content(
            &EVIDENCE_OID,
            evidence.encode(),
        )])
    }

    fn cocoon(&self, key: &Key) -> Result<Vec<CustomExtension>, IssueError> {
        let (PublicKey::Ed25519(public), Some(attester)) = (key.public(), &self.attester) else {
            return Err(IssueError::Cocoon);
        };
        let quote = attester
            .quote(&binding::cocoon_report_data(&public))
            .map_err(IssueError::Quote)?;
        let critical = |oid, content| {
            let mut extension = CustomExtension::from_oid_content(oid, content);
            extension.set_criticality(true);
            extension
        };
        Ok(vec![
            critical(COCOON_QUOTE, quote),
            critical(COCOON_CLAIMS, public.to_vec()),
        ])
    }
}

fn certificate(
    key: &Key,
    format: Format,
    extensions: Vec<CustomExtension>,
    not_before: u64,
    not_after: u64,
) -> Result<CertificateDer<'static>, IssueError> {
    let date = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let mut params = CertificateParams::default();
    params.not_before = date(not_before);
    params.not_after = date(not_after);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name = name(format);
    if format == Format::Cocoon {
        for host in ["localhost", "127.0.0.1", "::1"] {
            let host = host.try_into().map_err(IssueError::Certificate)?;
            params.subject_alt_names.push(SanType::DnsName(host));
        }
    }
    params.custom_extensions = extensions;
    let made = params.self_signed(key.pair()).map_err(IssueError::Certificate)?;
    Ok(made.into())
}

fn name(format: Format) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    match format {
        Format::Mulberry => name.push(DnType::CommonName, "mulberry"),
        Format::Cocoon => {
            name.push(DnType::CountryName, "AE");
            name.push(DnType::StateOrProvinceName, "DUBAI");
            name.push(DnType::OrganizationName, "TDLib Development");
            name.push(DnType::OrganizationalUnitName, "Security");
            name.push(DnType::CommonName, "localhost");
        }
    }
    name
}
