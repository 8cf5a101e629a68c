//! Trust: by what peers are judged, from what an operator wrote to what is in force.
//!
//! Nothing is fetched while a peer waits: a [`Keeper`] fetches collateral beside the handshakes, and keeps it on disk.
//! A policy that cannot be read, or cannot be meant, is refused whole; what was in force stays so.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use attestation::{CollateralSet, Policy, Tier, TrustAnchor, Verifier};
use attestation_ratls::{
    BadPolicy, Trust,
    collateral::{Client, Keeper, Pace, Shelf, ShelfError, bundle},
};
use backends::serve::BoxError;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::task::AbortHandle;

use crate::{
    config::{self, CollateralFrom},
    layers::rescue::Chain,
    tls::{self, TlsError},
    wall_clock::unix_seconds,
};

/// A policy with many images has hundreds of kilobytes, a root certificate has one.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// What an operator wrote.
#[derive(Debug, Clone)]
pub(crate) struct TrustSettings {
    /// Without one no evidence is accepted, and only known keys are.
    pub(crate) policy: Option<PathBuf>,
    pub(crate) collateral: Vec<CollateralFrom>,
    /// A root that stands in for Intel's.
    pub(crate) danger_anchor: Option<PathBuf>,
    /// Where collateral is kept between two starts.
    pub(crate) shelf: Option<PathBuf>,
}

/// Why nobody can be judged, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    #[error("the policy '{path}' cannot be read")]
    ReadPolicy { path: String, source: io::Error },
    #[error("'{path}' is no policy; see what is wrong with it: mulberry attest policy check {path}")]
    NotPolicy { path: String, source: BoxError },
    #[error("the policy cannot be meant; see: mulberry attest policy check")]
    BadPolicy(#[from] BadPolicy),
    #[error("the root certificate '{path}' cannot be read")]
    ReadAnchor { path: String, source: io::Error },
    #[error("'{path}' is no certificate in DER or PEM")]
    Anchor { path: String },
    #[error("TLS to sources of collateral cannot be set up")]
    Tls(#[from] TlsError),
    #[error("the collateral in '{path}' cannot be read")]
    Shelf { path: String, source: ShelfError },
}

/// What is in force, with what keeps it fresh.
#[derive(Debug)]
pub(crate) struct Judging {
    trust: Arc<Trust>,
    bundles: Vec<PathBuf>,
    keeping: AbortHandle,
}

impl Judging {
    /// Reads what is there, and begins to keep it fresh.
    pub(crate) fn begin(settings: &TrustSettings) -> Result<Self, TrustError> {
        let policy = policy(settings.policy.as_deref())?;
        let anchor = anchor(settings.danger_anchor.as_deref())?;
        if let Some(path) = &settings.danger_anchor {
            tracing::warn!(
                root = %path.display(),
                "danger_development_trust_anchor is set: evidence is checked against this certificate and not against Intel's, and whoever has its key can forge all of it"
            );
        }
        let (trust, wanted) = Trust::new(Verifier::new(anchor.clone()), policy, CollateralSet::new(anchor))?;
        let mut sources = Vec::new();
        let mut bundles = Vec::new();
        for from in &settings.collateral {
            match from {
                CollateralFrom::Intel => sources.push(attestation_ratls::collateral::Source::intel()),
                CollateralFrom::Pccs(source) => sources.push(source.clone()),
                CollateralFrom::Bundle(folder) => bundles.push(folder.clone()),
            }
        }
        let https = sources.iter().any(|source| source.url().starts_with("https:"));
        let roots = https.then(|| tls::client(None)).transpose()?;
        let keeper = Keeper::new(
            trust.clone(),
            sources,
            Client::new(roots.as_deref()),
            settings.shelf.as_deref().map(Shelf::new),
            unix_seconds,
            Pace::NORMAL,
        );
        let shelf = |source| TrustError::Shelf {
            path: settings.shelf.as_deref().unwrap_or(Path::new("")).display().to_string(),
            source,
        };
        for failure in keeper.load().map_err(shelf)? {
            tracing::warn!(error = %Chain(&failure), "collateral on disk is not used, and fetched again when it is needed");
        }
        let keeping = tokio::spawn(keeper.run(wanted)).abort_handle();
        let judging = Self {
            trust,
            bundles,
            keeping,
        };
        judging.import()?;
        Ok(judging)
    }

    pub(crate) fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }

    /// Reads the folders that somebody carried here, again.
    pub(crate) fn import(&self) -> Result<(), TrustError> {
        for folder in &self.bundles {
            let mut members = Vec::new();
            self.trust
                .change_collateral(|set| {
                    members = bundle::import(folder, set, unix_seconds())?;
                    Ok(())
                })
                .map_err(|source| TrustError::Shelf {
                    path: folder.display().to_string(),
                    source,
                })?;
            for error in members.iter().filter_map(|member| member.as_ref().err()) {
                tracing::warn!(bundle = %folder.display(), error = %Chain(error), "collateral of a bundle is not used");
            }
        }
        Ok(())
    }
}

impl Drop for Judging {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// That of a file. Without a file no evidence is accepted.
pub(crate) fn policy(path: Option<&Path>) -> Result<Policy, TrustError> {
    let Some(path) = path else {
        let mut none = Policy::of(Vec::new());
        none.min_tier = Tier::Open;
        return Ok(none);
    };
    let shown = || path.display().to_string();
    let bytes = read(path).map_err(|source| TrustError::ReadPolicy { path: shown(), source })?;
    let policy = parse_policy(&bytes, path).map_err(|source| TrustError::NotPolicy { path: shown(), source })?;
    let problems = policy.problems();
    if problems.is_empty() {
        Ok(policy)
    } else {
        Err(BadPolicy(problems).into())
    }
}

/// In any of the formats that a configuration may have.
pub(crate) fn parse_policy(bytes: &[u8], path: &Path) -> Result<Policy, BoxError> {
    let text = std::str::from_utf8(bytes)?;
    let json = config::as_json(text, &path.to_string_lossy())?;
    Ok(Policy::from_json(&json)?)
}

/// Intel's, unless another was named.
pub(crate) fn anchor(path: Option<&Path>) -> Result<TrustAnchor, TrustError> {
    let Some(path) = path else {
        return Ok(TrustAnchor::Intel);
    };
    let shown = || path.display().to_string();
    let bytes = read(path).map_err(|source| TrustError::ReadAnchor { path: shown(), source })?;
    let der = CertificateDer::from_pem_slice(&bytes).map_or(bytes, |pem| pem.to_vec());
    let certificate = CertificateDer::from_slice(&der);
    let parsed = rustls::server::ParsedCertificate::try_from(&certificate);
    parsed.map_err(|_| TrustError::Anchor { path: shown() })?;
    Ok(TrustAnchor::Development(der))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(fs::File::open(path)?, MAX_FILE + 1), &mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 4 MiB"));
    }
    Ok(bytes)
}
