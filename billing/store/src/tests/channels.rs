//! Channels, on both databases: what is raised is on the account once, what was signed stays, and what was closed.

mod facts;

use std::time::Duration;

use billing::channel::{Account, ChannelId, Keys, Network, OnChain, Signer, Take, Terms, Voucher};
use billing::{Ask, Bounds, Charge, ChargeKind, Currency, JournalKind, Nano, Pot, Renewal, Window};

use super::ledger::{BY, charge, id, nano, sealed};
use super::scene::{Scene, by_hand, on_both};
use crate::Store;
use crate::ledger::{
    AddError, ChannelQuery, CloseError, Facts, LedgerStore, NewChannel, RaiseError, Side, Stage, StoredChannel, Word,
    channel_account,
};

on_both!(
    what_is_raised_is_on_the_account_once,
    a_voucher_by_other_keys_counts_for_nothing,
    takes_are_what_was_spent_and_covered,
    closing_waits_for_what_runs_and_gives_back_the_rest,
    what_was_refunded_after_a_take_stays_on_the_account,
    what_was_earned_is_signed_before_the_end,
    a_closed_channel_never_comes_back,
    what_is_no_channel_is_refused_by_name,
    a_take_is_of_what_was_captured,
    two_gateways_raise_one_channel,
    the_other_side_has_no_account,
    others_hear_of_stages_and_facts,
    what_is_altered_is_refused_or_named,
);

const HOUR: Duration = Duration::from_secs(3600);

