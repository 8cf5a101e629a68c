//! The machine: one message on one account, by the rules of TON.
//!
//! It is a function: an account's state, a message and a moment go in; the new state, the transaction and the messages that
//! it sent come out. It keeps nothing, and reads no clock. [`crate::Simulated`] makes a chain of it.
//!
//! It computes what the official executor computes, to the nanoton, for what channels do (the fixtures of the contract's
//! tests compare them, message by message), within these limits:
//! - version 12 of the TVM; what came later is an invalid opcode;
//! - no public libraries, no previous blocks to look at, no masterchain contracts that tick;
//! - a failed action phase costs what it cost in version 12. Later versions may charge more: depend on neither.
//!
//! ```
//! use billing::channel::Account;
//! use billing_ton_sim::{At, Machine, NotAccepted, Prices, nonexistent, slim};
//! use tycho_types::models::{ExtInMsgInfo, MsgInfo, StdAddr};
//! use tycho_types::prelude::{CellBuilder, HashBytes};
//!
//! let machine = Machine::new(slim(), Prices::Old)?;
//! let account = Account { workchain: 0, hash: [7; 32] };
//! let message = CellBuilder::build_from(MsgInfo::ExtIn(ExtInMsgInfo {
//!     dst: StdAddr::new(0, HashBytes([7; 32])).into(),
//!     ..Default::default()
//! }))?;
//! let at = At { lt: 1_000_000, now: 1_760_000_000, seed: [0; 32] };
//! let answer = machine.execute(&account, &nonexistent(), message, at);
//! assert!(matches!(answer, Err(NotAccepted::Refused { .. })), "nobody is there to pay for it");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use billing::channel::{Account, Network};
use tycho_executor::{Executor, ExecutorInspector, ExecutorParams, ParsedConfig, TxError};
use tycho_types::cell::{Cell, CellBuilder, HashBytes, Lazy, Load};
use tycho_types::models::{
    AccountStatus, BlockchainConfig, BlockchainConfigParams, ComputePhase, ComputePhaseSkipReason, IntAddr, MsgInfo,
    OptionalAccount, ShardAccount, StdAddr, Transaction, TxInfo,
};
use tycho_vm::BehaviourModifiers;

use crate::config::{BadConfig, Prices, prepared};

pub(crate) mod getter;

pub(crate) use getter::method_id;
pub use getter::{GetError, Got, Value};

/// TON's transaction executor with one configuration.
#[derive(Debug)]
pub struct Machine {
    config: ParsedConfig,
}

/// The moment of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The least logical time that the transaction may have; the account's and the message's may ask for a later one.
    pub lt: u64,
    /// Unix seconds of the block.
    pub now: u32,
    /// The block's, for contracts that draw lots.
    pub seed: [u8; 32],
}

/// A transaction that happened. Also one that failed and was paid for.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The account afterwards.
    pub state: ShardAccount,
    pub transaction: Lazy<Transaction>,
    /// Sent, in order: internal ones that another account will receive, and outbound ones that nobody will.
    pub messages: Vec<Cell>,
    pub compute: Compute,
    /// Result code of the action phase; `None` when it was not reached. 0 is success.
    pub action: Option<i32>,
    /// Nothing was changed but the balance.
    pub aborted: bool,
    /// The rest of the value went back to the sender.
    pub bounced: bool,
    /// The account is no more.
    pub destroyed: bool,
    /// Nanoton that validators got, from this account, for storage, gas, actions and their part of forwarding.
    pub fees: u128,
    /// The least logical time for what follows.
    pub next_lt: u64,
}

/// What the contract's code did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// It did not run: no code, wrong code, too little for gas.
    Skipped(ComputePhaseSkipReason),
    Ran {
        /// 0 and 1 are success.
        exit_code: i32,
        gas_used: u64,
        /// Nanoton.
        gas_fees: u128,
    },
}

