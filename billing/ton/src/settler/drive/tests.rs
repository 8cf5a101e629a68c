use billing::channel::Network;

use super::*;
use crate::{Seed, Wallet, settler::Settings};

#[tokio::test]
async fn a_journal_is_kept_and_loaded() {
    let name = format!("mulberry-settler-{}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder of our own");
    let mut keep = FileKeep(folder.join("payments.json"));
    assert!(matches!(keep.load().await, Ok(None)));
    let seed = Seed::from_bytes([7; 32]);
    let wallet = Wallet::new(Network::TESTNET, seed.public_key());
    let mut settler = Settler::new(wallet, seed, Settings::USUAL).expect("they belong together");
    for take in [1, 2] {
        let job = Job {
            channel: Account {
                workchain: 0,
                hash: [1; 32],
            },
            goal: Goal::Claimed(billing::Nano::saturating(take)),
            amount: billing::Nano::ZERO,
            body: Default::default(),
            init: None,
        };
        settler.step(Event::Want(job), 0);
        // Over the one before.
        keep.keep(&settler.journal()).await.expect("it is written");
        let loaded = keep.load().await.expect("it is read").expect("there is one");
        assert_eq!(loaded.to_json(), settler.journal().to_json());
    }
    std::fs::write(&keep.0, "{").expect("ours");
    assert!(matches!(keep.load().await, Err(LoadError::Journal(JournalError::Form))));
    std::fs::remove_dir_all(&folder).expect("ours");
    assert!(keep.keep(&settler.journal()).await.is_err());
}
