//! The registrar: reads the registry that an operator named, again and again, and lets it take away what it does not allow.
//!
//! - Nobody who shows evidence is accepted before the registry was read once, nor when it was not for longer than is set:
//!   it fails closed.
//! - What was read holds at once, and is written down. A source that shows an earlier state, or another one of the same
//!   change, is refused, after a restart too, unless the disk failed; that is told, and tried again.
//! - All that is asked of it narrows: [`attestation::Policy::narrowed`] and [`Registry::fee`] take what the operator wrote
//!   and give back that or less.
//!
//! It leaves to you: whether the source tells the truth (name two), and peers that are known by a key, which no registry
//! lists.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use attestation::{Allowed, Hex, Role};
use attestation_ratls::Trust;
use billing::channel::{Account, Network, PublicKey};
use billing_store::private_folder;
use billing_ton::{
    address,
    registry::{self, Fee, Older, ReadError, Registry},
};

use crate::{
    chain_source::{ChainFrom, ChainSilent, ChainSource, ChainSourceError},
    config::{self, Timestamp},
    layers::rescue::Chain,
    metrics::RegistryMetrics,
    wall_clock::unix_seconds,
};
use shelf::{Kept, KeptError, Shelf};

mod shelf;

/// How long a start waits for the first answer.
const FIRST: Duration = Duration::from_secs(10);
/// After a failure it is asked again within this time, where `every` is longer.
const AGAIN: Duration = Duration::from_secs(15);
/// How far clocks may differ from each other, and from themselves before they were set.
const SKEW_S: u64 = 300;
/// A registry's changes wait for an hour at least: whoever asks more seldom may miss one.
const MOST_SELDOM: Duration = Duration::from_secs(3600);
/// What is older says nothing about now.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Why a registry cannot be read in such times; what was read must outlive an answer that is missed.
pub(crate) fn unfit(every: Duration, keep: Duration) -> Option<&'static str> {
    if every < Duration::from_millis(100) || every > MOST_SELDOM {
        Some("read it at least every 1h, so that no change is missed, and at most every 100ms")
    } else if keep < every.saturating_mul(2) || keep > LONGEST {
        Some("keep what was read for at least twice as long as it is not read again, and for at most 720h")
    } else {
        None
    }
}

/// Where the registry is, and how it is read.
pub(crate) struct Settings {
    pub(crate) account: Account,
    pub(crate) network: Network,
    pub(crate) source: ChainSource,
    pub(crate) every: Duration,
    /// For how long what was read holds.
    pub(crate) keep: Duration,
    /// Where what was read is kept between two starts.
    pub(crate) file: Option<PathBuf>,
}

