//! Whether a channel that somebody opened to us is one that we serve.

use std::sync::Arc;

use super::{Effect, Payee, PayeePolicy, Phase, Record, Then, Timers};
use crate::{
    Nano,
    channel::{
        Account, Channel, Fact, Network, OnChain, PublicKey, Signer, State, gate::Gate, holds::Holds, view::View,
    },
};

/// What a channel must be like. Of the chain: code and address are checked by who read them there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demands {
    pub network: Network,
    /// Where we are paid.
    pub payee: Account,
    pub payee_key: PublicKey,
    pub fee_bps: u16,
    pub fee_dest: Account,
    /// Seconds; what a payer waits for its rest is what we have to settle in.
    pub least_close_delay_s: u32,
    /// In nanoton.
    pub least_deposit: Nano,
}

/// Why a channel is not served. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptRefusal {
    #[error("the channel is on {named}, and we are paid on {expected}")]
    Network { named: Network, expected: Network },
    #[error("channels are accounts of workchain 0, and this is of {0}")]
    Workchain(i8),
    #[error("it pays to {named}, and we are paid at {expected}")]
    Payee { named: Account, expected: Account },
    #[error("it names another key for us; open one with the key that we publish")]
    PayeeKey,
    #[error("its network fee or where that goes is not what we agree to")]
    Fee,
    #[error("it closes {named} s after a request, and we need {least} s to settle")]
    CloseDelay { named: u32, least: u32 },
    /// It was closed before: its old vouchers would be good again.
    #[error("a channel of this address was closed before; open one with another salt")]
    Buried,
    #[error("the chain does not show it")]
    Absent,
    #[error("it is being closed")]
    Closing,
    /// It has a history that we do not know.
    #[error("{claimed} was claimed from it, and we know nothing of that; restore our records, or open another")]
    Used { claimed: Nano },
    #[error("{deposited} is deposited, and we need {least}")]
    Deposit { deposited: Nano, least: Nano },
}

impl AcceptRefusal {
    /// For programs; never changes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Network { .. } => "network",
            Self::Workchain(_) => "workchain",
            Self::Payee { .. } => "payee",
            Self::PayeeKey => "payee_key",
            Self::Fee => "fee",
            Self::CloseDelay { .. } => "close_delay",
            Self::Buried => "buried",
            Self::Absent => "absent",
            Self::Closing => "closing",
            Self::Used { .. } => "used",
            Self::Deposit { .. } => "deposit",
        }
    }
}

impl Demands {
    /// `is_buried`: we have a tombstone of this channel.
    pub fn check(&self, channel: &Channel, is_buried: bool, fact: &Fact) -> Result<(), AcceptRefusal> {
        let Channel { id, keys, terms } = channel;
        if id.network != self.network || terms.network != self.network {
            let named = if id.network == self.network {
                terms.network
            } else {
                id.network
            };
            let expected = self.network;
            return Err(AcceptRefusal::Network { named, expected });
        }
        if id.account.workchain != 0 {
            return Err(AcceptRefusal::Workchain(id.account.workchain));
        }
        if terms.payee != self.payee {
            let (named, expected) = (terms.payee, self.payee);
            return Err(AcceptRefusal::Payee { named, expected });
        }
        if keys.payee != self.payee_key {
            return Err(AcceptRefusal::PayeeKey);
        }
        if terms.fee_bps != self.fee_bps || (self.fee_bps > 0 && terms.fee_dest != self.fee_dest) {
            return Err(AcceptRefusal::Fee);
        }
        if terms.close_delay_s < self.least_close_delay_s {
            let (named, least) = (terms.close_delay_s, self.least_close_delay_s);
            return Err(AcceptRefusal::CloseDelay { named, least });
        }
        if is_buried {
            return Err(AcceptRefusal::Buried);
        }
        let State::Open(open) = fact.state else {
            return Err(AcceptRefusal::Absent);
        };
        self.check_open(&open)
    }

    fn check_open(&self, open: &OnChain) -> Result<(), AcceptRefusal> {
        if open.close_at.is_some() {
            return Err(AcceptRefusal::Closing);
        }
        if !open.claimed.is_zero() {
            return Err(AcceptRefusal::Used { claimed: open.claimed });
        }
        if open.deposited < self.least_deposit {
            let (deposited, least) = (open.deposited, self.least_deposit);
            return Err(AcceptRefusal::Deposit { deposited, least });
        }
        Ok(())
    }
}

impl Payee {
    /// Serves against a channel that meets the demands. The first effects are its record and the word to the payer.
    pub fn accept(
        channel: Channel,
        signer: Arc<Signer>,
        policy: PayeePolicy,
        demands: &Demands,
        is_buried: bool,
        fact: Fact,
        now_ms: i64,
    ) -> Result<Self, AcceptRefusal> {
        demands.check(&channel, is_buried, &fact)?;
        if signer.public() != channel.keys.payee {
            return Err(AcceptRefusal::PayeeKey);
        }
        let mut payee = Self::blank(channel, signer, policy, now_ms);
        payee.phase = Phase::Serving;
        payee.view.look(fact);
        payee.persist(Record::Accepted(channel));
        payee.persist(Record::Fact(fact));
        payee.after(Then::Do(Effect::Send(super::Notice::Accept {})));
        Ok(payee)
    }

    pub(super) fn blank(channel: Channel, signer: Arc<Signer>, policy: PayeePolicy, now_ms: i64) -> Self {
        Self {
            channel,
            signer,
            policy,
            phase: Phase::Waking,
            view: View::default(),
            best: None,
            counted: None,
            take: None,
            spent: Nano::ZERO,
            waived: Nano::ZERO,
            is_disputed: false,
            may_have_forgotten: false,
            agreed: Nano::ZERO,
            holds: Holds::default(),
            told: (Nano::ZERO, Nano::ZERO),
            timers: Timers {
                stepped_ms: now_ms,
                heard_ms: now_ms,
                settled_ms: now_ms,
                questions: u64::try_from(now_ms).unwrap_or_default(),
                ..Timers::default()
            },
            gate: Gate::new(),
            out: Vec::new(),
        }
    }
}
