//! Charges: they come back as they were, they are summed up and checked, and whoever alters one is found out.

use std::sync::Arc;
use std::time::Duration;

use billing::receipt::{Sealer, SigningKey};
use billing::{AccountId, Charge, ChargeKind, Evidence, JournalKind, Nano};

use super::{BY, charge, funded, id, nano, new_account, sealed};
use crate::ledger::{ChargeQuery, ExchangeRate, SpendBy, SpendQuery};
use crate::tests::scene::{Scene, by_hand, on_both};
use crate::{LedgerStore, Location, SealedCharge, Store};

on_both!(
    charges_come_back_as_they_were,
    what_was_spent_is_summed_up,
    receipts_go_on_from_where_they_were,
    what_is_altered_is_named,
    an_export_is_computed_anew,
    rates_are_recorded_once,
    what_a_request_paid_is_told_where_its_name_is_its_own,
);

pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn sealer(heads: &[crate::ledger::ChainHead]) -> Sealer {
    let key = SigningKey::from_seed(&[7; 32]).expect("32 bytes are a seed");
    let heads = heads.iter().map(|head| billing::receipt::Head {
        organisation: head.organisation.clone(),
        seq: head.seq,
        hash: head.receipt_hash,
    });
    Sealer::new(Arc::new(key), heads)
}

pub(super) fn with_receipt(sealer: &mut Sealer, mut charge: Charge) -> SealedCharge {
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

fn refund(capture: &Charge, seq: u64, amount: u64, fee: u64) -> Charge {
    Charge {
        seq,
        kind: ChargeKind::Refund { of: capture.seq },
        amount: nano(amount),
        fee: nano(fee),
        held: nano(amount),
        bounds: billing::Bounds::NONE,
        ..capture.clone()
    }
}

/// Two organisations, a team, two nodes, seven charges of which one is a refund, all with receipts.
async fn history(store: &Store) -> Vec<SealedCharge> {
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 1_000_000).await;
    funded(&ledger, "org:beta", 1_000_000).await;
    ledger
        .create_account(&new_account("team:acme/research", None), BY)
        .await
        .expect("the name is new");
    let mut posted = Vec::new();
    for node in ["n1", "n2"] {
        let joined = ledger.join(node, JournalKind::Local, HOUR).await.expect("it joins");
        let mut sealer = sealer(&joined.heads);
        let mut one = charge(node, 1, "org:acme", 72_000);
        one.team = Some(id("team:acme/research"));
        let mut batch = vec![
            with_receipt(&mut sealer, one.clone()),
            with_receipt(&mut sealer, charge(node, 2, "org:beta", 900)),
            with_receipt(&mut sealer, charge(node, 3, "org:acme", 0)),
        ];
        if node == "n1" {
            batch.push(with_receipt(&mut sealer, refund(&one, 4, 9_000, 500)));
        }
        ledger.post(node, joined.epoch, &batch).await.expect("they are posted");
        posted.extend(batch);
    }
    posted
}

async fn charges_come_back_as_they_were(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    let posted = history(&store).await;
    let query = ChargeQuery {
        account: None,
        since_ms: 0,
        until_ms: i64::MAX,
        before: None,
        limit: 100,
    };
    let mut found = ledger.charges(&query).await.expect("readable");
    found.reverse();
    let found: Vec<_> = found.into_iter().map(|one| one.sealed).collect();
    assert_eq!(found, posted);
    for (account, expect) in [
        ("org:beta", 2),
        ("team:acme/research", 3),
        ("key:alice", 7),
        ("key:bob", 0),
    ] {
        let account = Some(id(account));
        let found = ledger
            .charges(&ChargeQuery {
                account,
                ..query.clone()
            })
            .await
            .expect("readable");
        assert_eq!(found.len(), expect);
    }
    let receipts = ledger.receipt("req-1").await.expect("readable");
    // The refund is of the same request.
    assert_eq!(
        receipts.iter().map(|one| (&*one.node, one.seq)).collect::<Vec<_>>(),
        [("n1", 1), ("n1", 4), ("n2", 1)]
    );
    assert_eq!(Some(&receipts[0].receipt), posted[0].receipt.as_ref());

    // Texts that no row holds are cut, and the charge is the same when it comes again.
    let joined = ledger.join("n3", JournalKind::Direct, HOUR).await.expect("it joins");
    let mut odd = charge("n3", 1, "org:acme", 1);
    odd.model = "a\0b".repeat(300);
    odd.request_id = "\u{1f980}".repeat(100);
    odd.billed.prompt = u64::MAX;
    let odd = [sealed(odd)];
    ledger.post("n3", joined.epoch, &odd).await.expect("it is posted");
    let again = ledger.post("n3", joined.epoch, &odd).await.expect("it is posted");
    assert_eq!((again.new, again.already, again.last_seq), (0, 1, 1));
    assert!(ledger.verify().await.expect("it is checked").is_clean());
}

