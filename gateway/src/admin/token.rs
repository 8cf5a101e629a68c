//! Admin tokens: from the configuration, or one that was made at the first start.
//!
//! Kept as SHA-256, like API keys. The one that is made lies in `admin.token` of the data directory, readable by the
//! gateway's user only: who can read that file could as well read the database beside it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};

use super::problem;
use crate::{
    config::{Config, KeyHash},
    tls,
};

/// Carries an admin token beside a client's own key.
pub(super) const PLAYGROUND: HeaderName = HeaderName::from_static("x-mulberry-admin-token");

/// The file in the data directory.
const FILE: &str = "admin.token";
/// A token has far fewer bytes.
const MAX_FILE: u64 = 4096;

/// Who made a request: the name of the token.
#[derive(Debug, Clone)]
pub(crate) struct Actor(pub(crate) String);

#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("cannot keep the admin token in '{path}'; check the permissions of the folder, or set admin.tokens")]
    Write { path: String, source: io::Error },
    #[error("'{path}' holds no admin token; remove it and a new one is made, or set admin.tokens")]
    Empty { path: String },
    #[error("no secure random bytes can be had from this system")]
    Random,
}

/// The tokens in force.
#[derive(Debug, Default)]
pub(crate) struct AdminTokens(Vec<(String, KeyHash)>);

impl AdminTokens {
    /// The configured tokens; where there are none, the one in the data directory, made if it is not there.
    ///
    /// `started`: what the process was started with. It says where the data directory is and whether anybody listens
    /// until the next start, whatever a file says that is read meanwhile.
    pub(crate) fn of(config: &Config, started: &Config) -> Result<Self, TokenError> {
        let configured: Vec<_> = config
            .admin
            .tokens
            .iter()
            .map(|token| (token.name.clone(), token.sha256))
            .collect();
        if !configured.is_empty() || started.admin_listen.is_none() {
            return Ok(Self(configured));
        }
        let Some(folder) = &started.data_dir else {
            return Ok(Self::default());
        };
        let path = folder.join(FILE);
        let token = match read(&path)? {
            Some(token) => token,
            None => {
                write(&path, &random().ok_or(TokenError::Random)?)?;
                tracing::info!(file = %path.display(), "an admin token was made and kept in a file");
                // Perhaps that of a gateway that started beside us.
                read(&path)?.ok_or_else(|| TokenError::Empty {
                    path: path.display().to_string(),
                })?
            }
        };
        Ok(Self(vec![("admin".to_owned(), KeyHash::of(&token))]))
    }

    /// The name of a token. Looking up a hash tells an attacker who measures time nothing of any token.
    pub(super) fn find(&self, token: &[u8]) -> Option<&str> {
        if token.is_empty() {
            return None;
        }
        let hash = KeyHash::of(std::str::from_utf8(token).ok()?);
        let found = self.0.iter().find(|(_, known)| *known == hash);
        found.map(|(name, _)| name.as_str())
    }
}

/// Where the token lies that is made when none is configured.
pub(crate) fn file(config: &Config) -> Option<PathBuf> {
    config.data_dir.as_ref().map(|folder| folder.join(FILE))
}

/// The token in this file; `None` where there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, TokenError> {
    let shown = || path.display().to_string();
    let mut text = String::new();
    match fs::File::open(path) {
        Ok(file) => file
            .take(MAX_FILE)
            .read_to_string(&mut text)
            .map_err(|source| TokenError::Write { path: shown(), source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(TokenError::Write { path: shown(), source }),
    };
    let token = text.trim();
    // Shorter than any that we make is not one that we made.
    if token.len() < 32 {
        return Err(TokenError::Empty { path: shown() });
    }
    Ok(Some(token.to_owned()))
}

/// Writes a token where there is none. The file is there whole or not at all, whatever ends us meanwhile; one that
/// another process put there first stays.
fn write(path: &Path, digits: &str) -> Result<(), TokenError> {
    let beside = path.with_file_name(format!("{FILE}.{}", &digits[..16]));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.write_all(format!("mba-{}\n", &digits[16..]).as_bytes())?;
            file.sync_all()?;
            match fs::hard_link(&beside, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                // A file system without links.
                Err(_) => fs::rename(&beside, path),
                Ok(()) => Ok(()),
            }
        });
    // Its work is done, or it is gone already.
    drop(fs::remove_file(&beside));
    written.map_err(|source| TokenError::Write {
        path: path.display().to_string(),
        source,
    })
}

/// Random digits in hexadecimal: 16 for the name of a file and 64 for a token; `None` where the system has none.
fn random() -> Option<String> {
    let bytes: [u8; 40] = tls::random()?;
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Lets in who brings a token, and says who it is to those behind.
pub(super) async fn require(
    State(tokens): State<Arc<ArcSwap<AdminTokens>>>,
    mut request: Request,
    next: Next,
) -> Response {
    let actor = {
        let tokens = tokens.load();
        presented(request.headers())
            .and_then(|token| tokens.find(token))
            .map(|name| Actor(name.to_owned()))
    };
    match actor {
        Some(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        None => refused(),
    }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

pub(super) fn refused() -> Response {
    let message = "This needs an admin token: 'Authorization: Bearer TOKEN'. It is one of admin.tokens, or else the line in admin.token of the data directory.";
    let mut response = problem(StatusCode::UNAUTHORIZED, "invalid_admin_token", message);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_that_start_at_once_all_have_the_same_token() {
        let folder = std::env::temp_dir().join(format!("mulberry-token-{:016x}", fastrand::u64(..)));
        fs::create_dir(&folder).expect("a temporary folder can be made");
        let yaml = format!(
            "data_dir: {}\nbackends: [{{name: b, url: 'http://127.0.0.1:1'}}]",
            folder.display()
        );
        let config = Config::parse(&yaml, "m.yaml", &crate::config::Process).expect("it is whole");
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            let starting = (0..8).map(|_| {
                scope.spawn(|| {
                    start.wait();
                    AdminTokens::of(&config, &config).map(|tokens| tokens.0)
                })
            });
            let starting: Vec<_> = starting.collect();
            let kept = || read(&folder.join(FILE)).expect("it can be read").expect("it is there");
            for one in starting {
                let tokens = one
                    .join()
                    .expect("it does not panic")
                    .expect("the folder can be written");
                assert_eq!(tokens, [("admin".to_owned(), KeyHash::of(&kept()))]);
            }
        });
        let left = fs::read_dir(&folder).expect("it is there").count();
        assert_eq!(left, 1, "nothing lies beside it");
        fs::remove_dir_all(&folder).expect("it can be removed");
    }
}
