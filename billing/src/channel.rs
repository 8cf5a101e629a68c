//! Payment channels: the words of both sides, as values.
//!
//! A channel is one contract on TON between one payer and one payee, in one direction.
//! The payer signs *vouchers*: up to `max` in all may be taken.
//! The payee signs *takes*: so much in all was really used, and with the closing one that no more will be.
//! Amounts are cumulative over the life of the channel, so that a newer one replaces an older and none can be played
//! twice.
//!
//! - [`Voucher`] and [`Take`] are proofs: only a [`Signer`] or a verification makes one. What came from outside is a
//!   [`ClaimedVoucher`] or a [`ClaimedTake`], and says nothing yet.
//! - [`Settlement`] is what the contract is shown: a take, and the voucher that covers it.
//! - [`Payer`] and [`Payee`] are the two sides of one channel, and [`Watchtower`] settles for a payee that sleeps: machines
//!   without a disk or a clock. [`Purse`] bounds what a payer risks over all of its channels.
//! - [`Notice`] is what the two say to each other, [`journal`] how records lie on a disk.
//!
//! `docs/channels.md` has the protocol for strangers.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use billing::{Nano, channel::{Account, ChannelId, Keys, Network, Settlement, Signer, Take, Voucher}};
//!
//! let (payer, payee) = (Signer::from_seed(&[1; 32])?, Signer::from_seed(&[2; 32])?);
//! let keys = Keys { payer: payer.public(), payee: payee.public() };
//! let account = Account { workchain: 0, hash: [7; 32] };
//! let channel = ChannelId { network: Network::TESTNET, account };
//!
//! // The payer signs up to 9 nanoton in all, and sends what it signed.
//! let sent = Voucher::sign(&payer, &keys, &channel, Nano::saturating(9))?.claim();
//! // The payee has a claim until it has looked at the signature.
//! let voucher = sent.verify(&keys, &channel)?;
//! // It has earned 5 of them.
//! let take = Take::sign(&payee, &keys, &channel, Nano::saturating(5))?;
//! let settlement = Settlement::new(take, Some(voucher))?;
//! assert_eq!(settlement.take().amount().get(), 5);
//! # Ok(())
//! # }
//! ```

mod access;
mod address;
mod clock;
pub(crate) mod decimal;
mod gate;
mod holds;
pub mod journal;
mod notice;
mod opening;
pub mod payee;
pub mod payer;
mod purse;
mod settlement;
mod signer;
mod slack;
mod take;
#[cfg(test)]
mod tests;
mod view;
mod voucher;
pub mod watchtower;
pub mod x402;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    access::{Access, AccessRefusal, ClaimedAccess},
    address::BadAccount,
    gate::Ticket,
    holds::{CommitRefusal, HoldId, Resolved},
    notice::{Envelope, Notice, Standing, Unreadable},
    opening::{Channel, NamedTerms},
    payee::Payee,
    payer::Payer,
    purse::{Caps, FundRefusal, Purse},
    settlement::{Blob, Settlement, SettlementRefusal},
    signer::{BadSeed, NotTheSigner, Signature, Signer},
    slack::Slack,
    take::{ClaimedTake, Take, TakeRefusal},
    view::{Contradiction, Fact, State, Tombstone},
    voucher::{ClaimedVoucher, Voucher, VoucherRefusal},
    watchtower::Watchtower,
};

use crate::Nano;

/// The chain's global id: what a signature is good for on one network is worth nothing on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(pub i32);

impl Network {
    pub const MAINNET: Self = Self(-239);
    pub const TESTNET: Self = Self(-3);
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The form of CAIP-2 that x402 uses.
        write!(f, "tvm:{}", self.0)
    }
}

/// An account's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    pub workchain: i8,
    pub hash: [u8; 32],
}

/// A public key of Ed25519.
pub type PublicKey = [u8; 32];

/// What a channel is born with and never changes; with the code and the keys it gives the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    pub network: Network,
    /// Seconds from `request_close` until the payer may have the rest.
    pub close_delay_s: u32,
    /// Parts of 10,000 of what is taken, for `fee_dest`.
    pub fee_bps: u16,
    /// Drawn anew for each channel: vouchers are good for an address, and an address must never come twice.
    pub salt: u128,
    /// Where the rest goes at the end.
    pub payer: Account,
    /// Where what is taken goes. Not the account of the payee's key: that may be a hot one.
    pub payee: Account,
    pub fee_dest: Account,
}

/// Who signs for the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    #[serde(with = "decimal::hex")]
    pub payer: PublicKey,
    #[serde(with = "decimal::hex")]
    pub payee: PublicKey,
}

/// A channel's address and network: what signatures name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    pub network: Network,
    pub account: Account,
}

/// What the contract says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnChain {
    /// Unix seconds from which the payer may have the rest; `None` while nobody asked to close.
    pub close_at: Option<u32>,
    /// All that was ever paid in.
    pub deposited: Nano,
    /// All that was ever paid out to payee and `fee_dest`.
    pub claimed: Nano,
}

/// What a signature is about; a signature of one kind is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The payer: up to `amount` may be taken.
    Voucher,
    /// The payee: `amount` is taken.
    Take,
    /// The payee: `amount` is taken, and the rest is the payer's.
    Close,
    /// The payer: whoever shows this soon after `amount` Unix seconds speaks for the channel. No contract takes it.
    Access,
}

impl Tag {
    /// Four letters: `VCH1`, `STL1`, `CLS1`, `ACS1`.
    const fn bytes(self) -> [u8; 4] {
        match self {
            Self::Voucher => *b"VCH1",
            Self::Take => *b"STL1",
            Self::Close => *b"CLS1",
            Self::Access => *b"ACS1",
        }
    }
}

/// What is signed, big-endian: tag `u32`, network `i32`, channel's account id of 32 bytes, amount `u128` in nanoton.
///
/// The contract checks the signature over these bytes themselves (`CHKSIGNS`), so that a signer needs no cells.
#[must_use]
pub fn signed_bytes(tag: Tag, channel: &ChannelId, amount: Nano) -> [u8; 56] {
    let mut bytes = [0; 56];
    let (head, rest) = bytes.split_at_mut(4);
    head.copy_from_slice(&tag.bytes());
    let (network, rest) = rest.split_at_mut(4);
    network.copy_from_slice(&channel.network.0.to_be_bytes());
    let (account, number) = rest.split_at_mut(32);
    account.copy_from_slice(&channel.account.hash);
    number.copy_from_slice(&u128::from(amount.get()).to_be_bytes());
    bytes
}
