//! The state of the chain: accounts, their transactions, messages on their way, the last blocks.
//!
//! Pure: blocks are made from it, applied to it and taken back; files and clocks are elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use billing::channel::Account;
use billing_ton::chain::{Cursor, Head};
use tycho_types::boc::Boc;
use tycho_types::cell::{HashBytes, Lazy};
use tycho_types::models::ShardAccount;

use crate::bytes::Malformed;
use crate::config::Prices;
use crate::machine::nonexistent;

mod block;
mod make;
mod snapshot;

pub(crate) use block::{Block, Written};
pub use make::Refused;
pub(crate) use make::{External, Making, Mint};

/// How many of the last blocks can be looked up by number.
const BLOCKS_KEPT: usize = 4_096;

/// A bag of cells, shared.
pub(crate) type Bag = Arc<[u8]>;

#[derive(Clone)]
pub(crate) struct World {
    accounts: BTreeMap<Account, Record>,
    /// Internal messages that were sent and not received yet.
    queue: Vec<Bag>,
    tip: Tip,
    /// Oldest first.
    blocks: VecDeque<BlockInfo>,
    /// What takes back each block that is not final, oldest first.
    undo: VecDeque<Undo>,
    /// How many blocks stay so.
    finality_lag: u32,
}

/// The newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) head: Head,
    /// No transaction has a greater logical time.
    pub(crate) lt: u64,
    /// Seconds by which the chain's clock is ahead of the real one.
    pub(crate) offset_s: i64,
    pub(crate) prices: Prices,
    pub(crate) hash: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockInfo {
    pub(crate) head: Head,
    /// The last logical time in it.
    pub(crate) lt: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) transactions: Vec<(Account, Cursor)>,
}

#[derive(Clone, Default)]
struct Record {
    state: Option<State>,
    /// Oldest first.
    transactions: Vec<Kept>,
}

/// An account's state after a transaction.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// The cell `Account`.
    pub(crate) cell: Bag,
    pub(crate) last: Cursor,
}

/// A transaction in an account's history.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) at: Cursor,
    pub(crate) time: u32,
    pub(crate) cell: Bag,
}

#[derive(Clone)]
struct Undo {
    /// What it takes back.
    block: Block,
    tip: Tip,
    queue: Vec<Bag>,
    states: Vec<(Account, Option<State>)>,
}

impl World {
    pub(crate) fn new(time: u32, prices: Prices, finality_lag: u32) -> Self {
        let head = Head { seqno: 1, time };
        let tip = Tip {
            head,
            lt: 0,
            offset_s: 0,
            prices,
            hash: [0; 32],
        };
        Self {
            accounts: BTreeMap::new(),
            queue: Vec::new(),
            tip,
            blocks: VecDeque::from([BlockInfo {
                head,
                lt: 0,
                hash: [0; 32],
                transactions: Vec::new(),
            }]),
            undo: VecDeque::new(),
            finality_lag,
        }
    }

    /// The newest block, final or not.
    pub(crate) fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The newest final block.
    pub(crate) fn final_tip(&self) -> &Tip {
        self.undo.front().map_or(&self.tip, |undo| &undo.tip)
    }

    /// How many blocks are not final.
    pub(crate) fn unfinal(&self) -> usize {
        self.undo.len()
    }

