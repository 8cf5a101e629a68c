//! Organisations, teams and keys: what each may spend, and what it has spent.

use billing::{AccountId, Budget, Currency, Level, Nano, Window, Windows};
use serde_json::{Map, Value as Json};

use super::sql::{self, Batch, Record, Type, row, rows, run, values};
use super::{LedgerFault, LedgerStore, change, faults, question};
use crate::audit::{self, AuditEntry};
use crate::keys::By;
use crate::pool::Db;

/// An account that is to be: an organisation or a team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    pub id: AccountId,
    /// Of an organisation. A team has that of its organisation.
    pub currency: Option<Currency>,
    /// What an organisation may owe; `None` is without limit. A team has none.
    pub credit: Option<Nano>,
    pub budget: Budget,
    pub disabled: bool,
    pub tags: Vec<(String, String)>,
}

/// What is to be different. `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// Never another than it has.
    pub currency: Option<Currency>,
    pub credit: Option<Option<Nano>>,
    pub budget: Option<Budget>,
    pub disabled: Option<bool>,
    pub tags: Option<Vec<(String, String)>>,
}

/// A key of the configuration file, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredKey {
    /// The name of the key.
    pub name: String,
    /// The organisation or team that it is charged to.
    pub account: AccountId,
    pub budget: Budget,
}

/// Accounts at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// Differs after any change that nodes must hear of; not after deposits and charges.
    pub generation: i64,
    /// By name.
    pub accounts: Vec<StoredAccount>,
}

/// An account of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAccount {
    pub id: AccountId,
    pub organisation: AccountId,
    /// The account above; `None` for an organisation.
    pub parent: Option<AccountId>,
    pub currency: Currency,
    /// What an organisation may owe; `None` is without limit, and `None` for others.
    pub credit: Option<Nano>,
    pub budget: Budget,
    pub disabled: bool,
    pub tags: Vec<(String, String)>,
    /// The generation of its last change.
    pub revision: i64,
    pub created_at_ms: i64,
    pub created_by: String,
    /// All that was ever paid in, and out again; of an organisation.
    pub deposited: Nano,
    pub withdrawn: Nano,
    pub total: Spending,
    /// Today, by the clock of the database.
    pub day: Spending,
    pub month: Spending,
}

/// Of an account in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    pub spent: Nano,
    /// What nodes hold of it to spend.
    pub leased: Nano,
}

impl StoredAccount {
    /// What is left of the money, in billionths; negative where an organisation owes.
    pub fn balance_nano(&self) -> i64 {
        balance(self.deposited, self.withdrawn, self.total.spent)
    }
}

/// None of the three is negative or beyond 63 bits, and no more was withdrawn than deposited.
pub(super) fn balance(deposited: Nano, withdrawn: Nano, spent: Nano) -> i64 {
    let money = deposited.saturating_sub(withdrawn);
    sql::stored(money).saturating_sub(sql::stored(spent))
}

/// Why an account was not created, the first that applies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    #[error("'{id}' is no organisation and no team; write org:NAME or team:ORGANISATION/TEAM")]
    Level { id: AccountId },
    #[error("an organisation needs a currency, such as USD or TON")]
    NoCurrency,
    #[error("there is no organisation '{organisation}' for this team; create it first")]
    NoOrganisation { organisation: AccountId },
    #[error("the currency of '{organisation}' is {expect}, so that of its team is not {found}")]
    Currency {
        organisation: AccountId,
        expect: Currency,
        found: Currency,
    },
    #[error("a team owes nothing; the credit is its organisation's")]
    Credit,
    #[error("there is another account named '{id}'; change that one, or choose another name")]
    Taken { id: AccountId },
    #[error("the account was not created")]
    Fault(#[from] LedgerFault),
}

/// Why an account was not changed, the first that applies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    #[error("there is no account '{id}'")]
    NotFound { id: AccountId },
    #[error("'{id}' is a key; its account and its budget are changed with the key")]
    Key { id: AccountId },
    #[error("the currency of '{id}' is {expect} for ever; create another account for {found}")]
    Currency {
        id: AccountId,
        expect: Currency,
        found: Currency,
    },
    #[error("a team owes nothing; the credit is its organisation's")]
    Credit,
    #[error("the account was not changed")]
    Fault(#[from] LedgerFault),
}

/// Why keys of the file were not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeclareError {
    #[error(
        "the key '{key}' is charged to '{account}', which does not exist; create it with `mulberry account create {account}`"
    )]
    NoAccount { key: String, account: AccountId },
    #[error(
        "the key '{key}' was charged in {before}, and '{account}' is in {now}; give it another name, for what a key spent has one currency"
    )]
    Currency {
        key: String,
        account: AccountId,
        before: Currency,
        now: Currency,
    },
    #[error("the keys of the file were not made known to the ledger")]
    Fault(#[from] LedgerFault),
}

