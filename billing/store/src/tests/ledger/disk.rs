//! SQLite on a disk that is full, and in a file that is damaged.

use std::fs;
use std::time::Duration;

use billing::JournalKind;

use super::{charge, funded, sealed};
use crate::ledger::{LedgerFault, PostError};
use crate::tests::open;
use crate::tests::scene::by_hand;
use crate::tests::scratch::Scratch;
use crate::{Journal, JournalError, SealedCharge, Writer};

const HOUR: Duration = Duration::from_secs(3600);

fn batch(from: u64, count: u64) -> Vec<SealedCharge> {
    (from..from + count)
        .map(|seq| sealed(charge("n", seq, "org:acme", 10)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_loses_nothing() {
    let scratch = Scratch::new();
    let store = open(&scratch.path("mulberry.db")).await.expect("it opens");
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 1_000_000_000).await;
    let joined = ledger.join("n", JournalKind::Direct, HOUR).await.expect("it joins");
    // SQLite's own bound on the file gives the same error as a disk without space.
    by_hand(&store.ledger, "PRAGMA max_page_count = 150")
        .await
        .expect("a bound");
    let mut last = 0;
    let error = loop {
        match ledger.post("n", joined.epoch, &batch(last + 1, 20)).await {
            Ok(posted) => last = posted.last_seq,
            Err(error) => break error,
        }
        assert!(last < 10_000, "the disk is never full");
    };
    assert!(last > 0);
    let PostError::Fault(fault) = &error else {
        panic!("{error:?}");
    };
    assert!(
        fault.may_pass() && fault.to_string().contains("disk is full"),
        "{fault}"
    );
    let again = ledger.post("n", joined.epoch, &batch(last + 1, 20)).await;
    assert!(
        matches!(again, Err(PostError::Fault(LedgerFault::Database { .. }))),
        "{again:?}"
    );
    assert!(ledger.verify().await.expect("it is checked").is_clean());
    // Space is there again, and what was refused is posted.
    by_hand(&store.ledger, "PRAGMA max_page_count = 100000")
        .await
        .expect("a bound");
    let posted = ledger
        .post("n", joined.epoch, &batch(last + 1, 20))
        .await
        .expect("there is space");
    assert_eq!((posted.new, posted.last_seq), (20, last + 20));
    let report = ledger.verify().await.expect("it is checked");
    assert!(report.is_clean(), "{:?}", report.discrepancies);
    assert_eq!(report.checked.charges, last + 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_page_is_named_and_nothing_is_changed() {
    let scratch = Scratch::new();
    let path = scratch.path("mulberry.db");
    let store = open(&path).await.expect("it opens");
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 1_000_000_000).await;
    let joined = ledger.join("n", JournalKind::Direct, HOUR).await.expect("it joins");
    ledger.post("n", joined.epoch, &batch(1, 400)).await.expect("posted");
    store.close().await;
    let mut bytes = fs::read(&path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40_000].fill(0xa5);
    fs::write(&path, &bytes).expect("writable");

    let store = open(&path).await.expect("the first pages are whole");
    let report = store.ledger().verify().await;
    let said = match report {
        Ok(report) => {
            assert!(!report.is_clean());
            report.discrepancies[0].to_string()
        }
        Err(error) => format!("{:?}", error),
    };
    assert!(said.contains("restore a backup"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_the_ledger_are_on_the_disk() {
    let scratch = Scratch::new();
    let store = open(&scratch.path("mulberry.db")).await.expect("it opens");
    let mode: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(crate::tests::sqlite(&store.ledger))
        .await
        .expect("it says");
    assert_eq!(mode, 2, "FULL");
}

fn writer(epoch: u64) -> Writer {
    Writer {
        node: "n".into(),
        epoch,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journal_keeps_what_was_not_shipped() {
    let scratch = Scratch::new();
    let path = scratch.path("mulberry.db");
    let journal = Journal::open(&path).await.expect("it opens");
    assert_eq!(journal.writer().await.expect("readable"), None);
    let early = journal.append(&batch(1, 1)).await;
    assert!(matches!(early, Err(JournalError::NoWriter)), "{early:?}");
    journal.begin(&writer(1), 0, &[]).await.expect("it begins");
    let mut charges = batch(1, 100);
    charges[41] = super::posting::with_receipt(&mut super::posting::sealer(&[]), charges[41].charge.clone());
    journal.append(&charges).await.expect("written");
    journal.append(&charges[90..]).await.expect("they are here already");
    let gap = journal.append(&batch(102, 1)).await;
    assert!(
        matches!(
            gap,
            Err(JournalError::Gap {
                expected: 101,
                found: 102
            })
        ),
        "{gap:?}"
    );
    let other = journal.append(&[sealed(charge("m", 101, "org:acme", 1))]).await;
    assert!(matches!(other, Err(JournalError::OtherNode { .. })), "{other:?}");
    let unshipped = journal.begin(&writer(2), 60, &[]).await;
    assert!(
        matches!(unshipped, Err(JournalError::Unshipped { count: 40, .. })),
        "{unshipped:?}"
    );
    journal.close().await;

    let journal = Journal::open(&path).await.expect("it opens again");
    assert_eq!(journal.writer().await.expect("whole"), Some(writer(1)));
    assert_eq!(journal.pending(0, 1000).await.expect("readable"), charges);
    assert_eq!(journal.pending(98, 1).await.expect("readable"), charges[98..99]);
    let (count, oldest) = journal.backlog().await.expect("readable");
    assert_eq!((count, oldest), (100, Some(charges[0].charge.at_ms)));
    let receipts = journal.receipt("req-42").await.expect("readable");
    assert_eq!(receipts.len(), 1);
    assert_eq!(Some(&receipts[0].receipt), charges[41].receipt.as_ref());
    let heads = journal.heads().await.expect("readable");
    assert_eq!((heads.len(), heads[0].seq), (1, 42));

    // Shipped and trimmed, numbers go on.
    journal.trim(100).await.expect("trimmed");
    assert_eq!(journal.pending(0, 10).await.expect("readable"), []);
    assert_eq!(journal.backlog().await.expect("readable"), (0, None));
    assert_eq!(journal.last_seq().await.expect("readable"), 100);
    // A batch of which nobody knew what became is known, and another in its place is found out.
    journal.append(&charges[90..]).await.expect("they were written");
    let mut other = charges[99].clone();
    other.charge.model = "another".into();
    let conflict = journal.append(&[other]).await;
    assert!(
        matches!(conflict, Err(JournalError::Conflict { seq: 100 })),
        "{conflict:?}"
    );
    journal.begin(&writer(2), 100, &heads).await.expect("all is shipped");
    journal.append(&batch(101, 2000)).await.expect("written");
    journal.trim(2050).await.expect("trimmed");
    assert_eq!(journal.backlog().await.expect("readable").0, 50);
    assert_eq!(journal.pending(0, 100).await.expect("readable").len(), 50);
    journal.trim(2100).await.expect("trimmed");
    // The ledger has seen less, for it came out of a backup: what is still here is shipped again.
    assert!(!journal.rewind(900).await.expect("readable"), "that is gone");
    assert_eq!(journal.backlog().await.expect("readable").0, 0);
    assert!(journal.rewind(1500).await.expect("readable"));
    assert_eq!(journal.pending(0, 1).await.expect("readable")[0].charge.seq, 1501);
    journal.trim(2100).await.expect("trimmed");
    // The ledger has seen more: this data_dir came out of a backup.
    journal.begin(&writer(3), 2130, &[]).await.expect("all is shipped");
    let reused = journal.append(&batch(2101, 1)).await;
    assert!(
        matches!(reused, Err(JournalError::Conflict { seq: 2101 })),
        "{reused:?}"
    );
    journal.append(&batch(2131, 1)).await.expect("written");
    assert_eq!(journal.last_seq().await.expect("readable"), 2131);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_of_which_a_part_is_missing_is_refused() {
    let scratch = Scratch::new();
    let path = scratch.path("mulberry.db");
    let journal = Journal::open(&path).await.expect("it opens");
    journal.begin(&writer(1), 0, &[]).await.expect("it begins");
    journal.append(&batch(1, 10)).await.expect("written");
    journal.close().await;
    let store = open(&path).await.expect("it opens");
    for (sql, found) in [
        ("DELETE FROM journal WHERE seq = 4", 9),
        ("DELETE FROM journal WHERE seq > 8", 7),
    ] {
        by_hand(&store.ledger, sql).await.expect("done by hand");
        let journal = Journal::open(&path).await.expect("it opens");
        match journal.writer().await {
            Err(JournalError::Torn {
                expected: 10,
                found: there,
                last: 10,
            }) => assert_eq!(there, found),
            outcome => panic!("{outcome:?}"),
        }
    }
}
