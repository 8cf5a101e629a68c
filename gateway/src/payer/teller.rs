//! The teller: pays a gateway over HTTP from one channel, within what may be at risk.
//!
//! [`Payer`] says what is signed and when; this carries what it says in the headers of x402, and what the gateway's headers
//! say back to it. Over HTTP nothing is sent by itself:
//! - a voucher rides on every request until the gateway shows that it has it;
//! - the offer of a channel and the question after a crash are a *probe*: a request that costs nothing, with the access
//!   proof, whose answer says where the channel stands;
//! - what a gateway still needs for a request comes with its 402, and the request may be repeated with what this gives back.
//!
//! What was signed is in the journal beside the channel before anybody is shown it, and on the slate, which the other
//! commands read. It does no I/O but that, and reads no clock.

use std::{collections::VecDeque, sync::Arc};

use billing::{
    Nano,
    channel::{
        Access, Caps, Channel, ClaimedAccess, ClaimedVoucher, CommitRefusal, Fact, HoldId, NotTheSigner, Notice, Purse,
        Signer, Standing,
        payee::Books,
        payer::{
            Act, Alert, Coverage, Effect, Event, HoldRefusal, Payer, PayerPolicy, Phase, Record, RestoreRefusal, Trust,
        },
        x402::{self, ChannelConfig, Kind, Offer, Payload, Payment, ReceiptExtra, Required, Version, VoucherState},
    },
};

use super::shelf::{Kept, ShelfError};
use crate::frames::{Frames, FramesError};

/// An access proof is signed anew after so long: gateways take those of five minutes.
const ACCESS_S: u64 = 60;
/// Probes are repeated when they brought nothing.
const RESEND_MS: i64 = 5_000;
/// In nanoton: what a request is taken to need, until the gateway has said what it does.
const FIRST_HOLD: Nano = Nano::saturating(1_000_000);

/// What may be at risk, in nanoton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Signed and not charged, at most.
    pub(crate) exposure: Nano,
    /// Signed ahead of what requests under way may need.
    pub(crate) window: Nano,
}

