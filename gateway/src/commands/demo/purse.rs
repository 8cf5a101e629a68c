//! The demo's purse: the organisation that pays for its requests, with play money, and what is left of it at the end.
//!
//! Only the money is made up. It is held, captured, signed for and checked as any other.

use backends::serve::BoxError;
use billing::{AccountId, Budget, Currency, Nano};
use billing_store::{
    By, Location, Store,
    ledger::{Deposit, NewAccount, SpendBy, SpendQuery, SpendRow},
};

use crate::{
    commands::{
        columns::{Column, table},
        usage::plain,
    },
    wall_clock::unix_ms,
};

/// Who made the account, in the audit log of the demo.
const ACTOR: &str = "demo";
/// The coin, to its holders. Its code is TON, in the ledger and on the wire.
pub(super) const COIN: &str = "GRAM (TON)";
/// What is deposited: one coin.
pub(super) const DEPOSIT: Nano = Nano::saturating(1_000_000_000);

/// What the ledger of a demo has at its end.
pub(super) struct Bill {
    rows: Vec<SpendRow>,
    spent: Nano,
    left_nano: i64,
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

/// Makes the organisation and pays the deposit in, before any gateway runs.
pub(super) async fn fill(ledger: &Location) -> Result<(), BoxError> {
    let by = By {
        actor: ACTOR,
        at_ms: unix_ms(),
    };
    let prepaid = NewAccount {
        id: AccountId::default_organisation(),
        currency: Some(Currency::TON),
        credit: Some(Nano::ZERO),
        budget: Budget::default(),
        disabled: false,
        tags: Vec::new(),
    };
    let deposit = Deposit {
        id: ACTOR.to_owned(),
        organisation: prepaid.id.clone(),
        amount: DEPOSIT,
        currency: Currency::TON,
        memo: Some("play money".to_owned()),
    };
    let store = Store::open(ledger).await?;
    store.ledger().create_account(&prepaid, by).await?;
    store.ledger().deposit(&deposit, by).await?;
    store.close().await;
    Ok(())
}

/// Reads what was spent, and computes every balance anew.
pub(super) async fn bill(ledger: &Location) -> Result<Bill, BoxError> {
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
    let account = ledger.account(&AccountId::default_organisation()).await?;
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
        left_nano: account.balance_nano(),
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
        let left = Nano::saturating(self.left_nano.unsigned_abs());
        let sign = if self.left_nano < 0 { "-" } else { "" };
        let checked = self.checked;
        write!(
            f,
            "{}\n{} of {DEPOSIT} {COIN} were spent, {sign}{left} are left.\nThe ledger is right: {} charges, {} transfers and {} receipts were computed anew.\n",
            table(&columns, &rows),
            self.spent,
            checked.charges,
            checked.transfers,
            checked.receipts,
        )
    }
}
