//! What genuine evidence leads to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::certificate;

/// *Intel SGX Root CA*, valid until 2049, from
/// `https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer`.
/// SHA-256 44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3.
const INTEL: &[u8] = include_bytes!("anchor/intel.der");

/// The one root that a verifier believes. There is no other way to be believed.
#[derive(Clone, PartialEq, Eq)]
pub enum TrustAnchor {
    Intel,
    /// A root certificate in DER, of a software TDX: proves nothing about any machine.
    Development(Vec<u8>),
}

/// Which kind of root a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    Intel,
    Development,
}

impl TrustAnchor {
    pub fn root_der(&self) -> &[u8] {
        match self {
            Self::Intel => INTEL,
            Self::Development(der) => der,
        }
    }

    /// Whether both are one root key, though one may be another certificate of it.
    pub(crate) fn has_key_of(&self, other: &Self) -> bool {
        let key = |der| certificate::parse(der).map(|root| root.public_key().raw.to_vec());
        let (own, others) = (self.root_der(), other.root_der());
        self.kind() == other.kind() && (own == others || key(own).is_some_and(|own| key(others) == Some(own)))
    }

    pub const fn kind(&self) -> Anchor {
        match self {
            Self::Intel => Anchor::Intel,
            Self::Development(_) => Anchor::Development,
        }
    }
}

impl fmt::Debug for TrustAnchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().fmt(f)
    }
}

impl Anchor {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intel => "intel",
            Self::Development => "development",
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
