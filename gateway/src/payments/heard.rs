//! Who wrote to the account that we are paid at, in a file: for who has no database.

use std::{collections::BTreeMap, path::Path};

use attestation::Hex;
use billing::channel::Account;
use billing_store::ledger::Sender;
use billing_ton::chain::Cursor;
use serde::{Deserialize, Serialize};

use crate::frames::{Frames, FramesError};

/// Senders of one record.
const AT_ONCE: usize = 256;

/// A record: who wrote since the one before, and where that ends, unless the next one goes on with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    reached: Option<(u64, Hex<32>)>,
    senders: Vec<(Account, u64)>,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(crate) struct Heard {
    frames: Frames,
    reached: Option<Cursor>,
    first: BTreeMap<Account, u64>,
}

impl Heard {
    /// Opens it, or begins one.
    pub(crate) fn open(path: &Path) -> Result<Self, FramesError> {
        let opened = Frames::open::<Line>(path)?;
        let mut heard = Self {
            frames: opened.frames,
            reached: None,
            first: BTreeMap::new(),
        };
        for line in opened.records {
            let senders = line.senders.into_iter();
            heard.take_in(senders.map(|(account, sent_lt)| Sender { account, sent_lt }));
            let reached = line.reached.map(|(lt, hash)| Cursor { lt, hash: hash.0 });
            heard.reached = reached.or(heard.reached);
        }
        Ok(heard)
    }

    /// How far the history was read.
    pub(super) const fn reached(&self) -> Option<Cursor> {
        self.reached
    }

    /// When this account first wrote, by its own logical time.
    pub(super) fn first(&self, from: &Account) -> Option<u64> {
        self.first.get(from).copied()
    }

    /// Goes on to here, with those who wrote in between. On the disk when this returns.
    pub(super) fn hear(&mut self, now: Cursor, senders: &[Sender]) -> Result<(), FramesError> {
        let mut lines: Vec<Line> = senders
            .iter()
            .filter(|sender| !self.first.contains_key(&sender.account))
            .map(|sender| (sender.account, sender.sent_lt))
            .collect::<Vec<_>>()
            .chunks(AT_ONCE)
            .map(|senders| Line {
                reached: None,
                senders: senders.to_vec(),
            })
            .collect();
        // Last: what is cut off before it is read again.
        lines.push(Line {
            reached: Some((now.lt, Hex(now.hash))),
            senders: Vec::new(),
        });
        self.frames.add_all(lines.iter())?;
        self.take_in(senders.iter().copied());
        self.reached = Some(now);
        if self.frames.is_long() {
            self.shorten()?;
        }
        Ok(())
    }

    fn take_in(&mut self, senders: impl Iterator<Item = Sender>) {
        for Sender { account, sent_lt } in senders {
            self.first.entry(account).or_insert(sent_lt);
        }
    }

    fn shorten(&mut self) -> Result<(), FramesError> {
        let first: Vec<(Account, u64)> = self.first.iter().map(|(account, lt)| (*account, *lt)).collect();
        let lines = first.chunks(AT_ONCE).map(|senders| Line {
            reached: None,
            senders: senders.to_vec(),
        });
        let end = Line {
            reached: self.reached.map(|now| (now.lt, Hex(now.hash))),
            senders: Vec::new(),
        };
        let lines: Vec<Line> = lines.chain([end]).collect();
        self.frames.replace(lines.iter())
    }
}
