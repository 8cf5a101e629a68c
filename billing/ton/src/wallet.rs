//! Our wallet: W5 of revision 1 (V5R1), the standard contract that wallet programs use today.
//!
//! One external message carries up to 255 payments and is good once, for one number (*seqno*) and until one time.
//! The contract sends what it can and drops what it cannot pay for, silently (it insists on mode +2): that a message
//! was executed says nothing about its payments. Look at the receivers.
//!
//! The address depends on the network, so that what is signed for one is worthless on another.
//! A wallet exists from its first message on, which brings the code along; coins must be there before, sent
//! non-bounceable.
//!
//! Extensions, and keys other than its own, are not used; a wallet with its signature switched off is refused.
//!
//! ```
//! use billing::{Nano, channel::{Account, Network}};
//! use billing_ton::{Seed, Wallet, wallet::{Batch, Mode, Payment}};
//!
//! let seed = Seed::from_bytes([7; 32]);
//! let wallet = Wallet::new(Network::TESTNET, seed.public_key());
//! let to = Account { workchain: 0, hash: [1; 32] };
//! let payment = Payment { to, amount: Nano::saturating(50_000_000), bounce: true, mode: Mode::FeesApart, body: None, init: None };
//! // Seqno 0: the wallet does not exist yet, and the message brings its code.
//! let signed = wallet.sign(&seed, 0, 1_800_000_000, &Batch::new(vec![payment])?)?;
//! assert!(!signed.message.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The contract: <https://github.com/ton-blockchain/wallet-contract-v5>; its message and its data:
//!
//! ```text
//! signed_external#7369676e wallet_id:int32 valid_until:uint32 seqno:uint32 out_list:(Maybe ^OutList)
//!   has_more:0 signature:bits512 = Body        // the signature is over the hash of the cell without it
//! data#_ is_signature_allowed:Bool seqno:uint32 wallet_id:int32 public_key:bits256 extensions:(HashmapE 256 1)
//! ```

use std::sync::LazyLock;

use billing::{
    Nano,
    channel::{Account, Network, PublicKey},
};
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder, CellFamily as _, CellSlice, HashBytes, Lazy, Store as _},
    error::Error as CellError,
    models::{
        CurrencyCollection, ExtInMsgInfo, IntAddr, MsgInfo, OutAction, OwnedMessage, OwnedRelaxedMessage,
        RelaxedIntMsgInfo, RelaxedMsgInfo, SendMsgFlags, StateInit,
    },
    num::Tokens,
};

use crate::{
    address,
    chain::{AccountState, Status},
    seed::Seed,
};

mod decode;

pub use decode::{DecodeError, Decoded};

/// Payments in one message: the chain takes as many actions of one transaction.
pub const MAX_PAYMENTS: usize = 255;

const SIGNED_EXTERNAL: u32 = 0x7369_676e;

/// The contract as wallet programs deploy it, from `@ton/ton`; a test compares its hash.
static CODE: LazyLock<Cell> =
    LazyLock::new(|| Boc::decode(include_bytes!("wallet/v5r1.boc")).expect("it is in the source, and a test reads it"));

/// One wallet on one network. Holds no private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wallet {
    network: Network,
    public_key: PublicKey,
    init: StateInit,
    account: Account,
}

/// What a wallet pays, and what it says with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    pub to: Account,
    /// Not looked at in mode `Everything`.
    pub amount: Nano,
    /// Whether the coins come back if the receiver has no contract or fails. `false` for a wallet that does not exist
    /// yet.
    pub bounce: bool,
    pub mode: Mode,
    pub body: Option<Cell>,
    /// Brings the receiver into being.
    pub init: Option<StateInit>,
}

/// Who bears the fees of forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The receiver gets the amount; the wallet pays the fee beside it.
    FeesApart,
    /// The fee is taken out of the amount.
    FeesFromAmount,
    /// All that the wallet has left.
    Everything,
}

impl Mode {
    fn flags(self) -> SendMsgFlags {
        let flags = match self {
            Self::FeesApart => SendMsgFlags::PAY_FEE_SEPARATELY,
            Self::FeesFromAmount => SendMsgFlags::empty(),
            Self::Everything => SendMsgFlags::ALL_BALANCE,
        };
        // The contract refuses an external message with an action that could fail the others.
        flags | SendMsgFlags::IGNORE_ERROR
    }
}

/// At least one payment and at most 255.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch(Vec<Payment>);

