//! What a policy says that nobody can mean.

use std::fmt;

use super::{CocoonImage, Image, Interop, MAX_AGE_S, PlatformMode, Policy};
use crate::{Hex, Standing, Tier};

/// Where it stands, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Such as `images[0].mrtd`.
    pub at: String,
    pub what: &'static str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)
    }
}

pub(super) fn of(policy: &Policy) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    if policy.min_tier > Tier::Open && policy.images.is_empty() && policy.cocoon_images.is_empty() {
        problems.add(
            "images",
            "none is listed, so nothing above tier open is accepted; list your guest images",
        );
    }
    let mut names: Vec<&str> = Vec::new();
    for (at, image) in policy.images.iter().enumerate() {
        problems.image(&format!("images[{at}]"), image);
        names.push(&image.name);
    }
    for (at, image) in policy.cocoon_images.iter().enumerate() {
        problems.cocoon_image(&format!("cocoon_images[{at}]"), image);
        names.push(&image.name);
    }
    names.sort_unstable();
    if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        problems.add(
            "images",
            "two images have one name, so that a verdict could not say which",
        );
    }
    match (policy.interop, policy.cocoon_images.is_empty()) {
        (Interop::None, false) => problems.add("cocoon_images", "they count only with interop: cocoon"),
        (Interop::Cocoon, true) => problems.add("interop", "cocoon without any cocoon_images accepts nothing"),
        (Interop::None, true) | (Interop::Cocoon, false) => {}
    }
    problems.tcb(policy);
    problems.platforms(policy);
    problems.gpu(policy);
    if policy.max_age_s == 0 || policy.max_age_s > MAX_AGE_S {
        problems.add("max_age_s", "it must be from 1 to 600");
    }
    problems.0
}

/// Of TD attributes: bits 0 to 15 (debug, profiling and reserved), 17 (SERVTD_EXT), 23 to 26 (reserved), 29 (MIGRATABLE)
/// and 32 to 61 (reserved). Intel TDX Module ABI Specification 348551-008, table 3.23.
const FORBIDDEN: u64 = 0x3fff_ffff_2782_ffff;
const SEPT_VE_DISABLE: u64 = 1 << 28;

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, at: impl Into<String>, what: &'static str) {
        self.0.push(Problem { at: at.into(), what });
    }

    fn image(&mut self, at: &str, image: &Image) {
        self.name(at, &image.name);
        if image.roles.is_empty() {
            self.add(format!("{at}.roles"), "none is listed, so the image may run as nothing");
        }
        if image.mrtd.is_zero() {
            self.add(
                format!("{at}.mrtd"),
                "all zero is no measurement; a software quote may say it",
            );
        }
        // RTMR3 is the guest's own, and may be untouched.
        for (number, register) in image.rtmr.iter().take(3).enumerate() {
            if register.is_zero() {
                self.add(
                    format!("{at}.rtmr[{number}]"),
                    "all zero: nothing was measured there, so anything could have been booted",
                );
            }
        }
        self.attributes(at, &image.td_attributes, &image.xfam);
    }

    fn cocoon_image(&mut self, at: &str, image: &CocoonImage) {
        self.name(at, &image.name);
        if image.roles.is_empty() {
            self.add(format!("{at}.roles"), "none is listed, so the image may run as nothing");
        }
        if image.image_hash.is_zero() {
            self.add(format!("{at}.image_hash"), "all zero is no digest");
        }
        self.attributes(at, &image.td_attributes, &image.xfam);
    }

    fn name(&mut self, at: &str, name: &str) {
        if name.is_empty() {
            self.add(format!("{at}.name"), "it is empty; verdicts show it");
        }
    }

    fn attributes(&mut self, at: &str, td_attributes: &Hex<8>, xfam: &Hex<8>) {
        let bits = u64::from_le_bytes(td_attributes.0);
        if bits & FORBIDDEN != 0 {
            self.add(
                format!("{at}.td_attributes"),
                "no quote is accepted with debug, profiling, migration, SERVTD_EXT or a reserved bit",
            );
        }
        if bits & SEPT_VE_DISABLE == 0 {
            self.add(
                format!("{at}.td_attributes"),
                "bit 28, SEPT_VE_DISABLE, is not set: the host could trick the guest's kernel; no quote without it is accepted",
            );
        }
        if xfam.is_zero() {
            self.add(format!("{at}.xfam"), "bits 0 and 1 are always set in a TDX guest");
        }
    }

    fn tcb(&mut self, policy: &Policy) {
        let tcb = &policy.tcb;
        if tcb.statuses.is_empty() {
            self.add("tcb.statuses", "none is listed, so no platform is accepted");
        }
        if tcb.statuses.contains(&Standing::Revoked) {
            self.add("tcb.statuses", "Revoked is accepted by no policy");
        }
        let out_of_date = [Standing::OutOfDate, Standing::OutOfDateConfigurationNeeded]
            .iter()
            .any(|status| tcb.statuses.contains(status));
        if out_of_date && tcb.grace_days == 0 {
            self.add(
                "tcb.grace_days",
                "0 days accept no platform that is out of date, though statuses lists it",
            );
        }
        if !out_of_date && tcb.grace_days > 0 {
            self.add("tcb.grace_days", "they count only where statuses lists OutOfDate");
        }
    }

    fn platforms(&mut self, policy: &Policy) {
        let platforms = &policy.platforms;
        let listed = !platforms.ppid.is_empty() || !platforms.instance.is_empty();
        if platforms.mode == PlatformMode::Listed && !listed {
            self.add("platforms", "only listed ones are accepted, and none is listed");
        }
        if policy.min_tier == Tier::TeeGpu && !listed {
            self.add("platforms", "tier tee+gpu needs a listed platform, and none is listed");
        }
        if platforms.ppid.iter().chain(&platforms.instance).any(Hex::is_zero) {
            self.add("platforms", "all zero is no platform");
        }
    }
    fn gpu(&mut self, policy: &Policy) {
        let Some(gpu) = &policy.gpu else {
            if policy.min_tier == Tier::TeeGpu {
                self.add("gpu", "tier tee+gpu needs rules for GPUs, and there are none");
            }
            return;
        };
        if gpu.arch.iter().all(|arch| arch.is_switch()) {
            self.add("gpu.arch", "no kind of GPU is listed, so none is accepted");
        }
        if gpu.modes.is_empty() {
            self.add("gpu.modes", "none is listed, so no GPU is accepted");
        }
        if gpu.rims.is_empty() {
            self.add("gpu.rims", "no table of measurements is listed, so no GPU is accepted");
        }
    }
}
