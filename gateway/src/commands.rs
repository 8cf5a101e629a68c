//! What the command line can do, one file each.

use std::process::ExitCode;

use backends::serve::BoxError;

use crate::cli::Command;

mod account;
mod attest;
mod backup;
mod channel;
mod check;
mod columns;
mod config;
mod connect;
#[cfg(feature = "demo")]
mod demo;
mod desk;
mod doctor;
mod healthcheck;
mod import;
mod key;
mod ledger;
#[cfg(feature = "demo")]
mod mock;
mod place;
mod qr;
mod remote;
mod serve;
#[cfg(feature = "demo")]
mod simulated_chain;
mod spend;
mod usage;
mod verify;
mod wallet;
mod watch;
mod worker;

/// The exit status is that of a command which could do what it was asked.
pub(crate) async fn run(command: Command) -> Result<ExitCode, BoxError> {
    let done = match command {
        Command::Doctor(args) => return doctor::run(args).await,
        Command::Import(command) => return import::run(&command),
        Command::Verify(args) => return verify::run(&args),
        Command::Attest(command) => return attest::run(command).await,
        Command::Worker(args) => return worker::run(*args).await,
        Command::Connect(args) => return connect::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Check(args) => check::run(&args),
        Command::Config(command) => config::run(command),
        Command::Usage(args) => usage::run(args).await,
        Command::Key(args) => key::run(args).await,
        Command::Account(args) => account::run(args).await,
        Command::Spend(args) => spend::run(args).await,
        Command::Ledger(args) => return ledger::run(args).await,
        Command::Wallet(args) => wallet::run(args).await,
        Command::Channel(args) => channel::run(*args).await,
        Command::Watch(args) => watch::run(*args).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Healthcheck(args) => healthcheck::run(args).await,
        #[cfg(feature = "demo")]
        Command::Demo(args) => demo::run(args).await,
        #[cfg(feature = "demo")]
        Command::SimulatedChain(args) => simulated_chain::run(args).await,
        #[cfg(feature = "demo")]
        Command::Mock(args) => mock::run(args).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}
