//! `mulberry`: read the command line, do it, say how it went.

use std::{io::Write, process::ExitCode, time::Duration};

use clap::Parser;

mod absence;
mod accounts;
mod admin;
mod app;
mod assembly;
mod backoff;
mod binding;
mod call;
mod cashing;
mod catalog;
mod chain_source;
mod cli;
mod commands;
mod config;
mod connect;
mod console;
mod control;
mod crew;
mod directory;
mod drain;
mod evidence;
mod facts;
mod frames;
mod home;
mod identity;
mod key_file;
mod layers;
mod ledger;
mod limiter;
mod listener;
mod live;
mod logging;
mod metrics;
mod notify;
mod oidc;
mod on_chain;
mod passphrase;
mod payer;
mod payments;
mod pricing;

mod receipts;
mod records;
mod recount;
mod redial;
mod registrar;
mod replays;
mod rescue;
mod routes;
mod signal;
mod site;
mod source;
mod stack;
mod statement;
mod telemetry;
mod terminal;
mod tls;
mod treasury;
mod trust;
mod wages;
mod wall_clock;
mod wallet_file;
mod watch;
mod worker;
mod workers;

/// How long calls to the file system that nobody waits for any more are let run at the end.
const LINGER: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("mulberry")
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::run(cli.command));
            // A read that hangs on a file system must not keep a process that has nothing left to do.
            runtime.shutdown_timeout(LINGER);
            outcome
        }
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
