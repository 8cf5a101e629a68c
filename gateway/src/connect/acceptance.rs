//! Acceptance: which gateway is believed, from the command line, and how that changes while we run.
//!
//! The policy is a file that is looked at twice a second: a measurement struck from it cuts the connection that rests on it.
//! A policy that cannot be read, or cannot be meant, is refused and the one before stays in force.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use attestation::{CollateralSet, Policy, Tier, TrustAnchor, Verifier};
use attestation_ratls::{
    BadPolicy, Trust, Wanted,
    collateral::{Client, Keeper, Pace, Shelf, ShelfError, Source, bundle},
};
use backends::serve::BoxError;
use tokio::sync::mpsc;

use super::Gateway;
use crate::{
    config,
    layers::rescue::Chain,
    source::{Seen, Watch},
    tls,
    wall_clock::unix_seconds,
};

/// How often the policy's file is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// A policy with many images has hundreds of kilobytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// What the command line says about it.
#[derive(Debug, Clone)]
pub(crate) struct Accept {
    pub(crate) policy: Option<PathBuf>,
    pub(crate) collateral: Vec<CollateralFrom>,
    pub(crate) cache: Option<PathBuf>,
    pub(crate) danger_anchor: Option<PathBuf>,
}

/// Where collateral comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CollateralFrom {
    Service(Source),
    /// A folder that somebody carried here.
    Bundle(PathBuf),
}

impl CollateralFrom {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "intel" {
            return Ok(Self::Service(Source::intel()));
        }
        match text.strip_prefix("bundle:") {
            Some("") => Err("name the folder: bundle:FOLDER".to_owned()),
            Some(folder) => Ok(Self::Bundle(folder.into())),
            None => Source::parse(text)
                .map(Self::Service)
                .map_err(|error| format!("{error}; or write intel, or bundle:FOLDER")),
        }
    }
}