/// Why payments make no batch, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("there is nothing to pay")]
    Empty,
    #[error("one message carries at most {MAX_PAYMENTS} payments, and these are {0}")]
    TooMany(usize),
    #[error("the payments come to more than can be")]
    Total,
}

impl Batch {
    pub fn new(payments: Vec<Payment>) -> Result<Self, BatchError> {
        if payments.is_empty() {
            return Err(BatchError::Empty);
        }
        if payments.len() > MAX_PAYMENTS {
            return Err(BatchError::TooMany(payments.len()));
        }
        let batch = Self(payments);
        batch.checked_total().ok_or(BatchError::Total)?;
        Ok(batch)
    }

    pub fn payments(&self) -> &[Payment] {
        &self.0
    }

    /// What all of them come to, without fees.
    pub fn total(&self) -> Nano {
        self.checked_total().unwrap_or(Nano::MOST)
    }

    fn checked_total(&self) -> Option<Nano> {
        let amounts = self.0.iter().map(|payment| payment.amount);
        amounts
            .into_iter()
            .try_fold(Nano::ZERO, |sum, amount| sum.checked_add(amount))
    }
}

/// An external message, ready for [`Chain::send`](crate::Chain::send).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// A bag of cells.
    pub message: Vec<u8>,
    /// Of the message's cell.
    pub hash: [u8; 32],
    pub seqno: u32,
    /// Unix seconds: from then on the chain takes it no more.
    pub valid_until: u32,
}

/// Why nothing was signed, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the key is another wallet's")]
    Key,
    /// A body or a `StateInit` of somebody's making.
    #[error("a payment does not fit in a message")]
    Cells(#[source] CellError),
}

/// What the chain says of a wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The number that the next message must have.
    pub seqno: u32,
    /// Whether the next message must bring the code: it does where `seqno` is 0 and this is `false`.
    pub is_deployed: bool,
    /// Nanoton, as far as we count.
    pub balance: Nano,
}

/// Why an account is not this wallet, in order of precedence. All of it is somebody else's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StandingError {
    #[error("the wallet is frozen: it owes rent; send it coins and unfreeze it with a wallet program")]
    Frozen,
    #[error("the account has other code than a wallet of ours")]
    Code,
    #[error("the account's data cannot be read")]
    Data,
    #[error("the account is a wallet of another key or network")]
    Other,
    #[error("the wallet takes no signatures: an extension rules it, which is not supported")]
    SignatureOff,
}

impl Wallet {
    /// The wallet of a key; of each network another. In workchain 0, the first of its key.
    pub fn new(network: Network, public_key: PublicKey) -> Self {
        let data = initial_data(network, &public_key).expect("321 bits fit in a cell");
        let init = StateInit {
            code: Some(CODE.clone()),
            data: Some(data),
            ..StateInit::default()
        };
        let cell = CellBuilder::build_from(&init).expect("five bits and two references fit in a cell");
        let account = Account {
            workchain: 0,
            hash: cell.repr_hash().0,
        };
        Self {
            network,
            public_key,
            init,
            account,
        }
    }

    pub fn network(&self) -> Network {
        self.network
    }

    pub fn account(&self) -> Account {
        self.account
    }

    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// What a first message brings along.
    pub fn init(&self) -> &StateInit {
        &self.init
    }

    /// Signs a message that the contract takes once, when its number is `seqno`, before `valid_until` (Unix seconds).
    ///
    /// With `seqno` 0 it brings the code along, which does no harm to a wallet that is there already.
    pub fn sign(&self, seed: &Seed, seqno: u32, valid_until: u32, batch: &Batch) -> Result<Signed, SignError> {
        if seed.public_key() != self.public_key {
            return Err(SignError::Key);
        }
        let message = self.build(seed, seqno, valid_until, batch).map_err(SignError::Cells)?;
        Ok(Signed {
            message: Boc::encode(&message),
            hash: message.repr_hash().0,
            seqno,
            valid_until,
        })
    }

