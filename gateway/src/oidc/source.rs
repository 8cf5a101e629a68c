//! Where an issuer's keys come from, and the keys that came last.
//!
//! A file is read when the configuration is. Otherwise they are fetched: at start, every ten minutes, and when a
//! token names one that we do not have; one fetch at a time, and none within ten seconds of the one before.
//! A fetch that fails changes nothing.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::watch;

use super::{
    fetch::{self, FetchError, Fetcher, Url},
    jwks::{Keys, KeysError},
};
use crate::{
    config::Oidc,
    layers::rescue::Chain,
    tls::{self, TlsError},
};

/// How often keys are fetched when nothing asks for them.
const EVERY: Duration = Duration::from_secs(600);
/// Between the beginnings of two fetches, whoever asks.
const PAUSE: Duration = Duration::from_secs(10);
/// The largest file of keys; what is fetched has the same bound.
const MAX_DOCUMENT: u64 = fetch::MAX_ANSWER as u64;

/// The keys of an issuer cannot be had, as it is configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("oidc '{issuer}': cannot read '{path}'")]
    Read {
        issuer: String,
        path: String,
        source: std::io::Error,
    },
    #[error("oidc '{issuer}': '{path}' cannot be used: {reason}")]
    Document {
        issuer: String,
        path: String,
        reason: String,
    },
    #[error("oidc '{issuer}'")]
    Url {
        issuer: String,
        #[source]
        source: FetchError,
    },
    #[error("oidc '{issuer}': TLS cannot be set up")]
    Tls {
        issuer: String,
        #[source]
        source: TlsError,
    },
}

#[derive(Debug, thiserror::Error)]
enum KeysFetchError {
    #[error("cannot fetch")]
    Fetch(#[source] FetchError),
    #[error("the discovery document is not JSON with `issuer` and `jwks_uri`")]
    Discovery,
    #[error("the discovery document is that of another issuer")]
    OtherIssuer,
    #[error("the keys cannot be used")]
    Keys(#[source] KeysError),
}

/// Keys, and which they are: 0 is before the first.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) keys: Keys,
    pub(super) generation: u64,
    document: Bytes,
}

pub(super) struct Source {
    issuer: String,
    /// `None` for a file.
    remote: Option<Remote>,
    published: ArcSwap<Published>,
    /// That of `published`; read for each request.
    generation: AtomicU64,
    state: Mutex<State>,
    /// Counts fetches that have ended.
    ended: watch::Sender<u64>,
}

struct Remote {
    fetcher: Fetcher,
    keys: Option<Url>,
    discovery: Url,
}

#[derive(Default)]
struct State {
    is_under_way: bool,
    began: Option<Instant>,
    succeeded: Option<Instant>,
}

impl Source {
    pub(super) fn new(config: &Oidc) -> Result<Self, SourceError> {
        let issuer = config.issuer.clone();
        let new = |remote, published: Published| Self {
            issuer: issuer.clone(),
            remote,
            generation: AtomicU64::new(published.generation),
            published: ArcSwap::from_pointee(published),
            state: Mutex::default(),
            ended: watch::Sender::default(),
        };
        if let Some(path) = &config.jwks_file {
            return Ok(new(None, from_file(&issuer, path)?));
        }
        let in_config = |source| SourceError::Url {
            issuer: issuer.clone(),
            source,
        };
        let keys = config.jwks_url.as_ref().map(|url| Url::parse(&url.to_string()));
        let keys = keys.transpose().map_err(in_config)?;
        let discovery = match &keys {
            // It will not be asked.
            Some(keys) => keys.clone(),
            None => {
                let base = config.issuer.trim_end_matches('/');
                Url::parse(&format!("{base}/.well-known/openid-configuration")).map_err(in_config)?
            }
        };
        let tls = tls::client(None).map_err(|source| SourceError::Tls {
            issuer: issuer.clone(),
            source,
        })?;
        let remote = Remote {
            fetcher: Fetcher::new(tls),
            keys,
            discovery,
        };
        Ok(new(Some(remote), Published::default()))
    }

