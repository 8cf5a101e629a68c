//! Two sources of one chain: what much money depends on, both must say.
//!
//! One source may lie, lag, or stand on a fork. Above a set amount an account is asked of two that do not know each
//! other, and their answers must agree; without a second one, or where it does not answer, there is no answer.
//! The amount is a total: what depends on one source's word, over all accounts that were asked of it in the last hour,
//! and by all clones. Many small channels are one large one to who lies about them.
//! Two that lie alike are not found out: choose operators that have nothing to do with each other.
//!
//! ```no_run
//! # async fn example(ours: std::sync::Arc<dyn billing_ton::Chain>, theirs: std::sync::Arc<dyn billing_ton::Chain>,
//! #     channel: billing::channel::Account) -> Result<(), billing_ton::sources::SourcesError> {
//! use billing::Nano;
//! use billing_ton::sources::Sources;
//!
//! let sources = Sources::new(ours, Some(theirs), Nano::saturating(10 * Nano::UNIT));
//! // 25 GRAM (TON) depend on it: both are asked.
//! let state = sources.account(channel, Nano::saturating(25 * Nano::UNIT)).await?;
//! # Ok(()) }
//! ```

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use billing::{
    Nano,
    channel::{Account, Network},
};
use futures_util::future;
use tokio::time::Instant;
use tycho_types::boc::Boc;

use crate::chain::{AccountState, Chain, ChainError, Cursor, Head, Status, Transaction};

/// Asked so often, until both have seen the same transactions.
const ROUNDS: u32 = 6;
const BETWEEN_ROUNDS: Duration = Duration::from_secs(1);
/// So long an amount counts as depending on one source's word, unless its account is asked again.
const TRUST: Duration = Duration::from_secs(3_600);

/// One source, and perhaps one to check it with.
#[derive(Clone)]
pub struct Sources {
    first: Arc<dyn Chain>,
    second: Option<Arc<dyn Chain>>,
    above: Nano,
    /// What depends on the first one's word alone, and since when.
    trusted: Arc<Mutex<BTreeMap<Account, (Nano, Instant)>>>,
}

