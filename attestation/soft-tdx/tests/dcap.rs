//! What `dcap-qvl`, alone, says about what is made here: the valid is accepted, and each broken thing refused for what
//! is broken about it. The words are those of the one version that the workspace pins.

use attestation::{
    Attester, Hex,
    event::{Event, EventLog},
};
use attestation_soft_tdx::{
    Builder, Collateral, SoftTdx,
    recipe::{Forged, Form, Omitted, Revoked},
};
use dcap_qvl::{
    QuoteClaims, QuoteCollateralV3, QuotePolicy,
    config::{Config, CryptoProvider},
    quote::TDReport10,
    signature::DerSigEncoder,
    tcb_info::TcbStatus,
    verify::QuoteVerifier,
    x509::X509CertBackend,
};
use serde_json::{Value, json, value::RawValue};

/// 2026-11-22 08:00 UTC.
const NOW: u64 = 1_795_334_400;
const REPORT_DATA: [u8; 64] = [7; 64];

struct AwsLc;

impl CryptoProvider for AwsLc {
    fn sig_algo() -> &'static dyn rustls_pki_types::SignatureVerificationAlgorithm {
        webpki::aws_lc_rs::ECDSA_P256_SHA256
    }

    fn sha256(data: &[u8]) -> [u8; 32] {
        fixed(&aws_lc_rs::digest::SHA256, data)
    }

    fn sha384(data: &[u8]) -> [u8; 48] {
        fixed(&aws_lc_rs::digest::SHA384, data)
    }
}

impl Config for AwsLc {
    type X509 = X509CertBackend;
    type SigEncoder = DerSigEncoder;
    type Crypto = Self;
}

fn fixed<const N: usize>(algorithm: &'static aws_lc_rs::digest::Algorithm, data: &[u8]) -> [u8; N] {
    let digest = aws_lc_rs::digest::digest(algorithm, data);
    digest.as_ref().try_into().expect("the length of the digest")
}

fn for_dcap(collateral: Collateral) -> QuoteCollateralV3 {
    let (tcb_info, tcb_info_signature) = opened(&collateral.tcb_info, "tcbInfo");
    let (qe_identity, qe_identity_signature) = opened(&collateral.qe_identity, "enclaveIdentity");
    QuoteCollateralV3 {
        pck_crl_issuer_chain: collateral.pck_crl_chain,
        root_ca_crl: collateral.root_ca_crl,
        pck_crl: collateral.pck_crl,
        tcb_info_issuer_chain: collateral.tcb_info_chain,
        tcb_info,
        tcb_info_signature,
        qe_identity_issuer_chain: collateral.qe_identity_chain,
        qe_identity,
        qe_identity_signature,
        pck_certificate_chain: None,
    }
}

/// The document, byte for byte, and its signature.
fn opened(envelope: &[u8], name: &str) -> (String, Vec<u8>) {
    let envelope: std::collections::BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(envelope).expect("an envelope is JSON");
    let signature: String = serde_json::from_str(envelope["signature"].get()).expect("hex in quotes");
    let signature = (0..signature.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&signature[at..at + 2], 16).expect("hex"))
        .collect();
    (envelope[name].get().to_owned(), signature)
}

fn verify(tdx: &SoftTdx, trusted: &SoftTdx, quote: &[u8]) -> Result<QuoteClaims, String> {
    // What real servers are: their platform is dynamic, their keys cached, and they have hyperthreading.
    let policy = QuotePolicy::strict(NOW)
        .allow_dynamic_platform(true)
        .allow_cached_keys(true)
        .allow_smt(true);
    QuoteVerifier::<AwsLc>::new_with_config(trusted.root_der())
        .verify_with_policy(quote, for_dcap(tdx.collateral(NOW)), NOW, &policy)
        .map_err(|error| format!("{error:#}"))
}

fn accepted(builder: Builder) -> QuoteClaims {
    let tdx = builder.build();
    verify(&tdx, &tdx, &tdx.quote(&REPORT_DATA)).expect("it is valid")
}

