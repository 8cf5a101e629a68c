//! One issuer: what its tokens must say, and what they may do then.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    claims,
    source::{Source, SourceError},
    token::{Token, TokenError},
};
use crate::{
    accounts::{Account, Debtor, Subject},
    config::{self, Oidc, Timestamp},
    limiter::{AccountId, Limiters},
};

/// How long a request waits for keys that are being fetched.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct Issuer {
    config: Oidc,
    name: Arc<str>,
    pub(super) source: Arc<Source>,
}

impl Issuer {
    /// `known`: the same issuer as it was configured before.
    pub(super) fn new(config: &Oidc, known: Option<&Self>) -> Result<Self, SourceError> {
        let source = match known {
            Some(known) => known.source.clone(),
            None => Arc::new(Source::new(config)?),
        };
        Ok(Self {
            name: config.issuer.as_str().into(),
            config: config.clone(),
            source,
        })
    }

    /// As `iss` spells it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether the keys of `config` are those that we have. A file is read anew: its path says nothing of its content.
    pub(super) fn has_source_of(&self, config: &Oidc) -> bool {
        let is_same = self.config.issuer == config.issuer && self.config.jwks_url == config.jwks_url;
        is_same && self.config.jwks_file.is_none() && config.jwks_file.is_none()
    }

    /// Steps 4 and 5: the claims that the issuer has signed, and the generation of the keys that say so.
    pub(super) async fn verify(&self, token: Token<'_>) -> Result<(Map<String, Value>, u64), TokenError> {
        let mut keys = self.source.keys();
        if !token.has_key(&keys.keys) {
            // The issuer may have changed its keys since; or we have none yet.
            self.source.fetch_again(PATIENCE).await;
            keys = self.source.keys();
            if keys.generation == 0 {
                return Err(TokenError::NoKeys);
            }
        }
        Ok((token.verify(&keys.keys)?, keys.generation))
    }

    /// Step 6. The first second at which the token is refused.
    pub(super) fn check(&self, signed: &Map<String, Value>, unix_seconds: u64) -> Result<u64, TokenError> {
        let is_for_us = match signed.get("aud") {
            Some(Value::String(audience)) => *audience == self.config.audience,
            Some(Value::Array(audiences)) => audiences.iter().any(|one| one == self.config.audience.as_str()),
            _ => false,
        };
        if !is_for_us {
            return Err(TokenError::Audience);
        }
        let leeway = self.config.leeway.as_secs();
        let time = |name| claims::time(signed, name).map_err(|()| TokenError::Unreadable);
        let expiry = time("exp")?.ok_or(TokenError::NoExpiry)?;
        let until = expiry.saturating_add(leeway);
        if until <= unix_seconds {
            let at = Timestamp::from_unix_seconds(expiry);
            return Err(TokenError::Expired { at });
        }
        if time("nbf")?.is_some_and(|begin| begin > unix_seconds.saturating_add(leeway)) {
            return Err(TokenError::NotYet);
        }
        Ok(until)
    }

    /// Who a believed token speaks for, and what the first rule that matches allows.
    pub(super) fn account(&self, signed: &Map<String, Value>, limiters: &Limiters) -> Result<Account, TokenError> {
        let config = &self.config;
        let name = claims::name(signed, &config.name_claim).ok_or_else(|| TokenError::NoName {
            claim: config.name_claim.clone(),
        })?;
        // Names may be shared and change hands; within an issuer a subject never does.
        let subject = claims::name(signed, "sub").unwrap_or_else(|| name.clone());
        let id = AccountId::Subject {
            issuer: self.name.clone(),
            subject: subject.as_str().into(),
        };
        let limiter = limiters.of_subject(id.clone()).ok_or(TokenError::TooMany)?;
        let rule = config.rules.iter().find(|rule| rule_matches(rule, signed));
        let (models, min_tier, limits) = match rule {
            Some(rule) => (&rule.models, rule.min_tier, &rule.limits),
            None => (&config.models, config.min_tier, &config.limits),
        };
        // A rule that names nobody makes nothing free that the issuer's tokens pay for.
        let payer = rule.and_then(|rule| rule.account.as_ref()).or(config.account.as_ref());
        let debtor = payer.map(|account| Debtor {
            account: account.clone(),
            key: billing::AccountId::key(&format!("oidc:{}#{subject}", self.name)),
        });
        Ok(Account::of_subject(Subject {
            name: format!("oidc:{name}"),
            id,
            models: models.clone(),
            min_tier,
            limits: limits.clone(),
            limiter,
            debtor,
        }))
    }
}

fn rule_matches(rule: &config::OidcRule, signed: &Map<String, Value>) -> bool {
    claims::find(signed, &rule.claim).is_some_and(|claim| claims::holds(claim, &rule.value))
}