    fn build(&self, seed: &Seed, seqno: u32, valid_until: u32, batch: &Batch) -> Result<Cell, CellError> {
        let mut body = CellBuilder::new();
        body.store_u32(SIGNED_EXTERNAL)?;
        body.store_u32(wallet_id(self.network))?;
        body.store_u32(valid_until)?;
        body.store_u32(seqno)?;
        body.store_bit_one()?;
        body.store_reference(out_list(batch)?)?;
        body.store_bit_zero()?;
        let unsigned = body.clone().build()?;
        body.store_raw(&seed.sign(unsigned.repr_hash().as_array()), 512)?;
        CellBuilder::build_from(OwnedMessage {
            info: MsgInfo::ExtIn(ExtInMsgInfo {
                src: None,
                dst: IntAddr::Std(address::to_std(&self.account)),
                import_fee: Tokens::ZERO,
            }),
            init: (seqno == 0).then(|| self.init.clone()),
            body: body.build()?.into(),
            layout: None,
        })
    }

    /// What an answer of the chain says of this wallet.
    pub fn standing(&self, state: &AccountState) -> Result<Standing, StandingError> {
        let balance = u64::try_from(state.balance).map_or(Nano::MOST, Nano::saturating);
        let absent = Standing {
            seqno: 0,
            is_deployed: false,
            balance,
        };
        match &state.status {
            Status::Nonexistent | Status::Uninitialised => Ok(absent),
            Status::Frozen => Err(StandingError::Frozen),
            Status::Active { code, data } => {
                let code = Boc::decode(code).map_err(|_| StandingError::Code)?;
                if code.repr_hash() != CODE.repr_hash() {
                    return Err(StandingError::Code);
                }
                let data = Boc::decode(data).map_err(|_| StandingError::Data)?;
                let data = Data::read(&data).map_err(|_| StandingError::Data)?;
                if data.wallet_id != wallet_id(self.network) || data.public_key.0 != self.public_key {
                    return Err(StandingError::Other);
                }
                if !data.is_signature_allowed {
                    return Err(StandingError::SignatureOff);
                }
                Ok(Standing {
                    seqno: data.seqno,
                    is_deployed: true,
                    balance,
                })
            }
        }
    }
}

/// The network's id, and in it: workchain 0, version 0, the key's first wallet.
fn wallet_id(network: Network) -> u32 {
    const CONTEXT: u32 = 0x8000_0000;
    network.0.cast_unsigned() ^ CONTEXT
}

fn initial_data(network: Network, public_key: &PublicKey) -> Result<Cell, CellError> {
    let mut data = CellBuilder::new();
    data.store_bit_one()?;
    data.store_u32(0)?;
    data.store_u32(wallet_id(network))?;
    data.store_u256(&HashBytes(*public_key))?;
    data.store_bit_zero()?;
    data.build()
}

/// The contract's data, but for its extensions.
struct Data {
    is_signature_allowed: bool,
    seqno: u32,
    wallet_id: u32,
    public_key: HashBytes,
}

impl Data {
    fn read(cell: &Cell) -> Result<Self, CellError> {
        let mut slice: CellSlice<'_> = cell.as_slice()?;
        let data = Self {
            is_signature_allowed: slice.load_bit()?,
            seqno: slice.load_u32()?,
            wallet_id: slice.load_u32()?,
            public_key: slice.load_u256()?,
        };
        if slice.load_bit()? {
            slice.load_reference()?;
        }
        if slice.is_empty() {
            Ok(data)
        } else {
            Err(CellError::InvalidData)
        }
    }
}

/// A list that grows at its head: the last cell names the last payment.
fn out_list(batch: &Batch) -> Result<Cell, CellError> {
    let mut list = Cell::empty_cell();
    for payment in batch.payments() {
        let action = OutAction::SendMsg {
            mode: payment.mode.flags(),
            out_msg: Lazy::new(&message_of(payment))?,
        };
        let mut next = CellBuilder::new();
        next.store_reference(list)?;
        action.store_into(&mut next, Cell::empty_context())?;
        list = next.build()?;
    }
    Ok(list)
}

fn message_of(payment: &Payment) -> OwnedRelaxedMessage {
    let amount = match payment.mode {
        Mode::Everything => Nano::ZERO,
        Mode::FeesApart | Mode::FeesFromAmount => payment.amount,
    };
    OwnedRelaxedMessage {
        info: RelaxedMsgInfo::Int(RelaxedIntMsgInfo {
            ihr_disabled: true,
            bounce: payment.bounce,
            dst: IntAddr::Std(address::to_std(&payment.to)),
            value: CurrencyCollection::new(amount.get().into()),
            ..RelaxedIntMsgInfo::default()
        }),
        init: payment.init.clone(),
        body: payment.body.clone().unwrap_or_default().into(),
        layout: None,
    }
}

#[cfg(test)]
mod tests;
