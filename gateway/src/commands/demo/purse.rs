//! The demo's bill: what the gateway's ledger has at the end of the channel that paid for the requests.
//!
//! Only the coins are made up. They are held, captured, signed for and checked as any other.

use backends::serve::BoxError;
use billing::{AccountId, Nano};
use billing_store::{
    Location, Store,
    ledger::{SpendBy, SpendQuery, SpendRow},
};

use crate::commands::{
    columns::{Column, table},
    usage::plain,
};

/// The coin, to its holders. Its code is TON, in the ledger and on the wire.
pub(super) const COIN: &str = "GRAM (TON)";

/// What the ledger of a demo has at its end.
pub(super) struct Bill {
    rows: Vec<SpendRow>,
    pub(super) spent: Nano,
    checked: billing_store::ledger::Checked,
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub(super) enum BillError {
    #[error("the ledger of the demo is wrong, and that is a fault of the gateway: {0}")]
    Wrong(String),
    #[error("the account that paid is gone from the ledger")]
    NoAccount,
}

/// Reads what was spent, and computes every balance anew.
pub(super) async fn bill(ledger: &Location, payer: &AccountId) -> Result<Bill, BoxError> {
    let store = Store::open(ledger).await?;
    let ledger = store.ledger();
    let report = ledger.verify().await?;
    let query = SpendQuery {
        by: SpendBy::Model,
        since_ms: 0,
        until_ms: i64::MAX,
        account: None,
        limit: 100,
    };
    let rows = ledger.spend(&query).await?;
    let account = ledger.account(payer).await?;
    store.close().await;
    if !report.is_clean() {
        let found: Vec<String> = report
            .discrepancies
            .iter()
            .map(|found| plain(&found.to_string()))
            .collect();
        return Err(BillError::Wrong(found.join("; ")).into());
    }
    let account = account.ok_or(BillError::NoAccount)?;
    Ok(Bill {
        rows,
        spent: account.total.spent,
        checked: report.checked,
    })
}

impl std::fmt::Display for Bill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = [
            Column::Text("MODEL"),
            Column::Number("CHARGES"),
            Column::Number("AMOUNT"),
            Column::Text("CURRENCY"),
        ];
        let cells = |row: &SpendRow| {
            [
                row.group.as_deref().map_or_else(|| "(none)".to_owned(), plain),
                row.requests.to_string(),
                row.amount.to_string(),
                row.currency.to_string(),
            ]
        };
        let rows: Vec<_> = self.rows.iter().map(cells).collect();
        let checked = self.checked;
        write!(
            f,
            "{}\n{} {COIN} were spent.\nThe ledger is right: {} charges, {} transfers and {} receipts were computed anew.\n",
            table(&columns, &rows),
            self.spent,
            checked.charges,
            checked.transfers,
            checked.receipts,
        )
    }
}