#[track_caller]
fn refused(builder: Builder, words: &str) {
    let tdx = builder.build();
    match verify(&tdx, &SoftTdx::builder().build(), &tdx.quote(&REPORT_DATA)) {
        Ok(claims) => panic!("accepted as {:?}; it should say: {words}", claims.tcb.status),
        Err(said) => assert!(said.contains(words), "it said: {said}\ninstead of: {words}"),
    }
}

#[test]
fn each_form_is_accepted() {
    for form in Form::ALL {
        let claims = accepted(SoftTdx::builder().form(form));
        let report = claims.report.as_td10().expect("a guest's body");
        assert_eq!(report.report_data, REPORT_DATA);
        assert_eq!(claims.tcb.status, TcbStatus::UpToDate, "{form:?}");
        assert_eq!(claims.tcb.eval_data_number, 18);
        assert_eq!((claims.platform.pck_crl_num, claims.platform.root_ca_crl_num), (7, 7));
    }
}

#[test]
fn a_platform_of_one_package_is_accepted() {
    let claims = accepted(SoftTdx::builder().processor_authority());
    assert_eq!(claims.platform.pck.sgx_type, 0);
    assert_eq!(claims.platform.pck.platform_instance_id, None);
}

#[test]
fn platforms_of_one_root_share_its_collateral_and_nothing_else() {
    let first = SoftTdx::danger_random();
    let second = first.platform(1);
    let of = |tdx: &SoftTdx| {
        verify(&first, &first, &tdx.quote(&REPORT_DATA))
            .expect("it is valid")
            .platform
            .pck
    };
    let (one, two) = (of(&first), of(&second));
    assert_eq!(one.fmspc, two.fmspc);
    assert_ne!(one.ppid, two.ppid);
    assert_ne!(one.platform_instance_id, two.platform_instance_id);
}

#[test]
fn a_seed_is_the_same_platform_after_a_restart() {
    let (before, after) = (SoftTdx::danger_from_seed([9; 32]), SoftTdx::danger_from_seed([9; 32]));
    verify(&before, &after, &after.quote(&REPORT_DATA)).expect("the root is the same");
    let stranger = SoftTdx::danger_from_seed([8; 32]);
    let said = verify(&stranger, &before, &stranger.quote(&REPORT_DATA)).expect_err("another root");
    assert!(said.contains("root CA CRL"), "{said}");
}

#[test]
fn a_guest_that_is_open_to_its_host_is_refused() {
    refused(SoftTdx::builder().debug(), "Debug mode is enabled");
    refused(SoftTdx::builder().migratable(), "TD migration is enabled");
    refused(
        SoftTdx::builder().without_sept_ve_disable(),
        "SEPT_VE_DISABLE is not enabled",
    );
    refused(SoftTdx::builder().service_td(), "Invalid MR service TD");
}

/// Left to whoever calls the crate.
#[test]
fn performance_counters_other_features_and_bytes_at_the_end_are_not_looked_at() {
    accepted(SoftTdx::builder().perfmon());
    accepted(SoftTdx::builder().xfam([0xff; 8]));
    let tdx = SoftTdx::builder().build();
    let longer = [tdx.quote(&REPORT_DATA), b"and more".to_vec()].concat();
    verify(&tdx, &tdx, &longer).expect("the crate does not look");
}

#[test]
fn a_module_that_is_old_or_not_intels_is_refused() {
    refused(SoftTdx::builder().module_svn(3), "OutOfDate");
    refused(
        SoftTdx::builder().module_svn(1),
        "below minimum required from TDX module",
    );
    refused(SoftTdx::builder().other_module_signer(), "TDX module MRSIGNER mismatch");
    refused(
        SoftTdx::builder().edit(|recipe| recipe.td.seam_attributes[0] = 1),
        "SEAMATTRIBUTES mismatch",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.td.tee_tcb_svn[1] = 2),
        "No TDX module identity",
    );
}

