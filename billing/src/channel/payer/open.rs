//! Opening a channel: what is paid in is written down before it is.

use std::sync::Arc;

use super::{Act, Acts, Beside, Effect, Payer, PayerPolicy, Phase, Record, Timers};
use crate::{
    Nano,
    channel::{Channel, FundRefusal, NotTheSigner, Purse, Signer, gate::Gate, holds::Holds, view::View},
};

/// Why no channel is opened. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefusal {
    #[error(transparent)]
    Signer(#[from] NotTheSigner),
    #[error("channels are accounts of workchain 0, and this is of {0}")]
    Workchain(i8),
    #[error("the terms are of another network than the channel's address")]
    Network,
    /// Old vouchers for this address would be good again.
    #[error("a channel of this address was closed before; draw another salt")]
    Buried,
    #[error(transparent)]
    Fund(#[from] FundRefusal),
}

impl Payer {
    /// Pays `amount` in to a new channel. `matured`: what its owner has earned so far; `is_buried`: we have a tombstone
    /// of this channel. The first effects are its record and, when that is durable, the act.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a fact of its own that opening depends on"
    )]
    pub fn open(
        channel: Channel,
        signer: Arc<Signer>,
        policy: PayerPolicy,
        amount: Nano,
        matured: Nano,
        is_buried: bool,
        purse: &mut Purse,
        now_ms: i64,
    ) -> Result<Self, OpenRefusal> {
        if signer.public() != channel.keys.payer {
            return Err(NotTheSigner.into());
        }
        if channel.id.account.workchain != 0 {
            return Err(OpenRefusal::Workchain(channel.id.account.workchain));
        }
        if channel.terms.network != channel.id.network {
            return Err(OpenRefusal::Network);
        }
        if is_buried {
            return Err(OpenRefusal::Buried);
        }
        purse.allows_opening(&channel.terms.payee, matured, amount)?;
        let mut payer = Self::blank(channel, signer, policy, now_ms);
        payer.phase = Phase::Opening;
        payer.opening = amount;
        payer.persist(Record::Opened { channel, amount });
        payer.after(Effect::Act(Act::Open { amount }));
        payer.account(purse);
        Ok(payer)
    }

    pub(super) fn blank(channel: Channel, signer: Arc<Signer>, policy: PayerPolicy, now_ms: i64) -> Self {
        Self {
            channel,
            signer,
            policy,
            phase: Phase::Waking,
            view: View::default(),
            opening: Nano::ZERO,
            voucher: None,
            sent: Nano::ZERO,
            take: None,
            spent: Nano::ZERO,
            matured: Nano::ZERO,
            doubt: Nano::ZERO,
            holds: Holds::default(),
            beside: Beside::default(),
            told: Nano::ZERO,
            tolerated: Nano::ZERO,
            loss: Nano::ZERO,
            acts: Acts::default(),
            timers: Timers {
                questions: u64::try_from(now_ms).unwrap_or_default(),
                ..Timers::default()
            },
            gate: Gate::new(),
            out: Vec::new(),
        }
    }
}