async fn what_was_spent_is_summed_up(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    history(&store).await;
    let check = async |by: SpendBy, account: Option<&str>, expect: &[(Option<&str>, u64, u64, u64)]| {
        let query = SpendQuery {
            by: by.clone(),
            since_ms: 0,
            until_ms: i64::MAX,
            account: account.map(id),
            limit: 10,
        };
        let found = ledger.spend(&query).await.expect("readable");
        let found: Vec<_> = found
            .iter()
            .map(|row| (row.group.as_deref(), row.requests, row.amount.get(), row.refunded.get()))
            .collect();
        assert_eq!(found, expect, "by {by:?} of {account:?}");
    };
    // Twice 72,000 less 9,000, twice 900, twice nothing.
    check(SpendBy::Day, None, &[(Some("2026-11-21"), 6, 136_800, 9_000)]).await;
    check(SpendBy::Model, None, &[(Some("qwen3-8b"), 6, 136_800, 9_000)]).await;
    check(SpendBy::Key, None, &[(Some("alice"), 6, 136_800, 9_000)]).await;
    check(
        SpendBy::Organisation,
        None,
        &[(Some("acme"), 4, 135_000, 9_000), (Some("beta"), 2, 1_800, 0)],
    )
    .await;
    check(
        SpendBy::Team,
        Some("org:acme"),
        &[(Some("acme/research"), 2, 135_000, 9_000), (None, 2, 0, 0)],
    )
    .await;
    check(
        SpendBy::Tag("project".into()),
        Some("org:beta"),
        &[(Some("apollo"), 2, 1_800, 0)],
    )
    .await;
    check(
        SpendBy::Tag("cost centre".into()),
        Some("org:beta"),
        &[(Some("7"), 2, 1_800, 0)],
    )
    .await;
    check(
        SpendBy::Tag("$.x' OR 1".into()),
        Some("org:beta"),
        &[(None, 2, 1_800, 0)],
    )
    .await;
    check(SpendBy::Model, Some("key:bob"), &[]).await;
}

async fn receipts_go_on_from_where_they_were(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    history(&store).await;
    let joined = ledger
        .join("n1", JournalKind::Local, HOUR)
        .await
        .expect("it joins again");
    assert_eq!((joined.epoch, joined.last_seq), (2, 4));
    assert_eq!(
        joined
            .heads
            .iter()
            .map(|head| (head.organisation.as_str(), head.seq))
            .collect::<Vec<_>>(),
        [("org:acme", 4), ("org:beta", 2)]
    );
    let mut sealer = sealer(&joined.heads);
    let next = with_receipt(&mut sealer, charge("n1", 5, "org:beta", 3));
    ledger.post("n1", 2, &[next]).await.expect("it is posted");
    let report = ledger.verify().await.expect("it is checked");
    assert!(report.is_clean(), "{:?}", report.discrepancies);
    assert_eq!(
        (report.checked.charges, report.checked.receipts, report.checked.nodes),
        (8, 8, 2)
    );
}

/// Takes away what keeps rows as they are.
async fn unguard(store: &Store, scene: &Scene) {
    let names: &[&str] = match scene.location {
        Location::File(_) => &[
            "DROP TRIGGER transfers_updated",
            "DROP TRIGGER transfers_deleted",
            "DROP TRIGGER charges_updated",
            "DROP TRIGGER charges_deleted",
        ],
        Location::Postgres(_) => &[
            "DROP TRIGGER transfers_changed ON transfers",
            "DROP TRIGGER charges_changed ON charges",
        ],
    };
    for sql in names {
        by_hand(&store.ledger, sql).await.expect("the trigger is there");
    }
}

