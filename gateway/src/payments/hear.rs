//! What the chain says of a channel that is known, and what is believed of it.
//!
//! One source may lie, lag, stand still, or be one of many behind a name that do not all know the same. So:
//!
//! - A source that stands still has said nothing.
//! - That a payer closes, and what was claimed, is taken from whoever says it: what that costs is a signature.
//! - A deposit is believed as far as its word goes ([`Word`]).
//! - Where much is owed, both sources are asked each time: who hides a close takes all of that.
//! - That there is no contract any more is believed when it is said again some minutes later, by both sources where there
//!   are two, of a block that is not older than what is known. Until then nothing is served for it, and nothing is
//!   done that cannot be undone.

use std::sync::{Arc, atomic::Ordering};

use billing::Nano;
use billing_store::ledger::{Objection, Word};
use billing_ton::{chain::AccountState, reconciler::STALE_S, sources::SourcesError};

use super::{Channel, PaymentError, Shared, accept};
use crate::{layers::rescue::Chain, wall_clock::unix_seconds};

/// What is absent for so long, in seconds by the chain's time, is gone.
const GONE_AFTER_S: u32 = 120;

/// Why nothing is known of a channel now, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(super) enum HearError {
    #[error("a source of the chain gave no answer")]
    Sources(#[from] SourcesError),
    /// Seconds.
    #[error("the newest block of the chain's source is {age_s} s old: it stands still, or our clock is wrong")]
    Stale { age_s: u64 },
    #[error("what the chain said cannot be kept")]
    Kept(#[from] PaymentError),
}

/// What was heard of a channel.
pub(super) struct Heard {
    /// What of it cannot be true.
    pub(super) objection: Option<Objection>,
    /// Why it is not all that there is to know.
    pub(super) unsure: Option<HearError>,
}

impl Heard {
    const NOTHING: Self = Self {
        objection: None,
        unsure: None,
    };
}

impl Shared {
    /// Asks the chain; `None` where there is nothing new.
    pub(super) async fn hear(&self, channel: &Arc<Channel>) -> Result<Option<Heard>, HearError> {
        let account = channel.id.account;
        let first = self.sources.first().account(account).await;
        let first = first.map_err(SourcesError::First)?;
        self.newest.fetch_max(first.head.time, Ordering::Relaxed);
        refuse_stale(&first)?;
        let known = channel.on_chain().deposited;
        let Some(shown) = accept::read(&first) else {
            return self.absent(channel, &first).await.map(Some);
        };
        let is_news = shown.on_chain != channel.on_chain();
        let owed = channel.owed();
        let at_stake = if is_news {
            shown.on_chain.deposited.max(known)
        } else {
            owed
        };
        if !is_news && owed <= self.sources.above() {
            channel.shown();
            return Ok(None);
        }
        let (state, word, unsure) = match self.sources.account(account, at_stake).await {
            Ok(state) => (state, accept::word(&self.sources, at_stake), None),
            // What one says alone of a close and of claims is true, or costs its liar more than us.
            Err(error @ (SourcesError::NoSecond { .. } | SourcesError::Second(_) | SourcesError::Apart { .. })) => {
                (first, Word::Alone { up_to: Nano::ZERO }, Some(error.into()))
            }
            Err(error) => return Err(error.into()),
        };
        refuse_stale(&state)?;
        if accept::read(&state).is_none() {
            return self.absent(channel, &state).await.map(Some);
        }
        channel.shown();
        let objection = self.observe(channel, &state, word).await?;
        Ok(Some(Heard { objection, unsure }))
    }

    /// A source shows no contract.
    async fn absent(&self, channel: &Arc<Channel>, first: &AccountState) -> Result<Heard, HearError> {
        let both = self.sources.account(channel.id.account, Nano::MOST).await;
        let state = match both {
            Ok(state) => state,
            Err(SourcesError::NoSecond { .. }) => first.clone(),
            Err(error) => return Err(error.into()),
        };
        refuse_stale(&state)?;
        let is_old = state.head.seqno < channel.seqno();
        if accept::read(&state).is_some() || is_old {
            // One that lags, or the other one knows better.
            return Ok(Heard::NOTHING);
        }
        if !channel.is_gone(state.head.time, GONE_AFTER_S) {
            return Ok(Heard::NOTHING);
        }
        self.gone(channel, &state).await?;
        Ok(Heard::NOTHING)
    }
}

fn refuse_stale(state: &AccountState) -> Result<(), HearError> {
    let age_s = unix_seconds().saturating_sub(state.head.time.into());
    if age_s > STALE_S {
        return Err(HearError::Stale { age_s });
    }
    Ok(())
}

/// For the log.
pub(super) fn cause(error: &HearError) -> String {
    Chain(error).to_string()
}
