//! Keyed: what a gateway without evidence shows to `mulberry connect`: its key, and nothing of its machine.

use std::{path::Path, sync::Arc};

use attestation::{CollateralSet, Policy, Role, Tier, TrustAnchor, Verifier};
use attestation_ratls::{BadKey, BadPolicy, Draft, Endpoint, Identities, IssueError, Key, Keys, Trust};
use billing_store::{OpenError, private_folder};
use rustls::time_provider::DefaultTimeProvider;

use crate::{
    config::KeyDigest,
    secure::{Identity, IdentityError},
    wall_clock::unix_seconds,
};

/// Of the gateway's key, in its data directory.
const KEY: &str = "gateway.key";

/// Why there is nothing to show, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyedError {
    #[error(transparent)]
    Folder(#[from] OpenError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the gateway's key cannot be used")]
    Key(#[from] BadKey),
    #[error("no certificate of the gateway's key was made")]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Policy(#[from] BadPolicy),
}

/// A node as it shows itself, and the key by which it is known.
pub(crate) struct Keyed {
    pub(crate) endpoint: Endpoint,
    pub(crate) key: KeyDigest,
    /// Certificates are made anew from it.
    pub(crate) draft: Draft,
}

pub(crate) fn keyed(folder: &Path) -> Result<Keyed, KeyedError> {
    private_folder(folder)?;
    let identity = Identity::read_or_make(&folder.join(KEY))?;
    let draft = Draft::new(Role::Gateway, Keys::Own(Key::from_pkcs8(identity.pkcs8())?));
    let identities = Identities::new(draft.issue(unix_seconds())?);
    // An app's side shows nothing; one that shows a key is as welcome.
    let policy = Policy {
        min_tier: Tier::Open,
        ..Policy::of(Vec::new())
    };
    let collateral = CollateralSet::new(TrustAnchor::Intel);
    let (trust, _nobody_asks) = Trust::new(Verifier::new(TrustAnchor::Intel), policy, collateral)?;
    Ok(Keyed {
        endpoint: Endpoint {
            trust,
            identities: Some(Arc::new(identities)),
            alpn: Vec::new(),
            clock: Arc::new(DefaultTimeProvider),
        },
        key: identity.key(),
        draft,
    })
}
