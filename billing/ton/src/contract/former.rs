//! Whether a channel's address was used before.
//!
//! TON forgets what a deleted account did, and its history begins anew: who comes to know an account in its second life
//! is told a first one. But a channel tells its payee of each change with a note that must be sent, so that the payee's
//! own account has a message of each opening; that account lives on, and its history is linked by hashes.
//! A life without any such message is one that the payee itself ended, with a signature over nothing: its tombstones have
//! that.

use billing::channel::Account;

use super::accept::{Seen, Unacceptable, Wanted};
use crate::chain::{Cursor, Transaction};
use crate::transaction::{Happened, Inbound};

/// Where it would show that a channel's address was used before.
#[derive(Clone, Copy, Debug)]
pub enum Former<'a> {
    /// In the channel's own history: the source [keeps](crate::Chain::shows_former_lives) what a deleted account did.
    InHistory,
    /// In the history of the payee's account alone.
    AtPayee(Heard<'a>),
}

/// What the payee's account got.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// The newest transaction of the payee's account when nobody but the payee knew its key: no channel to that key can
    /// be older. `None`: from the account's first one on.
    pub since: Option<Cursor>,
    /// All transactions of the payee's account after `since`, oldest first, until the channel was opened at least.
    pub history: &'a [Transaction],
}

/// Nothing came from the channel before `born`, the logical time of its first transaction, and its opening did come: a
/// history without that would say nothing of openings.
pub(super) fn first_life(seen: &Seen<'_>, wanted: &Wanted, born: u64) -> Result<(), Unacceptable> {
    let heard = match seen.former {
        Former::InHistory => return Ok(()),
        Former::AtPayee(heard) => heard,
    };
    let mut before = heard.since;
    for transaction in heard.history {
        let lt = transaction.at.lt;
        let happened =
            Happened::read(&wanted.payee, transaction).map_err(|why| Unacceptable::PayeeTransaction { lt, why })?;
        if happened.previous != before {
            return Err(Unacceptable::PayeeHistory);
        }
        before = Some(transaction.at);
        match said_by(&seen.account, happened.inbound) {
            Some(sent_lt) if sent_lt < born => return Err(Unacceptable::HeardBefore { lt }),
            // What comes after it was sent after it.
            Some(_) => return Ok(()),
            None => {}
        }
    }
    Err(Unacceptable::Unheard)
}

/// When `sender` said it, if it did. What came back was said by who gets it.
fn said_by(sender: &Account, inbound: Option<Inbound>) -> Option<u64> {
    match inbound? {
        Inbound::Internal {
            from,
            is_bounced: false,
            sent_lt,
            ..
        } if from == *sender => Some(sent_lt),
        _ => None,
    }
}
