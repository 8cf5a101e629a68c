//! The registry: what a network allows, kept by a contract whose owners change it slowly and in the open.
//!
//! The source is `billing/ton/contracts/registry.tolk`; `docs/registry.md` says what it promises and what it does not.
//!
//! - [`read`] asks a chain for the registry at an address that the operator named, and gives a [`Registry`] with where it
//!   comes from.
//! - Who uses one only ever allows less than it would by itself: [`Registry::fee`], [`Registry::allows_gateway`],
//!   [`Registry::allows_model`] and [`Registry::roles`] answer what is to be taken away, never what is to be added.
//! - [`Request`] and [`signed_bytes`] are for owners.
//!
//! It leaves to you: whether the source tells the truth (ask two), and to keep the last one that you saw
//! ([`Registry::follows`]), for a source can show an older one.

mod charter;
mod reading;
mod request;
mod state;

use billing::channel::{Account, Network};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::StateInit;

use crate::contract::BASECHAIN;

pub use charter::{Charter, Digest, Lists, MOST_ENTRIES, MOST_OWNERS, Vote, signed_bytes};
pub use reading::{Fee, NotRegistry, Older, ReadError, Registry, heard, judge, read};
pub use request::Request;
pub use state::{Pending, State};

/// The compiled contract as a bag of cells, as `billing/ton/contracts` checks it in.
pub const CODE: &[u8] = include_bytes!("../contracts/registry.boc");

/// Hash of the code's root cell. Nobody can change the code of a registry.
pub const CODE_HASH: [u8; 32] = [
    0xb7, 0x5f, 0x39, 0x57, 0xa7, 0xe2, 0x13, 0xb4, 0x4e, 0xc1, 0xfa, 0xa8, 0x03, 0x85, 0x75, 0xc0, 0x63, 0x33, 0x69,
    0x28, 0xc4, 0x35, 0x38, 0x99, 0xce, 0xf6, 0xea, 0x93, 0x3e, 0x4b, 0x66, 0x01,
];

/// The compiled contract.
#[must_use]
pub fn code() -> Cell {
    Boc::decode(CODE).expect("checked in, and read by a test")
}

/// What a registry with this first charter is born with.
#[must_use]
pub fn state_init(network: Network, charter: &Charter) -> StateInit {
    StateInit {
        code: Some(code()),
        data: Some(State::newborn(network, charter.clone()).encode()),
        ..StateInit::default()
    }
}

/// Where it is, for ever after: the address says who its first owners are.
#[must_use]
pub fn account(network: Network, charter: &Charter) -> Account {
    let init = CellBuilder::build_from(state_init(network, charter)).expect("two references and five bits");
    Account {
        workchain: BASECHAIN,
        hash: init.repr_hash().0,
    }
}
