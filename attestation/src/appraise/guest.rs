//! Steps 4 to 6: the guest is one that the policy lists.

use crate::{Hex, Image, Policy, Refusal, Register, Report, Role, digest::sha256};

/// The name of the image that this guest was started from, and may play this role.
///
/// Where several images have the same measurements, one of them must fit whole; where none does, the first says why.
pub(super) fn image<'a>(report: &Report, role: Role, policy: &'a Policy) -> Result<&'a str, Refusal> {
    let mut refusal = None;
    for image in policy.images.iter().filter(|image| image.measures(report)) {
        match check(report, role, image) {
            Ok(()) => return Ok(&image.name),
            Err(why) => refusal = refusal.or(Some(why)),
        }
    }
    Err(refusal.unwrap_or(Refusal::ImageUnknown {
        mrtd: Box::new(report.mrtd),
    }))
}

/// The same by Cocoon's digest of the registers. Its digest covers neither attributes nor XFAM; they are compared here all
/// the same.
pub(super) fn cocoon_image<'a>(report: &Report, role: Role, policy: &'a Policy) -> Result<&'a str, Refusal> {
    let hash = cocoon_image_hash(report);
    let mut refusal = None;
    for image in policy.cocoon_images.iter().filter(|image| image.image_hash == hash) {
        let fits = plays(role, &image.roles, &image.name)
            .and_then(|()| attributes(report, &image.td_attributes, &image.xfam))
            .and_then(|()| module(report, &image.mr_seam))
            .and_then(|()| service_td(report));
        match fits {
            Ok(()) => return Ok(&image.name),
            Err(why) => refusal = refusal.or(Some(why)),
        }
    }
    Err(refusal.unwrap_or(Refusal::ImageUnknown {
        mrtd: Box::new(report.mrtd),
    }))
}

/// SHA-256 of MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMR 0 to 3 and 64 zeros in place of the report data.
pub(super) fn cocoon_image_hash(report: &Report) -> Hex<32> {
    let [rtmr0, rtmr1, rtmr2, rtmr3] = &report.rtmr;
    sha256(&[
        &report.mrtd.0,
        &report.mr_config_id.0,
        &report.mr_owner.0,
        &report.mr_owner_config.0,
        &rtmr0.0,
        &rtmr1.0,
        &rtmr2.0,
        &rtmr3.0,
        &[0; 64],
    ])
}

fn plays(role: Role, roles: &[Role], image: &str) -> Result<(), Refusal> {
    if roles.contains(&role) {
        return Ok(());
    }
    Err(Refusal::ImageRole {
        image: image.to_owned(),
        role,
    })
}

fn check(report: &Report, role: Role, image: &Image) -> Result<(), Refusal> {
    plays(role, &image.roles, &image.name)?;
    attributes(report, &image.td_attributes, &image.xfam)?;
    for (register, expected, found) in [
        (Register::MrConfigId, image.mr_config_id, report.mr_config_id),
        (Register::MrOwner, image.mr_owner, report.mr_owner),
        (Register::MrOwnerConfig, image.mr_owner_config, report.mr_owner_config),
    ] {
        if expected != found {
            return Err(Refusal::TdConfig {
                register,
                expected: Box::new(expected),
                found: Box::new(found),
            });
        }
    }
    module(report, &image.mr_seam)?;
    service_td(report)
}

/// All bits of both, so that what Intel defines later is not let in unseen. `dcap-qvl` looks at some of them only.
fn attributes(report: &Report, td_attributes: &Hex<8>, xfam: &Hex<8>) -> Result<(), Refusal> {
    if report.is_debug() {
        return Err(Refusal::TdDebug {
            found: report.td_attributes,
        });
    }
    if report.td_attributes != *td_attributes {
        return Err(Refusal::TdAttributes {
            expected: *td_attributes,
            found: report.td_attributes,
        });
    }
    if report.xfam != *xfam {
        return Err(Refusal::Xfam {
            expected: *xfam,
            found: report.xfam,
        });
    }
    Ok(())
}

fn module(report: &Report, listed: &[Hex<48>]) -> Result<(), Refusal> {
    if listed.is_empty() || listed.contains(&report.mr_seam) {
        return Ok(());
    }
    Err(Refusal::ModuleUnlisted {
        found: Box::new(report.mr_seam),
    })
}

fn service_td(report: &Report) -> Result<(), Refusal> {
    match report.service_td {
        Some(_) => Err(Refusal::ServiceTd),
        None => Ok(()),
    }
}
