//! What was read of a registry, on disk, so that nobody can show an earlier one after a restart.

use std::{
    io,
    path::{Path, PathBuf},
};

use billing::{
    channel::{Account, Network},
    receipt::{from_hex, to_hex},
};
use billing_ton::{
    address,
    chain::Head,
    durable,
    registry::{NotRegistry, Registry},
};
use serde::{Deserialize, Serialize};

/// The name of the file in the data directory.
pub(super) const NAME: &str = "registry.json";
/// A charter has 4,096 cells at most.
const MAX_FILE: u64 = 4 << 20;

/// Why what was kept cannot be used, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptError {
    #[error("what was read of the registry cannot be read from '{}'", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "'{}' is not what was read of a registry; without it an earlier state could be shown: bring it back from a backup, or move it away if you know the registry's last change", .0.display()
    )]
    Malformed(PathBuf),
    #[error("what '{}' holds is no registry", path.display())]
    NotRegistry { path: PathBuf, source: NotRegistry },
    #[error("what was read of the registry cannot be kept in '{}'; free the disk", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What was read, and when by our own clock.
pub(super) struct Kept {
    pub(super) registry: Registry,
    /// Unix seconds.
    pub(super) at: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    registry: String,
    network: i32,
    /// For people; the data say it too.
    change: u64,
    read_at: u64,
    block: u32,
    block_time: u32,
    /// A bag of cells, in hexadecimal.
    data: String,
}

pub(super) struct Shelf(PathBuf);

impl Shelf {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// `None` where nothing was kept, or of another registry: an operator who names another has said what counts.
    pub(super) fn read(&self, network: Network, account: Account) -> Result<Option<Kept>, KeptError> {
        let Some(written) = self.written()? else {
            return Ok(None);
        };
        if written.registry != address::raw(&account) || written.network != network.0 {
            return Ok(None);
        }
        let head = Head {
            seqno: written.block,
            time: written.block_time,
        };
        let data = bytes(&written.data).ok_or_else(|| KeptError::Malformed(self.0.clone()))?;
        let registry = Registry::restore(network, account, head, &data).map_err(|source| KeptError::NotRegistry {
            path: self.0.clone(),
            source,
        })?;
        Ok(Some(Kept {
            registry,
            at: written.read_at,
        }))
    }

    fn written(&self) -> Result<Option<Written>, KeptError> {
        let read = |source| KeptError::Read {
            path: self.0.clone(),
            source,
        };
        let bytes = match bounded(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(read(error)),
        };
        let written = serde_json::from_slice(&bytes);
        written.map(Some).map_err(|_| KeptError::Malformed(self.0.clone()))
    }

    /// On the disk when it returns.
    pub(super) async fn write(&self, network: Network, registry: &Registry, at: u64) -> Result<(), KeptError> {
        let head = registry.head();
        let written = Written {
            registry: address::raw(&registry.account()),
            network: network.0,
            change: registry.seqno(),
            read_at: at,
            block: head.seqno,
            block_time: head.time,
            data: to_hex(&registry.data()),
        };
        let write = |source| KeptError::Write {
            path: self.0.clone(),
            source,
        };
        let text = serde_json::to_vec(&written).map_err(|error| write(error.into()))?;
        let path = self.0.clone();
        // Disks may block for long; a worker of ours must not.
        let written = tokio::task::spawn_blocking(move || durable::replace(&path, &text)).await;
        written
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            .map_err(write)
    }
}

fn bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(std::fs::File::open(path)?, MAX_FILE), &mut bytes)?;
    Ok(bytes)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2);
    if !digits.remainder().is_empty() {
        return None;
    }
    let pair = |pair: &[u8]| from_hex::<1>(std::str::from_utf8(pair).ok()?).map(|[byte]| byte);
    digits.map(pair).collect()
}
