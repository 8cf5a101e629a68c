//! A block as it is written down: not what was asked, but what came of it, so that reading it back runs no contract and a
//! newer executor changes no history.

use billing::channel::Account;
use billing_ton::chain::{Cursor, Head};

use super::Bag;
use crate::bytes::{Malformed, Reader, Writer};
use crate::config::Prices;

#[derive(Clone)]
pub(crate) struct Block {
    pub(crate) head: Head,
    /// The last logical time in it.
    pub(crate) lt: u64,
    pub(crate) offset_s: i64,
    pub(crate) prices: Prices,
    pub(crate) transactions: Vec<Written>,
    /// Internal messages on their way when it ended.
    pub(crate) queue: Vec<Bag>,
}

/// A transaction and the state that it left.
#[derive(Clone)]
pub(crate) struct Written {
    pub(crate) account: Account,
    pub(crate) at: Cursor,
    pub(crate) cell: Bag,
    /// The cell `Account`.
    pub(crate) state: Bag,
}

impl Block {
    pub(crate) fn write(&self, to: &mut Writer) {
        write_head(to, self.head);
        to.u64(self.lt);
        to.i64(self.offset_s);
        write_prices(to, self.prices);
        to.len(self.transactions.len());
        for written in &self.transactions {
            write_account(to, &written.account);
            write_cursor(to, written.at);
            to.bytes(&written.cell);
            to.bytes(&written.state);
        }
        write_bags(to, &self.queue);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let head = read_head(from)?;
        let lt = from.u64()?;
        let offset_s = from.i64()?;
        let prices = read_prices(from)?;
        let transactions = (0..from.len(81)?)
            .map(|_| {
                Ok(Written {
                    account: read_account(from)?,
                    at: read_cursor(from)?,
                    cell: from.bytes()?.into(),
                    state: from.bytes()?.into(),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            head,
            lt,
            offset_s,
            prices,
            transactions,
            queue: read_bags(from)?,
        })
    }
}

pub(super) fn write_head(to: &mut Writer, head: Head) {
    to.u32(head.seqno);
    to.u32(head.time);
}

pub(super) fn read_head(from: &mut Reader<'_>) -> Result<Head, Malformed> {
    Ok(Head {
        seqno: from.u32()?,
        time: from.u32()?,
    })
}

pub(super) fn write_prices(to: &mut Writer, prices: Prices) {
    to.u8(match prices {
        Prices::Old => 0,
        Prices::New => 1,
    });
}

pub(super) fn read_prices(from: &mut Reader<'_>) -> Result<Prices, Malformed> {
    match from.u8()? {
        0 => Ok(Prices::Old),
        1 => Ok(Prices::New),
        _ => Err(Malformed),
    }
}

pub(super) fn write_account(to: &mut Writer, account: &Account) {
    to.array(&account.workchain.to_be_bytes());
    to.array(&account.hash);
}

pub(super) fn read_account(from: &mut Reader<'_>) -> Result<Account, Malformed> {
    Ok(Account {
        workchain: i8::from_be_bytes(from.array()?),
        hash: from.array()?,
    })
}

pub(super) fn write_cursor(to: &mut Writer, at: Cursor) {
    to.u64(at.lt);
    to.array(&at.hash);
}

pub(super) fn read_cursor(from: &mut Reader<'_>) -> Result<Cursor, Malformed> {
    Ok(Cursor {
        lt: from.u64()?,
        hash: from.array()?,
    })
}

pub(super) fn write_bags(to: &mut Writer, bags: &[Bag]) {
    to.len(bags.len());
    for bag in bags {
        to.bytes(bag);
    }
}

pub(super) fn read_bags(from: &mut Reader<'_>) -> Result<Vec<Bag>, Malformed> {
    (0..from.len(4)?).map(|_| Ok(from.bytes()?.into())).collect()
}
