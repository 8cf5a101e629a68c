//! Identity: what a node shows of itself: a key pair that is its own, or evidence of the guest that it runs in.
//!
//! A node without evidence is known by its key, which is Ed25519 and kept in a file (PKCS #8 in PEM) that only its owner may read, made when it is first needed.
//! A guest makes a new key at each start, whose name is in its quote; nothing of it is ever written anywhere.

use std::{io, path::Path, sync::Arc, time::Duration};

use attestation::{Attester, Role};
use attestation_guest::choice::{Choice, ChoiceError, Places, choose};
use attestation_ratls::{BadKey, Draft, Identities, IssueError, Key, KeyKind, Keys};
use rcgen::{KeyPair, PKCS_ED25519};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use tokio::task::AbortHandle;

use crate::{
    config::{EvidenceFrom, KeyDigest},
    key_file::{self, ReadError},
    wall_clock::unix_seconds,
};

/// How long the first quote may take. A host that is busy makes one in seconds.
const FIRST_QUOTE: Duration = Duration::from_secs(60);

/// How long a certificate of ours holds, unless a shorter time is asked for.
pub(crate) const LIFE: Duration = attestation_ratls::LIFETIME;
/// At least; the other end must have the time to ask, and answers on the connection the time to end.
pub(crate) const SHORTEST_LIFE: Duration = Duration::from_secs(60);

