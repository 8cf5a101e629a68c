use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, FutureExt as _};

use super::*;
use crate::{
    chain::{Cursor, Transaction},
    transaction::fake::indexed,
};

/// A source that gives one answer after the other, and the last one for ever.
struct Told {
    network: Network,
    answers: Vec<Option<AccountState>>,
    asked: AtomicUsize,
}

impl Chain for Told {
    fn network(&self) -> Network {
        self.network
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, ChainError>> {
        async { Err(ChainError::Limited) }.boxed()
    }

    fn account(&self, _: Account) -> BoxFuture<'_, Result<AccountState, ChainError>> {
        let at = self.asked.fetch_add(1, Ordering::Relaxed).min(self.answers.len() - 1);
        async move { self.answers[at].clone().ok_or(ChainError::Limited) }.boxed()
    }

    fn transactions(
        &self,
        _: Account,
        _: Option<Cursor>,
        _: usize,
    ) -> BoxFuture<'_, Result<Vec<Transaction>, ChainError>> {
        async { Err(ChainError::Limited) }.boxed()
    }

    fn send<'a>(&'a self, _: &'a [u8]) -> BoxFuture<'a, Result<(), ChainError>> {
        async { Err(ChainError::Limited) }.boxed()
    }

    fn config_parameter(&self, _: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, ChainError>> {
        async { Err(ChainError::Limited) }.boxed()
    }
}

fn state(seqno: u32, lt: u64, balance: u128) -> Option<AccountState> {
    Some(AccountState {
        head: Head { seqno, time: seqno },
        balance,
        last: Some(Cursor { lt, hash: [1; 32] }),
        status: Status::Uninitialised,
    })
}

fn told(answers: &[Option<AccountState>]) -> Arc<Told> {
    Arc::new(Told {
        network: Network::TESTNET,
        answers: answers.to_vec(),
        asked: AtomicUsize::new(0),
    })
}

const ACCOUNT: Account = Account {
    workchain: 0,
    hash: [7; 32],
};
const LITTLE: Nano = Nano::saturating(10);
const MUCH: Nano = Nano::saturating(11);

async fn asked(one: &[Option<AccountState>], other: &[Option<AccountState>]) -> Result<AccountState, SourcesError> {
    Sources::new(told(one), Some(told(other)), LITTLE)
        .account(ACCOUNT, MUCH)
        .await
}

