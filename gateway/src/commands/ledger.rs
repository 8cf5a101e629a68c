//! `mulberry ledger`

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use backends::serve::BoxError;
use http::Method;
use http_body_util::BodyExt;
use serde_json::Value;

use super::{
    account::shown,
    columns::{Column, cell, list, table},
    desk::{Coming, Desk},
    place::tell,
    remote::segment,
};
use crate::cli::{
    key::Output,
    money::{LedgerArgs, LedgerCommand},
};

/// How often a check that goes on is asked after.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum LedgerCommandError {
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the export broke off; what was written of it is not whole")]
    BrokenOff,
}

pub(super) async fn run(args: LedgerArgs) -> Result<ExitCode, BoxError> {
    let output = args.place.output;
    let mut desk = Desk::find(args.place, "ledger nodes")?;
    match args.command {
        LedgerCommand::Verify => verify(&mut desk, output).await,
        LedgerCommand::Export { to } => {
            let body = desk.open(Method::GET, "ledger/export", None).await?;
            match to {
                Some(path) => file(body, &path).await?,
                None => copy(body, &mut std::io::stdout()).await?,
            }
            Ok(ExitCode::SUCCESS)
        }
        LedgerCommand::Nodes => {
            let answer = desk.get("ledger").await?;
            shown(output, &answer, standing)?;
            Ok(ExitCode::SUCCESS)
        }
        LedgerCommand::Rates => {
            let answer = desk.get("ledger").await?;
            shown(output, &answer["rates"], rates)?;
            Ok(ExitCode::SUCCESS)
        }
        LedgerCommand::ForgetNode { name } => {
            let path = format!("ledger/nodes/{}/forget", segment(&name));
            let answer = desk.ask(Method::POST, &path, None).await?;
            tell(&desk.told())?;
            shown(output, &answer, |answer| {
                let freed = match &answer["freed"] {
                    Value::Bool(true) => "what it had leased",
                    _ => "nothing, for it had leased nothing",
                };
                list(&[("forgotten", cell(&answer["name"])), ("freed", freed.to_owned())])
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn verify(desk: &mut Desk, output: Output) -> Result<ExitCode, BoxError> {
    let mut answer = desk.ask(Method::POST, "ledger/verify", None).await?;
    while answer["state"] == "running" {
        tokio::time::sleep(POLL).await;
        answer = desk.get("ledger/verify").await?;
    }
    shown(output, &answer, report)?;
    Ok(if answer["ok"] == true {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(answer: &Value) -> String {
    let checked = answer["checked"].as_object().into_iter().flatten();
    let checked: Vec<String> = checked
        .map(|(what, count)| match count.as_u64() {
            Some(1) => format!("1 {}", what.trim_end_matches('s')),
            _ => format!("{} {what}", cell(count)),
        })
        .collect();
    let checked = checked.join(", ");
    let found: Vec<String> = answer["discrepancies"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|found| format!("  {}\n", cell(&found["message"])))
        .collect();
    if answer["ok"] == true {
        let notes = answer["notes"].as_array().into_iter().flatten();
        let notes: String = notes
            .map(|note| format!("  note: {}\n", cell(&note["message"])))
            .collect();
        return format!("the ledger is right: {checked}\n{notes}");
    }
    if let Some(failure) = answer["failure"].as_str() {
        return format!("the ledger could not be checked: {}\n", super::usage::plain(failure));
    }
    let more = match answer["more"].as_u64() {
        Some(more) if more > 0 => format!("  and {more} more\n"),
        _ => String::new(),
    };
    format!("the ledger is wrong ({checked}):\n{}{more}", found.concat())
}

fn standing(answer: &Value) -> String {
    let accounts: Vec<[String; 3]> = answer["accounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|account| {
            [
                cell(&account["id"]),
                cell(&account["balance"]),
                cell(&account["currency"]),
            ]
        })
        .collect();
    let nodes: Vec<[String; 6]> = answer["nodes"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|node| {
            [
                cell(&node["name"]),
                cell(&node["state"]),
                cell(&node["journal"]),
                cell(&node["epoch"]),
                cell(&node["lease_until"]),
                cell(&node["posted"]),
            ]
        })
        .collect();
    let columns = [
        Column::Text("ACCOUNT"),
        Column::Number("BALANCE"),
        Column::Text("CURRENCY"),
    ];
    let mut text = table(&columns, &accounts);
    text.push('\n');
    let columns = [
        Column::Text("NODE"),
        Column::Text("STATE"),
        Column::Text("JOURNAL"),
        Column::Number("EPOCH"),
        Column::Text("LEASE UNTIL"),
        Column::Number("CHARGES"),
    ];
    text.push_str(&table(&columns, &nodes));
    text
}

fn rates(rates: &Value) -> String {
    let rows: Vec<[String; 4]> = rates
        .as_array()
        .into_iter()
        .flatten()
        .map(|rate| ["since", "from", "to", "rate"].map(|name| cell(&rate[name])))
        .collect();
    let columns = [
        Column::Text("SINCE"),
        Column::Text("FROM"),
        Column::Text("TO"),
        Column::Number("RATE"),
    ];
    table(&columns, &rows)
}

/// Removed again where it does not become whole.
async fn file(body: Coming, path: &Path) -> Result<(), BoxError> {
    let failed = |source| LedgerCommandError::Write {
        path: path.to_path_buf(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    if let Err(error) = copy(body, &mut file).await {
        // What is not whole must not look like an export.
        drop(std::fs::remove_file(path));
        return Err(error);
    }
    Ok(file.sync_all().map_err(failed)?)
}

async fn copy(mut body: Coming, to: &mut impl Write) -> Result<(), BoxError> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| LedgerCommandError::BrokenOff)?;
        if let Ok(data) = frame.into_data() {
            to.write_all(&data)?;
        }
    }
    Ok(to.flush()?)
}
