//! The TCB level that the platform's versions reach, and the TDX module.

use dcap_qvl::{TcbInfo, TcbLevel, TcbStatus, intel::PckExtension, tcb_info::TdxModuleIdentity};

use crate::{Collateral, Hex, Part, Refusal, Report, Standing};

pub(super) fn check(report: &Report, pck: &PckExtension, collateral: &Collateral) -> Result<(), Refusal> {
    let info: TcbInfo = serde_json::from_str(&collateral.verifiable().tcb_info).map_err(|_| Refusal::Malformed {
        part: Part::TcbInfo,
        why: "not TCB info of version 3",
    })?;
    if info.fmspc.parse() != Ok(Hex(pck.fmspc)) {
        return Err(Refusal::CollateralMismatch { part: Part::TcbInfo });
    }
    let started = report.tee_tcb_svn;
    for svn in [Some(started), report.current_tee_tcb_svn].into_iter().flatten() {
        let level = level(&info, pck, &svn)?;
        not_revoked(level.tcb_status, &level.advisory_ids)?;
        let Some(identity) = info.tdx_module_identity(&svn.0).map_err(|_| Refusal::ModuleUntrusted)? else {
            continue;
        };
        let level = identity
            .tcb_levels
            .iter()
            .find(|level| level.shortfall(&svn.0).is_none())
            .ok_or(Refusal::TcbUnknown)?;
        not_revoked(level.tcb_status, &level.advisory_ids)?;
    }
    module(report, &info)
}

/// The highest level whose every version the platform reaches. Intel's order is by the versions, whatever the document's.
fn level<'a>(info: &'a TcbInfo, pck: &PckExtension, svn: &Hex<16>) -> Result<&'a TcbLevel, Refusal> {
    let mut levels: Vec<&TcbLevel> = info.tcb_levels.iter().collect();
    levels.sort_by(|a, b| {
        let (a, b) = (&a.tcb, &b.tcb);
        (&b.sgx_components, b.pce_svn, &b.tdx_components).cmp(&(&a.sgx_components, a.pce_svn, &a.tdx_components))
    });
    levels
        .into_iter()
        .find(
            |level| matches!(level.shortfalls(&pck.cpu_svn, pck.pce_svn, Some(&svn.0)), Ok(short) if short.is_empty()),
        )
        .ok_or(Refusal::TcbUnknown)
}

fn not_revoked(status: TcbStatus, advisories: &[String]) -> Result<(), Refusal> {
    if status == TcbStatus::Revoked {
        return Err(Refusal::TcbRefused {
            standing: Standing::Revoked,
            advisories: advisories.to_vec(),
        });
    }
    Ok(())
}

fn module(report: &Report, info: &TcbInfo) -> Result<(), Refusal> {
    let identity = info
        .tdx_module_identity(&report.tee_tcb_svn.0)
        .map_err(|_| Refusal::ModuleUntrusted)?;
    let (signer, attributes, mask) = match (identity, &info.tdx_module) {
        (
            Some(TdxModuleIdentity {
                mrsigner,
                attributes,
                attributes_mask,
                ..
            }),
            _,
        ) => (mrsigner, attributes, attributes_mask),
        (None, Some(module)) => (&module.mrsigner, &module.attributes, &module.attributes_mask),
        (None, None) => return Err(Refusal::ModuleUntrusted),
    };
    let (Ok(Hex(attributes)), Ok(Hex(mask))) = (attributes.parse::<Hex<8>>(), mask.parse::<Hex<8>>()) else {
        return Err(Refusal::ModuleUntrusted);
    };
    let same = signer.parse() == Ok(report.mr_signer_seam)
        && report
            .seam_attributes
            .0
            .iter()
            .zip(attributes)
            .zip(mask)
            .all(|((found, expected), mask)| found & mask == expected & mask && found & !mask == 0);
    if same { Ok(()) } else { Err(Refusal::ModuleUntrusted) }
}