    pub(crate) fn unfinal_blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.undo.iter().map(|undo| undo.block.clone())
    }

    pub(crate) fn has_messages(&self) -> bool {
        !self.queue.is_empty()
    }

    /// An account as of the newest block.
    pub(crate) fn state(&self, account: &Account) -> Option<&State> {
        self.accounts.get(account)?.state.as_ref()
    }

    /// An account as of the newest final block.
    pub(crate) fn final_state(&self, account: &Account) -> Option<&State> {
        // The oldest block that is not final and touched it knows what it was before.
        self.undo
            .iter()
            .flat_map(|undo| &undo.states)
            .find(|(touched, _)| touched == account)
            .map_or_else(|| self.state(account), |(_, before)| before.as_ref())
    }

    /// All accounts that ever were, as of the newest final block.
    #[cfg(feature = "lite-server")]
    pub(crate) fn final_states(&self) -> impl Iterator<Item = (&Account, &State)> {
        let states = self.accounts.keys().map(|account| (account, self.final_state(account)));
        states.filter_map(|(account, state)| Some((account, state?)))
    }

    /// An account's transactions in final blocks, oldest first.
    pub(crate) fn final_transactions(&self, account: &Account) -> &[Kept] {
        let Some(record) = self.accounts.get(account) else {
            return &[];
        };
        let lt = self.final_tip().lt;
        let end = record.transactions.partition_point(|kept| kept.at.lt <= lt);
        record.transactions.get(..end).unwrap_or_default()
    }

    /// A final block by its number, if it is one of the last.
    #[cfg(any(feature = "http", feature = "lite-server"))]
    pub(crate) fn block(&self, seqno: u32) -> Option<&BlockInfo> {
        let first = self.blocks.front()?.head.seqno;
        let index = usize::try_from(seqno.checked_sub(first)?).ok()?;
        self.blocks
            .get(index)
            .filter(|block| block.head.seqno <= self.final_tip().head.seqno)
    }

    /// The first final block that has a transaction of `lt`, or a later one.
    #[cfg(any(feature = "http", feature = "lite-server"))]
    pub(crate) fn block_at_lt(&self, lt: u64) -> Option<&BlockInfo> {
        let index = self.blocks.partition_point(|block| block.lt < lt);
        self.block(self.blocks.get(index)?.head.seqno)
    }

    /// The last final block of `time` or before.
    #[cfg(any(feature = "http", feature = "lite-server"))]
    pub(crate) fn block_at_time(&self, time: u32) -> Option<&BlockInfo> {
        let index = self.blocks.partition_point(|block| block.head.time <= time);
        self.block(self.blocks.get(index.checked_sub(1)?)?.head.seqno)
    }

    /// Makes `block` the newest one.
    pub(crate) fn apply(&mut self, block: Block, hash: [u8; 32]) {
        let mut undo = Undo {
            block: block.clone(),
            tip: self.tip,
            queue: std::mem::replace(&mut self.queue, block.queue),
            states: Vec::new(),
        };
        let mut transactions = Vec::with_capacity(block.transactions.len());
        for Written {
            account,
            at,
            cell,
            state,
        } in block.transactions
        {
            let record = self.accounts.entry(account).or_default();
            let before = record.state.replace(State { cell: state, last: at });
            if !undo.states.iter().any(|(touched, _)| *touched == account) {
                undo.states.push((account, before));
            }
            record.transactions.push(Kept {
                at,
                time: block.head.time,
                cell,
            });
            transactions.push((account, at));
        }
        self.tip = Tip {
            head: block.head,
            lt: block.lt,
            offset_s: block.offset_s,
            prices: block.prices,
            hash,
        };
        self.blocks.push_back(BlockInfo {
            head: block.head,
            lt: block.lt,
            hash,
            transactions,
        });
        if self.blocks.len() > BLOCKS_KEPT {
            self.blocks.pop_front();
        }
        self.undo.push_back(undo);
        let lag = usize::try_from(self.finality_lag).unwrap_or(usize::MAX);
        while self.undo.len() > lag {
            self.undo.pop_front();
        }
    }

    /// Takes back the newest `depth` blocks, or as many as are not final. How many it were.
    pub(crate) fn take_back(&mut self, depth: usize) -> usize {
        let depth = depth.min(self.undo.len());
        for undo in self.undo.split_off(self.undo.len() - depth).into_iter().rev() {
            for (account, before) in undo.states {
                if let Some(record) = self.accounts.get_mut(&account) {
                    record.state = before;
                    record.transactions.retain(|kept| kept.at.lt <= undo.tip.lt);
                }
            }
            self.queue = undo.queue;
            self.tip = undo.tip;
            self.blocks.pop_back();
        }
        depth
    }

    /// What its last transactions must not exceed, when it is kept for long.
    pub(crate) fn forget_transactions(&mut self, keep: usize) {
        for record in self.accounts.values_mut() {
            let surplus = record.transactions.len().saturating_sub(keep);
            record.transactions.drain(..surplus);
        }
    }
}

impl State {
    pub(crate) fn shard_account(&self) -> Result<ShardAccount, Malformed> {
        let cell = Boc::decode(&self.cell).map_err(|_| Malformed)?;
        Ok(ShardAccount {
            account: Lazy::from_raw(cell).map_err(|_| Malformed)?,
            last_trans_hash: HashBytes(self.last.hash),
            last_trans_lt: self.last.lt,
        })
    }
}

/// The executor's form of a state, or of none.
pub(crate) fn shard_account(state: Option<&State>) -> Result<ShardAccount, Malformed> {
    state.map_or_else(|| Ok(nonexistent()), State::shard_account)
}
