//! Accounts and their money: made, changed, topped up.

use super::{Account, Cause, Ledger, Movement, Transfer};
use crate::{AccountId, Budget, Currency, Level, Nano};

/// An account to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAccount {
    pub id: AccountId,
    /// Of a team its organisation, of a key its team or organisation.
    pub parent: Option<AccountId>,
    pub currency: Currency,
    /// What an organisation may owe; `None` is without limit. Teams and keys have none.
    pub credit: Option<Nano>,
    pub budget: Budget,
}

/// Whether it is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    New,
    /// There is one just like it.
    Already,
}

/// Why no account is made. In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateRefusal {
    #[error("accounts of the ledger itself are not made")]
    System,
    #[error(
        "a team belongs to the organisation in its name, a key to a team or an organisation, and an organisation to nobody"
    )]
    WrongParent,
    #[error("there is no account {parent}")]
    UnknownParent { parent: AccountId },
    #[error("{parent} counts in {currency}, and what belongs to it does too")]
    WrongCurrency { parent: AccountId, currency: Currency },
    #[error("only an organisation has credit")]
    CreditOfNoOrganisation,
    #[error("there is another account of this name")]
    Exists,
}

/// What is to be otherwise; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    pub credit: Option<Option<Nano>>,
    pub budget: Option<Budget>,
    pub is_disabled: Option<bool>,
}

/// Why nothing was changed. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefusal {
    #[error("there is no such account")]
    UnknownAccount,
    #[error("only an organisation has credit")]
    CreditOfNoOrganisation,
}

/// Money that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Chosen by who pays in: the same id again is the same deposit.
    pub id: Box<str>,
    pub organisation: AccountId,
    pub amount: Nano,
    pub currency: Currency,
    pub memo: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposited {
    /// Not done before.
    pub is_new: bool,
    /// What the organisation has after it.
    pub balance: Nano,
}

/// Why no money came in. In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepositRefusal {
    #[error("another deposit or withdrawal has this id")]
    Conflict,
    #[error("there is no such organisation")]
    UnknownOrganisation,
    #[error("the organisation counts in {currency}")]
    WrongCurrency { currency: Currency },
    #[error("the amount is zero")]
    Zero,
    #[error("the sum would be more than 9223372036.854775807, the most that an amount can be")]
    TooLarge,
}

/// Money that goes out again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// The same id again is the same withdrawal.
    pub id: Box<str>,
    pub organisation: AccountId,
    pub amount: Nano,
    pub currency: Currency,
    pub memo: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Not done before.
    pub is_new: bool,
    /// What the organisation has after it.
    pub balance: Nano,
}

/// Why no money went out. In order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WithdrawRefusal {
    #[error("another deposit or withdrawal has this id")]
    Conflict,
    #[error("there is no such organisation")]
    UnknownOrganisation,
    #[error("the organisation counts in {currency}")]
    WrongCurrency { currency: Currency },
    #[error("the amount is zero")]
    Zero,
    /// What was spent, and what nodes may still spend of what they leased, stays.
    #[error("{available} can be withdrawn now")]
    NotEnough { available: Nano },
    #[error("the sum would be more than 9223372036.854775807, the most that an amount can be")]
    TooLarge,
}

impl Ledger {
    pub fn create_account(&mut self, new: NewAccount) -> Result<Created, CreateRefusal> {
        let level = new.id.level();
        if level == Level::System {
            return Err(CreateRefusal::System);
        }
        if !is_parent_of(new.parent.as_ref(), &new.id) {
            return Err(CreateRefusal::WrongParent);
        }
        if let Some(parent) = &new.parent {
            let Some(account) = self.accounts.get(parent) else {
                return Err(CreateRefusal::UnknownParent { parent: parent.clone() });
            };
            if account.currency != new.currency {
                return Err(CreateRefusal::WrongCurrency {
                    parent: parent.clone(),
                    currency: account.currency,
                });
            }
        }
        if new.credit.is_some() && level != Level::Organisation {
            return Err(CreateRefusal::CreditOfNoOrganisation);
        }
        if let Some(old) = self.accounts.get(&new.id) {
            let is_same = old.parent == new.parent
                && old.currency == new.currency
                && old.credit == new.credit
                && old.budget == new.budget;
            return if is_same {
                Ok(Created::Already)
            } else {
                Err(CreateRefusal::Exists)
            };
        }
        let account = Account {
            parent: new.parent,
            currency: new.currency,
            credit: new.credit,
            budget: new.budget,
            is_disabled: false,
            deposited: Nano::ZERO,
            withdrawn: Nano::ZERO,
        };
        self.accounts.insert(new.id, account);
        self.changed();
        Ok(Created::New)
    }

    /// A budget may be cut below what was spent or leased: then nothing is granted until enough came back.
    pub fn change_account(&mut self, id: &AccountId, change: &AccountChange) -> Result<(), ChangeRefusal> {
        let account = self.accounts.get_mut(id).ok_or(ChangeRefusal::UnknownAccount)?;
        if change.credit.flatten().is_some() && id.level() != Level::Organisation {
            return Err(ChangeRefusal::CreditOfNoOrganisation);
        }
        account.credit = change.credit.unwrap_or(account.credit);
        account.budget = change.budget.unwrap_or(account.budget);
        account.is_disabled = change.is_disabled.unwrap_or(account.is_disabled);
        self.changed();
        Ok(())
    }

