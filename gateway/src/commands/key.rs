//! `mulberry key`
//!
//! Where a gateway answers at `admin_listen` and its admin token can be had, it makes the change, which is in force
//! at once; otherwise the change is written to the database, and a running gateway notices within a second.
//! A secret goes to standard output and nowhere else; what happened is told on standard error.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use backends::serve::BoxError;
use billing_store::{Sha256, Store};
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;

use super::serve::file;
use crate::{
    admin::token,
    app::database,
    cli::key::{ImportFrom, KeyArgs, KeyCommand, Output},
    config::{Config, Environment, KeyHash, Process},
    directory::{Directory, Issued, KeyEdit, Written, time},
};

use remote::{Remote, Unreached};

pub(super) mod litellm;
mod print;
mod remote;

#[derive(Debug, thiserror::Error)]
enum KeyCommandError {
    #[error("the configuration keeps nothing on disk (data_dir is null), so keys can only be in the file itself")]
    NoDatabase,
    #[error("there is no key named '{0}'")]
    NotFound(String),
    #[error("--sha256 is not 64 hexadecimal digits: write the output of `printf %s \"$KEY\" | sha256sum`")]
    Hash,
    #[error("nothing to change was named; see `mulberry key update --help`")]
    Nothing,
}

/// What is to be done to one key.
enum Change {
    Create {
        name: String,
        edit: KeyEdit,
        sha256: Option<Sha256>,
    },
    Update {
        name: String,
        edit: KeyEdit,
    },
    Rotate {
        name: String,
        grace: std::time::Duration,
    },
    Revoke {
        name: String,
    },
}

/// What came of it, as the admin API answers it.
struct Outcome {
    key: Value,
    /// Never in an error, a log or `Debug`.
    secret: Option<String>,
    old_valid_until: Option<String>,
}

pub(super) async fn run(args: KeyArgs) -> Result<(), BoxError> {
    let output = args.output;
    let place = Place::find(&args)?;
    match args.command {
        KeyCommand::List => {
            let keys = place.list().await?;
            write(&match output {
                Output::Text => print::table(&keys),
                Output::Json => print::json(&serde_json::json!({"data": keys})),
            })
        }
        KeyCommand::Show { name } => {
            let keys = place.list().await?;
            let key = keys.into_iter().find(|key| key["name"] == name.as_str());
            let key = key.ok_or(KeyCommandError::NotFound(name))?;
            write(&match output {
                Output::Text => print::one(&key),
                Output::Json => print::json(&key),
            })
        }
        KeyCommand::Import {
            from: ImportFrom::Litellm { file },
        } => import(&place, &file, output).await,
        KeyCommand::Create { name, edit, sha256 } => {
            let edit = edit.into_edit();
            // Read here and not by clap, which repeats what it refuses: the likeliest mistake is the key itself.
            let hash = sha256.map(|hex| KeyHash::parse(&hex).ok_or(KeyCommandError::Hash));
            let sha256 = hash.transpose()?.map(|hash| Sha256(*hash.as_bytes()));
            change(&place, Change::Create { name, edit, sha256 }, output).await
        }
        KeyCommand::Update { name, edit } => {
            let edit = edit.into_edit();
            if edit == KeyEdit::default() {
                return Err(KeyCommandError::Nothing.into());
            }
            change(&place, Change::Update { name, edit }, output).await
        }
        KeyCommand::Rotate { name, grace } => change(&place, Change::Rotate { name, grace }, output).await,
        KeyCommand::Revoke { name } => change(&place, Change::Revoke { name }, output).await,
        KeyCommand::Disable { name } => switch(&place, name, true, output).await,
        KeyCommand::Enable { name } => switch(&place, name, false, output).await,
    }
}

async fn switch(place: &Place, name: String, disabled: bool, output: Output) -> Result<(), BoxError> {
    let edit = KeyEdit {
        disabled: Some(disabled),
        ..KeyEdit::default()
    };
    change(place, Change::Update { name, edit }, output).await
}

async fn change(place: &Place, change: Change, output: Output) -> Result<(), BoxError> {
    let (outcome, how) = place.change(change).await?;
    tell(&how)?;
    let Outcome {
        key,
        secret,
        old_valid_until,
    } = outcome;
    if output == Output::Json {
        let mut answer = serde_json::json!({"key": key});
        if let Some(secret) = secret {
            answer["secret"] = secret.into();
        }
        if let Some(until) = old_valid_until {
            answer["old_valid_until"] = until.into();
        }
        return write(&print::json(&answer));
    }
    if let Some(until) = old_valid_until {
        tell(&format!("what clients had before is refused from {until}"))?;
    }
    match secret {
        Some(secret) => {
            tell("the API key, shown this once:")?;
            write(&format!("{secret}\n"))
        }
        None => Ok(()),
    }
}