faults!(CreateError);
faults!(ChangeError);
faults!(DeclareError);

impl LedgerStore {
    /// Every account at one moment, with what it spent.
    pub async fn accounts(&self) -> Result<AccountSnapshot, LedgerFault> {
        question!(self.reader, db => all(db).await)
    }

    /// An account by its name.
    pub async fn account(&self, id: &AccountId) -> Result<Option<StoredAccount>, LedgerFault> {
        let found = question!(self.reader, db => some(db, id.as_str()).await);
        found.map(|mut accounts: Vec<_>| accounts.pop())
    }

    /// A number that differs after any change to accounts that nodes must hear of. Costs next to nothing.
    pub async fn generation(&self) -> Result<i64, LedgerFault> {
        question!(self.reader, db => generation(db).await)
    }

    pub async fn create_account(&self, new: &NewAccount, by: By<'_>) -> Result<StoredAccount, CreateError> {
        change!(self.pool, db => create(db, new, by).await)
    }

    /// The account of this name, created where it was not there. What it is otherwise is not looked at.
    pub async fn ensure_account(&self, new: &NewAccount, by: By<'_>) -> Result<StoredAccount, CreateError> {
        if let Some(account) = self.account(&new.id).await? {
            return Ok(account);
        }
        match self.create_account(new, by).await {
            Err(CreateError::Taken { id }) => match self.account(&id).await? {
                Some(account) => Ok(account),
                None => Err(CreateError::Taken { id }),
            },
            outcome => outcome,
        }
    }

    /// Changes an account; where it is so already, nothing is written.
    ///
    /// A bound may be cut below what was spent. Then nothing more is granted, and what is out stays out.
    pub async fn change_account(
        &self,
        id: &AccountId,
        change: &AccountChange,
        by: By<'_>,
    ) -> Result<StoredAccount, ChangeError> {
        change!(self.pool, db => alter(db, id, change, by).await)
    }

    /// Makes the keys of the configuration file known, and forgets the budgets of those that are no longer in it.
    pub async fn declare_keys(&self, keys: &[DeclaredKey], by: By<'_>) -> Result<(), DeclareError> {
        change!(self.pool, db => declare(db, keys, by).await)
    }
}

pub(super) async fn generation(db: &mut Db<'_>) -> Result<i64, LedgerFault> {
    match row(db, "SELECT generation FROM ledger_state", &[]).await? {
        Some(row) => row.int("generation"),
        None => Err(LedgerFault::Row { column: "generation" }),
    }
}

/// The statements about all accounts, or about one; built by the compiler.
macro_rules! questions {
    ($account:literal, $pot:literal) => {
        [
            concat!(
                "SELECT a.*, coalesce(b.credited, 0) AS deposited, coalesce(b.debited, 0) AS withdrawn FROM accounts a \
                 LEFT JOIN balances b ON b.account = a.id AND b.currency = a.currency AND b.node = '' ",
                $account,
                " ORDER BY a.id"
            ),
            concat!(
                "SELECT account, span, used FROM pots WHERE ((span = 'total' AND number = 0) OR \
                 (span = 'day' AND number = $1) OR (span = 'month' AND number = $2)) ",
                $pot
            ),
            concat!(
                "SELECT account, span, CAST(sum(CASE WHEN granted > drawn THEN granted - drawn ELSE 0 END) AS bigint) AS leased FROM leases \
                 WHERE ((span = 'total' AND number = 0) OR (span = 'day' AND number = $1) OR \
                 (span = 'month' AND number = $2)) ",
                $pot,
                " GROUP BY account, span"
            ),
        ]
    };
}

pub(super) async fn all(db: &mut Db<'_>) -> Result<AccountSnapshot, LedgerFault> {
    let [accounts, pots, leases] = questions!("", "");
    let generation = generation(db).await?;
    let rows = rows(db, accounts, &[]).await?;
    let mut accounts = rows.iter().map(account).collect::<Result<Vec<_>, _>>()?;
    let (day, month) = today(db).await?;
    spendings(db, &mut accounts, pots, leases, values![day, month]).await?;
    Ok(AccountSnapshot { generation, accounts })
}

