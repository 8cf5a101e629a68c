//! Prints a configuration as YAML, with every default written out and no secret in it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::units::{Amount, Size, Timestamp, show_duration};

/// A value that can be printed.
pub(super) trait Show {
    fn show(&self) -> Shown;
}

pub(super) enum Shown {
    Null,
    /// Ours: never needs quotes.
    Plain(String),
    /// The operator's: quoted where YAML could read it as something else.
    Text(String),
    List(Vec<Shown>),
    Map(Vec<(String, Shown)>),
}

impl Shown {
    pub(super) const HIDDEN: &str = "***";

    pub(super) fn hidden() -> Self {
        Self::Text(Self::HIDDEN.to_owned())
    }

    /// The YAML of a whole document.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Map(entries) => map(entries, 0, &mut out),
            other => inline(other, &mut out),
        }
        out
    }
}

fn map(entries: &[(String, Shown)], indent: usize, out: &mut String) {
    for (i, (key, value)) in entries.iter().enumerate() {
        if i > 0 {
            pad(indent, out);
        }
        text(key, out);
        out.push(':');
        match value {
            Shown::Map(entries) if !entries.is_empty() => {
                out.push('\n');
                pad(indent + 2, out);
                map(entries, indent + 2, out);
            }
            Shown::List(items) if items.iter().any(|item| matches!(item, Shown::Map(_))) => {
                out.push('\n');
                for item in items {
                    pad(indent + 2, out);
                    out.push_str("- ");
                    match item {
                        Shown::Map(entries) => map(entries, indent + 4, out),
                        other => {
                            inline(other, out);
                            out.push('\n');
                        }
                    }
                }
            }
            other => {
                out.push(' ');
                inline(other, out);
                out.push('\n');
            }
        }
    }
}

fn inline(value: &Shown, out: &mut String) {
    match value {
        Shown::Null => out.push_str("null"),
        Shown::Plain(word) => out.push_str(word),
        Shown::Text(word) => text(word, out),
        Shown::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                inline(item, out);
            }
            out.push(']');
        }
        Shown::Map(entries) => {
            out.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                text(key, out);
                out.push_str(": ");
                inline(value, out);
            }
            out.push('}');
        }
    }
}

/// Bare where it surely reads back as the same text; else in double quotes.
fn text(word: &str, out: &mut String) {
    let bare = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && !matches!(
            word.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if bare {
        out.push_str(word);
        return;
    }
    out.push('"');
    let mut rest = word.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // Printed text that is read again must not be interpolated again.
            '$' if rest.peek() == Some(&'{') => out.push_str("$$"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

impl Show for String {
    fn show(&self) -> Shown {
        Shown::Text(self.clone())
    }
}

impl Show for PathBuf {
    fn show(&self) -> Shown {
        Shown::Text(self.display().to_string())
    }
}

impl Show for bool {
    fn show(&self) -> Shown {
        Shown::Plain(self.to_string())
    }
}

impl Show for u32 {
    fn show(&self) -> Shown {
        Shown::Plain(self.to_string())
    }
}

impl Show for Duration {
    fn show(&self) -> Shown {
        Shown::Plain(show_duration(*self))
    }
}

impl Show for Size {
    fn show(&self) -> Shown {
        Shown::Plain(self.to_string())
    }
}

impl Show for Timestamp {
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl Show for Amount {
    fn show(&self) -> Shown {
        Shown::Plain(self.to_string())
    }
}

impl Show for SocketAddr {
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> Shown {
        self.as_ref().map_or(Shown::Null, Show::show)
    }
}

impl<T: Show> Show for Vec<T> {
    fn show(&self) -> Shown {
        Shown::List(self.iter().map(Show::show).collect())
    }
}
