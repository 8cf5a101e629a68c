//! The teller: pays a gateway over HTTP from one channel, within what may be at risk.
//!
//! [`Payer`] says what is signed and when; this carries what it says in the headers of x402, and what the gateway's headers
//! say back to it. Over HTTP nothing is sent by itself:
//! - a voucher rides on requests that need it until the gateway shows that it has it;
//! - the offer of a channel, the question after a crash and a voucher ahead of need are a *probe*: a request that costs
//!   nothing, with the access proof, whose answer says where the channel stands;
//! - what a gateway still needs for a request comes with its 402, and the request may be repeated with what this gives back.
//!
//! What a request cost is what its answer says, within what was signed. Where an answer does not say it (it broke off, or
//! the app left), the gateway is asked when nothing is under way, as after a crash: [`Payer`] counts all that is signed as
//! owed until the gateway has said how much of it is.
//!
//! What was signed is in the journal beside the channel before anybody is shown it, and on the slate, which the other
//! commands read. What was spent is written at once and is on the disk within a second: a crash loses nothing of it that
//! the gateway cannot tell. It does no I/O but that, and reads no clock.

use std::{collections::BTreeMap, sync::Arc};

use billing::{
    Nano,
    channel::{
        Access, Caps, Channel, ClaimedAccess, ClaimedVoucher, Fact, HoldId, Notice, OnChain, Purse, Signer, Slack,
        Standing, State, Ticket,
        payee::Books,
        payer::{Act, Coverage, Event, Payer, PayerPolicy, Phase, Record, Trust},
        x402::{
            self, Asset, ChannelConfig, Kind, Offer, OfferExtra, Payload, Payment, ReceiptExtra, Required, Scheme,
            Version,
        },
    },
};
use billing_ton::contract;

use super::shelf::{Day, Kept, Lock, Slate, Stage};
use crate::frames::Frames;

mod books;
mod refusal;

pub(crate) use refusal::{Halt, TellerError, Warning, unready};

/// An access proof is signed anew after so long: gateways take those of five minutes.
const ACCESS_S: u64 = 60;
/// Probes are repeated when they brought nothing.
const RESEND_MS: i64 = 1_000;
/// In nanoton: what a request is taken to need, until the gateway has said what it does.
const FIRST_HOLD: Nano = Nano::saturating(1_000_000);
/// What every request needs at least.
const LEAST: Nano = Nano::saturating(1);
/// How often what was spent is put on the slate, where nothing else is.
const SLATE_MS: i64 = 10_000;
pub(crate) const DAY_MS: i64 = 86_400_000;

/// What may be signed, in nanoton.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Signed and not charged, at most.
    pub(crate) exposure: Nano,
    /// Signed ahead of what requests under way may need.
    pub(crate) window: Nano,
    /// Charged in a day of UTC, at most.
    pub(crate) day: Nano,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Charged(Nano),
    /// It was refused, or never sent.
    Free,
    /// Nobody said what it cost.
    Unknown,
}

/// How it stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) phase: Phase,
    pub(crate) deposited: Nano,
    pub(crate) claimed: Nano,
    /// Unix seconds from which the rest can be fetched, where the channel closes.
    pub(crate) close_at: Option<u32>,
    pub(crate) charged: Nano,
    pub(crate) signed: Nano,
    /// Signed and not charged.
    pub(crate) at_risk: Nano,
    /// Requests under way.
    pub(crate) open: usize,
    /// Of the day's budget.
    pub(crate) left_today: Nano,
    pub(crate) limits: Limits,
    pub(crate) halt: Option<Halt>,
    pub(crate) is_broken: bool,
    /// The gateway is to be asked.
    pub(crate) wants_probe: bool,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Set aside for it.
    amount: Nano,
    /// The most that the gateway may charge for it, by its own word, where it asked for more.
    asked: Option<Nano>,
}

/// Requests of which nobody said what they cost.
#[derive(Clone, Copy, Debug, Default)]
struct Unsaid {
    set_aside: Nano,
    /// What they may have come to, by what the gateway asked for each.
    most: Nano,
}

