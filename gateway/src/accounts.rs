//! Who may ask: API keys, kept as SHA-256, and what each may use.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Instant};

use backends::verdict::Tier;
use billing::Payer;

use crate::{
    config::{self, Key, KeyHash, KeyLimits, Timestamp},
    ledger::Payers,
    limiter::{AccountId, Allowance, LimitError, Limiter, Limiters, Remainder},
    payments::Channel,
};

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The name of the key; `None` when the gateway asks for none.
    pub(crate) name: Option<String>,
    /// The least that must protect its prompts.
    pub(crate) min_tier: Tier,
    /// The first moment at which it is refused.
    pub(crate) expires: Option<Timestamp>,
    /// Who pays; `None` where nobody does. For a token that somebody pays for, see [`Accounts::with_payer`].
    pub(crate) payer: Option<Arc<Payer>>,
    debtor: Option<Debtor>,
    /// The payment channel that speaks.
    pub(crate) channel: Option<Arc<Channel>>,
    /// The tags of the key.
    pub(crate) tags: Vec<(String, String)>,
    models: Vec<String>,
    /// Nobody counts the anonymous one.
    counted: Option<Counted>,
}

/// In whose name a token spends, and on whose account. Tokens are remembered for longer than payers are the same.
#[derive(Clone, Debug)]
pub(crate) struct Debtor {
    /// An organisation or a team.
    pub(crate) account: billing::AccountId,
    /// A key for the ledger alone.
    pub(crate) key: billing::AccountId,
}

/// An account of which we keep count, with the limits of its snapshot.
#[derive(Clone, Debug)]
struct Counted {
    id: AccountId,
    limits: KeyLimits,
    limiter: Arc<Limiter>,
}

impl Account {
    /// For a gateway without keys, which only its own machine can reach. Whoever asks there is one and the same.
    fn anonymous(payer: Option<Arc<Payer>>) -> Self {
        Self {
            name: None,
            min_tier: Tier::Open,
            expires: None,
            payer,
            debtor: None,
            channel: None,
            tags: Vec::new(),
            models: vec!["*".to_owned()],
            counted: None,
        }
    }

    fn of_key(key: &Key, limiters: &Limiters, payers: &Payers) -> Self {
        Self {
            name: Some(key.name.clone()),
            min_tier: tier(key.min_tier),
            expires: key.expires,
            payer: payers.of_key(key),
            debtor: None,
            channel: None,
            tags: key.tags.0.clone(),
            models: key.models.clone(),
            counted: Some(Counted {
                id: AccountId::Key(key.name.as_str().into()),
                limits: key.limits.clone(),
                limiter: limiters.of_key(&key.name),
            }),
        }
    }

    /// For who pays by channel. Its money is its only limit.
    pub(crate) fn of_channel(channel: Arc<Channel>, limiters: &Limiters) -> Self {
        let name = channel.payer().organisation.name().to_owned();
        // No key has a name like this one, with which answers are kept for who repeats its `Idempotency-Key`.
        let id = AccountId::Key(format!("/{name}").into());
        Self {
            min_tier: Tier::Open,
            expires: None,
            payer: Some(channel.payer().clone()),
            debtor: None,
            tags: Vec::new(),
            models: vec!["*".to_owned()],
            counted: limiters.of_subject(id.clone()).map(|limiter| Counted {
                id,
                limits: KeyLimits {
                    requests_per_minute: None,
                    tokens_per_minute: None,
                    concurrency: None,
                },
                limiter,
            }),
            name: Some(name),
            channel: Some(channel),
        }
    }

    pub(crate) fn of_subject(subject: Subject) -> Self {
        Self {
            name: Some(subject.name),
            min_tier: tier(subject.min_tier),
            expires: None,
            payer: None,
            debtor: subject.debtor,
            channel: None,
            tags: Vec::new(),
            models: subject.models,
            counted: Some(Counted {
                id: subject.id,
                limits: subject.limits,
                limiter: subject.limiter,
            }),
        }
    }