/// Why a node has nothing to show, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("the private key cannot be read from '{path}'")]
    Read { path: String, source: io::Error },
    #[error("other users of this machine may read or change '{path}', which is a private key; run: chmod 600 {path}")]
    Exposed { path: String },
    #[error("'{path}' holds no private key in PEM; remove it to have a new one made, which peers must then be told")]
    Malformed { path: String },
    #[error("the private key cannot be kept in '{path}'; check the permissions of the folder")]
    Write { path: String, source: io::Error },
    #[error("no key could be made")]
    Make,
    #[error("this machine makes no evidence")]
    Choice(#[from] ChoiceError),
    #[cfg(feature = "demo")]
    #[error("'{path}' holds no seed: 64 hexadecimal digits")]
    Seed { path: String },
    #[cfg(not(feature = "demo"))]
    #[error("this build has no software TDX")]
    NoSoftware,
    #[error("no certificate could be made")]
    Issue(#[from] IssueError),
    #[error("no evidence came within {FIRST_QUOTE:?}; does this guest's host make quotes?")]
    Slow,
}

impl From<BadKey> for IdentityError {
    fn from(_: BadKey) -> Self {
        Self::Make
    }
}

/// What is shown, renewed while it is in use.
#[derive(Debug)]
pub(crate) struct Shown {
    identities: Arc<Identities>,
    renewing: AbortHandle,
}

impl Shown {
    /// Makes the first certificate, and begins to renew it. Blocking, where a quote is made.
    pub(crate) fn begin(draft: Draft) -> Result<Self, IdentityError> {
        let first = draft.issue(unix_seconds())?;
        let identities = Arc::new(Identities::new(first));
        let renewing = {
            let identities = identities.clone();
            tokio::spawn(async move { identities.renew(draft, clock()).await })
        };
        Ok(Self {
            identities,
            renewing: renewing.abort_handle(),
        })
    }

    /// The same without blocking, and with an end.
    pub(crate) async fn begin_in_time(draft: Draft) -> Result<Self, IdentityError> {
        let begun = tokio::task::spawn_blocking(move || Self::begin(draft));
        let begun = tokio::time::timeout(FIRST_QUOTE, begun).await;
        begun
            .map_err(|_| IdentityError::Slow)?
            .map_err(|_| IdentityError::Make)?
    }

    pub(crate) fn identities(&self) -> &Arc<Identities> {
        &self.identities
    }

    /// The key that is shown now. That of a guest is another after a renewal.
    pub(crate) fn key(&self) -> KeyDigest {
        KeyDigest(*self.identities.current().spki_sha256())
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// The clock of the day, as TLS takes it.
pub(crate) fn clock() -> Arc<dyn TimeProvider> {
    Arc::new(DefaultTimeProvider)
}

/// What a certificate of this node is made from: its own key in a file, or a new key and a quote.
pub(crate) fn draft(role: Role, evidence: &EvidenceFrom, key_file: &Path) -> Result<Draft, IdentityError> {
    let Some(attester) = attester(evidence)? else {
        return Ok(Draft::new(role, Keys::Own(read_or_make(key_file)?)));
    };
    let mut draft = Draft::new(role, Keys::Fresh(KeyKind::Ed25519));
    draft.attester = Some(attester);
    Ok(draft)
}

fn attester(evidence: &EvidenceFrom) -> Result<Option<Arc<dyn Attester>>, IdentityError> {
    let choice = match evidence {
        EvidenceFrom::None => return Ok(None),
        EvidenceFrom::Tdx => Choice::Hardware(Places::of_linux()),
        EvidenceFrom::DangerSoftware { seed, image } => {
            tracing::warn!("the evidence of this node is made by software and proves nothing");
            Choice::DangerSoftware(software(seed, image.as_deref())?)
        }
    };
    Ok(Some(choose(choice)?.attester))
}

#[cfg(feature = "demo")]
fn software(seed: &Path, image: Option<&str>) -> Result<Arc<dyn Attester>, IdentityError> {
    let text = read_text(seed)?;
    let parsed: Result<attestation::Hex<32>, _> = text.trim().parse();
    let bytes = parsed
        .map_err(|_| IdentityError::Seed {
            path: seed.display().to_string(),
        })?
        .0;
    let platform = attestation_soft_tdx::SoftTdx::danger_from_seed(bytes);
    Ok(Arc::new(match image {
        Some(image) => platform.with_image(image),
        None => platform,
    }))
}

#[cfg(not(feature = "demo"))]
fn software(_: &Path, _: Option<&str>) -> Result<Arc<dyn Attester>, IdentityError> {
    Err(IdentityError::NoSoftware)
}

/// The key of a file; made if there is none.
pub(crate) fn read_or_make(path: &Path) -> Result<Key, IdentityError> {
    match read(path) {
        Err(IdentityError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(|_| IdentityError::Make)?;
            key_file::keep(path, &pair.serialize_pem()).map_err(|source| IdentityError::Write {
                path: path.display().to_string(),
                source,
            })?;
            // Perhaps that of a process that started beside us.
            read(path)
        }
        read => read,
    }
}

fn read(path: &Path) -> Result<Key, IdentityError> {
    let malformed = || IdentityError::Malformed {
        path: path.display().to_string(),
    };
    let pair = KeyPair::from_pem(&read_text(path)?).map_err(|_| malformed())?;
    Key::from_pkcs8(&pair.serialize_der()).map_err(|_| malformed())
}

fn read_text(path: &Path) -> Result<String, IdentityError> {
    let shown = || path.display().to_string();
    key_file::read(path).map_err(|error| match error {
        ReadError::Io(source) => IdentityError::Read { path: shown(), source },
        ReadError::Exposed => IdentityError::Exposed { path: shown() },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::tls;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let mark: [u8; 8] = tls::random().expect("random bytes");
        let path = std::env::temp_dir().join(format!("mulberry-identity-{:016x}", u64::from_be_bytes(mark)));
        let made = read_or_make(&path).expect("made");
        let again = read_or_make(&path).expect("read");
        assert_eq!(made.spki_sha256(), again.spki_sha256());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("ours");
            assert!(matches!(read_or_make(&path), Err(IdentityError::Exposed { .. })));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        }
        fs::write(&path, "no key").expect("ours");
        assert!(matches!(read_or_make(&path), Err(IdentityError::Malformed { .. })));
        fs::remove_file(&path).expect("ours");
    }
}
