//! What peers must prove, and what this gateway proves itself.

use std::path::PathBuf;
use std::time::Duration;

use attestation_ratls::collateral::Source;

use super::decode::{Decode, Section, scalar};
use super::describe::{self, Definitions, Describe};
use super::document::Node;
use super::problem::Problems;
use super::schema::{choice, section};
use super::show::{Show, Shown};
use crate::identity::{LIFE, SHORTEST_LIFE};

section! {
    /// What workers and gateways prove of their machines.
    pub(crate) struct Attestation {
        /// A file that says which guests may serve, as `mulberry attest policy init` writes it. Without one no evidence is accepted.
        policy: Option<PathBuf> = None,
        /// Where what Intel says of platforms comes from, in order: `intel`, the URL of a PCCS, or `bundle:FOLDER`.
        collateral: Vec<CollateralFrom> = vec![CollateralFrom::Intel],
        /// What this gateway shows of its own machine: `none`, or `tdx` in a TDX guest.
        evidence: EvidenceFrom = EvidenceFrom::None,
        /// How long a certificate of this gateway holds, from 1m to 24h. Connections are made anew when half of that is over.
        certificate_life: Duration = LIFE,
        /// Who may serve besides the workers that backends name.
        enrolment: Enrolment = Enrolment::Closed,
        /// A file with a root certificate that stands in for Intel's: whoever has its key can forge all evidence. For development.
        danger_development_trust_anchor: Option<PathBuf> = None,
    }
    check |attestation: &Attestation, section: &Section<'_>, problems: &mut Problems| {
        if attestation.enrolment == Enrolment::Attested && attestation.policy.is_none() {
            let fix = "name a policy: mulberry attest policy init";
            section.report("enrolment", "accepts evidence by no policy", fix, problems);
        }
        if !(SHORTEST_LIFE..=LIFE).contains(&attestation.certificate_life) {
            let fix = "write a time from 1m to 24h";
            section.report("certificate_life", "is no time that a certificate may hold", fix, problems);
        }
    }
}

choice! {
    /// Who may serve besides the workers that backends name.
    pub(crate) enum Enrolment {
        /// Nobody.
        Closed = "closed",
        /// Whoever proves a guest of the policy, for backends that have places.
        Attested = "attested",
        /// Strangers without evidence too, for requests that ask for tier `open` themselves.
        Open = "open",
    }
}

section! {
    /// Places of a backend that workers take by themselves.
    pub(crate) struct Places {
        /// How many there are.
        places: u32 = 8,
        /// What a worker must prove at least to take one.
        min_tier: super::Tier = super::Tier::Tee,
    }
    check |places: &Places, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(&[("places", places.places == 0)], problems);
        if places.places > MAX_PLACES {
            let fix = "write a number up to 1024";
            section.report("places", "is more than one gateway can hold", fix, problems);
        }
    }
}

/// Each is an upstream, with metrics of its own.
const MAX_PLACES: u32 = 1024;

/// Where collateral comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CollateralFrom {
    Intel,
    /// The URL of a PCCS.
    Pccs(Source),
    /// A folder that somebody carried here.
    Bundle(PathBuf),
}

impl CollateralFrom {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "intel" {
            return Ok(Self::Intel);
        }
        match text.strip_prefix("bundle:") {
            Some("") => Err("name the folder: `bundle:FOLDER`".to_owned()),
            Some(folder) => Ok(Self::Bundle(folder.into())),
            None => Source::parse(text)
                .map(Self::Pccs)
                .map_err(|error| format!("{error}; or write `intel` or `bundle:FOLDER`")),
        }
    }
}

impl std::fmt::Display for CollateralFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Intel => f.write_str("intel"),
            Self::Pccs(source) => f.write_str(source.url()),
            Self::Bundle(folder) => write!(f, "bundle:{}", folder.display()),
        }
    }
}

impl Decode for CollateralFrom {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a source of collateral", problems)?;
        match Self::parse(text) {
            Ok(from) => Some(from),
            Err(fix) => {
                let message = format!("{} is no source of collateral", node.quoted());
                problems.report(&node.place, key, message, fix);
                None
            }
        }
    }
}

impl Describe for CollateralFrom {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^(intel|bundle:.+|https?://.+)$")
    }
}

impl Show for CollateralFrom {
    fn show(&self) -> Shown {
        Shown::text(self.to_string())
    }
}

/// Who quotes for this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EvidenceFrom {
    /// Nobody: the node is known by its key.
    None,
    /// The TDX guest that this process runs in.
    Tdx,
    /// Software, whose seed is in a file. Whoever has the seed can say the same.
    DangerSoftware {
        seed: PathBuf,
        /// Of which guest image it says to be.
        image: Option<String>,
    },
}

impl EvidenceFrom {
    const SOFTWARE: [&str; 2] = ["danger_software:", "danger-software:"];

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::None),
            "tdx" => return Ok(Self::Tdx),
            _ => {}
        }
        let seed = Self::SOFTWARE.iter().find_map(|name| text.strip_prefix(name));
        let Some(seed) = seed.filter(|seed| !seed.is_empty()) else {
            return Err("write `none`, or `tdx` in a TDX guest".to_owned());
        };
        if cfg!(not(feature = "demo")) {
            return Err("this build has no software TDX; write `none` or `tdx`".to_owned());
        }
        let (seed, image) = match seed.split_once('#') {
            Some((seed, image)) => (seed, Some(image.to_owned())),
            None => (seed, None),
        };
        Ok(Self::DangerSoftware {
            seed: seed.into(),
            image,
        })
    }
}

impl std::fmt::Display for EvidenceFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Tdx => f.write_str("tdx"),
            Self::DangerSoftware { seed, image } => {
                write!(f, "danger_software:{}", seed.display())?;
                image.iter().try_for_each(|image| write!(f, "#{image}"))
            }
        }
    }
}

impl Decode for EvidenceFrom {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "who quotes for this node", problems)?;
        match Self::parse(text) {
            Ok(from) => Some(from),
            Err(fix) => {
                let message = format!("{} makes no evidence", node.quoted());
                problems.report(&node.place, key, message, fix);
                None
            }
        }
    }
}

impl Describe for EvidenceFrom {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^(none|tdx|danger_software:.+)$")
    }
}

impl Show for EvidenceFrom {
    fn show(&self) -> Shown {
        Shown::text(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_collateral() {
        for good in ["intel", "https://pccs.example:8081", "bundle:/srv/collateral"] {
            assert_eq!(
                CollateralFrom::parse(good).map(|from| from.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in ["", "bundle:", "ftp://x", "https://me@pccs.example", "pccs.example"] {
            assert!(CollateralFrom::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn evidence() {
        for good in ["none", "tdx", "danger_software:seed", "danger_software:seed#b"] {
            assert_eq!(
                EvidenceFrom::parse(good).map(|from| from.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in ["", "sev", "danger_software:", "software:seed"] {
            assert!(EvidenceFrom::parse(bad).is_err(), "{bad}");
        }
    }
}
