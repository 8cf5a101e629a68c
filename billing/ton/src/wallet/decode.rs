//! Reading a message that a wallet of ours signed: to show what it does, and to know it again after a restart.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use billing::Nano;
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder, CellFamily as _, CellSlice},
    error::Error as CellError,
    models::{IntAddr, Message, MsgInfo, OutAction, OutActionsRevIter, RelaxedMessage, RelaxedMsgInfo, SendMsgFlags},
};

use super::{Batch, MAX_PAYMENTS, Mode, Payment, SIGNED_EXTERNAL, Wallet, wallet_id};
use crate::address;

/// A message of this wallet, with a signature that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    pub seqno: u32,
    /// Unix seconds.
    pub valid_until: u32,
    /// Whether it brings the wallet's code along.
    pub deploys: bool,
    pub batch: Batch,
}

/// Why a message is not one of this wallet, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("it is not one cell of a bag of cells")]
    Bag,
    #[error("it is not an external message of a wallet")]
    Form,
    #[error("it is for another account")]
    Account,
    #[error("it is for another network or wallet")]
    Wallet,
    #[error("it is signed by another key, or was changed since")]
    Signature,
    #[error("it does something else than pay")]
    Action,
}

impl Wallet {
    /// Reads a message that this wallet signed.
    pub fn decode(&self, message: &[u8]) -> Result<Decoded, DecodeError> {
        let cell = Boc::decode(message).map_err(|_| DecodeError::Bag)?;
        let message = cell.parse::<Message<'_>>().map_err(|_| DecodeError::Form)?;
        let MsgInfo::ExtIn(info) = &message.info else {
            return Err(DecodeError::Form);
        };
        if info.dst != IntAddr::Std(address::to_std(&self.account)) {
            return Err(DecodeError::Account);
        }
        let (unsigned, signature) = split(message.body).map_err(|_| DecodeError::Form)?;
        let request = Request::read(&unsigned).map_err(|_| DecodeError::Form)?;
        if request.wallet_id != wallet_id(self.network) {
            return Err(DecodeError::Wallet);
        }
        UnparsedPublicKey::new(&ED25519, &self.public_key)
            .verify(unsigned.repr_hash().as_array(), &signature)
            .map_err(|_| DecodeError::Signature)?;
        let payments = payments(&request.actions).ok_or(DecodeError::Action)?;
        Ok(Decoded {
            seqno: request.seqno,
            valid_until: request.valid_until,
            deploys: message.init.is_some(),
            batch: Batch::new(payments).map_err(|_| DecodeError::Action)?,
        })
    }
}

/// The body without the signature at its end, and the signature.
fn split(body: CellSlice<'_>) -> Result<(Cell, [u8; 64]), CellError> {
    let mut rest = body;
    let mut signature = [0; 64];
    rest.load_suffix(512, 0)?.get_raw(0, &mut signature, 512)?;
    // Of what is before it the references are all.
    let mut unsigned = CellBuilder::new();
    unsigned.store_slice(rest)?;
    Ok((unsigned.build()?, signature))
}

struct Request {
    wallet_id: u32,
    valid_until: u32,
    seqno: u32,
    actions: Cell,
}

impl Request {
    fn read(unsigned: &Cell) -> Result<Self, CellError> {
        let mut slice = unsigned.as_slice()?;
        if slice.load_u32()? != SIGNED_EXTERNAL {
            return Err(CellError::InvalidTag);
        }
        let request = Self {
            wallet_id: slice.load_u32()?,
            valid_until: slice.load_u32()?,
            seqno: slice.load_u32()?,
            actions: if slice.load_bit()? {
                slice.load_reference_cloned()?
            } else {
                Cell::empty_cell()
            },
        };
        let has_more = slice.load_bit()?;
        if has_more || !slice.is_empty() {
            Err(CellError::InvalidData)
        } else {
            Ok(request)
        }
    }
}

/// `None` where an action is no payment, or they are more than there may be.
fn payments(actions: &Cell) -> Option<Vec<Payment>> {
    let mut payments = Vec::new();
    for action in OutActionsRevIter::new(actions.as_slice().ok()?) {
        let OutAction::SendMsg { mode, out_msg } = action.ok()? else {
            return None;
        };
        payments.push(payment(mode, out_msg.inner())?);
        if payments.len() > MAX_PAYMENTS {
            return None;
        }
    }
    payments.reverse();
    Some(payments)
}

fn payment(mode: SendMsgFlags, message: &Cell) -> Option<Payment> {
    let mode = match (mode - SendMsgFlags::IGNORE_ERROR).bits() {
        0 => Mode::FeesFromAmount,
        1 => Mode::FeesApart,
        128 => Mode::Everything,
        _ => return None,
    };
    let message = message.parse::<RelaxedMessage<'_>>().ok()?;
    let RelaxedMsgInfo::Int(info) = &message.info else {
        return None;
    };
    let IntAddr::Std(to) = &info.dst else {
        return None;
    };
    let mut body = CellBuilder::new();
    body.store_slice(message.body).ok()?;
    let body = body.build().ok()?;
    Some(Payment {
        to: address::from_std(to)?,
        amount: Nano::new(u64::try_from(info.value.tokens.into_inner()).ok()?)?,
        bounce: info.bounce,
        mode,
        body: (!body.as_slice().ok()?.is_empty()).then_some(body),
        init: message.init,
    })
}
