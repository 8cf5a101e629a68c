//! Accounts and what the ledger knows, as administrators see them. Amounts are decimal text with all nine digits.

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::edit::Units;

/// An amount that may be owed: with a minus sign then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signed(pub(crate) i128);

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct AccountView {
    pub(crate) id: String,
    /// `organisation`, `team` or `key`.
    pub(crate) level: &'static str,
    /// The account above it.
    pub(crate) parent: Option<String>,
    pub(crate) organisation: String,
    pub(crate) currency: String,
    /// Of an organisation: what it may owe; `null` is without bound.
    pub(crate) credit: Option<Units>,
    /// Of an organisation: what came in, less what went out and was spent.
    pub(crate) balance: Option<Signed>,
    pub(crate) deposited: Option<Units>,
    pub(crate) withdrawn: Option<Units>,
    pub(crate) spent: SpentView,
    pub(crate) budget: BudgetView,
    /// Set aside at gateways, for requests that are under way or to come.
    pub(crate) leased: Units,
    /// What is left under the closest bound of this account; `null` where it has none.
    pub(crate) available: Option<Units>,
    pub(crate) disabled: bool,
    pub(crate) tags: BTreeMap<String, String>,
    /// Of a key: `file` or `database`, where its account and budget are changed.
    pub(crate) source: Option<&'static str>,
    pub(crate) created_at: String,
}

/// In all, and in the present day and month of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SpentView {
    pub(crate) total: Units,
    pub(crate) day: Units,
    pub(crate) month: Units,
}

/// `null` is without bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct BudgetView {
    pub(crate) total: Option<Units>,
    pub(crate) day: Option<Units>,
    pub(crate) month: Option<Units>,
}

impl From<billing::Budget> for BudgetView {
    fn from(budget: billing::Budget) -> Self {
        Self {
            total: budget.total.map(Units),
            day: budget.day.map(Units),
            month: budget.month.map(Units),
        }
    }
}

/// A deposit or a withdrawal that was made.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct MovedView {
    pub(crate) id: String,
    /// `deposit` or `withdrawal`.
    pub(crate) kind: &'static str,
    pub(crate) account: String,
    pub(crate) amount: Units,
    pub(crate) currency: String,
    /// False where it was made before, under the same id; nothing changed then.
    pub(crate) is_new: bool,
    /// After it.
    pub(crate) balance: Signed,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TransferView {
    /// Grows with each transfer.
    pub(crate) number: i64,
    pub(crate) at: String,
    /// `deposit`, `withdrawal`, `capture` or `refund`.
    pub(crate) kind: String,
    /// Who gave.
    pub(crate) debit: String,
    /// Who got.
    pub(crate) credit: String,
    pub(crate) amount: Units,
    pub(crate) currency: String,
    /// Of a deposit or a withdrawal, what named it.
    pub(crate) id: Option<String>,
    pub(crate) memo: Option<String>,
    pub(crate) actor: Option<String>,
    /// Of a capture or a refund, its charge.
    pub(crate) charge: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ChargeView {
    /// `NODE/SEQ`, its name in receipts and exports.
    pub(crate) number: String,
    pub(crate) at: String,
    pub(crate) request_id: String,
    /// `capture` or `refund`.
    pub(crate) kind: &'static str,
    pub(crate) organisation: String,
    pub(crate) team: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) model: String,
    pub(crate) endpoint: String,
    pub(crate) end: &'static str,
    pub(crate) currency: String,
    pub(crate) held: Units,
    pub(crate) amount: Units,
    /// Of the amount, the gateway's own.
    pub(crate) fee: Units,
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) completion: u64,
    pub(crate) reasoning: u64,
    pub(crate) usage_source: &'static str,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SpendView {
    /// A day, a model, a key, a team, an organisation or a tag's value; `null` for what has none.
    pub(crate) group: Option<String>,
    pub(crate) currency: String,
    pub(crate) requests: u64,
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) completion: u64,
    pub(crate) reasoning: u64,
    /// Paid, less what was given back.
    pub(crate) amount: Signed,
    /// Of the amount, the gateway's own.
    pub(crate) fee: Signed,
}

/// An account in one month.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StatementView {
    pub(crate) account: String,
    pub(crate) month: String,
    pub(crate) currency: String,
    /// Of an organisation: the balance at its beginning.
    pub(crate) opening: Option<Signed>,
    pub(crate) deposited: Option<Units>,
    pub(crate) withdrawn: Option<Units>,
    /// What requests cost, less refunds.
    pub(crate) spent: Signed,
    /// Of an organisation: the balance at its end, or now.
    pub(crate) closing: Option<Signed>,
    pub(crate) models: Vec<SpendView>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LedgerView {
    /// Accounts of the ledger itself: what came in, was earned, is a fee, was lost.
    pub(crate) accounts: Vec<SystemView>,
    pub(crate) nodes: Vec<NodeView>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SystemView {
    pub(crate) id: String,
    pub(crate) currency: String,
    pub(crate) balance: Signed,
}

/// A gateway that spends from the ledger.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct NodeView {
    pub(crate) name: String,
    /// `live`, `expired`, `left`, `closed` or `forgotten`.
    pub(crate) state: &'static str,
    /// `local` or `direct`.
    pub(crate) journal: &'static str,
    /// How often it began.
    pub(crate) epoch: i64,
    pub(crate) lease_until: Option<String>,
    /// Charges of it that are in the ledger.
    pub(crate) posted: u64,
    /// Charges in its own journal that are not; known of the gateway that answers.
    pub(crate) unshipped: Option<u64>,
    /// Whether it is the one that answers.
    pub(crate) is_this: bool,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ForgottenView {
    pub(crate) name: String,
    /// What it had leased, and is free again.
    pub(crate) freed: Vec<FreedView>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FreedView {
    pub(crate) account: String,
    /// `total`, or a day, or a month.
    pub(crate) window: String,
    pub(crate) amount: Units,
}

/// A check of the whole ledger.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct CheckView {
    /// `running` or `done`.
    pub(crate) state: &'static str,
    pub(crate) started_at: String,
    pub(crate) finished_at: Option<String>,
    /// Whether everything is as it must be; `null` while it runs.
    pub(crate) ok: Option<bool>,
    /// How much of each was looked at.
    pub(crate) checked: BTreeMap<&'static str, u64>,
    pub(crate) discrepancies: Vec<DiscrepancyView>,
    /// Discrepancies beyond those that are listed.
    pub(crate) more: u64,
    /// Why it could not be made.
    pub(crate) failure: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DiscrepancyView {
    pub(crate) message: String,
}

impl Signed {
    /// What came in, less what went out.
    pub(crate) fn between(credited: u64, debited: u64) -> Self {
        Self(i128::from(credited).saturating_sub(i128::from(debited)))
    }
}

impl fmt::Display for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = u128::from(billing::Nano::UNIT);
        let size = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:09}", size / unit, size % unit)
    }
}

impl Serialize for Signed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl PartialSchema for Signed {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r"^-?[0-9]+\.[0-9]{9}$"))
            .into()
    }
}

impl ToSchema for Signed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_owed_has_a_sign() {
        let check = |nano: i128, expect: &str| assert_eq!(Signed(nano).to_string(), expect);
        check(0, "0.000000000");
        check(1, "0.000000001");
        check(-1, "-0.000000001");
        check(-2_500_000_000, "-2.500000000");
        assert_eq!(Signed::between(3, 5), Signed(-2));
    }
}
