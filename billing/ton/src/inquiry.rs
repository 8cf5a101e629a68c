//! Asks a chain what must be known of a channel before it is taken, and judges it.
//!
//! What is wrong with the channel itself is found with two questions. Where the source forgets what deleted accounts did,
//! a third is about the payee's account: see [`contract::Former`](crate::contract::Former). Without a clear answer the
//! channel is not taken. Nor is one of a source that stands still: who is closing since then looks open there.
//!
//! ```no_run
//! # async fn example(chain: &dyn billing_ton::Chain, channel: billing::channel::Account,
//! #     wanted: billing_ton::contract::Wanted, now_s: u64) -> Result<(), Box<dyn std::error::Error>> {
//! let taken = billing_ton::inquiry::channel(chain, channel, &wanted, None, now_s).await?;
//! println!("{} can be paid out of it", taken.payable());
//! # Ok(()) }
//! ```

use billing::channel::{Account, Network};

use crate::{
    chain::{AccountState, Chain, ChainError, Cursor, Status, Transaction},
    contract::{Accepted, Former, Heard, Seen, Unacceptable, Wanted, accept},
    reconciler::STALE_S,
};

/// Transactions of a channel that was just opened; more are nobody's who opens one to use it.
const MOST_OF_CHANNEL: usize = 256;
/// Transactions of the payee's account.
const MOST_OF_PAYEE: usize = 4_096;

/// Why a channel is not taken, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum InquiryError {
    #[error("the chain's source gave no answer about the channel; ask again")]
    Chain(#[source] ChainError),
    /// Seconds.
    #[error("the source's newest block is {age_s} s old: it is stuck, or our clock is wrong; ask another source")]
    Stale { age_s: u64 },
    #[error("the channel has more than {MOST_OF_CHANNEL} transactions already; open a new one")]
    LongHistory,
    #[error("the channel is not taken: {0}")]
    Unacceptable(#[source] Unacceptable),
    #[error(
        "the chain's source gave no answer about the payee's account, which would show a former life of the channel"
    )]
    Payee(#[source] ChainError),
    #[error(
        "the payee's account has more than {MOST_OF_PAYEE} transactions since its key was made, too many to look for a \
         former life of the channel; ask a source that keeps what deleted accounts did, or make a new key"
    )]
    BusyPayee,
}

/// Whether to serve for the channel at `account`, as one source tells it. `since` is where the payee's account was when
/// the payee's key was made and nobody knew it ([`Heard::since`]); `None` reads it from its first transaction on. `now_s`
/// are Unix seconds by our own clock.
///
/// It is one source's word: for much money ask with another one too.
pub async fn channel(
    chain: &dyn Chain,
    account: Account,
    wanted: &Wanted,
    since: Option<Cursor>,
    now_s: u64,
) -> Result<Accepted, InquiryError> {
    match look(chain, account, wanted, now_s).await? {
        Looked::Accepted(accepted) => Ok(accepted),
        Looked::Pending(pending) => {
            let heard = upto(chain, wanted.payee, since, MOST_OF_PAYEE)
                .await
                .map_err(InquiryError::Payee)?;
            // The oldest are what counts, and they are there: but who cannot be read whole is not known.
            let heard = heard.ok_or(InquiryError::BusyPayee)?;
            pending.judge(Former::AtPayee(Heard { since, history: &heard }))
        }
    }
}

/// What one source says of a channel itself.
#[derive(Debug)]
pub enum Looked {
    /// It is taken, and the source would have shown a former life of it.
    Accepted(Accepted),
    /// Nothing is wrong with it, as far as the source remembers.
    Pending(Pending),
}

/// A channel of which it is not known yet whether its address was used before.
#[derive(Debug)]
pub struct Pending {
    network: Network,
    account: Account,
    wanted: Wanted,
    state: AccountState,
    history: Vec<Transaction>,
}

impl Pending {
    /// With when the channel's address first wrote to the payee's account, as [`contract::heard`](crate::contract::heard)
    /// tells who keeps it.
    pub fn first_heard(&self, sent_lt: Option<u64>) -> Result<Accepted, InquiryError> {
        self.judge(Former::Known(sent_lt))
    }

    fn judge(&self, former: Former<'_>) -> Result<Accepted, InquiryError> {
        let seen = Seen {
            network: self.network,
            account: self.account,
            state: &self.state,
            history: &self.history,
            former,
        };
        accept(&seen, &self.wanted).map_err(InquiryError::Unacceptable)
    }
}

/// The same as [`channel`], without the payee's account: what is wrong with the channel itself is cheaper to know.
pub async fn look(chain: &dyn Chain, account: Account, wanted: &Wanted, now_s: u64) -> Result<Looked, InquiryError> {
    let state = chain.account(account).await.map_err(InquiryError::Chain)?;
    let age_s = now_s.saturating_sub(state.head.time.into());
    if age_s > STALE_S {
        return Err(InquiryError::Stale { age_s });
    }
    let mut pending = Pending {
        network: chain.network(),
        account,
        wanted: *wanted,
        state,
        history: Vec::new(),
    };
    // Without a contract there is nothing to ask the history of, for strangers ask about any address.
    if !matches!(pending.state.status, Status::Active { .. }) {
        return pending.judge(Former::InHistory).map(Looked::Accepted);
    }
    let mut history = upto(chain, account, None, MOST_OF_CHANNEL)
        .await
        .map_err(InquiryError::Chain)?
        .ok_or(InquiryError::LongHistory)?;
    // What came since the state was read is not in it.
    let last = pending.state.last;
    history.retain(|transaction| last.is_none_or(|last| transaction.at.lt <= last.lt));
    pending.history = history;
    if chain.shows_former_lives() {
        return pending.judge(Former::InHistory).map(Looked::Accepted);
    }
    match pending.judge(Former::Known(None)) {
        Ok(accepted) => Ok(Looked::Accepted(accepted)),
        Err(InquiryError::Unacceptable(Unacceptable::Unheard)) => Ok(Looked::Pending(pending)),
        Err(error) => Err(error),
    }
}

/// `None` where there are more than `most`.
async fn upto(
    chain: &dyn Chain,
    account: Account,
    after: Option<Cursor>,
    most: usize,
) -> Result<Option<Vec<Transaction>>, ChainError> {
    let told = chain.transactions(account, after, most + 1).await?;
    Ok((told.len() <= most).then_some(told))
}