#[test]
fn a_platform_that_is_behind_is_refused() {
    refused(SoftTdx::builder().old_cpu_svn(), "OutOfDate");
    refused(SoftTdx::builder().old_enclave(), "OutOfDate");
    refused(SoftTdx::builder().tcb("OutOfDate", &["INTEL-SA-01036"]), "OutOfDate");
    refused(SoftTdx::builder().tcb("SWHardeningNeeded", &[]), "SWHardeningNeeded");
    refused(SoftTdx::builder().tcb("Revoked", &[]), "Revoked");
    refused(SoftTdx::builder().tcb("Excellent", &[]), "Failed to decode TcbInfo");
    refused(
        SoftTdx::builder().edit(|recipe| recipe.platform.pce_svn = 1),
        "No matching TCB level found",
    );
    refused(
        SoftTdx::builder()
            .form(Form::V5Td15)
            .edit(|recipe| recipe.td.tee_tcb_svn2[0] = 1),
        "current TDX TCB",
    );
    refused(
        SoftTdx::builder()
            .fmspc(*b"other\0")
            .tcb_info("/fmspc", json!("736F66740000")),
        "Fmspc mismatch",
    );
}

#[test]
fn an_enclave_that_is_not_the_quoting_enclave_is_refused() {
    refused(SoftTdx::builder().debug_enclave(), "Debug mode is enabled");
    refused(SoftTdx::builder().other_enclave_signer(), "QE MRSIGNER mismatch");
    refused(
        SoftTdx::builder().edit(|recipe| recipe.enclave.isv_prod_id = 1),
        "QE ISVPRODID mismatch",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.enclave.isv_svn = 1),
        "QE ISVSVN 1 is below minimum",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.enclave.misc_select = 1),
        "QE MISCSELECT mismatch",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.enclave.attributes[0] |= 0x08),
        "QE ATTRIBUTES mismatch",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.auth_data.truncate(31)),
        "Invalid QE auth data length",
    );
}

#[test]
fn a_strangers_signature_is_refused() {
    for (what, words) in [
        (Forged::Body, "ISV enclave report signature is invalid"),
        (Forged::AttestationKey, "QE report hash mismatch"),
        (Forged::QeReport, "Signature is invalid for qe_report"),
        (Forged::PckCertificate, "Failed to verify certificate chain"),
        (Forged::AuthorityCertificate, "Failed to verify certificate chain"),
        (Forged::TcbSignerCertificate, "Failed to verify certificate chain"),
        (Forged::TcbInfo, "Signature is invalid for tcb_info"),
        (Forged::QeIdentity, "Signature is invalid for qe_identity"),
        (Forged::PckCrl, "Failed to verify certificate chain"),
        (Forged::RootCrl, "Failed to parse root CA CRL"),
    ] {
        refused(SoftTdx::builder().forged(what), words);
    }
    refused(SoftTdx::builder().other_root(), "Failed to parse root CA CRL");
    refused(
        SoftTdx::builder().edit(|recipe| recipe.is_signer_direct = false),
        "must be issued directly by the root CA",
    );
}

#[test]
fn what_is_revoked_or_out_of_time_is_refused() {
    refused(SoftTdx::builder().revoked_pck(), "CertRevoked");
    refused(SoftTdx::builder().revoked(Revoked::Authority), "CertRevoked");
    refused(SoftTdx::builder().revoked(Revoked::TcbSigner), "CertRevoked");
    accepted(SoftTdx::builder().revoked(Revoked::Stranger));
    refused(SoftTdx::builder().expired_collateral(), "CrlExpired");
    refused(
        SoftTdx::builder().future_collateral(),
        "TCBInfo issue date is in the future",
    );
    let ended = SoftTdx::builder().expired_collateral().build().recipe().clone();
    refused(
        SoftTdx::builder().edit(|recipe| recipe.tcb_info.window = ended.tcb_info.window),
        "TCBInfo expired",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.qe_identity.window = ended.qe_identity.window),
        "QE Identity expired",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.pck_crl.window = ended.pck_crl.window),
        "CrlExpired",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.pck_crl.has_next_update = false),
        "Failed to parse PCK CRL",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.not_after = NOW - 1),
        "CertExpired",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.not_before = NOW + 1),
        "CertNotValidYet",
    );
}

