//! What GPUs must be, as data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{eat::Nras, measurements::Rim};

/// The part of a policy that speaks of GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuPolicy {
    /// How many GPUs must send evidence, at least; switches are not counted. All that do must pass.
    #[serde(default = "one")]
    pub devices: u8,
    /// Kinds that are accepted. Switches are listed too, where they are.
    pub arch: Vec<Arch>,
    /// Modes that are accepted. Protected PCIe leaves the links between GPUs in the clear.
    #[serde(default = "passthrough")]
    pub modes: Vec<Mode>,
    /// The measurements that drivers and VBIOSes may have. A device without its two tables here is refused: nothing would
    /// say what it runs.
    #[serde(default)]
    pub rims: Vec<Rim>,
    /// How old an OCSP answer may be. Never more than 24 hours, whatever stands here.
    #[serde(default = "day")]
    pub ocsp_max_age_s: u32,
    /// Whose EATs may stand in for OCSP answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nras: Option<Nras>,
}

/// A generation of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    Hopper,
    Blackwell,
    /// The NVSwitch between Hoppers.
    Ls10,
}

impl Arch {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hopper => "hopper",
            Self::Blackwell => "blackwell",
            Self::Ls10 => "ls10",
        }
    }

    pub const fn is_switch(self) -> bool {
        matches!(self, Self::Ls10)
    }
}

/// How GPUs are given to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mode {
    /// One GPU, its bus encrypted.
    #[serde(rename = "spt")]
    SinglePassthrough,
    /// Several GPUs, the bus and the links between them encrypted.
    #[serde(rename = "mpt")]
    MultiPassthrough,
    /// Several GPUs and switches; the links between them are not encrypted.
    #[serde(rename = "ppcie")]
    ProtectedPcie,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::SinglePassthrough => "spt",
            Self::MultiPassthrough => "mpt",
            Self::ProtectedPcie => "ppcie",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn one() -> u8 {
    1
}

fn passthrough() -> Vec<Mode> {
    vec![Mode::SinglePassthrough, Mode::MultiPassthrough]
}

fn day() -> u32 {
    super::ocsp::AGE_MAX_S
}
