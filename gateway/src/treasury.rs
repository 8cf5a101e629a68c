//! Treasury: what administrators know of money, and the one way in which they change it.
//!
//! The admin API asks it in a running gateway, and the command line in its own process. A change is on the disk when
//! it is answered; where a gateway runs here it is in force then too, and other gateways hear of it within two
//! seconds. Refused, with nothing changed: what is no amount, what no account can have, and money that is not there.

use std::{sync::Arc, time::Duration};

use billing::{AccountId, Budget, Currency, Level, Nano};
use billing_store::{
    By,
    ledger::{
        AccountChange, ChangeError, ChargeQuery, CreateError, Deposit, DepositError, ForgetError, LedgerFault,
        LedgerStore, NewAccount, Paid, SpendQuery, StoredAccount, TransferQuery, WithdrawError,
    },
};
use tokio::time::Instant;

use crate::{ledger::Accounts, tls, wall_clock::unix_ms};

pub(crate) use check::Check;
pub(crate) use edit::{AccountEdit, BudgetEdit, EditError, Founding, Movement, Units, account, currency, some};
pub(crate) use month::Month;
pub(crate) use view::*;

mod check;
mod edit;
mod month;
mod view;

/// Rows that are read at a time where all are wanted.
const PAGE: u32 = 10_000;

/// Exchange rates that are shown, the newest.
const RATES: u32 = 100;

/// How long other gateways may take to give back what they lease, before money is not paid out.
const RECALL: Duration = Duration::from_secs(4);

/// Between two looks whether they did.
const RECALL_POLL: Duration = Duration::from_millis(200);

