//! What the page at `/pay` is told: what we accept, and how a channel stands on the chain.
//!
//! Anybody may ask, without showing anything. So an answer is given again for a moment, and all strangers together make
//! us ask the chain once a second: they cannot use up what our sources allow us.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use billing::{
    Nano,
    channel::{Account, OnChain, x402::Offer},
};
use billing_store::ledger::Stage;
use billing_ton::chain::Head;
use tokio::time::Instant;

use super::{PaymentError, Payments, Shared, accept::AcceptError};
use crate::on_chain;

/// How long an answer is given again.
const KEPT: Duration = Duration::from_secs(2);
/// Between two questions to the chain, in the long run.
const EVERY: Duration = Duration::from_secs(1);
/// So many more may come at once.
const BURST: u32 = 5;

/// A channel as the chain shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) channel: Account,
    pub(crate) head: Head,
    pub(crate) standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing is there, and we know of nothing that was.
    Absent,
    /// Nothing is there any more: an address that must not be paid into again.
    Ended,
    /// Something is there that is no channel of this address.
    Other,
    /// It can be paid into, unless it is closing.
    Open(OnChain),
}

/// What was asked lately. Bounded: an answer comes at [`EVERY`], and is kept for [`KEPT`].
#[derive(Default)]
pub(super) struct Looks {
    recent: Mutex<HashMap<Account, (Look, Instant)>>,
    /// When the next question would be due, if all came evenly.
    due: Mutex<Option<Instant>>,
}

impl Payments {
    /// What we accept; `None` where we are not paid by channel.
    pub(crate) fn offer(&self) -> Option<Offer> {
        Some(self.0.as_ref()?.offered.offer(Nano::ZERO))
    }

    /// How a channel of our network stands.
    pub(crate) async fn look(&self, channel: Account) -> Result<Look, PaymentError> {
        let shared = self.0.as_ref().ok_or(PaymentError::Off)?;
        if let Some(look) = shared.looks.recent(channel) {
            return Ok(look);
        }
        if !shared.looks.may_ask() {
            return Err(PaymentError::Busy);
        }
        let look = shared.look_up(channel).await?;
        shared.looks.keep(look);
        Ok(look)
    }
}

impl Shared {
    async fn look_up(&self, channel: Account) -> Result<Look, PaymentError> {
        let id = self.id(channel);
        let state = self.for_strangers.account(channel, Nano::ZERO).await;
        let state = state.map_err(AcceptError::Sources)?;
        let standing = match on_chain::read(&state, &id) {
            Ok(Some(state)) => Standing::Open(state.on_chain),
            Ok(None) => {
                let stored = self.store.channel(&id).await?;
                if stored.is_some_and(|stored| stored.stage == Stage::Closed) {
                    Standing::Ended
                } else {
                    Standing::Absent
                }
            }
            Err(_) => Standing::Other,
        };
        Ok(Look {
            channel,
            head: state.head,
            standing,
        })
    }
}

impl Looks {
    fn recent(&self, channel: Account) -> Option<Look> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (look, at) = recent.get(&channel)?;
        (at.elapsed() < KEPT).then_some(*look)
    }

    fn keep(&self, look: Look) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, (_, at)| at.elapsed() < KEPT);
        recent.insert(look.channel, (look, Instant::now()));
    }

    fn may_ask(&self) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let this = due.map_or(now, |due| due.max(now));
        let is_due = this <= now + EVERY * BURST;
        if is_due {
            *due = Some(this + EVERY);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(byte: u8) -> Look {
        Look {
            channel: Account {
                workchain: 0,
                hash: [byte; 32],
            },
            head: Head { seqno: 1, time: 2 },
            standing: Standing::Absent,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_ask_the_chain_once_a_second() {
        let looks = Looks::default();
        let asked = |looks: &Looks| (0..100).filter(|_| looks.may_ask()).count();
        assert_eq!(asked(&looks), 6);
        tokio::time::advance(EVERY * 2).await;
        assert_eq!(asked(&looks), 2);
        tokio::time::advance(EVERY * 1000).await;
        assert_eq!(asked(&looks), 6, "what was not asked is not saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_given_again_for_a_moment() {
        let looks = Looks::default();
        looks.keep(look(1));
        assert_eq!(looks.recent(look(1).channel), Some(look(1)));
        assert_eq!(looks.recent(look(2).channel), None);
        tokio::time::advance(KEPT).await;
        assert_eq!(looks.recent(look(1).channel), None);
        looks.keep(look(2));
        let kept = looks.recent.lock().unwrap_or_else(PoisonError::into_inner).len();
        assert_eq!(kept, 1, "what is old is forgotten");
    }
}
