//! Bearer tokens of identity providers (OpenID Connect Core 1.0, RFC 7519) beside API keys.
//!
//! A token is believed when each of these holds, in this order:
//!
//! 1. it is three parts of bounded length, with a header and claims that can be read;
//! 2. its `iss` is an issuer that the operator named;
//! 3. its algorithm is asymmetric, and nothing in its header is critical that we do not know;
//! 4. one of the issuer's keys is meant: by `kid`, or as the only one that fits the algorithm;
//! 5. that key verifies the signature;
//! 6. its `aud` names us, its `exp` has not passed and its `nbf` has.
//!
//! Then claims become an account: a name, and what the first rule that matches allows.
//! Keys that a token brings with itself (`jwk`, `jku`, `x5u`) are never used. An issuer that cannot be reached is
//! served with its last keys; without any its tokens are refused, and nobody is let in for that.
//! Verified tokens are remembered by their SHA-256 until they expire or the issuer's keys change.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{accounts::Account, config, limiter::Limiters};

use issuer::Issuer;
use token::Token;

pub(crate) use source::SourceError;
pub(crate) use token::TokenError;

mod claims;
mod fetch;
mod issuer;
mod jwks;
mod source;
mod token;

/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 16 * 1024;
/// Tokens that are remembered.
const MAX_VERIFIED: usize = 10_000;
/// How often the issuers are looked at for whether their keys are due.
const TICK: Duration = Duration::from_secs(2);

/// A SHA-256.
type Digest = [u8; 32];

/// The issuers of one configuration. The keys of an issuer that stays outlive it.
pub(crate) struct Issuers {
    issuers: Vec<Issuer>,
    limiters: Arc<Limiters>,
    verified: Mutex<HashMap<Digest, Verified>>,
}

/// A token that was believed.
struct Verified {
    account: Arc<Account>,
    issuer: usize,
    /// That of the issuer's keys.
    generation: u64,
    /// The first second at which it is refused, the leeway included.
    until: u64,
}

impl Issuers {
    /// `before`: the issuers until now, whose keys are kept where they come from the same place.
    pub(crate) fn new(
        config: &[config::Oidc],
        limiters: &Arc<Limiters>,
        before: Option<&Self>,
    ) -> Result<Self, SourceError> {
        let issuers = config.iter().map(|config| {
            let known = before.and_then(|before| before.issuers.iter().find(|issuer| issuer.has_source_of(config)));
            Issuer::new(config, known)
        });
        Ok(Self {
            issuers: issuers.collect::<Result<_, _>>()?,
            limiters: limiters.clone(),
            verified: Mutex::default(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Whether something presented as a credential may be a token of an issuer.
    pub(crate) fn may_verify(&self, credential: &str) -> bool {
        !self.issuers.is_empty() && token::has_shape(credential)
    }

    /// The account of a token that was verified before.
    pub(crate) fn remembered(&self, hash: &Digest, unix_seconds: u64) -> Option<Arc<Account>> {
        let verified = self.lock();
        let found = verified.get(hash)?;
        let is_valid = found.until > unix_seconds && self.issuers[found.issuer].source.generation() == found.generation;
        is_valid.then(|| found.account.clone())
    }

    /// Verifies a token. May wait for the issuer's keys, for no more than a few seconds.
    pub(crate) async fn verify(
        &self,
        credential: &str,
        hash: Digest,
        unix_seconds: u64,
    ) -> Result<Arc<Account>, TokenError> {
        let token = Token::read(credential)?;
        let found = self.issuers.iter().position(|issuer| issuer.name() == token.issuer());
        let index = found.ok_or(TokenError::UnknownIssuer)?;
        let issuer = &self.issuers[index];
        let (claims, generation) = issuer.verify(token).await?;
        let until = issuer.check(&claims, unix_seconds)?;
        let account = Arc::new(issuer.account(&claims, &self.limiters)?);
        let verified = Verified {
            account: account.clone(),
            issuer: index,
            generation,
            until,
        };
        self.remember(hash, verified, unix_seconds);
        Ok(account)
    }

    fn remember(&self, hash: Digest, verified: Verified, unix_seconds: u64) {
        let mut table = self.lock();
        if table.len() >= MAX_VERIFIED {
            table.retain(|_, verified| verified.until > unix_seconds);
        }
        if table.len() >= MAX_VERIFIED {
            // All of them are good for longer: a tenth of them, whichever they are, will be verified once more.
            let mut place = 0_usize;
            table.retain(|_, _| {
                place += 1;
                place > MAX_VERIFIED / 10
            });
        }
        table.insert(hash, verified);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Verified>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Issuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.issuers.iter().map(Issuer::name)).finish()
    }
}

/// Fetches keys that are due, for ever. Cancelled by dropping.
pub(crate) async fn watch(issuers: Arc<ArcSwap<Issuers>>) {
    loop {
        for issuer in &issuers.load().issuers {
            issuer.source.fetch_if_due();
        }
        tokio::time::sleep(TICK).await;
    }
}
