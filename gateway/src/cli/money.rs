//! The flags of `mulberry account`, `mulberry spend` and `mulberry ledger`.

use std::path::PathBuf;

use billing::AccountId;
use clap::{Args, Subcommand};

use super::{ConfigArgs, key::Output};
use crate::treasury::{self, AccountEdit, BudgetEdit, Units};

/// Where the ledger is, and how it is shown.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The database, where it is not the configuration's; no running gateway is asked then
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) database: Option<PathBuf>,
    /// How the result is written
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct AccountArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(subcommand)]
    pub(crate) command: AccountCommand,
}

/// ACCOUNT is org:NAME or team:ORGANISATION/TEAM; the prefix may be left out.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an organisation, or a team of one
    Create {
        #[arg(value_parser = account)]
        account: AccountId,
        /// Of an organisation: three capital letters [default: that of the section `ledger`]
        #[arg(long, value_name = "CODE")]
        currency: Option<String>,
        #[command(flatten)]
        edit: EditArgs,
    },
    /// Show all accounts
    List,
    /// Show one account
    Show {
        #[arg(value_parser = account)]
        account: AccountId,
    },
    /// Change what an account may spend; what is not mentioned stays
    Update {
        #[arg(value_parser = account)]
        account: AccountId,
        #[command(flatten)]
        edit: EditArgs,
    },
    /// Refuse every request of an account until it is enabled again
    Disable {
        #[arg(value_parser = account)]
        account: AccountId,
    },
    /// Let a disabled account spend again
    Enable {
        #[arg(value_parser = account)]
        account: AccountId,
    },
    /// Add money to an organisation
    Deposit {
        #[command(flatten)]
        movement: MovementArgs,
    },
    /// Take money from an organisation that it has not spent
    Withdraw {
        #[command(flatten)]
        movement: MovementArgs,
    },
    /// Show what was moved to and from an account, the latest first
    Transfers {
        #[arg(value_parser = account)]
        account: AccountId,
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "COUNT")]
        limit: u32,
    },
    /// Show what requests of an account cost, the latest first
    Charges {
        /// An organisation, a team, or key:NAME
        #[arg(value_parser = payer)]
        account: AccountId,
        /// At most so many
        #[arg(long, default_value_t = 50, value_name = "COUNT")]
        limit: u32,
    },
    /// Show what a month began with, what came and went, and what it ended with
    Statement {
        #[arg(value_parser = account)]
        account: AccountId,
        /// Such as 2026-11 [default: this one]
        #[arg(long)]
        month: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// What an organisation may owe, or `unlimited` to let it pay later [default: 0]
    #[arg(long, value_name = "AMOUNT", value_parser = credit, allow_negative_numbers = true)]
    credit: Option<Bound>,
    #[command(flatten)]
    budget: BudgetArgs,
    /// NAME=VALUE; can be given several times, and replaces all tags
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::key::tag)]
    tag: Vec<(String, String)>,
}

/// What may be spent, in units of the account's currency.
#[derive(Debug, Args)]
pub(crate) struct BudgetArgs {
    /// What it may spend for ever, or `none`
    #[arg(long, value_name = "AMOUNT", value_parser = bound, allow_negative_numbers = true)]
    budget: Option<Bound>,
    /// What it may spend in a day (UTC), or `none`
    #[arg(long, value_name = "AMOUNT", value_parser = bound, allow_negative_numbers = true)]
    budget_day: Option<Bound>,
    /// What it may spend in a month (UTC), or `none`
    #[arg(long, value_name = "AMOUNT", value_parser = bound, allow_negative_numbers = true)]
    budget_month: Option<Bound>,
}

#[derive(Debug, Args)]
pub(crate) struct MovementArgs {
    #[arg(value_parser = account)]
    pub(crate) account: AccountId,
    /// In units of the account's currency, such as 25 or 0.5
    #[arg(allow_negative_numbers = true)]
    pub(crate) amount: Units,
    /// Refused where it is not the account's
    #[arg(long, value_name = "CODE")]
    pub(crate) currency: Option<String>,
    /// For people: an invoice, a reason
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) memo: Option<String>,
    /// Names the movement: said again with the same id it is done once [default: a random one]
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SpendArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    /// day, model, key, team, org, or tag:NAME
    #[arg(long, default_value = "model", value_name = "GROUP")]
    pub(crate) by: String,
    /// How far back, in days
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    pub(crate) days: u32,
    /// Only what this account paid: an organisation, a team, or key:NAME
    #[arg(long, value_parser = payer)]
    pub(crate) account: Option<AccountId>,
    /// Write comma-separated values
    #[arg(long)]
    pub(crate) csv: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
    #[command(subcommand)]
    pub(crate) command: LedgerCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Compute every balance anew and compare; exits 1 where one is wrong, and names it
    Verify,
    /// Write all that is needed to compute every balance elsewhere, as NDJSON
    Export {
        /// Write here instead of to standard output; a file that exists is refused
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Show what was earned, and the gateways that spend from this ledger
    Nodes,
    /// Show which exchange rates were in force since when, the newest first
    Rates,
    /// Free what a gateway that will not come back had leased, and accept that what it did not report is lost
    ForgetNode { name: String },
}

/// `None` takes a bound away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound(Option<Units>);

impl EditArgs {
    pub(crate) fn into_edit(self) -> AccountEdit {
        AccountEdit {
            credit: self.credit.map(|credit| credit.0),
            budget: self.budget.into_edit(),
            disabled: None,
            tags: (!self.tag.is_empty()).then(|| self.tag.into_iter().collect()),
        }
    }
}

impl BudgetArgs {
    pub(crate) fn into_edit(self) -> BudgetEdit {
        BudgetEdit {
            total: self.budget.map(|bound| bound.0),
            day: self.budget_day.map(|bound| bound.0),
            month: self.budget_month.map(|bound| bound.0),
        }
    }
}

fn account(text: &str) -> Result<AccountId, String> {
    treasury::account(text).map_err(|error| error.to_string())
}

/// Keys pay too, but hold nothing.
fn payer(text: &str) -> Result<AccountId, String> {
    match text.strip_prefix("key:") {
        Some(name) if !name.is_empty() => Ok(AccountId::key(name)),
        _ => account(text),
    }
}

fn bound(text: &str) -> Result<Bound, String> {
    or(text, "none")
}

fn credit(text: &str) -> Result<Bound, String> {
    or(text, "unlimited")
}

fn or(text: &str, without: &str) -> Result<Bound, String> {
    if text == without {
        return Ok(Bound(None));
    }
    let amount = text.parse().map_err(|error| format!("it {error}, or `{without}`"))?;
    Ok(Bound(Some(amount)))
}