fn account(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

pub(super) fn new(byte: u8, side: Side, deposited: u64) -> NewChannel {
    let network = Network::TESTNET;
    NewChannel {
        side,
        id: ChannelId {
            network,
            account: account(byte),
        },
        terms: Terms {
            network,
            close_delay_s: 86_400,
            fee_bps: 250,
            salt: 1 << 127 | u128::from(byte),
            payer: account(1),
            payee: account(2),
            fee_dest: Account {
                workchain: -1,
                hash: [3; 32],
            },
        },
        keys: Keys {
            payer: payer().public(),
            payee: payee().public(),
        },
        facts: facts(10, deposited, 0, None),
        word: Word::Agreed,
    }
}

fn facts(seqno: u32, deposited: u64, claimed: u64, close_at: Option<u32>) -> Facts {
    Facts {
        seqno,
        on_chain: OnChain {
            close_at,
            deposited: nano(deposited),
            claimed: nano(claimed),
        },
    }
}

fn payer() -> Signer {
    Signer::from_seed(&[4; 32]).expect("32 bytes are a seed")
}

fn payee() -> Signer {
    Signer::from_seed(&[5; 32]).expect("32 bytes are a seed")
}

fn voucher(new: &NewChannel, amount: u64) -> Voucher {
    Voucher::sign(&payer(), &new.keys, &new.id, nano(amount)).expect("it is the payer's key")
}

async fn money(ledger: &LedgerStore, channel: &ChannelId) -> (u64, u64, i64, bool) {
    let account = ledger.account(&channel_account(channel)).await.expect("readable");
    let account = account.expect("it has an account");
    assert_eq!((account.currency, account.credit), (Currency::TON, Some(Nano::ZERO)));
    (
        account.deposited.get(),
        account.withdrawn.get(),
        account.balance_nano(),
        account.disabled,
    )
}

async fn clean(store: &Store, channels: u64) {
    let report = store.ledger().verify().await.expect("it is checked");
    assert!(report.is_clean(), "{:?}", report.discrepancies);
    assert_eq!(report.checked.channels, channels);
}

/// A node that leased so much of a channel.
async fn lease(ledger: &LedgerStore, channel: &ChannelId, amount: u64) -> u64 {
    let joined = ledger.join("n1", JournalKind::Local, HOUR).await.expect("it joins");
    let renewal = Renewal {
        round: 1,
        asks: vec![Ask {
            pot: Pot {
                account: channel_account(channel),
                window: Window::Total,
            },
            need: nano(amount),
        }],
        returns: Vec::new(),
    };
    ledger
        .renew("n1", joined.epoch, HOUR, &renewal, &[])
        .await
        .expect("it is granted");
    joined.epoch
}

/// A charge of a channel's account.
async fn spend(ledger: &LedgerStore, channel: &ChannelId, epoch: u64, seq: u64, amount: u64) -> Charge {
    let mut charge = charge("n1", seq, channel_account(channel).as_str(), amount);
    charge.key = None;
    charge.currency = Currency::TON;
    charge.terms.rate = None;
    let posted = sealed(charge.clone());
    ledger.post("n1", epoch, &[posted]).await.expect("it is posted");
    charge
}

async fn what_is_raised_is_on_the_account_once(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 1_000);
    let added = channels.add(&new, BY).await.expect("it is new");
    assert_eq!(
        (added.stage, added.credited, added.terms),
        (Stage::Open, Nano::ZERO, new.terms)
    );
    assert_eq!(channels.add(&new, BY).await.expect("it is the same"), added);
    assert_eq!(money(&ledger, &new.id).await, (0, 0, 0, false));

    for (amount, is_new, now, balance) in [
        (300, true, 300, 300),
        // It comes twice, and an older one later.
        (300, false, 0, 300),
        (200, false, 0, 300),
        // No more than was paid in.
        (1_500, true, 700, 1_000),
        (1_600, true, 0, 1_000),
    ] {
        let raised = channels.raise(&voucher(&new, amount), BY).await.expect("it is known");
        assert_eq!((raised.is_new, raised.credited_now.get()), (is_new, now), "{amount}");
        assert_eq!(money(&ledger, &new.id).await.2, balance, "{amount}");
    }
    // What was paid in later is behind the vouchers that were there.
    let observed = channels
        .observe(&new.id, &facts(11, 1_550, 0, None), Word::Agreed, BY)
        .await;
    assert_eq!(observed.expect("it is known").credited_now, nano(550));
    let found = channels.channel(&new.id).await.expect("readable").expect("it is there");
    assert_eq!(
        (found.voucher, found.credited),
        (Some(voucher(&new, 1_600).claim()), nano(1_550))
    );
    assert_eq!(money(&ledger, &new.id).await, (1_550, 0, 1_550, false));

    // Raised vouchers are no operator's doing.
    let audit = store.reader().audit(10).await.expect("readable");
    let actions: Vec<_> = audit.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["account.create"]);
    let unknown = channels.raise(&voucher(&self::new(8, Side::Payee, 0), 1), BY).await;
    assert!(matches!(unknown, Err(RaiseError::NotFound(_))), "{unknown:?}");
    clean(&store, 1).await;

    // Durable, and the same when it is opened again.
    store.close().await;
    let store = scene.open().await;
    let again = store.channels().channel(&new.id).await.expect("readable");
    assert_eq!(again, Some(found));
}

async fn a_voucher_by_other_keys_counts_for_nothing(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 1_000);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 100), BY).await.expect("it is known");
    // As a request brings it, with keys of its own for an address that it copied: good by those.
    let mut theirs = new;
    theirs.keys = Keys {
        payer: payee().public(),
        payee: payer().public(),
    };
    let forged = Voucher::sign(&payee(), &theirs.keys, &theirs.id, nano(900)).expect("it is their key");
    let forged = forged
        .claim()
        .verify(&theirs.keys, &theirs.id)
        .expect("it is good by them");
    let refused = channels.raise(&forged, BY).await;
    assert!(matches!(refused, Err(RaiseError::Keys(_))), "{refused:?}");
    // Not even one that would change nothing is called good.
    let low = Voucher::sign(&payee(), &theirs.keys, &theirs.id, nano(1)).expect("it is their key");
    assert!(matches!(channels.raise(&low, BY).await, Err(RaiseError::Keys(_))));
    assert_eq!(money(&ledger, &new.id).await, (100, 0, 100, false));
    clean(&store, 1).await;
}

