//! Evidence and a time in, a verdict or a refusal out. No I/O and no clock.
//!
//! Read [`Verifier`] first: it has the steps in their order.

mod anchor;
mod appraise;
mod attester;
pub mod binding;
pub mod bundle;
mod cache;
mod canonical;
pub mod cbor;
mod certificate;
mod claims;
mod collateral;
mod digest;
pub mod event;
mod evidence;
pub mod gpu;
mod hex;
mod policy;
mod public_key;
mod quote;
mod refusal;
mod role;
mod standing;
mod tier;
mod verdict;

pub use anchor::{Anchor, TrustAnchor};
pub use appraise::{Basis, CocoonCertificate, Expected, Verifier};
pub use attester::{Attester, NoQuote};
pub use bundle::Bundle;
pub use claims::{Claims, MAX_SECONDS as MAX_CLAIMS_SECONDS};
pub use collateral::{Ca, Collateral, CollateralParts, CollateralSet, Fmspc, MAX_BYTES as MAX_COLLATERAL_BYTES};
pub use evidence::{EVIDENCE_OID, Evidence, MAX_BYTES as MAX_EVIDENCE_BYTES};
pub use hex::Hex;
pub use policy::{
    Allowed, CocoonImage, FixedPolicy, Image, Interop, NotPolicy, PlatformMode, Platforms, Policy, Problem, TcbRules,
};
pub use public_key::{KeyKind, PublicKey};
pub use quote::{MAX_BYTES as MAX_QUOTE_BYTES, Quote, Report, Signature, Version};
pub use refusal::{Part, Refusal, Register};
pub use role::Role;
pub use standing::Standing;
pub use tier::Tier;
pub use verdict::{Platform, Tcb, Verdict};
