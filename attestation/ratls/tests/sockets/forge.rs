//! Certificates that no endpoint of ours makes, each with one thing wrong.

use std::time::Duration;

use attestation::{Claims, Evidence, Hex, Role, Tier, binding::certificate_report_data};
use attestation_ratls::{Key, KeyKind};
use rcgen::{CertificateParams, CustomExtension, Issuer, KeyPair, SerialNumber, date_time_ymd};
use rustls_pki_types::CertificateDer;

use crate::{
    resumption::{raw_client, raw_meet},
    world::{NOW, Soft, World, draft, guest, policy},
};

const OURS: &[u64] = &[2, 23, 133, 5, 4, 9];
const COCOON_QUOTE: &[u64] = &[1, 3, 6, 1, 4, 1, 12345, 1];
const COCOON_CLAIMS: &[u64] = &[1, 3, 6, 1, 4, 1, 12345, 2];

/// A worker's certificate before it is signed.
struct Forged {
    key: Key,
    claims: Claims,
    params: CertificateParams,
    /// Left out: as it must be for these claims.
    evidence: Option<Vec<u8>>,
    extensions: Vec<CustomExtension>,
    /// Signs it instead of its own key.
    signer: Option<KeyPair>,
}

impl Forged {
    fn sound() -> Self {
        let key = Key::generate(KeyKind::Ed25519).unwrap();
        let claims = Claims::new(Role::Worker, *key.spki_sha256(), NOW - 60, NOW + 3600);
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW - 60);
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW + 3600);
        params.serial_number = Some(SerialNumber::from(7));
        Self {
            key,
            claims,
            params,
            evidence: None,
            extensions: Vec::new(),
            signer: None,
        }
    }

    fn evidence(&self) -> Vec<u8> {
        let claims = self.claims.encode();
        let report_data = certificate_report_data(self.claims.role, &self.claims.spki_sha256.0, &claims).unwrap();
        let quote = guest("worker").quote(&report_data);
        Evidence {
            quote: Some(quote),
            claims,
        }
        .encode()
    }

    fn der(&self) -> CertificateDer<'static> {
        let evidence = self.evidence.clone().unwrap_or_else(|| self.evidence());
        let mut params = self.params.clone();
        if !evidence.is_empty() {
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(OURS, evidence));
        }
        params.custom_extensions.extend(self.extensions.iter().cloned());
        let own = KeyPair::try_from(self.key.to_pkcs8()).unwrap();
        let made = match &self.signer {
            None => params.self_signed(&own),
            Some(signer) => {
                let issuer = Issuer::from_params(&params, signer);
                params.signed_by(&own, &issuer)
            }
        };
        made.unwrap().into()
    }
}

/// What the gateway says of a worker with this certificate.
async fn check(forge: impl FnOnce(&mut Forged), code: &str) {
    let mut forged = Forged::sound();
    forge(&mut forged);
    check_der(&forged.key, forged.der(), code).await;
}

async fn check_der(key: &Key, der: CertificateDer<'static>, code: &str) {
    let world = World::with(
        policy(Tier::Tee),
        &draft(Role::Worker, Some(Soft::honest(&guest("worker")))),
    );
    let config = raw_client(vec![der], key, &rustls::version::TLS13);
    assert_eq!(raw_meet(&world, &config).await.0, code);
}

fn extension(oid: &[u64], critical: bool, content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
    extension.set_criticality(critical);
    extension
}

#[tokio::test]
async fn a_sound_one_is_accepted() {
    check(|_| {}, "accepted").await;
}

