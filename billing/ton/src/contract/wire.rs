//! Amounts, accounts and signatures in cells, and what is wrong with a cell that is not of the scheme.

use billing::Nano;
use billing::channel::Account;
use tycho_types::cell::{Cell, CellBuilder, CellFamily, CellSlice, HashBytes, Load, Store};
use tycho_types::error::Error;
use tycho_types::models::StdAddr;
use tycho_types::num::Tokens;

/// Why a cell is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it is not a bag of cells")]
    NoCells,
    #[error("it ends early, or is a cell of a special kind")]
    Short,
    #[error("it is longer than it should be")]
    Long,
    #[error("no message of a channel begins with {0:#010x}")]
    UnknownOperation(u32),
    #[error("{field} is not the plain address of an account")]
    NotAnAccount { field: &'static str },
    #[error("{field} is {nano} nanoton; amounts beyond 9223372036854775807 are not taken")]
    TooLarge { field: &'static str, nano: u128 },
    #[error("it names nobody whom a channel pays")]
    Nobody,
}

impl From<Error> for Malformed {
    /// Whatever the reader says, something was missing.
    fn from(_: Error) -> Self {
        Self::Short
    }
}

/// A cell of parts whose sizes are fixed.
pub(crate) fn cell(fill: impl FnOnce(&mut CellBuilder) -> Result<(), Error>) -> Cell {
    let mut builder = CellBuilder::new();
    fill(&mut builder).expect("every layout of the scheme is below 1023 bits");
    builder.build().expect("every layout of the scheme is an ordinary cell")
}

pub(crate) fn begin(cell: &Cell) -> Result<CellSlice<'_>, Malformed> {
    cell.as_slice().map_err(|_| Malformed::Short)
}

/// Nothing is left over.
pub(crate) fn end(slice: &CellSlice<'_>) -> Result<(), Malformed> {
    if slice.is_empty() { Ok(()) } else { Err(Malformed::Long) }
}

pub(crate) fn store_amount(to: &mut CellBuilder, amount: Nano) -> Result<(), Error> {
    Tokens::new(u128::from(amount.get())).store_into(to, Cell::empty_context())
}

pub(crate) fn load_amount(from: &mut CellSlice<'_>, field: &'static str) -> Result<Nano, Malformed> {
    let nano = Tokens::load_from(from)?.into_inner();
    u64::try_from(nano)
        .ok()
        .and_then(Nano::new)
        .ok_or(Malformed::TooLarge { field, nano })
}

pub(crate) fn store_account(to: &mut CellBuilder, account: &Account) -> Result<(), Error> {
    StdAddr::new(account.workchain, HashBytes(account.hash)).store_into(to, Cell::empty_context())
}

/// As the contract reads it: no anycast, no other form.
pub(crate) fn load_account(from: &mut CellSlice<'_>, field: &'static str) -> Result<Account, Malformed> {
    match StdAddr::load_from(from) {
        Ok(StdAddr {
            anycast: None,
            workchain,
            address,
        }) => Ok(Account {
            workchain,
            hash: address.0,
        }),
        _ => Err(Malformed::NotAnAccount { field }),
    }
}

/// The same, or none.
pub(crate) fn store_maybe_account(to: &mut CellBuilder, account: Option<&Account>) -> Result<(), Error> {
    match account {
        Some(account) => store_account(to, account),
        None => to.store_small_uint(0, 2),
    }
}

pub(crate) fn load_maybe_account(from: &mut CellSlice<'_>, field: &'static str) -> Result<Option<Account>, Malformed> {
    if from.get_small_uint(0, 2)? == 0 {
        from.skip_first(2, 0)?;
        return Ok(None);
    }
    load_account(from, field).map(Some)
}

pub(crate) type Signature = [u8; 64];

pub(crate) fn load_signature(from: &mut CellSlice<'_>) -> Result<Signature, Malformed> {
    let mut signature = [0; 64];
    from.load_raw(&mut signature, 512)?;
    Ok(signature)
}
