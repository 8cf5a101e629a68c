//! What can be asked of the chain beyond [`billing_ton::Chain`], for its fronts.

use billing::channel::Account;
use billing_ton::chain::ChainError;
use tycho_types::cell::Cell;

use super::Simulated;
use crate::world::{BlockInfo, Kept};
#[cfg(feature = "lite-server")]
use crate::world::{Tip, World};

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Last,
    Number(u32),
    /// The first with this logical time or a later one.
    Lt(u64),
    /// The last at these Unix seconds or before.
    Time(u32),
}

impl Simulated {
    pub(crate) fn block(&self, which: Which) -> Result<Option<BlockInfo>, ChainError> {
        self.ask(|state| {
            let world = &state.world;
            let block = match which {
                Which::Last => world.block(world.final_tip().head.seqno),
                Which::Number(seqno) => world.block(seqno),
                Which::Lt(lt) => world.block_at_lt(lt),
                Which::Time(time) => world.block_at_time(time),
            };
            Ok(block.cloned())
        })
    }

    /// Transactions of an account, oldest first.
    pub(crate) fn history(&self, account: &Account) -> Result<Vec<Kept>, ChainError> {
        self.ask(|state| Ok(state.world.final_transactions(account).to_vec()))
    }

    /// The root of the configuration's dictionary.
    #[cfg(feature = "http")]
    pub(crate) fn parameters(&self) -> Result<Option<Cell>, ChainError> {
        self.ask(|state| Ok(state.machine(state.world.final_tip().prices).parameters()))
    }

    /// The newest final block with all that it left: as `known` has it, where that is still the newest; else as `make` does.
    #[cfg(feature = "lite-server")]
    pub(crate) fn newest<T>(
        &self,
        known: impl FnOnce(u32) -> Option<T>,
        make: impl FnOnce(&Newest<'_>) -> T,
    ) -> Result<T, ChainError> {
        self.ask(|state| {
            let tip = state.world.final_tip();
            if let Some(known) = known(tip.head.seqno) {
                return Ok(known);
            }
            Ok(make(&Newest {
                tip,
                before: tip.head.seqno.checked_sub(1).and_then(|seqno| state.world.block(seqno)),
                parameters: state.machine(tip.prices).parameters(),
                world: &state.world,
            }))
        })
    }
}

/// The newest final block, for who shows it as TON writes it.
#[cfg(feature = "lite-server")]
pub(crate) struct Newest<'a> {
    pub(crate) tip: &'a Tip,
    pub(crate) before: Option<&'a BlockInfo>,
    pub(crate) parameters: Option<Cell>,
    pub(crate) world: &'a World,
}
