//! What a chain says of a channel's account: our contract at an address that follows from its terms, or not.

use billing::channel::ChannelId;
use billing_ton::{
    chain::{AccountState, Status},
    contract::{self, State},
};
use tycho_types::boc::Boc;

/// Something else is there, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what is at the channel's address is no channel of ours: {0}; ask another source with --chain")]
pub(crate) struct Stranger(&'static str);

/// A channel of our contract with an address of its own; `None` where there is nothing.
pub(crate) fn read(state: &AccountState, id: &ChannelId) -> Result<Option<State>, Stranger> {
    let (code, data) = match &state.status {
        Status::Nonexistent | Status::Uninitialised => return Ok(None),
        Status::Frozen => return Err(Stranger("it is frozen")),
        Status::Active { code, data } => (code, data),
    };
    if !Boc::decode(code).is_ok_and(|code| code.repr_hash().0 == contract::CODE_HASH) {
        return Err(Stranger("it has another code"));
    }
    let state = State::decode_boc(data).map_err(|_| Stranger("its data cannot be read"))?;
    if contract::account(&state.terms, &state.keys) != id.account || state.terms.network != id.network {
        return Err(Stranger("its address does not follow from its terms"));
    }
    Ok(Some(state))
}
