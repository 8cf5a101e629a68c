//! What went wrong in the database, and what the operator can do about it.
//!
//! Result codes of SQLite: <https://www.sqlite.org/rescode.html>.
//! Those of PostgreSQL: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use sqlx::Error;
use sqlx::postgres::PgDatabaseError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Busy,
    /// No connection was free, or could be made, in time.
    Waiting,
    Full,
    Access,
    Io,
    Damaged,
    /// PostgreSQL cannot be reached, or has no room for another connection.
    Away,
    /// PostgreSQL gave up a statement that took or waited too long.
    Slow,
    /// PostgreSQL knows no such user, or another password.
    Login,
    /// PostgreSQL has no such database.
    NoDatabase,
    /// PostgreSQL lets this user not do it.
    Rights,
    /// This PostgreSQL takes no writes: a standby.
    Standby,
    /// The connection to PostgreSQL is to be encrypted, and is not as the URL wants it.
    Tls,
    /// A statement or value that the database will never accept: a bug of ours.
    Statement,
}

impl Fault {
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                match database.try_downcast_ref::<PgDatabaseError>() {
                    Some(_) => Self::of_state(&code),
                    None => Self::of_code(code.parse().unwrap_or_default()),
                }
            }
            Error::PoolTimedOut => Self::Waiting,
            // What a server says or does not say; SQLite has no sockets.
            Error::Io(_) | Error::Protocol(_) => Self::Away,
            Error::Tls(_) => Self::Tls,
            Error::PoolClosed | Error::WorkerCrashed => Self::Io,
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

    fn of_state(state: &str) -> Self {
        match state {
            "25006" => Self::Standby,
            "3D000" => Self::NoDatabase,
            "42501" => Self::Rights,
            "53100" => Self::Full,
            // query_canceled, lock_not_available, idle_in_transaction_session_timeout
            "57014" | "55P03" | "25P03" => Self::Slow,
            "XX001" | "XX002" => Self::Damaged,
            _ => match state.get(..2).unwrap_or_default() {
                // Connections, resources, the operator's intervention.
                "08" | "53" | "57" => Self::Away,
                "28" => Self::Login,
                // Deadlocks, and what could not be put in an order.
                "40" => Self::Slow,
                "58" => Self::Io,
                _ => Self::Statement,
            },
        }
    }

    /// Whether the same statement may succeed later.
    pub(crate) fn may_pass(self) -> bool {
        self != Self::Statement
    }

    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Busy => "another process holds the file; stop it, or let it finish",
            Self::Waiting => "no connection to it was to be had in time; it cannot be reached, or does not keep up",
            Self::Full => "the disk is full; free space on it",
            Self::Access => "the file or its folder cannot be opened or written; check owner and permissions",
            Self::Io => "the disk failed; check it and the system log",
            Self::Damaged => "the file is damaged; stop the gateway, then restore a backup or move the file away",
            Self::Away => {
                "PostgreSQL cannot be reached, or takes no more connections; check that it runs, and the network between"
            }
            Self::Slow => "PostgreSQL was too slow or something else holds a lock in it; check its load and its log",
            Self::Login => "PostgreSQL refuses this user or password; check both, and pg_hba.conf",
            Self::NoDatabase => "PostgreSQL has no such database; create it",
            Self::Rights => {
                "PostgreSQL does not let this user do that; grant the user CREATE on the database, or make the user its owner"
            }
            Self::Standby => "this PostgreSQL only reads, as a standby does; name the primary",
            Self::Tls => {
                "the connection to PostgreSQL could not be encrypted as the URL wants; check sslmode and sslrootcert"
            }
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

    #[test]
    fn states_of_postgresql_keep_their_class() {
        for (state, fault) in [
            ("08006", Fault::Away),
            ("57P01", Fault::Away), // admin_shutdown
            ("53300", Fault::Away), // too_many_connections
            ("53100", Fault::Full),
            ("28P01", Fault::Login),
            ("3D000", Fault::NoDatabase),
            ("42501", Fault::Rights),
            ("25006", Fault::Standby),
            ("40P01", Fault::Slow), // deadlock_detected
            ("57014", Fault::Slow),
            ("XX001", Fault::Damaged),
            ("23505", Fault::Statement), // unique_violation
            ("", Fault::Statement),
        ] {
            assert_eq!(Fault::of_state(state), fault, "{state}");
        }
    }
}
