//! `mulberry worker`, `mulberry worker key`; `doctor` has a file of its own.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use backends::serve::BoxError;

use crate::{
    cli::worker::{WorkerArgs, WorkerCommand},
    config, listener, logging,
    secure::Identity,
    signal::Signals,
    worker::{self, Engine, EngineSettings, Settings, Statements},
};

mod doctor;

pub(super) async fn run(args: WorkerArgs) -> Result<ExitCode, BoxError> {
    match &args.command {
        Some(WorkerCommand::Key) => {
            let identity = Identity::read_or_make(&args.key_file)?;
            writeln!(std::io::stdout(), "{}", identity.key())?;
        }
        Some(WorkerCommand::Doctor) => return doctor::run(&args).await,
        None => serve(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: WorkerArgs) -> Result<(), BoxError> {
    logging::install(&config::Log {
        level: config::LogLevel::Info,
        format: config::LogFormat::Text,
        requests: false,
    });
    let statements = Statements::beside(&args.key_file)?;
    let engine = Engine::new(&settings(&args))?.stated_by(statements);
    let listener = args.listen.map(listener::bind).transpose()?;
    let identity = Identity::read_or_make(&args.key_file)?;
    let (mut first, mut second) = (Signals::install()?, Signals::install()?);
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    tracing::info!(key_sha256 = %identity.key(), engine = %engine.target(), listen = address.map(tracing::field::display), "worker starts");
    if args.danger_remote_engine {
        tracing::warn!(
            "--danger-remote-engine is set: the engine may be on another machine, and prompts leave this one"
        );
    }
    let hurry = async {
        // Both listeners hear the first signal.
        second.next().await;
        second.next().await;
    };
    let settings = Settings {
        identity,
        gateways: args.gateway,
        callers: args.gateway_key,
        listener,
        patience: Duration::from_secs(args.drain_timeout),
    };
    Ok(worker::run(settings, Arc::new(engine), first.next(), hurry).await?)
}

fn settings(args: &WorkerArgs) -> EngineSettings {
    EngineSettings {
        address: args.engine.clone(),
        key: args.engine_key.clone(),
        danger_remote: args.danger_remote_engine,
    }
}
