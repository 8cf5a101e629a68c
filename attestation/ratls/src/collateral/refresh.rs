//! The task that keeps collateral fresh, beside the handshakes.
//!
//! One fetch at a time, each within its clock. What comes is believed only through [`InForce::take`]; what is taken goes
//! to disk. Several sources are asked in their order until one gives what is taken.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use attestation::{Collateral, Refusal};
use tokio::sync::{mpsc, watch};

use crate::Wanted;

use super::{
    Client, InForce, Platform, Shelf, ShelfError, Source, SourceError,
    schedule::{Pace, Schedule},
};

/// Unix time in seconds.
type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Fetches, keeps and renews collateral until its queue of wanted platforms is closed.
pub struct Keeper {
    in_force: Arc<dyn InForce>,
    sources: Vec<Source>,
    client: Client,
    shelf: Option<Shelf>,
    clock: Clock,
    pace: Pace,
    state: watch::Sender<BTreeMap<Platform, State>>,
}

/// How it stands with a platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// When its collateral was last taken, Unix time.
    pub renewed_at: Option<u64>,
    /// The last second in which it holds.
    pub expires: Option<u64>,
    /// Why the last try failed, one line for each source; none after a success.
    pub failures: Vec<String>,
}

/// Why one source did not renew a platform's collateral.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("'{url}' gave none")]
    Source {
        url: String,
        #[source]
        source: SourceError,
    },
    #[error("what '{url}' gave is refused")]
    Refused {
        url: String,
        #[source]
        source: Refusal,
    },
    #[error("no source of collateral is configured")]
    NoSource,
}

impl Keeper {
    /// `clock` gives Unix time. Without a shelf a restart fetches everything again; without a source only what is on
    /// the shelf serves.
    pub fn new(
        in_force: Arc<dyn InForce>,
        sources: Vec<Source>,
        client: Client,
        shelf: Option<Shelf>,
        clock: impl Fn() -> u64 + Send + Sync + 'static,
        pace: Pace,
    ) -> Self {
        Self {
            in_force,
            sources,
            client,
            shelf,
            clock: Arc::new(clock),
            pace,
            state: watch::Sender::new(BTreeMap::new()),
        }
    }

    /// For metrics and for people.
    pub fn state(&self) -> watch::Receiver<BTreeMap<Platform, State>> {
        self.state.subscribe()
    }

    /// Puts what is on the shelf in force. What ended is not, and says how old new collateral must not be. What is
    /// refused is said; a peer that needs it has it fetched again.
    pub fn load(&self) -> Result<Vec<ShelfFailure>, ShelfError> {
        let Some(shelf) = &self.shelf else {
            return Ok(Vec::new());
        };
        let now = (self.clock)();
        let (mut kept, mut failures) = (Vec::new(), Vec::new());
        for collateral in shelf.read_all()? {
            match collateral {
                Ok(collateral) => kept.push(collateral),
                Err(error) => failures.push(ShelfFailure::Unreadable(error)),
            }
        }
        let platforms: Vec<Platform> = kept.iter().map(Platform::of).collect();
        let refused = self.in_force.restore(kept, now).into_iter();
        failures.extend(refused.map(|(platform, refusal)| ShelfFailure::Refused { platform, refusal }));
        let in_force = self.in_force.collateral();
        for platform in platforms {
            if in_force.get(platform.fmspc, platform.ca).is_ok() {
                self.note_taken(platform, now);
            }
        }
        Ok(failures)
    }

    /// Runs until nobody can name a platform any more: until its [`Trust`](crate::Trust) is gone.
    pub async fn run(self, mut wanted: mpsc::Receiver<Wanted>) {
        let mut schedule = Schedule::new(self.pace);
        // Nobody but us renews what was there before us.
        loop {
            self.adopt(&mut schedule);
            let wait = match schedule.next(Instant::now()) {
                Ok(platform) => {
                    self.renew(&mut schedule, platform).await;
                    // Whoever is named meanwhile is noted before the next fetch.
                    while let Ok(named) = wanted.try_recv() {
                        self.want(&mut schedule, named);
                    }
                    if wanted.is_closed() {
                        return;
                    }
                    continue;
                }
                Err(wait) => wait,
            };
            let named = async {
                match wait {
                    Some(wait) => tokio::time::timeout(wait, wanted.recv()).await.ok(),
                    None => Some(wanted.recv().await),
                }
            };
            match named.await {
                Some(Some(named)) => self.want(&mut schedule, named),
                Some(None) => return,
                None => {}
            }
        }
    }

