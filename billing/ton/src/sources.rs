//! Two sources of one chain: what much money depends on, both must say.
//!
//! One source may lie, lag, or stand on a fork. Above a set amount an account is asked of two that do not know each
//! other, and their answers must agree; without a second one, or where it does not answer, there is no answer.
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

use std::{fmt, sync::Arc, time::Duration};

use billing::{
    Nano,
    channel::{Account, Network},
};
use futures_util::future;

use crate::chain::{AccountState, Chain, ChainError, Head};

/// Asked so often, until both have seen the same transactions.
const ROUNDS: u32 = 6;
const BETWEEN_ROUNDS: Duration = Duration::from_secs(1);

/// One source, and perhaps one to check it with.
#[derive(Clone)]
pub struct Sources {
    first: Arc<dyn Chain>,
    second: Option<Arc<dyn Chain>>,
    above: Nano,
}

/// Why two sources gave no answer, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum SourcesError {
    /// The set amount and what is at stake.
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
    /// What depends on an answer may be `above` at most before a second source must agree.
    pub fn new(first: Arc<dyn Chain>, second: Option<Arc<dyn Chain>>, above: Nano) -> Self {
        Self { first, second, above }
    }

    /// The one for what nobody can lie about to our cost: sending, following, prices.
    pub fn first(&self) -> &Arc<dyn Chain> {
        &self.first
    }

    /// What may depend on one source alone.
    pub const fn above(&self) -> Nano {
        self.above
    }

    /// An account on whose state `at_stake` depends. May wait some seconds for the slower source.
    pub async fn account(&self, account: Account, at_stake: Nano) -> Result<AccountState, SourcesError> {
        if at_stake <= self.above {
            return self.first.account(account).await.map_err(SourcesError::First);
        }
        let above = self.above;
        let second = self.second.as_ref().ok_or(SourcesError::NoSecond { at_stake, above })?;
        if self.first.network() != second.network() {
            return Err(SourcesError::Networks(self.first.network(), second.network()));
        }
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
}

/// One answer of two, of the older block: what both have seen.
fn agreed(one: AccountState, other: AccountState) -> Result<AccountState, SourcesError> {
    if one.last != other.last {
        return Err(SourcesError::Apart {
            first: one.head,
            second: other.head,
        });
    }
    // A balance changes by transactions alone; rent is taken when one happens.
    if one.status != other.status || one.balance != other.balance {
        return Err(SourcesError::Contradiction);
    }
    let older = if one.head.seqno <= other.head.seqno { one } else { other };
    Ok(older)
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
