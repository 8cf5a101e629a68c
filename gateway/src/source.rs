//! Source: where the configuration comes from, so that it can be read again.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::config::{Config, ConfigError, Environment, Process};

pub(crate) use watch::{Seen, Watch};

mod watch;

/// A configuration that can be read at any time.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    origin: Origin,
    /// What flags say, as the variables of the same meaning.
    flags: BTreeMap<&'static str, String>,
}

#[derive(Debug, Clone)]
pub(crate) enum Origin {
    File(PathBuf),
    /// `--backend URL` and no file.
    Backend(String),
    /// A text that the program wrote itself, with its name.
    #[cfg(feature = "demo")]
    Text(&'static str, String),
}

/// What one reading brought.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) config: Result<Loaded, ConfigError>,
    /// The files that were looked at, whether or not they were there, as they were just before.
    pub(crate) files: Vec<Seen>,
}

/// A configuration with the name of what was read.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Of the file's text and of the configuration that it means, without secrets: 16 hexadecimal digits.
    pub(crate) hash: String,
}

impl Source {
    pub(crate) fn new(origin: Origin, flags: BTreeMap<&'static str, String>) -> Self {
        Self { origin, flags }
    }

    /// As an operator knows it.
    pub(crate) fn name(&self) -> String {
        match &self.origin {
            Origin::File(path) => path.display().to_string(),
            Origin::Backend(_) => "--backend".to_owned(),
            #[cfg(feature = "demo")]
            Origin::Text(name, _) => (*name).to_owned(),
        }
    }

    /// Reads, from the beginning.
    pub(crate) fn read(&self) -> Reading {
        let flagged = WithFlags {
            below: &Process,
            flags: &self.flags,
        };
        let recording = Recording {
            below: &flagged,
            files: RefCell::default(),
            first: RefCell::default(),
        };
        let config = match &self.origin {
            Origin::File(path) => Config::load(path, &recording),
            Origin::Backend(url) => Config::single(url, &recording),
            #[cfg(feature = "demo")]
            Origin::Text(name, text) => Config::parse(text, name, &recording),
        };
        // Of a file, its own text: it is read before what it names.
        let text = match &self.origin {
            Origin::File(_) => recording.first.take().unwrap_or_default(),
            Origin::Backend(_) => String::new(),
            #[cfg(feature = "demo")]
            Origin::Text(..) => String::new(),
        };
        Reading {
            config: config.map(|config| Loaded {
                hash: hash(text.as_bytes(), &config),
                config,
            }),
            files: recording.files.into_inner(),
        }
    }

    /// What looks like a slip in the environment.
    pub(crate) fn warnings(&self) -> Vec<String> {
        Config::warnings(&WithFlags {
            below: &Process,
            flags: &self.flags,
        })
    }
}

fn hash(text: &[u8], config: &Config) -> String {
    let mut digest = Sha256::new();
    digest.update(text);
    digest.update(config.normalised().as_bytes());
    let digest = digest.finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The environment, with what flags say on top: a flag is checked by the same rules as the file.
struct WithFlags<'a> {
    below: &'a dyn Environment,
    flags: &'a BTreeMap<&'static str, String>,
}

impl Environment for WithFlags<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.flags.get(name).cloned().or_else(|| self.below.variable(name))
    }

    fn variables(&self) -> Vec<(String, String)> {
        let mut variables = self.below.variables();
        variables.retain(|(name, _)| !self.flags.contains_key(name.as_str()));
        variables.extend(
            self.flags
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        variables
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.below.read(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        self.below.is_file(path)
    }
}

/// The environment, noting which files it was asked for, and what the first that it read held.
struct Recording<'a> {
    below: &'a dyn Environment,
    files: RefCell<Vec<Seen>>,
    first: RefCell<Option<String>>,
}

impl Recording<'_> {
    fn note(&self, path: &Path) {
        let mut files = self.files.borrow_mut();
        if !files.iter().any(|other| other.path() == path) {
            files.push(Seen::now(path));
        }
    }
}

impl Environment for Recording<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.below.variable(name)
    }

    fn variables(&self) -> Vec<(String, String)> {
        self.below.variables()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.note(path);
        let text = self.below.read(path)?;
        self.first.borrow_mut().get_or_insert_with(|| text.clone());
        Ok(text)
    }

    fn is_file(&self, path: &Path) -> bool {
        self.note(path);
        self.below.is_file(path)
    }
}
