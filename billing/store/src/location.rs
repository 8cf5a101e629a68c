//! Where a database is: a file, or a PostgreSQL server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// What sqlx reads in a URL's query. It would log any other with its value, which may be a misspelt password.
const PARAMETERS: [&str; 13] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of SQLite, which is created where it is missing.
    File(PathBuf),
    /// A database of a PostgreSQL server, which has to be there.
    Postgres(PgUrl),
}

impl From<PathBuf> for Location {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&Path> for Location {
    fn from(path: &Path) -> Self {
        Self::File(path.to_path_buf())
    }
}

impl From<PgUrl> for Location {
    fn from(url: PgUrl) -> Self {
        Self::Postgres(url)
    }
}

/// As it may be told: a path, or a server and a database, without user and password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => url.place().fmt(f),
        }
    }
}

/// The URL of a PostgreSQL database, `postgres://user:password@host/database`, as libpq reads it.
///
/// What it leaves out comes from libpq's places: `PGPASSWORD`, `PGPASSFILE`, `~/.pgpass` and so on.
/// It is a secret; `Debug` shows none of it.
#[derive(Clone)]
pub struct PgUrl {
    text: String,
    options: Box<PgConnectOptions>,
}

/// Why a text is no URL of a PostgreSQL database. The text is not in it, for it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PgUrlError {
    #[error("it does not begin with postgres:// or postgresql://")]
    Scheme,
    /// Not told by name: after a `?` that was not written %3F it would be the end of a password.
    #[error(
        "what stands after its `?` is nothing that can be set; a URL may end in ?sslmode=verify-full&sslrootcert=FILE and the like, and a ? in a password is written %3F"
    )]
    Parameter,
    #[error(
        "it is not of the form postgres://USER:PASSWORD@HOST:PORT/DATABASE; characters such as @ / ? # % in a password are written as %40 %2F %3F %23 %25"
    )]
    Form,
    #[error("it names no database; end it in /NAME")]
    NoDatabase,
}

impl FromStr for PgUrl {
    type Err = PgUrlError;

    fn from_str(text: &str) -> Result<Self, PgUrlError> {
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
        {
            return Err(PgUrlError::Scheme);
        }
        let query = text.split_once('?').map_or("", |(_, query)| query);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((name, _)) if PARAMETERS.contains(&name) => {}
                _ => return Err(PgUrlError::Parameter),
            }
        }
        let options: PgConnectOptions = text.parse().map_err(|_| PgUrlError::Form)?;
        if options.get_database().is_none() {
            return Err(PgUrlError::NoDatabase);
        }
        Ok(Self {
            text: text.to_owned(),
            options: Box::new(options),
        })
    }
}

impl PgUrl {
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// The server and the database, without user and password.
    pub fn place(&self) -> String {
        let database = self.options.get_database().unwrap_or_default();
        match self.options.get_socket() {
            Some(socket) => format!("the PostgreSQL database {database} at {}", socket.display()),
            None => format!(
                "the PostgreSQL database {database} at {}:{}",
                self.options.get_host(),
                self.options.get_port()
            ),
        }
    }

    /// Whether anybody on the way could read and change what is said.
    pub(crate) fn is_open_to_others(&self) -> bool {
        let host = self.options.get_host();
        let is_here = self.options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse()
                .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        !is_here && !matches!(self.options.get_ssl_mode(), PgSslMode::VerifyCa | PgSslMode::VerifyFull)
    }

    /// The whole URL, for a program that is to connect itself. Never to be shown.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl PartialEq for PgUrl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PgUrl {}

impl fmt::Debug for PgUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_without_being_repeated() {
        let good = "postgres://u:hunter2@db.example:6432/gate?sslmode=verify-full&application_name=x";
        let url: PgUrl = good.parse().expect("whole");
        assert_eq!(url.place(), "the PostgreSQL database gate at db.example:6432");
        assert!(!url.is_open_to_others());
        let location = Location::from(url);
        assert!(!format!("{location:?}{location}").contains("hunter2"));
        for (text, expect) in [
            ("mysql://u:hunter2@h/d", PgUrlError::Scheme),
            ("postgres://u:hunter2@h/d?pasword=hunter2", PgUrlError::Parameter),
            ("postgres://u:hunter2@h/d?hunter2", PgUrlError::Parameter),
            ("postgres://u:hunter2@h:port/d", PgUrlError::Form),
            ("postgres://u:hunter2@h/d?sslmode=hunter2", PgUrlError::Form),
        ] {
            let error = text.parse::<PgUrl>().expect_err("refused");
            assert_eq!(error, expect);
            assert!(!format!("{error:?}{error}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_trusted_without_a_certificate() {
        for (text, expect) in [
            ("postgres://u@localhost/d", false),
            ("postgres://u@127.0.0.1/d", false),
            ("postgres://u@[::1]/d", false),
            ("postgres:///d?host=/run/postgresql", false),
            ("postgres://u@10.0.0.7/d", true),
            ("postgres://u@db/d?sslmode=require", true),
            ("postgres://u@db/d?sslmode=verify-full", false),
        ] {
            let url: PgUrl = text.parse().expect("whole");
            assert_eq!(url.is_open_to_others(), expect, "{text}");
        }
    }
}