impl Outcome {
    /// The code's exit code; `None` when it did not run.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.compute {
            Compute::Skipped(_) => None,
            Compute::Ran { exit_code, .. } => Some(exit_code),
        }
    }

    /// Units of gas; 0 when the code did not run.
    #[must_use]
    pub fn gas_used(&self) -> u64 {
        match self.compute {
            Compute::Skipped(_) => 0,
            Compute::Ran { gas_used, .. } => gas_used,
        }
    }

    /// Code and actions succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        !self.aborted
    }
}

/// Why there is no transaction: nothing happened, and nobody paid.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    #[error("the message cannot be read: {0}")]
    Unreadable(String),
    #[error("an outbound message is for no account")]
    Outbound,
    #[error("the message is not for this account")]
    NotForThisAccount,
    /// An external message that the account does not want to pay for, or cannot.
    #[error("{}", refusal(.exit_code))]
    Refused {
        /// Of the code that refused; `None` when there was none, or nothing to pay it with.
        exit_code: Option<i32>,
    },
    /// A message that no chain would have delivered, or a bug in the executor.
    #[error("the executor failed: {0}")]
    Executor(String),
}

fn refusal(exit_code: &Option<i32>) -> String {
    match exit_code {
        Some(code) => format!("the account did not accept the external message: exit code {code}"),
        None => "the account did not accept the external message: it has no code to run, or no \
                 coins to pay with"
            .to_owned(),
    }
}

impl Machine {
    /// A machine with `config`, a bag of cells of the configuration's dictionary ([`crate::slim`] is one).
    pub fn new(config: &[u8], prices: Prices) -> Result<Self, BadConfig> {
        Self::from_params(prepared(config, prices, None)?)
    }

    /// The same on another network: parameter 19, what `GLOBALID` answers.
    pub fn on_network(config: &[u8], prices: Prices, network: Network) -> Result<Self, BadConfig> {
        Self::from_params(prepared(config, prices, Some(network))?)
    }

    fn from_params(params: BlockchainConfigParams) -> Result<Self, BadConfig> {
        let missing = |reason: String| BadConfig::Parameter { index: 0, reason };
        let address = params
            .get::<tycho_types::models::ConfigParam0>()
            .map_err(|error| missing(error.to_string()))?
            .ok_or_else(|| missing("absent".to_owned()))?;
        // Storage prices of the future count only for a contract that asks for the newest ones; rent itself is by date.
        let config = ParsedConfig::parse(BlockchainConfig { address, params }, u32::MAX)
            .map_err(|error| BadConfig::Unusable(error.to_string()))?;
        Ok(Self { config })
    }

    /// Parameter `index` of the configuration.
    #[must_use]
    pub fn parameter(&self, index: u32) -> Option<Cell> {
        self.config.raw.params.get_raw_cell(index).ok().flatten()
    }

    /// Root of the configuration's dictionary.
    #[must_use]
    pub fn parameters(&self) -> Option<Cell> {
        self.config.raw.params.as_dict().root().clone()
    }

    /// What the executor reads: prices of both workchains, limits, version.
    #[must_use]
    pub fn config(&self) -> &ParsedConfig {
        &self.config
    }

    /// Executes `message`, external or internal, on `account` in `state`.
    pub fn execute(
        &self,
        account: &Account,
        state: &ShardAccount,
        message: Cell,
        at: At,
    ) -> Result<Outcome, NotAccepted> {
        self.run(account, state, message, at, BehaviourModifiers::default())
    }

    /// The same as if every signature were good, for those who want to know what a message will cost before they sign it.
    pub fn estimate(
        &self,
        account: &Account,
        state: &ShardAccount,
        message: Cell,
        at: At,
    ) -> Result<Outcome, NotAccepted> {
        let modifiers = BehaviourModifiers {
            chksig_always_succeed: true,
            ..BehaviourModifiers::default()
        };
        self.run(account, state, message, at, modifiers)
    }