async fn some(db: &mut Db<'_>, id: &str) -> Result<Vec<StoredAccount>, LedgerFault> {
    let [accounts, pots, leases] = questions!("WHERE a.id = $1", "AND account = $3");
    let rows = rows(db, accounts, values![id]).await?;
    let mut accounts = rows.iter().map(account).collect::<Result<Vec<_>, _>>()?;
    let (day, month) = today(db).await?;
    spendings(db, &mut accounts, pots, leases, values![day, month, id]).await?;
    Ok(accounts)
}

async fn today(db: &mut Db<'_>) -> Result<(i64, i64), LedgerFault> {
    let windows = Windows::at(sql::now_ms(db).await?);
    Ok((windows.day.into(), windows.month.into()))
}

async fn spendings(
    db: &mut Db<'_>,
    accounts: &mut [StoredAccount],
    pots: &'static str,
    leases: &'static str,
    of: &[sql::Value<'_>],
) -> Result<(), LedgerFault> {
    for row in rows(db, pots, of).await? {
        if let Some(spending) = spending(accounts, &row)? {
            spending.spent = row.nano("used")?;
        }
    }
    for row in rows(db, leases, of).await? {
        if let Some(spending) = spending(accounts, &row)? {
            spending.leased = row.nano("leased")?;
        }
    }
    Ok(())
}

fn spending<'a>(accounts: &'a mut [StoredAccount], row: &Record) -> Result<Option<&'a mut Spending>, LedgerFault> {
    let (id, span) = (row.text("account")?, row.text("span")?);
    // In the order of bytes, in both databases.
    let Ok(at) = accounts.binary_search_by(|account| account.id.as_str().cmp(&id)) else {
        return Ok(None);
    };
    let account = &mut accounts[at];
    Ok(match span.as_str() {
        "total" => Some(&mut account.total),
        "day" => Some(&mut account.day),
        "month" => Some(&mut account.month),
        _ => return Err(LedgerFault::Row { column: "span" }),
    })
}

pub(super) fn account(row: &Record) -> Result<StoredAccount, LedgerFault> {
    Ok(StoredAccount {
        id: row.word("id")?,
        organisation: row.word("organisation")?,
        parent: row.maybe_word("parent")?,
        currency: row.word("currency")?,
        credit: row.maybe_nano("credit")?,
        budget: Budget {
            total: row.maybe_nano("budget_total")?,
            day: row.maybe_nano("budget_day")?,
            month: row.maybe_nano("budget_month")?,
        },
        disabled: row.flag("disabled")?,
        tags: tags_of(&row.text("tags")?).ok_or(LedgerFault::Row { column: "tags" })?,
        revision: row.int("revision")?,
        created_at_ms: row.int("created_at_ms")?,
        created_by: row.text("created_by")?,
        deposited: row.nano("deposited")?,
        withdrawn: row.nano("withdrawn")?,
        total: Spending::default(),
        day: Spending::default(),
        month: Spending::default(),
    })
}

/// The organisation of an account by its name, which a team's has.
fn organisation_of(id: &AccountId) -> Option<AccountId> {
    match id.level() {
        Level::Organisation => Some(id.clone()),
        Level::Team => {
            let (organisation, _) = id.name().split_once('/')?;
            AccountId::organisation(organisation).ok()
        }
        Level::Key | Level::System => None,
    }
}

pub(super) async fn create(db: &mut Db<'_>, new: &NewAccount, by: By<'_>) -> Result<StoredAccount, CreateError> {
    let id = new.id.clone();
    let Some(organisation) = organisation_of(&id) else {
        return Err(CreateError::Level { id });
    };
    let is_team = organisation != id;
    if !is_team && new.currency.is_none() {
        return Err(CreateError::NoCurrency);
    }
    let currency = match new.currency {
        Some(currency) if !is_team => currency,
        found => {
            let sql = "SELECT currency FROM accounts WHERE id = $1";
            let Some(row) = row(db, sql, values![organisation.as_str()]).await? else {
                return Err(CreateError::NoOrganisation { organisation });
            };
            let expect: Currency = row.word("currency")?;
            match found {
                Some(found) if found != expect => {
                    return Err(CreateError::Currency {
                        organisation,
                        expect,
                        found,
                    });
                }
                _ => expect,
            }
        }
    };
    if is_team && new.credit.is_some() {
        return Err(CreateError::Credit);
    }
    let added = run(
        db,
        "INSERT INTO accounts (id, organisation, parent, currency, credit, budget_total, budget_day, budget_month, \
         disabled, tags, created_at_ms, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (id) DO NOTHING",
        values![
            id.as_str(),
            organisation.as_str(),
            is_team.then_some(organisation.as_str()),
            currency.as_str(),
            new.credit,
            new.budget.total,
            new.budget.day,
            new.budget.month,
            new.disabled,
            &tags_to(&new.tags),
            by.at_ms,
            by.actor,
        ],
    )
    .await?;
    if added == 0 {
        let mut found = some(db, id.as_str()).await?;
        let is_same =
            |old: &StoredAccount| (old.currency, old.credit, old.budget) == (currency, new.credit, new.budget);
        // To create it again as it is changes nothing.
        return match found.pop() {
            Some(old) if is_same(&old) => Ok(old),
            _ => Err(CreateError::Taken { id }),
        };
    }
    let mut detail = Map::new();
    detail.insert("currency".into(), currency.as_str().into());
    detail.insert("credit_nano".into(), json(new.credit));
    detail.insert("budget_nano".into(), budget_json(&new.budget));
    log(db, by, "account.create", id.as_str(), detail).await?;
    created(some(db, id.as_str()).await?)
}

