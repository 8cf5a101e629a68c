//! Workers: which machines may serve here, and what holds their connections.
//!
//! Enrolment is closed: a worker is one whose key the configuration names, and whoever else connects is refused in the handshake, before anything is computed for it.
//! A worker serves the backend under which it is named, whatever models it announces.
//! What the configuration says anew takes effect at once: the connection of a worker that is no longer named is cut.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use backends::worker::Worker;
use billing_store::{OpenError, private_folder};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    config::{Address, Config, KeyDigest},
    secure::{Identity, IdentityError, Secure},
};

mod adopt;
mod dial;
mod listen;

pub(crate) use listen::listen;

/// The name of the gateway's key in the data directory.
const KEY: &str = "gateway.key";

/// Why workers cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    #[error("the gateway's key can be kept nowhere")]
    Folder(#[from] OpenError),
    #[error("the gateway has no key to show to workers")]
    Identity(#[from] IdentityError),
    #[error("connections to workers cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The workers that the configuration names, by key.
pub(crate) type Staff = HashMap<KeyDigest, Member>;

/// One worker that the configuration names.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) worker: Arc<Worker>,
    /// `backend/name`, as in metrics and logs.
    place: Arc<str>,
    address: Option<Address>,
    /// Falls with the last who knows the member; then its connections are cut.
    stays: Arc<watch::Sender<()>>,
    /// Where we dial it, what does so.
    dialling: Option<Arc<Dialling>>,
}

/// A dialler that ends when dropped.
struct Dialling(AbortHandle);

impl Drop for Dialling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who may serve, while the gateway runs.
pub(crate) struct Roster {
    /// Where the gateway's key is kept.
    folder: Option<PathBuf>,
    staff: Arc<Mutex<Staff>>,
    secure: Mutex<Option<(KeyDigest, Secure)>>,
    told: Mutex<Option<Instant>>,
}

impl Roster {
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Self {
            folder: config.data_dir.clone(),
            staff: Arc::default(),
            secure: Mutex::default(),
            told: Mutex::default(),
        })
    }

    /// Whom a configuration names; those who are as before are the same, with their connections.
    pub(crate) fn staff(self: &Arc<Self>, config: &Config) -> Result<Staff, EnrolError> {
        let named = config
            .backends
            .iter()
            .flat_map(|backend| backend.workers.iter().map(move |worker| (backend, worker)));
        let now = self.lock();
        let staff: Staff = named
            .map(|(backend, worker)| {
                let place = format!("{}/{}", backend.name, worker.name);
                let before = now.get(&worker.key_sha256);
                let same = before.filter(|before| *before.place == *place && before.address == worker.address);
                let member = same.cloned().unwrap_or_else(|| Member {
                    worker: Arc::new(Worker::new(worker.name.as_str())),
                    place: place.into(),
                    address: worker.address.clone(),
                    stays: Arc::new(watch::Sender::new(())),
                    dialling: None,
                });
                (worker.key_sha256, member)
            })
            .collect();
        drop(now);
        if !staff.is_empty() || config.worker_listen.is_some() {
            // What can fail does so before anything is in force.
            self.secure()?;
        }
        Ok(staff)
    }

    /// Puts them in force: whoever is not among them is cut, whoever has an address is dialled.
    pub(crate) fn employ(&self, mut staff: Staff) {
        // Made when the staff was drawn up.
        let secure = self.made().clone();
        for (key, member) in &mut staff {
            if let (Some((_, secure)), Some(address), None) = (&secure, &member.address, &member.dialling) {
                let dialling = tokio::spawn(dial::keep(secure.clone(), *key, address.clone(), member.plain()));
                member.dialling = Some(Arc::new(Dialling(dialling.abort_handle())));
            }
        }
        *self.lock() = staff;
    }

    /// Our connections' TLS, and the key by which workers know us. Made when it is first needed.
    pub(crate) fn secure(self: &Arc<Self>) -> Result<(KeyDigest, Secure), EnrolError> {
        let mut secure = self.made();
        if let Some(made) = &*secure {
            return Ok(made.clone());
        }
        // Without a data directory workers are refused by the rules of the configuration.
        let folder = self.folder.clone().unwrap_or_default();
        private_folder(&folder)?;
        let identity = Identity::read_or_make(&folder.join(KEY))?;
        let roster = Arc::downgrade(self);
        let admits = Arc::new(move |key: &KeyDigest| roster.upgrade().is_some_and(|roster| roster.admits(key)));
        let made = (identity.key(), Secure::new(&identity, admits)?);
        *secure = Some(made.clone());
        Ok(made)
    }

    fn admits(&self, key: &KeyDigest) -> bool {
        let is_known = self.lock().contains_key(key);
        if !is_known {
            self.tell(key);
        }
        is_known
    }

    /// A stranger is told of once a second at most, whatever it does. It has not shown that the key is its own.
    fn tell(&self, key: &KeyDigest) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > Duration::from_secs(1)) {
            *told = Some(Instant::now());
            tracing::warn!(key_sha256 = %key, "a worker that the configuration does not name was refused; if it is yours, add its key to `workers` of a backend");
        }
    }

    fn member(&self, key: &KeyDigest) -> Option<Named> {
        self.lock().get(key).map(Member::plain)
    }

    fn made(&self) -> MutexGuard<'_, Option<(KeyDigest, Secure)>> {
        self.secure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Staff> {
        self.staff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roster({})", self.lock().len())
    }
}

/// A member as its connections know it: they do not keep it.
#[derive(Clone)]
struct Named {
    worker: Arc<Worker>,
    place: Arc<str>,
    stays: watch::Receiver<()>,
}

impl Member {
    fn plain(&self) -> Named {
        Named {
            worker: self.worker.clone(),
            place: self.place.clone(),
            stays: self.stays.subscribe(),
        }
    }
}
