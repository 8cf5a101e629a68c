//! The Attempt floor, outermost first.

use tower::ServiceBuilder;

use crate::{
    answer::Answer,
    attempt::Attempt,
    balance::BalanceLayer,
    encode::EncodeLayer,
    send::Send,
    serve::{Floor, Serve},
    verdict::RequireVerdictLayer,
};

/// One try at one upstream of the backend that the attempt names.
pub fn attempt() -> Floor<Attempt, Answer> {
    Floor::new(stack())
}

fn stack() -> impl Serve<Attempt, Response = Answer> {
    ServiceBuilder::new()
        // Outermost: each attempt chooses anew among the ready. Breakers and health are part of being ready.
        .layer(BalanceLayer)
        // After the choice: a verdict that lapsed while we waited for a place must not let bytes through.
        .layer(RequireVerdictLayer)
        // Innermost before the wire: another backend may speak another dialect.
        .layer(EncodeLayer)
        .service(Send)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How large the future of an attempt is, at a stack that this would make.
    fn room<Made: Serve<Attempt>>(_make: fn() -> Made) -> usize {
        fn of<'a, Made: 'a, Answer>(_call: impl FnOnce(&'a Made, Attempt) -> Answer) -> usize {
            size_of::<Answer>()
        }
        of(Made::call)
    }

    #[test]
    fn an_attempt_is_not_moved_about_in_large_pieces() {
        let room = room(stack);
        assert!(room <= 7_168, "{room} bytes");
    }
}