/// Pays one gateway.
pub(crate) struct Teller {
    kept: Kept,
    /// Nobody else signs or closes.
    _lock: Lock,
    slate: Slate,
    /// When what was spent was put on it last.
    slate_ms: i64,
    payer: Payer,
    signer: Arc<Signer>,
    journal: Frames,
    /// Records in it.
    length: usize,
    /// The last of those that are not on the disk yet, and how many these are.
    unsynced: Option<(Ticket, u32)>,
    limits: Limits,
    offer: Offer,
    fact: Option<OnChain>,
    /// The greatest that may be shown.
    voucher: Option<ClaimedVoucher>,
    /// What the gateway shows to have.
    shown: Nano,
    /// What a probe has carried.
    pushed: Nano,
    access: Option<ClaimedAccess>,
    /// A probe is due: with the number of the question, where it is one.
    probe: Option<Option<u64>>,
    /// What requests need, by the gateway's word: forgotten slowly.
    typical: Nano,
    open: BTreeMap<HoldId, Open>,
    /// A request ended of which nobody said what it cost, or the gateway counts otherwise.
    is_unsure: bool,
    /// What is set aside for those.
    unsaid: Unsaid,
    /// The same of those that the gateway is being asked about; `None` after a start, where nobody knows.
    asked_of: Option<Unsaid>,
    /// What it has charged in all without ever stating it.
    unstated: Nano,
    /// The greatest sum of all charges that the gateway has told.
    said: Nano,
    halt: Option<Halt>,
    is_broken: bool,
    acts: Vec<Act>,
    warnings: Vec<Warning>,
}

impl Teller {
    /// Goes on where the channel's journal ends, or begins it.
    pub(crate) fn open(
        kept: Kept,
        lock: Lock,
        signer: Arc<Signer>,
        limits: Limits,
        now_ms: i64,
    ) -> Result<Self, TellerError> {
        let slate = kept.slate()?;
        if slate.stage >= Stage::Leaving {
            return Err(TellerError::Leaving(kept.name));
        }
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
        let length = opened.records.len();
        let payer = Payer::restore(opened.records, signer.clone(), policy(limits), now_ms)?;
        let snapshot = payer.snapshot();
        let fact = snapshot.iter().find_map(|record| match record {
            Record::Fact(fact) => shown(fact),
            _ => None,
        });
        let voucher = snapshot.iter().find_map(|record| match record {
            Record::Voucher(voucher) => Some(*voucher),
            _ => None,
        });
        let halt = slate.halt;
        let mut teller = Self {
            offer: offer(&kept),
            kept,
            _lock: lock,
            slate,
            slate_ms: now_ms,
            payer,
            signer,
            journal: opened.frames,
            length,
            unsynced: None,
            limits,
            fact,
            voucher,
            shown: Nano::ZERO,
            pushed: Nano::ZERO,
            access: None,
            probe: None,
            typical: FIRST_HOLD.min(limits.window),
            open: BTreeMap::new(),
            is_unsure: false,
            unsaid: Unsaid::default(),
            asked_of: None,
            unstated: Nano::ZERO,
            said: Nano::ZERO,
            halt,
            is_broken: false,
            acts: Vec::new(),
            warnings: Vec::new(),
        };
        teller.shorten()?;
        Ok(teller)
    }

    pub(crate) fn picture(&self) -> Picture {
        let on_chain = self.fact.unwrap_or(OnChain {
            close_at: None,
            deposited: self.slate.deposited,
            claimed: self.slate.claimed,
        });
        Picture {
            phase: self.payer.phase(),
            deposited: on_chain.deposited,
            claimed: on_chain.claimed,
            close_at: on_chain.close_at,
            charged: self.payer.spent(),
            signed: self.payer.voucher_max(),
            at_risk: self.payer.exposure(),
            open: self.open.len(),
            left_today: self.left_today(),
            limits: self.limits,
            halt: self.halt,
            is_broken: self.is_broken,
            wants_probe: self.wants_probe(),
        }
    }

    /// What a person should look at, since the last time.
    pub(crate) fn warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// What should be done on the chain, since the last time.
    pub(crate) fn acts(&mut self) -> Vec<Act> {
        std::mem::take(&mut self.acts)
    }