/// Why two sources gave no answer, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// The set amount, and what is at stake with all other accounts.
    #[error(
        "{at_stake} depend on one source of the chain, and at most {above} may; add a second source to the \
         configuration"
    )]
    NoSecond { at_stake: Nano, above: Nano },
    #[error("the two sources are of different networks: {0} and {1}")]
    Networks(Network, Network),
    #[error("the first source gave no answer")]
    First(#[source] ChainError),
    #[error("the second source gave no answer")]
    Second(#[source] ChainError),
    /// They do not contradict each other, yet.
    #[error("one source is behind the other: blocks {} and {}; ask again", .first.seqno, .second.seqno)]
    Apart { first: Head, second: Head },
    /// After the same transaction an account can have one state only.
    #[error("the two sources contradict each other about an account; one of them lies: trust neither")]
    Contradiction,
}

impl Sources {
    /// What depends on answers may be `above` at most, in all, before a second source must agree.
    pub fn new(first: Arc<dyn Chain>, second: Option<Arc<dyn Chain>>, above: Nano) -> Self {
        Self {
            first,
            second,
            above,
            trusted: Arc::default(),
        }
    }

    /// The one for what costs little if it lies: sending, for what was not sent is seen and sent again; prices, which are
    /// [bounded](crate::contract::Prices::read); our own wallet. Not for following a channel that owes us much: who hides
    /// that it is closing takes all that is not claimed.
    pub fn first(&self) -> &Arc<dyn Chain> {
        &self.first
    }

    /// The same for questions that others can make us ask ([`Chain::for_strangers`]). What depends on one source's word is
    /// counted together.
    #[must_use]
    pub fn for_strangers(&self) -> Self {
        let slower = |chain: &Arc<dyn Chain>| chain.for_strangers().unwrap_or_else(|| chain.clone());
        Self {
            first: slower(&self.first),
            second: self.second.as_ref().map(slower),
            above: self.above,
            trusted: self.trusted.clone(),
        }
    }

    /// What may depend on one source alone.
    pub const fn above(&self) -> Nano {
        self.above
    }

    /// An account on whose state `at_stake` depends. May wait some seconds for the slower source.
    pub async fn account(&self, account: Account, at_stake: Nano) -> Result<AccountState, SourcesError> {
        let Some(second) = self.second_for(account, at_stake)? else {
            return self.first.account(account).await.map_err(SourcesError::First);
        };
        let mut round = 1;
        loop {
            let (one, other) = future::join(self.first.account(account), second.account(account)).await;
            let one = one.map_err(SourcesError::First)?;
            let other = other.map_err(SourcesError::Second)?;
            match agreed(one, other) {
                Err(SourcesError::Apart { .. }) if round < ROUNDS => round += 1,
                answer => return answer,
            }
            tokio::time::sleep(BETWEEN_ROUNDS).await;
        }
    }

    /// What happened to an account on which `at_stake` depends, as [`Chain::transactions`] tells it: of two sources, as far
    /// as both have it.
    pub async fn transactions(
        &self,
        account: Account,
        after: Option<Cursor>,
        limit: usize,
        at_stake: Nano,
    ) -> Result<Vec<Transaction>, SourcesError> {
        let second = match self.second_for(account, at_stake) {
            Ok(second) => second,
            // Each names the one before it, so that it agrees with what is known, and more is nobody's word here.
            Err(SourcesError::NoSecond { .. }) => None,
            Err(error) => return Err(error),
        };
        let first = self.first.transactions(account, after, limit);
        let Some(second) = second else {
            return first.await.map_err(SourcesError::First);
        };
        let (one, other) = future::join(first, second.transactions(account, after, limit)).await;
        let one = one.map_err(SourcesError::First)?;
        let other = other.map_err(SourcesError::Second)?;
        if one.iter().zip(&other).any(|(one, other)| one.at != other.at) {
            return Err(SourcesError::Contradiction);
        }
        Ok(if one.len() <= other.len() { one } else { other })
    }

    /// The second source, where it must agree: where `at_stake` and what depends on the first one's word already are too
    /// much together.
    fn second_for(&self, account: Account, at_stake: Nano) -> Result<Option<&Arc<dyn Chain>>, SourcesError> {
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        trusted.retain(|_, (_, since)| since.elapsed() < TRUST);
        trusted.remove(&account);
        let others = trusted
            .values()
            .fold(Nano::ZERO, |sum, (nano, _)| sum.saturating_add(*nano));
        let total = others.saturating_add(at_stake);
        if at_stake.is_zero() {
            return Ok(None);
        }
        if total <= self.above {
            trusted.insert(account, (at_stake, Instant::now()));
            return Ok(None);
        }
        let second = self.second.as_ref().ok_or(SourcesError::NoSecond {
            at_stake: total,
            above: self.above,
        })?;
        if self.first.network() != second.network() {
            return Err(SourcesError::Networks(self.first.network(), second.network()));
        }
        Ok(Some(second))
    }
}

/// One answer of two, of the older block: what both have seen.
fn agreed(one: AccountState, other: AccountState) -> Result<AccountState, SourcesError> {
    // Some sources know what was the last that happened to an account that is no more.
    if one.status == Status::Nonexistent && other.status == Status::Nonexistent && one.last != other.last {
        let older = if one.head.seqno <= other.head.seqno { one } else { other };
        return Ok(AccountState { last: None, ..older });
    }
    if one.last != other.last {
        return Err(SourcesError::Apart {
            first: one.head,
            second: other.head,
        });
    }
    // A balance changes by transactions alone; rent is taken when one happens.
    if !is_same(&one.status, &other.status) || one.balance != other.balance {
        return Err(SourcesError::Contradiction);
    }
    let older = if one.head.seqno <= other.head.seqno { one } else { other };
    Ok(older)
}

/// Whether two say the same. The same cells can be written as many bags: what counts is their hashes.
fn is_same(one: &Status, other: &Status) -> bool {
    match (one, other) {
        (
            Status::Active { code, data },
            Status::Active {
                code: codes,
                data: datas,
            },
        ) => is_same_bag(code, codes) && is_same_bag(data, datas),
        _ => one == other,
    }
}

fn is_same_bag(one: &[u8], other: &[u8]) -> bool {
    let hash = |bag| Boc::decode(bag).ok().map(|cell| *cell.repr_hash());
    // What is no bag says nothing, and so agrees with nothing.
    one == other || hash(one).is_some_and(|one| hash(other) == Some(one))
}

/// One source, on whose word everything depends.
impl From<Arc<dyn Chain>> for Sources {
    fn from(only: Arc<dyn Chain>) -> Self {
        Self::new(only, None, Nano::MOST)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = if self.second.is_some() { "two" } else { "one" };
        write!(f, "Sources({sources} of {})", self.first.network())
    }
}

#[cfg(test)]
mod tests;
