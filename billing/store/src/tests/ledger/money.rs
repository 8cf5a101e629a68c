//! Accounts and their money.

use std::time::Duration;

use billing::{Ask, Budget, Currency, JournalKind, Nano, Pot, Renewal, Return, Window};

use super::{BY, DAY, MONTH, charge, deposit, funded, id, nano, new_account, sealed};
use crate::ledger::{
    AccountChange, ChangeError, CreateError, DeclareError, DeclaredKey, DepositError, TransferQuery, WithdrawError,
};
use crate::tests::scene::{Scene, by_hand, on_both};

on_both!(
    accounts_have_names_and_a_currency_for_ever,
    deposits_are_done_once,
    leased_money_is_called_back_and_withdrawn,
    amounts_beyond_any_are_refused,
    keys_of_the_file_are_made_known,
    keys_of_the_database_are_accounts,
    only_changes_that_nodes_must_hear_of_make_a_generation,
);

const HOUR: Duration = Duration::from_secs(3600);

async fn accounts_have_names_and_a_currency_for_ever(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    let new = new_account("org:acme", Some(0));
    let first = ledger.create_account(&new, BY).await.expect("the name is new");
    assert_eq!(
        (first.currency, first.credit, first.balance_nano()),
        (Currency::USD, Some(Nano::ZERO), 0)
    );
    assert_eq!(first.tags, new.tags);
    let again = ledger.create_account(&new, BY).await.expect("it is the same");
    assert_eq!(first, again);
    let other = ledger.create_account(&new_account("org:acme", None), BY).await;
    assert!(matches!(other, Err(CreateError::Taken { .. })), "{other:?}");

    let team = new_account("team:acme/research", None);
    let made = ledger.create_account(&team, BY).await.expect("the name is new");
    assert_eq!((made.parent, made.currency), (Some(id("org:acme")), Currency::USD));
    let orphan = ledger
        .create_account(&new_account("team:other/research", None), BY)
        .await;
    assert!(matches!(orphan, Err(CreateError::NoOrganisation { .. })), "{orphan:?}");
    let system = ledger.create_account(&new_account("system:loss", None), BY).await;
    assert!(matches!(system, Err(CreateError::Level { .. })), "{system:?}");

    let change = AccountChange {
        currency: Some(Currency::TON),
        ..AccountChange::default()
    };
    let refused = ledger.change_account(&id("org:acme"), &change, BY).await;
    assert!(matches!(refused, Err(ChangeError::Currency { .. })), "{refused:?}");
    // Nor by hand.
    for sql in [
        "UPDATE accounts SET currency = 'TON'",
        "UPDATE accounts SET id = 'org:b', organisation = 'org:b' WHERE parent IS NULL",
        "DELETE FROM accounts",
        "UPDATE transfers SET amount = 1",
        "DELETE FROM charges",
    ] {
        funded_once(&ledger).await;
        assert!(by_hand(&store.ledger, sql).await.is_err(), "{sql}");
    }
    let audit = store.reader().audit(10).await.expect("readable");
    assert!(
        audit
            .iter()
            .any(|entry| entry.action == "account.create" && entry.object == "team:acme/research")
    );
}

/// So that there is a row of everything.
async fn funded_once(ledger: &crate::LedgerStore) {
    ledger
        .deposit(&deposit("once", "org:acme", 5), BY)
        .await
        .expect("it is accepted");
    let Ok(joined) = ledger.join("n", JournalKind::Direct, HOUR).await else {
        panic!("it joins");
    };
    let one = sealed(charge("n", joined.last_seq + 1, "org:acme", 0));
    ledger.post("n", joined.epoch, &[one]).await.expect("it is posted");
}

async fn deposits_are_done_once(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 100).await;
    let more = deposit("second", "org:acme", 50);
    let first = ledger.deposit(&more, BY).await.expect("it is accepted");
    assert_eq!((first.is_new, first.balance_nano), (true, 150));
    let again = ledger.deposit(&more, BY).await.expect("it is known");
    assert_eq!((again.is_new, again.balance_nano), (false, 150));
    let other = ledger.deposit(&deposit("second", "org:acme", 51), BY).await;
    assert!(matches!(other, Err(DepositError::Differs { .. })), "{other:?}");
    let team = ledger.deposit(&deposit("t", "team:acme/x", 1), BY).await;
    assert!(matches!(team, Err(DepositError::Level { .. })), "{team:?}");
    let mut wrong = deposit("ton", "org:acme", 1);
    wrong.currency = Currency::TON;
    let wrong = ledger.deposit(&wrong, BY).await;
    assert!(matches!(wrong, Err(DepositError::Currency { .. })), "{wrong:?}");
    let nul = ledger.deposit(&deposit("a\0b", "org:acme", 1), BY).await;
    assert!(matches!(nul, Err(DepositError::Text)), "{nul:?}");

    // Many at once under one name are one.
    let same = deposit("race", "org:acme", 7);
    let racing: Vec<_> = (0..8)
        .map(|_| {
            let (ledger, same) = (ledger.clone(), same.clone());
            tokio::spawn(async move { ledger.deposit(&same, BY).await.map(|deposited| deposited.is_new) })
        })
        .collect();
    let mut new = 0;
    for one in racing {
        new += u32::from(one.await.expect("no panic").expect("it is accepted"));
    }
    assert_eq!(new, 1);

    let transfers = ledger
        .transfers(&TransferQuery {
            account: Some(id("org:acme")),
            before: None,
            limit: 2,
        })
        .await
        .expect("readable");
    let names: Vec<_> = transfers.iter().filter_map(|one| one.reference.as_deref()).collect();
    assert_eq!(names, ["race", "second"]);
    assert_eq!(
        ledger
            .account(&id("org:acme"))
            .await
            .expect("readable")
            .expect("there")
            .balance_nano(),
        157
    );
}

