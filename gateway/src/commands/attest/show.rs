//! What a quote, a certificate or a bundle says, in words. It lies until it was verified.

use std::fmt::Write as _;

use attestation::{
    Basis, Bundle, Claims, CollateralSet, Evidence, Expected, Hex, Image, Policy, Quote, Refusal, Report, Role,
    TrustAnchor, Verifier, bundle::Answer,
};
use attestation_ratls::{Certificate, Shown};

use super::{Said, Unusable, sample::Sample};
use crate::{cli::attest::ShowArgs, config::Timestamp};

/// Bits of TD attributes, by Intel's *TDX Module ABI Specification*, table of ATTRIBUTES.
const ATTRIBUTES: [(u32, &str); 8] = [
    (0, "DEBUG: its host can read it"),
    (27, "LASS"),
    (28, "SEPT_VE_DISABLE"),
    (29, "MIGRATABLE: its host can move it"),
    (30, "PKS"),
    (31, "KL"),
    (62, "TPA"),
    (63, "PERFMON: it shares performance counters"),
];

pub(super) fn show(args: &ShowArgs) -> Result<Said, Unusable> {
    let sample = Sample::read(&args.file)?;
    let mut page = Page(String::new());
    match &sample {
        Sample::Quote { bytes, padding } => {
            page.head("a quote; nothing of it is verified");
            page.quote(bytes);
            if *padding > 0 {
                page.line(
                    "padding",
                    &format!("{padding} zeros behind the quote, which nobody signed"),
                );
            }
        }
        Sample::Certificate(certificate) => {
            page.head("a certificate; nothing of it is verified but that its key signed it");
            page.certificate(certificate);
        }
        Sample::Bundle(text) => match Bundle::read(text) {
            Err(refusal) => return Ok(Said::Refused(format!("refused: {}: {refusal}", refusal.code()))),
            Ok(bundle) => {
                page.head("a bundle; nothing of it is verified");
                page.bundle(&bundle, text);
            }
        },
    }
    Ok(Said::Good(page.0))
}

struct Page(String);

impl Page {
    fn head(&mut self, text: &str) {
        // Writing to a string does not fail.
        writeln!(self.0, "{text}").ok();
    }

    fn line(&mut self, name: &str, value: &str) {
        writeln!(self.0, "{name:<22} {value}").ok();
    }

    fn bundle(&mut self, bundle: &Bundle, text: &[u8]) {
        let exchange = bundle.exchange();
        let says = |name: &str| super::plain(bundle.verdict()[name].as_str().unwrap_or("none"));
        self.line("id, SHA-256", &Bundle::id_of(text).to_string());
        self.line("evidence of a", exchange.role.name());
        self.line("appraised at", &time(bundle.appraised_at()));
        self.line(
            "root",
            match bundle.anchor() {
                TrustAnchor::Intel => "Intel's",
                TrustAnchor::Development(_) => "DEVELOPMENT: it proves nothing about any machine",
            },
        );
        self.line("it says: tier", &says("tier"));
        self.line("it says: image", &says("image"));
        self.line("policy, SHA-256", &bundle.policy().digest().to_string());
        for collateral in bundle.collateral() {
            let text = format!(
                "FMSPC {}, {} CA, evaluation {}, until {}",
                collateral.fmspc(),
                collateral.ca(),
                collateral.tcb_evaluation(),
                time(collateral.expires())
            );
            self.line("collateral", &text);
        }
        self.line("asked with nonce", &Hex(exchange.nonce).to_string());
        self.line(
            "answered with",
            match &exchange.answer {
                Answer::Quote(_) => "a quote of this connection",
                Answer::Signature(_) => "a signature of its key",
            },
        );
        if let Some(gpu) = &exchange.gpu {
            self.line("GPUs", &format!("evidence of {} devices", gpu.devices.len()));
        }
        self.line("key, SHA-256", &Hex(exchange.key.spki_sha256()).to_string());
        self.evidence(&exchange.evidence);
    }

    fn certificate(&mut self, certificate: &Certificate) {
        self.line("key, SHA-256", &Hex(*certificate.spki_sha256()).to_string());
        self.line("holds from", &time(certificate.not_before()));
        self.line("holds until", &time(certificate.not_after()));
        match certificate.shown() {
            Shown::Cocoon(quote) => {
                self.line(
                    "evidence",
                    "in Cocoon's format: a quote that names the key and nothing else",
                );
                self.quote(Quote::unpadded(quote).unwrap_or(quote));
            }
            Shown::Evidence(bytes) => match Evidence::decode(bytes) {
                Err(refusal) => self.refusal("evidence", &refusal),
                Ok(evidence) => self.evidence(&evidence),
            },
        }
    }

