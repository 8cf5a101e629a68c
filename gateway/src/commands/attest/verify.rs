//! A verdict or a refusal, as a gateway would come to it.

use std::path::Path;

use attestation::{
    Basis, Claims, CocoonCertificate, CollateralSet, Evidence, Expected, Policy, Refusal, TrustAnchor, Verdict,
    Verifier,
    binding::gpu_nonce,
    gpu::{self, GpuAnchor, GpuEvidence, GpuVerdict},
};
use attestation_ratls::{Certificate, PublicKey, Shown, collateral::bundle::import};
use serde_json::{Value, json};

use super::{
    Said, Unusable, bundle, policy, read,
    sample::{Sample, from_hex},
};
use crate::{cli::attest::VerifyArgs, layers::rescue::Chain, wall_clock};

pub(super) fn verify(args: &VerifyArgs) -> Result<Said, Unusable> {
    let anchor = match &args.root {
        None => TrustAnchor::Intel,
        Some(path) => TrustAnchor::Development(read(path)?),
    };
    let sample = Sample::read(&args.file)?;
    let evidence = match &sample {
        Sample::Bundle(text) => return bundle::verify(text, args, &anchor),
        _ if args.id.is_some() => {
            return Err(Unusable::OnlyFor {
                flag: "--id",
                what: "bundles",
            });
        }
        sample => sample,
    };
    let (Some(policy), Some(folder)) = (&args.policy, &args.collateral) else {
        return Err(Unusable::NoBasis);
    };
    let policy = policy::read_policy(policy)?;
    let now = args.at.map_or_else(wall_clock::unix_seconds, |at| at.unix_seconds());
    let mut collateral = CollateralSet::new(anchor.clone());
    let imported = import(folder, &mut collateral, now);
    let imported = imported.map_err(|source| Unusable::Collateral {
        path: folder.clone(),
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
    let appraised = match evidence {
        Sample::Certificate(_) if args.report_data.is_some() => return Err(Unusable::TwoReportData),
        Sample::Certificate(certificate) => of_certificate(&verifier, certificate, args, &basis),
        Sample::Quote { .. } if args.gpu.is_some() => {
            return Err(Unusable::OnlyFor {
                flag: "--gpu",
                what: "certificates, whose claims name the GPUs",
            });
        }
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
        Sample::Bundle(_) => return Err(Unusable::NoBasis),
    };
    let verdict = match appraised {
        Ok(verdict) => verdict,
        Err(refusal) => return Ok(Said::Refused(refusal_text(&refusal, &refused))),
    };
    let mut document = json!(verdict);
    if let Value::Object(members) = &mut document
        && matches!(sample, Sample::Quote { .. })
    {
        members.remove("claims");
    }
    if let Some(path) = &args.gpu {
        match gpus(path, args, &verdict, &policy, now)? {
            Ok(gpus) => document["gpu"] = json!(gpus),
            Err(refusal) => return Ok(Said::Refused(refusal_text(&refusal, &[]))),
        }
    }
    Ok(Said::Good(format!("{document:#}")))
}

/// Evidence of GPUs beside a certificate: those that its claims name, under the nonce that names its key.
fn gpus(
    path: &Path,
    args: &VerifyArgs,
    verdict: &Verdict,
    policy: &Policy,
    now: u64,
) -> Result<Result<GpuVerdict, Refusal>, Unusable> {
    let bytes = read(path)?;
    let bytes = from_hex(&bytes).unwrap_or(bytes);
    let evidence = GpuEvidence::decode(&bytes).map_err(|source| Unusable::Gpu {
        path: path.to_owned(),
        source,
    })?;
    let rules = policy.gpu.as_ref().ok_or(Unusable::NoGpuRules)?;
    let claims = verdict.claims();
    if claims.gpu_evidence != Some(evidence.digest()) {
        return Ok(Err(Refusal::GpuMismatch));
    }
    let anchor = match &args.gpu_root {
        None => GpuAnchor::Nvidia,
        Some(path) => GpuAnchor::Development(read(path)?),
    };
    let nonce = gpu_nonce(&claims.spki_sha256.0, claims.not_before);
    Ok(gpu::verify(&evidence, &nonce, rules, &anchor, now).map_err(Refusal::from))
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
