//! Strikes, on both databases.

use super::scene::{Scene, on_both};
use crate::ledger::Strikes;

on_both!(strikes_add_up_and_stay);

async fn strikes_add_up_and_stay(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    assert_eq!(ledger.strikes().await.expect("readable"), []);
    for (upstream, tokens, at_ms) in [("b/h:2", 7, 3), ("a/h:1", 100, 1), ("a/h:1", u64::MAX, 2)] {
        ledger.strike(upstream, tokens, at_ms).await.expect("writable");
    }
    for (upstream, at_ms) in [("a/h:1", 5), ("c/h:3", 4), ("c/h:3", 6)] {
        ledger.strike_misstatement(upstream, at_ms).await.expect("writable");
    }
    store.close().await;
    let of = |upstream: &str, overclaims, tokens, misstatements, last_at_ms| Strikes {
        upstream: upstream.to_owned(),
        overclaims,
        tokens,
        misstatements,
        last_at_ms,
    };
    let expect = [
        of("a/h:1", 2, 100 + (1 << 40), 1, 5),
        of("b/h:2", 1, 7, 0, 3),
        of("c/h:3", 0, 0, 2, 6),
    ];
    let again = scene.open().await;
    assert_eq!(again.ledger().strikes().await.expect("readable"), expect);
}