    /// Sets aside for a request, and gives the header to send it with. Where a voucher covers it already, what is signed
    /// ahead for the next ones waits for [`catch_up`](Self::catch_up).
    pub(crate) fn begin(&mut self, id: HoldId, now_ms: i64) -> Result<String, TellerError> {
        self.may_pay()?;
        self.is_open()?;
        // What nobody said the cost of can be asked only when nothing is under way. That moment has to come.
        let lost = self.unsaid.set_aside;
        if self.is_unsure && lost.get() > self.limits.exposure.get() / 2 {
            return Err(TellerError::Asking { lost });
        }
        // What is left is enough for a request that is cheaper than the last ones; the gateway says whether this one is.
        let held = self.payer.held();
        let deposited = self.deposited().saturating_sub(self.payer.spent());
        let left = self.room(now_ms)?.min(deposited).saturating_sub(held);
        let amount = self.typical.min(left);
        if amount.is_zero() {
            return Err(self.too_much(LEAST, held));
        }
        self.set_aside(id, amount, held, now_ms)?;
        self.open.insert(id, Open { amount, asked: None });
        self.header(now_ms, false)
    }

    /// The gateway wants more for it: the header to repeat it with.
    pub(crate) fn refused(&mut self, id: HoldId, required: &Required, now_ms: i64) -> Result<String, TellerError> {
        self.may_pay()?;
        self.is_open()?;
        let is_meant = |offer: &&Offer| offer.network == self.kept.id.network && offer.pay_to == self.kept.terms.payee;
        let offer = required.accepts.iter().find(is_meant).ok_or(TellerError::Unheard)?;
        let asked = offer.extra.required_cumulative.ok_or(TellerError::Unheard)?;
        let spent = self.payer.spent();
        let charged = offer.extra.channel_state;
        let charged = charged.map_or(spent, |state| state.charged_cumulative_amount);
        self.shown = offer
            .extra
            .voucher_state
            .map_or(Nano::ZERO, |state| state.signed_max_claimable);
        // What others have set aside may be all that it asks beyond.
        let own = self.open.get(&id).map_or(Nano::ZERO, |open| open.amount);
        let others = self.payer.held().saturating_sub(own);
        let need = asked.saturating_sub(spent);
        let amount = need.saturating_sub(others).max(own);
        self.set_aside(id, amount, others, now_ms)?;
        self.typical = self.typical.max(amount).min(self.limits.window);
        let asked_for_it = Some(asked.saturating_sub(charged));
        let open = Open {
            amount,
            asked: asked_for_it,
        };
        self.open.insert(id, open);
        let max = asked;
        self.step(Event::Notice(Notice::Raise { max, spent }), now_ms)?;
        if self.payer.voucher_max() < asked {
            return Err(self.too_much(need, others));
        }
        self.header(now_ms, true)
    }

    /// What a request cost in the end.
    pub(crate) fn ended(&mut self, id: HoldId, ended: Ended, now_ms: i64) -> Result<(), TellerError> {
        let Some(Open { asked, amount }) = self.open.remove(&id) else {
            return Ok(());
        };
        match ended {
            Ended::Free => {
                self.payer.release(id)?;
            }
            Ended::Unknown => {
                self.is_unsure = true;
                let Unsaid { set_aside, most } = self.unsaid;
                let its_most = asked.unwrap_or(self.limits.window).max(amount);
                self.unsaid = Unsaid {
                    set_aside: set_aside.saturating_add(amount),
                    most: most.saturating_add(its_most),
                };
            }
            Ended::Charged(charged) => self.charged(id, charged, asked, now_ms)?,
        }
        // It states what each costs, and counts otherwise: that it is asked about too.
        self.is_unsure |= self.open.is_empty() && self.said > self.payer.spent();
        self.step(Event::Tick, now_ms)
    }

    /// The header of a request that costs nothing.
    pub(crate) fn pass(&mut self, now_ms: i64) -> Result<String, TellerError> {
        self.may_pay()?;
        self.header(now_ms, false)
    }

