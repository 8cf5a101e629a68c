//! Quotes from the kernel's `configfs-tsm`, Linux 6.7 and later.
//!
//! The interface is the kernel's `Documentation/ABI/testing/configfs-tsm-report`: a folder is an entry; what is written
//! to `inblob` is signed when `outblob` is read; `generation` goes up by one with each write, so that a second writer
//! shows.
//! Each quote has an entry of its own, which is removed however it ends, and a quote is returned only if it holds our
//! report data.
//! What other TEEs give through the same files is recognised and refused: nothing here verifies it.

mod tree;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use attestation::{Attester, NoQuote};

pub(crate) use self::tree::read_bounded;
use self::tree::{OnDisk, Tree};
use crate::quote::{self, MAX_QUOTE, QuoteError};

/// Where the kernel has it.
pub const ROOT: &str = "/sys/kernel/config/tsm/report";

/// Of `provider` and `generation`: a word and a number.
const MAX_WORD: usize = 64;
/// How often `outblob` is read while the hypervisor says that it is busy.
const TRIES: u32 = 6;
/// Before the second try; doubled before each further one, three seconds in all.
const PAUSE: Duration = Duration::from_millis(100);
/// Names of entries that a process with our number may have left behind.
const NAMES: u32 = 16;

/// Why the kernel gave no quote.
#[derive(Debug, thiserror::Error)]
pub enum ConfigfsError {
    #[error("'{}' cannot be used; the kernel needs configfs mounted and a TSM, and this user the right to write there", path.display())]
    Entry { path: PathBuf, source: io::Error },
    #[error(
        "this machine is an AMD SEV-SNP guest; its reports are not verified by this version, so that it can only serve in tier open"
    )]
    Snp,
    #[error("the kernel's provider of reports is '{0}', not tdx_guest; this version verifies Intel TDX only")]
    Provider(String),
    #[error("'{attribute}' of the kernel's report cannot be read or written")]
    Attribute { attribute: &'static str, source: io::Error },
    #[error("'{attribute}' of the kernel's report is not what the kernel documents")]
    Malformed { attribute: &'static str },
    #[error("the hypervisor's quoting service stayed busy or silent for {tries} tries")]
    Busy { tries: u32, source: io::Error },
    #[error("somebody else wrote to our report: its generation went from {before} to {after}")]
    Raced { before: u64, after: u64 },
    #[error(transparent)]
    Quote(#[from] QuoteError),
}

/// The kernel as an [`Attester`].
#[derive(Debug)]
pub struct Configfs {
    reports: Reports<OnDisk>,
}

impl Configfs {
    /// Looks at the provider once, so that what this machine is not is known at start.
    pub fn open(root: &Path) -> Result<Self, ConfigfsError> {
        let tree = OnDisk { root: root.to_owned() };
        let reports = Reports::new(tree, root, PAUSE);
        reports.provider()?;
        Ok(Self { reports })
    }

    pub fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, ConfigfsError> {
        self.reports.quote(report_data)
    }
}

impl Attester for Configfs {
    fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
        self.reports.quote(report_data).map_err(NoQuote::new)
    }
}

#[derive(Debug)]
struct Reports<T> {
    tree: T,
    /// For messages only.
    root: PathBuf,
    pause: Duration,
    /// The number of the next entry. Held while a quote is made: the hypervisor signs one at a time anyway.
    next: Mutex<u64>,
}

/// Goes with its folder.
struct Entry<'a, T: Tree> {
    tree: &'a T,
    name: String,
}

impl<T: Tree> Drop for Entry<'_, T> {
    fn drop(&mut self) {
        // One that stays costs the kernel some bytes, and its name is skipped from then on.
        drop(self.tree.remove(&self.name));
    }
}

impl<T: Tree> Reports<T> {
    fn new(tree: T, root: &Path, pause: Duration) -> Self {
        Self {
            tree,
            root: root.to_owned(),
            pause,
            next: Mutex::new(0),
        }
    }

    fn provider(&self) -> Result<(), ConfigfsError> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.entry(&mut next)?.check_provider()
    }

    fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, ConfigfsError> {
        // Who panicked with the lock left nothing behind but a number.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = self.entry(&mut next)?;
        entry.check_provider()?;
        let before = entry.generation()?;
        entry.write_inblob(report_data)?;
        let quote = entry.outblob(self.pause)?;
        let after = entry.generation()?;
        if before.checked_add(1) != Some(after) {
            return Err(ConfigfsError::Raced { before, after });
        }
        Ok(quote::checked(quote, report_data)?)
    }

    fn entry(&self, next: &mut u64) -> Result<Entry<'_, T>, ConfigfsError> {
        let mut names = 0;
        loop {
            let name = format!("mulberry-{}-{next}", std::process::id());
            *next = next.wrapping_add(1);
            match self.tree.create(&name) {
                Ok(()) => return Ok(Entry { tree: &self.tree, name }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && names < NAMES => names += 1,
                Err(source) => {
                    return Err(ConfigfsError::Entry {
                        path: self.root.clone(),
                        source,
                    });
                }
            }
        }
    }
}

impl<T: Tree> Entry<'_, T> {
    fn check_provider(&self) -> Result<(), ConfigfsError> {
        match self.word("provider")?.as_str() {
            "tdx_guest" => Ok(()),
            "sev_guest" => Err(ConfigfsError::Snp),
            other => Err(ConfigfsError::Provider(
                other.chars().filter(|c| !c.is_control()).collect(),
            )),
        }
    }

    fn generation(&self) -> Result<u64, ConfigfsError> {
        let attribute = "generation";
        let word = self.word(attribute)?;
        word.parse().map_err(|_| ConfigfsError::Malformed { attribute })
    }

    fn word(&self, attribute: &'static str) -> Result<String, ConfigfsError> {
        let bytes = self
            .tree
            .read(&self.name, attribute, MAX_WORD)
            .map_err(|source| ConfigfsError::Attribute { attribute, source })?;
        match String::from_utf8(bytes) {
            Ok(text) if text.len() <= MAX_WORD => Ok(text.trim_end_matches('\n').to_owned()),
            _ => Err(ConfigfsError::Malformed { attribute }),
        }
    }

    fn write_inblob(&self, report_data: &[u8; 64]) -> Result<(), ConfigfsError> {
        let attribute = "inblob";
        self.tree
            .write(&self.name, attribute, report_data)
            .map_err(|source| ConfigfsError::Attribute { attribute, source })
    }

    /// The kernel asks the hypervisor when this is read, and asks again when it is read after a failure.
    fn outblob(&self, mut pause: Duration) -> Result<Vec<u8>, ConfigfsError> {
        let attribute = "outblob";
        let mut tries = 1;
        loop {
            match self.tree.read(&self.name, attribute, MAX_QUOTE) {
                Ok(quote) if quote.is_empty() || quote.len() > MAX_QUOTE => {
                    return Err(ConfigfsError::Malformed { attribute });
                }
                Ok(quote) => return Ok(quote),
                Err(error) if !may_pass(&error) => {
                    return Err(ConfigfsError::Attribute {
                        attribute,
                        source: error,
                    });
                }
                Err(source) if tries == TRIES => return Err(ConfigfsError::Busy { tries, source }),
                Err(_) => {}
            }
            wait(pause);
            pause = pause.saturating_mul(2);
            tries += 1;
        }
    }
}

fn may_pass(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, ResourceBusy, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | ResourceBusy | TimedOut | WouldBlock)
}

#[expect(
    clippy::disallowed_methods,
    reason = "quotes are made on a blocking thread, and the kernel has no event for a service that is no longer busy"
)]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests;
