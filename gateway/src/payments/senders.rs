//! Who ever wrote to the account that we are paid at.
//!
//! A channel's address that wrote to it before the channel was opened was used before, and what was signed then could be
//! played again; a source that forgets what deleted accounts did does not say so. The history of our own account is read
//! once, as it grows, and who wrote is kept in the database, or in a file by who has none: it may have any length.
//! It is read from where the account was when the key was made: nobody could open a channel to a key that nobody knew.

use std::{sync::Arc, time::Duration};

use billing::channel::{Account, ChannelId};
use billing_store::{
    ChannelStore, LedgerFault,
    ledger::{Reached, Sender},
};
use billing_ton::{
    chain::{Chain, ChainError, Cursor},
    contract::{self, Unacceptable},
};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use super::{Shared, heard::Heard};
use crate::{frames::FramesError, layers::rescue::Chain as Causes};

/// Between two looks, so that never much is new.
const EVERY: Duration = Duration::from_secs(60);
/// How long the start waits for the chain, once in the life of a key.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// Transactions of one look.
const AT_ONCE: usize = 1_024;
/// Looks in a row, before others have their turn.
const MOST_LOOKS: usize = 64;

/// Why it is not known who wrote, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendersError {
    #[error("the database does not say who wrote to the payee's account")]
    Store(#[from] LedgerFault),
    #[error("the file of who wrote to the payee's account cannot be used")]
    File(#[from] FramesError),
    #[error("the chain's source does not tell what the payee's account got")]
    Chain(#[from] ChainError),
    #[error("what the chain's source tells of the payee's account does not fit together")]
    History(#[source] Unacceptable),
    #[error("the payee's account has a long history, which is still being read; try again in some minutes")]
    Behind,
}

/// Where it is kept.
enum Book {
    Database { store: ChannelStore, of: ChannelId },
    File(Box<Mutex<Heard>>),
}

pub(crate) struct Senders {
    chain: Arc<dyn Chain>,
    book: Book,
    /// The payee.
    of: Account,
    turn: Mutex<()>,
}

impl Senders {
    pub(super) fn new(chain: Arc<dyn Chain>, store: ChannelStore, of: ChannelId) -> Self {
        Self::kept(chain, Book::Database { store, of }, of.account)
    }

    pub(crate) fn in_file(chain: Arc<dyn Chain>, file: Heard, of: Account) -> Self {
        Self::kept(chain, Book::File(Box::new(Mutex::new(file))), of)
    }

    fn kept(chain: Arc<dyn Chain>, book: Book, of: Account) -> Self {
        Self {
            chain,
            book,
            of,
            turn: Mutex::new(()),
        }
    }

    /// When this account first wrote to ours, by its own logical time.
    pub(super) async fn first(&self, from: &Account) -> Result<Option<u64>, SendersError> {
        self.catch_up().await?;
        match &self.book {
            Book::Database { store, of } => Ok(store.first_heard(of, from).await?),
            Book::File(heard) => Ok(heard.lock().await.first(from)),
        }
    }

    /// Reads what is new now and then, until dropped.
    pub(crate) async fn read_on(&self) {
        if self.chain.shows_former_lives() {
            return std::future::pending().await;
        }
        let mut is_failing = false;
        loop {
            self.read(&mut is_failing).await;
            sleep(EVERY).await;
        }
    }

    /// Reads what is new, and tells once that it cannot.
    async fn read(&self, is_failing: &mut bool) {
        match self.catch_up().await {
            Ok(()) if std::mem::take(is_failing) => {
                tracing::info!("the history of the payee's account is read again");
            }
            Err(error) if !std::mem::replace(is_failing, true) => {
                tracing::warn!(cause = %Causes(&error), "the history of the payee's account cannot be read; new channels may not be taken");
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Reads what is new.
    async fn catch_up(&self) -> Result<(), SendersError> {
        let _turn = self.turn.lock().await;
        for _ in 0..MOST_LOOKS {
            let since = self.reached().await?;
            let history = self.chain.transactions(self.of, since, AT_ONCE).await?;
            let Some(last) = history.last() else { return Ok(()) };
            let told = contract::heard(&self.of, since, &history).map_err(SendersError::History)?;
            let senders: Vec<Sender> = told
                .into_iter()
                .map(|(account, sent_lt)| Sender { account, sent_lt })
                .collect();
            self.hear(since, last.at, &senders).await?;
            if history.len() < AT_ONCE {
                return Ok(());
            }
        }
        Err(SendersError::Behind)
    }

    /// Passes over what was before. Only to be called while nobody knows the key: an opening that came before would never
    /// be heard of. Where the chain does not answer, the history is read from its beginning later.
    pub(crate) async fn begin(&self) {
        match timeout(FIRST_ANSWER, self.pass_over()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(cause = %Causes(&error), "where the payee's account is cannot be told; its whole history will be read");
            }
            Err(_) => tracing::warn!(
                "the chain does not tell in time where the payee's account is; its whole history will be read"
            ),
        }
    }

    async fn pass_over(&self) -> Result<(), SendersError> {
        let _turn = self.turn.lock().await;
        if self.reached().await?.is_none() {
            let state = self.chain.account(self.of).await?;
            if let Some(last) = state.last {
                self.hear(None, last, &[]).await?;
            }
        }
        Ok(())
    }

    async fn reached(&self) -> Result<Option<Cursor>, SendersError> {
        match &self.book {
            Book::Database { store, of } => {
                let reached = store.reached(of).await?;
                Ok(reached.map(|Reached { lt, hash }| Cursor { lt, hash }))
            }
            Book::File(heard) => Ok(heard.lock().await.reached()),
        }
    }

    async fn hear(&self, before: Option<Cursor>, now: Cursor, senders: &[Sender]) -> Result<(), SendersError> {
        match &self.book {
            Book::Database { store, of } => {
                // Where another gateway was here before, we go on from where it is.
                store.hear(of, before.map(reached), reached(now), senders).await?;
            }
            Book::File(heard) => heard.lock().await.hear(now, senders)?,
        }
        Ok(())
    }
}

impl Shared {
    /// Reads what is new now and then, while anybody else uses this.
    pub(super) fn read_on(self: &Arc<Self>) {
        if self.senders.chain.shows_former_lives() {
            return;
        }
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut is_failing = false;
            while let Some(shared) = shared.upgrade() {
                shared.senders.read(&mut is_failing).await;
                drop(shared);
                sleep(EVERY).await;
            }
        });
    }
}

fn reached(Cursor { lt, hash }: Cursor) -> Reached {
    Reached { lt, hash }
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use billing::Nano;
    use billing_ton_sim::{Settings, Simulated};

    use super::*;
    use crate::payer::shelf::tests::Scratch;

    fn account(number: u32) -> Account {
        let mut hash = [7; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        Account { workchain: 0, hash }
    }

    /// A payout address that so much came to already.
    fn busy(transactions: u32) -> Simulated {
        let chain = Simulated::in_memory(Settings::for_tests(1)).expect("a chain");
        pay(&chain, transactions);
        chain
    }

    fn pay(chain: &Simulated, transactions: u32) {
        for _ in 0..transactions {
            // A block has room for some.
            while chain.fund(account(0), Nano::saturating(1_000_000)).is_err() {
                chain.tick().expect("a block");
            }
        }
        while !chain.tick().expect("a block").transactions.is_empty() {}
    }

    async fn count(chain: &Simulated, since: Option<Cursor>) -> usize {
        let told = chain.transactions(account(0), since, 100_000).await;
        told.expect("it tells").len()
    }

    /// A worker's payout address is often a wallet with a past.
    #[tokio::test]
    async fn a_long_history_before_the_key_is_not_read() {
        let scratch = Scratch::new("heard-new");
        let path = scratch.path().join("heard");
        let chain = busy(6_000);
        let shared: Arc<dyn Chain> = Arc::new(chain.clone());
        let heard = Heard::open(&path).expect("a file");
        let senders = Senders::in_file(shared.clone(), heard, account(0));
        senders.begin().await;
        assert_eq!(senders.first(&account(9)).await.expect("readable"), None);
        let since = senders.reached().await.expect("readable");
        assert_eq!(count(&chain, since).await, 0);
        drop(senders);
        // What comes then is read, after a restart too, of which the key is not new.
        pay(&chain, 3);
        assert_eq!(count(&chain, since).await, 3);
        let again = Senders::in_file(shared, Heard::open(&path).expect("the file"), account(0));
        assert_eq!(again.reached().await.expect("readable"), since);
        again.catch_up().await.expect("readable");
        let now = again.reached().await.expect("readable");
        assert_eq!(count(&chain, now).await, 0);
    }

    /// A key of which it is not known since when it is there: all of it, in pieces.
    #[tokio::test]
    async fn a_long_history_since_the_key_is_read_once() {
        let scratch = Scratch::new("heard-old");
        let path = scratch.path().join("heard");
        let chain = busy(6_000);
        let shared: Arc<dyn Chain> = Arc::new(chain.clone());
        let senders = Senders::in_file(shared, Heard::open(&path).expect("a file"), account(0));
        let mint = {
            let told = chain.transactions(account(0), None, 10).await.expect("it tells");
            let said = contract::heard(&account(0), None, &told).expect("they fit");
            said.first().copied()
        };
        senders.catch_up().await.expect("readable");
        let now = senders.reached().await.expect("readable");
        assert_eq!(count(&chain, now).await, 0);
        drop(senders);
        let heard = Heard::open(&path).expect("the file");
        assert_eq!(heard.reached(), now);
        if let Some((from, sent_lt)) = mint {
            assert_eq!(heard.first(&from), Some(sent_lt));
        }
    }
}
