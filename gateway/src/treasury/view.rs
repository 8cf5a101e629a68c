//! Accounts as administrators see them. Amounts are decimal text with all nine digits.

use serde::Serialize;
use utoipa::ToSchema;

use super::edit::Units;

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
