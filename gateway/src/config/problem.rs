//! What is wrong with a configuration, and how it is told.
//!
//! A problem names the place (file, line, column, or the environment variable), the key, what is wrong and what to do.
//! All problems of a file are told together.
//! What a problem may quote is decided by [`Node::quoted`](super::document::Node::quoted), never here.

use std::fmt;

use super::document::Format;

/// A configuration that was refused, with every reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigError {
    file: String,
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        // Stable: problems of one place stay in the order in which they were found.
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        Self {
            file: file.to_owned(),
            problems,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "{}: {count} {noun}", self.file)?;
        for problem in &self.problems {
            write!(f, "\n  ")?;
            match &problem.place {
                Place::Whole => write!(f, "{}: ", self.file)?,
                Place::File { line, column } => write!(f, "{}:{line}:{column}: ", self.file)?,
                Place::Variable(name) => match name.as_str() {
                    // A flag on the command line arrives as the variable of the same meaning.
                    "MULBERRY_LISTEN" => f.write_str("--listen or MULBERRY_LISTEN: ")?,
                    "MULBERRY_ADMIN_LISTEN" => f.write_str("--admin-listen or MULBERRY_ADMIN_LISTEN: ")?,
                    name => write!(f, "environment variable {name}: ")?,
                },
            }
            if !problem.key.is_empty() {
                write!(f, "`{}`: ", problem.key)?;
            }
            write!(f, "{}", problem.message)?;
            if !problem.fix.is_empty() {
                write!(f, "\n    fix: {}", problem.fix)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    /// The path of the key, such as `backends[0].url`; empty where the file as a whole is meant.
    pub(crate) key: String,
    pub(crate) message: String,
    /// What the operator can do about it.
    pub(crate) fix: String,
}

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// The file as a whole.
    Whole,
    /// Both count from one; the column counts characters.
    File { line: usize, column: usize },
    /// An environment variable that overrides the file.
    Variable(String),
}

/// The problems found so far, in a file of some format.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: Vec<Problem>,
    format: Format,
}

impl Problems {
    pub(crate) fn of(format: Format) -> Self {
        Self {
            found: Vec::new(),
            format,
        }
    }

    pub(super) fn report(&mut self, place: &Place, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.found.push(Problem {
            place: place.clone(),
            key: key.to_owned(),
            message: message.into(),
            fix: fix.into(),
        });
    }

    /// How a mapping is written where something else was found.
    pub(super) const fn mapping_fix(&self) -> &'static str {
        match self.format {
            Format::Yaml => "write `name: value` lines below it",
            Format::Json => "write an object: `{\"name\": \"value\"}`",
            Format::Toml => "write a table with this name in brackets, and `name = value` lines below it",
        }
    }

    /// How a list is written where something else was found.
    pub(super) const fn list_fix(&self) -> &'static str {
        match self.format {
            Format::Yaml => "write each item on a line of its own that begins with `- `",
            Format::Json => "write an array in brackets",
            Format::Toml => "write a list in brackets, or for each item a table with this name in double brackets",
        }
    }

    /// How a key is added that is missing.
    pub(super) fn key_fix(&self, name: &str) -> String {
        match self.format {
            Format::Yaml => format!("add `{name}:`"),
            Format::Json => format!("add `\"{name}\":`"),
            Format::Toml => format!("add `{name} =`"),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn into_error(self, file: &str) -> ConfigError {
        ConfigError::new(file, self.found)
    }
}

/// The option that was probably meant by `word`, if one is near enough to say so.
pub(super) fn nearest<'a>(word: &str, options: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    options
        .iter()
        .map(|option| (strsim::damerau_levenshtein(&word, option), *option))
        // Of a short word at least one letter must be right.
        .filter(|(distance, option)| *distance <= (option.len() / 3).max(1).min(option.len().saturating_sub(1)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, option)| option)
}
