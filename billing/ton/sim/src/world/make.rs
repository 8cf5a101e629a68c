//! Makes a block of what waits: internal messages first, then new coins, then external messages, then what those sent.

use std::collections::{BTreeMap, VecDeque};

use billing::channel::Account;
use billing_ton::chain::{Cursor, Head};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, HashBytes, Load};
use tycho_types::models::{CurrencyCollection, IntAddr, IntMsgInfo, MsgInfo, OwnedMessage, ShardAccount, StdAddr};
use tycho_types::num::Tokens;

use super::{Block, World, Written, shard_account};
use crate::config::Prices;
use crate::machine::{At, Machine, NotAccepted, nonexistent, standard};

/// What does not fit waits for the next block.
const TRANSACTIONS_PER_BLOCK: usize = 512;

/// A block's logical times begin at a multiple of this.
const LT_STEP: u64 = 1_000_000;

/// Where new coins come from; in TON too they come from this address.
const MINT: StdAddr = StdAddr::new_masterchain(HashBytes::ZERO);

/// What a block is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Making<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) time: u32,
    pub(crate) offset_s: i64,
    pub(crate) prices: Prices,
    pub(crate) seed: [u8; 32],
}

/// An external message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct External {
    pub(crate) to: Account,
    pub(crate) cell: Cell,
}

/// Coins out of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mint {
    pub(crate) to: Account,
    /// Nanoton.
    pub(crate) amount: u128,
}

/// A block that is not applied yet, and what did not become a part of it.
pub(crate) struct Made {
    pub(crate) block: Block,
    pub(crate) refused: Vec<Refused>,
    /// How many of the external messages, from the first, were looked at. The others still wait.
    pub(crate) externals: usize,
    /// The same of the mints.
    pub(crate) mints: usize,
}

/// A message that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Representation hash of the message.
    pub message: [u8; 32],
    /// A sentence.
    pub reason: String,
}

/// The block in the making.
struct Work<'a> {
    world: &'a World,
    making: Making<'a>,
    lt: u64,
    touched: BTreeMap<Account, ShardAccount>,
    written: Vec<Written>,
    refused: Vec<Refused>,
    sent: VecDeque<Cell>,
}

impl World {
    pub(crate) fn make(&self, making: Making<'_>, mints: &[Mint], externals: &[External]) -> Made {
        let mut work = Work {
            world: self,
            making,
            lt: (self.tip().lt / LT_STEP + 1) * LT_STEP,
            touched: BTreeMap::new(),
            written: Vec::new(),
            refused: Vec::new(),
            sent: self.queue.iter().filter_map(|bag| Boc::decode(bag).ok()).collect(),
        };
        let mut minted = 0;
        let mut looked_at = 0;
        while !work.is_full() {
            if let Some(message) = work.sent.pop_front() {
                work.deliver(message);
            } else if let Some(mint) = mints.get(minted) {
                minted += 1;
                let message = work.mint(*mint);
                work.receive(mint.to, message);
            } else if let Some(external) = externals.get(looked_at) {
                looked_at += 1;
                work.receive(external.to, external.cell.clone());
            } else {
                break;
            }
        }
        let block = Block {
            head: Head {
                seqno: self.tip().head.seqno.saturating_add(1),
                time: making.time,
            },
            lt: work.lt,
            offset_s: making.offset_s,
            prices: making.prices,
            transactions: work.written,
            queue: work.sent.into_iter().map(|cell| Boc::encode(cell).into()).collect(),
        };
        Made {
            block,
            refused: work.refused,
            externals: looked_at,
            mints: minted,
        }
    }
}

/// On TON an account that a former block deleted is not among the accounts: if it comes back, its history begins anew.
fn forgotten(state: ShardAccount) -> ShardAccount {
    match state.load_account() {
        Ok(None) => nonexistent(),
        _ => state,
    }
}