async fn leased_money_is_called_back_and_withdrawn(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 100).await;
    let joined = ledger.join("n", JournalKind::Direct, HOUR).await.expect("it joins");
    let pot = Pot {
        account: id("org:acme"),
        window: Window::Total,
    };
    let mut renewal = Renewal {
        round: 1,
        asks: vec![Ask {
            pot: pot.clone(),
            need: nano(90),
        }],
        returns: Vec::new(),
    };
    let renewed = ledger
        .renew("n", joined.epoch, HOUR, &renewal, &[])
        .await
        .expect("it is renewed");
    let granted = renewed.grants[0].granted;
    assert!(granted >= nano(90), "{granted}");

    let out = deposit("out", "org:acme", 60);
    let refused = ledger.withdraw(&out, BY).await;
    assert!(
        matches!(refused, Err(WithdrawError::Short { available, leased, .. })
            if leased == granted && available == nano(100).saturating_sub(granted)),
        "{refused:?}"
    );
    // The node hears of it, and gives back what it can.
    let generation = ledger.generation().await.expect("readable");
    assert!(generation > renewed.generation);
    renewal = Renewal {
        round: 2,
        asks: Vec::new(),
        returns: vec![Return { pot, amount: granted }],
    };
    ledger
        .renew("n", joined.epoch, HOUR, &renewal, &[])
        .await
        .expect("it is renewed");
    let paid = ledger.withdraw(&out, BY).await.expect("the money is there");
    assert_eq!((paid.is_new, paid.balance_nano), (true, 40));
    let short = ledger.withdraw(&deposit("more", "org:acme", 41), BY).await;
    assert!(
        matches!(short, Err(WithdrawError::Short { available, leased, .. }) if available == nano(40) && leased.is_zero()),
        "{short:?}"
    );
    assert!(ledger.verify().await.expect("it is checked").is_clean());
}

async fn amounts_beyond_any_are_refused(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    let most = Nano::MOST.get();
    funded(&ledger, "org:acme", most - 10).await;
    let more = ledger.deposit(&deposit("more", "org:acme", 11), BY).await;
    assert!(matches!(more, Err(DepositError::Overflow { .. })), "{more:?}");

    // What was used of an organisation without limit leaves what a column holds.
    ledger
        .create_account(&new_account("org:free", None), BY)
        .await
        .expect("new");
    let joined = ledger.join("n", JournalKind::Direct, HOUR).await.expect("it joins");
    let huge = |seq| {
        let mut charge = charge("n", seq, "org:free", 0);
        (charge.held, charge.amount, charge.fee) = (Nano::MOST, nano(most - 1), Nano::ZERO);
        sealed(charge)
    };
    ledger
        .post("n", joined.epoch, &[huge(1)])
        .await
        .expect("it is one amount");
    let before = ledger.accounts().await.expect("readable");
    for batch in [vec![huge(2)], vec![sealed(charge("n", 2, "org:free", 1)), huge(3)]] {
        let refused = ledger
            .post("n", joined.epoch, &batch)
            .await
            .expect_err("no sum holds it");
        assert!(
            refused.to_string().contains("the most that an amount can be"),
            "{refused:?}"
        );
    }
    assert_eq!(ledger.accounts().await.expect("readable"), before);
    ledger
        .post("n", joined.epoch, &[sealed(charge("n", 2, "org:free", 1))])
        .await
        .expect("a little more is an amount");
    assert!(ledger.verify().await.expect("it is checked").is_clean());
}

