//! Channels that were asked about and are not taken: strangers do not make us ask the chain again at once.
//!
//! Whoever can make a key can make up a channel. So what the chain said of one is remembered for a while, a refusal that
//! time does not change for long; and no more than some wait for an answer, for each holds a place of a request.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use billing::channel::Account;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::{PaymentError, accept::AcceptError};

/// How many are asked about at a time.
const ASKING: usize = 4;
/// Requests that wait for that, those that are asked about among them.
const WAITING: usize = 64;
/// How long each does at most.
const TURN: Duration = Duration::from_secs(5);
/// Refusals that are remembered; the oldest go first.
const MOST: usize = 16_384;
/// What may pass is asked again then.
const SOON: Duration = Duration::from_secs(2);
const LATE: Duration = Duration::from_secs(600);

pub(super) struct Refused {
    asking: Semaphore,
    waiting: Semaphore,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_account: HashMap<Account, (Arc<AcceptError>, Instant)>,
    /// In the order in which they came.
    order: VecDeque<Account>,
}

/// Leave to ask the chain about one channel.
pub(super) struct Turn<'a> {
    _asking: SemaphorePermit<'a>,
    _waiting: SemaphorePermit<'a>,
}

impl Refused {
    pub(super) fn new() -> Self {
        Self {
            asking: Semaphore::new(ASKING),
            waiting: Semaphore::new(WAITING),
            known: Mutex::default(),
        }
    }

    /// Why the channel is not taken, where that was asked a moment ago.
    pub(super) fn check(&self, account: &Account) -> Result<(), PaymentError> {
        match self.known().by_account.get(account) {
            Some((why, until)) if Instant::now() < *until => Err(PaymentError::Chain(why.clone())),
            _ => Ok(()),
        }
    }

    /// Waits for leave to ask. Whoever had it before may have brought the channel.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, PaymentError> {
        let waiting = self.waiting.try_acquire().map_err(|_| PaymentError::Busy)?;
        match timeout(TURN, self.asking.acquire()).await {
            Ok(Ok(asking)) => Ok(Turn {
                _asking: asking,
                _waiting: waiting,
            }),
            _ => Err(PaymentError::Busy),
        }
    }

    /// Remembers a refusal, and hands it on.
    pub(super) fn note(&self, account: Account, why: AcceptError) -> PaymentError {
        let lasts = if why.may_pass() { SOON } else { LATE };
        let why = Arc::new(why);
        let mut known = self.known();
        let until = Instant::now() + lasts;
        if known.by_account.insert(account, (why.clone(), until)).is_none() {
            known.order.push_back(account);
        }
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.by_account.remove(&oldest);
        }
        PaymentError::Chain(why)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use billing_ton::{contract::Unacceptable, inquiry::InquiryError};

    use super::*;

    fn account(number: u32) -> Account {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        Account { workchain: 0, hash }
    }

    fn because(why: Unacceptable) -> AcceptError {
        AcceptError::Inquiry(InquiryError::Unacceptable(why))
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_nobody_opened_is_asked_about_once() {
        let refused = Refused::new();
        assert!(refused.check(&account(1)).is_ok());
        refused.note(account(1), because(Unacceptable::NotThere));
        refused.note(account(2), because(Unacceptable::Code));
        assert!(matches!(refused.check(&account(1)), Err(PaymentError::Chain(_))));
        tokio::time::advance(SOON).await;
        assert!(refused.check(&account(1)).is_ok(), "it may have been opened");
        assert!(refused.check(&account(2)).is_err(), "it will never be ours");
        tokio::time::advance(LATE).await;
        assert!(refused.check(&account(2)).is_ok());
        for number in 0..40_000 {
            refused.note(account(number), because(Unacceptable::Code));
        }
        assert_eq!(refused.known().by_account.len(), MOST);
        assert!(refused.check(&account(39_999)).is_err() && refused.check(&account(5)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn few_wait_and_the_others_are_told_at_once() {
        let refused = Refused::new();
        let mut turns = Vec::new();
        for _ in 0..ASKING {
            turns.push(refused.turn().await.expect("there is a place"));
        }
        let start = Instant::now();
        let more = futures_util::future::join_all((0..200).map(|_| refused.turn())).await;
        assert!(more.iter().all(|turn| matches!(turn, Err(PaymentError::Busy))));
        assert_eq!(start.elapsed(), TURN, "those who wait do so for a moment");
        drop(turns);
        assert!(refused.turn().await.is_ok());
    }
}
