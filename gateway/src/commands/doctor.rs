//! `mulberry doctor URL`: what a server that speaks OpenAI's API does otherwise, what that means for clients, and whether the gateway repairs it.
//!
//! It asks as an ordinary client would, a few dozen small requests, and changes nothing at the server.
//! It shows names, numbers and codes of the server, and neither what a model said nor the key.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use backends::{client::Target, serve::BoxError};
use serde_json::json;

use crate::cli::{DoctorArgs, DoctorOutput};

mod answers;
mod finding;
mod listing;
mod probe;
mod refusals;
mod streams;
mod tools;
mod transport;

use finding::{Finding, Grade};
use probe::Probe;

/// A fault was found.
const FAULTY: u8 = 1;
/// The server could not be examined.
const UNREACHABLE: u8 = 2;

pub(super) async fn run(args: DoctorArgs) -> Result<ExitCode, BoxError> {
    let target = Target::parse(&args.url)?;
    let timeout = Duration::from_secs(args.timeout.max(1));
    let mut probe = Probe::new(target, args.key.clone(), timeout)?;
    let listed = match listing::look(&probe).await {
        Ok(listed) => listed,
        Err(why) => return unreachable(&args, &why),
    };
    let Some(model) = args.model.clone().or_else(|| listed.talker()) else {
        return unreachable(&args, "it lists no model; name one with --model");
    };
    probe.model.clone_from(&model);

    let mut findings = listed.findings(&probe).await;
    findings.extend(answers::examine(&mut probe).await);
    findings.extend(refusals::examine(&probe).await);
    findings.extend(streams::examine(&probe).await);
    findings.extend(tools::examine(&probe).await);
    findings.extend(transport::examine(&probe).await);

    let text = match args.output {
        DoctorOutput::Table => table(&args.url, &model, &findings),
        DoctorOutput::Json => document(&args.url, &model, &findings)?,
    };
    io::stdout().write_all(text.as_bytes())?;
    let is_faulty = findings.iter().any(|finding| finding.grade == Grade::Fault);
    Ok(if is_faulty {
        ExitCode::from(FAULTY)
    } else {
        ExitCode::SUCCESS
    })
}

fn unreachable(args: &DoctorArgs, why: &str) -> Result<ExitCode, BoxError> {
    match args.output {
        DoctorOutput::Table => super::config::tell(&format!("{} cannot be examined: {why}", args.url)),
        DoctorOutput::Json => {
            let text = serde_json::to_string_pretty(&json!({ "url": args.url, "unreachable": why }))?;
            writeln!(io::stdout(), "{text}")?;
        }
    }
    Ok(ExitCode::from(UNREACHABLE))
}

fn table(url: &str, model: &str, findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = format!("{url}, model {}\n\n", super::usage::plain(model));
    for finding in findings {
        let grade = finding.grade.as_str();
        text.push_str(&format!("{grade:7} {:width$}  {}\n", finding.check, finding.found));
        if !finding.means.is_empty() {
            text.push_str(&format!("{:8}{:width$}  for clients: {}\n", "", "", finding.means));
            text.push_str(&format!(
                "{:8}{:width$}  behind Mulberry: {}\n",
                "", "", finding.mulberry
            ));
        }
    }
    let count = |grade: Grade| findings.iter().filter(|finding| finding.grade == grade).count();
    text.push_str(&format!(
        "\n{} faults, {} notes, {} ok, {} not examined\n",
        count(Grade::Fault),
        count(Grade::Note),
        count(Grade::Ok),
        count(Grade::Skipped)
    ));
    text
}

fn document(url: &str, model: &str, findings: &[Finding]) -> Result<String, serde_json::Error> {
    let listed = findings.iter().map(|finding| {
        json!({
            "check": finding.check,
            "result": finding.grade.as_str(),
            "found": finding.found,
            "means": finding.means,
            "mulberry": finding.mulberry,
        })
    });
    let faults = findings.iter().filter(|finding| finding.grade == Grade::Fault).count();
    let document = json!({
        "url": url,
        "model": model,
        "faults": faults,
        "findings": listed.collect::<Vec<_>>(),
    });
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}
