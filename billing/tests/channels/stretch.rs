//! Work that costs more than was thought: a payer that signs ahead of work held a guess, and makes it more when more came.

use billing::channel::payer::Trust;

use crate::{
    nodes::nano,
    work::id_of,
    world::{Nature, Step, World},
};

impl World {
    /// Some of it may come to twice what the payer holds. The payee knows, and waits for a voucher that covers it.
    pub(crate) fn begin_guessed_work(&mut self) -> Step {
        let number = self.next_work;
        self.begin_work()?;
        // A gateway holds its worker's ceiling. A payee with a voucher that the payer does not know of serves more than
        // that may hold.
        let is_elsewhere = matches!(self.nature, Nature::Beside | Nature::LyingPayer | Nature::Rewound);
        if is_elsewhere || self.payer.policy.trust != Trust::Attested || !self.random.is_one_in(3) {
            return Ok(());
        }
        let Some(work) = self.works.get(&number) else {
            return Ok(());
        };
        let most = 2 * work.ceiling.get();
        let cost = 1 + self.random.below(most);
        self.set(number, |work| {
            work.ceiling = nano(most);
            work.cost = cost;
        });
        Ok(())
    }

    /// A part of an answer came. What the payee served was covered by what was signed, and so is what is held for it.
    pub(crate) fn receive(&mut self, number: u64, part: u64) -> Step {
        self.set(number, |work| work.received += part);
        if self.nature == Nature::Beside {
            return Ok(());
        }
        let (Some(work), Some(machine)) = (self.works.get(&number), &mut self.payer.machine) else {
            return Ok(());
        };
        let (received, held) = (nano(work.received), machine.held());
        let stretched = machine.stretch(id_of(number), received);
        if machine.held() > held {
            self.stats.stretched += 1;
            self.note(|| format!("payer makes {received} of what it holds for {number}"));
        }
        stretched.map_err(|refusal| format!("no more could be held for {number}: {refusal}"))
    }
}