async fn takes_are_what_was_spent_and_covered(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 10_000);
    channels.add(&new, BY).await.expect("it is new");
    assert_eq!(channels.take(&new.id, &payee()).await.expect("it is known"), None);
    channels.raise(&voucher(&new, 900), BY).await.expect("it is known");
    assert_eq!(channels.take(&new.id, &payee()).await.expect("it is known"), None);
    let epoch = lease(&ledger, &new.id, 900).await;
    spend(&ledger, &new.id, epoch, 1, 250).await;
    let take = channels
        .take(&new.id, &payee())
        .await
        .expect("it is known")
        .expect("something was spent");
    assert_eq!((take.amount, take.is_last), (nano(250), false));
    let signed = Take::sign(&payee(), &new.keys, &new.id, nano(250)).expect("it is the payee's key");
    assert_eq!(take, signed.claim());
    let other = channels.take(&new.id, &payer()).await;
    assert!(
        matches!(other, Ok(Some(same)) if same == take),
        "nothing is to be signed: {other:?}"
    );
    assert_eq!(channels.take(&new.id, &payee()).await.expect("it is known"), Some(take));
    // More than vouchers cover is not taken: charges are never refused, but only what is covered is held.
    spend(&ledger, &new.id, epoch, 2, 700).await;
    let take = channels
        .take(&new.id, &payee())
        .await
        .expect("it is known")
        .expect("something was spent");
    assert_eq!(take.amount, nano(900));
    let found = channels.channel(&new.id).await.expect("readable").expect("it is there");
    assert_eq!((found.take, found.spent), (Some(take), nano(950)));
}

async fn closing_waits_for_what_runs_and_gives_back_the_rest(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 10_000);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 900), BY).await.expect("it is known");
    let epoch = lease(&ledger, &new.id, 900).await;
    spend(&ledger, &new.id, epoch, 1, 150).await;
    let early = channels.close(&new.id, &payee(), BY).await;
    assert!(
        matches!(early, Err(CloseError::InFlight { leased, .. }) if leased == nano(750)),
        "{early:?}"
    );
    // But nothing new is taken on.
    assert!(money(&ledger, &new.id).await.3);
    ledger.leave("n1", epoch).await.expect("it leaves");
    let other = channels.close(&new.id, &payer(), BY).await;
    assert!(matches!(other, Err(CloseError::Signer(..))), "{other:?}");
    let last = channels.close(&new.id, &payee(), BY).await.expect("nothing runs");
    assert_eq!((last.amount, last.is_last), (nano(150), true));
    let signed = Take::sign_last(&payee(), &new.keys, &new.id, nano(150)).expect("it is the payee's key");
    assert_eq!(last, signed.claim());
    assert_eq!(money(&ledger, &new.id).await, (900, 750, 0, true));
    assert_eq!(
        channels.close(&new.id, &payee(), BY).await.expect("it was closed"),
        last
    );
    assert_eq!(channels.take(&new.id, &payee()).await.expect("it is known"), Some(last));
    let refused = channels.raise(&voucher(&new, 901), BY).await;
    assert!(matches!(refused, Err(RaiseError::Closed(_))), "{refused:?}");
    // A late top-up buys nothing.
    let late = channels
        .observe(&new.id, &facts(20, 20_000, 150, None), Word::Agreed, BY)
        .await;
    assert_eq!(late.expect("it is known").credited_now, Nano::ZERO);
    clean(&store, 1).await;
}

/// The contract pays by what was signed; what was refunded since is owed to the payer, and is not the chain's to return.
async fn what_was_refunded_after_a_take_stays_on_the_account(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 10_000);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 900), BY).await.expect("it is known");
    let epoch = lease(&ledger, &new.id, 900).await;
    let capture = spend(&ledger, &new.id, epoch, 1, 250).await;
    let take = channels.take(&new.id, &payee()).await.expect("it is known");
    assert_eq!(take.map(|take| take.amount), Some(nano(250)));
    let refund = sealed(Charge {
        seq: 2,
        kind: ChargeKind::Refund { of: capture.seq },
        held: nano(100),
        amount: nano(100),
        fee: Nano::ZERO,
        bounds: Bounds::NONE,
        ..capture
    });
    ledger.post("n1", epoch, &[refund]).await.expect("it is posted");
    ledger.leave("n1", epoch).await.expect("it leaves");
    let last = channels.close(&new.id, &payee(), BY).await.expect("nothing runs");
    assert_eq!((last.amount, last.is_last), (nano(250), true));
    // 900 came; the chain pays 250 and gives back 650; 100 are still the payer's.
    assert_eq!(money(&ledger, &new.id).await, (900, 650, 100, true));
    clean(&store, 1).await;
}

