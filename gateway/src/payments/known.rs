//! What is kept in memory: channels, and headers whose proof was good, by their hash.
//!
//! Both are bounded. A channel that is not here is in the database; a header that is not is verified again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use billing::channel;

use super::Channel;
use crate::accounts::Account;

/// Channels at a time. Of an account in the ledger no more are kept either.
const MAX_CHANNELS: usize = 100_000;
/// Headers at a time; the oldest go first.
const MAX_PROOFS: usize = 65_536;

/// For which channel a request speaks.
#[derive(Clone, Debug)]
pub(crate) struct Spoken {
    pub(crate) channel: Arc<Channel>,
    /// What is charged.
    pub(crate) account: Arc<Account>,
}

#[derive(Default)]
pub(super) struct Known {
    channels: Mutex<HashMap<channel::Account, Arc<Channel>>>,
    proofs: Mutex<Proofs>,
}

#[derive(Default)]
struct Proofs {
    by_hash: HashMap<[u8; 32], (Spoken, u64)>,
    /// In the order in which they came.
    order: VecDeque<[u8; 32]>,
}

impl Known {
    pub(super) fn find(&self, account: &channel::Account) -> Option<Arc<Channel>> {
        self.channels().get(account).cloned()
    }

    /// The one that is here already, or this one; `None` where there are too many.
    pub(super) fn keep(&self, channel: Channel) -> Option<Arc<Channel>> {
        let mut channels = self.channels();
        if let Some(known) = channels.get(&channel.id.account) {
            return Some(known.clone());
        }
        if channels.len() >= MAX_CHANNELS {
            return None;
        }
        let channel = Arc::new(channel);
        channels.insert(channel.id.account, channel.clone());
        Some(channel)
    }

    /// One that was closed needs no place.
    pub(super) fn forget(&self, account: &channel::Account) {
        self.channels().remove(account);
        self.proofs().forget(account);
    }

    pub(super) fn all(&self) -> Vec<Arc<Channel>> {
        self.channels().values().cloned().collect()
    }

    /// Whose header this was, while its proof is good.
    pub(super) fn remembered(&self, hash: &[u8; 32], now_s: u64) -> Option<Spoken> {
        let proofs = self.proofs();
        let (spoken, until_s) = proofs.by_hash.get(hash)?;
        (now_s <= *until_s).then(|| spoken.clone())
    }

    pub(super) fn remember(&self, hash: [u8; 32], spoken: &Spoken, until_s: u64, now_s: u64) {
        let mut proofs = self.proofs();
        if proofs.by_hash.insert(hash, (spoken.clone(), until_s)).is_none() {
            proofs.order.push_back(hash);
        }
        while let Some(oldest) = proofs.order.front().copied() {
            let is_over = proofs.by_hash.get(&oldest).is_none_or(|(_, until_s)| *until_s < now_s);
            if !is_over && proofs.order.len() <= MAX_PROOFS {
                break;
            }
            proofs.order.pop_front();
            proofs.by_hash.remove(&oldest);
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<channel::Account, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn proofs(&self) -> MutexGuard<'_, Proofs> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proofs {
    fn forget(&mut self, account: &channel::Account) {
        self.by_hash
            .retain(|_, (spoken, _)| spoken.channel.id.account != *account);
    }
}
