//! Who ever wrote to the account that we are paid at.
//!
//! A channel's address that wrote to it before the channel was opened was used before, and what was signed then could be
//! played again; a source that forgets what deleted accounts did does not say so. The history of our own account is read
//! once, as it grows, and who wrote is kept in the database: it may have any length.
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

use super::Shared;
use crate::layers::rescue::Chain as Causes;

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
    #[error("the chain's source does not tell what the payee's account got")]
    Chain(#[from] ChainError),
    #[error("what the chain's source tells of the payee's account does not fit together")]
    History(#[source] Unacceptable),
    #[error("the payee's account has a long history, which is still being read; try again in some minutes")]
    Behind,
}

pub(super) struct Senders {
    chain: Arc<dyn Chain>,
    store: ChannelStore,
    /// Of the payee, on our network.
    of: ChannelId,
    turn: Mutex<()>,
}

impl Senders {
    pub(super) fn new(chain: Arc<dyn Chain>, store: ChannelStore, of: ChannelId) -> Self {
        Self {
            chain,
            store,
            of,
            turn: Mutex::new(()),
        }
    }

    /// When this account first wrote to ours, by its own logical time.
    pub(super) async fn first(&self, from: &Account) -> Result<Option<u64>, SendersError> {
        self.catch_up().await?;
        Ok(self.store.first_heard(&self.of, from).await?)
    }

    /// Reads what is new.
    async fn catch_up(&self) -> Result<(), SendersError> {
        let _turn = self.turn.lock().await;
        for _ in 0..MOST_LOOKS {
            let before = self.store.reached(&self.of).await?;
            let since = before.map(|Reached { lt, hash }| Cursor { lt, hash });
            let history = self.chain.transactions(self.of.account, since, AT_ONCE).await?;
            let Some(last) = history.last() else { return Ok(()) };
            let told = contract::heard(&self.of.account, since, &history).map_err(SendersError::History)?;
            let senders: Vec<Sender> = told
                .into_iter()
                .map(|(account, sent_lt)| Sender { account, sent_lt })
                .collect();
            // Where another gateway was here before, we go on from where it is.
            self.store.hear(&self.of, before, reached(last.at), &senders).await?;
            if history.len() < AT_ONCE {
                return Ok(());
            }
        }
        Err(SendersError::Behind)
    }

    /// Passes over what was before. Only to be called while nobody knows the key: an opening that came before would never
    /// be heard of.
    async fn begin(&self) -> Result<(), SendersError> {
        let _turn = self.turn.lock().await;
        if self.store.reached(&self.of).await?.is_none() {
            let state = self.chain.account(self.of.account).await?;
            if let Some(last) = state.last {
                self.store.hear(&self.of, None, reached(last), &[]).await?;
            }
        }
        Ok(())
    }
}

impl Shared {
    /// With a key that was made just now, and that nobody was told yet. Where the chain does not answer, the history is read
    /// from its beginning later.
    pub(super) async fn begin(&self) {
        match timeout(FIRST_ANSWER, self.senders.begin()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(cause = %Causes(&error), "where the payee's account is cannot be told; its whole history will be read");
            }
            Err(_) => tracing::warn!(
                "the chain does not tell in time where the payee's account is; its whole history will be read"
            ),
        }
    }

    /// Reads what is new now and then, while anybody else uses this.
    pub(super) fn read_on(self: &Arc<Self>) {
        if self.senders.chain.shows_former_lives() {
            return;
        }
        let shared = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut is_failing = false;
            while let Some(shared) = shared.upgrade() {
                match shared.senders.catch_up().await {
                    Ok(()) if std::mem::take(&mut is_failing) => {
                        tracing::info!("the history of the payee's account is read again");
                    }
                    Err(error) if !std::mem::replace(&mut is_failing, true) => {
                        tracing::warn!(cause = %Causes(&error), "the history of the payee's account cannot be read; new channels may not be taken");
                    }
                    Ok(()) | Err(_) => {}
                }
                drop(shared);
                sleep(EVERY).await;
            }
        });
    }
}

fn reached(Cursor { lt, hash }: Cursor) -> Reached {
    Reached { lt, hash }
}