    /// Whose use is counted together; `None` for the anonymous account.
    pub(crate) fn id(&self) -> Option<&AccountId> {
        self.counted.as_ref().map(|counted| &counted.id)
    }

    /// Counts a request, if the limits allow one more. Waits only where other gateways have to be asked.
    pub(crate) async fn begin(&self) -> Result<Allowance, LimitError> {
        let Some(Counted { limits, limiter, .. }) = &self.counted else {
            return Ok(Allowance::default());
        };
        limiter.patiently(|now| limiter.begin(limits, now)).await
    }

    /// Tokens in any 60 seconds, where they are limited.
    pub(crate) fn tokens_per_minute(&self) -> Option<u32> {
        self.counted.as_ref()?.limits.tokens_per_minute
    }

    /// What is left of the limits; `None` where there are none.
    pub(crate) fn remainder(&self) -> Option<Remainder> {
        let Counted { limits, limiter, .. } = self.counted.as_ref()?;
        let is_limited = limits.requests_per_minute.is_some() || limits.tokens_per_minute.is_some();
        is_limited.then(|| limiter.remainder(limits, Instant::now()))
    }

    /// Whether the account may use what upstreams keep for theirs (files, batches, stored responses), which is that of
    /// all who ask here: with no model closed to it, by an operator who knows who it is. A channel anybody may open.
    pub(crate) fn may_use_what_is_kept(&self) -> bool {
        self.channel.is_none() && self.models.iter().any(|pattern| pattern == "*")
    }

    /// Whether the account may use a model of this name.
    pub(crate) fn may_use(&self, model: &str) -> bool {
        self.models.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => model.starts_with(prefix),
            None => pattern == model,
        })
    }
}

/// Who an identity provider says is asking, and what the configuration allows them.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) id: AccountId,
    pub(crate) models: Vec<String>,
    pub(crate) min_tier: config::Tier,
    pub(crate) limits: KeyLimits,
    pub(crate) limiter: Arc<Limiter>,
    /// `None` where nobody pays.
    pub(crate) debtor: Option<Debtor>,
}

/// All accounts, by the hash of their key.
#[derive(Debug)]
pub(crate) struct Accounts {
    by_hash: HashMap<[u8; 32], Arc<Account>>,
    anonymous: Option<Anonymous>,
    /// Who pays for tokens of issuers, without the key.
    issuers: HashMap<billing::AccountId, Arc<Payer>>,
}

/// Everyone's account, when no key is asked for. What stands in for the key is that only this machine can connect;
/// a web page in a browser of this machine can too, and must not.
#[derive(Debug)]
pub(crate) struct Anonymous {
    account: Arc<Account>,
    /// Pages that the operator allowed.
    origins: Vec<String>,
}

/// Why a request without a key is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    Host,
    Origin,
}

impl Anonymous {
    /// The account, for a request with this host and origin.
    ///
    /// A name that some DNS server answers may be rebound to 127.0.0.1 by whoever owns it; an address and `localhost`
    /// may not. A browser names the page that asks in `origin`: ours, or one that the operator allowed.
    pub(crate) fn admit(&self, host: &str, origin: Option<&str>) -> Result<&Arc<Account>, Foreign> {
        is_local(host, origin, &self.origins).map(|()| &self.account)
    }
}

/// Whether a request is of a program of this machine, or of a page that the operator allowed.
pub(crate) fn is_local(host: &str, origin: Option<&str>, origins: &[String]) -> Result<(), Foreign> {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|digit| digit.is_ascii_digit()));
    let name = name
        .map_or(host, |(name, _)| name)
        .trim_start_matches('[')
        .trim_end_matches(']');
    let is_local = name.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") || name.is_empty();
    if !is_local {
        return Err(Foreign::Host);
    }
    let is_welcome = origin.is_none_or(|origin| {
        let is_ours = origin.split_once("://").is_some_and(|(_, page)| page == host);
        is_ours || origins.iter().any(|allowed| allowed == "*" || allowed == origin)
    });
    if is_welcome { Ok(()) } else { Err(Foreign::Origin) }
}

