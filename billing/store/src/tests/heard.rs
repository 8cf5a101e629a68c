//! Who wrote to an account of ours, on both databases.

use billing::channel::{Account, ChannelId, Network};

use super::scene::{Scene, on_both};
use crate::ledger::{Reached, Sender};

on_both!(who_wrote_is_kept_once_and_from_where_we_were);

fn account(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

fn at(lt: u64) -> Reached {
    Reached { lt, hash: [7; 32] }
}

async fn who_wrote_is_kept_once_and_from_where_we_were(scene: Scene) {
    let store = scene.open().await;
    let channels = store.channels();
    let ours = ChannelId {
        network: Network::TESTNET,
        account: account(1),
    };
    let wrote = |byte, sent_lt| Sender {
        account: account(byte),
        sent_lt,
    };
    let hear = async |before: Option<u64>, now: u64, senders: &[Sender]| {
        let heard = channels.hear(&ours, before.map(at), at(now), senders).await;
        heard.expect("writable")
    };
    let first = async |of: &ChannelId, byte| channels.first_heard(of, &account(byte)).await.expect("readable");
    assert_eq!(channels.reached(&ours).await.expect("readable"), None);
    assert!(hear(None, 10, &[wrote(2, 5), wrote(3, 6), wrote(2, 9)]).await);
    assert_eq!(
        (first(&ours, 2).await, first(&ours, 3).await, first(&ours, 4).await),
        (Some(5), Some(6), None)
    );
    // Another gateway was there before.
    assert!(!hear(None, 20, &[wrote(4, 11)]).await);
    assert!(!hear(Some(9), 20, &[wrote(4, 11)]).await);
    assert_eq!(first(&ours, 4).await, None);
    assert!(hear(Some(10), 20, &[wrote(4, 11), wrote(2, 12)]).await);
    assert_eq!((first(&ours, 4).await, first(&ours, 2).await), (Some(11), Some(5)));
    assert_eq!(channels.reached(&ours).await.expect("readable"), Some(at(20)));
    let elsewhere = ChannelId {
        network: Network::MAINNET,
        ..ours
    };
    assert_eq!(first(&elsewhere, 2).await, None);
    assert_eq!(channels.reached(&elsewhere).await.expect("readable"), None);
    let huge = channels.hear(&elsewhere, None, at(u64::MAX), &[]).await;
    assert!(huge.is_err(), "no chain counts so far");
}