/// Whoever said that the contract is gone may have lied: what was earned can be claimed of it.
async fn what_was_earned_is_signed_before_the_end(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 10_000);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 900), BY).await.expect("it is known");
    let epoch = lease(&ledger, &new.id, 900).await;
    spend(&ledger, &new.id, epoch, 1, 150).await;
    let early = channels.bury_payees(&new.id, &payee(), BY).await;
    assert!(matches!(early, Err(CloseError::InFlight { .. })), "{early:?}");
    ledger.leave("n1", epoch).await.expect("it leaves");
    let other = channels.bury_payees(&new.id, &payer(), BY).await;
    assert!(matches!(other, Err(CloseError::Signer(..))), "{other:?}");
    let others = channels.bury_payers(&new.id, BY).await;
    assert!(matches!(others, Err(CloseError::NotFound(_))), "{others:?}");
    let buried = channels.bury_payees(&new.id, &payee(), BY).await.expect("nothing runs");
    // It does not close: whatever is there goes on to be the payer's to end.
    let signed = Take::sign(&payee(), &new.keys, &new.id, nano(150)).expect("it is the payee's key");
    assert_eq!((buried.stage, buried.take), (Stage::Closed, Some(signed.claim())));
    assert_eq!(money(&ledger, &new.id).await, (900, 750, 0, true));
    let refused = channels.close(&new.id, &payee(), BY).await;
    assert!(matches!(refused, Err(CloseError::Closed(_))), "{refused:?}");
    clean(&store, 1).await;
}

async fn a_closed_channel_never_comes_back(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 10_000);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 900), BY).await.expect("it is known");
    let buried = channels.bury_payees(&new.id, &payee(), BY).await.expect("nothing runs");
    assert_eq!((buried.stage, buried.take), (Stage::Closed, None));
    let again = channels.bury_payees(&new.id, &payee(), BY).await;
    assert_eq!(again.expect("it is the same"), buried);
    let refused = channels.close(&new.id, &payee(), BY).await;
    assert!(matches!(refused, Err(CloseError::Closed(_))), "{refused:?}");
    assert_eq!(money(&ledger, &new.id).await, (900, 900, 0, true));
    let again = channels.add(&new, BY).await;
    assert!(matches!(again, Err(AddError::Closed(_))), "{again:?}");
    let mut other = new;
    other.terms.fee_bps = 1;
    let differs = channels.add(&other, BY).await;
    assert!(matches!(differs, Err(AddError::Differs(_))), "{differs:?}");
    // The same address on another network is another channel, and a gateway is on one network.
    other.id.network = Network::MAINNET;
    let differs = channels.add(&other, BY).await;
    assert!(matches!(differs, Err(AddError::Differs(_))), "{differs:?}");
    assert_eq!(channels.channel(&other.id).await.expect("readable"), None);
    clean(&store, 1).await;
}

async fn what_is_no_channel_is_refused_by_name(scene: Scene) {
    let store = scene.open().await;
    let channels = store.channels();
    let mut elsewhere = new(9, Side::Payee, 500);
    elsewhere.id.account.workchain = -1;
    elsewhere.terms.fee_bps = 10_001;
    let refused = channels.add(&elsewhere, BY).await;
    assert!(matches!(refused, Err(AddError::Workchain(_))), "{refused:?}");
    let mut dear = new(9, Side::Payer, 500);
    dear.terms.fee_bps = 10_001;
    let refused = channels.add(&dear, BY).await;
    assert!(
        matches!(refused, Err(AddError::Fee { fee_bps: 10_001, .. })),
        "{refused:?}"
    );
    dear.terms.fee_bps = 10_000;
    channels.add(&dear, BY).await.expect("all of it may be the fee");
    clean(&store, 1).await;
}

