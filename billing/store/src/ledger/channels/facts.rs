//! What the chain is said to be, and what is taken of it: only what our contract can have done.
//!
//! A source may lie, lag, or stand on a fork, and its word must not stay when it turns out to be wrong, nor keep out
//! what is true. So every part is merged by the contract's own rules, whatever block it is of: a close that was asked
//! for is never undone, and amounts grow. A deposit that one source alone tells of counts up to a set amount beyond what
//! sources agreed on; where they agree on less, it is corrected down to what was put on the account of it already.
//! Nothing more is put there, and no new work taken, once the chain paid out what was never signed here.

use billing::Nano;
use billing::channel::{Contradiction, OnChain};

use super::{Side, StoredChannel};

/// Blocks that a fact may be ahead of the last one: more than ten years of them.
const MAX_AHEAD: u32 = 1 << 30;

/// What the chain said of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The block of the masterchain that it is of.
    pub seqno: u32,
    pub on_chain: OnChain,
}

/// On whose word it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Sources that do not know each other say the same.
    Agreed,
    /// One source alone: of a deposit so much counts beyond what was agreed on.
    Alone { up_to: Nano },
}

/// What is wrong with a fact, the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Objection {
    /// Nothing of it is taken.
    #[error("it is said to be of block {told}, and the last one was of {last}; it is no block of this chain")]
    Ahead { last: u32, told: u32 },
    /// Nothing is taken where no state of the contract is such; else what may be true.
    #[error(transparent)]
    Chain(#[from] Contradiction),
    /// Of a payee. Another one holds its key, or this database was restored and forgot what it signed: what the payer
    /// has paid already would be served once more.
    #[error(
        "{claimed} were claimed, and only {taken} were signed to be taken by this database; the channel takes no new work"
    )]
    Unsigned { claimed: Nano, taken: Nano },
}

/// Of a deposit that nothing is known of yet.
pub(super) fn believed(deposited: Nano, confirmed: Nano, word: Word) -> Nano {
    match word {
        Word::Agreed => deposited,
        Word::Alone { up_to } => deposited.min(confirmed.saturating_add(up_to)),
    }
}

/// Takes what may be true, and names what may not.
pub(super) fn merge(channel: &mut StoredChannel, told: &Facts, word: Word) -> Option<Objection> {
    let (old, new) = (channel.facts.on_chain, told.on_chain);
    let (last, told) = (channel.facts.seqno, told.seqno);
    if told.saturating_sub(last) > MAX_AHEAD {
        return Some(Objection::Ahead { last, told });
    }
    if new.claimed > new.deposited {
        let OnChain { claimed, deposited, .. } = new;
        return Some(Contradiction::ClaimAboveDeposit { claimed, deposited }.into());
    }
    let deposited = believed(new.deposited, channel.confirmed, word);
    let is_newer = told >= last;
    channel.facts.seqno = told.max(last);
    channel.facts.on_chain = OnChain {
        close_at: match (old.close_at, new.close_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        },
        deposited: match word {
            // Down too, for who alone said more is not believed any longer.
            Word::Agreed if is_newer => deposited.max(channel.confirmed).max(channel.credited),
            _ => deposited.max(old.deposited),
        },
        claimed: old.claimed.max(new.claimed),
    };
    if word == Word::Agreed {
        channel.confirmed = channel.confirmed.max(deposited);
    }
    // What an older block says less of is no contradiction.
    let contradiction = is_newer.then(|| contradiction(&old, &new)).flatten();
    contradiction.map(Objection::from).or_else(|| unsigned(channel))
}

/// What was claimed of a payee's channel, and never signed here.
pub(super) fn unsigned(channel: &StoredChannel) -> Option<Objection> {
    let (claimed, taken) = (channel.facts.on_chain.claimed, channel.taken());
    (channel.side == Side::Payee && claimed > taken).then_some(Objection::Unsigned { claimed, taken })
}

fn contradiction(old: &OnChain, new: &OnChain) -> Option<Contradiction> {
    if new.deposited < old.deposited {
        let (from, to) = (old.deposited, new.deposited);
        return Some(Contradiction::DepositShrank { from, to });
    }
    if new.claimed < old.claimed {
        let (from, to) = (old.claimed, new.claimed);
        return Some(Contradiction::ClaimShrank { from, to });
    }
    let is_undone = old.close_at.is_some() && new.close_at != old.close_at;
    is_undone.then_some(Contradiction::CloseUndone)
}
