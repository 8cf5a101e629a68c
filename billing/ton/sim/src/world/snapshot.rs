//! All of the state in one entry of the file, in place of the blocks that led to it.

use std::collections::VecDeque;

use super::block::{
    read_account, read_bags, read_cursor, read_head, read_prices, write_account, write_bags, write_cursor, write_head,
    write_prices,
};
use super::{BlockInfo, Kept, Record, State, Tip, World};
use crate::bytes::{Malformed, Reader, Writer};

impl World {
    /// Writes the state as of the newest final block.
    pub(crate) fn write(&self, to: &mut Writer) {
        let mut world = self.clone();
        world.take_back(usize::MAX);
        write_head(to, world.tip.head);
        to.u64(world.tip.lt);
        to.i64(world.tip.offset_s);
        write_prices(to, world.tip.prices);
        to.array(&world.tip.hash);
        write_bags(to, &world.queue);
        to.len(world.blocks.len());
        for block in &world.blocks {
            write_head(to, block.head);
            to.u64(block.lt);
            to.array(&block.hash);
            to.len(block.transactions.len());
            for (account, at) in &block.transactions {
                write_account(to, account);
                write_cursor(to, *at);
            }
        }
        to.len(world.accounts.len());
        for (account, record) in &world.accounts {
            write_account(to, account);
            match &record.state {
                None => to.u8(0),
                Some(state) => {
                    to.u8(1);
                    to.bytes(&state.cell);
                    write_cursor(to, state.last);
                }
            }
            to.len(record.transactions.len());
            for kept in &record.transactions {
                write_cursor(to, kept.at);
                to.u32(kept.time);
                to.bytes(&kept.cell);
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>, finality_lag: u32) -> Result<Self, Malformed> {
        let tip = Tip {
            head: read_head(from)?,
            lt: from.u64()?,
            offset_s: from.i64()?,
            prices: read_prices(from)?,
            hash: from.array()?,
        };
        let queue = read_bags(from)?;
        let blocks = (0..from.len(52)?)
            .map(|_| {
                Ok(BlockInfo {
                    head: read_head(from)?,
                    lt: from.u64()?,
                    hash: from.array()?,
                    transactions: (0..from.len(73)?)
                        .map(|_| Ok((read_account(from)?, read_cursor(from)?)))
                        .collect::<Result<_, _>>()?,
                })
            })
            .collect::<Result<VecDeque<_>, _>>()?;
        let accounts = (0..from.len(38)?)
            .map(|_| {
                let account = read_account(from)?;
                let state = match from.u8()? {
                    0 => None,
                    1 => Some(State {
                        cell: from.bytes()?.into(),
                        last: read_cursor(from)?,
                    }),
                    _ => return Err(Malformed),
                };
                let transactions = (0..from.len(48)?)
                    .map(|_| {
                        Ok(Kept {
                            at: read_cursor(from)?,
                            time: from.u32()?,
                            cell: from.bytes()?.into(),
                        })
                    })
                    .collect::<Result<_, _>>()?;
                Ok((account, Record { state, transactions }))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            accounts,
            queue,
            tip,
            blocks,
            undo: VecDeque::new(),
            finality_lag,
        })
    }
}
