//! Accounts of the ledger itself: what came in, what was earned, what is a fee, what was lost.

use billing::{AccountId, Currency, Nano};

use super::sql::{rows, values};
use super::{LedgerFault, LedgerStore, question};
use crate::pool::Db;

/// An account that no organisation has, in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemAccount {
    pub id: AccountId,
    pub currency: Currency,
    /// All that ever went out of it.
    pub debited: Nano,
    /// All that ever came into it.
    pub credited: Nano,
}

impl LedgerStore {
    /// The ledger's own accounts in each currency, by name.
    pub async fn system_accounts(&self) -> Result<Vec<SystemAccount>, LedgerFault> {
        question!(self.reader, db => all(db).await)
    }
}

async fn all(db: &mut Db<'_>) -> Result<Vec<SystemAccount>, LedgerFault> {
    let sql = "SELECT account, currency, CAST(sum(debited) AS bigint) AS debited, \
               CAST(sum(credited) AS bigint) AS credited FROM balances WHERE account LIKE 'system:%' \
               GROUP BY account, currency ORDER BY account, currency";
    let found = rows(db, sql, values![]).await?;
    let read = found.iter().map(|row| {
        Ok(SystemAccount {
            id: row.word("account")?,
            currency: row.word("currency")?,
            debited: row.nano("debited")?,
            credited: row.nano("credited")?,
        })
    });
    read.collect()
}
