//! Payers: from what is known of accounts to who pays for a key, and for those who need none.

use std::{collections::HashMap, sync::Arc};

use billing::{AccountId, Budget, Currency, Level, Nano, Payer, Span};

use super::Bar;
use crate::config::{Config, Key, Oidc};

/// The organisation of keys that have a budget and name no account.
const DEFAULT: &str = "default";

/// All accounts, as they were when they were read last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payers {
    known: HashMap<AccountId, Known>,
}

#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) currency: Currency,
    /// What an organisation may owe; `None` is without limit.
    pub(crate) credit: Option<Nano>,
    pub(crate) budget: Budget,
    pub(crate) disabled: bool,
}

/// The account that a key is charged to; `None` where it is charged to nobody.
pub(crate) fn account_of(key: &Key) -> Option<AccountId> {
    let named = key.account.clone();
    named.or_else(|| key.budget.as_ref().map(|_| default_account()))
}

/// The accounts that the configuration names beside those of keys.
pub(crate) fn accounts_without_key(config: &Config) -> Vec<AccountId> {
    let issuers = config.oidc.iter().flat_map(Oidc::accounts);
    config.ledger.anonymous.iter().chain(issuers).cloned().collect()
}

pub(crate) fn default_account() -> AccountId {
    AccountId::organisation(DEFAULT).expect("a plain word is a name")
}

impl Payers {
    pub(crate) fn new(known: HashMap<AccountId, Known>) -> Self {
        Self { known }
    }

    /// Who pays for a key; `None` where nobody does. An account that nobody made pays for nothing, see [`Bar`].
    pub(crate) fn of_key(&self, key: &Key) -> Option<Arc<Payer>> {
        let own = key.budget.as_ref().map(|budget| budget.rules()).unwrap_or_default();
        Some(self.payer(account_of(key)?, Some((AccountId::key(&key.name), own))))
    }

    /// Who pays where there is no key: an organisation, or a team and its organisation.
    pub(crate) fn of_account(&self, account: &AccountId) -> Arc<Payer> {
        self.payer(account.clone(), None)
    }

    fn payer(&self, account: AccountId, key: Option<(AccountId, Budget)>) -> Arc<Payer> {
        let (organisation, team) = match account.level() {
            Level::Team => (organisation_of(&account), Some(account)),
            Level::Organisation | Level::Key | Level::System => (account, None),
        };
        let mut bounds = Vec::new();
        let mut bind = |account: &AccountId, budget: &Budget, is_prepaid: bool| {
            let is_bound = |span: &Span| budget.of(*span).is_some() || (is_prepaid && *span == Span::Total);
            let spans = Span::ALL.into_iter().filter(is_bound);
            bounds.extend(spans.map(|span| (account.clone(), span)));
        };
        let known = self.known.get(&organisation);
        if let Some(known) = known {
            bind(&organisation, &known.budget, known.credit.is_some());
        }
        if let Some(team) = &team
            && let Some(known) = self.known.get(team)
        {
            bind(team, &known.budget, false);
        }
        if let Some((name, own)) = &key {
            // What the ledger knows of a key bounds it too, so that nothing is lost while the two differ.
            let known_of_key = self.known.get(name).map_or(*own, |known| union(&known.budget, own));
            bind(name, &known_of_key, false);
        }
        Arc::new(Payer {
            currency: known.map_or(Currency::USD, |known| known.currency),
            organisation,
            team,
            key: key.map(|(name, _)| name),
            bounds,
        })
    }

    /// Accounts that pay for nothing: what is disabled, and what is named, by these keys or beside them, and nobody made.
    pub(crate) fn barred(&self, keys: &[Key], beside: &[AccountId]) -> HashMap<AccountId, Bar> {
        let disabled = self.known.iter().filter(|(_, known)| known.disabled);
        let disabled = disabled.map(|(account, _)| (account.clone(), Bar::Disabled));
        let named = keys.iter().filter_map(account_of).chain(beside.iter().cloned());
        let named = named.flat_map(|account| {
            let organisation = (account.level() == Level::Team).then(|| organisation_of(&account));
            organisation.into_iter().chain([account])
        });
        let missing = named.filter(|account| !self.known.contains_key(account));
        disabled.chain(missing.map(|account| (account, Bar::Unknown))).collect()
    }
}

fn organisation_of(team: &AccountId) -> AccountId {
    let name = team.name().split_once('/').map_or("", |(organisation, _)| organisation);
    AccountId::organisation(name).expect("a team's name begins with its organisation's")
}

/// Where either has a bound there is one.
fn union(one: &Budget, other: &Budget) -> Budget {
    Budget {
        total: one.total.or(other.total),
        day: one.day.or(other.day),
        month: one.month.or(other.month),
    }
}
