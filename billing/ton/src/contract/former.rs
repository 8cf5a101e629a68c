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
use crate::transaction::{Happened, Inbound, TransactionError};

/// Where it would show that a channel's address was used before.
#[derive(Clone, Copy, Debug)]
pub enum Former<'a> {
    /// In the channel's own history: the source [keeps](crate::Chain::shows_former_lives) what a deleted account did.
    InHistory,
    /// In the history of the payee's account alone.
    AtPayee(Heard<'a>),
    /// There too, and it was read before: when the channel's address first wrote to the payee, by its own logical time, if
    /// it ever did since nobody but the payee knew the payee's key.
    Known(Option<u64>),
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
        Former::Known(None) => return Err(Unacceptable::Unheard),
        Former::Known(Some(lt)) if lt < born => return Err(Unacceptable::HeardBefore { lt }),
        Former::Known(Some(_)) => return Ok(()),
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

/// When `sender` said it, if it did.
fn said_by(sender: &Account, inbound: Option<Inbound>) -> Option<u64> {
    let (from, sent_lt) = said(inbound?)?;
    (from == *sender).then_some(sent_lt)
}

/// Who wrote, and when by its own logical time. What came back was said by who gets it.
fn said(inbound: Inbound) -> Option<(Account, u64)> {
    match inbound {
        Inbound::Internal {
            from,
            is_bounced: false,
            sent_lt,
            ..
        } => Some((from, sent_lt)),
        _ => None,
    }
}

/// Who wrote to an account of ours after `since`, oldest first, each with when, and up to where: for [`Former::Known`], by
/// who keeps it. A transaction whose message is of nobody that we can name is passed over; its place in the history is
/// checked all the same.
pub fn heard(
    account: &Account,
    since: Option<Cursor>,
    history: &[Transaction],
) -> Result<Vec<(Account, u64)>, Unacceptable> {
    let mut before = since;
    let mut senders = Vec::new();
    for transaction in history {
        let lt = transaction.at.lt;
        let happened = match Happened::read(account, transaction) {
            Ok(happened) => happened,
            // It is what its hash says, and about more than there is: no channel's.
            Err(TransactionError::Range) => {
                before = Some(transaction.at);
                continue;
            }
            Err(why) => return Err(Unacceptable::PayeeTransaction { lt, why }),
        };
        if happened.previous != before {
            return Err(Unacceptable::PayeeHistory);
        }
        before = Some(transaction.at);
        senders.extend(happened.inbound.and_then(said));
    }
    Ok(senders)
}
