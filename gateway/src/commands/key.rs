//! `mulberry key`
//!
//! Where a gateway answers at `admin_listen` and its admin token can be had, it makes the change, which is in force
//! at once; otherwise the change is written to the database, and a running gateway notices within a second.
//! A secret goes to standard output and nowhere else; what happened is told on standard error.

use std::{path::Path, sync::Arc};

use backends::serve::BoxError;
use billing_store::Sha256;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::Value;

use super::place::{Place, tell, write};
use crate::{
    cli::key::{ImportFrom, KeyArgs, KeyCommand, Output},
    config::KeyHash,
    directory::{Directory, Issued, KeyEdit, Written, time},
};

mod gateway;
pub(super) mod litellm;
mod print;

/// The command that shows what was changed.
const LOOK: &str = "key list";

#[derive(Debug, thiserror::Error)]
enum KeyCommandError {
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
    let place = Place::find(args.database, args.config)?;
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

/// Keys, at the gateway where it answers, else in this process.
impl Place {
    async fn list(&self) -> Result<Vec<Value>, BoxError> {
        if let Ok(remote) = self.remote(LOOK)
            && let Ok(keys) = gateway::list(&remote).await
        {
            return Ok(keys);
        }
        let directory = self.directory(false).await?;
        let keys = directory.list().into_iter().map(serde_json::to_value);
        Ok(keys.collect::<Result<_, _>>()?)
    }

    /// Does it, and says how.
    async fn change(&self, change: Change) -> Result<(Outcome, String), BoxError> {
        let why = match self.remote(LOOK) {
            Ok(remote) => match gateway::change(&remote, &change).await {
                Ok(outcome) => {
                    let how = format!("done by the gateway at {}; in force now", remote.address());
                    return Ok((outcome, how));
                }
                Err(error) => error.unless_unreached()?,
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
        let store = self.store(writes).await?;
        let written = self.config.as_ref().map_or_else(Written::nothing, Written::of);
        Ok(Directory::open(written, store.as_ref(), Arc::default(), Gauge::default()).await?)
    }
}
