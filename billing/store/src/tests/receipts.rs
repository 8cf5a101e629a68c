//! Public keys are kept for ever, on both databases.

use super::scene::{Scene, by_hand, on_both};

on_both![keys_are_only_added_to];

async fn keys_are_only_added_to(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    assert_eq!(ledger.receipt_keys().await.expect("it answers"), []);
    ledger.add_receipt_key("a", &[1; 32], 5).await.expect("it is kept");
    ledger.add_receipt_key("b", &[2; 32], 4).await.expect("it is kept");
    ledger.add_receipt_key("a", &[1; 32], 9).await.expect("nothing to do");
    let keys = ledger.receipt_keys().await.expect("it answers");
    let shown: Vec<_> = keys
        .iter()
        .map(|key| (key.node.as_str(), key.public_key[0], key.first_used_ms))
        .collect();
    assert_eq!(shown, [("b", 2, 4), ("a", 1, 5)]);
    for change in ["DELETE FROM receipt_keys", "UPDATE receipt_keys SET node = 'c'"] {
        by_hand(&store.writer, change)
            .await
            .expect_err("keys are only added to");
    }
    let nobody = billing::AccountId::organisation("nobody").expect("a name");
    assert_eq!(ledger.receipt_heads(&nobody).await.expect("it answers"), []);
}
