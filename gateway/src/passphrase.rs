//! Passphrases of key files: from a file, a variable or the terminal, whichever is there first.

use std::{
    io,
    path::{Path, PathBuf},
};

use billing_ton::keyfile::SHORTEST_PASSPHRASE;
use zeroize::Zeroizing;

use crate::{
    config::Environment,
    key_file::{self, ReadError},
    terminal::{self, AskError},
};

/// The variable that is looked at where no file is named.
pub(crate) const VARIABLE: &str = "MULBERRY_WALLET_PASSPHRASE";

/// What a key file is opened with. Has neither `Debug` nor `Display`, and is wiped when it is dropped.
pub(crate) struct Passphrase(Zeroizing<String>);

impl Passphrase {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Why there is no passphrase, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassphraseError {
    #[error("cannot read the passphrase from '{}'", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("others may read '{}'; run `chmod 600` on it, and think of another passphrase", .0.display())]
    Exposed(PathBuf),
    #[error("'{}' is empty; write the passphrase on its first line", .0.display())]
    Empty(PathBuf),
    #[error("a passphrase is needed and {source}; name a file that has it with --passphrase-file, or set {VARIABLE}")]
    Nobody { source: AskError },
    #[error(
        "a passphrase has at least {SHORTEST_PASSPHRASE} bytes, for shorter ones are guessed; four random words are good"
    )]
    Short,
    #[error("the two passphrases differ; nothing was written")]
    Differ,
}

/// Where a passphrase comes from.
pub(crate) struct Source<'a> {
    pub(crate) file: Option<&'a Path>,
    pub(crate) environment: &'a dyn Environment,
}

impl Source<'_> {
    /// For a key that there is.
    pub(crate) fn existing(&self, of: &str) -> Result<Passphrase, PassphraseError> {
        if let Some(passphrase) = self.unasked()? {
            return Ok(passphrase);
        }
        ask(&format!("Passphrase of {of}: "))
    }

    /// For a key that is about to be sealed. Whoever types it types it twice.
    pub(crate) fn new_one(&self, of: &str) -> Result<Passphrase, PassphraseError> {
        if let Some(passphrase) = self.unasked()? {
            return long_enough(passphrase);
        }
        let once = long_enough(ask(&format!("New passphrase for {of} (four random words are good): "))?)?;
        let again = ask("The same again: ")?;
        if once.bytes() == again.bytes() {
            Ok(once)
        } else {
            Err(PassphraseError::Differ)
        }
    }

    fn unasked(&self) -> Result<Option<Passphrase>, PassphraseError> {
        let Some(path) = self.file else {
            let given = self.environment.variable(VARIABLE).filter(|given| !given.is_empty());
            return Ok(given.map(|given| Passphrase(Zeroizing::new(given))));
        };
        let text = key_file::read(path).map_err(|error| match error {
            ReadError::Io(source) => PassphraseError::File {
                path: path.to_owned(),
                source,
            },
            ReadError::Exposed => PassphraseError::Exposed(path.to_owned()),
        })?;
        let text = Zeroizing::new(text);
        // Editors and `echo` end the line.
        match text.lines().next().filter(|line| !line.is_empty()) {
            Some(line) => Ok(Some(Passphrase(Zeroizing::new(line.to_owned())))),
            None => Err(PassphraseError::Empty(path.to_owned())),
        }
    }
}

fn ask(question: &str) -> Result<Passphrase, PassphraseError> {
    let typed = terminal::ask_secret(question);
    typed
        .map(Passphrase)
        .map_err(|source| PassphraseError::Nobody { source })
}

fn long_enough(passphrase: Passphrase) -> Result<Passphrase, PassphraseError> {
    if passphrase.bytes().len() < SHORTEST_PASSPHRASE {
        return Err(PassphraseError::Short);
    }
    Ok(passphrase)
}
