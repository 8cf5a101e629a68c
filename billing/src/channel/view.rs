//! What one side has seen of a channel on the chain, and what it makes of facts that contradict each other.

use serde::{Deserialize, Serialize};

use super::{Account, OnChain, decimal};
use crate::Nano;

/// What a source says of a channel's account, at a final block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Of the masterchain's block.
    pub seqno: u32,
    /// Unix seconds by the block: what the contract's clock goes by.
    pub time_s: u32,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum State {
    /// The account has our code and our terms.
    Open(OnChain),
    /// Not deployed. After it was seen open, or with `claimed`, which is what its transactions say was paid out in the
    /// end: closed.
    Absent { claimed: Option<Nano> },
}

/// Facts that cannot both be true of our contract on one chain: a source lies, or the chain was forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    #[error("the deposit shrank from {from} to {to}")]
    DepositShrank { from: Nano, to: Nano },
    #[error("what was claimed shrank from {from} to {to}")]
    ClaimShrank { from: Nano, to: Nano },
    #[error("more was claimed, {claimed}, than was ever deposited, {deposited}")]
    ClaimAboveDeposit { claimed: Nano, deposited: Nano },
    #[error("a close that was requested is undone")]
    CloseUndone,
    /// An address must never come twice: old vouchers would be good again.
    #[error("the channel was closed and is there again")]
    Redeployed,
}

/// What is left of a channel: kept for ever, so that its address is never served or funded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tombstone {
    #[serde(rename = "channelId")]
    pub account: Account,
    #[serde(with = "decimal::nano")]
    pub deposited: Nano,
    /// What was paid out in the end, as far as it was seen.
    #[serde(with = "decimal::nano")]
    pub claimed: Nano,
    /// What was earned, by the books of whose tombstone it is.
    #[serde(with = "decimal::nano")]
    pub spent: Nano,
}

#[derive(Debug, Default)]
pub(super) struct View {
    last: Option<Fact>,
    /// The last one that was open and contradicted nothing.
    open: Option<OnChain>,
    is_gone: bool,
    claimed_at_end: Nano,
    /// The newest fact contradicts an earlier one: nothing is risked until one comes that does not.
    is_doubted: bool,
}

/// What a fact brought.
pub(super) enum News {
    /// Old, or what was known.
    Nothing,
    Changed,
    Contradicts(Contradiction),
}

impl View {
    /// While it is open, or was last seen so.
    pub(super) const fn open(&self) -> Option<&OnChain> {
        if self.is_gone { None } else { self.open.as_ref() }
    }

    pub(super) fn deposited(&self) -> Nano {
        self.open.map_or(Nano::ZERO, |open| open.deposited)
    }

    pub(super) fn claimed(&self) -> Nano {
        self.open
            .map_or(Nano::ZERO, |open| open.claimed)
            .max(self.claimed_at_end)
    }

    pub(super) fn close_at(&self) -> Option<u32> {
        self.open.and_then(|open| open.close_at)
    }

    pub(super) fn time_s(&self) -> u32 {
        self.last.map_or(0, |fact| fact.time_s)
    }

    pub(super) const fn is_gone(&self) -> bool {
        self.is_gone
    }

    pub(super) const fn is_doubted(&self) -> bool {
        self.is_doubted
    }

    pub(super) const fn last(&self) -> Option<&Fact> {
        self.last.as_ref()
    }

    /// Facts come in any order; one that is not newer than the last is none.
    pub(super) fn look(&mut self, fact: Fact) -> News {
        if self.last.is_some_and(|last| fact.seqno <= last.seqno) {
            return News::Nothing;
        }
        if let Some(contradiction) = self.contradiction(&fact.state) {
            // Not kept: the next one is compared with what was known before.
            let is_new = !self.is_doubted;
            self.is_doubted = true;
            return if is_new {
                News::Contradicts(contradiction)
            } else {
                News::Nothing
            };
        }
        self.is_doubted = false;
        let is_same = self.last.is_some_and(|last| last.state == fact.state);
        self.last = Some(fact);
        match fact.state {
            State::Open(open) => self.open = Some(open),
            State::Absent { claimed } => {
                self.is_gone = self.is_gone || self.open.is_some() || claimed.is_some();
                self.claimed_at_end = self.claimed_at_end.max(claimed.unwrap_or_default());
            }
        }
        if is_same { News::Nothing } else { News::Changed }
    }

    fn contradiction(&self, state: &State) -> Option<Contradiction> {
        let State::Open(now) = state else { return None };
        if now.claimed > now.deposited {
            let OnChain { claimed, deposited, .. } = *now;
            return Some(Contradiction::ClaimAboveDeposit { claimed, deposited });
        }
        if self.is_gone {
            return Some(Contradiction::Redeployed);
        }
        let before = self.open.as_ref()?;
        if now.deposited < before.deposited {
            let (from, to) = (before.deposited, now.deposited);
            return Some(Contradiction::DepositShrank { from, to });
        }
        if now.claimed < before.claimed {
            let (from, to) = (before.claimed, now.claimed);
            return Some(Contradiction::ClaimShrank { from, to });
        }
        let is_undone = before.close_at.is_some() && now.close_at != before.close_at;
        is_undone.then_some(Contradiction::CloseUndone)
    }
}
