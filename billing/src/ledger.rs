//! The rules of the ledger, as a machine without a disk or a clock.
//!
//! `billing-store` keeps the same state in a database and must give the same answers; its tests compare the two. The
//! simulation in `billing/tests/simulation` plays histories against this one.
//!
//! What holds at all times, of every pot with a cap: what was posted, with what nodes still may draw of their slices,
//! is at most the cap. A cap that is cut below that stays exceeded until enough comes back, and meanwhile nothing is
//! granted; so does one of which a charge was posted that was held before the pot had a bound.
//!
//! Every operation refuses by a name. Its enum lists the names in order of precedence: the first that applies is the
//! answer. A refused operation changes nothing. To do a done thing again is no error, and changes nothing either.

mod accounts;
mod nodes;
mod posting;
mod replay;
mod transfer;

use std::{collections::BTreeMap, sync::Arc};

pub use self::{
    accounts::{
        AccountChange, ChangeRefusal, CreateRefusal, Created, Deposit, DepositRefusal, Deposited, NewAccount,
        WithdrawRefusal, Withdrawal, Withdrawn,
    },
    nodes::{ForgetRefusal, Forgotten, Joined, LeaveRefusal, NodeState, RenewRefusal, Renewed},
    posting::{PostRefusal, Posted},
    replay::Discrepancy,
    transfer::{Balance, Cause, Transfer},
};
use self::{nodes::Node, posting::Entry};
use crate::{AccountId, Budget, Currency, Level, Nano, Payer, Pot, Span, Window};

/// Accounts, what was transferred between them, and what is leased to whom.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<AccountId, Account>,
    /// What was posted to a pot, whether or not it has a cap.
    used: BTreeMap<Pot, Nano>,
    nodes: BTreeMap<Arc<str>, Node>,
    charges: BTreeMap<(Arc<str>, u64), Entry>,
    /// Only added to.
    transfers: Vec<Transfer>,
    /// Deposits and withdrawals by their ids.
    movements: BTreeMap<Box<str>, Movement>,
    /// Running totals; [`Ledger::verify`] computes them anew.
    balances: BTreeMap<(AccountId, Currency), Balance>,
    /// Grows with every change of an account.
    generation: u64,
    /// One node alone leases here.
    is_sole: bool,
}

/// An account as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Of a team its organisation, of a key its team or organisation.
    pub parent: Option<AccountId>,
    pub currency: Currency,
    /// What an organisation may owe; `None` is without limit.
    pub credit: Option<Nano>,
    pub budget: Budget,
    pub is_disabled: bool,
    pub deposited: Nano,
    pub withdrawn: Nano,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Movement {
    Deposit(Deposit),
    Withdrawal(Withdrawal),
}

/// A pot as the ledger sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PotState {
    /// `None` is without bound.
    pub cap: Option<Nano>,
    pub used: Nano,
    /// What nodes still may draw.
    pub leased: Nano,
}

impl PotState {
    /// What may still be granted; [`Nano::MOST`] without bound.
    pub fn unleased(&self) -> Nano {
        let Some(cap) = self.cap else { return Nano::MOST };
        cap.saturating_sub(self.used).saturating_sub(self.leased)
    }
}

impl Account {
    /// What bounds this account's spending in a span: for an organisation's total its money too.
    pub fn cap(&self, span: Span) -> Option<Nano> {
        let budget = self.budget.of(span);
        if span != Span::Total || self.parent.is_some() {
            return budget;
        }
        let Some(credit) = self.credit else { return budget };
        let money = self.deposited.saturating_sub(self.withdrawn).saturating_add(credit);
        Some(budget.map_or(money, |budget| budget.min(money)))
    }
}

impl Ledger {
    /// A ledger whose database one node alone opens: it is granted all there is.
    pub fn sole() -> Self {
        Self {
            is_sole: true,
            ..Self::default()
        }
    }

    /// A ledger of several nodes.
    pub fn shared() -> Self {
        Self::default()
    }

    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)
    }

    pub fn accounts(&self) -> impl Iterator<Item = (&AccountId, &Account)> {
        self.accounts.iter()
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn transfers(&self) -> &[Transfer] {
        &self.transfers
    }

    /// What an account got and gave, zero where it never did.
    pub fn balance(&self, id: &AccountId, currency: Currency) -> Balance {
        self.balances.get(&(id.clone(), currency)).copied().unwrap_or_default()
    }

    pub fn pot(&self, pot: &Pot) -> PotState {
        let account = self.accounts.get(&pot.account);
        PotState {
            cap: account.and_then(|account| account.cap(pot.window.span())),
            used: self.used(pot),
            leased: self.leased(pot),
        }
    }

    /// Every pot that something was posted to, or granted from.
    pub fn pots(&self) -> impl Iterator<Item = &Pot> {
        let leased = self.nodes.values().flat_map(|node| node.slices.keys());
        self.used.keys().chain(leased)
    }

    /// Who pays where this account is asked to: a key, a team or an organisation. `None` where it does not exist.
    pub fn payer(&self, id: &AccountId) -> Option<Payer> {
        let lineage = self.lineage(id);
        let organisation = lineage.last()?;
        let at = |level| {
            lineage
                .iter()
                .find(|(id, _)| id.level() == level)
                .map(|(id, _)| (*id).clone())
        };
        let bounds = lineage.iter().flat_map(|(id, account)| {
            let bounded = Span::ALL.into_iter().filter(|span| account.cap(*span).is_some());
            bounded.map(|span| ((*id).clone(), span))
        });
        Some(Payer {
            organisation: organisation.0.clone(),
            team: at(Level::Team),
            key: at(Level::Key),
            currency: organisation.1.currency,
            bounds: bounds.collect(),
        })
    }

    /// The account with its parents, the organisation last; empty where it does not exist. At most three.
    fn lineage(&self, id: &AccountId) -> Vec<(&AccountId, &Account)> {
        let mut lineage = Vec::with_capacity(3);
        let mut next = Some(id);
        while let Some((id, account)) = next.and_then(|id| self.accounts.get_key_value(id)) {
            lineage.push((id, account));
            next = account.parent.as_ref();
        }
        lineage
    }

    fn used(&self, pot: &Pot) -> Nano {
        self.used.get(pot).copied().unwrap_or_default()
    }

    fn leased(&self, pot: &Pot) -> Nano {
        let slices = self.nodes.values().filter_map(|node| node.slices.get(pot));
        slices.fold(Nano::ZERO, |sum, slice| sum.saturating_add(slice.left()))
    }

    fn money_pot(organisation: &AccountId) -> Pot {
        Pot {
            account: organisation.clone(),
            window: Window::Total,
        }
    }
}
