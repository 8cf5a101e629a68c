//! What administrators do, and what frees the slices of nodes that do not come back.

use billing::ledger::{AccountChange, Deposit, ForgetRefusal, NewAccount, Withdrawal};
use billing::{Budget, Currency, JournalKind, Ledger, Nano};

use super::{Step, World, account, excess_of, nano, take_snapshot};
use crate::random::Random;

impl World {
    pub(super) fn free_the_dead(&mut self) -> Step {
        if self.is_away {
            return Ok(());
        }
        if self.random.is_one_in(2) {
            let reaped = self.ledger.reap(self.now);
            self.stats.reaped += reaped.len() as u64;
            self.note(|| format!("reaped: {reaped:?}"));
        } else {
            let at = self.random.place(self.nodes.len());
            let name = self.nodes[at].name.clone();
            let kind = self.nodes[at].kind;
            match self.ledger.forget(&name, self.now) {
                Ok(what) if kind == JournalKind::Local => {
                    self.stats.forgotten += 1;
                    self.note(|| format!("n{at} is forgotten: {what:?}"));
                }
                Ok(_) | Err(ForgetRefusal::UnknownNode | ForgetRefusal::StillLeased { .. }) => {}
            }
        }
        self.look()
    }

    pub(super) fn administer(&mut self) -> Step {
        if self.is_away {
            return Ok(());
        }
        let amount = self.random.below(40);
        let is_lifted = self.random.is_one_in(6);
        let bound = (!is_lifted).then(|| nano(amount));
        let credit = Some(Some(nano(amount / 2)));
        let budget = |day, month| {
            Some(Budget {
                total: None,
                day,
                month,
            })
        };
        match self.random.below(7) {
            0 => self.change("key:a", budget(bound, None), None, None)?,
            1 => self.change("team:o/t", budget(None, bound), None, None)?,
            2 => self.change("org:o", None, credit, None)?,
            3 => self.change("team:o/t", None, None, Some(is_lifted))?,
            4 => self.deposit(amount + 1)?,
            5 => self.deposit_again()?,
            _ => self.withdraw(amount + 1)?,
        }
        self.stats.cuts += 1;
        self.snapshot = take_snapshot(&self.ledger);
        self.note(|| format!("an administrator changes something by {amount}"));
        // What is leased stays leased, so that a cut may leave an excess, which is not to grow.
        for (pot, excess) in &mut self.watch {
            *excess = excess_of(&self.ledger, pot);
        }
        Ok(())
    }

    pub(super) fn change(
        &mut self,
        id: &str,
        budget: Option<Budget>,
        credit: Option<Option<Nano>>,
        is_disabled: Option<bool>,
    ) -> Step {
        let change = AccountChange {
            credit,
            budget,
            is_disabled,
        };
        let changed = self.ledger.change_account(&account(id), &change);
        changed.map_err(|refusal| format!("{id} was not changed: {refusal}"))
    }

    pub(super) fn movement(&self, amount: u64) -> Deposit {
        Deposit {
            id: self.movements.to_string().into(),
            organisation: account("org:o"),
            amount: nano(amount),
            currency: Currency::USD,
            memo: "".into(),
        }
    }

    pub(super) fn deposit(&mut self, amount: u64) -> Step {
        self.movements += 1;
        match self.ledger.deposit(self.movement(amount)) {
            Ok(deposited) if deposited.is_new => Ok(()),
            other => Err(format!("a deposit came to {other:?}")),
        }
    }

    /// The last one is known, and the same id for another amount is refused.
    pub(super) fn deposit_again(&mut self) -> Step {
        self.deposit(7)?;
        let before = self.ledger.balance(&account("org:o"), Currency::USD);
        let again = self.ledger.deposit(self.movement(7));
        let other = self.ledger.deposit(self.movement(8));
        let after = self.ledger.balance(&account("org:o"), Currency::USD);
        if again.as_ref().is_ok_and(|deposited| !deposited.is_new) && other.is_err() && before == after {
            Ok(())
        } else {
            Err(format!("a deposit was made twice: {again:?}, {other:?}"))
        }
    }

    /// Never into the credit, nor what nodes have leased.
    pub(super) fn withdraw(&mut self, amount: u64) -> Step {
        self.movements += 1;
        let Deposit {
            id,
            organisation,
            amount,
            currency,
            memo,
        } = self.movement(amount);
        let before = self.ledger.balance(&organisation, currency).available();
        let place = self.watch.iter().position(|(pot, _)| pot.account == organisation);
        let excess = place.map(|place| excess_of(&self.ledger, &self.watch[place].0));
        let withdrawn = self.ledger.withdraw(Withdrawal {
            id,
            organisation,
            amount,
            currency,
            memo,
        });
        let grown = place.map(|place| excess_of(&self.ledger, &self.watch[place].0)) > excess;
        match withdrawn {
            Ok(_) if amount > before || grown => Err(format!("{amount} were withdrawn of {before}")),
            _ => Ok(()),
        }
    }
}

pub(super) fn make_accounts(ledger: &mut Ledger, random: &mut Random) {
    let credit = [0, 0, 20][random.place(3)];
    let month = [Some(nano(60)), None][random.place(2)];
    let new = |id: &str, parent: Option<&str>, credit: Option<Nano>, day, month| NewAccount {
        id: account(id),
        parent: parent.map(account),
        currency: Currency::USD,
        credit,
        budget: Budget {
            total: None,
            day,
            month,
        },
    };
    let accounts = [
        new("org:o", None, Some(nano(credit)), None, None),
        new("team:o/t", Some("org:o"), None, None, month),
        new("key:a", Some("team:o/t"), None, Some(nano(30)), None),
        new("key:b", Some("org:o"), None, None, None),
    ];
    for account in accounts {
        ledger.create_account(account).expect("good accounts");
    }
    let deposit = Deposit {
        id: "first".into(),
        organisation: account("org:o"),
        amount: nano(100),
        currency: Currency::USD,
        memo: "".into(),
    };
    ledger.deposit(deposit).expect("a good deposit");
}
