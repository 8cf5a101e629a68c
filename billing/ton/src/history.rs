//! An account's history, as sources tell it: from the newest transaction back, page by page.

use std::{collections::VecDeque, future::Future};

use billing::channel::Account;

use crate::{
    chain::{ChainError, Cursor, Transaction},
    transaction::{Happened, TransactionError},
};

/// How far one question goes back from the newest transaction, in pages.
pub(crate) const MAX_PAGES: u32 = 256;

/// A transaction whose cell was read.
pub(crate) struct Linked {
    pub(crate) transaction: Transaction,
    /// The account's transaction before it; `None` for the first.
    pub(crate) previous: Option<Cursor>,
}

impl Linked {
    /// `account` is whom we asked about.
    pub(crate) fn read(account: &Account, transaction: Transaction) -> Result<Self, TransactionError> {
        let previous = Happened::read(account, &transaction)?.previous;
        Ok(Self { transaction, previous })
    }
}

/// The transactions after `after`, oldest first, at most `limit`: each named by the one after it, and the oldest names
/// `after`. `page` has those up to a transaction, or up to the newest, newest first.
pub(crate) async fn read<F>(
    after: Option<Cursor>,
    limit: usize,
    mut page: impl FnMut(Option<Cursor>) -> F,
) -> Result<Vec<Transaction>, ChainError>
where
    F: Future<Output = Result<Vec<Linked>, ChainError>>,
{
    // Wanted are the oldest, so that of what was seen the last are kept.
    let mut kept: VecDeque<Transaction> = VecDeque::new();
    let mut expected = None;
    for _ in 0..MAX_PAGES {
        let page = page(expected).await?;
        if page.is_empty() {
            return match expected {
                None => Ok(kept.into()),
                Some(_) => Err(unreadable("it does not have the account's older transactions")),
            };
        }
        for Linked { transaction, previous } in page {
            if let Some(after) = after
                && transaction.at.lt <= after.lt
            {
                // Only when nothing is new is the cursor met here; else the one after it has named it.
                return if transaction.at == after {
                    Ok(kept.into())
                } else {
                    Err(lost(after))
                };
            }
            if expected.is_some_and(|expected| expected != transaction.at) {
                return Err(unreadable("a transaction is missing in an account's history"));
            }
            if kept.len() >= limit {
                kept.pop_back();
            }
            if limit > 0 {
                kept.push_front(transaction);
            }
            match (previous, after) {
                // The account's first, ever or since it was deleted: which of the two, nobody says here.
                (None, None) => return Ok(kept.into()),
                (None, Some(after)) => return Err(ChainError::Anew { after: after.lt }),
                (Some(previous), Some(after)) if previous == after => return Ok(kept.into()),
                (Some(previous), Some(after)) if previous.lt <= after.lt => return Err(lost(after)),
                (Some(_), _) => expected = previous,
            }
        }
    }
    Err(unreadable(
        "an account has more new transactions than can be read at once",
    ))
}

fn unreadable(reason: &'static str) -> ChainError {
    ChainError::Unreadable(reason.to_owned())
}

fn lost(cursor: Cursor) -> ChainError {
    ChainError::Contradiction(format!(
        "the account's history no longer has the transaction at logical time {} that was seen there",
        cursor.lt
    ))
}
