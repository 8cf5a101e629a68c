//! `mulberry`: read the command line, do it, say how it went.

use std::{io::Write, process::ExitCode};

use clap::Parser;

mod accounts;
mod admin;
mod app;
mod assembly;
mod call;
mod catalog;
mod cli;
mod commands;
mod config;
mod console;
mod directory;
mod drain;
mod layers;
mod limiter;
mod listener;
mod live;
mod logging;
mod metrics;
mod notify;
mod oidc;
mod records;
mod replays;
mod rescue;
mod routes;
mod signal;
mod source;
mod stack;
mod telemetry;
mod tls;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("mulberry")
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli.command)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(status) => status,
        Err(error) => {
            let told = writeln!(std::io::stderr(), "mulberry: {}", layers::rescue::Chain(&*error));
            // Without a standard error there is nobody to tell; the status still says it.
            drop(told);
            ExitCode::from(1)
        }
    }
}
