//! Step 9: the platform's firmware stands as the policy wants.

use std::time::Duration;

use dcap_qvl::{Policy as _, QuoteClaims, QuotePolicy, TcbStatus};

use crate::{Hex, Policy, Refusal, Report, Standing, Tcb, TcbRules};

const DAY_SECONDS: u64 = 24 * 60 * 60;

pub(super) fn check(claims: &QuoteClaims, policy: &Policy, report: &Report, now: u64) -> Result<Tcb, Refusal> {
    let rules = &policy.tcb;
    let tcb = Tcb {
        status: standing(claims.tcb.status),
        advisories: claims.tcb.advisory_ids.clone(),
        evaluation: claims.tcb.eval_data_number,
        date: claims.platform.tcb_date_tag,
    };
    if !rules.statuses.contains(&tcb.status) || tcb.status == Standing::Revoked {
        return Err(Refusal::TcbRefused {
            standing: tcb.status,
            advisories: tcb.advisories,
        });
    }
    grace(claims, rules, &tcb, now)?;
    if let Some(advisory) = rejected(claims, rules) {
        return Err(Refusal::AdvisoryRejected { advisory });
    }
    if tcb.evaluation < rules.min_evaluation {
        return Err(Refusal::EvaluationTooLow {
            found: tcb.evaluation,
            min: rules.min_evaluation,
        });
    }
    module(report, rules)?;
    // The same once more by the crate's own rules, which must not be stricter without our knowing.
    crates_policy(rules, now)
        .validate(claims)
        .map_err(|_| Refusal::QuoteUnverified)?;
    Ok(tcb)
}

/// What is out of date is accepted for so long after the date of its TCB level. Relaunch advised is not out of date: the
/// firmware was updated under the guest.
fn grace(claims: &QuoteClaims, rules: &TcbRules, tcb: &Tcb, now: u64) -> Result<(), Refusal> {
    let out_of_date = matches!(tcb.status, Standing::OutOfDate | Standing::OutOfDateConfigurationNeeded);
    if !out_of_date {
        return Ok(());
    }
    let over = |date: u64| {
        let grace = u64::from(rules.grace_days).saturating_mul(DAY_SECONDS);
        (date.saturating_add(grace) < now).then_some(Refusal::TcbGraceOver {
            date,
            grace_days: rules.grace_days,
        })
    };
    let platform = matches!(
        claims.platform.tcb_level.tcb_status,
        TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded
    );
    if platform && let Some(refusal) = over(tcb.date) {
        return Err(refusal);
    }
    if claims.qe.tcb_level.tcb_status == TcbStatus::OutOfDate {
        let date = crate::collateral::seconds(&claims.qe.tcb_level.tcb_date).ok_or(Refusal::QuoteUnverified)?;
        if let Some(refusal) = over(date) {
            return Err(refusal);
        }
    }
    Ok(())
}

/// Of the platform as the guest was started, as it is now, and of the quoting enclave.
fn rejected(claims: &QuoteClaims, rules: &TcbRules) -> Option<String> {
    let current = claims.platform.current_tcb_level.iter();
    claims
        .platform
        .tcb_level
        .advisory_ids
        .iter()
        .chain(current.flat_map(|level| &level.advisory_ids))
        .chain(&claims.qe.tcb_level.advisory_ids)
        .chain(&claims.tcb.advisory_ids)
        .find(|id| {
            rules
                .rejected_advisories
                .iter()
                .any(|rejected| rejected.eq_ignore_ascii_case(id))
        })
        .cloned()
}

/// Part by part: one that is newer does not make up for one that is older.
fn module(report: &Report, rules: &TcbRules) -> Result<(), Refusal> {
    let Some(min) = rules.min_tee_tcb_svn else {
        return Ok(());
    };
    for found in [Some(report.tee_tcb_svn), report.current_tee_tcb_svn]
        .into_iter()
        .flatten()
    {
        let Hex(parts) = found;
        if parts.iter().zip(min.0).any(|(found, min)| *found < min) {
            return Err(Refusal::ModuleTooOld { found, min });
        }
    }
    Ok(())
}

/// Servers have SMT, dynamic platforms and cached keys; a policy that refuses those refuses every real one.
fn crates_policy(rules: &TcbRules, now: u64) -> QuotePolicy {
    let grace = Duration::from_secs(u64::from(rules.grace_days).saturating_mul(DAY_SECONDS));
    let policy = QuotePolicy::strict(now)
        .allow_smt(true)
        .allow_dynamic_platform(true)
        .allow_cached_keys(true)
        .platform_grace_period(grace)
        .qe_grace_period(grace)
        .min_tcb_eval_data_number(rules.min_evaluation)
        .reject_advisories(&rules.rejected_advisories);
    rules
        .statuses
        .iter()
        .filter_map(|status| status_of(*status))
        .fold(policy, QuotePolicy::allow_status)
}

pub(super) const fn standing(status: TcbStatus) -> Standing {
    match status {
        TcbStatus::UpToDate => Standing::UpToDate,
        TcbStatus::SWHardeningNeeded => Standing::SwHardeningNeeded,
        TcbStatus::ConfigurationNeeded => Standing::ConfigurationNeeded,
        TcbStatus::ConfigurationAndSWHardeningNeeded => Standing::ConfigurationAndSwHardeningNeeded,
        TcbStatus::TDRelaunchAdvised => Standing::TdRelaunchAdvised,
        TcbStatus::TDRelaunchAdvisedConfigurationNeeded => Standing::TdRelaunchAdvisedConfigurationNeeded,
        TcbStatus::OutOfDate => Standing::OutOfDate,
        TcbStatus::OutOfDateConfigurationNeeded => Standing::OutOfDateConfigurationNeeded,
        TcbStatus::Revoked => Standing::Revoked,
    }
}

const fn status_of(standing: Standing) -> Option<TcbStatus> {
    Some(match standing {
        Standing::UpToDate => TcbStatus::UpToDate,
        Standing::SwHardeningNeeded => TcbStatus::SWHardeningNeeded,
        Standing::ConfigurationNeeded => TcbStatus::ConfigurationNeeded,
        Standing::ConfigurationAndSwHardeningNeeded => TcbStatus::ConfigurationAndSWHardeningNeeded,
        Standing::TdRelaunchAdvised => TcbStatus::TDRelaunchAdvised,
        Standing::TdRelaunchAdvisedConfigurationNeeded => TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
        Standing::OutOfDate => TcbStatus::OutOfDate,
        Standing::OutOfDateConfigurationNeeded => TcbStatus::OutOfDateConfigurationNeeded,
        Standing::Revoked => return None,
    })
}