impl Work<'_> {
    fn is_full(&self) -> bool {
        self.written.len() >= TRANSACTIONS_PER_BLOCK || self.refused.len() >= TRANSACTIONS_PER_BLOCK
    }

    /// A message that a contract sent.
    fn deliver(&mut self, message: Cell) {
        let to = message.as_slice().and_then(|mut slice| MsgInfo::load_from(&mut slice));
        match to {
            Ok(MsgInfo::Int(info)) => match account_of(&info.dst) {
                Some(to) => self.receive(to, message),
                None => self.refuse(&message, "its address has a form that no account here has"),
            },
            // Told to the world, and nobody here listens. It is in its transaction.
            Ok(MsgInfo::ExtOut(_)) => {}
            Ok(MsgInfo::ExtIn(_)) => self.refuse(&message, "a contract sent an external message"),
            Err(error) => self.refuse(&message, &error.to_string()),
        }
    }

    fn receive(&mut self, to: Account, message: Cell) {
        let state = match self.touched.remove(&to) {
            Some(state) => Ok(state),
            None => shard_account(self.world.state(&to)).map(forgotten),
        };
        let state = match state {
            Ok(state) => state,
            Err(error) => return self.refuse(&message, &error.to_string()),
        };
        let at = At {
            lt: self.lt,
            now: self.making.time,
            seed: self.making.seed,
        };
        match self.making.machine.execute(&to, &state, message.clone(), at) {
            Ok(outcome) => {
                self.lt = self.lt.max(outcome.next_lt);
                self.written.push(Written {
                    account: to,
                    at: Cursor {
                        lt: outcome.state.last_trans_lt,
                        hash: outcome.state.last_trans_hash.0,
                    },
                    cell: Boc::encode(outcome.transaction.inner()).into(),
                    state: Boc::encode(outcome.state.account.inner()).into(),
                });
                self.sent.extend(outcome.messages);
                self.touched.insert(to, outcome.state);
            }
            Err(error) => {
                self.touched.insert(to, state);
                self.refuse(&message, &error.to_string());
            }
        }
    }

    fn refuse(&mut self, message: &Cell, reason: &str) {
        self.refused.push(Refused {
            message: message.repr_hash().0,
            reason: reason.to_owned(),
        });
    }

    fn mint(&mut self, mint: Mint) -> Cell {
        self.lt += 1;
        CellBuilder::build_from(OwnedMessage {
            info: MsgInfo::Int(IntMsgInfo {
                ihr_disabled: true,
                src: MINT.into(),
                dst: standard(&mint.to).into(),
                value: CurrencyCollection {
                    tokens: Tokens::new(mint.amount),
                    ..CurrencyCollection::ZERO
                },
                created_lt: self.lt - 1,
                created_at: self.making.time,
                ..IntMsgInfo::default()
            }),
            init: None,
            body: Default::default(),
            layout: None,
        })
        .expect("two addresses and three numbers fit into a cell")
    }
}

impl External {
    /// Reads a message that somebody handed in as a bag of cells.
    pub(crate) fn read(bag: &[u8]) -> Result<Self, NotAccepted> {
        let unreadable = |reason: String| NotAccepted::Unreadable(reason);
        let cell: Cell = Boc::decode(bag).map_err(|error| unreadable(error.to_string()))?;
        let info = cell
            .as_slice()
            .and_then(|mut slice| MsgInfo::load_from(&mut slice))
            .map_err(|error| unreadable(error.to_string()))?;
        let MsgInfo::ExtIn(info) = info else {
            return Err(unreadable("it is not an external message".to_owned()));
        };
        let to =
            account_of(&info.dst).ok_or_else(|| unreadable("its address has a form that no account has".to_owned()))?;
        Ok(Self { to, cell })
    }
}

/// `None` for an address of a form that no account of ours has.
fn account_of(address: &IntAddr) -> Option<Account> {
    match address {
        IntAddr::Std(address) if address.anycast.is_none() => Some(Account {
            workchain: address.workchain,
            hash: address.address.0,
        }),
        _ => None,
    }
}
