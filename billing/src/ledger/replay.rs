//! The check: everything that is kept as a running total is computed anew from what was only ever added.

use std::collections::BTreeMap;

use super::{Balance, Ledger};
use crate::{AccountId, ChargeKind, Currency, Level, Nano, Pot};

/// Where what is kept and what was replayed disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discrepancy {
    #[error("of the transfers in {currency} the debits are {debits} and the credits {credits}")]
    Unbalanced {
        currency: Currency,
        debits: Nano,
        credits: Nano,
    },
    #[error("the balance of {account} in {currency} is kept as {kept:?} and replayed as {replayed:?}")]
    Balance {
        account: AccountId,
        currency: Currency,
        kept: Balance,
        replayed: Balance,
    },
    #[error("the use of {} in {} is kept as {kept} and replayed as {replayed}", pot.account, pot.window)]
    Used { pot: Pot, kept: Nano, replayed: Nano },
    #[error("node {node} drew more than it was granted of {} in {}", pot.account, pot.window)]
    Overdrawn { node: String, pot: Pot },
    #[error("node {node} has charges up to {last_seq}, and one between is missing")]
    Missing { node: String, last_seq: u64 },
    #[error("what {organisation} has is not what was paid in, less what was paid out, less what was used")]
    Money { organisation: AccountId },
}

impl Ledger {
    /// Replays transfers and charges, and names the first discrepancy.
    pub fn verify(&self) -> Result<(), Discrepancy> {
        self.verify_balances()?;
        self.verify_used()?;
        self.verify_nodes()?;
        self.verify_money()
    }

    fn verify_balances(&self) -> Result<(), Discrepancy> {
        let mut replayed: BTreeMap<(AccountId, Currency), Balance> = BTreeMap::new();
        for transfer in &self.transfers {
            let debit = replayed.entry((transfer.debit.clone(), transfer.currency)).or_default();
            debit.debits = debit.debits.saturating_add(transfer.amount);
            let credit = replayed
                .entry((transfer.credit.clone(), transfer.currency))
                .or_default();
            credit.credits = credit.credits.saturating_add(transfer.amount);
        }
        for place in self.balances.keys().chain(replayed.keys()) {
            let kept = self.balances.get(place).copied().unwrap_or_default();
            let replayed = replayed.get(place).copied().unwrap_or_default();
            if kept != replayed {
                let (account, currency) = place.clone();
                return Err(Discrepancy::Balance {
                    account,
                    currency,
                    kept,
                    replayed,
                });
            }
        }
        let mut sums: BTreeMap<Currency, Balance> = BTreeMap::new();
        for ((_, currency), balance) in &self.balances {
            let sum = sums.entry(*currency).or_default();
            sum.debits = sum.debits.saturating_add(balance.debits);
            sum.credits = sum.credits.saturating_add(balance.credits);
        }
        match sums.into_iter().find(|(_, sum)| sum.debits != sum.credits) {
            None => Ok(()),
            Some((currency, Balance { debits, credits })) => Err(Discrepancy::Unbalanced {
                currency,
                debits,
                credits,
            }),
        }
    }

    fn verify_used(&self) -> Result<(), Discrepancy> {
        let mut replayed: BTreeMap<Pot, Nano> = BTreeMap::new();
        let paid = self
            .charges
            .values()
            .filter(|entry| entry.payer == entry.charge.organisation);
        for entry in paid {
            for (pot, _) in entry.charge.pots() {
                let used = replayed.entry(pot).or_default();
                *used = match entry.charge.kind {
                    ChargeKind::Capture => used.saturating_add(entry.charge.amount),
                    // Sequence numbers are in order, so that a refund comes after its capture.
                    ChargeKind::Refund { .. } => used.saturating_sub(entry.charge.amount),
                };
            }
        }
        for pot in self.used.keys().chain(replayed.keys()) {
            let kept = self.used(pot);
            let replayed = replayed.get(pot).copied().unwrap_or_default();
            if kept != replayed {
                let pot = pot.clone();
                return Err(Discrepancy::Used { pot, kept, replayed });
            }
        }
        Ok(())
    }

    fn verify_nodes(&self) -> Result<(), Discrepancy> {
        for (name, node) in &self.nodes {
            let charges = self.charges.range((name.clone(), 0)..=(name.clone(), u64::MAX));
            let is_whole = charges.map(|((_, seq), _)| *seq).eq(1..=node.last_seq);
            if !is_whole {
                return Err(Discrepancy::Missing {
                    node: name.to_string(),
                    last_seq: node.last_seq,
                });
            }
            if let Some((pot, _)) = node.slices.iter().find(|(_, slice)| slice.drawn > slice.granted) {
                return Err(Discrepancy::Overdrawn {
                    node: name.to_string(),
                    pot: pot.clone(),
                });
            }
        }
        Ok(())
    }

    fn verify_money(&self) -> Result<(), Discrepancy> {
        for (id, account) in self.accounts.iter().filter(|(id, _)| id.level() == Level::Organisation) {
            let balance = self.balance(id, account.currency);
            let used = self.used(&Self::money_pot(id));
            let paid_in = account.deposited.saturating_add(balance.debits);
            let paid_out = account.withdrawn.saturating_add(used).saturating_add(balance.credits);
            // deposited − withdrawn − used = credits − debits, without going below zero.
            if paid_in != paid_out {
                let organisation = id.clone();
                return Err(Discrepancy::Money { organisation });
            }
        }
        Ok(())
    }
}
