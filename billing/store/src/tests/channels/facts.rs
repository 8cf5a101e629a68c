//! What the chain is said to be, on both databases: only what may be true is taken, and no lie stays.

use billing::Nano;
use billing::channel::Contradiction;

use super::super::ledger::{BY, nano};
use super::super::scene::{Scene, on_both};
use super::{clean, facts, lease, money, new, payee, spend, voucher};
use crate::ledger::{AddError, NewChannel, Objection, Side, Stage, Word, channel_account};

on_both!(
    facts_are_merged_by_the_contracts_rules,
    one_source_alone_is_believed_for_a_set_amount,
    claimed_money_is_not_served_again,
    a_starting_close_ends_work,
);

async fn facts_are_merged_by_the_contracts_rules(scene: Scene) {
    let store = scene.open().await;
    let channels = store.channels();
    let new = new(9, Side::Payer, 500);
    channels.add(&new, BY).await.expect("it is new");
    let shrank = |from, to| Contradiction::DepositShrank {
        from: nano(from),
        to: nano(to),
    };
    let unclaimed = |from, to| Contradiction::ClaimShrank {
        from: nano(from),
        to: nano(to),
    };
    let above = Contradiction::ClaimAboveDeposit {
        claimed: nano(901),
        deposited: nano(900),
    };
    let undone = Some(Objection::Chain(Contradiction::CloseUndone));
    let ahead = Some(Objection::Ahead {
        last: 13,
        told: u32::MAX,
    });
    for (told, objection, kept) in [
        (facts(11, 600, 50, None), None, facts(11, 600, 50, None)),
        // An older block says less, and that is no contradiction; or it says what was not heard of.
        (facts(9, 550, 40, None), None, facts(11, 600, 50, None)),
        (facts(9, 700, 60, Some(70)), None, facts(11, 700, 60, Some(70))),
        // No deadline is forgotten or put off.
        (facts(12, 700, 60, None), undone, facts(11, 700, 60, Some(70))),
        (facts(12, 700, 60, Some(90)), undone, facts(11, 700, 60, Some(70))),
        (facts(13, 700, 60, Some(60)), undone, facts(13, 700, 60, Some(60))),
        // Amounts that are less than they were, in a newer block.
        (
            facts(14, 650, 60, Some(60)),
            Some(shrank(700, 650).into()),
            facts(13, 700, 60, Some(60)),
        ),
        (
            facts(14, 700, 50, Some(60)),
            Some(unclaimed(60, 50).into()),
            facts(13, 700, 60, Some(60)),
        ),
        // Nothing is taken of what is no state of the contract, or of no block that can be.
        (
            facts(14, 900, 901, Some(50)),
            Some(above.into()),
            facts(13, 700, 60, Some(60)),
        ),
        (facts(u32::MAX, 900, 90, Some(50)), ahead, facts(13, 700, 60, Some(60))),
        // So that what is true is heard afterwards.
        (facts(15, 900, 70, Some(60)), None, facts(15, 900, 70, Some(60))),
    ] {
        let before = channels.channel(&new.id).await.expect("readable").expect("it is there");
        let observed = channels.observe(&new.id, &told, Word::Agreed, BY).await;
        let observed = observed.expect("it is known");
        let found = channels.channel(&new.id).await.expect("readable").expect("it is there");
        assert_eq!((observed.objection, found.facts), (objection, kept), "{told:?}");
        assert_eq!(observed.is_new, before != found, "{told:?}");
    }
    clean(&store, 1).await;
}

async fn one_source_alone_is_believed_for_a_set_amount(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let most = i64::MAX.unsigned_abs();
    let alone = Word::Alone { up_to: nano(100) };
    let new = NewChannel {
        word: alone,
        ..new(9, Side::Payee, most)
    };
    let added = channels.add(&new, BY).await.expect("it is new");
    assert_eq!(
        (added.facts.on_chain.deposited, added.confirmed),
        (nano(100), Nano::ZERO)
    );
    let raised = channels.raise(&voucher(&new, most), BY).await.expect("it is known");
    assert_eq!(raised.credited_now, nano(100));
    let shrank = |from, to| {
        let (from, to) = (nano(from), nano(to));
        Some(Objection::Chain(Contradiction::DepositShrank { from, to }))
    };
    for (seqno, told, word, objection, kept, confirmed, balance) in [
        (11, 5_000, alone, None, 100, 0, 100),
        (12, 300, Word::Agreed, None, 300, 300, 300),
        (13, most, alone, None, 400, 300, 400),
        // It was not true. What is on the account stays there.
        (14, 350, Word::Agreed, shrank(400, 350), 400, 350, 400),
        // Nor does it keep out what is.
        (15, 420, Word::Agreed, None, 420, 420, 420),
    ] {
        let observed = channels.observe(&new.id, &facts(seqno, told, 0, None), word, BY).await;
        let observed = observed.expect("it is known");
        let found = channels.channel(&new.id).await.expect("readable").expect("it is there");
        assert_eq!(observed.objection, objection, "{told} at {seqno}");
        assert_eq!(
            (found.facts.on_chain.deposited.get(), found.confirmed.get()),
            (kept, confirmed),
            "{told} at {seqno}"
        );
        assert_eq!(money(&ledger, &new.id).await.2, balance, "{told} at {seqno}");
    }
    // Where nothing was put on an account for it, it is gone.
    let other = NewChannel {
        word: alone,
        ..super::new(10, Side::Payee, most)
    };
    channels.add(&other, BY).await.expect("it is new");
    let observed = channels
        .observe(&other.id, &facts(11, 40, 0, None), Word::Agreed, BY)
        .await;
    let observed = observed.expect("it is known");
    assert_eq!(
        (observed.objection, observed.channel.facts.on_chain.deposited),
        (shrank(100, 40), nano(40))
    );
    // There is room for others.
    let raised = channels.raise(&voucher(&other, most), BY).await.expect("it is known");
    assert_eq!(raised.credited_now, nano(40));
    clean(&store, 2).await;
}