#[test]
fn a_header_that_is_not_a_tdx_quotes_is_refused() {
    refused(
        SoftTdx::builder().edit(|recipe| recipe.header.version = Some(6)),
        "Failed to decode quote",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.header.tee_type = 0x80),
        "Failed to decode quote",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.header.key_type = 3),
        "Unsupported DCAP attestation key type",
    );
    refused(
        SoftTdx::builder().edit(|recipe| recipe.header.qe_vendor[0] ^= 1),
        "Unknown QE vendor ID",
    );
}

/// Every member of both documents, and of what is in them, is needed: signed without it, nothing is accepted.
#[test]
fn documents_without_one_member_are_refused() {
    let collateral = SoftTdx::builder().build().collateral(NOW);
    let document = |bytes: &[u8], name| {
        let (text, _) = opened(bytes, name);
        serde_json::from_str::<Value>(&text).expect("the document is JSON")
    };
    let tcb_info = document(&collateral.tcb_info, "tcbInfo");
    let qe_identity = document(&collateral.qe_identity, "enclaveIdentity");
    let mut seen = 0;
    for pointer in members(&tcb_info) {
        seen += 1;
        refused(SoftTdx::builder().without_tcb_info(&pointer), "");
    }
    for pointer in members(&qe_identity) {
        seen += 1;
        refused(SoftTdx::builder().without_qe_identity(&pointer), "");
    }
    assert!(seen > 40, "{seen} members");
}

/// All but what Intel's profile has only for some, and what the crate does not look at: the versions one by one, which
/// are in CPUSVN as a whole, and whether an authority may sign certificates.
#[test]
fn certificates_without_one_part_are_refused() {
    for what in Omitted::all() {
        match what {
            Omitted::Instance | Omitted::Configuration | Omitted::TcbComponent(_) | Omitted::AuthoritySigns => {
                accepted(SoftTdx::builder().without(what));
            }
            _ => refused(SoftTdx::builder().without(what), ""),
        }
    }
}

/// Pointers to the members of all objects, without those of lists that are only a fallback.
fn members(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                found.push(format!("/{name}"));
                found.extend(members(inner).into_iter().map(|rest| format!("/{name}{rest}")));
            }
        }
        Value::Array(list) => {
            let first = list.iter().take(1).flat_map(members);
            found.extend(first.map(|rest| format!("/0{rest}")));
        }
        _ => {}
    }
    found
}

#[test]
fn the_names_of_fields_cover_every_byte_once() {
    for form in Form::ALL {
        let sheet = SoftTdx::builder().form(form).build().quote_sheet(&REPORT_DATA);
        let mut end = 0;
        for field in sheet.fields() {
            assert_eq!(field.range.start, end, "{}", field.name);
            end = field.range.end;
        }
        assert_eq!(end, sheet.bytes().len());
        let mut names: Vec<_> = sheet.fields().iter().map(|field| field.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), sheet.fields().len(), "{form:?}");
    }
}

#[test]
fn what_a_guest_recorded_stands_in_its_register() {
    let event = |name, text| Event::new(name, text).expect("it is an event");
    let log = EventLog::new(vec![event("config", "aa"), event("engine", "bb")]).expect("it is short");
    let mut tdx = SoftTdx::builder().build();
    let before = accepted_report(&tdx);
    tdx.td_mut().record(&log);
    let after = accepted_report(&tdx);
    assert_eq!(before.rt_mr3, [0; 48]);
    assert_eq!(after.rt_mr3, log.replay(Hex([0; 48])).0);
    assert_eq!((before.mr_td, before.rt_mr2), (after.mr_td, after.rt_mr2));
}

fn accepted_report(tdx: &SoftTdx) -> TDReport10 {
    let attester: &dyn Attester = tdx;
    let quote = attester.quote(&REPORT_DATA).expect("software makes every quote");
    let claims = verify(tdx, tdx, &quote).expect("it is valid");
    *claims.report.as_td10().expect("a guest's body")
}