async fn what_is_altered_is_named(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    history(&store).await;
    unguard(&store, &scene).await;
    let clean = ledger.verify().await.expect("it is checked");
    assert!(clean.is_clean(), "{:?}", clean.discrepancies);
    // What is done, how it is undone, and two things that the check says of it.
    let alterations: &[(&'static str, &'static str, &str, &str)] = &[
        (
            "UPDATE balances SET credited = credited + 1 WHERE account = 'org:acme' AND node = ''",
            "UPDATE balances SET credited = credited - 1 WHERE account = 'org:acme' AND node = ''",
            "org:acme in USD",
            "what was credited",
        ),
        (
            "UPDATE transfers SET amount = amount + 1 WHERE node = 'n2' AND seq = 2",
            "UPDATE transfers SET amount = amount - 1 WHERE node = 'n2' AND seq = 2",
            "n2/2",
            "its transfers",
        ),
        (
            "UPDATE transfers SET credit = 'system:fees' WHERE node = 'n2' AND seq = 2 AND credit = 'system:earnings'",
            "UPDATE transfers SET credit = 'system:earnings' WHERE node = 'n2' AND seq = 2 AND amount > 50",
            "n2/2",
            "its transfers",
        ),
        (
            "UPDATE transfers SET debit = 'system:loss' WHERE kind = 'deposit' AND credit = 'org:beta'",
            "UPDATE transfers SET debit = 'system:funding' WHERE kind = 'deposit' AND credit = 'org:beta'",
            "a deposit",
            "its way",
        ),
        (
            "UPDATE pots SET used = used - 1 WHERE account = 'team:acme/research' AND span = 'month'",
            "UPDATE pots SET used = used + 1 WHERE account = 'team:acme/research' AND span = 'month'",
            "team:acme/research in 2026-11",
            "what was used",
        ),
        (
            "UPDATE charges SET amount = amount - 1 WHERE node = 'n1' AND seq = 1",
            "UPDATE charges SET amount = amount + 1 WHERE node = 'n1' AND seq = 1",
            "n1/1",
            "what the receipt says",
        ),
        (
            "UPDATE charges SET seq = 9 WHERE node = 'n2' AND seq = 2",
            "UPDATE charges SET seq = 2 WHERE node = 'n2' AND seq = 9",
            "n2/3",
            "the number after the last",
        ),
        (
            "UPDATE charges SET organisation = 'org:beta' WHERE node = 'n2' AND seq = 1",
            "UPDATE charges SET organisation = 'org:acme' WHERE node = 'n2' AND seq = 1",
            "org:beta in total",
            "what was used",
        ),
        (
            "UPDATE charges SET receipt = replace(receipt, 'qwen3-8b', 'qwen3-9b') WHERE node = 'n1' AND seq = 2",
            "UPDATE charges SET receipt = replace(receipt, 'qwen3-9b', 'qwen3-8b') WHERE node = 'n1' AND seq = 2",
            "n1/2",
            "the hash of the receipt",
        ),
        (
            "UPDATE charges SET receipt = NULL, receipt_hash = NULL WHERE node = 'n1' AND seq = 3",
            "",
            "n1/4",
            "the receipt before",
        ),
        (
            "UPDATE nodes SET last_seq = 5 WHERE name = 'n1'",
            "UPDATE nodes SET last_seq = 4 WHERE name = 'n1'",
            "n1",
            "the number of its last charge",
        ),
        (
            "UPDATE charges SET detail = '{}' WHERE node = 'n2' AND seq = 3",
            "",
            "n2/3",
            "the row",
        ),
        (
            "INSERT INTO leases (account, span, number, node, epoch, granted, drawn) VALUES ('org:acme', 'total', 0, 'n1', 1, 3, 4)",
            "DELETE FROM leases",
            "org:acme in total at n1",
            "what was drawn",
        ),
        (
            "DELETE FROM transfers WHERE node = 'n1' AND seq = 4",
            "",
            "n1/4",
            "its transfers",
        ),
        ("DELETE FROM charges WHERE node = 'n2'", "", "transfer ", "its charge"),
        (
            "UPDATE charges SET amount = 80000, held = 80000 WHERE kind = 'refund'",
            "",
            "n1/1",
            "what was given back",
        ),
    ];
    for (alter, undo, subject, what) in alterations {
        by_hand(&store.ledger, alter)
            .await
            .unwrap_or_else(|error| panic!("{alter}: {error}"));
        let report = ledger.verify().await.expect("it is checked");
        let is_named = |one: &crate::ledger::Discrepancy| one.subject.contains(subject) && one.what.contains(what);
        assert!(
            report.discrepancies.iter().any(is_named),
            "{alter}: {:#?}",
            report.discrepancies
        );
        assert!(!report.is_clean());
        if !undo.is_empty() {
            by_hand(&store.ledger, undo).await.expect("it is undone");
            let known = |one: &crate::ledger::Discrepancy| one.to_string();
            let rest: Vec<_> = ledger.verify().await.expect("it is checked").discrepancies;
            assert!(
                !rest.iter().any(is_named),
                "{undo}: {:?}",
                rest.iter().map(known).collect::<Vec<_>>()
            );
        }
    }
}

async fn export(ledger: &LedgerStore) -> String {
    let mut text = Vec::new();
    let lines = ledger.export(&mut text, 1).await.expect("a Vec takes everything");
    let text = String::from_utf8(text).expect("JSON is UTF-8");
    assert_eq!(text.lines().count(), usize::try_from(lines).expect("few"));
    text
}

