//! A worker that is connected and paid.

use std::sync::Arc;

use billing::channel::{Envelope, payer::Event};

use super::{Wages, payee::PayeeId};
use crate::wall_clock::unix_ms;

/// A worker that is connected and paid. Dropped, it is gone.
pub(crate) struct Post {
    pub(super) wages: Wages,
    pub(super) place: Arc<str>,
    pub(super) payee: PayeeId,
    pub(super) serial: u64,
}

impl Post {
    /// What the worker says of its channel.
    pub(crate) fn hear(&self, message: Envelope) {
        let Some(shared) = &self.wages.0 else { return };
        shared.with(|state, entry| {
            let id = state.payees.get(&self.payee).and_then(|payee| payee.channel.as_ref());
            if id.is_some_and(|payer| payer.channel().id == message.channel()) {
                state.step(entry, &self.payee, Event::Notice(message.notice), unix_ms());
            }
        });
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let Some(shared) = &self.wages.0 else { return };
        let mut state = shared.lock();
        if let Some(payee) = state.payees.get_mut(&self.payee) {
            payee.links.retain(|(serial, _)| *serial != self.serial);
        }
        if state
            .places
            .get(&self.place)
            .is_some_and(|place| place.serial == self.serial)
        {
            state.places.remove(&self.place);
        }
    }
}
