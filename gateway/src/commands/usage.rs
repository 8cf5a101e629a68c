//! `mulberry usage`

use std::{io::Write, path::PathBuf};

use backends::serve::BoxError;
use billing::RequestRecord;
use billing_store::{GroupBy, Location, Reader, UsageQuery, UsageRow};

use super::serve::file;
use crate::{
    app::database,
    cli::{By, ConfigArgs, UsageArgs},
    config::{Config, Process},
    wall_clock::unix_ms,
};

/// Groups that are shown.
const GROUPS: u32 = 1000;

#[derive(Debug, thiserror::Error)]
#[error("the configuration keeps nothing on disk (data_dir is null), so there are no records")]
struct NoDatabase;

pub(super) async fn run(args: UsageArgs) -> Result<(), BoxError> {
    let reader = Reader::open(&location(args.database, args.config)?).await?;
    let text = match args.recent {
        Some(count) => recent(&reader.recent(count).await?),
        None => {
            let now = unix_ms();
            let since_ms = now.saturating_sub(i64::from(args.days).saturating_mul(86_400_000));
            let group_by = match args.by {
                By::Model => GroupBy::Model,
                By::Key => GroupBy::Key,
                By::Day => GroupBy::Day,
                By::Upstream => GroupBy::Upstream,
            };
            let query = UsageQuery {
                since_ms,
                until_ms: i64::MAX,
                group_by,
                limit: GROUPS,
            };
            sums(args.by, &reader.usage(query).await?)
        }
    };
    reader.close().await;
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// The database that was named, or that of the configuration.
pub(super) fn location(named: Option<PathBuf>, config: ConfigArgs) -> Result<Location, BoxError> {
    if let Some(path) = named {
        return Ok(path.into());
    }
    match file(config.config) {
        Ok(file) => Ok(database(&Config::load(&file, &Process)?).ok_or(NoDatabase)?),
        // A gateway that was started without a file keeps its records at the default place.
        Err(_) => Ok(PathBuf::from("mulberry-data/mulberry.db").into()),
    }
}

/// A table of sums, right-aligned numbers.
pub(super) fn sums(by: By, rows: &[UsageRow]) -> String {
    let title = match by {
        By::Model => "MODEL",
        By::Key => "KEY",
        By::Day => "DAY",
        By::Upstream => "UPSTREAM",
    };
    let name = |row: &UsageRow| row.group.as_deref().map_or_else(|| "(none)".to_owned(), plain);
    let width = rows
        .iter()
        .map(|row| name(row).chars().count())
        .max()
        .unwrap_or(0)
        .max(title.len());
    let mut table = format!(
        "{title:width$}  {:>10}  {:>8}  {:>12}  {:>12}  {:>12}  {:>12}  {:>9}\n",
        "REQUESTS", "FAILED", "PROMPT", "CACHED", "COMPLETION", "REASONING", "ESTIMATED"
    );
    for row in rows {
        let usage = &row.usage;
        table.push_str(&format!(
            "{:width$}  {:>10}  {:>8}  {:>12}  {:>12}  {:>12}  {:>12}  {:>9}\n",
            name(row),
            row.requests,
            row.failures,
            usage.prompt,
            usage.cached,
            usage.completion,
            usage.reasoning,
            row.estimated
        ));
    }
    table
}

/// A name as a terminal may show it: clients choose names, and a terminal obeys control characters.
pub(super) fn plain(name: &str) -> String {
    let shown = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    shown.collect()
}

/// A name as one word of a line.
fn word(name: &str) -> String {
    if name.is_empty() {
        return "-".to_owned();
    }
    plain(name).replace(char::is_whitespace, "\u{fffd}")
}

fn recent(records: &[RequestRecord]) -> String {
    let mut lines = String::new();
    for record in records {
        lines.push_str(&format!(
            "{} {} {} {} {} {} attempts={} prompt={} cached={} completion={} reasoning={} usage={} ttft_ms={} duration_ms={}{}\n",
            record.started_at_ms,
            word(&record.request_id),
            record.endpoint,
            word(&record.model),
            record.status,
            record.end.as_str(),
            record.attempts,
            record.usage.prompt,
            record.usage.cached,
            record.usage.completion,
            record.usage.reasoning,
            record.source.as_str(),
            record.ttft_ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string()),
            record.duration_ms,
            record.error_code.as_ref().map(|code| format!(" code={}", word(code))).unwrap_or_default(),
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_command_a_terminal_or_forge_a_line() {
        assert_eq!(plain("m\u{1b}[2J"), "m\u{fffd}[2J");
        assert_eq!(
            word("a b\n1795304632360 req"),
            "a\u{fffd}b\u{fffd}1795304632360\u{fffd}req"
        );
        assert_eq!(word(""), "-");
    }
}