/// Why nobody can be believed, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error(
        "say which gateway to believe: --policy FILE, as `mulberry attest policy init` writes it; or --gateway KEY@HOST:PORT for a gateway without evidence, which proves a key and nothing of its machine"
    )]
    Nothing,
    #[error("a gateway is believed by its key or by a policy; leave out KEY@, or --policy")]
    Both,
    #[error("'{}' cannot be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("'{}' is no policy", path.display())]
    Policy { path: PathBuf, source: BoxError },
    #[error(
        "the policy in '{}' accepts tier open, which is any key that anybody made; set min_tier to tee, or pin one gateway with KEY@HOST:PORT", path.display()
    )]
    Open { path: PathBuf },
    #[error("the policy in '{}' cannot be meant: {}", path.display(), told(source))]
    Meant { path: PathBuf, source: BadPolicy },
    #[error("the bundle of collateral in '{}' cannot be read", path.display())]
    Bundle { path: PathBuf, source: ShelfError },
    #[error("the cache of collateral cannot be read")]
    Cache(#[source] ShelfError),
    #[error("TLS to a service of collateral cannot be set up")]
    Tls(#[from] tls::TlsError),
}

fn told(bad: &BadPolicy) -> String {
    let told: Vec<String> = bad.0.iter().map(ToString::to_string).collect();
    told.join("; ")
}

/// What is believed, and what keeps it so.
pub(crate) struct Acceptance {
    pub(crate) trust: Arc<Trust>,
    keeper: Keeper,
    wanted: mpsc::Receiver<Wanted>,
    policy: Option<(PathBuf, Watch)>,
}

impl Acceptance {
    pub(crate) fn new(accept: &Accept, gateway: &Gateway) -> Result<Self, AcceptError> {
        let (policy, file) = match (&accept.policy, gateway.key) {
            (None, None) => return Err(AcceptError::Nothing),
            (Some(_), Some(_)) => return Err(AcceptError::Both),
            (Some(path), None) => {
                let watch = Watch::new(vec![Seen::now(path)]);
                (read_policy(path)?, Some((path.clone(), watch)))
            }
            (None, Some(_)) => (keys(), None),
        };
        let anchor = match &accept.danger_anchor {
            None => TrustAnchor::Intel,
            Some(path) => TrustAnchor::Development(read(path)?),
        };
        let mut collateral = CollateralSet::new(anchor.clone());
        let mut sources = Vec::new();
        for from in &accept.collateral {
            match from {
                CollateralFrom::Service(source) => sources.push(source.clone()),
                CollateralFrom::Bundle(folder) => import(folder, &mut collateral)?,
            }
        }
        let (trust, wanted) =
            Trust::new(Verifier::new(anchor), policy, collateral).map_err(|source| AcceptError::Meant {
                path: accept.policy.clone().unwrap_or_default(),
                source,
            })?;
        let roots = tls::client(None)?;
        let shelf = accept.cache.as_deref().map(Shelf::new);
        let client = Client::new(Some(&*roots));
        let keeper = Keeper::new(trust.clone(), sources, client, shelf, unix_seconds, Pace::NORMAL);
        for failure in keeper.load().map_err(AcceptError::Cache)? {
            tracing::warn!(error = %Chain(&failure), "collateral of the cache was not taken");
        }
        Ok(Self {
            trust,
            keeper,
            wanted,
            policy: file,
        })
    }

    /// Fetches what handshakes miss, and follows the policy's file. Cancelled by dropping.
    pub(crate) async fn keep(self) {
        let Self {
            trust,
            keeper,
            wanted,
            policy,
        } = self;
        let following = async {
            if let Some((path, watch)) = policy {
                follow(&trust, path, watch).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = keeper.run(wanted) => {}
            () = following => {}
        }
    }
}

/// Any key; which one is compared where the connection is made.
fn keys() -> Policy {
    Policy {
        min_tier: Tier::Open,
        ..Policy::of(Vec::new())
    }
}

async fn follow(trust: &Trust, path: PathBuf, mut watch: Watch) {
    loop {
        tokio::time::sleep(LOOK).await;
        let name = path.clone();
        // File systems may block for long; a worker of ours must not.
        let looked = tokio::task::spawn_blocking(move || {
            let read = watch.look().then(|| read_policy(&name));
            (watch, read)
        });
        let Ok((same, read)) = looked.await else { return };
        watch = same;
        let Some(read) = read else { continue };
        let taken = read.and_then(|policy| {
            trust.set_policy(policy).map_err(|source| AcceptError::Meant {
                path: path.clone(),
                source,
            })
        });
        match taken {
            Ok(()) => tracing::info!(policy = %trust.policy().digest(), "the policy was read again"),
            Err(error) => {
                tracing::error!(error = %Chain(&error), "the new policy is refused and the old one stays in force");
            }
        }
    }
}

fn import(folder: &Path, set: &mut CollateralSet) -> Result<(), AcceptError> {
    let imported = bundle::import(folder, set, unix_seconds()).map_err(|source| AcceptError::Bundle {
        path: folder.to_owned(),
        source,
    })?;
    for member in imported {
        if let Err(error) = member {
            tracing::warn!(error = %Chain(&error), "a member of the bundle of collateral was not taken");
        }
    }
    Ok(())
}

fn read_policy(path: &Path) -> Result<Policy, AcceptError> {
    let bad = |source: BoxError| AcceptError::Policy {
        path: path.to_owned(),
        source,
    };
    let text = String::from_utf8(read(path)?).map_err(|error| bad(error.into()))?;
    let json = config::as_json(&text, &path.to_string_lossy()).map_err(|error| bad(error.into()))?;
    let policy = Policy::from_json(&json).map_err(|error| bad(error.into()))?;
    if policy.min_tier == Tier::Open {
        return Err(AcceptError::Open { path: path.to_owned() });
    }
    Ok(policy)
}

fn read(path: &Path) -> Result<Vec<u8>, AcceptError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
    read.map_err(|source| AcceptError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}