    fn evidence(&mut self, evidence: &Evidence) {
        match Claims::decode(&evidence.claims) {
            Err(refusal) => self.refusal("claims", &refusal),
            Ok(claims) => self.claims(&claims),
        }
        match &evidence.quote {
            None => self.line(
                "quote",
                "none: it proves a key, and nothing about the machine; tier open",
            ),
            Some(quote) => self.quote(quote),
        }
    }

    fn claims(&mut self, claims: &Claims) {
        self.line("claims: role", claims.role.name());
        self.line("claims: key, SHA-256", &claims.spki_sha256.to_string());
        self.line("claims: from", &time(claims.not_before));
        self.line("claims: until", &time(claims.not_after));
        for (name, value) in [
            ("claims: receipt key", claims.receipt_key),
            ("claims: payee key", claims.payee_key),
            ("claims: HPKE key", claims.hpke_key),
            ("claims: GPU evidence", claims.gpu_evidence),
            ("claims: configuration", claims.config),
            ("claims: engine", claims.engine),
            ("claims: models", claims.models),
        ] {
            if let Some(value) = value {
                self.line(name, &value.to_string());
            }
        }
    }

    fn quote(&mut self, bytes: &[u8]) {
        let quote = match Quote::parse(bytes) {
            Err(refusal) => return self.refusal("quote", &refusal),
            Ok(quote) => quote,
        };
        self.line("quote", &format!("{} bytes", bytes.len()));
        self.line("signed part, SHA-256", &quote.signed_digest().to_string());
        self.report(quote.report());
        let chain = quote.signature().pck_chain.map_or(0, |pem| {
            String::from_utf8_lossy(pem)
                .matches("-----BEGIN CERTIFICATE-----")
                .count()
        });
        self.line("certificates", &format!("{chain} in the quote"));
        if let Some(platform) = platform(bytes, quote.report()) {
            self.line("platform", &platform);
        }
    }

    fn report(&mut self, report: &Report) {
        self.line(
            "MRTD",
            &format!("{}  the guest's memory when it was built", report.mrtd),
        );
        let names = [
            "firmware and its tables",
            "boot loader",
            "kernel and initrd",
            "the application",
        ];
        for (at, (register, name)) in report.rtmr.iter().zip(names).enumerate() {
            self.line(&format!("RTMR{at}"), &format!("{register}  {name}"));
        }
        self.line(
            "TD attributes",
            &format!("{}  {}", report.td_attributes, attributes(&report.td_attributes)),
        );
        self.line("XFAM", &report.xfam.to_string());
        for (name, value) in [
            ("MRCONFIGID", report.mr_config_id),
            ("MROWNER", report.mr_owner),
            ("MROWNERCONFIG", report.mr_owner_config),
        ] {
            let value = if value.is_zero() {
                "zero".to_owned()
            } else {
                value.to_string()
            };
            self.line(name, &value);
        }
        self.line("MRSEAM", &format!("{}  the TDX module", report.mr_seam));
        self.line("TEE_TCB_SVN", &format!("{}  its versions", report.tee_tcb_svn));
        let service = report
            .service_td
            .map(|hash| format!("{hash}  another guest has a say in this one"));
        self.line("service TD", service.as_deref().unwrap_or("none"));
        self.line("report data", &report.report_data.to_string());
    }

    fn refusal(&mut self, what: &str, refusal: &Refusal) {
        self.line(what, &format!("refused: {}: {refusal}", refusal.code()));
    }
}

fn attributes(Hex(bytes): &Hex<8>) -> String {
    let bits = u64::from_le_bytes(*bytes);
    let mut known = 0;
    let mut names = Vec::new();
    for (bit, name) in ATTRIBUTES {
        known |= 1 << bit;
        if bits & (1 << bit) != 0 {
            names.push(name.to_owned());
        }
    }
    if bits & !known != 0 {
        names.push(format!("others: {:#x}", bits & !known));
    }
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// What its collateral would be called. A verifier that knows no collateral says so, once all before it is right.
fn platform(bytes: &[u8], report: &Report) -> Option<String> {
    let policy = Policy::of(vec![Image::of("shown", &[Role::Worker], report)]);
    let collateral = CollateralSet::new(TrustAnchor::Intel);
    let claims = Claims::new(Role::Worker, [0; 32], 0, 1);
    let expected = Expected {
        role: Role::Worker,
        report_data: &report.report_data.0,
        claims: &claims,
        gpu: None,
    };
    let verifier = Verifier::new(TrustAnchor::Intel);
    match verifier.appraise(bytes, &expected, &Basis::new(&policy, &collateral, 0)) {
        Err(Refusal::CollateralMissing { fmspc, ca }) => Some(format!("FMSPC {fmspc}, certified by the {ca} CA")),
        _ => None,
    }
}

fn time(seconds: u64) -> String {
    Timestamp::from_unix_seconds(seconds).to_string()
}
