//! What was spent, summed up by something.

use billing::{AccountId, Currency, Level, Nano, Usage, Window};

use super::sql::{self, Record, rows, values};
use super::{LedgerFault, LedgerStore, question};
use crate::pool::Db;
use crate::reader::MAX_ROWS;

/// By what to sum up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpendBy {
    /// The day in UTC that a charge counts in, the newest first. All others: what was spent most, first.
    Day,
    Model,
    Key,
    Team,
    Organisation,
    /// The tag of this name.
    Tag(String),
}

/// Which charges to sum up, and by what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendQuery {
    pub by: SpendBy,
    /// Unix time; charges then or later.
    pub since_ms: i64,
    /// Unix time; charges before it.
    pub until_ms: i64,
    /// An organisation, a team or a key; all where `None`.
    pub account: Option<AccountId>,
    /// Groups in the answer, at most 10,000.
    pub limit: u32,
}

/// The sums of one group in one currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRow {
    /// `None` groups the charges without a key, a team or this tag.
    pub group: Option<String>,
    pub currency: Currency,
    /// Charges that are no refunds.
    pub requests: u64,
    /// What was paid in the end.
    pub amount: Nano,
    /// What of it is the gateway's own fee.
    pub fee: Nano,
    /// What was paid first and given back.
    pub refunded: Nano,
    /// What was paid for, without what was given back.
    pub usage: Usage,
}

impl LedgerStore {
    /// What was spent, one row a group and currency. What the operator bears is not in it.
    pub async fn spend(&self, query: &SpendQuery) -> Result<Vec<SpendRow>, LedgerFault> {
        question!(self.reader, db => sum_up(db, query).await)
    }
}

/// One statement a group, built by the compiler: no SQL is put together at run time.
macro_rules! sums {
    ($group:literal) => {
        concat!(
            "SELECT ",
            $group,
            " AS grouping_text, currency, count(*) FILTER (WHERE kind = 'capture') AS requests, \
             CAST(sum(CASE kind WHEN 'capture' THEN amount ELSE -amount END) AS bigint) AS amount, \
             CAST(sum(CASE kind WHEN 'capture' THEN fee ELSE -fee END) AS bigint) AS fee, \
             CAST(sum(CASE kind WHEN 'capture' THEN 0 ELSE amount END) AS bigint) AS refunded, \
             CAST(sum(CASE kind WHEN 'capture' THEN prompt ELSE 0 END) AS bigint) AS prompt, \
             CAST(sum(CASE kind WHEN 'capture' THEN cached ELSE 0 END) AS bigint) AS cached, \
             CAST(sum(CASE kind WHEN 'capture' THEN completion ELSE 0 END) AS bigint) AS completion, \
             CAST(sum(CASE kind WHEN 'capture' THEN reasoning ELSE 0 END) AS bigint) AS reasoning \
             FROM charges WHERE at_ms >= $1 AND at_ms < $2 AND NOT late \
             AND ($3 = '' OR organisation = $3) AND ($4 = '' OR team = $4) AND ($5 = '' OR key = $5) \
             GROUP BY 1, 2 ORDER BY amount DESC, 1, 2 LIMIT $6"
        )
    };
}

async fn sum_up(db: &mut Db<'_>, query: &SpendQuery) -> Result<Vec<SpendRow>, LedgerFault> {
    let sql = match &query.by {
        SpendBy::Day => sums!("day"),
        SpendBy::Model => sums!("model"),
        SpendBy::Key => sums!("substr(key, 5)"),
        SpendBy::Team => sums!("substr(team, 6)"),
        SpendBy::Organisation => sums!("substr(organisation, 5)"),
        SpendBy::Tag(_) => sql::by_kind(
            db,
            sums!("(SELECT value FROM json_each(charges.tags) AS tag WHERE tag.key = $7)"),
            sums!("(tags::json ->> $7)"),
        ),
    };
    let mut of = ["", "", ""];
    if let Some(account) = &query.account {
        match account.level() {
            Level::Organisation => of[0] = account.as_str(),
            Level::Team => of[1] = account.as_str(),
            Level::Key => of[2] = account.as_str(),
            // Nothing was charged to it.
            Level::System => return Ok(Vec::new()),
        }
    }
    let [organisation, team, key] = of;
    let (since, until) = (query.since_ms, query.until_ms);
    let limit = i64::from(query.limit.min(MAX_ROWS));
    let found = match &query.by {
        SpendBy::Tag(name) => rows(db, sql, values![since, until, organisation, team, key, limit, name]).await?,
        _ => rows(db, sql, values![since, until, organisation, team, key, limit]).await?,
    };
    let is_day = query.by == SpendBy::Day;
    let mut sums = found
        .iter()
        .map(|row| spend(row, is_day))
        .collect::<Result<Vec<_>, _>>()?;
    if is_day {
        sums.sort_by(|one, other| other.group.cmp(&one.group).then(one.currency.cmp(&other.currency)));
    }
    Ok(sums)
}

fn spend(row: &Record, is_day: bool) -> Result<SpendRow, LedgerFault> {
    let group = if is_day {
        Some(Window::Day(row.narrow("grouping_text")?).to_string())
    } else {
        row.maybe_text("grouping_text")?
    };
    Ok(SpendRow {
        group,
        currency: row.word("currency")?,
        requests: row.narrow("requests")?,
        // Where a refund is in the span and its capture before it, more may come back than was paid.
        amount: at_least_nothing(row, "amount")?,
        fee: at_least_nothing(row, "fee")?,
        refunded: row.nano("refunded")?,
        usage: Usage {
            prompt: row.narrow("prompt")?,
            cached: row.narrow("cached")?,
            completion: row.narrow("completion")?,
            reasoning: row.narrow("reasoning")?,
        },
    })
}

fn at_least_nothing(row: &Record, column: &'static str) -> Result<Nano, LedgerFault> {
    let amount = u64::try_from(row.int(column)?).unwrap_or(0);
    Ok(Nano::saturating(amount))
}
