//! Treasury: what administrators know of money, and the one way in which they change it.

mod edit;
mod view;

pub(crate) use edit::{AccountEdit, BudgetEdit, EditError, Founding, Movement, Units, account, currency, some};
pub(crate) use view::BudgetView;