/// Why something was not done or not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreasuryError {
    #[error("nothing is kept on disk (data_dir is null), so there is no ledger; set data_dir")]
    NoDatabase,
    #[error(transparent)]
    Edit(#[from] EditError),
    #[error("there is no account '{id}'; make it with `mulberry account create {id}`")]
    NotFound { id: AccountId },
    #[error("no secure random bytes can be had from this system; name the movement with `id`")]
    Random,
    #[error(transparent)]
    Create(CreateError),
    #[error(transparent)]
    Change(ChangeError),
    #[error(transparent)]
    Deposit(DepositError),
    #[error(transparent)]
    Withdraw(WithdrawError),
    #[error(transparent)]
    Forget(ForgetError),
    #[error("the ledger cannot be read")]
    Fault(#[from] LedgerFault),
}

/// Clones share everything but the currency.
#[derive(Clone)]
pub(crate) struct Treasury {
    ledger: Option<LedgerStore>,
    /// Of organisations for which none is named.
    currency: Currency,
    /// The gateway that runs here: its name, and its view of the accounts.
    gateway: Option<(Arc<str>, Arc<Accounts>)>,
    check: Arc<Check>,
}

impl Treasury {
    pub(crate) fn new(
        ledger: Option<LedgerStore>,
        currency: Currency,
        gateway: Option<(Arc<str>, Arc<Accounts>)>,
    ) -> Self {
        Self {
            ledger,
            currency,
            gateway,
            check: Arc::default(),
        }
    }

    /// The same, for another currency.
    pub(crate) fn with_currency(self, currency: Currency) -> Self {
        Self { currency, ..self }
    }

    pub(crate) fn ledger(&self) -> Result<&LedgerStore, TreasuryError> {
        self.ledger.as_ref().ok_or(TreasuryError::NoDatabase)
    }

    fn check(&self) -> &Arc<Check> {
        &self.check
    }

    pub(crate) async fn accounts(&self) -> Result<Vec<AccountView>, TreasuryError> {
        let snapshot = self.ledger()?.accounts().await?;
        Ok(snapshot.accounts.iter().map(AccountView::of).collect())
    }

    pub(crate) async fn account(&self, id: &AccountId) -> Result<AccountView, TreasuryError> {
        Ok(AccountView::of(&self.stored(id).await?))
    }

    pub(crate) async fn create(&self, new: &Founding, actor: &str) -> Result<AccountView, TreasuryError> {
        let ledger = self.ledger()?;
        let id = account(&new.id)?;
        let edit = new.edit();
        edit.check(&id)?;
        let is_team = id.level() == Level::Team;
        let named = new.currency.as_deref().map(currency).transpose()?;
        if is_team && named.is_some() {
            return Err(EditError::CurrencyOfTeam.into());
        }
        let mut budget = Budget::default();
        edit.budget.apply(&mut budget);
        let new = NewAccount {
            id,
            currency: (!is_team).then(|| named.unwrap_or(self.currency)),
            // Who is made without a word pays before.
            credit: match edit.credit {
                _ if is_team => None,
                Some(credit) => credit.map(|units| units.0),
                None => Some(Nano::ZERO),
            },
            budget,
            disabled: edit.disabled.unwrap_or(false),
            tags: edit.tags.unwrap_or_default().into_iter().collect(),
        };
        let made = ledger.create_account(&new, by(actor)).await;
        let made = made.map_err(TreasuryError::Create)?;
        self.refresh().await;
        Ok(AccountView::of(&made))
    }

    pub(crate) async fn change(
        &self,
        id: &AccountId,
        edit: &AccountEdit,
        actor: &str,
    ) -> Result<AccountView, TreasuryError> {
        let ledger = self.ledger()?;
        edit.check(id)?;
        let mut budget = None;
        if !edit.budget.is_empty() {
            let mut known = self.stored(id).await?.budget;
            edit.budget.apply(&mut known);
            budget = Some(known);
        }
        let change = AccountChange {
            currency: None,
            credit: edit.credit.map(|credit| credit.map(|units| units.0)),
            budget,
            disabled: edit.disabled,
            tags: edit.tags.as_ref().map(|tags| tags.clone().into_iter().collect()),
        };
        let changed = ledger.change_account(id, &change, by(actor)).await;
        let changed = changed.map_err(|error| match error {
            ChangeError::NotFound { id } => TreasuryError::NotFound { id },
            error => TreasuryError::Change(error),
        })?;
        self.refresh().await;
        Ok(AccountView::of(&changed))
    }

    pub(crate) async fn deposit(
        &self,
        id: &AccountId,
        wanted: &Movement,
        actor: &str,
    ) -> Result<MovedView, TreasuryError> {
        let ledger = self.ledger()?;
        let deposit = self.movement(id, wanted).await?;
        let done = ledger.deposit(&deposit, by(actor)).await;
        let done = done.map_err(|error| match error {
            DepositError::NotFound { id } => TreasuryError::NotFound { id },
            error => TreasuryError::Deposit(error),
        })?;
        self.refresh().await;
        Ok(MovedView::of("deposit", &deposit, done))
    }

    /// What gateways lease they are asked to give back, and waited for a little.
    pub(crate) async fn withdraw(
        &self,
        id: &AccountId,
        wanted: &Movement,
        actor: &str,
    ) -> Result<MovedView, TreasuryError> {
        let ledger = self.ledger()?;
        let withdrawal = self.movement(id, wanted).await?;
        let until = Instant::now() + RECALL;
        let done = loop {
            match ledger.withdraw(&withdrawal, by(actor)).await {
                Err(WithdrawError::Short { available, leased, .. })
                    // Only what gateways lease may still come back.
                    if available.saturating_add(leased) >= withdrawal.amount && Instant::now() < until =>
                {
                    self.refresh().await;
                    tokio::time::sleep(RECALL_POLL).await;
                }
                done => break done,
            }
        };
        let done = done.map_err(|error| match error {
            WithdrawError::NotFound { id } => TreasuryError::NotFound { id },
            error => TreasuryError::Withdraw(error),
        })?;
        self.refresh().await;
        Ok(MovedView::of("withdrawal", &withdrawal, done))
    }

    async fn movement(&self, id: &AccountId, wanted: &Movement) -> Result<Deposit, TreasuryError> {
        wanted.check(id)?;
        let currency = match &wanted.currency {
            Some(code) => currency(code)?,
            None => self.stored(id).await?.currency,
        };
        let id_of_it = match &wanted.id {
            Some(id) => id.clone(),
            None => random().ok_or(TreasuryError::Random)?,
        };
        Ok(Deposit {
            id: id_of_it,
            organisation: id.clone(),
            amount: wanted.amount.0,
            currency,
            memo: wanted.memo.clone(),
        })
    }

    /// What was paid for requests of these ids, where that is known.
    pub(crate) async fn paid(&self, request_ids: &[&str]) -> Result<Vec<Paid>, TreasuryError> {
        Ok(self.ledger()?.paid(request_ids).await?)
    }

    /// Transfers to and from an account, the newest first; only deposits and withdrawals where `movements`.
    pub(crate) async fn transfers(
        &self,
        id: &AccountId,
        movements: bool,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<TransferView>, TreasuryError> {
        self.stored(id).await?;
        let found = if movements {
            self.movements(id, before, limit as usize).await?
        } else {
            let query = TransferQuery {
                account: Some(id.clone()),
                before,
                limit,
            };
            self.ledger()?.transfers(&query).await?
        };
        Ok(found.into_iter().map(TransferView::of).collect())
    }

    /// Deposits and withdrawals of an organisation, the newest first. Those of all are walked, which are few beside
    /// the captures of one.
    async fn movements(
        &self,
        id: &AccountId,
        mut before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<billing_store::ledger::StoredTransfer>, TreasuryError> {
        let mut found = Vec::new();
        loop {
            let query = TransferQuery {
                account: Some(AccountId::funding()),
                before,
                limit: PAGE,
            };
            let page = self.ledger()?.transfers(&query).await?;
            let Some(last) = page.last() else { return Ok(found) };
            before = Some(last.id);
            let is_whole = page.len() == PAGE as usize;
            found.extend(
                page.into_iter()
                    .filter(|transfer| transfer.debit == *id || transfer.credit == *id),
            );
            if found.len() >= limit || !is_whole {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    pub(crate) async fn charges(
        &self,
        id: &AccountId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<ChargeView>, TreasuryError> {
        let query = ChargeQuery {
            account: Some(id.clone()),
            since_ms: 0,
            until_ms: i64::MAX,
            before,
            limit,
        };
        let charges = self.ledger()?.charges(&query).await?;
        Ok(charges.into_iter().map(ChargeView::of).collect())
    }

    pub(crate) async fn spend(&self, query: &SpendQuery) -> Result<Vec<SpendView>, TreasuryError> {
        let rows = self.ledger()?.spend(query).await?;
        Ok(rows.into_iter().map(SpendView::of).collect())
    }

    /// What a month began with, what came and went, and what it ended with.
    pub(crate) async fn statement(&self, id: &AccountId, month: Month) -> Result<StatementView, TreasuryError> {
        let account = self.stored(id).await?;
        let (since_ms, until_ms) = month.bounds_ms();
        let models = self.spend(&spend_of(id, since_ms, until_ms)).await?;
        let spent = Signed(models.iter().map(|row| row.amount.0).sum());
        let mut view = StatementView {
            account: id.to_string(),
            month: month.to_string(),
            currency: account.currency.to_string(),
            opening: None,
            deposited: None,
            withdrawn: None,
            spent,
            closing: None,
            models,
        };
        if id.level() == Level::Organisation {
            let before = self.spend(&spend_of(id, 0, since_ms)).await?;
            let mut opening = -before.iter().map(|row| row.amount.0).sum::<i128>();
            let (mut deposited, mut withdrawn) = (0_i128, 0_i128);
            for moved in self.movements(id, None, usize::MAX).await? {
                let amount = i128::from(moved.amount.get());
                let is_deposit = moved.credit == *id;
                if moved.at_ms < since_ms {
                    opening += if is_deposit { amount } else { -amount };
                } else if moved.at_ms < until_ms && is_deposit {
                    deposited += amount;
                } else if moved.at_ms < until_ms {
                    withdrawn += amount;
                }
            }
            view.opening = Some(Signed(opening));
            view.deposited = Some(Signed(deposited));
            view.withdrawn = Some(Signed(withdrawn));
            view.closing = Some(Signed(opening + deposited - withdrawn - spent.0));
        }
        Ok(view)
    }

    /// What the ledger itself has, and who spends from it.
    pub(crate) async fn standing(&self) -> Result<LedgerView, TreasuryError> {
        let ledger = self.ledger()?;
        let accounts = ledger.system_accounts().await?;
        let nodes = ledger.nodes().await?;
        let rates = ledger.exchange_rates(RATES).await?;
        Ok(LedgerView {
            rates: rates.iter().map(RateView::of).collect(),
            accounts: accounts.into_iter().map(SystemView::of).collect(),
            nodes: nodes
                .into_iter()
                .map(|node| NodeView::of(node, self.gateway.as_ref().map(|(name, _)| &**name)))
                .collect(),
        })
    }

    pub(crate) async fn forget(&self, name: &str, actor: &str) -> Result<ForgottenView, TreasuryError> {
        let forgotten = self.ledger()?.forget_node(name, by(actor)).await;
        let forgotten = forgotten.map_err(TreasuryError::Forget)?;
        Ok(ForgottenView::of(name, forgotten))
    }

    async fn stored(&self, id: &AccountId) -> Result<StoredAccount, TreasuryError> {
        let found = self.ledger()?.account(id).await?;
        found.ok_or_else(|| TreasuryError::NotFound { id: id.clone() })
    }

    /// Puts in force what was changed, in the gateway that runs here. Where that fails its watch does it later.
    pub(crate) async fn refresh(&self) {
        if let Some((_, accounts)) = &self.gateway {
            accounts.refresh().await;
        }
    }
}

impl std::fmt::Debug for Treasury {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Treasury")
    }
}

fn spend_of(id: &AccountId, since_ms: i64, until_ms: i64) -> SpendQuery {
    SpendQuery {
        by: billing_store::ledger::SpendBy::Model,
        since_ms,
        until_ms,
        account: Some(id.clone()),
        limit: PAGE,
    }
}

fn random() -> Option<String> {
    let bytes = tls::random::<12>()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn by(actor: &str) -> By<'_> {
    By {
        actor,
        at_ms: unix_ms(),
    }
}
