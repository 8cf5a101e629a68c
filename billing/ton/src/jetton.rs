//! The channel contract for jettons, such as USDT: where such a channel lives, what it is told, what it orders, and whether
//! we take it.
//!
//! The source is `billing/ton/contracts/jetton_channel.tolk`; it shares its core with the channel of TON
//! ([`contract`](crate::contract)), and `docs/contract.md` says what it promises and what it does not.
//!
//! - Vouchers, takes and what is signed are those of any channel. An amount is in the jetton's smallest unit: a
//!   [`Nano`](billing::Nano) here is a millionth of a USDT, not a nanoton. Nothing converts one into the other.
//! - A channel is opened first ([`Request::Open`], with the state init and [`OPENING`]), so that the jetton's master tells it
//!   which jetton wallet is its own. Only then does a payer pay in, with an ordinary jetton transfer ([`Transfer`]) that
//!   forwards at least [`FORWARD`] to the channel.
//! - A message that makes the channel pay brings [`TRANSFER`] for each party that is paid, and gas.
//! - A payout that the wallet cannot make is due ([`Held`]), and [`Request::Retry`] has it paid again.
//!
//! It leaves to you: whether the chain tells the truth, and what was signed before.
//!
//! ```
//! use billing::Nano;
//! use billing::channel::{Account, Keys, Network, Terms};
//! use billing_ton::jetton::{self, Request, Transfer};
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
//! let (keys, master) = (Keys { payer: [4; 32], payee: [5; 32] }, party(6));
//! let to = jetton::account(&terms, &keys, &master);
//! // First to `to`, with `state_init` and `OPENING`:
//! let open = Request::Open { query_id: 1 }.encode();
//! // Then, when the chain shows the channel's wallet, five dollars to the payer's own jetton wallet:
//! let pay = Transfer::deposit(Nano::saturating(5_000_000), to, terms.payer, 2).encode();
//! # let _ = (open, pay);
//! ```

mod accept;
mod failure;
mod request;
mod state;
mod transfer;

use billing::Nano;
use billing::channel::{Account, Keys, Terms};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::StateInit;

use crate::contract::BASECHAIN;

pub use accept::{Accepted, Seen, Unacceptable, Wanted, accept};
pub use failure::Failure;
pub use request::{Request, Who};
pub use state::{Held, State};
pub use transfer::{Transfer, Unpaid};

/// The compiled contract as a bag of cells, as `billing/ton/contracts` checks it in.
pub const CODE: &[u8] = include_bytes!("../contracts/jetton_channel.boc");

/// Hash of the code's root cell.
pub const CODE_HASH: [u8; 32] = [
    0x10, 0xac, 0x6c, 0xf0, 0xa7, 0xfb, 0x1e, 0xcd, 0x3d, 0x23, 0x22, 0xa1, 0x7a, 0xd9, 0x34, 0xd8, 0xc5, 0x31, 0x23,
    0x81, 0x16, 0x07, 0x36, 0xc2, 0xe0, 0xab, 0x48, 0x65, 0x60, 0x3d, 0xcb, 0xb9,
];

/// Nanoton that a channel keeps for rent.
pub const RENT_RESERVE: Nano = Nano::saturating(250_000_000);
/// Nanoton that go with each transfer that a channel orders. What is not needed returns to whoever sent the message.
pub const TRANSFER: Nano = Nano::saturating(50_000_000);
/// Nanoton to open with: the reserve, the way to the master and back. The rest returns to the payer.
pub const OPENING: Nano = Nano::saturating(400_000_000);
/// Nanoton that a deposit forwards to the channel: its gas, and the way back of what it cannot credit. The rest returns.
pub const FORWARD: Nano = Nano::saturating(100_000_000);

/// The compiled contract.
#[must_use]
pub fn code() -> Cell {
    Boc::decode(CODE).expect("checked in, and read by a test")
}

/// What a channel is born with: goes along with its first message.
#[must_use]
pub fn state_init(terms: &Terms, keys: &Keys, master: &Account) -> StateInit {
    StateInit {
        code: Some(code()),
        data: Some(State::newborn(*terms, *keys, *master).encode()),
        ..StateInit::default()
    }
}

/// Where a channel with these terms, keys and jetton is, before anybody opened it and for ever after.
#[must_use]
pub fn account(terms: &Terms, keys: &Keys, master: &Account) -> Account {
    let init = CellBuilder::build_from(state_init(terms, keys, master)).expect("two references and five bits");
    Account {
        workchain: BASECHAIN,
        hash: init.repr_hash().0,
    }
}