    /// The header of a request that costs nothing, where the gateway is to say how the channel stands, or to be shown a
    /// voucher.
    pub(crate) fn probe(&mut self, now_ms: i64) -> Result<Option<String>, TellerError> {
        self.may_write()?;
        if self.is_unsure && self.open.is_empty() {
            self.sleep(now_ms)?;
        }
        self.step(Event::Tick, now_ms)?;
        if !self.wants_probe() {
            return Ok(None);
        }
        self.pushed = self.payer.voucher_max();
        self.header(now_ms, true).map(Some)
    }

    /// What an answer says of the channel; of a probe it is the answer to the question.
    pub(crate) fn told(&mut self, said: &ReceiptExtra, is_probe: bool, now_ms: i64) -> Result<(), TellerError> {
        self.may_write()?;
        let state = &said.channel_state;
        if state.channel_id != self.kept.id.account {
            self.warn(Warning::OtherChannel);
            return Ok(());
        }
        let has = said
            .voucher_state
            .map_or(Nano::ZERO, |voucher| voucher.signed_max_claimable);
        // Answers overtake each other; that of a probe with nothing beside it is the newest there is.
        let is_newest = is_probe && self.open.is_empty();
        self.shown = if is_newest { has } else { self.shown.max(has) };
        let says = state.charged_cumulative_amount;
        if is_newest && says < self.said {
            let said = self.said;
            self.warn(Warning::Regressed { says, said });
        }
        self.said = if is_newest { says } else { self.said.max(says) };
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
                    spent: says,
                    // What ran for us before may run still.
                    open: state.held_amount,
                },
            },
            Some(None) => Notice::Accept {},
            None => return Ok(()),
        };
        let (was, before) = (self.payer.phase(), self.payer.spent());
        self.step(Event::Notice(notice), now_ms)?;
        if was == Phase::Waking && self.payer.phase() != Phase::Waking {
            self.explain(self.payer.spent().saturating_sub(before), now_ms)?;
        }
        Ok(())
    }

    /// So much was charged that no answer stated.
    fn explain(&mut self, more: Nano, now_ms: i64) -> Result<(), TellerError> {
        // Of what was before the start nobody knows what was set aside.
        let Some(Unsaid { set_aside, most }) = self.asked_of.take() else {
            return Ok(());
        };
        if more > set_aside {
            self.warn(Warning::Unstated { more, set_aside });
        }
        self.unstated = self.unstated.saturating_add(more.saturating_sub(most));
        let (more, most) = (self.unstated, self.limits.window);
        if more > most {
            self.halt(Halt::Unstated { more }, now_ms)?;
        }
        Ok(())
    }

    /// Nothing is paid from this channel any more, after a restart neither.
    fn halt(&mut self, halt: Halt, now_ms: i64) -> Result<(), TellerError> {
        self.warn(halt.into());
        if self.halt.is_none() {
            self.halt = Some(halt);
            self.slate.halt = Some(halt);
            self.write_slate(now_ms)?;
        }
        Ok(())
    }

    /// The gateway does not take the channel.
    pub(crate) fn turned_away(&mut self, code: String, text: String, now_ms: i64) -> Result<(), TellerError> {
        self.may_write()?;
        self.probe = None;
        self.step(Event::Notice(Notice::Refuse { code, text }), now_ms)
    }

    /// What a source of the chain says.
    pub(crate) fn chain(&mut self, fact: Fact, now_ms: i64) -> Result<(), TellerError> {
        self.may_write()?;
        self.step(Event::Chain(fact), now_ms)
    }

    /// What is due since the last call: signs ahead, and writes down.
    pub(crate) fn catch_up(&mut self, now_ms: i64) -> Result<(), TellerError> {
        self.may_write()?;
        let effects = self.payer.effects();
        self.perform(effects, now_ms)
    }

    /// All of it is on the disk, and on the slate, when this returns.
    pub(crate) fn flush(&mut self, now_ms: i64) -> Result<(), TellerError> {
        self.may_write()?;
        self.sync(now_ms)?;
        if self.payer.spent() > self.slate.charged {
            self.write_slate(now_ms)?;
        }
        self.shorten()
    }

    /// The same, where it is time.
    pub(crate) fn tick(&mut self, now_ms: i64) -> Result<(), TellerError> {
        self.may_write()?;
        self.step(Event::Tick, now_ms)?;
        self.sync(now_ms)?;
        let is_stale = now_ms.saturating_sub(self.slate_ms) >= SLATE_MS && self.payer.spent() > self.slate.charged;
        if is_stale {
            self.flush(now_ms)?;
        }
        Ok(())
    }

    fn charged(&mut self, id: HoldId, charged: Nano, asked: Option<Nano>, now_ms: i64) -> Result<(), TellerError> {
        let signed = self.payer.exposure();
        let halt = match asked {
            _ if charged > signed => Some(Halt::Unsigned { charged }),
            Some(most) if charged > most => Some(Halt::Overcharged { charged, most }),
            _ => None,
        };
        if let Some(halt) = halt {
            self.halt(halt, now_ms)?;
        }
        // It can take what was signed, and no more.
        let charged = charged.min(signed);
        // What one needed is a guess at what the next does, and an old one soon forgotten.
        let faded = Nano::saturating(self.typical.get() / 8 * 7);
        self.typical = faded.max(charged).max(FIRST_HOLD).min(self.limits.window);
        if charged.is_zero() {
            self.payer.release(id)?;
            return Ok(());
        }
        self.payer.stretch(id, charged)?;
        let mut purse = self.purse(now_ms)?;
        self.payer.capture(&mut purse, id, charged)?;
        Ok(())
    }

    /// As after a crash: all that is signed counts as owed until the gateway has said how much of it is.
    fn sleep(&mut self, now_ms: i64) -> Result<(), TellerError> {
        self.catch_up(now_ms)?;
        self.sync(now_ms)?;
        self.payer = Payer::restore(self.payer.snapshot(), self.signer.clone(), policy(self.limits), now_ms)?;
        self.is_unsure = false;
        let unsaid = std::mem::take(&mut self.unsaid);
        self.asked_of = Some(unsaid);
        self.probe = None;
        Ok(())
    }

    fn wants_probe(&self) -> bool {
        let ahead = self.shown.max(self.pushed);
        let is_open = self.payer.phase() == Phase::Open && self.halt.is_none();
        let is_ahead = is_open && self.voucher.is_some_and(|voucher| voucher.max > ahead);
        self.probe.is_some() || is_ahead || (self.is_unsure && self.open.is_empty())
    }

    fn may_write(&self) -> Result<(), TellerError> {
        if self.is_broken {
            Err(TellerError::Broken)
        } else {
            Ok(())
        }
    }

    fn may_pay(&self) -> Result<(), TellerError> {
        self.may_write()?;
        match self.halt {
            Some(halt) => Err(TellerError::Halted(halt)),
            None => Ok(()),
        }
    }

    fn left_today(&self) -> Nano {
        let spent = self.payer.spent();
        let from = self.slate.day.map_or(spent, |day| day.from);
        from.saturating_add(self.limits.day).saturating_sub(spent)
    }

    /// The most that may be signed and not charged now.
    fn room(&mut self, now_ms: i64) -> Result<Nano, TellerError> {
        let number = now_ms.div_euclid(DAY_MS);
        // A clock that was set back begins no day again; one that was years ahead once does not stop us for years.
        let is_another = |day: Day| number > day.number || day.number.saturating_sub(number) > 1;
        if self.slate.day.is_none_or(is_another) {
            let from = self.payer.spent();
            self.slate.day = Some(Day { number, from });
            self.write_slate(now_ms)?;
        }
        Ok(match self.halt {
            Some(_) => Nano::ZERO,
            None => self.limits.exposure.min(self.left_today()),
        })
    }

    /// Bounds across channels are those of who has several; a teller has one.
    fn purse(&mut self, now_ms: i64) -> Result<Purse, TellerError> {
        Ok(Purse::new(Caps {
            exposure: self.room(now_ms)?,
            capital: Nano::MOST,
            capital_of_owner: Nano::MOST,
            open_above: Nano::ZERO,
        }))
    }

    fn set_aside(&mut self, id: HoldId, amount: Nano, others: Nano, now_ms: i64) -> Result<(), TellerError> {
        let mut purse = self.purse(now_ms)?;
        let held = self.payer.hold(&mut purse, id, amount);
        match held.map_err(|refusal| self.refusal(refusal, amount, others))? {
            Coverage::Sent => Ok(()),
            // What is signed for it is on the disk when this returns, and in the next header: the work may go.
            Coverage::When(_) => self.catch_up(now_ms),
        }
    }

    fn deposited(&self) -> Nano {
        self.fact.map_or(Nano::ZERO, |fact| fact.deposited)
    }

    fn step(&mut self, event: Event, now_ms: i64) -> Result<(), TellerError> {
        if let Event::Chain(fact) = &event {
            self.fact = shown(fact).or(self.fact);
        }
        let mut purse = self.purse(now_ms)?;
        let effects = self.payer.step(&mut purse, event, now_ms);
        self.perform(effects, now_ms)
    }

    fn say(&mut self, notice: Notice) {
        match notice {
            Notice::Voucher { voucher, .. } => self.voucher = Some(voucher),
            Notice::Offer { .. } => self.probe = Some(None),
            Notice::Reestablish { question, .. } => self.probe = Some(Some(question)),
            // HTTP has no word for them: a gateway knows what it charged, and is asked to close by `channel close`.
            Notice::Tally { .. } | Notice::Close { .. } | Notice::Established { .. } => {}
            // What a payee says.
            Notice::Accept {} | Notice::Refuse { .. } | Notice::Raise { .. } | Notice::Take { .. } => {}
        }
    }

    fn warn(&mut self, warning: Warning) {
        // Who lies often is told of once a look.
        if !self.warnings.contains(&warning) && self.warnings.len() < 64 {
            self.warnings.push(warning);
        }
    }

    /// `PAYMENT-SIGNATURE`, as of now. The voucher is in it where it must be, or what the gateway has does not cover what
    /// is under way: one that rides on every request would have the gateway look at each.
    fn header(&mut self, now_ms: i64, must_show: bool) -> Result<String, TellerError> {
        let now_s = u64::try_from(now_ms / 1000).unwrap_or_default();
        let is_fresh = |access: &ClaimedAccess| now_s.abs_diff(access.at_s) < ACCESS_S;
        let access = match self.access.filter(is_fresh) {
            Some(access) => access,
            None => Access::sign(&self.signer, &self.kept.keys, &self.kept.id, now_s)?,
        };
        self.access = Some(access);
        let need = self.payer.spent().saturating_add(self.payer.held());
        let is_shown = must_show || need > self.shown;
        Ok(x402::encode(&Payment {
            x402_version: Version,
            accepted: self.offer.clone(),
            payload: Payload {
                kind: Kind,
                channel_config: ChannelConfig::new(&self.kept.terms, &self.kept.keys),
                voucher: self.voucher.filter(|voucher| is_shown && voucher.max > self.shown),
                access: Some(access),
            },
        }))
    }
}

