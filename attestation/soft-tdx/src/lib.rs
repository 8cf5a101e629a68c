//! A software TDX for development and tests: quotes in the real format under a root of its own, which no hardware
//! vouches for.
//!
//! **Danger.** Whoever has the seed of a [`SoftTdx`] can claim to be any guest on any platform below its root. No
//! production build links this package (`tests/run production`). A verifier takes what is made here only under a trust
//! anchor that is named `danger_…` in the configuration, says "development" in each verdict, and never beside Intel's.
//!
//! What is made here goes the way of real evidence: there is no second acceptance path for it. Tests start from what is
//! valid and break one thing:
//!
//! ```
//! use attestation_soft_tdx::SoftTdx;
//!
//! let now = 1_795_334_400;
//! let debug = SoftTdx::builder().debug().build();
//! let (quote, collateral) = (debug.quote(&[7; 64]), debug.collateral(now));
//! # assert!(quote.len() > 4_000 && collateral.tcb_info.starts_with(b"{\"tcbInfo\":"));
//! ```

mod builder;
mod calendar;
mod collateral;
mod der;
pub mod gpu;
mod judged;
mod key;
pub mod layout;
mod pccs;
mod pem;
mod platform;
pub mod recipe;
mod soft;
mod td;
mod valid;
mod x509;

pub use builder::Builder;
pub use collateral::Collateral;
pub use judged::policy;
pub use pccs::Answer;
pub use platform::{Configuration, FMSPC, Platform, QuotingEnclave};
pub use soft::SoftTdx;
pub use td::{Extended, TD_ATTRIBUTES, Td, XFAM, attribute};
