//! Accounts and what the ledger knows, as administrators see them. Amounts are decimal text with all nine digits.

use std::{collections::BTreeMap, fmt};

use billing::{AccountId, ChargeKind, JournalKind, Level, Nano, Span, ledger::NodeState};
use billing_store::ledger::{
    Deposit, Deposited, ExchangeRate, Forgotten, PostedCharge, SpendRow, Spending, StoredAccount, StoredNode,
    StoredTransfer, SystemAccount,
};
use serde::{Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::edit::Units;
use crate::directory::time;

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
    pub(crate) kind: &'static str,
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
    /// Grows with each charge.
    pub(crate) number: i64,
    pub(crate) at: String,
    /// `NODE/SEQ`, its name in receipts and exports.
    pub(crate) name: String,
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
    /// It came after its gateway was forgotten, and the operator bears it.
    pub(crate) is_loss: bool,
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
    /// What was paid first and given back.
    pub(crate) refunded: Units,
}

/// An account in one month.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct StatementView {
    pub(crate) account: String,
    pub(crate) month: String,
    pub(crate) currency: String,
    /// Of an organisation: the balance at its beginning.
    pub(crate) opening: Option<Signed>,
    pub(crate) deposited: Option<Signed>,
    pub(crate) withdrawn: Option<Signed>,
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
    /// What currencies were worth in others, by the configuration; the newest first.
    pub(crate) rates: Vec<RateView>,
}

