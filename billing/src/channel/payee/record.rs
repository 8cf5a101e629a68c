//! What a payee writes down, and how it comes back from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Books, Payee, PayeePolicy, Phase, Signer};
use crate::{
    Nano,
    channel::{
        Channel, ClaimedTake, ClaimedVoucher, Fact, HoldId, Take, TakeRefusal, Tombstone, Voucher, VoucherRefusal,
    },
};

/// One line of a payee's journal. Each is absolute, so that one that is read twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    Accepted(Channel),
    Voucher(ClaimedVoucher),
    /// In all; with the hold whose capture it is.
    Spent {
        spent: Nano,
        hold: Option<(HoldId, Nano)>,
    },
    /// In all.
    Waived(Nano),
    Take(ClaimedTake),
    Fact(Fact),
    Stopped,
    Buried(Tombstone),
}

/// Why records make no payee. In order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreRefusal {
    #[error("the first record is not that of an accepted channel; the journal is another's, or its beginning is lost")]
    NoBeginning,
    #[error("the channel names another payee's key; give the key that it was accepted with")]
    NotTheSigner,
    #[error("a voucher on disk is none")]
    Voucher(#[source] VoucherRefusal),
    #[error("a take on disk is none")]
    Take(#[source] TakeRefusal),
    /// What was let go, or signed, is more than what was earned or covered: a record is missing.
    #[error("the records contradict each other: one of them is missing")]
    Inconsistent,
}

impl Payee {
    /// From a snapshot, from a journal, or from a snapshot and the journal after it. It serves again when the payer has
    /// answered where it stands; send [`super::Event::Connected`] when there is a connection.
    pub fn restore(
        records: impl IntoIterator<Item = Record>,
        signer: Arc<Signer>,
        policy: PayeePolicy,
        now_ms: i64,
    ) -> Result<Self, RestoreRefusal> {
        let mut records = records.into_iter();
        let Some(Record::Accepted(channel)) = records.next() else {
            return Err(RestoreRefusal::NoBeginning);
        };
        if signer.public() != channel.keys.payee {
            return Err(RestoreRefusal::NotTheSigner);
        }
        let mut payee = Self::blank(channel, signer, policy, now_ms);
        // A ledger forgets nothing that ended.
        payee.may_have_forgotten = policy.books == Books::Own;
        for record in records {
            payee.replay(record)?;
        }
        // When the chain last changed; what is unclaimed since before yesterday is settled.
        payee.timers.settled_ms = i64::from(payee.view.time_s()).saturating_mul(1000).min(now_ms);
        let is_whole =
            payee.waived <= payee.spent && payee.take() <= payee.spent && payee.take() <= payee.voucher_max();
        if is_whole {
            Ok(payee)
        } else {
            Err(RestoreRefusal::Inconsistent)
        }
    }

    fn replay(&mut self, record: Record) -> Result<(), RestoreRefusal> {
        match record {
            Record::Accepted(_) => {}
            Record::Voucher(claimed) => {
                if self.best.is_none_or(|best: Voucher| claimed.max > best.max()) {
                    let voucher = claimed.verify(&self.channel.keys, &self.channel.id);
                    self.best = Some(voucher.map_err(RestoreRefusal::Voucher)?);
                    self.counted = self.best;
                }
            }
            Record::Spent { spent, hold } => {
                self.spent = self.spent.max(spent);
                if let Some((id, amount)) = hold {
                    self.holds.remember(id, amount);
                }
            }
            Record::Waived(waived) => self.waived = self.waived.max(waived),
            Record::Take(claimed) => {
                let is_new = self
                    .take
                    .is_none_or(|take: Take| claimed.amount > take.amount() || claimed.is_last);
                if is_new {
                    let take = claimed.verify(&self.channel.keys, &self.channel.id);
                    let take = take.map_err(RestoreRefusal::Take)?;
                    self.take = Some(take);
                    if take.is_last() && self.phase != Phase::Gone {
                        self.phase = Phase::Signed;
                    }
                }
            }
            Record::Fact(fact) => {
                self.view.look(fact);
            }
            Record::Stopped => {
                self.is_disputed = true;
                if self.phase == Phase::Waking {
                    self.phase = Phase::Stopped;
                }
            }
            Record::Buried(_) => self.phase = Phase::Gone,
        }
        Ok(())
    }

    /// Records that make the same payee, without the history.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Accepted(self.channel)];
        records.extend(self.best.map(|voucher| Record::Voucher(voucher.claim())));
        let remembered = self.holds.remembered().map(|hold| Record::Spent {
            spent: self.spent,
            hold: Some(hold),
        });
        records.extend(remembered);
        records.push(Record::Spent {
            spent: self.spent,
            hold: None,
        });
        records.push(Record::Waived(self.waived));
        records.extend(self.take.map(|take| Record::Take(take.claim())));
        records.extend(self.view.last().map(|fact| Record::Fact(*fact)));
        if self.is_disputed {
            records.push(Record::Stopped);
        }
        if self.phase == Phase::Gone {
            records.push(Record::Buried(self.tombstone()));
        }
        records
    }
}
