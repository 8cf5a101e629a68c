//! What went wrong in SQLite, and what the operator can do about it.
//!
//! Result codes: <https://www.sqlite.org/rescode.html>.

use sqlx::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Busy,
    Full,
    Access,
    Io,
    Damaged,
    /// A statement or value that SQLite will never accept: a bug of ours.
    Statement,
}

impl Fault {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Database(database) => {
                let code = database.code().and_then(|code| code.parse::<i32>().ok());
                Self::of_code(code.unwrap_or_default())
            }
            Error::PoolTimedOut => Self::Busy,
            Error::Io(_) | Error::PoolClosed | Error::WorkerCrashed => Self::Io,
            _ => Self::Statement,
        }
    }

    fn of_code(extended: i32) -> Self {
        // The low byte is the primary code, the rest says where it happened.
        match extended & 0xff {
            5 | 6 => Self::Busy,
            13 => Self::Full,
            // PERM, READONLY, CANTOPEN, AUTH
            3 | 8 | 14 | 23 => Self::Access,
            // NOMEM, INTERRUPT, IOERR, PROTOCOL, NOLFS
            7 | 9 | 10 | 15 | 22 => Self::Io,
            11 | 26 => Self::Damaged,
            _ => Self::Statement,
        }
    }

    /// Whether the same statement may succeed later.
    pub(crate) fn may_pass(self) -> bool {
        self != Self::Statement
    }

    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Busy => "another process holds the file; stop it, or let it finish",
            Self::Full => "the disk is full; free space on it",
            Self::Access => "the file or its folder cannot be opened or written; check owner and permissions",
            Self::Io => "the disk failed; check it and the system log",
            Self::Damaged => "the file is damaged; stop the gateway, then restore a backup or move the file away",
            Self::Statement => "this is a bug in Mulberry; please report it with this message",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn extended_codes_keep_their_class() {
        for (code, fault) in [
            (5, Fault::Busy),
            (517, Fault::Busy), // BUSY_SNAPSHOT
            (13, Fault::Full),
            (778, Fault::Io),      // IOERR_WRITE
            (1032, Fault::Access), // READONLY_DBMOVED
            (267, Fault::Damaged), // CORRUPT_VTAB
            (26, Fault::Damaged),
            (275, Fault::Statement), // CONSTRAINT_CHECK
        ] {
            assert_eq!(Fault::of_code(code), fault, "{code}");
        }
    }
}