/// A database that was restored has forgotten vouchers, takes and charges; the chain has not.
async fn claimed_money_is_not_served_again(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 1_000);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 300), BY).await.expect("it is known");
    let epoch = lease(&ledger, &new.id, 300).await;
    spend(&ledger, &new.id, epoch, 1, 200).await;
    channels.take(&new.id, &payee()).await.expect("it is known");
    // What was signed may be claimed.
    let fair = facts(11, 1_000, 200, None);
    let observed = channels
        .observe(&new.id, &fair, Word::Agreed, BY)
        .await
        .expect("it is known");
    assert_eq!((observed.objection, observed.channel.stage), (None, Stage::Open));
    let claimed = facts(12, 1_000, 201, None);
    let observed = channels.observe(&new.id, &claimed, Word::Agreed, BY).await;
    let observed = observed.expect("it is known");
    let unsigned = Objection::Unsigned {
        claimed: nano(201),
        taken: nano(200),
    };
    assert_eq!(
        (observed.objection, observed.channel.stage),
        (Some(unsigned), Stage::Stopping)
    );
    assert_eq!(money(&ledger, &new.id).await, (300, 0, 100, true));
    // The payer's next voucher is kept, for what was earned; it buys nothing.
    let raised = channels.raise(&voucher(&new, 900), BY).await.expect("it is known");
    assert_eq!((raised.is_new, raised.credited_now), (true, Nano::ZERO));
    assert_eq!(money(&ledger, &new.id).await, (300, 0, 100, true));
    // A channel of which nothing is known here, and something was paid.
    let mut forgotten = super::new(10, Side::Payee, 1_000);
    forgotten.facts.on_chain.claimed = nano(1);
    let refused = channels.add(&forgotten, BY).await;
    assert!(
        matches!(refused, Err(AddError::Claimed { claimed, .. }) if claimed == nano(1)),
        "{refused:?}"
    );
    assert_eq!(
        ledger.account(&channel_account(&forgotten.id)).await.expect("readable"),
        None
    );
    // Of a payer it is what was paid.
    forgotten.side = Side::Payer;
    channels.add(&forgotten, BY).await.expect("it is new");
    clean(&store, 2).await;
}

async fn a_starting_close_ends_work(scene: Scene) {
    let store = scene.open().await;
    let (channels, ledger) = (store.channels(), store.ledger());
    let new = new(9, Side::Payee, 500);
    channels.add(&new, BY).await.expect("it is new");
    channels.raise(&voucher(&new, 300), BY).await.expect("it is known");
    let before = ledger.generation().await.expect("readable");
    let closing = facts(11, 500, 0, Some(1_800_000_000));
    let observed = channels
        .observe(&new.id, &closing, Word::Agreed, BY)
        .await
        .expect("it is known");
    assert_eq!(observed.channel.stage, Stage::Stopping);
    assert_eq!(money(&ledger, &new.id).await, (300, 0, 300, true));
    assert!(
        ledger.generation().await.expect("readable") > before,
        "gateways hear of it"
    );
    // It is not taken back.
    let observed = channels
        .observe(&new.id, &facts(12, 500, 0, None), Word::Agreed, BY)
        .await;
    assert_eq!(observed.expect("it is known").channel.stage, Stage::Stopping);
    // A voucher for what was delivered is still welcome.
    let raised = channels.raise(&voucher(&new, 400), BY).await.expect("it is known");
    assert_eq!(raised.credited_now, nano(100));
    // One that is added while it closes takes no work at all.
    let mut late = super::new(10, Side::Payee, 500);
    late.facts.on_chain.close_at = Some(1_800_000_000);
    let late = channels.add(&late, BY).await.expect("it is new");
    assert_eq!(late.stage, Stage::Stopping);
    assert!(money(&ledger, &late.id).await.3);
    clean(&store, 2).await;
}