async fn keys_of_the_file_are_made_known(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 100).await;
    let day = |day: u64| Budget {
        day: Some(nano(day)),
        ..Budget::default()
    };
    let key = |name: &str, account: &str, budget| DeclaredKey {
        name: name.into(),
        account: id(account),
        budget,
    };
    let keys = [
        key("alice", "org:acme", day(5)),
        key("bob", "org:acme", Budget::default()),
    ];
    ledger.declare_keys(&keys, BY).await.expect("their account is there");
    let alice = ledger
        .account(&id("key:alice"))
        .await
        .expect("readable")
        .expect("it is known");
    assert_eq!((alice.parent, alice.budget), (Some(id("org:acme")), day(5)));

    // The same again is no change; another budget is.
    let before = ledger.generation().await.expect("readable");
    ledger.declare_keys(&keys, BY).await.expect("the same");
    assert_eq!(ledger.generation().await.expect("readable"), before);
    ledger
        .declare_keys(&[key("alice", "org:acme", day(6))], BY)
        .await
        .expect("another");
    assert!(ledger.generation().await.expect("readable") > before);

    let nobody = ledger.declare_keys(&[key("eve", "org:nobody", day(1))], BY).await;
    assert!(matches!(nobody, Err(DeclareError::NoAccount { .. })), "{nobody:?}");
    let mut ton = new_account("org:ton", None);
    ton.currency = Some(Currency::TON);
    ledger.create_account(&ton, BY).await.expect("new");
    let moved = ledger.declare_keys(&[key("alice", "org:ton", day(1))], BY).await;
    assert!(matches!(moved, Err(DeclareError::Currency { .. })), "{moved:?}");

    // Its budget goes with it, what it spent stays.
    ledger.declare_keys(&[], BY).await.expect("none");
    let alice = ledger
        .account(&id("key:alice"))
        .await
        .expect("readable")
        .expect("it is known");
    assert_eq!(alice.budget, Budget::default());
}

async fn keys_of_the_database_are_accounts(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    let key = "INSERT INTO keys (name, models, min_tier, disabled, tags, created_at_ms, created_by, account, budget_day) \
               VALUES ('carol', '[]', 'open', false, '{}', 1, 'test', 'org:acme', 7)";
    assert!(by_hand(&store.ledger, key).await.is_err(), "there is no such account");
    funded(&ledger, "org:acme", 100).await;
    let before = store.reader().key_generation().await.expect("readable");
    by_hand(&store.ledger, key).await.expect("its account is there");
    assert!(store.reader().key_generation().await.expect("readable") > before);
    let carol = ledger
        .account(&id("key:carol"))
        .await
        .expect("readable")
        .expect("it is known");
    assert_eq!((carol.parent, carol.budget.day), (Some(id("org:acme")), Some(nano(7))));
    by_hand(&store.ledger, "UPDATE keys SET budget_day = 8, budget_month = 9")
        .await
        .expect("changed");
    let carol = ledger
        .account(&id("key:carol"))
        .await
        .expect("readable")
        .expect("it is known");
    assert_eq!((carol.budget.day, carol.budget.month), (Some(nano(8)), Some(nano(9))));
    by_hand(
        &store.ledger,
        "UPDATE keys SET budget_day = NULL, budget_month = NULL, account = NULL",
    )
    .await
    .expect("changed");
    let carol = ledger
        .account(&id("key:carol"))
        .await
        .expect("readable")
        .expect("it is known");
    assert_eq!(carol.budget, Budget::default());
    let change = ledger
        .change_account(&id("key:carol"), &AccountChange::default(), BY)
        .await;
    assert!(matches!(change, Err(ChangeError::Key { .. })), "{change:?}");
}

async fn only_changes_that_nodes_must_hear_of_make_a_generation(scene: Scene) {
    let store = scene.open().await;
    let ledger = store.ledger();
    funded(&ledger, "org:acme", 100).await;
    let before = ledger.accounts().await.expect("readable");
    ledger
        .deposit(&deposit("more", "org:acme", 5), BY)
        .await
        .expect("accepted");
    let joined = ledger.join("n", JournalKind::Direct, HOUR).await.expect("it joins");
    let one = sealed(charge("n", 1, "org:acme", 9));
    ledger.post("n", joined.epoch, &[one]).await.expect("it is posted");
    assert_eq!(ledger.generation().await.expect("readable"), before.generation);
    let change = AccountChange {
        disabled: Some(true),
        ..AccountChange::default()
    };
    let changed = ledger
        .change_account(&id("org:acme"), &change, BY)
        .await
        .expect("it is changed");
    let after = ledger.accounts().await.expect("readable");
    assert!(after.generation > before.generation);
    assert_eq!(changed.revision, after.generation);
    ledger
        .change_account(&id("org:acme"), &change, BY)
        .await
        .expect("it is so");
    assert_eq!(ledger.generation().await.expect("readable"), after.generation);

    // Nothing more is granted.
    let renewal = Renewal {
        round: 1,
        asks: vec![Ask {
            pot: Pot {
                account: id("org:acme"),
                window: Window::Day(DAY),
            },
            need: nano(1),
        }],
        returns: Vec::new(),
    };
    let renewed = ledger
        .renew("n", joined.epoch, HOUR, &renewal, &[])
        .await
        .expect("it is renewed");
    assert!(renewed.grants[0].more.is_zero());
    assert_eq!(renewed.generation, after.generation);
    assert_eq!(MONTH, billing::Windows::of_day(DAY).month);
}
