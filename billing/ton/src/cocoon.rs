//! Cocoon's cells: its signed payments, what its contracts keep, and its registry, read from a chain.
//!
//! Cocoon (TelegramMessenger/cocoon) is another network of this kind. Its *proxy* signs every payment: charges of clients,
//! payouts of workers, its own end. A client signs nothing, so that such a statement proves what the proxy claimed and not
//! that anybody owed it. `docs/cocoon.md` says what of Cocoon we speak and what we do not.
//!
//! - [`Signed`]: a statement as it is handed out and sent to a contract; [`Genuine`]: one whose signature was checked.
//! - [`Registry`]: what the root contract keeps; [`registry`] asks a chain for it.
//! - [`ClientData`], [`WorkerData`], [`ProxyData`]: what the other contracts keep, and where they are.
//!
//! It refuses whatever is not of the layout to the last bit, amounts beyond [`Nano::MOST`](billing::Nano::MOST), and forms
//! of parameters that are newer than what was known when this was written.
//! It leaves to you whether the chain tells the truth, and whether you trust the registry's one owner, who can change all
//! of it in one message.
//!
//! The facts are those of Cocoon's public sources at b75d444 and of cocoon-contracts at ae5eebf. The names are ours where
//! theirs say less: an *image* is a measured virtual machine, which they call a type.

mod data;
mod params;
mod registry;
mod signed;
mod states;
#[cfg(test)]
mod tests;

pub use data::{ProxyEntry, Registry};
pub use params::{Codes, Multipliers, Params};
pub use registry::{RegistryError, registry};
pub use signed::{Genuine, Payload, Signed, Statement};
pub use states::{ClientData, Phase, ProxyData, WorkerData};

use crate::contract::Malformed;

/// Why cells are none of Cocoon's, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCocoon {
    #[error("{0}")]
    Cells(#[from] Malformed),
    #[error("no signed statement of Cocoon begins with {0:#010x}")]
    Operation(u32),
    /// The contracts refuse it too: what surrounds a statement is not signed.
    #[error("a statement's envelope is for the operation {outer:#010x}, number {outer_id}, and the statement is not")]
    Envelope { outer: u32, outer_id: u64 },
    /// A newer form than the ones that are known: 0 to 3.
    #[error(
        "the parameters have the form {0}; forms 0 to 3 are known, so that a newer version of this program is needed"
    )]
    Form(u8),
    #[error("a contract is in phase {0}; there are 0, 1 and 2")]
    Phase(u8),
    #[error("a list of the registry cannot be read")]
    List,
}

impl From<tycho_types::error::Error> for NotCocoon {
    fn from(error: tycho_types::error::Error) -> Self {
        Self::Cells(error.into())
    }
}
