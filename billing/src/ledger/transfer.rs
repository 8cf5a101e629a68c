//! Double entry: what one account gives, another gets.

use std::sync::Arc;

use super::Ledger;
use crate::{AccountId, Currency, Nano};

/// An amount that went from one account to another. Never changes; a correction is a transfer the other way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Gives.
    pub debit: AccountId,
    /// Gets.
    pub credit: AccountId,
    /// Never zero.
    pub amount: Nano,
    pub currency: Currency,
    pub cause: Cause,
}

/// What a transfer was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    Deposit { id: Box<str> },
    Withdrawal { id: Box<str> },
    Charge { node: Arc<str>, seq: u64 },
}

/// The running totals of an account in a currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// What it gave.
    pub debits: Nano,
    /// What it got.
    pub credits: Nano,
}

impl Balance {
    /// What it has: zero where it owes.
    pub fn available(self) -> Nano {
        self.credits.saturating_sub(self.debits)
    }

    /// What it owes: zero where it has.
    pub fn owed(self) -> Nano {
        self.debits.saturating_sub(self.credits)
    }

    /// `None` where a total leaves the bound of an amount.
    pub(super) fn gave(self, amount: Nano) -> Option<Self> {
        let debits = self.debits.checked_add(amount)?;
        Some(Self { debits, ..self })
    }

    /// `None` where a total leaves the bound of an amount.
    pub(super) fn got(self, amount: Nano) -> Option<Self> {
        let credits = self.credits.checked_add(amount)?;
        Some(Self { credits, ..self })
    }
}

impl Ledger {
    /// All of them or, where a total would leave the bound of an amount, none and `false`.
    #[must_use]
    pub(super) fn transfer(&mut self, transfers: Vec<Transfer>) -> bool {
        let mut totals = Vec::with_capacity(4);
        for transfer in &transfers {
            for (account, is_debit) in [(&transfer.debit, true), (&transfer.credit, false)] {
                let place = (account.clone(), transfer.currency);
                // The latest total of this place comes from an earlier transfer of the same list.
                let pending = totals.iter().rev().find(|(other, _)| *other == place);
                let balance = pending.map_or_else(|| self.balance(&place.0, place.1), |(_, balance)| *balance);
                let moved = if is_debit {
                    balance.gave(transfer.amount)
                } else {
                    balance.got(transfer.amount)
                };
                let Some(moved) = moved else { return false };
                totals.push((place, moved));
            }
        }
        self.balances.extend(totals);
        self.transfers.extend(transfers);
        true
    }
}