/// Why nothing can be paid, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TellerError {
    #[error(transparent)]
    Journal(#[from] FramesError),
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    #[error("the channel's journal cannot be gone on with")]
    Restore(#[from] RestoreRefusal),
    #[error(transparent)]
    Signer(#[from] NotTheSigner),
    #[error("the channel does not pay for this request")]
    Hold(#[from] HoldRefusal),
    #[error(
        "the gateway wants {asked} for one request, and at most {most} may be at risk; raise the limit, or use another gateway"
    )]
    Dear { asked: Nano, most: Nano },
    #[error("what a request cost cannot be booked")]
    Commit(#[from] CommitRefusal),
}

/// Pays one gateway.
pub(crate) struct Teller {
    kept: Kept,
    payer: Payer,
    purse: Purse,
    signer: Arc<Signer>,
    journal: Frames,
    limits: Limits,
    offer: Offer,
    /// What the gateway has not shown to have.
    unseen: Option<ClaimedVoucher>,
    access: Option<ClaimedAccess>,
    /// A probe is due: with the number of the question, where it is one.
    probe: Option<Option<u64>>,
    /// What one request needed at most so far, by the gateway's word and within the limits.
    dearest: Nano,
    acts: Vec<Act>,
    alerts: Vec<Alert>,
}

impl Teller {
    /// Goes on where the channel's journal ends, or begins it.
    pub(crate) fn open(
        kept: Kept,
        signer: Arc<Signer>,
        offer: Offer,
        limits: Limits,
        now_ms: i64,
    ) -> Result<Self, TellerError> {
        let slate = kept.slate()?;
        let mut opened = Frames::open::<Record>(&kept.journal_path())?;
        if opened.records.is_empty() {
            let (id, keys, terms) = (kept.id, kept.keys, kept.terms);
            let begun = Record::Opened {
                channel: Channel { id, keys, terms },
                amount: slate.deposited,
            };
            opened.frames.add(&begun)?;
            opened.records.push(begun);
        }
        // A backup of the journal may be older than the slate: what was signed counts.
        opened.records.extend(slate.voucher.map(Record::Voucher));
        let policy = PayerPolicy {
            trust: Trust::Attested,
            exposure_cap: limits.exposure,
            window: limits.window,
            top_up_below: Nano::ZERO,
            top_up_by: Nano::ZERO,
            tally_every: Nano::MOST,
            cooperate_ms: 60_000,
            resend_ms: RESEND_MS,
            books: Books::Own,
        };
        let payer = Payer::restore(opened.records, signer.clone(), policy, now_ms)?;
        // Bounds across channels are those of who has several; a teller has one.
        let purse = Purse::new(Caps {
            exposure: limits.exposure,
            capital: Nano::MOST,
            capital_of_owner: Nano::MOST,
            open_above: Nano::ZERO,
        });
        Ok(Self {
            unseen: slate.voucher,
            kept,
            payer,
            purse,
            signer,
            journal: opened.frames,
            limits,
            offer,
            access: None,
            probe: None,
            dearest: FIRST_HOLD.min(limits.window),
            acts: Vec::new(),
            alerts: Vec::new(),
        })
    }

    pub(crate) fn phase(&self) -> Phase {
        self.payer.phase()
    }

    pub(crate) fn spent(&self) -> Nano {
        self.payer.spent()
    }

    pub(crate) fn exposure(&self) -> Nano {
        self.payer.exposure()
    }

    /// What a person should look at, since the last time.
    pub(crate) fn alerts(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.alerts)
    }

    /// What should be done on the chain, since the last time.
    pub(crate) fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// Sets aside for a request, and gives the header to send it with.
    pub(crate) fn begin(&mut self, id: HoldId, now_ms: i64) -> Result<String, TellerError> {
        self.set_aside(id, self.dearest, now_ms)?;
        self.header(now_ms)
    }

    /// The gateway wants more for it: the header to repeat it with.
    pub(crate) fn refused(&mut self, id: HoldId, required: &Required, now_ms: i64) -> Result<String, TellerError> {
        let offer = required
            .accepts
            .iter()
            .find(|offer| offer.network == self.kept.id.network);
        let asked = offer.and_then(|offer| offer.extra.required_cumulative);
        let need = asked.unwrap_or_default().saturating_sub(self.payer.spent());
        // What others have set aside may be all that it asks beyond.
        let more = need.saturating_sub(self.payer.held()).saturating_add(self.dearest);
        if more > self.limits.exposure {
            let most = self.limits.exposure;
            return Err(TellerError::Dear { asked: more, most });
        }
        self.dearest = self.dearest.max(more.min(self.limits.window));
        self.set_aside(id, more, now_ms)?;
        self.step(
            Event::Notice(Notice::Raise {
                max: asked.unwrap_or_default(),
                spent: self.payer.spent(),
            }),
            now_ms,
        )?;
        self.header(now_ms)
    }

    /// What a request cost in the end; nothing where it was refused or never answered.
    pub(crate) fn ended(&mut self, id: HoldId, charged: Nano, now_ms: i64) -> Result<(), TellerError> {
        // Its price was more than was thought of: the payee may take it, so it is booked.
        if charged > self.dearest {
            self.set_aside(id, charged, now_ms)?;
            self.dearest = charged.min(self.limits.window);
        }
        if charged.is_zero() {
            self.payer.release(id)?;
        } else {
            self.payer.capture(&mut self.purse, id, charged)?;
        }
        self.step(Event::Tick, now_ms)
    }

    /// The header of a request that costs nothing, where the gateway is to say how the channel stands.
    pub(crate) fn probe(&mut self, now_ms: i64) -> Result<Option<String>, TellerError> {
        self.step(Event::Tick, now_ms)?;
        match self.probe {
            Some(_) => self.header(now_ms).map(Some),
            None => Ok(None),
        }
    }

    /// What an answer says of the channel; of a probe it is the answer to the question.
    pub(crate) fn told(&mut self, said: &ReceiptExtra, is_probe: bool, now_ms: i64) -> Result<(), TellerError> {
        self.seen(said.voucher_state.as_ref());
        if !is_probe {
            return Ok(());
        }
        let notice = match self.probe.take() {
            Some(Some(question)) => Notice::Established {
                question,
                standing: Standing {
                    voucher: said.voucher_state.as_ref().map(|state| ClaimedVoucher {
                        account: self.kept.id.account,
                        max: state.signed_max_claimable,
                        signature: state.signature,
                    }),
                    take: None,
                    spent: said.channel_state.charged_cumulative_amount,
                    // Who probes has nothing under way with it.
                    open: Nano::ZERO,
                },
            },
            _ => Notice::Accept {},
        };
        self.step(Event::Notice(notice), now_ms)
    }

    /// The gateway does not take the channel.
    pub(crate) fn turned_away(&mut self, code: String, text: String, now_ms: i64) -> Result<(), TellerError> {
        self.probe = None;
        self.step(Event::Notice(Notice::Refuse { code, text }), now_ms)
    }

    /// What a source of the chain says.
    pub(crate) fn chain(&mut self, fact: Fact, now_ms: i64) -> Result<(), TellerError> {
        self.step(Event::Chain(fact), now_ms)
    }

    fn set_aside(&mut self, id: HoldId, amount: Nano, now_ms: i64) -> Result<(), TellerError> {
        // What is signed for it is on the disk when this returns, and in the next header: the work may go.
        let (Coverage::Sent | Coverage::When(_)) = self.payer.hold(&mut self.purse, id, amount)?;
        let effects = self.payer.effects();
        self.perform(effects, now_ms)
    }

    fn step(&mut self, event: Event, now_ms: i64) -> Result<(), TellerError> {
        let effects = self.payer.step(&mut self.purse, event, now_ms);
        self.perform(effects, now_ms)
    }

    fn perform(&mut self, effects: Vec<Effect>, now_ms: i64) -> Result<(), TellerError> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist(record, ticket) => {
                    self.journal.add(&record)?;
                    self.on_slate(&record)?;
                    effects.extend(self.payer.step(&mut self.purse, Event::Persisted(ticket), now_ms));
                }
                Effect::Send(notice) => self.say(notice),
                Effect::Act(act) => self.acts.push(act),
                Effect::Alert(alert) => self.alerts.push(alert),
                Effect::Covered(_) | Effect::Captured(_) | Effect::Owed { .. } | Effect::Buried(_) => {}
            }
        }
        Ok(())
    }

    fn say(&mut self, notice: Notice) {
        match notice {
            Notice::Voucher { voucher, .. } => self.unseen = Some(voucher),
            Notice::Offer { .. } => self.probe = Some(None),
            Notice::Reestablish { question, .. } => self.probe = Some(Some(question)),
            // HTTP has no word for them: a gateway knows what it charged, and is asked to close by `channel close`.
            Notice::Tally { .. } | Notice::Close { .. } | Notice::Established { .. } => {}
            // What a payee says.
            Notice::Accept {} | Notice::Refuse { .. } | Notice::Raise { .. } | Notice::Take { .. } => {}
        }
    }

    /// Where the other commands look.
    fn on_slate(&self, record: &Record) -> Result<(), TellerError> {
        let Record::Voucher(voucher) = record else {
            return Ok(());
        };
        let mut slate = self.kept.slate()?;
        // What was charged is in the journal with each request; here once a window is enough.
        slate.charged = slate.charged.max(self.payer.spent());
        slate.voucher = slate.voucher.filter(|known| known.max > voucher.max).or(Some(*voucher));
        Ok(self.kept.write_slate(&slate)?)
    }

    fn seen(&mut self, state: Option<&VoucherState>) {
        let has = state.map_or(Nano::ZERO, |state| state.signed_max_claimable);
        self.unseen = self.unseen.filter(|voucher| voucher.max > has);
    }

    /// `PAYMENT-SIGNATURE`, as of now.
    fn header(&mut self, now_ms: i64) -> Result<String, TellerError> {
        let now_s = u64::try_from(now_ms / 1000).unwrap_or_default();
        let is_fresh = |access: &ClaimedAccess| now_s.abs_diff(access.at_s) < ACCESS_S;
        let access = match self.access.filter(is_fresh) {
            Some(access) => access,
            None => Access::sign(&self.signer, &self.kept.keys, &self.kept.id, now_s)?,
        };
        self.access = Some(access);
        Ok(x402::encode(&Payment {
            x402_version: Version,
            accepted: self.offer.clone(),
            payload: Payload {
                kind: Kind,
                channel_config: ChannelConfig::new(&self.kept.terms, &self.kept.keys),
                voucher: self.unseen,
                access: Some(access),
            },
        }))
    }
}

#[cfg(test)]
mod tests;