#[tokio::test]
async fn the_certificates_own_fields_count() {
    check(
        |forged| forged.evidence = Some(Vec::new()),
        "certificate_without_evidence",
    )
    .await;
    let again = extension(OURS, false, &[0]);
    check(|forged| forged.extensions.push(again), "certificate_repeated_extension").await;
    let unknown = |critical| extension(&[1, 3, 6, 1, 4, 1, 99999, 1], critical, &[5, 0]);
    check(|forged| forged.extensions.push(unknown(false)), "accepted").await;
    check(
        |forged| forged.extensions.push(unknown(true)),
        "certificate_critical_extension",
    )
    .await;
    let large = extension(&[1, 3, 6, 1, 4, 1, 99999, 1], false, &[0; 40_000]);
    check(|forged| forged.extensions.push(large), "certificate_too_large").await;
    let many = (0..20).map(|n| extension(&[1, 3, 6, 1, 4, 1, 99999, n], false, &[5, 0]));
    check(|forged| forged.extensions.extend(many), "certificate_extensions").await;
    let signer = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    check(|forged| forged.signer = Some(signer), "certificate_signature").await;
    let signer = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    check(|forged| forged.signer = Some(signer), "certificate_signature").await;
}

#[tokio::test]
async fn the_evidence_counts_and_not_the_certificate() {
    // The certificate's dates are the attacker's; those of the claims are the guest's.
    let ended = |forged: &mut Forged| {
        forged.claims.not_before = NOW - 7200;
        forged.claims.not_after = NOW - 3600;
    };
    check(ended, "claims_expired").await;
    check(|forged| forged.claims.not_before = NOW + 60, "claims_not_yet_valid").await;
    check(|forged| forged.claims.not_after = NOW + 48 * 3600, "claims_too_long").await;
    check(|forged| forged.claims.spki_sha256 = Hex([7; 32]), "spki_mismatch").await;
    check(|forged| forged.claims.role = Role::Gateway, "role_mismatch").await;
    check(|forged| forged.evidence = Some(vec![0xd9, 0xea]), "malformed").await;
    // Claims changed after they were quoted.
    let changed = |forged: &mut Forged| {
        let mut evidence = Evidence::decode(&forged.evidence()).unwrap();
        forged.claims.receipt_key = Some(Hex([7; 32]));
        evidence.claims = forged.claims.encode();
        forged.evidence = Some(evidence.encode());
    };
    check(changed, "binding_mismatch").await;
}

#[tokio::test]
async fn cocoons_form_is_not_ours() {
    let forged = Forged::sound();
    let attestation_ratls::PublicKey::Ed25519(public) = forged.key.public() else {
        panic!("it was made as one");
    };
    let quote = guest("worker").quote(&[7; 64]);
    let both = [
        extension(COCOON_QUOTE, true, &quote),
        extension(COCOON_CLAIMS, true, &public),
    ];
    check(|forged| forged.extensions.extend(both.clone()), "certificate_two_forms").await;
    let alone = |forged: &mut Forged| {
        forged.evidence = Some(Vec::new());
        forged.extensions.extend(both.clone());
    };
    check(alone, "certificate_cocoon_claims").await;
    let without_claims = |forged: &mut Forged| {
        forged.evidence = Some(Vec::new());
        forged.extensions.push(both[0].clone());
    };
    check(without_claims, "certificate_without_evidence").await;
}

#[tokio::test]
async fn every_cut_and_every_byte_matters() {
    let forged = Forged::sound();
    let der = forged.der();
    // A certificate cut short, one with a byte more, and one with a byte changed in what its key signed: dates, names,
    // key, evidence. The signature's own bytes too.
    for (name, bytes) in [
        ("cut", der[..der.len() - 1].to_vec()),
        ("more", [&der[..], &[0]].concat()),
    ] {
        let refused = attestation_ratls::Certificate::read(&bytes.into(), &[], NOW).unwrap_err();
        assert_eq!(refused.code(), "certificate_malformed", "{name}");
    }
    assert!(attestation_ratls::Certificate::read(&der, &[], NOW).is_ok());
    for at in 0..der.len() {
        let mut bytes = der.to_vec();
        bytes[at] ^= 1;
        assert!(
            attestation_ratls::Certificate::read(&bytes.into(), &[], NOW).is_err(),
            "byte {at} of {}: {:02x?}",
            der.len(),
            &der[at.saturating_sub(8)..(at + 8).min(der.len())]
        );
    }
}
