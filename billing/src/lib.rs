//! What a request used, and what that costs, as plain values.
//!
//! This package counts; it does no I/O, reads no clock and runs nothing in the background.
//! Times come in as arguments, and `billing-store` puts the values on disk.
//!
//! Nothing here can hold the text of a prompt or of a completion.
//! Arithmetic on counts is checked or saturating: upstreams report the numbers, and upstreams lie.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod account;
mod amount;
pub mod book;
pub mod channel;
mod charge;
mod cocoon;
mod estimate;
mod lease;
pub mod ledger;
pub mod receipt;
mod record;
mod recount;
mod tariff;
mod usage;
mod window;

pub use account::{AccountId, BadAccountId, Bounds, Budget, Level, Payer, Pot, Span};
pub use amount::{AmountError, Currency, Nano, UnknownCurrency};
pub use book::{Book, HoldId};
pub use charge::{Amounts, Charge, ChargeKind, Evidence, Fee, RestsOn, Terms};
pub use cocoon::{CocoonBill, CocoonPrice, Multipliers, NoTariff, adjust};
pub use estimate::{Estimate, Output, PromptBound};
pub use lease::{Ask, Grant, JournalKind, Renewal, Return, Sharing};
pub use ledger::Ledger;
pub use record::{End, RequestRecord, UnknownEnd, Wage};
pub use recount::{Answer, HiddenReasoning, Recount, Side};
pub use tariff::Tariff;
pub use usage::{UnknownUsageSource, Usage, UsageSource};
pub use window::{BadWindow, Window, Windows};
