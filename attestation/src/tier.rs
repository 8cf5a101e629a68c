//! What protects a prompt where it is answered.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Ordered: a request that asks for one is served by it or a higher one, never by a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    #[serde(rename = "open")]
    Open,
    #[serde(rename = "tee")]
    Tee,
    #[serde(rename = "tee+gpu")]
    TeeGpu,
}

impl Tier {
    pub const ALL: [Self; 3] = [Self::Open, Self::Tee, Self::TeeGpu];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Tee => "tee",
            Self::TeeGpu => "tee+gpu",
        }
    }

    /// What an app is told, always in these words.
    pub const fn promise(self) -> &'static str {
        match self {
            Self::Open => "Not confidential: whoever runs the machine can read prompts and answers.",
            Self::Tee => {
                "The CPU side is an attested confidential VM. Data on the GPU and its bus may be visible to the \
                 machine's owner; physical attacks on the machine are not excluded."
            }
            Self::TeeGpu => {
                "CPU and GPU are attested and the platform is a known one. The GPU is not cryptographically bound to \
                 the guest (no vendor offers that yet)."
            }
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
