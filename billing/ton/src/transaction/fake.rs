//! Transactions as a chain would have them, for tests.

use billing::{Nano, channel::Account};
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder, HashBytes, Lazy},
    dict::Dict,
    models::{
        self, AccountStatus, ComputePhase, ComputePhaseSkipReason, CurrencyCollection, HashUpdate, IntAddr, IntMsgInfo,
        MsgInfo, OrdinaryTxInfo, OwnedMessage, SkippedComputePhase, TxInfo,
    },
    num::Uint15,
};

use crate::{
    address,
    chain::{Cursor, Transaction},
};

/// One to make.
pub(crate) struct Fake {
    pub(crate) account: Account,
    pub(crate) lt: u64,
    pub(crate) time: u32,
    pub(crate) previous: Option<Cursor>,
    pub(crate) before: AccountStatus,
    pub(crate) after: AccountStatus,
    pub(crate) inbound: Option<Cell>,
    pub(crate) outbound: Vec<Cell>,
}

impl Fake {
    /// Of a contract that was there and is there; its time is its logical time.
    pub(crate) fn new(account: Account, lt: u64, previous: Option<Cursor>) -> Self {
        Self {
            account,
            lt,
            time: u32::try_from(lt).expect("a small one"),
            previous,
            before: AccountStatus::Active,
            after: AccountStatus::Active,
            inbound: None,
            outbound: Vec::new(),
        }
    }

    pub(crate) fn made(&self) -> Transaction {
        let mut out_msgs = Dict::new();
        for (at, message) in self.outbound.iter().enumerate() {
            let at = Uint15::new(u16::try_from(at).expect("a few"));
            out_msgs.set(at, message).expect("it fits");
        }
        let zero = HashUpdate {
            old: HashBytes::ZERO,
            new: HashBytes::ZERO,
        };
        let info = TxInfo::Ordinary(OrdinaryTxInfo {
            credit_first: false,
            storage_phase: None,
            credit_phase: None,
            compute_phase: ComputePhase::Skipped(SkippedComputePhase {
                reason: ComputePhaseSkipReason::NoState,
            }),
            action_phase: None,
            aborted: false,
            bounce_phase: None,
            destroyed: false,
        });
        let transaction = models::Transaction {
            account: HashBytes(self.account.hash),
            lt: self.lt,
            prev_trans_hash: HashBytes(self.previous.map_or([0; 32], |previous| previous.hash)),
            prev_trans_lt: self.previous.map_or(0, |previous| previous.lt),
            now: self.time,
            out_msg_count: Uint15::new(u16::try_from(self.outbound.len()).expect("a few")),
            orig_status: self.before,
            end_status: self.after,
            in_msg: self.inbound.clone(),
            out_msgs,
            total_fees: CurrencyCollection::default(),
            state_update: Lazy::new(&zero).expect("it fits"),
            info: Lazy::new(&info).expect("it fits"),
        };
        let cell = CellBuilder::build_from(&transaction).expect("it fits");
        Transaction {
            at: Cursor {
                lt: self.lt,
                hash: cell.repr_hash().0,
            },
            time: self.time,
            cell: Boc::encode(&cell),
        }
    }
}

/// Transactions one after the other, the first of them the account's first, at these logical times.
pub(crate) fn history(account: Account, times: &[u64]) -> Vec<Transaction> {
    let mut previous = None;
    let made = times.iter().map(|&lt| {
        let transaction = Fake::new(account, lt, previous).made();
        previous = Some(transaction.at);
        transaction
    });
    made.collect()
}

pub(crate) fn message(from: Account, to: Account, amount: Nano, body: Cell) -> Cell {
    let info = MsgInfo::Int(IntMsgInfo {
        ihr_disabled: true,
        src: IntAddr::Std(address::to_std(&from)),
        dst: IntAddr::Std(address::to_std(&to)),
        value: CurrencyCollection::new(amount.get().into()),
        ..IntMsgInfo::default()
    });
    CellBuilder::build_from(OwnedMessage {
        info,
        init: None,
        body: body.into(),
        layout: None,
    })
    .expect("it fits")
}

/// The same small bag of cells, written with an index, as some nodes do.
pub(crate) fn indexed(bag: &[u8]) -> Vec<u8> {
    const HAS_INDEX: u8 = 0x80;
    let cells = bag[6];
    assert!(
        bag[4] & HAS_INDEX == 0 && bag[4] & 7 == 1 && bag[5] == 1 && cells == 1,
        "one small cell"
    );
    // Magic, flags, width of offsets, cells, roots, absent ones, size; the root; where each cell ends; the cells.
    let (head, cells) = bag.split_at(11);
    let size = bag[9];
    let mut indexed = [head, &[size], cells].concat();
    indexed[4] |= HAS_INDEX;
    indexed
}
