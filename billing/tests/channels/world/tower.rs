//! The watchtower's process. It is restored from any older state of its disk.

use billing::channel::{
    Fact, Watchtower,
    payer::Act,
    watchtower::{Effect, Event},
};

use super::{RESEND, Step, World, payer::beginning};
use crate::chain::Sender;

impl World {
    fn tower_event(&mut self, event: Event) {
        let now_ms = self.now_ms + self.tower.skew_ms;
        if let Some(machine) = &mut self.tower.machine {
            self.tower.todo.extend(machine.step(event, now_ms));
        }
    }

    pub(crate) fn tick_tower(&mut self) {
        self.tower_event(Event::Tick);
    }

    pub(crate) fn show_tower(&mut self, fact: Fact) {
        let channel = self.channel.id;
        self.tower_event(Event::Chain { channel, fact });
    }

    pub(crate) fn deliver_blob(&mut self) {
        if self.to_tower.is_empty() {
            return;
        }
        let at = self.random.place(self.to_tower.len());
        let is_kept = !self.is_calm && self.random.is_one_in(10);
        let blob = if is_kept {
            self.to_tower[at]
        } else {
            self.to_tower.swap_remove(at)
        };
        if self.random.is_one_in(10) && !self.is_calm {
            return;
        }
        let (channel, keys) = (self.channel.id, self.channel.keys);
        self.tower_event(Event::Blob { channel, keys, blob });
    }

    pub(crate) fn do_tower(&mut self) {
        let Some(effect) = self.tower.todo.pop_front() else {
            return;
        };
        let text = self.trace.is_some().then(|| format!("tower does {effect:?}"));
        if let Some(text) = text {
            self.note(|| text);
        }
        match effect {
            Effect::Persist(record, ticket) => self.tower.disk.write(record, Some(ticket)),
            Effect::Kept { take, .. } => self.tower.kept = self.tower.kept.max(take),
            Effect::Settle(settlement) => {
                self.stats.tower_settled += 1;
                self.chain.send(Sender::Watchtower, Act::Settle(settlement));
            }
            Effect::Follow(_) | Effect::Alert(_) | Effect::Forget(_) => {}
        }
    }

    pub(crate) fn sync_tower(&mut self) {
        let (_, ticket) = self.tower.disk.sync();
        if let Some(ticket) = ticket {
            self.tower_event(Event::Persisted(ticket));
        }
    }

    pub(crate) fn crash_tower(&mut self) -> Step {
        self.stats.tower_crashes += 1;
        self.tower.todo.clear();
        self.stats.torn += u64::from(self.tower.disk.crash(&mut self.random));
        let is_set_back = self.random.is_one_in(3);
        if is_set_back {
            // From a backup.
            let copy = beginning(&self.tower.disk.copy(), &mut self.random);
            self.tower.disk.restore(copy);
        }
        let records = self.tower.disk.read();
        let machine = Watchtower::restore(records, RESEND);
        let best = machine.best(&self.channel.id);
        let best = best.map_or_else(Default::default, |best| best.take().amount());
        let kept = self.tower.kept;
        // What is over is forgotten.
        if best < kept && !is_set_back && self.chain.open.is_some() {
            return Err(format!(
                "the watchtower said that it keeps {kept}, and its disk has {best}"
            ));
        }
        self.tower.kept = best;
        self.tower.machine = Some(machine);
        Ok(())
    }
}