/// What one unit of a currency was in another, from a moment on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RateView {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) rate: Units,
    pub(crate) since: String,
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
    /// `live`; `expired` where its lease ended and it may come back; `closed` where it left; `forgotten`.
    pub(crate) state: &'static str,
    /// `local` or `direct`.
    pub(crate) journal: &'static str,
    /// How often it began.
    pub(crate) epoch: u64,
    pub(crate) lease_until: String,
    /// Bounded amounts of which it holds something.
    pub(crate) slices: u64,
    /// Charges of it that are in the ledger.
    pub(crate) posted: u64,
    /// Whether it is the one that answers.
    pub(crate) is_this: bool,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ForgottenView {
    pub(crate) name: String,
    /// False where it held nothing.
    pub(crate) freed: bool,
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
    pub(crate) checked: BTreeMap<String, u64>,
    pub(crate) discrepancies: Vec<DiscrepancyView>,
    /// Discrepancies beyond those that are listed.
    pub(crate) more: u64,
    /// What is no fault, and may interest: bounds that were cut below what was spent.
    pub(crate) notes: Vec<DiscrepancyView>,
    /// Why it could not be made.
    pub(crate) failure: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DiscrepancyView {
    pub(crate) message: String,
}

impl AccountView {
    pub(crate) fn of(account: &StoredAccount) -> Self {
        let is_organisation = account.id.level() == Level::Organisation;
        let of_organisation = |amount: Nano| is_organisation.then_some(Units(amount));
        let spent = SpentView {
            total: Units(account.total.spent),
            day: Units(account.day.spent),
            month: Units(account.month.spent),
        };
        Self {
            id: account.id.to_string(),
            level: match account.id.level() {
                Level::Organisation => "organisation",
                Level::Team => "team",
                Level::Key => "key",
                Level::System => "system",
            },
            parent: account.parent.as_ref().map(AccountId::to_string),
            organisation: account.organisation.to_string(),
            currency: account.currency.to_string(),
            credit: account.credit.map(Units),
            balance: is_organisation.then(|| Signed(account.balance_nano().into())),
            deposited: of_organisation(account.deposited),
            withdrawn: of_organisation(account.withdrawn),
            spent,
            budget: account.budget.into(),
            // What is leased in all covers what is leased in a day: the same requests are held in both.
            leased: Units(leased(account).max()),
            available: available(account).map(Units),
            disabled: account.disabled,
            tags: account.tags.iter().cloned().collect(),
            created_at: time(account.created_at_ms),
        }
    }
}

struct Leased([Nano; 3]);

impl Leased {
    fn max(&self) -> Nano {
        self.0.into_iter().max().unwrap_or_default()
    }
}

fn leased(account: &StoredAccount) -> Leased {
    Leased([account.total, account.day, account.month].map(|spending| spending.leased))
}

/// The least room that is left under any bound.
fn available(account: &StoredAccount) -> Option<Nano> {
    let spendings: [(Span, Spending); 3] = [
        (Span::Total, account.total),
        (Span::Day, account.day),
        (Span::Month, account.month),
    ];
    let budgets = spendings
        .into_iter()
        .filter_map(|(span, spending)| Some(account.budget.of(span)?.saturating_sub(spending.spent)));
    let money = account
        .credit
        .filter(|_| account.id.level() == Level::Organisation)
        .map(|credit| {
            let cap = account
                .deposited
                .saturating_sub(account.withdrawn)
                .saturating_add(credit);
            cap.saturating_sub(account.total.spent)
        });
    budgets.chain(money).min()
}

impl MovedView {
    pub(crate) fn of(kind: &'static str, movement: &Deposit, done: Deposited) -> Self {
        Self {
            id: movement.id.clone(),
            kind,
            account: movement.organisation.to_string(),
            amount: Units(movement.amount),
            currency: movement.currency.to_string(),
            is_new: done.is_new,
            balance: Signed(done.balance_nano.into()),
        }
    }
}

impl TransferView {
    pub(crate) fn of(transfer: StoredTransfer) -> Self {
        Self {
            number: transfer.id,
            at: time(transfer.at_ms),
            kind: transfer.kind.as_str(),
            debit: transfer.debit.to_string(),
            credit: transfer.credit.to_string(),
            amount: Units(transfer.amount),
            currency: transfer.currency.to_string(),
            id: transfer.reference,
            memo: transfer.memo,
            actor: transfer.actor,
            charge: transfer.charge.map(|(node, seq)| format!("{node}/{seq}")),
        }
    }
}

impl ChargeView {
    pub(crate) fn of(posted: PostedCharge) -> Self {
        let charge = posted.sealed.charge;
        Self {
            number: posted.id,
            at: time(charge.at_ms),
            name: format!("{}/{}", charge.node, charge.seq),
            request_id: charge.request_id,
            kind: match charge.kind {
                ChargeKind::Capture => "capture",
                ChargeKind::Refund { .. } => "refund",
            },
            organisation: charge.organisation.to_string(),
            team: charge.team.map(|team| team.to_string()),
            key: charge.key.map(|key| key.name().to_owned()),
            model: charge.model,
            endpoint: charge.endpoint,
            end: charge.end.as_str(),
            currency: charge.currency.to_string(),
            held: Units(charge.held),
            amount: Units(charge.amount),
            fee: Units(charge.fee),
            prompt: charge.billed.prompt,
            cached: charge.billed.cached,
            completion: charge.billed.completion,
            reasoning: charge.billed.reasoning,
            usage_source: charge.source.as_str(),
            is_loss: posted.late,
        }
    }
}

impl SpendView {
    pub(crate) fn of(row: SpendRow) -> Self {
        Self {
            group: row.group,
            currency: row.currency.to_string(),
            requests: row.requests,
            prompt: row.usage.prompt,
            cached: row.usage.cached,
            completion: row.usage.completion,
            reasoning: row.usage.reasoning,
            amount: Signed(row.amount.get().into()),
            fee: Signed(row.fee.get().into()),
            refunded: Units(row.refunded),
        }
    }
}

impl SystemView {
    pub(crate) fn of(account: SystemAccount) -> Self {
        Self {
            id: account.id.to_string(),
            currency: account.currency.to_string(),
            balance: Signed::between(account.credited.get(), account.debited.get()),
        }
    }
}

impl RateView {
    pub(crate) fn of(rate: &ExchangeRate) -> Self {
        Self {
            from: rate.base.to_string(),
            to: rate.quote.to_string(),
            rate: Units(rate.rate),
            since: time(rate.at_ms),
        }
    }
}

impl NodeView {
    pub(crate) fn of(node: StoredNode, this: Option<&str>) -> Self {
        let state = match node.state {
            NodeState::Open if node.is_live() => "live",
            NodeState::Open => "expired",
            NodeState::Closed => "closed",
            NodeState::Forgotten => "forgotten",
        };
        Self {
            state,
            journal: match node.journal {
                JournalKind::Local => "local",
                JournalKind::Direct => "direct",
            },
            epoch: node.epoch,
            lease_until: time(node.lease_until_ms),
            slices: node.slices,
            posted: node.last_seq,
            is_this: this == Some(node.name.as_str()),
            name: node.name,
        }
    }
}

impl ForgottenView {
    pub(crate) fn of(name: &str, forgotten: Forgotten) -> Self {
        Self {
            name: name.to_owned(),
            freed: matches!(forgotten, Forgotten::Now),
        }
    }
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
