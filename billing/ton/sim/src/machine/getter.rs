//! Get-methods: asking a contract without a message.

use billing::channel::Account;
use num_bigint::BigInt;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::ShardAccount;
use tycho_vm::{
    GasParams, NaN, OwnedCellSlice, RcStackValue, SafeRc, Stack, StackValue, VmCaller, VmGetterArgs, VmGetterError,
};

use super::{Machine, standard};

/// Values nested deeper are refused, lest reading them takes our own stack.
const MAX_DEPTH: usize = 64;

/// A value on the machine's stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    NaN,
    Int(BigInt),
    Cell(Cell),
    /// The rest of a slice as a cell of its own.
    Slice(Cell),
    Builder(Cell),
    Tuple(Vec<Value>),
}

/// What a get-method answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// 0 and 1 are success; 11 is "no such method".
    pub exit_code: i32,
    pub gas_used: u64,
    /// The bottom first, as the method left it. After a failure, the exception's argument.
    pub stack: Vec<Value>,
}

/// Why a get-method was not run, or its answer cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum GetError {
    #[error("the account has no code")]
    NoCode,
    #[error("the account's state cannot be read: {0}")]
    Unreadable(String),
    #[error("the configuration cannot be used: {0}")]
    Config(String),
    #[error("the answer holds a continuation, or is nested too deeply")]
    Answer,
}

impl Machine {
    /// Runs method `name` of the contract in `state` as of `now`, with `stack` (the bottom first) as its arguments.
    pub fn get_method(
        &self,
        account: &Account,
        state: &ShardAccount,
        name: &str,
        stack: Vec<Value>,
        now: u32,
    ) -> Result<Got, GetError> {
        self.get(account, state, method_id(name), stack, now)
    }

    /// The same by the method's number.
    pub fn get(
        &self,
        account: &Account,
        state: &ShardAccount,
        method: u32,
        stack: Vec<Value>,
        now: u32,
    ) -> Result<Got, GetError> {
        let state = state
            .load_account()
            .map_err(|error| GetError::Unreadable(error.to_string()))?
            .filter(|state| state.address == standard(account).into())
            .ok_or(GetError::NoCode)?;
        let caller = VmCaller {
            libraries: Default::default(),
            behaviour_modifiers: Default::default(),
            config: self.config.raw.params.clone(),
        };
        let mut args = VmGetterArgs::default();
        args.now = now;
        args.gas_params = GasParams::getter();
        let stack = stack
            .into_iter()
            .map(|value| push(value, 0))
            .collect::<Result<Vec<_>, _>>()?;
        let output = caller
            .call_getter_ext(&state, method, stack, &args, None)
            .map_err(|error| match error {
                VmGetterError::NoCode => GetError::NoCode,
                VmGetterError::InvalidConfig(error) => GetError::Config(error.to_string()),
            })?;
        Ok(Got {
            exit_code: output.exit_code,
            gas_used: output.gas_used,
            stack: output
                .stack
                .iter()
                .map(|value| read(value, 0))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// The number of the method `name`.
#[must_use]
pub(crate) fn method_id(name: &str) -> u32 {
    u32::from(tycho_types::crc::crc_16(name.as_bytes())) | 0x1_0000
}

pub(crate) fn push(value: Value, depth: usize) -> Result<RcStackValue, GetError> {
    if depth > MAX_DEPTH {
        return Err(GetError::Answer);
    }
    Ok(match value {
        Value::Null => Stack::make_null(),
        Value::NaN => Stack::make_nan(),
        Value::Int(int) => RcStackValue::new_dyn_value(int),
        Value::Cell(cell) => RcStackValue::new_dyn_value(cell),
        Value::Slice(cell) => RcStackValue::new_dyn_value(OwnedCellSlice::new_allow_exotic(cell)),
        Value::Builder(cell) => {
            let mut builder = CellBuilder::new();
            builder
                .store_slice(cell.as_slice_allow_exotic())
                .map_err(|error| GetError::Unreadable(error.to_string()))?;
            RcStackValue::new_dyn_value(builder)
        }
        Value::Tuple(items) => SafeRc::new_dyn_value(
            items
                .into_iter()
                .map(|item| push(item, depth + 1))
                .collect::<Result<Vec<_>, _>>()?,
        ),
    })
}

pub(crate) fn read(value: &RcStackValue, depth: usize) -> Result<Value, GetError> {
    if depth > MAX_DEPTH {
        return Err(GetError::Answer);
    }
    if let Some(int) = value.as_int() {
        return Ok(Value::Int(int.clone()));
    }
    if let Some(cell) = value.as_cell() {
        return Ok(Value::Cell(cell.clone()));
    }
    if let Some(slice) = value.as_cell_slice() {
        let cell = CellBuilder::build_from(slice.apply()).map_err(|error| GetError::Unreadable(error.to_string()))?;
        return Ok(Value::Slice(cell));
    }
    if let Some(builder) = value.as_cell_builder() {
        let cell = builder
            .clone()
            .build()
            .map_err(|error| GetError::Unreadable(error.to_string()))?;
        return Ok(Value::Builder(cell));
    }
    if let Some(items) = value.as_tuple() {
        return items
            .iter()
            .map(|item| read(item, depth + 1))
            .collect::<Result<_, _>>()
            .map(Value::Tuple);
    }
    if value.is_null() {
        return Ok(Value::Null);
    }
    if value.raw_ty() == NaN.raw_ty() {
        return Ok(Value::NaN);
    }
    Err(GetError::Answer)
}