async fn a_take_is_of_what_was_captured(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 10_000);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 900), BY).await.expect("it is known");
    let epoch = lease(&ledger, &new.id, 900).await;
    spend(&ledger, &new.id, epoch, 1, 250).await;
    channels.take(&new.id, &payee()).await.expect("it is known");
    clean(&store, 1).await;
    // Signed by another program that has the key, and so good by its signature.
    let forged = Take::sign(&payee(), &new.keys, &new.id, nano(251)).expect("it is the payee's key");
    let signature = billing::receipt::to_hex(&forged.claim().signature);
    let sql = match &scene.location {
        crate::Location::File(_) => format!("UPDATE channels SET take = 251, take_signature = x'{signature}'"),
        _ => format!("UPDATE channels SET take = 251, take_signature = decode('{signature}', 'hex')"),
    };
    by_hand(&store.ledger, sql.leak())
        .await
        .expect("the database cannot know");
    let report = store.ledger().verify().await.expect("it is checked");
    let told: Vec<_> = report.discrepancies.iter().map(ToString::to_string).collect();
    let expect = format!(
        "channel {}: what was signed to be taken is 0.000000251, and should be at most 0.000000250, which is all that \
         was captured",
        new.id.account
    );
    assert_eq!(told, [expect]);
}

async fn two_gateways_raise_one_channel(scene: Scene) {
    let stores = [scene.open().await, scene.open().await];
    let new = new(9, Side::Payee, 1_000_000);
    let mut tasks = Vec::new();
    for (at, store) in stores.iter().enumerate() {
        let channels = store.channels();
        tasks.push(tokio::spawn(async move {
            channels.add(&new, BY).await.expect("both may");
            let mut mine = 0;
            for step in 1..=20 {
                let amount = step * 10 + u64::try_from(at).expect("small");
                let raised = channels.raise(&voucher(&new, amount), BY).await.expect("it is known");
                mine += raised.credited_now.get();
            }
            mine
        }));
    }
    let mut credited = 0;
    for task in tasks {
        credited += task.await.expect("it does not panic");
    }
    assert_eq!(credited, 201);
    assert_eq!(money(&stores[0].ledger(), &new.id).await.2, 201);
    clean(&stores[0], 1).await;
}

async fn the_other_side_has_no_account(scene: Scene) {
    let store = scene.open().await;
    let channels = store.channels();
    let new = new(9, Side::Payer, 1_000);
    channels.add(&new, BY).await.expect("it is new");
    let raised = channels.raise(&voucher(&new, 700), BY).await.expect("it is known");
    assert_eq!((raised.is_new, raised.credited_now), (true, Nano::ZERO));
    for (told, kept) in [(300, 300), (200, 300), (400, 400)] {
        let channel = channels.note_spent(&new.id, nano(told)).await.expect("it is known");
        assert_eq!(channel.spent, nano(kept));
    }
    assert_eq!(
        store
            .ledger()
            .account(&channel_account(&new.id))
            .await
            .expect("readable"),
        None
    );
    assert!(matches!(
        channels.take(&new.id, &payee()).await,
        Err(CloseError::NotFound(_))
    ));
    assert!(matches!(
        channels.close(&new.id, &payee(), BY).await,
        Err(CloseError::NotFound(_))
    ));
    let payees = ChannelQuery {
        side: Some(Side::Payee),
        after: None,
        limit: 10,
    };
    assert_eq!(channels.channels(&payees).await.expect("readable"), []);
    let others = channels.bury_payees(&new.id, &payee(), BY).await;
    assert!(matches!(others, Err(CloseError::NotFound(_))), "{others:?}");
    let buried = channels.bury_payers(&new.id, BY).await.expect("it is gone");
    assert_eq!(channels.bury_payers(&new.id, BY).await.expect("it is the same"), buried);
    assert_eq!((buried.stage, buried.spent), (Stage::Closed, nano(400)));
    clean(&store, 1).await;
}