async fn import(place: &Place, path: &Path, output: Output) -> Result<(), BoxError> {
    let text = std::fs::read_to_string(path).map_err(|source| litellm::ImportError::Read {
        path: path.display().to_string(),
        source,
    })?;
    let mut found = litellm::read(&text)?;
    let directory = place.directory(true).await?;
    let outcomes = directory.import(&found.keys, &place.actor).await?;
    let mut made = Vec::new();
    for (key, outcome) in found.keys.iter().zip(outcomes) {
        match outcome {
            Ok(()) => made.push(key.name.clone()),
            Err(error) => found.skipped.push((key.name.clone(), error.to_string())),
        }
    }
    tell(&place.written())?;
    write(&match output {
        Output::Text => print::import(&made, &found),
        Output::Json => print::json(&serde_json::json!({
            "created": made,
            "skipped": print::pairs("name", "reason", &found.skipped),
            "changed": print::pairs("name", "what", &found.changed),
            "dropped": found.dropped,
        })),
    })
}

/// The keys that are meant, and the ways to them.
struct Place {
    /// `None` where only a database was named.
    config: Option<Config>,
    database: Option<PathBuf>,
    /// Whether the database was not there before.
    is_new: bool,
    /// Who, in the audit log, unless an admin token says it.
    actor: String,
}

impl Place {
    fn find(args: &KeyArgs) -> Result<Self, BoxError> {
        let user = Process.variable("USER").or_else(|| Process.variable("LOGNAME"));
        let actor = format!("cli:{}", user.as_deref().unwrap_or("unknown"));
        if let Some(path) = &args.database {
            return Ok(Self {
                config: None,
                is_new: !path.exists(),
                database: Some(path.clone()),
                actor,
            });
        }
        let config = Config::load(&file(args.config.config.clone())?, &Process)?;
        let database = database(&config);
        Ok(Self {
            is_new: database.as_ref().is_some_and(|path| !path.exists()),
            database,
            config: Some(config),
            actor,
        })
    }

    async fn list(&self) -> Result<Vec<Value>, BoxError> {
        if let Ok(remote) = self.remote()
            && let Ok(keys) = remote.list().await
        {
            return Ok(keys);
        }
        let directory = self.directory(false).await?;
        let keys = directory.list().into_iter().map(serde_json::to_value);
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Does it, and says how.
    async fn change(&self, change: Change) -> Result<(Outcome, String), BoxError> {
        let why = match self.remote() {
            Ok(remote) => match remote.change(&change).await {
                Ok(outcome) => {
                    let how = format!("done by the gateway at {}; in force now", remote.address());
                    return Ok((outcome, how));
                }
                Err(remote::RemoteError::Refused(message)) => return Err(message.into()),
                Err(remote::RemoteError::Lost(error)) => return Err(error.into()),
                Err(remote::RemoteError::Unreached(why)) => why,
            },
            Err(why) => why,
        };
        let outcome = self.change_here(change).await?;
        Ok((outcome, format!("{why}; {}", self.written())))
    }

    async fn change_here(&self, change: Change) -> Result<Outcome, BoxError> {
        let directory = self.directory(true).await?;
        let actor = &self.actor;
        let plain = |key| -> Result<Outcome, BoxError> {
            Ok(Outcome {
                key: serde_json::to_value(key)?,
                secret: None,
                old_valid_until: None,
            })
        };
        let issued = |issued: Issued| -> Result<Outcome, BoxError> {
            Ok(Outcome {
                key: serde_json::to_value(issued.key)?,
                secret: issued.secret.map(|secret| secret.expose().to_owned()),
                old_valid_until: issued.old_valid_until_ms.map(time),
            })
        };
        match change {
            Change::Create { name, edit, sha256 } => issued(directory.create(&name, &edit, sha256, actor).await?),
            Change::Update { name, edit } => plain(directory.update(&name, &edit, actor).await?),
            Change::Rotate { name, grace } => issued(directory.rotate(&name, grace, actor).await?),
            Change::Revoke { name } => plain(directory.revoke(&name, actor).await?),
        }
    }

    /// The keys in this process. Only what writes may make the database.
    async fn directory(&self, writes: bool) -> Result<Directory, BoxError> {
        let store = match &self.database {
            Some(path) if writes || path.exists() => Some(Store::open(path).await?),
            None if writes => return Err(KeyCommandError::NoDatabase.into()),
            _ => None,
        };
        let written = self.config.as_ref().map_or_else(Written::nothing, Written::of);
        Ok(Directory::open(written, store.as_ref(), Arc::default(), Gauge::default()).await?)
    }

    /// The gateway that may be running.
    fn remote(&self) -> Result<Remote, Unreached> {
        let config = self.config.as_ref().ok_or(Unreached::Named)?;
        let address = config.admin_listen.filter(|address| address.port() != 0);
        let address = address.ok_or(Unreached::Off)?;
        let given = Process.variable("MULBERRY_ADMIN_TOKEN");
        let kept = || token::file(config).and_then(|path| token::read(&path).ok().flatten());
        let token = given.or_else(kept).ok_or(Unreached::NoToken)?;
        Remote::new(address, &token)
    }

    fn written(&self) -> String {
        let path = self.database.as_deref().unwrap_or(Path::new(""));
        // In full: a relative `data_dir` starts at the working directory, which may not be the gateway's.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let path = path.display();
        if self.is_new {
            format!("written to {path}, which is new")
        } else {
            format!("written to {path}, which a running gateway notices within a second")
        }
    }
}

fn write(text: &str) -> Result<(), BoxError> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn tell(text: &str) -> Result<(), BoxError> {
    Ok(writeln!(std::io::stderr(), "mulberry: {text}")?)
}
