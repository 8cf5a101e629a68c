//! Facts: what a follower of the chain tells of channels, as their machines take it.

use std::{collections::BTreeMap, time::Duration};

use billing::{
    Nano,
    channel::{Account, Fact, State},
};
use billing_ton::{
    follower::{self, Follower, Life, Position, What},
    settler::Seen,
    sources::Sources,
};
use tokio::time::Instant;

use crate::layers::rescue::Chain;

/// A channel that was seen and is on no block for so long, by the chain's time, is over, though its end was not told.
const GONE_AFTER_S: u32 = 3600;

/// Some channels, and how far each was followed.
#[derive(Debug)]
pub(crate) struct Facts {
    follower: Follower,
    started: Instant,
    due: Instant,
    every: Duration,
    /// Since when, by the chain's time, nothing is where a channel was.
    absent: BTreeMap<Account, u32>,
    is_unsure: bool,
}

impl Facts {
    pub(crate) fn new(every: Duration) -> Self {
        let now = Instant::now();
        Self {
            // How often is counted here, in less than seconds.
            follower: Follower::new(0),
            started: now,
            due: now,
            every,
            absent: BTreeMap::new(),
            is_unsure: false,
        }
    }

    /// From its first transaction on; the same again is no error.
    pub(crate) fn follow(&mut self, account: Account) {
        if self.follower.position(&account).is_none() && !self.follower.follow(account, Position::START) {
            tracing::warn!(channel = %account, "too many channels are followed, so this one is not");
        }
    }

    pub(crate) fn forget(&mut self, account: &Account) {
        self.follower.forget(account);
        self.absent.remove(account);
    }

    /// What is new, where it is time to ask. `at_stake` is what is lost where a closing is not seen.
    pub(crate) async fn ask(
        &mut self,
        sources: &Sources,
        at_stake: &(dyn Fn(&Account) -> Nano + Sync),
    ) -> Vec<(Account, Fact)> {
        if Instant::now() < self.due {
            return Vec::new();
        }
        self.due = Instant::now() + self.every;
        let now_s = self.started.elapsed().as_secs();
        let round = follower::poll_sources(&mut self.follower, sources, at_stake, now_s).await;
        match round.unsure.first() {
            Some((channel, why)) if !std::mem::replace(&mut self.is_unsure, true) => {
                tracing::warn!(%channel, cause = %Chain(why), "the sources of the chain do not agree on a channel");
            }
            None => self.is_unsure = false,
            _ => {}
        }
        let facts = round.events.iter().filter_map(|event| self.fact(event));
        facts.collect()
    }

    fn fact(&mut self, event: &follower::Event) -> Option<(Account, Fact)> {
        let account = event.account;
        match &event.what {
            What::Current { head, seen, .. } => {
                let state = self.state(&account, head.time, *seen)?;
                let (seqno, time_s) = (head.seqno, head.time);
                Some((account, Fact { seqno, time_s, state }))
            }
            What::Lost => {
                tracing::warn!(channel = %account, "a source of the chain contradicts what it told of a channel, which is read anew");
                self.follower.restart(&account);
                None
            }
            What::Foreign => {
                tracing::error!(channel = %account, "a source of the chain shows something else at the address of a channel");
                None
            }
            What::Opened
            | What::Deposited { .. }
            | What::Claimed { .. }
            | What::CloseRequested { .. }
            | What::Closed
            | What::Redeployed
            | What::Unreadable(_) => None,
        }
    }

    fn state(&mut self, account: &Account, time_s: u32, seen: Seen) -> Option<State> {
        match seen {
            Seen::Foreign => None,
            Seen::Open(on_chain) => {
                self.absent.remove(account);
                Some(State::Open(on_chain))
            }
            Seen::Absent => {
                let position = self.follower.position(account).copied().unwrap_or(Position::START);
                let claimed = Some(position.on_chain.claimed);
                match position.life {
                    Life::Ended => Some(State::Absent { claimed }),
                    Life::Unborn => Some(State::Absent { claimed: None }),
                    Life::Open => {
                        let since = *self.absent.entry(*account).or_insert(time_s);
                        (time_s.saturating_sub(since) >= GONE_AFTER_S).then_some(State::Absent { claimed })
                    }
                }
            }
        }
    }
}