/// What the independent program says of an export: whether it accepts it, and its words.
fn recomputed(text: &str) -> (bool, String) {
    use std::io::Write;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/ledger_export.py");
    let mut python = std::process::Command::new("python3")
        .arg(script)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3 is on machines that run the tests");
    let mut input = python.stdin.take().expect("it is piped");
    input.write_all(text.as_bytes()).expect("it reads all");
    drop(input);
    let output = python.wait_with_output().expect("it ends");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

async fn an_export_is_computed_anew(scene: Scene) {
    let store = scene.open().await;
    history(&store).await;
    let text = export(&store.ledger()).await;
    let (is_good, said) = recomputed(&text);
    assert!(is_good, "{said}");
    // A text in the export, what it is made into, and what the program then says.
    for (old, new, expect) in [
        ("\"amount\":\"900\"", "\"amount\":\"901\"", "n1/2"),
        ("\"used\":\"135000\"", "\"used\":\"135001\"", "org:acme"),
        ("\"credited\":\"1000000\"", "\"credited\":\"1000001\"", "org:beta"),
        ("\"kind\":\"deposit\"", "\"kind\":\"withdrawal\"", "transfer 1"),
        ("\"seq\":3", "\"seq\":5", "n1"),
        ("qwen3-8b", "qwen3-9b", "digest"),
        ("\"type\":\"end\"", "\"type\":\"rest\"", "end"),
    ] {
        let altered = text.replacen(old, new, 1);
        assert_ne!(altered, text, "{old}");
        let (is_good, said) = recomputed(&altered);
        assert!(!is_good && said.contains(expect), "{old}: {said}");
    }
    let short: Vec<_> = text
        .lines()
        .filter(|line| !line.contains("\"type\":\"charge\""))
        .collect();
    let (is_good, said) = recomputed(&(short.join("\n") + "\n"));
    assert!(!is_good, "{said}");
}

async fn rates_are_recorded_once(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    let (usd, ton) = (billing::Currency::USD, billing::Currency::TON);
    ledger
        .record_rates(&[(usd, ton, nano(350))], BY)
        .await
        .expect("recorded");
    ledger
        .record_rates(&[(usd, ton, nano(350)), (ton, usd, nano(2))], BY)
        .await
        .expect("recorded");
    ledger
        .record_rates(&[(usd, ton, nano(360))], BY)
        .await
        .expect("recorded");
    let rate = |base, quote, rate| ExchangeRate {
        base,
        quote,
        rate: nano(rate),
        at_ms: BY.at_ms,
    };
    let found = ledger.exchange_rates(10).await.expect("readable");
    assert_eq!(found, [rate(usd, ton, 360), rate(ton, usd, 2), rate(usd, ton, 350)]);
    let found = ledger.exchange_rates(1).await.expect("readable");
    assert_eq!(found, [rate(usd, ton, 360)], "the newest");
    assert!(ledger.record_rates(&[(usd, usd, nano(1))], BY).await.is_err());
    assert!(ledger.record_rates(&[(usd, ton, Nano::ZERO)], BY).await.is_err());
    assert_eq!(AccountId::key("x").as_str(), "key:x");
}

async fn what_a_request_paid_is_told_where_its_name_is_its_own(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 1_000_000).await;
    let joined = ledger.join("n1", JournalKind::Local, HOUR).await.expect("it joins");
    let named = |seq: u64, amount: u64, id: &str| Charge {
        request_id: id.to_owned(),
        ..charge("n1", seq, "org:acme", amount)
    };
    let once = named(1, 72_000, "once");
    let batch = [
        once.clone(),
        named(2, 500, "twice"),
        named(3, 600, "twice"),
        named(4, 0, "nothing"),
        refund(&once, 5, 9_000, 500),
        refund(&once, 6, 1_000, 0),
    ];
    let batch = batch.map(|charge| SealedCharge {
        charge,
        receipt: None,
        receipt_hash: None,
    });
    ledger.post("n1", joined.epoch, &batch).await.expect("they are posted");
    let paid = async |ids: &[&str]| {
        let mut found = ledger.paid(ids).await.expect("readable");
        found.sort_by(|a, b| a.request_id.cmp(&b.request_id));
        let told = found.into_iter().map(|paid| (paid.request_id, paid.amount, paid.at_ms));
        told.collect::<Vec<_>>()
    };
    let all = ["once", "unknown", "twice", "nothing", "once"];
    assert_eq!(
        paid(&all).await,
        [
            ("nothing".to_owned(), Nano::ZERO, batch[3].charge.at_ms),
            ("once".to_owned(), nano(62_000), once.at_ms)
        ]
    );
    assert_eq!(paid(&[]).await, []);
}
