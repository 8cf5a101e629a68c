//! A verdict or a refusal, as a gateway would come to it.

use attestation::{
    Basis, Claims, CocoonCertificate, CollateralSet, Evidence, Expected, Refusal, TrustAnchor, Verdict, Verifier,
};
use attestation_ratls::{Certificate, PublicKey, Shown, collateral::bundle};
use serde_json::{Value, json};

use super::{Said, Unusable, policy, read, sample::Sample};
use crate::{cli::attest::VerifyArgs, layers::rescue::Chain, wall_clock};

pub(super) fn verify(args: &VerifyArgs) -> Result<Said, Unusable> {
    let sample = Sample::read(&args.file)?;
    let policy = policy::read_policy(&args.policy)?;
    let now = args.at.map_or_else(wall_clock::unix_seconds, |at| at.unix_seconds());
    let anchor = match &args.root {
        None => TrustAnchor::Intel,
        Some(path) => TrustAnchor::Development(read(path)?),
    };
    let mut collateral = CollateralSet::new(anchor.clone());
    let imported = bundle::import(&args.collateral, &mut collateral, now);
    let imported = imported.map_err(|source| Unusable::Collateral {
        path: args.collateral.clone(),
        source,
    })?;
    // Collateral that is not taken may be another platform's; it is named only where some is missing.
    let refused: Vec<String> = imported
        .iter()
        .filter_map(|member| member.as_ref().err())
        .map(|error| Chain(error).to_string())
        .collect();
    let verifier = Verifier::new(anchor);
    let basis = Basis::new(&policy, &collateral, now);
    let appraised = match &sample {
        Sample::Certificate(_) if args.report_data.is_some() => return Err(Unusable::TwoReportData),
        Sample::Certificate(certificate) => of_certificate(&verifier, certificate, args, &basis),
        Sample::Quote { bytes, .. } => {
            let report_data = args.report_data.ok_or(Unusable::NoReportData)?;
            // A quote without claims: those that it is judged with say nothing, and are not shown.
            let claims = Claims::new(args.role, [0; 32], now, now.saturating_add(1));
            let expected = Expected {
                role: args.role,
                report_data: &report_data.0,
                claims: &claims,
                gpu: None,
            };
            verifier.appraise(bytes, &expected, &basis)
        }
    };
    Ok(match appraised {
        Ok(verdict) => Said::Good(document(&verdict, matches!(sample, Sample::Certificate(_)))),
        Err(refusal) => Said::Refused(refusal_text(&refusal, &refused)),
    })
}

fn of_certificate(
    verifier: &Verifier,
    certificate: &Certificate,
    args: &VerifyArgs,
    basis: &Basis<'_>,
) -> Result<Verdict, Refusal> {
    match certificate.shown() {
        Shown::Evidence(bytes) => {
            let evidence = Evidence::decode(bytes)?;
            verifier.appraise_certificate(&evidence, args.role, certificate.spki_sha256(), basis)
        }
        Shown::Cocoon(quote) => {
            // Cocoon's quotes name an Ed25519 key, so that one of another kind is named by none.
            let PublicKey::Ed25519(key) = certificate.key() else {
                return Err(Refusal::BindingMismatch);
            };
            let cocoon = CocoonCertificate {
                key,
                not_before: certificate.not_before(),
                not_after: certificate.not_after(),
            };
            verifier.appraise_cocoon(quote, &cocoon, args.role, basis)
        }
    }
}

fn document(verdict: &Verdict, has_claims: bool) -> String {
    let mut document = json!(verdict);
    if let Value::Object(members) = &mut document
        && !has_claims
    {
        members.remove("claims");
    }
    format!("{document:#}")
}

fn refusal_text(refusal: &Refusal, collateral: &[String]) -> String {
    let mut text = format!("refused: {}: {refusal}", refusal.code());
    if matches!(refusal, Refusal::CollateralMissing { .. }) {
        for member in collateral {
            text.push_str("\ncollateral not taken: ");
            text.push_str(&super::plain(member));
        }
    }
    text
}
