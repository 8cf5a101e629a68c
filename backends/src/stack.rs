//! The Attempt floor, outermost first.

use tower::ServiceBuilder;

use crate::{
    answer::Answer, attempt::Attempt, balance::BalanceLayer, encode::EncodeLayer, send::Send, serve::Floor,
    verdict::RequireVerdictLayer,
};

/// One try at one upstream of the backend that the attempt names.
pub fn attempt() -> Floor<Attempt, Answer> {
    let stack = ServiceBuilder::new()
        // Outermost: each attempt chooses anew among the ready. Breakers and health are part of being ready.
        .layer(BalanceLayer)
        // After the choice: a verdict that lapsed while we waited for a place must not let bytes through.
        .layer(RequireVerdictLayer)
        // Innermost before the wire: another backend may speak another dialect.
        .layer(EncodeLayer)
        .service(Send);
    Floor::new(stack)
}
