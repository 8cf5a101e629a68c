//! What the teller writes down, and when it is on the disk: what was signed before anybody sees it, what was spent within a
//! second.

use std::collections::VecDeque;

use billing::channel::{
    Fact, State,
    payer::{Effect, Event, Record},
};

use super::{Stage, Teller, TellerError};

/// Ends of requests that wait for one sync of the journal.
const UNSYNCED: u32 = 256;
/// Records after which the journal is made shorter.
const LONG: usize = 20_000;

impl Teller {
    pub(super) fn perform(&mut self, effects: Vec<Effect>, now_ms: i64) -> Result<(), TellerError> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Persist(record @ Record::Spent { .. }, ticket) => {
                    self.put(&record)?;
                    let count = self.unsynced.take().map_or(0, |(_, count)| count);
                    self.unsynced = Some((ticket, count.saturating_add(1)));
                    if count >= UNSYNCED {
                        self.sync(now_ms)?;
                    }
                }
                Effect::Persist(record, ticket) => {
                    self.put(&record)?;
                    // The ticket speaks for all before it.
                    self.unsynced = Some((ticket, 0));
                    self.on_slate(&record, now_ms)?;
                    self.sync(now_ms)?;
                }
                Effect::Send(notice) => self.say(notice),
                Effect::Act(act) => self.acts.push(act),
                Effect::Alert(alert) => self.warn(alert.into()),
                Effect::Covered(_)
                | Effect::Captured(_)
                | Effect::Owed { .. }
                | Effect::Folded { .. }
                | Effect::Buried(_) => {}
            }
        }
        Ok(())
    }

    /// After a disk that failed nothing is written any more: what it has is not known.
    fn noted<T, E: Into<TellerError>>(&mut self, done: Result<T, E>) -> Result<T, TellerError> {
        self.is_broken |= done.is_err();
        done.map_err(Into::into)
    }

    fn put(&mut self, record: &Record) -> Result<(), TellerError> {
        let put = self.journal.put(record);
        self.length = self.length.saturating_add(1);
        self.noted(put)
    }

    pub(super) fn sync(&mut self, now_ms: i64) -> Result<(), TellerError> {
        let Some((ticket, _)) = self.unsynced.take() else {
            return Ok(());
        };
        let synced = self.journal.sync();
        self.noted(synced)?;
        let mut purse = self.purse(now_ms)?;
        let effects = self.payer.step(&mut purse, Event::Persisted(ticket), now_ms);
        self.perform(effects, now_ms)
    }

    pub(super) fn shorten(&mut self) -> Result<(), TellerError> {
        if self.length < LONG {
            return Ok(());
        }
        let snapshot = self.payer.snapshot();
        self.length = snapshot.len();
        let replaced = self.journal.replace(snapshot.iter());
        self.noted(replaced)
    }

    /// Where the other commands look.
    fn on_slate(&mut self, record: &Record, now_ms: i64) -> Result<(), TellerError> {
        let slate = &mut self.slate;
        match record {
            Record::Voucher(voucher) => {
                slate.voucher = slate.voucher.filter(|known| known.max > voucher.max).or(Some(*voucher));
            }
            Record::Take(take) => slate.take = Some(*take),
            Record::Fact(Fact {
                state: State::Open(on_chain),
                ..
            }) => {
                slate.deposited = slate.deposited.max(on_chain.deposited);
                slate.claimed = slate.claimed.max(on_chain.claimed);
                slate.reach(Stage::Open);
                if on_chain.close_at.is_some() {
                    slate.reach(Stage::Leaving);
                }
            }
            Record::Fact(_) if slate.stage > Stage::New => slate.reach(Stage::Over),
            _ => return Ok(()),
        }
        self.write_slate(now_ms)
    }

    pub(super) fn write_slate(&mut self, now_ms: i64) -> Result<(), TellerError> {
        self.slate.charged = self.slate.charged.max(self.payer.spent());
        self.slate_ms = now_ms;
        let written = self.kept.write_slate(&self.slate);
        self.noted(written)
    }
}
