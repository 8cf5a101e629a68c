//! Where a command finds what it is to change: a running gateway, and the database behind it.

use std::{io::Write, path::PathBuf};

use backends::serve::BoxError;
use billing_store::{Location, Store};

use super::{
    remote::{Remote, Unreached},
    serve::file,
};
use crate::{
    admin::token,
    app::database,
    cli::ConfigArgs,
    config::{Config, Environment, Process},
};

#[derive(Debug, thiserror::Error)]
#[error(
    "the configuration keeps nothing on disk (data_dir is null), so nothing can be changed there; set data_dir, or change the file itself"
)]
struct NoDatabase;

/// The gateway that is meant, and the ways to it.
pub(super) struct Place {
    /// `None` where only a database was named.
    pub(super) config: Option<Config>,
    database: Option<Location>,
    /// Whether the database was not there before.
    is_new: bool,
    /// Who, in the audit log, unless an admin token says it.
    pub(super) actor: String,
}

impl Place {
    /// A database that was named is changed without asking any gateway.
    pub(super) fn find(named: Option<PathBuf>, config: ConfigArgs) -> Result<Self, BoxError> {
        let user = Process.variable("USER").or_else(|| Process.variable("LOGNAME"));
        let actor = format!("cli:{}", user.as_deref().unwrap_or("unknown"));
        if let Some(path) = named {
            return Ok(Self {
                config: None,
                is_new: !path.exists(),
                database: Some(path.into()),
                actor,
            });
        }
        let config = Config::load(&file(config.config)?, &Process)?;
        let database = database(&config);
        Ok(Self {
            is_new: database.as_ref().is_some_and(|location| !is_there(location)),
            database,
            config: Some(config),
            actor,
        })
    }

    /// The database, in this process. Only what writes may make it.
    pub(super) async fn store(&self, writes: bool) -> Result<Option<Store>, BoxError> {
        match &self.database {
            Some(location) if writes || is_there(location) => Ok(Some(Store::open(location).await?)),
            None if writes => Err(NoDatabase.into()),
            _ => Ok(None),
        }
    }

    /// The gateway that may be running. `look`: the command that shows what was changed.
    pub(super) fn remote(&self, look: &'static str) -> Result<Remote, Unreached> {
        let config = self.config.as_ref().ok_or(Unreached::Named)?;
        let address = config.admin_listen.filter(|address| address.port() != 0);
        let address = address.ok_or(Unreached::Off)?;
        let given = Process.variable("MULBERRY_ADMIN_TOKEN");
        let kept = || token::file(config).and_then(|path| token::read(&path).ok().flatten());
        let token = given.or_else(kept).ok_or(Unreached::NoToken)?;
        Remote::new(address, &token, look)
    }

    /// What became of a change in this process.
    pub(super) fn written(&self) -> String {
        let place = match &self.database {
            // In full: a relative `data_dir` starts at the working directory, which may not be the gateway's.
            Some(Location::File(path)) => path
                .canonicalize()
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
            Some(location) => location.to_string(),
            None => String::new(),
        };
        if self.is_new {
            format!("written to {place}, which is new")
        } else {
            format!("written to {place}, which a running gateway notices within a second")
        }
    }
}

/// Of a server only an attempt could tell, and it is taken to be there.
fn is_there(location: &Location) -> bool {
    match location {
        Location::File(path) => path.exists(),
        Location::Postgres(_) => true,
    }
}

/// What was asked for, on standard output.
pub(super) fn write(text: &str) -> Result<(), BoxError> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// What happened, on standard error.
pub(super) fn tell(text: &str) -> Result<(), BoxError> {
    Ok(writeln!(std::io::stderr(), "mulberry: {text}")?)
}
