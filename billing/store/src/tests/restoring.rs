//! A ledger that goes on from a backup, as docs/operating.md says it: its gateways take new names.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use billing::receipt::{Head, Sealer, SigningKey};
use billing::{Ask, Evidence, JournalKind, Nano, Pot, Renewal, Window};
use test_postgres::Server;

use super::ledger::{charge, funded, id, nano};
use super::scene::{Scene, on_both};
use crate::ledger::ChainHead;
use crate::{LedgerStore, Location, SealedCharge};

on_both![a_restored_ledger_is_whole_and_gives_no_number_twice];

/// So short that what a node leased is free as soon as anybody looks.
const MOMENT: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// A copy of all that is in a database, by the means that its kind has.
async fn backup(scene: &Scene) -> Scene {
    match &scene.location {
        Location::File(_) => {
            let copy = Scene::sqlite();
            let Location::File(path) = &copy.location else {
                panic!("it is a file");
            };
            scene.read().await.copy_to(path).await.expect("it is copied");
            copy
        }
        Location::Postgres(url) => {
            let copy = Scene::postgres().expect("there was a server before");
            let Location::Postgres(empty) = &copy.location else {
                panic!("it is a server");
            };
            let server = Server::shared().expect("there was a server before");
            let dump = super::scratch::Scratch::new();
            let run = |command: &mut Command| {
                let output = command.output().expect("PostgreSQL has it");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            };
            run(server
                .program("pg_dump")
                .args(["--schema=mulberry", "--format=custom", "--file"])
                .arg(dump.path("dump"))
                .arg(url.expose()));
            run(server
                .program("pg_restore")
                .args(["--no-owner", "--single-transaction", "--dbname", empty.expose()])
                .arg(dump.path("dump")));
            copy
        }
    }
}

fn sealer(heads: &[ChainHead]) -> Sealer {
    let key = SigningKey::from_seed(&[7; 32]).expect("32 bytes are a seed");
    let heads = heads.iter().map(|head| Head {
        organisation: head.organisation.clone(),
        seq: head.seq,
        hash: head.receipt_hash,
    });
    Sealer::new(Arc::new(key), heads)
}

fn sealed(sealer: &mut Sealer, node: &str, seq: u64) -> SealedCharge {
    let mut charge = charge(node, seq, "org:acme", 72_000);
    charge.request_id = format!("{node}-{seq}");
    charge.evidence = Some(Box::new(Evidence {
        request: [1; 32],
        response: Some([2; 32]),
        tier: "open".into(),
        forwarded: None,
        word: billing::receipt::statement::Word::default(),
        rests_on: None,
        paid_by: None,
    }));
    let receipt = sealer.seal(&charge).expect("there is evidence");
    SealedCharge {
        charge,
        receipt: Some(receipt.json),
        receipt_hash: Some(receipt.hash),
    }
}

/// Leases so much of the organisation's money, for a moment; what came of it.
async fn lease(ledger: &LedgerStore, node: &str, epoch: u64, need: Nano) -> Nano {
    let pot = Pot {
        account: id("org:acme"),
        window: Window::Total,
    };
    let renewal = Renewal {
        round: 1,
        asks: vec![Ask { pot, need }],
        returns: Vec::new(),
    };
    let renewed = ledger.renew(node, epoch, MOMENT, &renewal, &[]).await;
    renewed.expect("it is renewed").grants[0].more
}

async fn a_restored_ledger_is_whole_and_gives_no_number_twice(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 1_000_000).await;
    let joined = ledger
        .join("north", JournalKind::Direct, MINUTE)
        .await
        .expect("it joins");
    assert!(lease(&ledger, "north", joined.epoch, nano(500_000)).await >= nano(500_000));
    let mut north = sealer(&joined.heads);
    let charges: Vec<_> = (1..=3).map(|seq| sealed(&mut north, "north", seq)).collect();
    ledger.post("north", joined.epoch, &charges[..2]).await.expect("posted");
    let copy = backup(&scene).await;
    // The client has the receipt of this one; the copy has never heard of it.
    ledger.post("north", joined.epoch, &charges[2..]).await.expect("posted");

    let restored = copy.open().await;
    let ledger = restored.ledger();
    let report = ledger.verify().await.expect("readable");
    assert!(report.is_clean(), "{report:?}");
    assert!(ledger.receipt("north-2").await.expect("readable").len() == 1);
    assert!(ledger.receipt("north-3").await.expect("readable").is_empty());

    // Under its new name a gateway begins numbers and a chain of its own, and what the old one leased comes back.
    let joined = ledger
        .join("north-again", JournalKind::Direct, MINUTE)
        .await
        .expect("it joins");
    assert_eq!((joined.last_seq, joined.heads.len()), (0, 0));
    super::until("the old lease is free", async || {
        ledger.reap().await.expect("it works").contains(&"north".to_owned())
    })
    .await;
    let rest = nano(1_000_000 - 2 * 72_000);
    assert_eq!(lease(&ledger, "north-again", joined.epoch, rest).await, rest);
    let mut again = sealer(&joined.heads);
    let first = sealed(&mut again, "north-again", 1);
    assert_ne!(first.receipt_hash, charges[2].receipt_hash);
    ledger
        .post("north-again", joined.epoch, &[first])
        .await
        .expect("posted");
    let report = ledger.verify().await.expect("readable");
    assert!(report.is_clean(), "{report:?}");
}