    /// Fetches a platform's collateral now.
    pub async fn fetch(&self, platform: Platform) -> Result<Duration, Vec<Failure>> {
        let mut failures = Vec::new();
        for source in &self.sources {
            match self.fetch_from(source, platform).await {
                Ok(holds) => return Ok(holds),
                Err(failure) => failures.push(failure),
            }
        }
        if failures.is_empty() {
            failures.push(Failure::NoSource);
        }
        Err(failures)
    }

    async fn fetch_from(&self, source: &Source, platform: Platform) -> Result<Duration, Failure> {
        let url = || source.url().to_owned();
        let fetched = source.fetch(&self.client, platform).await;
        let collateral = fetched.map_err(|source| Failure::Source { url: url(), source })?;
        let now = (self.clock)();
        let holds = Duration::from_secs(collateral.expires().saturating_sub(now));
        let taken = self.in_force.take(collateral.clone(), now);
        taken.map_err(|source| Failure::Refused { url: url(), source })?;
        self.keep(collateral).await;
        self.note_taken(platform, now);
        Ok(holds)
    }

    /// In force it is either way; a disk that fails costs a fetch after the next start.
    async fn keep(&self, collateral: Collateral) {
        let Some(shelf) = self.shelf.clone() else {
            return;
        };
        let written = tokio::task::spawn_blocking(move || shelf.write(&collateral)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(error = %chain(&error), "collateral was not kept on disk");
        }
    }

    async fn renew(&self, schedule: &mut Schedule, platform: Platform) {
        match self.fetch(platform).await {
            Ok(holds) => {
                schedule.renewed(platform, holds, fastrand::f64(), Instant::now());
                tracing::info!(%platform, holds_s = holds.as_secs(), "collateral renewed");
            }
            Err(failures) => {
                schedule.failed(platform, fastrand::f64(), Instant::now());
                let failures: Vec<String> = failures.iter().map(|failure| chain(failure)).collect();
                tracing::warn!(%platform, error = failures.join("; "), "collateral not renewed");
                self.state.send_modify(|states| {
                    bound(states, platform);
                    states.entry(platform).or_default().failures = failures;
                });
            }
        }
    }

    fn want(&self, schedule: &mut Schedule, named: Wanted) {
        let Some(platform) = Platform::wanted(named) else {
            return;
        };
        let now = (self.clock)();
        let in_force = self.in_force.collateral();
        let known = in_force.get(platform.fmspc, platform.ca);
        if known.is_ok_and(|collateral| collateral.expires() > now) {
            return;
        }
        schedule.want(platform, Instant::now());
    }

    /// What is in force and not yet scheduled: of the shelf, of a bundle.
    fn adopt(&self, schedule: &mut Schedule) {
        let now = (self.clock)();
        let in_force = self.in_force.collateral();
        let known = in_force.iter().map(|collateral| Platform::of(collateral));
        for platform in schedule.missing(known) {
            let Ok(collateral) = in_force.get(platform.fmspc, platform.ca) else {
                continue;
            };
            let holds = Duration::from_secs(collateral.expires().saturating_sub(now));
            schedule.renewed(platform, holds, fastrand::f64(), Instant::now());
        }
    }

    fn note_taken(&self, platform: Platform, now: u64) {
        let in_force = self.in_force.collateral();
        let taken = in_force.get(platform.fmspc, platform.ca).ok();
        let state = State {
            renewed_at: Some(now),
            expires: taken.map(|collateral| collateral.expires()),
            failures: Vec::new(),
        };
        self.state.send_modify(|states| {
            bound(states, platform);
            states.insert(platform, state);
        });
    }
}

/// What is on the shelf and was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ShelfFailure {
    #[error("collateral on disk cannot be read")]
    Unreadable(#[source] ShelfError),
    #[error("the collateral of {platform} on disk is refused")]
    Refused {
        platform: Platform,
        #[source]
        refusal: Refusal,
    },
}

/// How many platforms are told of. Past that those that never had collateral make room.
const MAX_STATES: usize = 256;

fn bound(states: &mut BTreeMap<Platform, State>, new: Platform) {
    if states.len() < MAX_STATES || states.contains_key(&new) {
        return;
    }
    let oldest = states.iter().min_by_key(|(_, state)| state.renewed_at);
    if let Some(platform) = oldest.map(|(platform, _)| *platform) {
        states.remove(&platform);
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        write!(line, ": {error}").ok();
        cause = error.source();
    }
    line
}
