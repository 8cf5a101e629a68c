//! The flags of `mulberry key`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigArgs, money::BudgetArgs};
use crate::{
    config::duration,
    directory::{KeyEdit, LimitsEdit},
};

#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The database, where it is not the configuration's; no running gateway is asked then
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) database: Option<PathBuf>,
    /// How the result is written
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it; it is shown this once
    Create {
        name: String,
        #[command(flatten)]
        edit: EditArgs,
        /// The SHA-256 of a key that clients have already, in hexadecimal; no new one is made then
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
    },
    /// Show all keys, those of the configuration file too
    List,
    /// Show one key
    Show { name: String },
    /// Change what a key may use; what is not mentioned stays
    Update {
        name: String,
        #[command(flatten)]
        edit: EditArgs,
    },
    /// Give a key another secret and print it; the old one ends after the grace
    Rotate {
        name: String,
        /// How long the old one still works, such as 24h
        #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = grace)]
        grace: Duration,
    },
    /// End a key for ever
    Revoke { name: String },
    /// Refuse a key until it is enabled again
    Disable { name: String },
    /// Let a disabled key in again
    Enable { name: String },
    /// Take over the keys of another gateway
    Import {
        #[command(subcommand)]
        from: ImportFrom,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportFrom {
    /// The table LiteLLM_VerificationToken, exported as CSV with a heading, or as JSON
    Litellm { file: PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Who answers for the key; `none` takes it away
    #[arg(long)]
    owner: Option<String>,
    /// Names of models, or beginnings of names and one `*`, with commas between [default: *]
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    models: Option<Vec<String>>,
    /// The least that must protect its prompts: open, tee or tee+gpu [default: open]
    #[arg(long, value_name = "TIER")]
    min_tier: Option<String>,
    /// Requests in any 60 seconds, or `none`
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    rpm: Option<Limit>,
    /// Tokens in any 60 seconds, or `none`
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    tpm: Option<Limit>,
    /// Requests under way at a time, or `none`
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    concurrency: Option<Limit>,
    /// A day or an RFC 3339 time from which it is refused, or `none`
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Who pays: org:NAME or team:ORGANISATION/TEAM, or `none`
    #[arg(long)]
    account: Option<String>,
    #[command(flatten)]
    budget: BudgetArgs,
    /// NAME=VALUE; can be given several times, and replaces all tags
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
}

/// `None` takes a limit away.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<u32>);

impl EditArgs {
    pub(crate) fn into_edit(self) -> KeyEdit {
        let or_none = |text: String| (text != "none").then_some(text);
        KeyEdit {
            owner: self.owner.map(or_none),
            models: self.models,
            min_tier: self.min_tier,
            limits: LimitsEdit {
                requests_per_minute: self.rpm.map(|limit| limit.0),
                tokens_per_minute: self.tpm.map(|limit| limit.0),
                concurrency: self.concurrency.map(|limit| limit.0),
            },
            expires: self.expires.map(or_none),
            disabled: None,
            account: self.account.map(or_none),
            budget: self.budget.into_edit(),
            tags: (!self.tag.is_empty()).then(|| self.tag.into_iter().collect()),
        }
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let count = text.parse().map_err(|_| "write a number, or `none`".to_owned())?;
    Ok(Limit(Some(count)))
}

fn grace(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "write a number and a unit, such as 30m or 24h".to_owned())
}

pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