fn created<E: From<LedgerFault>>(mut found: Vec<StoredAccount>) -> Result<StoredAccount, E> {
    found.pop().ok_or_else(|| LedgerFault::Row { column: "id" }.into())
}

pub(super) async fn alter(
    db: &mut Db<'_>,
    id: &AccountId,
    change: &AccountChange,
    by: By<'_>,
) -> Result<StoredAccount, ChangeError> {
    let sql = sql::by_kind(
        db,
        "SELECT *, 0 AS deposited, 0 AS withdrawn FROM accounts WHERE id = $1",
        "SELECT *, 0::bigint AS deposited, 0::bigint AS withdrawn FROM accounts WHERE id = $1 FOR NO KEY UPDATE",
    );
    let Some(row) = row(db, sql, values![id.as_str()]).await? else {
        return Err(ChangeError::NotFound { id: id.clone() });
    };
    if id.level() == Level::Key {
        return Err(ChangeError::Key { id: id.clone() });
    }
    let old = account(&row)?;
    if let Some(found) = change.currency.filter(|found| *found != old.currency) {
        return Err(ChangeError::Currency {
            id: id.clone(),
            expect: old.currency,
            found,
        });
    }
    if id.level() != Level::Organisation && change.credit.flatten().is_some() {
        return Err(ChangeError::Credit);
    }
    let credit = change.credit.unwrap_or(old.credit);
    let budget = change.budget.unwrap_or(old.budget);
    let disabled = change.disabled.unwrap_or(old.disabled);
    let tags = change.tags.as_ref().unwrap_or(&old.tags);
    let mut detail = Map::new();
    let mut differs = |field: &str, old: Json, new: Json| {
        if old != new {
            detail.insert(field.into(), serde_json::json!({"old": old, "new": new}));
        }
    };
    differs("credit_nano", json(old.credit), json(credit));
    differs("budget_nano", budget_json(&old.budget), budget_json(&budget));
    differs("disabled", old.disabled.into(), disabled.into());
    differs("tags", tags_to(&old.tags).into(), tags_to(tags).into());
    if !detail.is_empty() {
        run(
            db,
            "UPDATE accounts SET credit = $2, budget_total = $3, budget_day = $4, budget_month = $5, disabled = $6, \
             tags = $7 WHERE id = $1",
            values![
                id.as_str(),
                credit,
                budget.total,
                budget.day,
                budget.month,
                disabled,
                &tags_to(tags),
            ],
        )
        .await?;
        log(db, by, "account.update", id.as_str(), detail).await?;
    }
    created(some(db, id.as_str()).await?)
}

const DECLARED: &[(&str, Type)] = &[
    ("name", Type::Text),
    ("account", Type::Text),
    ("total", Type::Int),
    ("day", Type::Int),
    ("month", Type::Int),
    ("at_ms", Type::Int),
    ("actor", Type::Text),
];

