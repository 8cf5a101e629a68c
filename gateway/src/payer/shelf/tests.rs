use std::path::{Path, PathBuf};

use billing::channel::{Signer, Take, Voucher};

use super::*;
use crate::{config::Process, passphrase::Source};

/// A folder that falls with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mulberry-shelf-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn shelf(&self) -> Shelf {
        Shelf::new(Some(self.0.join("channels")), None).expect("a place")
    }

    fn passphrase(&self) -> Passphrase {
        let path = self.0.join("passphrase");
        durable::replace(&path, b"four random words\n").expect("a file");
        let source = Source {
            file: Some(&path),
            environment: &Process,
        };
        source.existing("it").expect("a passphrase")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn terms(salt: u128) -> Terms {
    let party = |byte| Account {
        workchain: 0,
        hash: [byte; 32],
    };
    Terms {
        network: Network::TESTNET,
        close_delay_s: 86_400,
        fee_bps: 100,
        salt,
        payer: party(1),
        payee: party(2),
        fee_dest: party(3),
    }
}

const PAYEE: [u8; 32] = [9; 32];
pub(crate) const PAYER: [u8; 32] = [7; 32];

pub(crate) fn payee() -> Signer {
    Signer::from_seed(&PAYEE).expect("a seed")
}

pub(crate) fn keep(scratch: &Scratch, name: Option<&str>, salt: u128) -> Result<Kept, ShelfError> {
    let seed = Seed::from_bytes(PAYER);
    scratch.shelf().keep(
        name.map(str::to_owned),
        &terms(salt),
        &seed,
        payee().public(),
        Some("https://gateway.example".to_owned()),
        &scratch.passphrase(),
    )
}

#[test]
fn a_channel_is_found_by_name_by_address_and_alone() {
    let scratch = Scratch::new("found");
    assert!(matches!(scratch.shelf().pick(None), Err(ShelfError::Empty(_))));
    let first = keep(&scratch, Some("work"), 1).expect("it is new");
    assert_eq!(scratch.shelf().pick(None).expect("the only one").id, first.id);
    let second = keep(&scratch, None, 2).expect("it is new");
    assert_eq!(second.name, billing::receipt::to_hex(&second.id.account.hash)[..8]);
    let picked = |name: &str| scratch.shelf().pick(Some(name)).expect("it is there").id;
    assert_eq!(picked("work"), first.id);
    assert_eq!(picked(&second.id.account.to_string()), second.id);
    let friendly = address::Friendly::new(first.id.account, Network::TESTNET, address::Bounce::Back);
    assert_eq!(picked(&friendly.to_string()), first.id);
    assert!(matches!(scratch.shelf().pick(None), Err(ShelfError::Several(_))));
    assert!(matches!(
        scratch.shelf().pick(Some("home")),
        Err(ShelfError::Unknown { .. })
    ));
    assert!(matches!(keep(&scratch, Some("work"), 3), Err(ShelfError::Exists(name)) if name == "work"));
    // The key opens, and is that of the channel.
    let seed = first.open(&scratch.passphrase()).expect("it opens");
    assert_eq!(seed.public_key(), first.keys.payer);
    assert_eq!(scratch.shelf().all().expect("two").len(), 2);
}

#[test]
fn what_is_on_the_disk_is_checked() {
    let scratch = Scratch::new("checked");
    let kept = keep(&scratch, Some("a"), 1).expect("it is new");
    let path = scratch.0.join("channels/a/channel.json");
    let text = fs::read_to_string(&path).expect("it was written");
    fs::write(&path, text.replace("\"feeBps\": 100", "\"feeBps\": 101")).expect("a file");
    let error = scratch.shelf().all().expect_err("another fee is another address");
    assert!(error.to_string().contains("does not follow"), "{error}");
    fs::write(&path, &text).expect("a file");
    // A voucher of another channel.
    let other = keep(&scratch, Some("b"), 2).expect("it is new");
    let signer = Signer::from_seed(&[7; 32]).expect("a seed");
    let voucher = Voucher::sign(&signer, &other.keys, &other.id, Nano::saturating(5)).expect("our key");
    let slate = Slate {
        voucher: Some(voucher.claim()),
        ..Slate::default()
    };
    kept.write_slate(&slate).expect("a disk");
    assert!(matches!(kept.slate(), Err(ShelfError::Damaged { .. })));
    other.write_slate(&slate).expect("a disk");
    assert_eq!(other.slate().expect("it is its own").signed(), Nano::saturating(5));
}

#[test]
fn one_signs_at_a_time() {
    let scratch = Scratch::new("lock");
    let kept = keep(&scratch, Some("a"), 1).expect("it is new");
    let lock = kept.lock().expect("nobody else");
    assert!(matches!(kept.lock(), Err(ShelfError::InUse(name)) if name == "a"));
    drop(lock);
    kept.lock().expect("nobody any more");
}

#[test]
fn a_book_knows_what_is_at_risk_and_what_can_be_settled() {
    let scratch = Scratch::new("slate");
    let kept = keep(&scratch, Some("a"), 1).expect("it is new");
    let signer = Signer::from_seed(&[7; 32]).expect("a seed");
    let voucher = Voucher::sign(&signer, &kept.keys, &kept.id, Nano::saturating(50)).expect("our key");
    let mut slate = Slate {
        voucher: Some(voucher.claim()),
        charged: Nano::saturating(30),
        ..Slate::default()
    };
    assert_eq!(slate.at_risk(), Nano::saturating(20));
    assert!(slate.settlement(&kept).is_none());
    let take = Take::sign(&payee(), &kept.keys, &kept.id, Nano::saturating(30)).expect("its key");
    slate.take = Some(take.claim());
    let settlement = slate
        .settlement(&kept)
        .expect("there is a take")
        .expect("it is covered");
    assert_eq!(settlement.take().amount(), Nano::saturating(30));
    let take = Take::sign(&payee(), &kept.keys, &kept.id, Nano::saturating(51)).expect("its key");
    slate.take = Some(take.claim());
    assert!(slate.settlement(&kept).expect("there is a take").is_err());
    slate.reach(Stage::Over);
    slate.reach(Stage::Open);
    assert_eq!(slate.stage, Stage::Over);
}

#[test]
fn names_are_those_of_folders() {
    for good in ["a", "work-2", "0"] {
        assert_eq!(name(good).as_deref(), Ok(good));
    }
    let long = "x".repeat(33);
    for bad in ["", "-a", "A", "a b", "../a", ".new-1", "ä", &long] {
        assert!(name(bad).is_err(), "for {bad:?}");
    }
}
