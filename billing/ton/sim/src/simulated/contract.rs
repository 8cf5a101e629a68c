//! Running a contract of the chain without a block: its methods, and a message before it is taken.

use billing::channel::Account;

use super::{Simulated, State};
use crate::machine::{At, GetError, Got, NotAccepted, Outcome, Value, method_id};
use crate::world::{External, shard_account};

impl Simulated {
    /// Runs method `name` of a contract as of the newest final block, with `stack` (the bottom first) as its arguments.
    pub fn get_method(&self, account: &Account, name: &str, stack: Vec<Value>) -> Result<Got, GetError> {
        self.get(account, method_id(name), stack)
    }

    pub(crate) fn get(&self, account: &Account, method: u32, stack: Vec<Value>) -> Result<Got, GetError> {
        let state = self.state();
        let found =
            shard_account(state.world.final_state(account)).map_err(|error| GetError::Unreadable(error.to_string()))?;
        let machine = state.machine(state.world.final_tip().prices);
        machine.get(account, &found, method, stack, state.now())
    }

    /// What an external message would do now, if it is accepted. Without `check_signatures`, every signature in it counts
    /// as good.
    pub fn rehearse(&self, message: &[u8], check_signatures: bool) -> Result<Outcome, NotAccepted> {
        self.state().rehearse(&External::read(message)?, check_signatures)
    }
}

impl State {
    pub(super) fn rehearse(&self, external: &External, check_signatures: bool) -> Result<Outcome, NotAccepted> {
        let making = self.making();
        let found =
            shard_account(self.world.state(&external.to)).map_err(|error| NotAccepted::Executor(error.to_string()))?;
        let at = At {
            lt: self.world.tip().lt.saturating_add(1),
            now: making.time,
            seed: making.seed,
        };
        let (to, cell) = (&external.to, external.cell.clone());
        if check_signatures {
            making.machine.execute(to, &found, cell, at)
        } else {
            making.machine.estimate(to, &found, cell, at)
        }
    }
}