#[tokio::test(start_paused = true)]
async fn little_depends_on_one_and_much_on_two() {
    let (one, other) = (told(&[state(5, 3, 1)]), told(&[state(4, 3, 1)]));
    let sources = Sources::new(one.clone(), Some(other.clone()), LITTLE);
    assert_eq!(sources.account(ACCOUNT, LITTLE).await.ok(), state(5, 3, 1));
    assert_eq!(other.asked.load(Ordering::Relaxed), 0);
    // What both have seen is of the older block.
    assert_eq!(sources.account(ACCOUNT, MUCH).await.ok(), state(4, 3, 1));
    let alone = Sources::new(one, None, LITTLE);
    assert!(matches!(
        alone.account(ACCOUNT, MUCH).await,
        Err(SourcesError::NoSecond { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_behind_is_waited_for() {
    let caught_up = asked(&[state(5, 3, 1)], &[state(3, 2, 9), state(4, 2, 9), state(6, 3, 1)]).await;
    assert_eq!(caught_up.ok(), state(5, 3, 1));
    let behind = asked(&[state(5, 3, 1)], &[state(3, 2, 9)]).await;
    assert!(matches!(behind, Err(SourcesError::Apart { .. })), "{behind:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lie_is_found_out() {
    let lie = asked(&[state(5, 3, 1)], &[state(5, 3, 2)]).await;
    assert!(matches!(lie, Err(SourcesError::Contradiction)), "{lie:?}");
    let mut other = state(5, 3, 1).expect("a state");
    other.status = Status::Frozen;
    let lie = asked(&[state(5, 3, 1)], &[Some(other)]).await;
    assert!(matches!(lie, Err(SourcesError::Contradiction)), "{lie:?}");
    assert!(matches!(asked(&[None], &[None]).await, Err(SourcesError::First(_))));
    assert!(matches!(
        asked(&[state(5, 3, 1)], &[None]).await,
        Err(SourcesError::Second(_))
    ));
    let elsewhere = Arc::new(Told {
        network: Network::MAINNET,
        answers: vec![state(5, 3, 1)],
        asked: AtomicUsize::new(0),
    });
    let sources = Sources::new(told(&[state(5, 3, 1)]), Some(elsewhere), LITTLE);
    assert!(matches!(
        sources.account(ACCOUNT, MUCH).await,
        Err(SourcesError::Networks(..))
    ));
}

#[tokio::test(start_paused = true)]
async fn honest_sources_agree_however_they_write_cells() {
    let bag = |number: u8| {
        let mut builder = tycho_types::cell::CellBuilder::new();
        builder.store_u8(number).expect("it fits");
        Boc::encode(builder.build().expect("a cell"))
    };
    let active = |code: Vec<u8>, data: Vec<u8>| {
        state(5, 3, 1).map(|state| AccountState {
            status: Status::Active { code, data },
            ..state
        })
    };
    let plain = active(bag(1), bag(2));
    for same in [
        active(indexed(&bag(1)), bag(2)),
        active(bag(1), indexed(&bag(2))),
        plain.clone(),
    ] {
        let agreed = asked(std::slice::from_ref(&plain), &[same]).await;
        assert_eq!(agreed.ok(), plain);
    }
    for other in [
        active(bag(1), indexed(&bag(3))),
        active(bag(3), bag(2)),
        active(bag(1), b"no bag".to_vec()),
    ] {
        let lie = asked(std::slice::from_ref(&plain), &[other]).await;
        assert!(matches!(lie, Err(SourcesError::Contradiction)), "{lie:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_small_accounts_are_one_large_one() {
    let (one, other) = (told(&[state(5, 3, 1)]), told(&[state(4, 3, 1)]));
    let sources = Sources::new(one, Some(other.clone()), LITTLE);
    let account = |byte| Account {
        workchain: 0,
        hash: [byte; 32],
    };
    let asked_both = async |sources: &Sources, byte, at_stake| {
        let before = other.asked.load(Ordering::Relaxed);
        let answer = sources.account(account(byte), Nano::saturating(at_stake)).await;
        assert!(answer.is_ok(), "{answer:?}");
        other.asked.load(Ordering::Relaxed) > before
    };
    assert!(!asked_both(&sources, 1, 6).await);
    assert!(!asked_both(&sources, 2, 4).await);
    // The same again is the same amount, and nothing is at stake of this one.
    assert!(!asked_both(&sources, 1, 6).await);
    assert!(!asked_both(&sources, 3, 0).await);
    assert!(asked_both(&sources, 3, 1).await);
    assert!(asked_both(&sources.clone(), 4, 1).await, "a clone is no way around");
    // What was claimed, or is long ago, depends on nobody.
    assert!(!asked_both(&sources, 2, 0).await);
    assert!(!asked_both(&sources, 3, 4).await);
    assert!(asked_both(&sources, 4, 10).await);
    tokio::time::advance(TRUST).await;
    assert!(!asked_both(&sources, 4, 10).await);
    let alone = Sources::new(told(&[state(5, 3, 1)]), None, LITTLE);
    assert!(alone.account(account(1), LITTLE).await.is_ok());
    let error = alone.account(account(2), LITTLE).await.expect_err("too much in all");
    assert!(
        matches!(error, SourcesError::NoSecond { at_stake, .. } if at_stake == Nano::saturating(20)),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn two_that_say_that_there_is_nothing_agree() {
    let gone = |last| {
        state(5, 3, 0).map(|state| AccountState {
            last,
            status: Status::Nonexistent,
            ..state
        })
    };
    let forgot = gone(None);
    let knows = gone(Some(Cursor { lt: 3, hash: [1; 32] }));
    let agreed = asked(std::slice::from_ref(&forgot), &[knows]).await;
    assert_eq!(agreed.ok(), forgot);
}
