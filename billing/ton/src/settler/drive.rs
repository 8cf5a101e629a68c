//! The shell around a settler: asks the chain, keeps the journal, tells the time.
//!
//! Before coins go into a channel, and before they go a second time, it is read; with two sources and an amount above the
//! set one, both must say the same of it. One source that lies could otherwise have a deposit paid three times, though
//! never to anybody else.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use billing::channel::Account;
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::{sync::mpsc, time::Instant};

use super::{Alert, Declined, Effect, Event, GaveUp, Goal, Job, Journal, JournalError, Key, Seen, Settler};
use crate::{
    chain::{AccountState, Chain, ChainError},
    durable,
    sources::{Sources, SourcesError},
};

const TICK: Duration = Duration::from_secs(1);
/// After the chain's source gave no answer.
const REST: Duration = Duration::from_secs(5);
/// Orders that wait, and news that nobody has read yet.
const QUEUE: usize = 256;
/// A journal of all jobs that there may be has fewer bytes.
const MAX_JOURNAL: u64 = 64 * 1024 * 1024;

/// Where journals go.
pub trait Keep: Send + 'static {
    /// Comes back when it is durable.
    fn keep<'a>(&'a mut self, journal: &'a Journal) -> BoxFuture<'a, io::Result<()>>;
}

/// One file, which is replaced whole.
#[derive(Clone, Debug)]
pub struct FileKeep(pub PathBuf);

