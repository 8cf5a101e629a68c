//! What a payer writes down, and how it comes back from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Payer, PayerPolicy, Phase, Signer};
use crate::{
    Nano,
    channel::{
        Channel, ClaimedTake, ClaimedVoucher, Fact, HoldId, Take, TakeRefusal, Tombstone, Voucher, VoucherRefusal,
    },
};

/// One line of a payer's journal. Each is absolute, so that one that is read twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    Opened {
        channel: Channel,
        amount: Nano,
    },
    Voucher(ClaimedVoucher),
    /// In all; with the hold whose capture it is.
    Spent {
        spent: Nano,
        hold: Option<(HoldId, Nano)>,
    },
    Take(ClaimedTake),
    Fact(Fact),
    /// `amount` is paid in, so that `to` is deposited in all.
    TopUp {
        amount: Nano,
        to: Nano,
    },
    TopUpFailed,
    /// In all.
    Loss(Nano),
    /// Of it, what is in `spent`. In all.
    Tolerated(Nano),
    Leaving,
    Quarantined,
    Buried(Tombstone),
}

/// Why records make no payer. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreRefusal {
    #[error("the first record is not that of an opened channel; the journal is another's, or its beginning is lost")]
    NoBeginning,
    #[error("the channel names another payer's key; give the key that it was opened with")]
    NotTheSigner,
    #[error("a voucher on disk is none")]
    Voucher(#[source] VoucherRefusal),
    #[error("a take on disk is none")]
    Take(#[source] TakeRefusal),
}

impl Payer {
    /// From a snapshot, from a journal, or from a snapshot and the journal after it.
    ///
    /// All that was signed and not captured counts as under way, until the payee has said what it delivered. An opening
    /// or a top-up that was under way still is: tell it [`super::Event::Failed`] if it is known that it failed. What
    /// has matured is told again.
    pub fn restore(
        records: impl IntoIterator<Item = Record>,
        signer: Arc<Signer>,
        policy: PayerPolicy,
        now_ms: i64,
    ) -> Result<Self, RestoreRefusal> {
        let mut records = records.into_iter();
        let Some(Record::Opened { channel, amount }) = records.next() else {
            return Err(RestoreRefusal::NoBeginning);
        };
        if signer.public() != channel.keys.payer {
            return Err(RestoreRefusal::NotTheSigner);
        }
        let mut payer = Self::blank(channel, signer, policy, now_ms);
        payer.opening = amount;
        for record in records {
            payer.replay(record, now_ms)?;
        }
        payer.acts.seen(&payer.view);
        payer.doubt = payer.exposure();
        payer.sent = payer.voucher_max();
        // Nothing was signed: there is nothing to ask the payee about.
        if payer.phase == Phase::Waking && payer.voucher.is_none() && payer.spent.is_zero() {
            payer.phase = Phase::Opening;
        }
        Ok(payer)
    }

    fn replay(&mut self, record: Record, now_ms: i64) -> Result<(), RestoreRefusal> {
        match record {
            Record::Opened { .. } => {}
            Record::Voucher(claimed) => {
                if self.voucher.is_none_or(|best: Voucher| claimed.max > best.max()) {
                    let voucher = claimed.verify(&self.channel.keys, &self.channel.id);
                    self.voucher = Some(voucher.map_err(RestoreRefusal::Voucher)?);
                }
            }
            Record::Spent { spent, hold } => {
                self.spent = self.spent.max(spent);
                if let Some((id, amount)) = hold {
                    self.holds.remember(id, amount);
                }
            }
            Record::Take(claimed) => {
                if self
                    .take
                    .is_none_or(|take: Take| claimed.amount > take.amount() || claimed.is_last)
                {
                    let take = claimed.verify(&self.channel.keys, &self.channel.id);
                    let take = take.map_err(RestoreRefusal::Take)?;
                    self.take = Some(take);
                    if take.is_last() {
                        self.reach(Phase::Signed);
                    }
                }
            }
            Record::Fact(fact) => {
                self.view.look(fact);
            }
            Record::TopUp { amount, to } => self.acts.restore_top_up(amount, to),
            Record::TopUpFailed => self.acts.forget_top_up(),
            Record::Loss(loss) => self.loss = self.loss.max(loss),
            Record::Tolerated(tolerated) => self.tolerated = self.tolerated.max(tolerated),
            Record::Leaving => {
                self.timers.leaving_ms = Some(now_ms);
                self.reach(Phase::Leaving);
            }
            Record::Quarantined => self.reach(Phase::Quarantined),
            Record::Buried(_) => self.phase = Phase::Gone,
        }
        Ok(())
    }

    /// Later phases are not left for earlier ones.
    fn reach(&mut self, phase: Phase) {
        let rank = |phase: Phase| match phase {
            Phase::Opening | Phase::Offered | Phase::Waking | Phase::Open => 0,
            Phase::Leaving => 1,
            Phase::Signed => 2,
            Phase::Quarantined => 3,
            Phase::Gone => 4,
        };
        if rank(phase) > rank(self.phase) {
            self.phase = phase;
        }
    }

    /// Records that make the same payer, without the history.
    pub fn snapshot(&self) -> Vec<Record> {
        let (channel, amount) = (self.channel, self.opening);
        let mut records = vec![Record::Opened { channel, amount }];
        records.extend(self.voucher.map(|voucher| Record::Voucher(voucher.claim())));
        let spent = self.spent;
        let remembered = self.holds.remembered().map(|hold| Record::Spent {
            spent,
            hold: Some(hold),
        });
        records.extend(remembered);
        records.push(Record::Spent { spent, hold: None });
        records.extend(self.take.map(|take| Record::Take(take.claim())));
        records.extend(self.view.last().map(|fact| Record::Fact(*fact)));
        records.extend(self.acts.top_up().map(|(amount, to)| Record::TopUp { amount, to }));
        records.push(Record::Loss(self.loss));
        records.push(Record::Tolerated(self.tolerated));
        match self.phase {
            Phase::Leaving => records.push(Record::Leaving),
            Phase::Quarantined => records.push(Record::Quarantined),
            Phase::Gone => records.push(Record::Buried(self.tombstone())),
            Phase::Opening | Phase::Offered | Phase::Waking | Phase::Open | Phase::Signed => {}
        }
        records
    }
}