    pub(super) fn keys(&self) -> Arc<Published> {
        self.published.load_full()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Begins a fetch if the keys are old. Does not wait.
    pub(super) fn fetch_if_due(self: &Arc<Self>) {
        let is_fresh = self.lock().succeeded.is_some_and(|at| at.elapsed() < EVERY);
        if !is_fresh {
            self.begin();
        }
    }

    /// Fetches once more, if that may bring anything, and waits for it, but not for long.
    pub(super) async fn fetch_again(self: &Arc<Self>, patience: Duration) {
        let mut ended = self.ended.subscribe();
        if self.begin() {
            // Whether it came in time is seen by what is there afterwards.
            drop(tokio::time::timeout(patience, ended.changed()).await);
        }
    }

    /// Whether a fetch is under way now.
    fn begin(self: &Arc<Self>) -> bool {
        if self.remote.is_none() {
            return false;
        }
        let now = Instant::now();
        {
            let mut state = self.lock();
            if state.is_under_way {
                return true;
            }
            if state.began.is_some_and(|began| now.duration_since(began) < PAUSE) {
                return false;
            }
            state.is_under_way = true;
            state.began = Some(now);
        }
        let under_way = UnderWay(self.clone());
        tokio::spawn(async move {
            under_way.0.fetch().await;
            drop(under_way);
        });
        true
    }

    async fn fetch(&self) {
        let Some(remote) = &self.remote else { return };
        match remote.fetch(&self.issuer).await {
            Ok((document, keys)) => {
                self.lock().succeeded = Some(Instant::now());
                self.publish(document, keys);
            }
            Err(error) => {
                tracing::warn!(issuer = %self.issuer, cause = %Chain(&error), has_keys = self.generation() > 0, "the keys of an issuer of tokens could not be fetched");
            }
        }
    }

    fn publish(&self, document: Bytes, keys: Keys) {
        let before = self.published.load();
        if before.generation > 0 && before.document == document {
            return;
        }
        let generation = before.generation + 1;
        tracing::info!(issuer = %self.issuer, keys = keys.len(), "keys of an issuer of tokens");
        self.published.store(Arc::new(Published {
            keys,
            generation,
            document,
        }));
        // After the keys: what was verified by those before is not taken for verified by these.
        self.generation.store(generation, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fetch; however it ends, it is told, and the next may begin.
struct UnderWay(Arc<Source>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.lock().is_under_way = false;
        self.0.ended.send_modify(|count| *count += 1);
    }
}

impl Remote {
    async fn fetch(&self, issuer: &str) -> Result<(Bytes, Keys), KeysFetchError> {
        let discovered;
        let url = match &self.keys {
            Some(url) => url,
            None => {
                discovered = self.discover(issuer).await?;
                &discovered
            }
        };
        let document = self.fetcher.get(url).await.map_err(KeysFetchError::Fetch)?;
        let keys = Keys::parse(&document).map_err(KeysFetchError::Keys)?;
        Ok((document, keys))
    }

    /// OpenID Connect Discovery 1.0, section 4.
    async fn discover(&self, issuer: &str) -> Result<Url, KeysFetchError> {
        #[derive(serde::Deserialize)]
        struct Discovery {
            issuer: String,
            jwks_uri: String,
        }
        let document = self.fetcher.get(&self.discovery).await.map_err(KeysFetchError::Fetch)?;
        let discovery: Discovery = serde_json::from_slice(&document).map_err(|_| KeysFetchError::Discovery)?;
        if discovery.issuer != issuer {
            return Err(KeysFetchError::OtherIssuer);
        }
        let url = Url::parse(&discovery.jwks_uri).map_err(KeysFetchError::Fetch)?;
        if self.discovery.is_https() && !url.is_https() {
            return Err(KeysFetchError::Fetch(FetchError::Insecure));
        }
        Ok(url)
    }
}

fn from_file(issuer: &str, path: &PathBuf) -> Result<Published, SourceError> {
    let shown = path.display().to_string();
    let unreadable = |source| SourceError::Read {
        issuer: issuer.to_owned(),
        path: shown.clone(),
        source,
    };
    let unusable = |reason: String| SourceError::Document {
        issuer: issuer.to_owned(),
        path: shown.clone(),
        reason,
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_DOCUMENT {
        return Err(unusable(format!("it is larger than {MAX_DOCUMENT} bytes")));
    }
    let document = std::fs::read(path).map_err(unreadable)?;
    let keys = Keys::parse(&document).map_err(|error| unusable(error.to_string()))?;
    if keys.len() == 0 {
        return Err(unusable("it has no key that can verify a token".to_owned()));
    }
    Ok(Published {
        keys,
        generation: 1,
        document: document.into(),
    })
}