const fn policy(limits: Limits) -> PayerPolicy {
    PayerPolicy {
        trust: Trust::Attested,
        exposure_cap: limits.exposure,
        window: limits.window,
        top_up_below: Nano::ZERO,
        top_up_by: Nano::ZERO,
        tally_every: Nano::MOST,
        cooperate_ms: 60_000,
        resend_ms: RESEND_MS,
        tolerance: Slack::NONE,
        books: Books::Own,
    }
}

/// What the payee asked for when the channel was opened: its terms.
pub(crate) fn offer(kept: &Kept) -> Offer {
    let terms = &kept.terms;
    Offer {
        scheme: Scheme,
        network: kept.id.network,
        asset: Asset,
        amount: Nano::ZERO,
        pay_to: terms.payee,
        max_timeout_seconds: 60,
        extra: OfferExtra {
            code_hash: contract::CODE_HASH,
            receiver_authorizer: kept.keys.payee,
            withdraw_delay: terms.close_delay_s,
            fee_bps: terms.fee_bps,
            fee_dest: terms.fee_dest,
            channel_state: None,
            voucher_state: None,
            required_cumulative: None,
        },
    }
}

const fn shown(fact: &Fact) -> Option<OnChain> {
    match fact.state {
        State::Open(on_chain) => Some(on_chain),
        State::Absent { .. } => None,
    }
}

#[cfg(test)]
mod tests;