async fn others_hear_of_stages_and_facts(scene: Scene) {
    let store = scene.open().await;
    let channels = store.channels();
    let start = channels.changes(0).await.expect("readable");
    assert_eq!((start.generation, start.channels), (0, Vec::new()));
    let (one, two) = (new(9, Side::Payee, 500), new(10, Side::Payer, 500));
    for new in [&one, &two] {
        channels.add(new, BY).await.expect("it is new");
    }
    let heard = async |since: i64, expect: &[ChannelId]| {
        let changes = channels.changes(since).await.expect("readable");
        let ids: Vec<_> = changes
            .channels
            .iter()
            .map(|channel: &StoredChannel| channel.id)
            .collect();
        assert_eq!(ids, expect, "since {since}");
        changes.generation
    };
    let generation = heard(0, &[one.id, two.id]).await;
    channels.raise(&voucher(&one, 100), BY).await.expect("it is known");
    assert_eq!(heard(generation, &[]).await, generation);
    channels
        .observe(&one.id, &facts(11, 600, 0, None), Word::Agreed, BY)
        .await
        .expect("it is known");
    let generation = heard(generation, &[one.id]).await;
    channels.stop(&two.id, BY).await.expect("it is known");
    channels.stop(&two.id, BY).await.expect("it is known");
    let generation = heard(generation, &[two.id]).await;
    heard(generation, &[]).await;
    let query = ChannelQuery {
        side: None,
        after: Some(one.id.account),
        limit: 10,
    };
    let after: Vec<_> = channels.channels(&query).await.expect("readable");
    // In the order of the texts.
    assert_eq!(after.iter().map(|channel| channel.id).collect::<Vec<_>>(), [two.id]);
}

async fn what_is_altered_is_refused_or_named(scene: Scene) {
    let store = scene.open().await;
    let channels = store.channels();
    let new = new(9, Side::Payee, 500);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 300), BY).await.expect("it is known");
    for sql in [
        "UPDATE channels SET voucher_max = voucher_max - 1",
        "UPDATE channels SET credited = 0",
        "UPDATE channels SET deposited = 300",
        "UPDATE channels SET payer_key = payee_key",
        "UPDATE channels SET fee_bps = 0",
        "UPDATE channels SET take = 301, take_signature = voucher_signature",
        "UPDATE channels SET credited = 400",
        "DELETE FROM channels",
    ] {
        assert!(by_hand(&store.ledger, sql).await.is_err(), "{sql}");
    }
    clean(&store, 1).await;
    // Within all bounds, but nothing came for it.
    by_hand(&store.ledger, "UPDATE channels SET voucher_max = 400, credited = 400")
        .await
        .expect("the database cannot know");
    let report = store.ledger().verify().await.expect("it is checked");
    let told: Vec<_> = report.discrepancies.iter().map(ToString::to_string).collect();
    let of = new.id.account;
    let expect = [
        format!("channel {of}: the signature of its voucher is another's, and should be the payer's"),
        format!("channel {of}: what is on its account is 0.000000400, and should be 0.000000300"),
    ];
    assert_eq!(told, expect);
    let mut bytes = Vec::new();
    store.ledger().export(&mut bytes, 1).await.expect("it is written");
    let text = String::from_utf8(bytes).expect("JSON is UTF-8");
    assert!(text.lines().any(|line| line.contains(r#""type":"channel""#)), "{text}");
    channels.bury_payees(&new.id, &payee(), BY).await.expect("nothing runs");
    for sql in [
        "UPDATE channels SET stage = 'open', closed_at_ms = NULL",
        "UPDATE channels SET voucher_max = 500",
    ] {
        assert!(by_hand(&store.ledger, sql).await.is_err(), "{sql}");
    }
    assert_eq!(store.ledger().account(&id("org:acme")).await.expect("readable"), None);
}