impl Accounts {
    /// `origins`: web pages that may call. Several keys of one name share their limits; what was used stays in
    /// `limiters`, however often this is called.
    pub(crate) fn new(keys: &[Key], origins: &[String], limiters: &Limiters, payers: &Payers) -> Self {
        let enabled = keys.iter().filter(|key| !key.disabled);
        let by_hash = enabled.map(|key| (*key.sha256.as_bytes(), Arc::new(Account::of_key(key, limiters, payers))));
        Self {
            by_hash: by_hash.collect(),
            anonymous: keys.is_empty().then(|| Anonymous {
                account: Arc::new(Account::anonymous(None)),
                origins: origins.to_vec(),
            }),
            issuers: HashMap::new(),
        }
    }

    /// The same, with who pays for tokens of issuers.
    pub(crate) fn with_issuers(self, issuers: HashMap<billing::AccountId, Arc<Payer>>) -> Self {
        Self { issuers, ..self }
    }

    /// The same, and nobody is let in without a key.
    pub(crate) fn closed(self) -> Self {
        Self {
            anonymous: None,
            ..self
        }
    }

    /// The same, and who is let in without a key is charged.
    pub(crate) fn charged_to(self, payer: Arc<Payer>) -> Self {
        let anonymous = self.anonymous.map(|anonymous| Anonymous {
            account: Arc::new(Account::anonymous(Some(payer))),
            ..anonymous
        });
        Self { anonymous, ..self }
    }

    /// The account of a token with who pays for it now. `None` where that is not known: the configuration is just
    /// changing.
    pub(crate) fn with_payer(&self, account: Arc<Account>) -> Option<Arc<Account>> {
        let Some(Debtor { account: id, key }) = &account.debtor else {
            return Some(account);
        };
        let payer = Payer {
            key: Some(key.clone()),
            ..Payer::clone(self.issuers.get(id)?)
        };
        Some(Arc::new(Account {
            payer: Some(Arc::new(payer)),
            ..Account::clone(&account)
        }))
    }

    /// The account of everyone, when no key is asked for.
    pub(crate) fn anonymous(&self) -> Option<&Anonymous> {
        self.anonymous.as_ref()
    }

    /// The account of a key. Looking up a hash tells an attacker who measures time nothing of any key.
    pub(crate) fn find(&self, key: &KeyHash) -> Option<&Arc<Account>> {
        self.by_hash.get(key.as_bytes())
    }
}

pub(crate) fn tier(tier: config::Tier) -> Tier {
    match tier {
        config::Tier::Open => Tier::Open,
        config::Tier::Tee => Tier::Tee,
        config::Tier::TeeGpu => Tier::TeeGpu,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_only_this_machine_and_welcome_pages() {
        let accounts = Accounts::new(
            &[],
            &["https://app.example".to_owned()],
            &Limiters::default(),
            &Payers::default(),
        );
        let check = |host, origin, expect: Result<(), Foreign>| {
            let anonymous = accounts.anonymous().expect("there are no keys");
            assert_eq!(anonymous.admit(host, origin).map(drop), expect, "for {host} {origin:?}");
        };
        check("127.0.0.1:8080", None, Ok(()));
        check("localhost:8080", Some("http://localhost:8080"), Ok(()));
        check("[::1]:8080", None, Ok(()));
        check("localhost", Some("https://app.example"), Ok(()));
        check("attacker.example:8080", None, Err(Foreign::Host));
        check("127.0.0.1:8080", Some("https://attacker.example"), Err(Foreign::Origin));
        check("127.0.0.1:8080", Some("null"), Err(Foreign::Origin));
        check("127.0.0.1:8080", Some("http://127.0.0.1:9"), Err(Foreign::Origin));
    }

    #[test]
    fn models_by_name_and_by_prefix() {
        let account = Account {
            models: vec!["gpt-4o".to_owned(), "llama-*".to_owned()],
            ..Account::anonymous(None)
        };
        assert!(account.may_use("gpt-4o") && account.may_use("llama-3-8b"));
        assert!(!account.may_use("gpt-4o-mini") && !account.may_use("llama"));
    }
}
