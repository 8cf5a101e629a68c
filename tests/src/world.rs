//! A directory, and the processes that live in it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;
use std::{fs, process, thread};

use crate::{Connect, Gateway, Llama, Mock, Worker, WorkerKey, gateway};

/// What one test has to itself.
#[derive(Debug)]
pub struct World {
    dir: PathBuf,
    processes: AtomicU32,
}

impl World {
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a world is made on purpose: it is a directory on the disk"
    )]
    pub fn new() -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        // One of the same process id, which was killed, may have left what it had.
        let name = format!(
            "mulberry-e2e-{}-{}-{:x}",
            process::id(),
            WORLDS.fetch_add(1, Ordering::Relaxed),
            UNIX_EPOCH.elapsed().map_or(0, |since| since.as_micros())
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        Self {
            dir,
            processes: AtomicU32::new(0),
        }
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file of the world and gives its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.join(name);
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Writes a file that only its owner may read.
    pub fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.file(name, content);
        let private = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
        private.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// Starts `mulberry mock` with these flags.
    #[must_use]
    pub fn mock(&self, flags: &[&str]) -> Mock {
        Mock::start(&self.name("mock"), &self.dir, &[], flags)
    }

    /// The same, run by these words.
    #[must_use]
    pub fn mock_in(&self, wrapper: &[&str], flags: &[&str]) -> Mock {
        Mock::start(&self.name("mock"), &self.dir, wrapper, flags)
    }

    /// Starts `mulberry serve` with this configuration and waits until it listens.
    ///
    /// `listen`, `admin_listen` and `data_dir` are added unless they are given.
    #[must_use]
    pub fn gateway(&self, yaml: &str) -> Gateway {
        Gateway::start(&self.name("gateway"), &self.dir, yaml)
    }

    /// Starts `mulberry serve` with a file of this world, as it is, and these variables, and waits until it listens.
    #[must_use]
    pub fn gateway_of(&self, file: &str, variables: &[(&str, &str)]) -> Gateway {
        Gateway::of(&self.name("gateway"), &self.dir, &self.dir.join(file), variables)
    }

    /// Starts `mulberry serve` with a configuration that it must refuse, and gives what it said.
    #[must_use]
    pub fn gateway_error(&self, yaml: &str) -> String {
        gateway::refused(&self.name("gateway"), &self.dir, yaml)
    }

    /// Starts a real llama.cpp server with the tiny model `chat`, `tool` or `embedding`.
    #[must_use]
    pub fn llama(&self, model: &str, key: Option<&str>) -> Llama {
        Llama::start(&self.name("llama"), &self.dir, model, key)
    }

    /// Makes the key of a worker, or reads it again.
    #[must_use]
    pub fn worker_key(&self, name: &str) -> WorkerKey {
        WorkerKey::make(&self.dir, name)
    }

    /// Starts `mulberry worker` beside this engine, with these flags more.
    #[must_use]
    pub fn worker(&self, key: &WorkerKey, engine: &str, flags: &[&str]) -> Worker {
        Worker::start(&self.name("worker"), &self.dir, key, engine, flags)
    }

    /// Starts `mulberry worker` beside this engine, without a key and with these flags, run by these words.
    #[must_use]
    pub fn worker_in(&self, wrapper: &[&str], engine: &str, flags: &[&str]) -> Worker {
        Worker::wrapped(&self.name("worker"), &self.dir, wrapper, engine, flags)
    }

    /// Starts `mulberry connect` with these flags, and waits until it listens.
    #[must_use]
    pub fn connect(&self, flags: &[&str]) -> Connect {
        Connect::start(&self.name("connect"), &self.dir, flags)
    }

    /// Starts `mulberry connect` with flags that it must refuse, and gives what it said.
    #[must_use]
    pub fn connect_error(&self, flags: &[&str]) -> String {
        Connect::refused(&self.name("connect"), &self.dir, flags)
    }

    /// A name for the next process, under which its files lie.
    fn name(&self, kind: &str) -> String {
        format!("{kind}-{}", self.processes.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for World {
    #[expect(clippy::print_stderr, reason = "whoever reads the failed test needs the path")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the logs of this test are in {}", self.dir.display());
        } else {
            // A directory that is left behind fails no test.
            drop(fs::remove_dir_all(&self.dir));
        }
    }
}
