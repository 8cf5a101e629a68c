//! What is accepted, as data.
//!
//! Whoever writes a policy names every guest image exactly: there are no patterns, because a register that may hold
//! anything is a door (the host writes ACPI tables that RTMR0 measures and the guest's kernel executes).
//! Unknown names are refused, so that a misspelt rule is not one that silently does nothing.

mod fixed;
mod narrow;
mod problems;

pub use fixed::FixedPolicy;
pub use narrow::Allowed;
pub use problems::Problem;

use serde::{Deserialize, Serialize};

use crate::{Hex, Report, Role, Standing, Tier, canonical, gpu::GpuPolicy};

/// A second quote is asked for within this time at the latest.
const MAX_AGE_S: u32 = 600;
/// What is hashed before an image's registers.
const DIGEST_OF: &[u8] = b"mulberry-image-v1\0";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What reaches only a lower one is refused. `open` accepts keyed certificates, which prove nothing about a machine.
    #[serde(default = "tee")]
    pub min_tier: Tier,
    /// Guests that may run; nothing else may.
    #[serde(default)]
    pub images: Vec<Image>,
    #[serde(default)]
    pub tcb: TcbRules,
    #[serde(default)]
    pub platforms: Platforms,
    /// Which GPUs count for tier `tee+gpu`; without it none does.
    #[serde(default)]
    pub gpu: Option<GpuPolicy>,
    #[serde(default)]
    pub interop: Interop,
    /// Guests that are named by Cocoon's image hash. Only with `interop: cocoon`.
    #[serde(default)]
    pub cocoon_images: Vec<CocoonImage>,
    /// Manifests of weights, one of which the claims of a worker name; without it any may be served. It is written only
    /// where it is said, so that a policy without it keeps its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<Hex<32>>>,
    /// For how long a verdict may stand before the peer proves itself anew; at most 600.
    #[serde(default = "max_age_s")]
    pub max_age_s: u32,
}

/// One guest image: every measured register, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub name: String,
    pub roles: Vec<Role>,
    pub mrtd: Hex<48>,
    pub rtmr: [Hex<48>; 4],
    pub td_attributes: Hex<8>,
    pub xfam: Hex<8>,
    #[serde(default = "zero")]
    pub mr_config_id: Hex<48>,
    #[serde(default = "zero")]
    pub mr_owner: Hex<48>,
    #[serde(default = "zero")]
    pub mr_owner_config: Hex<48>,
    /// TDX modules that it may run under; none listed means every one that Intel vouches for.
    #[serde(default)]
    pub mr_seam: Vec<Hex<48>>,
}

/// One guest image by Cocoon's digest of its registers. Cocoon's digest leaves out attributes and XFAM; here they count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CocoonImage {
    pub name: String,
    pub roles: Vec<Role>,
    pub image_hash: Hex<32>,
    pub td_attributes: Hex<8>,
    pub xfam: Hex<8>,
    #[serde(default)]
    pub mr_seam: Vec<Hex<48>>,
}

/// How the platform's firmware must stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcbRules {
    #[serde(default = "up_to_date")]
    pub statuses: Vec<Standing>,
    /// How long after the date of its TCB level an out-of-date platform is accepted, where `statuses` lists that.
    #[serde(default)]
    pub grace_days: u16,
    /// Such as `INTEL-SA-01036`; refused whatever the status.
    #[serde(default)]
    pub rejected_advisories: Vec<String>,
    /// The least `tcbEvaluationDataNumber` of collateral.
    #[serde(default)]
    pub min_evaluation: u32,
    /// The least version of each part of the TDX module.
    #[serde(default)]
    pub min_tee_tcb_svn: Option<Hex<16>>,
}

