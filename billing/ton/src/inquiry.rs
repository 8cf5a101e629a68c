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

use billing::channel::Account;

use crate::{
    chain::{Chain, ChainError, Cursor, Transaction},
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
    let state = chain.account(account).await.map_err(InquiryError::Chain)?;
    let age_s = now_s.saturating_sub(state.head.time.into());
    if age_s > STALE_S {
        return Err(InquiryError::Stale { age_s });
    }
    let mut history = upto(chain, account, None, MOST_OF_CHANNEL)
        .await
        .map_err(InquiryError::Chain)?
        .ok_or(InquiryError::LongHistory)?;
    // What came since the state was read is not in it.
    history.retain(|transaction| state.last.is_none_or(|last| transaction.at.lt <= last.lt));
    let judge = |former| {
        let seen = Seen {
            network: chain.network(),
            account,
            state: &state,
            history: &history,
            former,
        };
        accept(&seen, wanted)
    };
    if chain.shows_former_lives() {
        return judge(Former::InHistory).map_err(InquiryError::Unacceptable);
    }
    // Whatever else is wrong with it is cheaper to know.
    let nothing = Former::AtPayee(Heard { since, history: &[] });
    match judge(nothing) {
        Err(Unacceptable::Unheard) => {}
        judged => return judged.map_err(InquiryError::Unacceptable),
    }
    let heard = upto(chain, wanted.payee, since, MOST_OF_PAYEE)
        .await
        .map_err(InquiryError::Payee)?;
    // The oldest are what counts, and they are there: but who cannot be read whole is not known.
    let heard = heard.ok_or(InquiryError::BusyPayee)?;
    judge(Former::AtPayee(Heard { since, history: &heard })).map_err(InquiryError::Unacceptable)
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
