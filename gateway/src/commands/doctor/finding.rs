//! What one check found.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    Ok,
    /// Other than OpenAI's own, and clients cope.
    Note,
    /// Some client fails of it.
    Fault,
    /// Could not be examined here.
    Skipped,
}

impl Grade {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Fault => "FAULT",
            Self::Skipped => "-",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at, in two words or three.
    pub(super) check: &'static str,
    pub(super) grade: Grade,
    pub(super) found: String,
    /// What follows for clients; empty where nothing does.
    pub(super) means: &'static str,
    /// What the gateway in front makes of it.
    pub(super) mulberry: &'static str,
}

/// What follows from a deviation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Consequence {
    pub(super) means: &'static str,
    pub(super) mulberry: &'static str,
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::plain(check, Grade::Ok, found)
    }

    pub(super) fn skipped(check: &'static str, found: impl Into<String>) -> Self {
        Self::plain(check, Grade::Skipped, found)
    }

    pub(super) fn note(check: &'static str, found: impl Into<String>, follows: Consequence) -> Self {
        Self::deviation(check, Grade::Note, found, follows)
    }

    pub(super) fn fault(check: &'static str, found: impl Into<String>, follows: Consequence) -> Self {
        Self::deviation(check, Grade::Fault, found, follows)
    }

    /// Good where nothing was found.
    pub(super) fn of(check: &'static str, faults: &[String], good: &str, follows: Consequence) -> Self {
        if faults.is_empty() {
            Self::ok(check, good)
        } else {
            Self::fault(check, faults.join("; "), follows)
        }
    }

    fn plain(check: &'static str, grade: Grade, found: impl Into<String>) -> Self {
        Self {
            check,
            grade,
            found: shown(&found.into()),
            means: "",
            mulberry: "",
        }
    }

    fn deviation(check: &'static str, grade: Grade, found: impl Into<String>, follows: Consequence) -> Self {
        Self {
            means: follows.means,
            mulberry: follows.mulberry,
            ..Self::plain(check, grade, found)
        }
    }
}

/// Words of a server as a terminal may show them.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(200).collect();
    crate::commands::usage::plain(&short)
}