    pub fn deposit(&mut self, deposit: Deposit) -> Result<Deposited, DepositRefusal> {
        match self.movements.get(&deposit.id) {
            Some(Movement::Deposit(old)) if *old == deposit => {
                let balance = self.balance(&deposit.organisation, deposit.currency).available();
                return Ok(Deposited { is_new: false, balance });
            }
            Some(_) => return Err(DepositRefusal::Conflict),
            None => {}
        }
        let account = self
            .organisation(&deposit.organisation)
            .ok_or(DepositRefusal::UnknownOrganisation)?;
        if account.currency != deposit.currency {
            let currency = account.currency;
            return Err(DepositRefusal::WrongCurrency { currency });
        }
        if deposit.amount.is_zero() {
            return Err(DepositRefusal::Zero);
        }
        // With the credit, which is part of the cap.
        let deposited = account.deposited.checked_add(deposit.amount);
        let deposited = deposited.filter(|sum| sum.checked_add(account.credit.unwrap_or_default()).is_some());
        let deposited = deposited.ok_or(DepositRefusal::TooLarge)?;
        let is_done = self.transfer(vec![Transfer {
            debit: AccountId::funding(),
            credit: deposit.organisation.clone(),
            amount: deposit.amount,
            currency: deposit.currency,
            cause: Cause::Deposit { id: deposit.id.clone() },
        }]);
        if !is_done {
            return Err(DepositRefusal::TooLarge);
        }
        if let Some(account) = self.accounts.get_mut(&deposit.organisation) {
            account.deposited = deposited;
        }
        self.changed();
        let balance = self.balance(&deposit.organisation, deposit.currency).available();
        self.movements.insert(deposit.id.clone(), Movement::Deposit(deposit));
        Ok(Deposited { is_new: true, balance })
    }

    /// What the organisation has of its own, not of its credit, and only what no node has leased.
    pub fn withdraw(&mut self, withdrawal: Withdrawal) -> Result<Withdrawn, WithdrawRefusal> {
        let place = (&withdrawal.organisation, withdrawal.currency);
        match self.movements.get(&withdrawal.id) {
            Some(Movement::Withdrawal(old)) if *old == withdrawal => {
                let balance = self.balance(place.0, place.1).available();
                return Ok(Withdrawn { is_new: false, balance });
            }
            Some(_) => return Err(WithdrawRefusal::Conflict),
            None => {}
        }
        let account = self.organisation(place.0).ok_or(WithdrawRefusal::UnknownOrganisation)?;
        if account.currency != withdrawal.currency {
            let currency = account.currency;
            return Err(WithdrawRefusal::WrongCurrency { currency });
        }
        if withdrawal.amount.is_zero() {
            return Err(WithdrawRefusal::Zero);
        }
        let available = self.withdrawable(place.0, account);
        if withdrawal.amount > available {
            return Err(WithdrawRefusal::NotEnough { available });
        }
        let withdrawn = account.withdrawn.checked_add(withdrawal.amount);
        let withdrawn = withdrawn.ok_or(WithdrawRefusal::TooLarge)?;
        let is_done = self.transfer(vec![Transfer {
            debit: withdrawal.organisation.clone(),
            credit: AccountId::funding(),
            amount: withdrawal.amount,
            currency: withdrawal.currency,
            cause: Cause::Withdrawal {
                id: withdrawal.id.clone(),
            },
        }]);
        if !is_done {
            return Err(WithdrawRefusal::TooLarge);
        }
        if let Some(account) = self.accounts.get_mut(&withdrawal.organisation) {
            account.withdrawn = withdrawn;
        }
        self.changed();
        let balance = self.balance(&withdrawal.organisation, withdrawal.currency).available();
        self.movements
            .insert(withdrawal.id.clone(), Movement::Withdrawal(withdrawal));
        Ok(Withdrawn { is_new: true, balance })
    }

    /// Leased slices are covered by the credit first.
    fn withdrawable(&self, id: &AccountId, account: &Account) -> Nano {
        let balance = self.balance(id, account.currency).available();
        match account.credit {
            None => balance,
            Some(credit) => {
                let leased = self.leased(&Self::money_pot(id));
                balance.saturating_sub(leased.saturating_sub(credit))
            }
        }
    }

    pub(super) fn organisation(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id).filter(|_| id.level() == Level::Organisation)
    }

    fn changed(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }
}

fn is_parent_of(parent: Option<&AccountId>, id: &AccountId) -> bool {
    match (id.level(), parent) {
        (Level::Organisation, None) => true,
        (Level::Team, Some(parent)) => {
            let organisation = id.name().split_once('/').map(|(organisation, _)| organisation);
            parent.level() == Level::Organisation && organisation == Some(parent.name())
        }
        (Level::Key, Some(parent)) => matches!(parent.level(), Level::Organisation | Level::Team),
        _ => false,
    }
}
