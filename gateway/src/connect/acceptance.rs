//! Acceptance: which gateway is believed, from the command line, and how that changes while we run.
//!
//! The policy is a file that is looked at twice a second: a measurement struck from it cuts the connection that rests on it.
//! A policy that cannot be read, or cannot be meant, is refused and the one before stays in force.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use attestation::{Policy, Tier};
use attestation_ratls::Trust;

use super::Gateway;
use crate::{
    layers::rescue::Chain,
    source::{Seen, Watch},
    trust::{self, Judging, TrustError, TrustSettings},
};

/// How often the policy's file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Why nobody can be believed, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error(
        "say which gateway to believe: --policy FILE, as `mulberry attest policy init` writes it; or --gateway KEY@HOST:PORT for a gateway without evidence, which proves a key and nothing of its machine"
    )]
    Nothing,
    #[error("a gateway is believed by its key or by a policy; leave out KEY@, or --policy")]
    Both,
    #[error(
        "the policy in '{}' accepts tier open, which is any key that anybody made; set min_tier to tee, or pin one gateway with KEY@HOST:PORT", path.display()
    )]
    Open { path: PathBuf },
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// What is believed, and what keeps it so.
pub(crate) struct Acceptance {
    judging: Judging,
    policy: Option<(PathBuf, Watch)>,
}

impl Acceptance {
    /// Begins to keep collateral fresh.
    pub(crate) fn new(settings: &TrustSettings, gateway: &Gateway) -> Result<Self, AcceptError> {
        let policy = match (&settings.policy, gateway.key) {
            (None, None) => return Err(AcceptError::Nothing),
            (Some(_), Some(_)) => return Err(AcceptError::Both),
            (Some(path), None) => {
                // Seen before it is read: a change meanwhile is one since.
                let watch = Watch::new(vec![Seen::now(path)]);
                read(path)?;
                Some((path.clone(), watch))
            }
            // Any key; which one is compared where the connection is made.
            (None, Some(_)) => None,
        };
        Ok(Self {
            judging: Judging::begin(settings)?,
            policy,
        })
    }

    pub(crate) fn trust(&self) -> &Arc<Trust> {
        self.judging.trust()
    }

    /// Follows the policy's file. Cancelled by dropping, with all that keeps what is believed fresh.
    pub(crate) async fn keep(self) {
        let Self { judging, policy } = self;
        let Some((path, mut watch)) = policy else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(LOOK).await;
            let name = path.clone();
            // File systems may block for long; a worker of ours must not.
            let looked = tokio::task::spawn_blocking(move || {
                let read = watch.look().then(|| read(&name));
                (watch, read)
            });
            let Ok((same, read)) = looked.await else { return };
            watch = same;
            let Some(read) = read else { continue };
            let taken = read.and_then(|policy| {
                let set = judging.trust().set_policy(policy);
                set.map_err(TrustError::from)?;
                Ok(judging.import()?)
            });
            match taken {
                Ok(()) => tracing::info!(policy = %judging.trust().policy().digest(), "the policy was read again"),
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "the new policy is refused and the old one stays in force");
                }
            }
        }
    }
}

fn read(path: &Path) -> Result<Policy, AcceptError> {
    let policy = trust::policy(Some(path))?;
    if policy.min_tier == Tier::Open {
        return Err(AcceptError::Open { path: path.to_owned() });
    }
    Ok(policy)
}
