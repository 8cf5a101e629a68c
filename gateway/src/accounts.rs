//! Who may ask: API keys, kept as SHA-256, and what each may use.

use std::{collections::HashMap, sync::Arc};

use crate::config::{Key, KeyHash};

/// Who asks.
#[derive(Debug)]
pub(crate) struct Account {
    /// The name of the key; `None` when the gateway asks for none.
    pub(crate) name: Option<String>,
    models: Vec<String>,
}

impl Account {
    /// For a gateway without keys, which only its own machine can reach.
    fn anonymous() -> Self {
        Self {
            name: None,
            models: vec!["*".to_owned()],
        }
    }

    /// Whether the account may use a model of this name.
    pub(crate) fn may_use(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => pattern == model,
        })
    }
}

/// All accounts, by the hash of their key.
#[derive(Debug)]
pub(crate) struct Accounts {
    by_hash: HashMap<[u8; 32], Arc<Account>>,
    anonymous: Option<Arc<Account>>,
}

impl Accounts {
    pub(crate) fn new(keys: &[Key]) -> Self {
        let enabled = keys.iter().filter(|key| !key.disabled);
        let by_hash = enabled.map(|key| {
            let account = Account {
                name: Some(key.name.clone()),
                models: key.models.clone(),
            };
            (*key.sha256.as_bytes(), Arc::new(account))
        });
        Self {
            by_hash: by_hash.collect(),
            anonymous: keys.is_empty().then(|| Arc::new(Account::anonymous())),
        }
    }

    /// The account of everyone, when no key is asked for.
    pub(crate) fn anonymous(&self) -> Option<&Arc<Account>> {
        self.anonymous.as_ref()
    }

    /// The account of a key. Looking up a hash tells an attacker who measures time nothing of any key.
    pub(crate) fn find(&self, key: &str) -> Option<&Arc<Account>> {
        self.by_hash.get(KeyHash::of(key).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_by_name_and_by_prefix() {
        let account = Account {
            name: None,
            models: vec!["gpt-4o".to_owned(), "llama-*".to_owned()],
        };
        assert!(account.may_use("gpt-4o") && account.may_use("llama-3-8b"));
        assert!(!account.may_use("gpt-4o-mini") && !account.may_use("llama"));
    }
}
