//! Compares what a chain says of a channel with what we signed and hold.
//!
//! Nothing here stops anything, and nothing is corrected: each difference is an [`Alert`], a value with a sentence, for
//! people and for whoever decides what to do about it. What the chain says is a claim of somebody else's computer; what
//! we hold is ours, and may be an older backup.
//!
//! ```
//! use billing::{Nano, channel::OnChain};
//! use billing_ton::{chain::Head, reconciler::{Alert, Known, Ours, reconcile}, settler::Seen};
//!
//! let ours = Ours {
//!     side: billing_ton::reconciler::Side::Payee { taken: Nano::saturating(3) },
//!     max: Nano::saturating(5),
//!     known: Known { deposited: Nano::saturating(10), claimed: Nano::ZERO },
//!     ended: false,
//! };
//! let on_chain = OnChain { close_at: None, deposited: Nano::saturating(10), claimed: Nano::saturating(4) };
//! let alerts = reconcile(&ours, &Seen::Open(on_chain), 10, Head { seqno: 1, time: 100 }, 100);
//! assert_eq!(alerts, [Alert::ClaimedBeyondTaken { claimed: Nano::saturating(4), taken: Nano::saturating(3) }]);
//! ```

use billing::{Nano, channel::OnChain};

use crate::{chain::Head, settler::Seen};

/// A chain makes a block each second or faster; a source whose newest is older than this is stuck.
pub const STALE_S: u64 = 300;

/// What we signed or hold of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    pub side: Side,
    /// The highest voucher that was ever signed: of the payer, by us.
    pub max: Nano,
    /// What the chain said before, at a block that was final.
    pub known: Known,
    /// Whether we know that it is closed, and keep its tombstone.
    pub ended: bool,
}

/// Which side we are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Payer {
        /// What the payee has earned by our own books.
        earned: Nano,
    },
    Payee {
        /// The highest take that we signed.
        taken: Nano,
    },
}

/// Sums that only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub deposited: Nano,
    pub claimed: Nano,
}

/// A difference. In order of how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Alert {
    /// Of the payer: our key signed what we do not know of.
    #[error(
        "{claimed} was claimed and we never signed more than {max}: the payer's key is in other hands, or our records are older than the channel; close the channel and make a new key"
    )]
    ClaimedBeyondVoucher { claimed: Nano, max: Nano },
    /// Of the payee: our key signed what we do not know of.
    #[error(
        "{claimed} was claimed and we never took more than {taken}: the payee's key is in other hands, or our records are older than the channel; make a new key"
    )]
    ClaimedBeyondTaken { claimed: Nano, taken: Nano },
    /// Of the payer.
    #[error("the payee claimed {claimed} and earned {earned}: book the loss, and pay it nothing more")]
    ClaimedBeyondEarned { claimed: Nano, earned: Nano },
    #[error("the channel is gone, and {lost} that was taken was never claimed")]
    GoneUnclaimed { lost: Nano },
    #[error("the channel came back after its end; nothing that was signed for it may be used, and nothing signed anew")]
    Redeployed,
    #[error("there is another contract than the channel's at its address; serve nothing for it")]
    Foreign,
    #[error("{expected} was deposited and now it is {found}: the chain was reset, or its source lies; ask another one")]
    DepositedLess { expected: Nano, found: Nano },
    #[error("{expected} was claimed and now it is {found}: the chain was reset, or its source lies; ask another one")]
    ClaimedLess { expected: Nano, found: Nano },
    /// Of the payee. Unix seconds, and what is at stake.
    #[error("the payer is closing: settle {at_risk} before {close_at} (Unix seconds)")]
    Closing { close_at: u32, at_risk: Nano },
    /// Of the payee. Rent was taken from it.
    #[error("the channel has {balance} and owes {owed}: rent took the rest; ask the payer for a top-up, or settle")]
    Short { balance: Nano, owed: Nano },
    #[error("the chain's newest block is {age_s} s old: its source is stuck, or a clock is wrong")]
    Stale { age_s: u64 },
}

impl Alert {
    /// Whether nothing may be signed or served for the channel until a person has looked.
    pub fn stops(&self) -> bool {
        match self {
            Self::ClaimedBeyondVoucher { .. }
            | Self::ClaimedBeyondTaken { .. }
            | Self::ClaimedBeyondEarned { .. }
            | Self::GoneUnclaimed { .. }
            | Self::Redeployed
            | Self::Foreign
            | Self::DepositedLess { .. }
            | Self::ClaimedLess { .. }
            | Self::Closing { .. } => true,
            Self::Short { .. } | Self::Stale { .. } => false,
        }
    }
}

/// All differences, the worst first. `balance` is what the account has, in nanoton; `now_s` are Unix seconds.
pub fn reconcile(ours: &Ours, seen: &Seen, balance: u128, head: Head, now_s: u64) -> Vec<Alert> {
    let mut alerts = Vec::new();
    let age_s = now_s.saturating_sub(head.time.into());
    if age_s > STALE_S {
        alerts.push(Alert::Stale { age_s });
    }
    match seen {
        Seen::Foreign => alerts.push(Alert::Foreign),
        Seen::Absent => alerts.extend(gone(ours)),
        Seen::Open(_) if ours.ended => alerts.push(Alert::Redeployed),
        Seen::Open(on_chain) => {
            sums(ours, on_chain, &mut alerts);
            side(ours, on_chain, balance, &mut alerts);
        }
    }
    alerts.sort_unstable();
    alerts
}

/// A payee whose channel ended before it had what it took.
fn gone(ours: &Ours) -> Option<Alert> {
    let Side::Payee { taken } = ours.side else {
        return None;
    };
    // What was never deposited could not be had.
    let lost = taken.min(ours.known.deposited).saturating_sub(ours.known.claimed);
    (!ours.ended && !lost.is_zero()).then_some(Alert::GoneUnclaimed { lost })
}

fn sums(ours: &Ours, on_chain: &OnChain, alerts: &mut Vec<Alert>) {
    if on_chain.deposited < ours.known.deposited {
        alerts.push(Alert::DepositedLess {
            expected: ours.known.deposited,
            found: on_chain.deposited,
        });
    }
    if on_chain.claimed < ours.known.claimed {
        alerts.push(Alert::ClaimedLess {
            expected: ours.known.claimed,
            found: on_chain.claimed,
        });
    }
}

fn side(ours: &Ours, on_chain: &OnChain, balance: u128, alerts: &mut Vec<Alert>) {
    let claimed = on_chain.claimed;
    match ours.side {
        Side::Payer { earned } => {
            if claimed > ours.max {
                alerts.push(Alert::ClaimedBeyondVoucher { claimed, max: ours.max });
            } else if claimed > earned {
                alerts.push(Alert::ClaimedBeyondEarned { claimed, earned });
            }
        }
        Side::Payee { taken } => {
            if claimed > taken {
                alerts.push(Alert::ClaimedBeyondTaken { claimed, taken });
            }
            let owed = taken.min(on_chain.deposited).saturating_sub(claimed);
            if let Some(close_at) = on_chain.close_at
                && !owed.is_zero()
            {
                alerts.push(Alert::Closing {
                    close_at,
                    at_risk: owed,
                });
            }
            let balance = u64::try_from(balance).map_or(Nano::MOST, Nano::saturating);
            if balance < owed {
                alerts.push(Alert::Short { balance, owed });
            }
        }
    }
}

#[cfg(test)]
mod tests;
