//! A worker as a process: `mulberry worker`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::process::{Process, mulberry, wrapped};
use crate::wait::{SOON, eventually};

/// A running `mulberry worker`.
#[derive(Debug)]
pub struct Worker {
    process: Process,
}

/// The key of a worker that may be running or not.
#[derive(Debug, Clone)]
pub struct WorkerKey {
    /// Its SHA-256, for the gateway's configuration.
    pub sha256: String,
    file: PathBuf,
}

impl WorkerKey {
    /// Has `mulberry worker key` make one, and takes what it prints.
    pub(crate) fn make(dir: &Path, name: &str) -> Self {
        let file = dir.join(format!("{name}.key"));
        let printed = Command::new(mulberry())
            .args(["worker", "key", "--key-file"])
            .arg(&file)
            .output()
            .expect("the binary starts");
        let error = String::from_utf8_lossy(&printed.stderr);
        assert!(printed.status.success(), "mulberry worker key failed:\n{error}");
        let sha256 = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
        assert_eq!(sha256.len(), 64, "{sha256}");
        Self { sha256, file }
    }

    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl Worker {
    pub(crate) fn start(name: &str, dir: &Path, key: &WorkerKey, engine: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(mulberry());
        command
            .args(["worker", "--engine", engine, "--key-file"])
            .arg(&key.file)
            .args(flags);
        Self {
            process: Process::start(&mut command, name, dir),
        }
    }

    /// Beside this engine, with these flags and no key; `wrapper` is what runs it, such as `ip netns exec NAME`.
    pub(crate) fn wrapped(name: &str, dir: &Path, wrapper: &[&str], engine: &str, flags: &[&str]) -> Self {
        let mut command = wrapped(wrapper);
        command.args(["worker", "--engine", engine]).args(flags);
        Self {
            process: Process::start(&mut command, name, dir),
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr().text()
    }

    /// Where it listens for gateways.
    #[must_use]
    pub fn address(&self) -> String {
        let found = self.process.stderr().wait_for(SOON, |log| {
            let line = log.lines().find(|line| line.contains("worker starts"))?;
            line.split_whitespace()
                .find_map(|word| word.strip_prefix("listen="))
                .map(str::to_owned)
        });
        found.unwrap_or_else(|| panic!("the worker does not listen:\n{}", self.log()))
    }

    /// Waits until it has logged this so often.
    pub async fn says(&self, what: &str, times: usize) {
        let said = eventually(SOON, || self.log().matches(what).count() >= times).await;
        assert!(said, "the worker never said '{what}':\n{}", self.log());
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    pub async fn wait(&mut self, timeout: Duration) -> ExitStatus {
        self.process.wait(timeout).await
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits for an end that is to come by itself, and gives what it said.
    pub fn refused(mut self) -> String {
        let Some(said) = self.process.stderr().to_end(SOON) else {
            panic!("the worker started:\n{}", self.log());
        };
        assert!(
            !self.process.to_end().success(),
            "it ended as if all were well:\n{said}"
        );
        said
    }
}
