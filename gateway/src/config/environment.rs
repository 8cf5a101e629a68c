//! What a configuration may read besides its own text: environment variables and files.

use std::io::{self, Read};
use std::path::Path;

/// The largest file that is read, in bytes: a path may lead to what has no end.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The world outside the configuration file.
///
/// The process brings [`Process`]; a test brings a map.
pub(crate) trait Environment {
    /// One variable, or `None` where it is not set.
    fn variable(&self, name: &str) -> Option<String>;
    /// All variables, for the overrides named `MULBERRY_…`.
    fn variables(&self) -> Vec<(String, String)>;
    /// The text of a file.
    fn read(&self, path: &Path) -> io::Result<String>;
    /// Whether a file that is read later (a certificate, a trust root) is there.
    fn is_file(&self, path: &Path) -> bool;
}

/// The environment and the files of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process;

impl Environment for Process {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn variables(&self) -> Vec<(String, String)> {
        // `vars()` would panic on a variable that is not UTF-8.
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(path)?
            .take(MAX_FILE + 1)
            .read_to_string(&mut text)?;
        if text.len() as u64 > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(text)
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }
}
