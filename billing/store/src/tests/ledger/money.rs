use super::*;
use crate::tests::scene::{Scene, on_both};

on_both!(an_account_is_created_once);

async fn an_account_is_created_once(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    let new = new_account("org:acme", Some(0));
    let first = ledger.create_account(&new, BY).await.expect("the name is new");
    let again = ledger.create_account(&new, BY).await.expect("it is the same");
    assert_eq!(first, again);
    let team = new_account("team:acme/x", None);
    let first = ledger.create_account(&team, BY).await.expect("the name is new");
    let again = ledger.create_account(&team, BY).await.expect("it is the same");
    assert_eq!(first, again);
}