    fn run(
        &self,
        account: &Account,
        state: &ShardAccount,
        message: Cell,
        at: At,
        vm_modifiers: BehaviourModifiers,
    ) -> Result<Outcome, NotAccepted> {
        let is_external = self.check(account, &message)?;
        let params = ExecutorParams {
            rand_seed: HashBytes(at.seed),
            block_unixtime: at.now,
            block_lt: at.lt,
            vm_modifiers,
            // As version 12 does, and the official executor of it.
            charge_action_fees_on_fail: false,
            strict_extra_currency: true,
            ..ExecutorParams::default()
        };
        let mut inspector = ExecutorInspector::default();
        let begun = Executor::new(&params, &self.config)
            .with_min_lt(at.lt)
            .begin_ordinary_ext(&standard(account), is_external, message, state, Some(&mut inspector));
        let done = match begun {
            Ok(transaction) => transaction.commit(),
            Err(TxError::Skipped) => {
                return Err(NotAccepted::Refused {
                    exit_code: inspector.exit_code,
                });
            }
            Err(TxError::Fatal(error)) => Err(error),
        }
        .map_err(|error| NotAccepted::Executor(format!("{error:#}")))?;
        let unreadable = |error: tycho_types::error::Error| NotAccepted::Executor(error.to_string());
        let transaction = done.transaction.load().map_err(unreadable)?;
        let TxInfo::Ordinary(info) = transaction.load_info().map_err(unreadable)? else {
            return Err(NotAccepted::Executor(
                "an ordinary message made a transaction of another kind".to_owned(),
            ));
        };
        Ok(Outcome {
            state: done.new_state,
            transaction: done.transaction,
            messages: done
                .transaction_meta
                .out_msgs
                .into_iter()
                .map(Lazy::into_inner)
                .collect(),
            compute: match info.compute_phase {
                ComputePhase::Skipped(skipped) => Compute::Skipped(skipped.reason),
                ComputePhase::Executed(ran) => Compute::Ran {
                    exit_code: ran.exit_code,
                    gas_used: ran.gas_used.into_inner(),
                    gas_fees: ran.gas_fees.into_inner(),
                },
            },
            action: info.action_phase.map(|phase| phase.result_code),
            aborted: info.aborted,
            bounced: matches!(info.bounce_phase, Some(tycho_types::models::BouncePhase::Executed(_))),
            destroyed: info.destroyed || transaction.end_status == AccountStatus::NotExists,
            fees: done.transaction_meta.total_fees.into_inner(),
            next_lt: done.transaction_meta.next_lt,
        })
    }

    /// Whether the message is external; refuses one that is not for `account`.
    fn check(&self, account: &Account, message: &Cell) -> Result<bool, NotAccepted> {
        let unreadable = |reason: &str| NotAccepted::Unreadable(reason.to_owned());
        let mut slice = message
            .as_slice()
            .map_err(|_| unreadable("its root is not an ordinary cell"))?;
        let (is_external, to) =
            match MsgInfo::load_from(&mut slice).map_err(|error| NotAccepted::Unreadable(error.to_string()))? {
                MsgInfo::Int(info) => (false, info.dst),
                MsgInfo::ExtIn(info) => (true, info.dst),
                MsgInfo::ExtOut(_) => return Err(NotAccepted::Outbound),
            };
        match to {
            IntAddr::Std(to) if to == standard(account) => Ok(is_external),
            _ => Err(NotAccepted::NotForThisAccount),
        }
    }
}

/// The state of an account that never was.
#[must_use]
pub fn nonexistent() -> ShardAccount {
    let account = CellBuilder::build_from(false).expect("one bit fits into a cell");
    ShardAccount {
        account: Lazy::<OptionalAccount>::from_raw(account).expect("an ordinary cell"),
        last_trans_hash: HashBytes::ZERO,
        last_trans_lt: 0,
    }
}

pub(crate) fn standard(account: &Account) -> StdAddr {
    StdAddr::new(account.workchain, HashBytes(account.hash))
}

#[cfg(test)]
pub(crate) mod tests;