/// Why no registry can be followed, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("registry.address is no address")]
    Address,
    #[error("registry.chain cannot be used: {0}")]
    Source(String),
    #[error(transparent)]
    Chain(#[from] ChainSourceError),
    #[error("what is read of the registry can be kept nowhere")]
    Folder(#[source] billing_store::OpenError),
    #[error(transparent)]
    Kept(#[from] KeptError),
}

/// Why an answer about the registry was not taken, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error(transparent)]
    Silent(#[from] ChainSilent),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Older(#[from] Older),
    #[error(
        "the source shows another charter at change {change} than was read before, and only one can be: somebody lies, or the chain began anew"
    )]
    Other { change: u64 },
    #[error(transparent)]
    Kept(#[from] KeptError),
}

/// What was read, and when by our own clock.
#[derive(Clone, Debug)]
struct Heard {
    registry: Arc<Registry>,
    /// Unix seconds.
    at: u64,
    /// When it came to be here; it is not set back as the time of day may be.
    since: Instant,
}

impl Heard {
    fn new(registry: Registry, at: u64) -> Self {
        Self {
            registry: Arc::new(registry),
            at,
            since: Instant::now(),
        }
    }

    /// `None` where the time of day is before it was read: then nobody knows.
    fn age(&self) -> Option<Duration> {
        let now = unix_seconds();
        let age = Duration::from_secs(now.saturating_sub(self.at)).max(self.since.elapsed());
        (now + SKEW_S >= self.at).then_some(age)
    }
}

/// How the registry stands, for an administrator.
pub(crate) struct Standing {
    pub(crate) account: Account,
    pub(crate) network: Network,
    /// Whether evidence is accepted at all.
    pub(crate) is_in_force: bool,
    /// What was read last, and when.
    pub(crate) read: Option<(Arc<Registry>, u64)>,
    /// Why the last answer was not taken.
    pub(crate) refused: Option<String>,
}

/// Follows a registry. Cheap to clone; off where none is named, and then it takes nothing away.
#[derive(Clone, Default)]
pub(crate) struct Registrar(Option<Arc<Shared>>);

struct Shared {
    settings: Settings,
    shelf: Option<Shelf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    heard: Option<Heard>,
    refused: Option<String>,
    /// Who judges peers by what it leaves.
    governed: Vec<Weak<Trust>>,
    /// What was told of the change that waits.
    told_pending: Option<u64>,
    is_told_closed: bool,
}

impl Registrar {
    /// By a section of the configuration.
    pub(crate) async fn of(section: &config::Registry, folder: Option<&Path>) -> Result<Self, OpenError> {
        let named: Result<Vec<ChainFrom>, String> = section.chain.iter().map(|text| ChainFrom::parse(text)).collect();
        if let Some(folder) = folder {
            private_folder(folder).map_err(OpenError::Folder)?;
        }
        let key = section.chain_api_key.as_ref().map(|key| key.expose().to_owned());
        let network = section.network();
        Self::open(Settings {
            account: section.account().ok_or(OpenError::Address)?,
            network,
            source: ChainSource::with_key(&named.map_err(OpenError::Source)?, key, network)?,
            every: section.every,
            keep: section.keep,
            file: folder.map(|folder| folder.join(shelf::NAME)),
        })
        .await
    }

    /// Takes up what was read before, and asks for what holds now. Without an answer it goes on.
    pub(crate) async fn open(settings: Settings) -> Result<Self, OpenError> {
        let shelf = settings.file.clone().map(Shelf::new);
        let kept = match &shelf {
            Some(shelf) => shelf.read(settings.network, settings.account)?,
            None => None,
        };
        let heard = kept.map(|Kept { registry, at }| Heard::new(registry, at));
        let shared = Shared {
            settings,
            shelf,
            state: Mutex::new(State {
                heard,
                ..State::default()
            }),
        };
        if tokio::time::timeout(FIRST, shared.look()).await.is_err() {
            tracing::warn!(
                source = shared.settings.source.names().join(" and "),
                "nobody answers about the registry yet"
            );
            shared.lock().refused = Some("nobody has answered yet".to_owned());
        }
        shared.apply();
        Ok(Self(Some(Arc::new(shared))))
    }

    /// From here on this accepts no more than the registry allows, whatever changes.
    pub(crate) fn govern(&self, trust: &Arc<Trust>) {
        let Some(shared) = &self.0 else { return };
        let mut state = shared.lock();
        state.governed.push(Arc::downgrade(trust));
        trust.allow_only(shared.allowed(&state));
    }

    /// The fee to ask for: never more than the operator says, and none before the registry was read.
    pub(crate) fn fee(&self, local: Fee) -> Fee {
        let Some(shared) = &self.0 else { return local };
        match shared.in_force(&shared.lock()) {
            Some(heard) => heard.registry.fee(local),
            None => Fee { bps: 0, ..local },
        }
    }

    /// Whether a gateway that takes payments by this key may be paid.
    pub(crate) fn allows_gateway(&self, key: &PublicKey) -> bool {
        let Some(shared) = &self.0 else { return true };
        let state = shared.lock();
        let in_force = shared.in_force(&state);
        in_force.is_some_and(|heard| heard.registry.allows_gateway(key))
    }

    pub(crate) fn standing(&self) -> Option<Standing> {
        let shared = self.0.as_ref()?;
        let state = shared.lock();
        Some(Standing {
            account: shared.settings.account,
            network: shared.settings.network,
            is_in_force: shared.in_force(&state).is_some(),
            read: state.heard.as_ref().map(|heard| (heard.registry.clone(), heard.at)),
            refused: state.refused.clone(),
        })
    }

    /// Reads it again and again. Cancelled by dropping.
    pub(crate) async fn follow(self, metrics: RegistryMetrics) {
        let Some(shared) = self.0 else { return };
        metrics.set(shared.picture());
        loop {
            let wait = match shared.lock().refused {
                // What holds may end meanwhile.
                Some(_) => shared.settings.every.min(AGAIN),
                None => shared.settings.every,
            };
            tokio::time::sleep(wait.min(shared.left())).await;
            // What has lapsed holds no longer, however long an answer takes.
            shared.apply();
            metrics.read(shared.look().await);
            shared.apply();
            metrics.set(shared.picture());
        }
    }
}

impl Shared {
    /// Asks once; says whether the answer was taken.
    async fn look(&self) -> bool {
        let asked = self.ask().await;
        let mut state = self.lock();
        match asked {
            Ok(()) => {
                if state.refused.take().is_some() {
                    tracing::info!("the registry is read again");
                }
                true
            }
            Err(error) => {
                let reason = Chain(&error).to_string();
                // Once for each reason, or a source that is down for a night fills the log.
                let is_news = state.refused.as_ref() != Some(&reason);
                match error {
                    _ if !is_news => {}
                    NotTaken::Kept(_) => tracing::error!(
                        registry = %self.settings.account, error = reason,
                        "what was read of the registry holds, and cannot be kept: after a restart an earlier state could be shown"
                    ),
                    _ => tracing::warn!(
                        registry = %self.settings.account, error = reason,
                        "the registry was not read; what was read last holds for as long as registry.keep says"
                    ),
                }
                state.refused = Some(reason);
                false
            }
        }
    }

    async fn ask(&self) -> Result<(), NotTaken> {
        let Settings {
            account,
            network,
            source,
            ..
        } = &self.settings;
        // How much depends on it nobody knows: two sources are asked where there are two.
        let told = source.account(*account).await?;
        let now = unix_seconds();
        let registry = registry::heard(*network, *account, &told, now)?;
        // Another process of ours may have seen more.
        let kept = self.shelf.as_ref().map(|shelf| shelf.read(*network, *account));
        if let Some(Ok(Some(kept))) = &kept {
            registry.follows(kept.registry.seqno())?;
        }
        let before = self.lock().heard.clone();
        if let Some(before) = &before {
            registry.follows(before.registry.seqno())?;
            if registry.seqno() == before.registry.seqno() && !registry.says_as(&before.registry) {
                return Err(NotTaken::Other {
                    change: registry.seqno(),
                });
            }
        }
        let is_news = before.is_none_or(|before| !registry.says_as(&before.registry));
        if is_news {
            self.tell(&registry);
        }
        let heard = Heard::new(registry, now);
        let registry = heard.registry.clone();
        // It holds whether or not it can be written: what was before it allows more than its owners do now.
        self.lock().heard = Some(heard);
        self.apply();
        if let Some(shelf) = &self.shelf {
            shelf.write(*network, &registry, now).await?;
        }
        Ok(())
    }

    fn tell(&self, registry: &Registry) {
        let charter = registry.charter();
        let count = |entries: Option<usize>| entries.map_or_else(|| "any".to_owned(), |entries| entries.to_string());
        tracing::info!(
            registry = %registry.account(), change = registry.seqno(),
            images = count(charter.lists.images.as_ref().map(|images| images.len())),
            gateways = count(charter.lists.gateways.as_ref().map(BTreeSet::len)),
            models = count(charter.lists.models.as_ref().map(BTreeSet::len)),
            most_fee_bps = charter.most_fee_bps,
            "the registry was read"
        );
        let mut state = self.lock();
        if let Some(pending) = registry.pending()
            && state.told_pending != Some(registry.seqno())
        {
            state.told_pending = Some(registry.seqno());
            tracing::warn!(
                registry = %registry.account(), change = registry.seqno(),
                apply_at = %Timestamp::from_unix_seconds(pending.apply_at.into()),
                "the registry's owners have proposed a change; until then it can be taken back"
            );
        }
    }

    /// Says to all who judge what is allowed now.
    fn apply(&self) {
        let mut state = self.lock();
        let is_closed = self.in_force(&state).is_none();
        if is_closed && !state.is_told_closed {
            tracing::error!(
                registry = %self.settings.account,
                "nothing that can be relied on is known of the registry: no evidence is accepted until it is read"
            );
        }
        state.is_told_closed = is_closed;
        let allowed = self.allowed(&state);
        state.governed.retain(|trust| match trust.upgrade() {
            Some(trust) => {
                trust.allow_only(allowed.clone());
                true
            }
            None => false,
        });
    }

    /// What was read, while it holds.
    fn in_force<'a>(&self, state: &'a State) -> Option<&'a Heard> {
        let heard = state.heard.as_ref();
        heard.filter(|heard| heard.age().is_some_and(|age| age <= self.settings.keep))
    }

    /// Until what was read holds no more; for ever where nothing holds.
    fn left(&self) -> Duration {
        let state = self.lock();
        let age = self.in_force(&state).and_then(Heard::age);
        age.map_or(Duration::MAX, |age| {
            let left = self.settings.keep.saturating_sub(age);
            left.saturating_add(Duration::from_secs(1))
        })
    }

    fn allowed(&self, state: &State) -> Allowed {
        let Some(heard) = self.in_force(state) else {
            return Allowed::nothing();
        };
        allowed(&heard.registry)
    }

    fn picture(&self) -> crate::metrics::RegistryNow {
        let state = self.lock();
        crate::metrics::RegistryNow {
            is_in_force: self.in_force(&state).is_some(),
            change: state.heard.as_ref().map(|heard| heard.registry.seqno()),
            read_at: state.heard.as_ref().map(|heard| heard.at),
            is_pending: state
                .heard
                .as_ref()
                .is_some_and(|heard| heard.registry.pending().is_some()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In the words of `attestation`. Bits of roles that nobody knows allow nothing.
fn allowed(registry: &Registry) -> Allowed {
    let lists = &registry.charter().lists;
    let roles = |bits: u8| {
        let listed = |role: &Role| bits & role_bit(*role) != 0;
        Role::ALL.into_iter().filter(listed).collect::<BTreeSet<_>>()
    };
    let images = lists.images.as_ref();
    let models = lists.models.as_ref();
    Allowed {
        images: images.map(|images| {
            images
                .iter()
                .map(|(digest, bits)| (Hex(*digest), roles(*bits)))
                .collect()
        }),
        models: models.map(|models| models.iter().copied().map(Hex).collect()),
    }
}

/// The bit that stands for a role in a registry.
pub(crate) fn role_bit(role: Role) -> u8 {
    match role {
        Role::Gateway => 1,
        Role::Worker => 2,
        Role::Connect => 4,
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(shared) => write!(f, "Registrar({})", address::raw(&shared.settings.account)),
            None => f.write_str("Registrar(off)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use attestation::Role;

    use super::role_bit;

    #[test]
    fn each_role_has_a_bit_of_its_own() {
        assert_eq!(Role::ALL.map(role_bit), [1, 2, 4]);
    }
}
