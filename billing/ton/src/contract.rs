//! The channel contract: where a channel lives, what it is told, what it says, and whether we take it.
//!
//! The source is `billing/ton/contracts/channel.tolk`; `docs/contract.md` says what it promises and what it does not.
//! Everything here is a codec and a judgement: it sends nothing and asks nobody.
//!
//! - [`account`] and [`state_init`]: a channel's address follows from its terms and keys.
//! - [`Request`]: what is sent to a channel. [`Remittance`]: what it sends. [`State`]: what it keeps.
//! - [`accept`]: whether a channel that a chain shows is one to serve for, in numbered steps.
//! - [`Prices`]: what a message must bring for gas, at the prices that the chain has now.
//! - [`Failure`]: why a transaction of a channel changed nothing.
//!
//! It refuses whatever is not of the scheme to the last bit, and amounts beyond [`Nano::MOST`](billing::Nano::MOST),
//! which a chain can say and no ledger of ours can hold.
//! It leaves to you: whether the chain tells the truth, signatures, and what was signed before.
//!
//! Opening a channel, as a payer's wallet does:
//!
//! ```
//! use billing::Nano;
//! use billing::channel::{Account, Keys, Network, Terms};
//! use billing_ton::contract::{self, Request};
//!
//! let party = |byte| Account { workchain: 0, hash: [byte; 32] };
//! let terms = Terms {
//!     network: Network::TESTNET,
//!     close_delay_s: 86_400,
//!     fee_bps: 0,
//!     salt: 0x5eed, // drawn anew for each channel
//!     payer: party(1),
//!     payee: party(2),
//!     fee_dest: party(3),
//! };
//! contract::check_terms(&terms)?;
//! let keys = Keys { payer: [4; 32], payee: [5; 32] };
//! let to = contract::account(&terms, &keys);
//! let init = contract::state_init(&terms, &keys);
//! let body = Request::TopUp { query_id: 1, amount: Nano::saturating(5 * Nano::UNIT) }.encode();
//! // A wallet sends `body` with `init` to `to`, with the amount, the reserve and some gas.
//! assert_eq!(Request::decode(&body)?, Request::TopUp { query_id: 1, amount: Nano::saturating(5 * Nano::UNIT) });
//! # let _ = (to, init);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod accept;
mod failure;
mod former;
mod price;
mod remittance;
pub(crate) mod request;
pub(crate) mod state;
pub(crate) mod wire;

use billing::Nano;
use billing::channel::{Account, Keys, Terms};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::StateInit;

pub use accept::{
    Accepted, BadTerms, LEAST_CLOSE_DELAY_S, MOST_CLOSE_DELAY_S, Seen, Unacceptable, Wanted, accept, check_terms,
};
pub use failure::Failure;
pub use former::{Former, Heard, heard};
pub use price::{BadPrices, LEAST_FORWARDING, LEAST_GAS, MOST_NEEDED, Operation, Prices};
pub use remittance::Remittance;
pub use request::{Request, Settle};
pub use state::State;
pub use wire::Malformed;

/// The compiled contract as a bag of cells, as `billing/ton/contracts` checks it in.
pub const CODE: &[u8] = include_bytes!("../contracts/channel.boc");

/// Hash of the code's root cell: what a channel is known by. Another code is another contract.
pub const CODE_HASH: [u8; 32] = [
    0x97, 0x4d, 0x71, 0x38, 0xa0, 0xd0, 0x32, 0x4c, 0x6a, 0x63, 0xe6, 0x32, 0xf4, 0x85, 0x7c, 0xbb, 0xa0, 0x60, 0xe0,
    0xab, 0x3b, 0x19, 0x51, 0x19, 0xf9, 0x17, 0x0c, 0xc0, 0x68, 0xf0, 0xec, 0x2e,
];

/// What a channel keeps for rent beside its deposit: the first top-up brings it, and the payer has it back at the end.
pub const RENT_RESERVE: Nano = Nano::saturating(20_000_000);

/// The compiled contract.
#[must_use]
pub fn code() -> Cell {
    Boc::decode(CODE).expect("checked in, and read by a test")
}

/// What a channel is born with: goes along with its first message.
#[must_use]
pub fn state_init(terms: &Terms, keys: &Keys) -> StateInit {
    StateInit {
        code: Some(code()),
        data: Some(State::newborn(*terms, *keys).encode()),
        ..StateInit::default()
    }
}

/// Where a channel with these terms and keys is, before anybody opened it and for ever after.
#[must_use]
pub fn account(terms: &Terms, keys: &Keys) -> Account {
    let init = CellBuilder::build_from(state_init(terms, keys)).expect("two references and five bits");
    Account {
        // Nothing can be paid in anywhere else.
        workchain: BASECHAIN,
        hash: init.repr_hash().0,
    }
}

pub(crate) const BASECHAIN: i8 = 0;

#[cfg(test)]
mod tests;
