//! The simulated chain as a [`Chain`].

use billing::channel::{Account, Network};
use billing_ton::chain::{AccountState, Chain, ChainError, Cursor, Head, Status, Transaction as Told};
use futures_util::future::{BoxFuture, FutureExt, ready};
use tycho_types::boc::Boc;
use tycho_types::models;

use super::blocks::WAITING;
use super::{Simulated, State, TickError, unless_halted};
use crate::world::{External, shard_account};

/// The longest bag of cells that is taken as a message; TON's limit.
pub(crate) const MESSAGE_BYTES: usize = 65_535;

impl Chain for Simulated {
    fn network(&self) -> Network {
        self.network
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, ChainError>> {
        self.answer(|state| Ok(state.world.final_tip().head))
    }

    fn account(&self, account: Account) -> BoxFuture<'_, Result<AccountState, ChainError>> {
        self.answer(move |state| state.tell(&account))
    }

    fn transactions(
        &self,
        account: Account,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Told>, ChainError>> {
        self.answer(move |state| {
            let history = state.world.final_transactions(&account);
            let from = match after {
                None => 0,
                Some(after) => {
                    let from = history.partition_point(|kept| kept.at.lt < after.lt);
                    match history.get(from) {
                        Some(kept) if kept.at == after => from + 1,
                        // It was taken back, or is of another chain. Who goes on as if nothing were has two histories.
                        _ => {
                            return Err(ChainError::Contradiction(format!(
                                "the account has no transaction {} with this hash",
                                after.lt
                            )));
                        }
                    }
                }
            };
            Ok(history
                .iter()
                .skip(from)
                .take(limit)
                .map(|kept| Told {
                    at: kept.at,
                    time: kept.time,
                    cell: kept.cell.to_vec(),
                })
                .collect())
        })
    }

    fn send<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<(), ChainError>> {
        let mut state = self.state();
        ready(state.take(message)).boxed()
    }

    fn config_parameter(&self, index: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, ChainError>> {
        self.answer(move |state| {
            let machine = state.machine(state.world.final_tip().prices);
            Ok(machine.parameter(index).map(Boc::encode))
        })
    }
}

impl Simulated {
    fn answer<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&State) -> Result<T, ChainError>,
    ) -> BoxFuture<'_, Result<T, ChainError>> {
        ready(self.ask(ask)).boxed()
    }

    /// What `ask` finds in a chain that has made the blocks that are due.
    pub(crate) fn ask<T>(&self, ask: impl FnOnce(&State) -> Result<T, ChainError>) -> Result<T, ChainError> {
        let mut state = self.state();
        state.catch_up().or_else(unless_halted).map_err(unreachable)?;
        ask(&state)
    }
}

fn unreachable(error: TickError) -> ChainError {
    match error {
        TickError::Disk(error) => ChainError::Unreachable(format!("a block cannot be written down: {error}")),
        error => ChainError::Unreachable(error.to_string()),
    }
}

impl State {
    fn tell(&self, account: &Account) -> Result<AccountState, ChainError> {
        let state = self.world.final_state(account);
        let unreadable = || ChainError::Unreadable("an account's state is damaged".to_owned());
        let told = shard_account(state)
            .map_err(|_| unreadable())?
            .load_account()
            .map_err(|_| unreadable())?;
        let (balance, status) = match told {
            None => (0, Status::Nonexistent),
            Some(account) => (
                account.balance.tokens.into_inner(),
                match account.state {
                    models::AccountState::Uninit => Status::Uninitialised,
                    models::AccountState::Frozen(_) => Status::Frozen,
                    models::AccountState::Active(init) => Status::Active {
                        code: Boc::encode(init.code.unwrap_or_default()),
                        data: Boc::encode(init.data.unwrap_or_default()),
                    },
                },
            ),
        };
        Ok(AccountState {
            head: self.world.final_tip().head,
            balance,
            last: state.map(|state| state.last),
            status,
        })
    }

    /// Takes an external message if the account would accept it now.
    pub(super) fn take(&mut self, message: &[u8]) -> Result<(), ChainError> {
        if message.len() > MESSAGE_BYTES {
            return Err(ChainError::Refused(format!(
                "the message has {} bytes, and {MESSAGE_BYTES} are allowed",
                message.len()
            )));
        }
        let refused = |reason: &dyn std::fmt::Display| ChainError::Refused(reason.to_string());
        let external = External::read(message).map_err(|error| refused(&error))?;
        if self.waiting.contains(&external) {
            return Ok(());
        }
        if self.waiting.len() >= WAITING {
            return Err(ChainError::Limited);
        }
        self.rehearse(&external, true).map_err(|error| refused(&error))?;
        self.waiting.push(external);
        self.catch_up().or_else(unless_halted).map_err(unreachable)
    }
}