/// Whose machines. A forged quote of a machine opened up by its owner passes everything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platforms {
    #[serde(default)]
    pub mode: PlatformMode,
    /// Of the processor, from its PCK certificate.
    #[serde(default)]
    pub ppid: Vec<Hex<16>>,
    /// Of the platform instance, which changes when the owner registers it anew.
    #[serde(default)]
    pub instance: Vec<Hex<16>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlatformMode {
    /// Any that Intel vouches for, at most tier `tee` where it is not on a list.
    #[default]
    Any,
    Listed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interop {
    #[default]
    None,
    /// Certificates as Cocoon makes them, whose quotes name a key and neither role, time nor connection.
    Cocoon,
}

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
#[error("it is not a policy: {0}")]
pub struct NotPolicy(#[from] serde_json::Error);

impl Policy {
    /// Nothing but these guests, on up-to-date platforms, at tier `tee`.
    pub fn of(images: Vec<Image>) -> Self {
        Self {
            min_tier: tee(),
            images,
            tcb: TcbRules::default(),
            platforms: Platforms::default(),
            gpu: None,
            interop: Interop::None,
            cocoon_images: Vec::new(),
            models: None,
            max_age_s: max_age_s(),
        }
    }

    /// Reads it; whether it makes sense is told by [`problems`](Self::problems).
    pub fn from_json(text: &str) -> Result<Self, NotPolicy> {
        Ok(serde_json::from_str(text)?)
    }

    /// In the form of RFC 8785, with every field: one policy has one text.
    pub fn canonical(&self) -> String {
        canonical::text(self)
    }

    /// SHA-256 of the canonical text.
    pub fn digest(&self) -> Hex<32> {
        crate::digest::sha256(&[self.canonical().as_bytes()])
    }

    /// What cannot be meant. A policy with any is not put in force.
    pub fn problems(&self) -> Vec<Problem> {
        problems::of(self)
    }
}

impl Image {
    /// The image that a guest with this report was started from. Somebody must have reason to trust that guest.
    pub fn of(name: &str, roles: &[Role], report: &Report) -> Self {
        Self {
            name: name.to_owned(),
            roles: roles.to_vec(),
            mrtd: report.mrtd,
            rtmr: report.rtmr,
            td_attributes: report.td_attributes,
            xfam: report.xfam,
            mr_config_id: report.mr_config_id,
            mr_owner: report.mr_owner,
            mr_owner_config: report.mr_owner_config,
            mr_seam: Vec::new(),
        }
    }

    /// What a list of images names it by: SHA-256 of `mulberry-image-v1`, a zero, MRTD, RTMR 0 to 3, TD attributes, XFAM,
    /// MRCONFIGID, MROWNER and MROWNERCONFIG. Neither its name nor its roles, which each operator gives it.
    pub fn digest(&self) -> Hex<32> {
        let [rtmr0, rtmr1, rtmr2, rtmr3] = &self.rtmr;
        crate::digest::sha256(&[
            DIGEST_OF,
            &self.mrtd.0,
            &rtmr0.0,
            &rtmr1.0,
            &rtmr2.0,
            &rtmr3.0,
            &self.td_attributes.0,
            &self.xfam.0,
            &self.mr_config_id.0,
            &self.mr_owner.0,
            &self.mr_owner_config.0,
        ])
    }

    /// Whether these registers are its; attributes and the rest are compared apart, to say what differs.
    pub(crate) fn measures(&self, report: &Report) -> bool {
        self.mrtd == report.mrtd && self.rtmr == report.rtmr
    }
}

impl Platforms {
    /// Whether it is on a list, whatever the mode.
    pub(crate) fn lists(&self, ppid: &Hex<16>, instance: Option<&Hex<16>>) -> bool {
        self.ppid.contains(ppid) || instance.is_some_and(|instance| self.instance.contains(instance))
    }
}

impl Default for TcbRules {
    fn default() -> Self {
        Self {
            statuses: up_to_date(),
            grace_days: 0,
            rejected_advisories: Vec::new(),
            min_evaluation: 0,
            min_tee_tcb_svn: None,
        }
    }
}

impl Default for Platforms {
    fn default() -> Self {
        Self {
            mode: PlatformMode::Any,
            ppid: Vec::new(),
            instance: Vec::new(),
        }
    }
}

fn tee() -> Tier {
    Tier::Tee
}

fn max_age_s() -> u32 {
    MAX_AGE_S
}

fn zero() -> Hex<48> {
    Hex([0; 48])
}

fn up_to_date() -> Vec<Standing> {
    vec![Standing::UpToDate]
}
