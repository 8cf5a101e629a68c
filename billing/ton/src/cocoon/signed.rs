//! What a proxy of Cocoon signs.
//!
//! ```text
//! envelope:  op:uint32 query_id:uint64 send_excesses_to:MsgAddress signature:bits512 payload:^Payload
//! payload:   op:uint32 query_id:uint64 [tokens:uint64] expected_my_address:MsgAddress
//! signature: Ed25519 by the proxy's key over the hash of the payload's cell
//! ```
//!
//! Replays are harmless to who pays, because `tokens` is a total that only grows, and because each names the contract that
//! it is for. It names no network: a key that is used on two is a mistake. The envelope is not signed: whoever sends it
//! says who gets the change.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use billing::channel::{Account, PublicKey};
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder, CellSlice},
    error::Error,
};

use super::NotCocoon;
use crate::{
    Seed,
    contract::{
        Malformed,
        wire::{Signature, begin, cell, end, load_account, load_signature, store_account},
    },
};

const CHARGE: u32 = 0xbb63_ff93;
const GRANT_REFUND: u32 = 0xefd7_11e1;
const PAYOUT: u32 = 0xa040_ad28;
const LAST_PAYOUT: u32 = 0xf5f2_6a36;
const CLOSE: u32 = 0x636a_4391;
const CLOSE_COMPLETE: u32 = 0xe511_abc7;

/// What is stated. Tokens are *adjusted* tokens, all since the contract began: counts times coefficients, which the price
/// per token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// To a client's contract: so much was used.
    Charge { tokens: u64 },
    /// The same for the last time; the rest goes back to the client.
    GrantRefund { tokens: u64 },
    /// To a worker's contract: so much was done.
    Payout { tokens: u64 },
    /// The same for the last time.
    LastPayout { tokens: u64 },
    /// To the proxy's own contract: it begins to close.
    Close,
    /// It has closed; all that is left goes to its owner.
    CloseComplete,
}

impl Statement {
    #[must_use]
    pub const fn operation(&self) -> u32 {
        match self {
            Self::Charge { .. } => CHARGE,
            Self::GrantRefund { .. } => GRANT_REFUND,
            Self::Payout { .. } => PAYOUT,
            Self::LastPayout { .. } => LAST_PAYOUT,
            Self::Close => CLOSE,
            Self::CloseComplete => CLOSE_COMPLETE,
        }
    }

    /// `None` where no work is counted.
    #[must_use]
    pub const fn tokens(&self) -> Option<u64> {
        match self {
            Self::Charge { tokens }
            | Self::GrantRefund { tokens }
            | Self::Payout { tokens }
            | Self::LastPayout { tokens } => Some(*tokens),
            Self::Close | Self::CloseComplete => None,
        }
    }

    fn load(operation: u32, from: &mut CellSlice<'_>) -> Result<Self, NotCocoon> {
        Ok(match operation {
            CHARGE => Self::Charge {
                tokens: from.load_u64()?,
            },
            GRANT_REFUND => Self::GrantRefund {
                tokens: from.load_u64()?,
            },
            PAYOUT => Self::Payout {
                tokens: from.load_u64()?,
            },
            LAST_PAYOUT => Self::LastPayout {
                tokens: from.load_u64()?,
            },
            CLOSE => Self::Close,
            CLOSE_COMPLETE => Self::CloseComplete,
            unknown => return Err(NotCocoon::Operation(unknown)),
        })
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    pub query_id: u64,
    pub statement: Statement,
    /// The contract that it is for: any other refuses it.
    pub contract: Account,
}

impl Payload {
    #[must_use]
    pub fn encode(&self) -> Cell {
        cell(|to| {
            self.store_head(to)?;
            if let Some(tokens) = self.statement.tokens() {
                to.store_u64(tokens)?;
            }
            store_account(to, &self.contract)
        })
    }

    pub fn decode(payload: &Cell) -> Result<Self, NotCocoon> {
        let mut from = begin(payload)?;
        let operation = from.load_u32()?;
        let query_id = from.load_u64()?;
        let statement = Statement::load(operation, &mut from)?;
        let contract = load_account(&mut from, "the contract that a statement is for")?;
        end(&from)?;
        Ok(Self {
            query_id,
            statement,
            contract,
        })
    }

    /// As a proxy does with its key.
    #[must_use]
    pub fn sign(self, key: &Seed, excesses_to: Account) -> Signed {
        Signed {
            signature: key.sign(&self.encode().repr_hash().0),
            payload: self,
            excesses_to,
        }
    }

    fn store_head(&self, to: &mut CellBuilder) -> Result<(), Error> {
        to.store_u32(self.statement.operation())?;
        to.store_u64(self.query_id)
    }
}

/// A statement with a signature that nobody has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    pub payload: Payload,
    /// Who gets what is left of the message's coins. Not signed.
    pub excesses_to: Account,
    pub signature: Signature,
}

impl Signed {
    /// The body of the message to the contract.
    #[must_use]
    pub fn encode(&self) -> Cell {
        cell(|to| {
            self.payload.store_head(to)?;
            store_account(to, &self.excesses_to)?;
            to.store_raw(&self.signature, 512)?;
            to.store_reference(self.payload.encode())
        })
    }

    pub fn decode(body: &Cell) -> Result<Self, NotCocoon> {
        let mut from = begin(body)?;
        let (outer, outer_id) = (from.load_u32()?, from.load_u64()?);
        let excesses_to = load_account(&mut from, "who gets the change")?;
        let signature = load_signature(&mut from)?;
        let payload = from.load_reference_cloned()?;
        end(&from)?;
        let payload = Payload::decode(&payload)?;
        if (payload.statement.operation(), payload.query_id) != (outer, outer_id) {
            return Err(NotCocoon::Envelope { outer, outer_id });
        }
        Ok(Self {
            payload,
            excesses_to,
            signature,
        })
    }

    /// The same of a bag of cells, as a proxy hands it out.
    pub fn decode_boc(body: &[u8]) -> Result<Self, NotCocoon> {
        Self::decode(&Boc::decode(body).map_err(|_| Malformed::NoCells)?)
    }

    /// Checks the signature. `None` where the key `proxy` did not sign this.
    #[must_use]
    pub fn check(self, proxy: &PublicKey) -> Option<Genuine> {
        let hash = self.payload.encode().repr_hash().0;
        UnparsedPublicKey::new(&ED25519, proxy)
            .verify(&hash, &self.signature)
            .ok()?;
        Some(Genuine {
            payload: self.payload,
            proxy: *proxy,
        })
    }
}

/// A statement that the proxy's key signed.
///
/// Proves: whoever has the key said so, of this contract.
/// Does not prove: that the work was done, that a client agreed, or that the contract has the coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genuine {
    payload: Payload,
    proxy: PublicKey,
}

impl Genuine {
    #[must_use]
    pub const fn payload(&self) -> &Payload {
        &self.payload
    }

    #[must_use]
    pub const fn proxy(&self) -> &PublicKey {
        &self.proxy
    }
}