async fn declare(db: &mut Db<'_>, keys: &[DeclaredKey], by: By<'_>) -> Result<(), DeclareError> {
    let known = rows(db, "SELECT id, currency, origin, parent FROM accounts ORDER BY id", &[]).await?;
    let mut currencies = std::collections::HashMap::new();
    let mut gone = Vec::new();
    for row in &known {
        let id = row.text("id")?;
        currencies.insert(id.clone(), row.word::<Currency>("currency")?);
        if row.maybe_text("origin")?.as_deref() == Some("file") {
            gone.push(id);
        }
    }
    let mut sorted: Vec<_> = keys.iter().collect();
    sorted.sort_by(|one, other| one.name.cmp(&other.name));
    sorted.dedup_by(|one, other| one.name == other.name);
    let ids: Vec<_> = sorted.iter().map(|key| AccountId::key(&key.name)).collect();
    gone.retain(|id| ids.binary_search_by(|declared| declared.as_str().cmp(id)).is_err());
    let mut batch = Batch::new(DECLARED);
    for (key, id) in sorted.iter().zip(&ids) {
        let account = key.account.clone();
        let is_payer = matches!(account.level(), Level::Organisation | Level::Team);
        let Some(now) = currencies.get(account.as_str()).copied().filter(|_| is_payer) else {
            let key = key.name.clone();
            return Err(DeclareError::NoAccount { key, account });
        };
        if let Some(before) = currencies.get(id.as_str()).copied().filter(|before| *before != now) {
            return Err(DeclareError::Currency {
                key: key.name.clone(),
                account,
                before,
                now,
            });
        }
        batch.push([
            id.as_str().into(),
            key.account.as_str().into(),
            key.budget.total.into(),
            key.budget.day.into(),
            key.budget.month.into(),
            by.at_ms.into(),
            by.actor.into(),
        ]);
    }
    // What is so already is not written, so that a restart is no change.
    sql::each(
        db,
        &batch,
        "INSERT INTO accounts (id, organisation, parent, currency, budget_total, budget_day, budget_month, disabled, \
         tags, origin, created_at_ms, created_by) \
         SELECT v.name, a.organisation, a.id, a.currency, v.total, v.day, v.month, false, '{}', 'file', v.at_ms, v.actor \
         FROM v JOIN accounts a ON a.id = v.account \
         WHERE NOT EXISTS (SELECT 1 FROM accounts k WHERE k.id = v.name AND k.parent = v.account AND k.origin = 'file' \
         AND coalesce(k.budget_total, -1) = coalesce(v.total, -1) AND coalesce(k.budget_day, -1) = coalesce(v.day, -1) \
         AND coalesce(k.budget_month, -1) = coalesce(v.month, -1)) \
         ORDER BY v.name \
         ON CONFLICT (id) DO UPDATE SET organisation = excluded.organisation, parent = excluded.parent, \
         budget_total = excluded.budget_total, budget_day = excluded.budget_day, \
         budget_month = excluded.budget_month, origin = 'file'",
    )
    .await?;
    for id in gone {
        run(
            db,
            "UPDATE accounts SET budget_total = NULL, budget_day = NULL, budget_month = NULL WHERE id = $1 \
             AND coalesce(budget_total, budget_day, budget_month) IS NOT NULL",
            values![&id],
        )
        .await?;
    }
    Ok(())
}

/// The cap of a pot, from a row of `accounts` with its money; `None` is without bound.
pub(super) fn cap(account: &StoredAccount, window: Window) -> Option<Nano> {
    let budget = account.budget.of(window.span());
    if window != Window::Total || account.parent.is_some() {
        return budget;
    }
    let money = account.deposited.saturating_sub(account.withdrawn);
    // What an organisation without limit may spend is its budget alone.
    let money = account.credit.map(|credit| money.saturating_add(credit));
    match (money, budget) {
        (Some(money), Some(budget)) => Some(money.min(budget)),
        (bound, None) | (None, bound) => bound,
    }
}

pub(super) async fn log(
    db: &mut Db<'_>,
    by: By<'_>,
    action: &str,
    object: &str,
    detail: Map<String, Json>,
) -> Result<(), LedgerFault> {
    let entry = AuditEntry {
        at_ms: by.at_ms,
        actor: by.actor.to_owned(),
        action: action.to_owned(),
        object: object.to_owned(),
        detail: Json::Object(detail),
    };
    Ok(audit::insert(db, &entry).await?)
}

fn json(amount: Option<Nano>) -> Json {
    amount.map_or(Json::Null, |amount| amount.get().into())
}

fn budget_json(budget: &Budget) -> Json {
    serde_json::json!({"total": json(budget.total), "day": json(budget.day), "month": json(budget.month)})
}

/// A JSON object of texts.
pub(super) fn tags_to(tags: &[(String, String)]) -> String {
    let members = tags.iter();
    Json::Object(
        members
            .map(|(name, value)| (name.clone(), value.clone().into()))
            .collect(),
    )
    .to_string()
}

pub(super) fn tags_of(text: &str) -> Option<Vec<(String, String)>> {
    let Ok(Json::Object(members)) = serde_json::from_str(text) else {
        return None;
    };
    let members = members.into_iter();
    members
        .map(|(name, value)| match value {
            Json::String(value) => Some((name, value)),
            _ => None,
        })
        .collect()
}
