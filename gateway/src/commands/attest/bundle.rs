//! Bundles: whether what they say was true then, and what a policy of one's own says of it.

use attestation::{Bundle, TrustAnchor, bundle::BundleRefusal};
use serde_json::json;

use super::{Said, Unusable, policy};
use crate::cli::attest::VerifyArgs;

pub(super) fn verify(text: &[u8], args: &VerifyArgs, anchor: &TrustAnchor) -> Result<Said, Unusable> {
    for (is_given, what, flag) in [
        (args.at.is_some(), "when it was appraised", "--at"),
        (args.collateral.is_some(), "by which collateral", "--collateral"),
        (args.report_data.is_some(), "what its quotes must hold", "--report-data"),
        (args.gpu.is_some(), "what its GPUs showed", "--gpu"),
        (args.gpu_root.is_some(), "by which root", "--danger-gpu-root"),
    ] {
        if is_given {
            return Err(Unusable::InBundle { what, flag });
        }
    }
    let own = args.policy.as_deref().map(policy::read_policy).transpose()?;
    let found = Bundle::id_of(text);
    if let Some(id) = args.id.filter(|id| *id != found) {
        return Ok(Said::Refused(format!(
            "refused: bundle_id: it has the id {found}, and {id} was asked for"
        )));
    }
    let bundle = match Bundle::read(text) {
        Ok(bundle) => bundle,
        Err(refusal) => return Ok(refused(&refusal, "")),
    };
    let verdict = match bundle.appraise(anchor) {
        Ok(verdict) if verdict.role() != args.role => {
            return Ok(refused(
                &BundleRefusal::from(attestation::Refusal::RoleMismatch {
                    expected: args.role,
                    found: verdict.role(),
                }),
                "",
            ));
        }
        Ok(verdict) => verdict,
        Err(refusal) => return Ok(refused(&refusal, "")),
    };
    let mut document = json!({ "bundle": found, "verdict": verdict });
    if let Some(own) = own {
        match bundle.appraise_under(&own, anchor) {
            Ok(verdict) => document["under_your_policy"] = json!(verdict),
            Err(refusal) => {
                return Ok(refused(
                    &refusal,
                    " (under your policy; under the one that was in force then it held)",
                ));
            }
        }
    }
    Ok(Said::Good(format!("{document:#}")))
}

fn refused(refusal: &BundleRefusal, more: &str) -> Said {
    Said::Refused(super::plain(&format!("refused: {}: {refusal}{more}", refusal.code())))
}