/// Why a journal's file is of no use, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the journal of payments cannot be read")]
    Io(#[source] io::Error),
    #[error("the journal of payments is of no use")]
    Journal(#[source] JournalError),
}

impl FileKeep {
    /// The journal that was kept last, if any.
    pub async fn load(&self) -> Result<Option<Journal>, LoadError> {
        let path = self.0.clone();
        let read = tokio::task::spawn_blocking(move || {
            if std::fs::metadata(&path)?.len() > MAX_JOURNAL {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            std::fs::read_to_string(path)
        });
        match read.await.map_err(io::Error::other) {
            Ok(Ok(text)) => Journal::from_json(&text).map(Some).map_err(LoadError::Journal),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(Err(error)) | Err(error) => Err(LoadError::Io(error)),
        }
    }
}

impl Keep for FileKeep {
    fn keep<'a>(&'a mut self, journal: &'a Journal) -> BoxFuture<'a, io::Result<()>> {
        let (path, text) = (self.0.clone(), journal.to_json());
        async move {
            let written = tokio::task::spawn_blocking(move || durable::replace(&path, text.as_bytes()));
            written.await.map_err(io::Error::other)?
        }
        .boxed()
    }
}

/// What the settler tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is durable, and will be pursued.
    Accepted(Key),
    Declined(Key, Declined),
    Done(Key, Goal),
    GaveUp(Key, GaveUp),
    Alert(Alert),
    /// Too much depends on what is said of this channel, and nobody can be believed; with the reason. Its jobs wait.
    Unsure(Account, String),
}

/// Gives orders to a settler that runs.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Event>);

/// The settler has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("payments have stopped; the log says why")]
pub struct Stopped;

impl Orders {
    /// Wants a goal. News say whether it was accepted.
    pub async fn want(&self, job: Job) -> Result<(), Stopped> {
        self.0.send(Event::Want(job)).await.map_err(|_| Stopped)
    }

    pub async fn forget(&self, key: Key) -> Result<(), Stopped> {
        self.0.send(Event::Forget(key)).await.map_err(|_| Stopped)
    }
}

/// Why payments stopped.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Nothing may be signed that is not durable.
    #[error("the journal of payments cannot be written; free the disk and start again")]
    Journal(#[source] io::Error),
}

/// A settler with its chain and its journal, ready to run.
pub struct Drive<K> {
    settler: Settler,
    sources: Sources,
    keep: K,
    orders: mpsc::Receiver<Event>,
    news: mpsc::Sender<News>,
    started: Instant,
    /// The chain's source is not asked before.
    rests_until: Option<Instant>,
}

/// Makes a settler ready to run. Somebody must read the news: a queue that is full holds it up.
pub fn prepare<K: Keep>(
    settler: Settler,
    sources: impl Into<Sources>,
    keep: K,
) -> (Drive<K>, Orders, mpsc::Receiver<News>) {
    let (give, orders) = mpsc::channel(QUEUE);
    let (news, read) = mpsc::channel(QUEUE);
    let drive = Drive {
        settler,
        sources: sources.into(),
        keep,
        orders,
        news,
        started: Instant::now(),
        rests_until: None,
    };
    (drive, Orders(give), read)
}

impl<K: Keep> Drive<K> {
    /// Runs until nobody gives orders any more, and what was wanted is done or left for the next start. It may be
    /// dropped at any time: what is durable goes on with the next one.
    pub async fn run(mut self) -> Result<(), DriveError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut events = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => vec![order],
                    None => return Ok(()),
                },
                _ = ticks.tick() => vec![Event::Tick],
            };
            // What has come meanwhile goes to disk together.
            while events.len() < QUEUE
                && let Ok(order) = self.orders.try_recv()
            {
                events.push(order);
            }
            self.handle(events).await?;
        }
    }

    async fn handle(&mut self, mut events: Vec<Event>) -> Result<(), DriveError> {
        while !events.is_empty() {
            let mut effects = Vec::new();
            for event in events.drain(..) {
                let now_s = self.started.elapsed().as_secs();
                effects.extend(self.settler.step(event, now_s));
            }
            let newest = effects.iter().rev().find_map(|effect| match effect {
                Effect::Persist(number) => Some(*number),
                _ => None,
            });
            for effect in effects {
                match effect {
                    // An older one is in the newest.
                    Effect::Persist(number) if Some(number) != newest => {}
                    other => events.extend(self.perform(other).await?),
                }
            }
        }
        Ok(())
    }

    async fn perform(&mut self, effect: Effect) -> Result<Option<Event>, DriveError> {
        let news = match effect {
            Effect::Persist(number) => {
                self.keep
                    .keep(&self.settler.journal())
                    .await
                    .map_err(DriveError::Journal)?;
                return Ok(Some(Event::Persisted(number)));
            }
            Effect::Send(message) => {
                // Whatever comes of it: it is sent again until it is dead.
                return Ok(match self.asked(|chain| chain.send(&message)).await {
                    Some(Err(ChainError::Refused(reason))) => Some(Event::Refused(reason)),
                    _ => None,
                });
            }
            Effect::ReadWallet => {
                let account = self.settler.wallet().account();
                return Ok(self.read(account).await.map(|state| Event::Wallet {
                    head: state.head,
                    standing: self.settler.wallet().standing(&state),
                }));
            }
            Effect::ReadChannel(account) => {
                return Ok(self.read_channel(account).await.map(|state| Event::Channel {
                    account,
                    head: state.head,
                    seen: Seen::read(&account, &state),
                }));
            }
            Effect::Accepted(key) => News::Accepted(key),
            Effect::Declined(key, why) => News::Declined(key, why),
            Effect::Done(key, goal) => News::Done(key, goal),
            Effect::GaveUp(key, why) => News::GaveUp(key, why),
            Effect::Alert(alert) => News::Alert(alert),
        };
        self.tell(news).await;
        Ok(None)
    }

    async fn tell(&self, news: News) {
        // Who does not read them does not want them.
        drop(self.news.send(news).await);
    }

    async fn read_channel(&mut self, account: Account) -> Option<AccountState> {
        if self.is_resting() {
            return None;
        }
        let at_stake = self.settler.at_stake(&account);
        let error = match self.sources.account(account, at_stake).await {
            Ok(state) => return Some(state),
            Err(error) => error,
        };
        match error {
            SourcesError::First(_) | SourcesError::Second(_) | SourcesError::Apart { .. } => {}
            SourcesError::NoSecond { .. } | SourcesError::Networks(..) | SourcesError::Contradiction => {
                self.tell(News::Unsure(account, error.to_string())).await;
            }
        }
        self.rests_until = Some(Instant::now() + REST);
        None
    }

    fn is_resting(&self) -> bool {
        self.rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// `None` where the chain's source gave no answer: a later tick asks again.
    async fn read(&mut self, account: Account) -> Option<AccountState> {
        let answer = self.asked(|chain| chain.account(account)).await;
        answer.and_then(Result::ok)
    }

    /// `None` while the chain's source rests, because it failed a moment ago.
    async fn asked<'a, T>(
        &'a mut self,
        ask: impl FnOnce(&'a Arc<dyn Chain>) -> BoxFuture<'a, Result<T, ChainError>>,
    ) -> Option<Result<T, ChainError>> {
        if self.is_resting() {
            return None;
        }
        let answer = ask(self.sources.first()).await;
        let is_failure = matches!(
            answer,
            Err(ChainError::Unreachable(_) | ChainError::Limited | ChainError::Unreadable(_))
        );
        self.rests_until = is_failure.then(|| Instant::now() + REST);
        Some(answer)
    }
}

impl<K> fmt::Debug for Drive<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Drive({:?})", self.settler)
    }
}

#[cfg(test)]
mod tests;
