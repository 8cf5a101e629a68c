//! The till: what goes from our wallet to a contract, and whether it had its effect.
//!
//! One message at a time. It is good for a minute or so by the chain's own clock; what it did is read from the contract
//! that it was for, never from the wallet, which drops what it cannot pay for and says nothing.

use std::time::Duration;

use billing::{Nano, channel::Account};
use billing_ton::{
    Seed, Wallet,
    chain::{AccountState, ChainError, Cursor},
    contract::Failure,
    transaction::{Happened, Inbound},
    wallet::{Batch, BatchError, Payment, SignError, StandingError},
};

use crate::chain_source::{ChainSilent, ChainSource};

/// How long a message is good, by the chain's clock, in seconds.
const VALID_S: u32 = 90;
/// A message that was not seen is dead only so long after its end, by the clock of the reading that does not show it.
const SLACK_S: u32 = 30;
/// And how long its effect may take after the wallet sent it.
const EFFECT: u32 = 60;
/// However the chain's clock goes.
const PATIENCE: Duration = Duration::from_secs(300);
const BETWEEN: Duration = Duration::from_millis(700);
/// What the wallet itself pays for sending, at most: 0.02 GRAM (TON), several times what it costs.
pub(crate) const SENDING: Nano = Nano::saturating(20_000_000);

/// Why it was not done, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TillError {
    #[error(transparent)]
    Silent(#[from] ChainSilent),
    #[error("the wallet {wallet} cannot pay")]
    Wallet { wallet: String, source: StandingError },
    #[error(
        "the wallet has {has} GRAM (TON) and {needs} is needed; send at least {missing} to {wallet}, and do this again"
    )]
    Poor {
        has: Nano,
        needs: Nano,
        missing: Nano,
        wallet: String,
    },
    #[error("the payment cannot be made")]
    Batch(#[from] BatchError),
    #[error("the payment cannot be signed")]
    Sign(#[from] SignError),
    #[error("the chain did not take the payment, and nothing was paid")]
    Refused(#[source] ChainError),
    #[error("the payment was not taken in time and never will be: nothing was paid; do it again")]
    Expired,
    #[error("the payment was made and the contract refused it: {0}; what it brought came back, less the fees")]
    Failed(Failure),
    #[error(
        "it is not known yet whether the payment was made; look with `mulberry channel show` before you do it again"
    )]
    Unseen,
}

/// A wallet with its key, and the chain that it pays on.
pub(crate) struct Till<'a> {
    pub(crate) source: &'a ChainSource,
    pub(crate) wallet: Wallet,
    pub(crate) seed: Seed,
    /// The wallet as people write it.
    pub(crate) shown: String,
}

impl Till<'_> {
    /// Sends one payment and waits until `is_done` says so of its receiver.
    pub(crate) async fn pay(
        &self,
        payment: Payment,
        is_done: impl Fn(&AccountState) -> bool,
    ) -> Result<AccountState, TillError> {
        let to = payment.to;
        let before = self.source.account(to).await?.last;
        let state = self.source.account(self.wallet.account()).await?;
        let standing = self.wallet.standing(&state).map_err(|source| TillError::Wallet {
            wallet: self.shown.clone(),
            source,
        })?;
        let batch = Batch::new(vec![payment])?;
        let needs = batch.total().saturating_add(SENDING);
        if standing.balance < needs {
            return Err(TillError::Poor {
                has: standing.balance,
                needs,
                missing: needs.saturating_sub(standing.balance),
                wallet: self.shown.clone(),
            });
        }
        // By the chain's clock: ours may be wrong.
        let until = state.head.time.saturating_add(VALID_S);
        let signed = self.wallet.sign(&self.seed, standing.seqno, until, &batch)?;
        match self.source.chain().send(&signed.message).await {
            // It may have got through all the same.
            Ok(()) | Err(ChainError::Unreachable(_) | ChainError::Unreadable(_)) => {}
            Err(error) => return Err(TillError::Refused(error)),
        }
        let watching = self.watch(to, before, standing.seqno, until, is_done);
        tokio::time::timeout(PATIENCE, watching)
            .await
            .unwrap_or(Err(TillError::Unseen))
    }

    async fn watch(
        &self,
        to: Account,
        before: Option<Cursor>,
        seqno: u32,
        until: u32,
        is_done: impl Fn(&AccountState) -> bool,
    ) -> Result<AccountState, TillError> {
        let mut sent_at = None;
        loop {
            tokio::time::sleep(BETWEEN).await;
            // A source that fails now and then is asked again; the clock below ends it.
            let Ok(state) = self.source.account(to).await else {
                continue;
            };
            if is_done(&state) {
                return Ok(state);
            }
            let now = state.head.time;
            let Ok(wallet) = self.source.account(self.wallet.account()).await else {
                continue;
            };
            let reached = self.wallet.standing(&wallet).ok().map(|standing| standing.seqno);
            let is_sent = reached.is_some_and(|reached| reached > seqno);
            match (is_sent, sent_at) {
                (false, _) if is_dead(reached, &wallet, until) => return Err(TillError::Expired),
                (false, _) => {}
                (true, None) => sent_at = Some(now),
                (true, Some(at)) => {
                    if let Some(failure) = self.failure(to, before).await {
                        return Err(TillError::Failed(failure));
                    }
                    if now > at + EFFECT {
                        return Err(TillError::Unseen);
                    }
                }
            }
        }
    }

    /// Why the receiver did nothing with what we sent, as far as its history says.
    async fn failure(&self, to: Account, before: Option<Cursor>) -> Option<Failure> {
        let since = self.source.chain().transactions(to, before, 16).await.ok()?;
        let ours = self.wallet.account();
        since.iter().rev().find_map(|transaction| {
            let happened = Happened::read(&to, transaction).ok()?;
            let is_ours = matches!(happened.inbound, Some(Inbound::Internal { from, .. }) if from == ours);
            if !is_ours || !happened.is_aborted {
                return None;
            }
            Failure::from_exit_code(happened.exit_code?)
        })
    }
}

/// Whether a message that is good until then never was taken and never will be: the wallet itself, read from a block
/// after its end, has not got so far. Another account's reading may be of a newer block, of a source that is ahead.
fn is_dead(reached: Option<u32>, wallet: &AccountState, until: u32) -> bool {
    reached.is_some() && wallet.head.time > until.saturating_add(SLACK_S)
}

#[cfg(test)]
mod tests {
    use billing_ton::chain::{Head, Status};

    use super::*;

    /// Who is told "nothing was paid" pays again.
    #[test]
    fn a_payment_is_given_up_by_the_wallets_own_block_alone() {
        let check = |time, reached, expect| {
            let wallet = AccountState {
                head: Head { seqno: 1, time },
                balance: 0,
                last: None,
                status: Status::Uninitialised,
            };
            assert_eq!(is_dead(reached, &wallet, 1000), expect, "at {time}");
        };
        check(985, Some(4), false);
        check(1000 + SLACK_S, Some(4), false);
        check(1001 + SLACK_S, Some(4), true);
        // One that cannot be read says nothing.
        check(9000, None, false);
    }
}
