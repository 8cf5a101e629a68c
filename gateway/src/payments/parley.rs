//! What a payer says of its channel beside its requests: the notices of the protocol, one at a time, and our answers.
//!
//! Who speaks shows an access proof of the channel that its notice is about. A channel that has ended is spoken of too: a
//! payer that lost the answer may ask for the last take again. What is signed is durable before it is answered.

use billing::channel::{ChannelId, ClaimedVoucher, Envelope, Keys, Notice, Standing, Terms};
use billing_store::ledger::{Side, Stage, StoredChannel};
use http::HeaderValue;

use super::{ACTOR, PaymentError, Payments, Shared, by};
use crate::wall_clock::unix_seconds;

/// Who closes a channel, in the audit log.
const PAYER: &str = "payer";

impl Payments {
    /// Answers a notice. Waits for the chain where the channel is not known yet, and for the database.
    pub(crate) async fn hear(&self, header: &HeaderValue, notice: &[u8]) -> Result<Vec<Envelope>, PaymentError> {
        let shared = self.0.as_ref().ok_or(PaymentError::Off)?;
        shared.parley(header, notice).await
    }
}

impl Shared {
    async fn parley(&self, header: &HeaderValue, notice: &[u8]) -> Result<Vec<Envelope>, PaymentError> {
        let envelope = Envelope::read(notice).map_err(|_| PaymentError::Notice("it cannot be read"))?;
        let (payment, terms, keys) = self.read_header(header)?;
        let shown = self.verify(&payment, &terms, &keys, unix_seconds())?;
        let id = shown.id;
        if envelope.channel() != id {
            return Err(PaymentError::Notice("it is for another channel than the payment"));
        }
        if shown.access.is_none() {
            return Err(PaymentError::Unproved);
        }
        let mut stored = self.stored(&id, &terms, &keys).await?;
        if let Some(voucher) = shown.voucher {
            stored = self.raise_to(stored, &voucher.claim()).await?;
        }
        let answer = match envelope.notice {
            Notice::Offer { .. } if stored.stage == Stage::Open => Some(Notice::Accept {}),
            Notice::Offer { .. } => return Err(PaymentError::Ended),
            Notice::Voucher { voucher, .. } => {
                stored = self.raise_to(stored, &voucher).await?;
                stored.take.map(|take| Notice::Take { take })
            }
            Notice::Tally { .. } => stored.take.map(|take| Notice::Take { take }),
            Notice::Reestablish { question, standing } => {
                if let Some(voucher) = &standing.voucher {
                    stored = self.raise_to(stored, voucher).await?;
                }
                Some(Notice::Established {
                    question,
                    standing: self.standing(&stored),
                })
            }
            Notice::Close { .. } => {
                tracing::info!(channel = %id.account, "the payer asks to close a channel together");
                let closed = self.close(id.account, PAYER).await?;
                // Closed without one by the chain: there is nothing to say.
                let last = closed.stored.take.filter(|take| take.is_last);
                let take = last.ok_or(PaymentError::Ended)?;
                Some(Notice::Take { take })
            }
            Notice::Accept {}
            | Notice::Refuse { .. }
            | Notice::Raise { .. }
            | Notice::Take { .. }
            | Notice::Established { .. } => return Err(PaymentError::Notice("a payee says it, and we are the payee")),
        };
        Ok(answer.map(|notice| Envelope::new(&id, notice)).into_iter().collect())
    }

    /// The channel as the database has it, whatever became of it, or else as the chain shows it.
    async fn stored(&self, id: &ChannelId, terms: &Terms, keys: &Keys) -> Result<StoredChannel, PaymentError> {
        let stored = match self.store.channel(id).await? {
            Some(stored) => stored,
            None => {
                self.offered.check(terms, keys)?;
                self.find(id, terms, keys).await?;
                self.store.channel(id).await?.ok_or(PaymentError::NotFound)?
            }
        };
        if stored.side != Side::Payee || (&stored.terms, &stored.keys) != (terms, keys) {
            return Err(PaymentError::Others);
        }
        Ok(stored)
    }

    /// A voucher of a channel that has ended changes nothing.
    async fn raise_to(&self, stored: StoredChannel, voucher: &ClaimedVoucher) -> Result<StoredChannel, PaymentError> {
        let voucher = voucher.verify(&stored.keys, &stored.id)?;
        if stored.stage == Stage::Closed || voucher.max() <= stored.voucher_max() {
            return Ok(stored);
        }
        let raised = self.store.raise(&voucher, by(ACTOR)).await?;
        if let Some(channel) = self.known.find(&stored.id.account) {
            self.take_in(&channel, &raised.channel);
        }
        Ok(raised.channel)
    }

    fn standing(&self, stored: &StoredChannel) -> Standing {
        let known = self.known.find(&stored.id.account);
        Standing {
            voucher: stored.voucher,
            take: stored.take,
            spent: stored.spent,
            open: known.map(|channel| channel.state().0.held_amount).unwrap_or_default(),
        }
    }
}
