//! `mulberry connect`; `doctor` has a file of its own.

use std::{process::ExitCode, time::Duration};

use attestation_ratls::Endpoint;
use backends::serve::BoxError;

use crate::{
    cli::connect::{ConnectArgs, ConnectCommand},
    config,
    connect::{self, Gateway, Guard, Link, Settings, acceptance::Acceptance},
    identity, listener, logging,
    signal::{Hangup, Signals},
    trust::TrustSettings,
};

mod doctor;

/// What was asked for cannot be done. In order of precedence.
#[derive(Debug, thiserror::Error)]
enum ArgsError {
    #[error("name the gateway: --gateway HOST:PORT, its `attested_listen`")]
    NoGateway,
    #[error(
        "{0} can be reached from other machines, which would send prompts to it in the clear; listen on 127.0.0.1, or say that it is meant with --danger-listen-beyond-loopback"
    )]
    Open(std::net::SocketAddr),
}

pub(super) async fn run(args: ConnectArgs) -> Result<ExitCode, BoxError> {
    let gateway = args.gateway.clone().ok_or(ArgsError::NoGateway)?;
    match args.command {
        Some(ConnectCommand::Doctor) => doctor::run(&args, gateway).await,
        None => serve(args, gateway).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn serve(args: ConnectArgs, gateway: Gateway) -> Result<(), BoxError> {
    logging::install(&config::Log {
        level: config::LogLevel::Info,
        format: config::LogFormat::Text,
        requests: false,
    });
    let guard = Guard {
        danger_open: args.danger_listen_beyond_loopback,
    };
    if !guard.allows(&args.listen) {
        return Err(ArgsError::Open(args.listen).into());
    }
    let acceptance = Acceptance::new(&accept(&args), &gateway)?;
    let listener = listener::bind(args.listen)?;
    let (mut first, mut second) = (Signals::install()?, Signals::install()?);
    let mut hangup = Hangup::install()?;
    let address = listener.local_addr()?;
    tracing::info!(%address, gateway = gateway.address.as_str(), "connect starts");
    warn(&args, &gateway);
    let link = Link::new(gateway, endpoint(&acceptance));
    let keeping = tokio::spawn(acceptance.keep());
    // A terminal that closes ends nothing; the policy is looked at every second anyway.
    let heard = tokio::spawn(async move {
        loop {
            hangup.next().await;
        }
    });
    let hurry = async {
        // Both listeners hear the first signal.
        second.next().await;
        second.next().await;
    };
    let settings = Settings {
        listener,
        patience: Duration::from_secs(args.drain_timeout),
    };
    connect::run(settings, link, guard, first.next(), hurry).await;
    heard.abort();
    keeping.abort();
    Ok(())
}

/// What weakens trust is said at every start.
fn warn(args: &ConnectArgs, gateway: &Gateway) {
    if gateway.key.is_some() {
        tracing::warn!(
            "the gateway is known by its key alone: whoever runs its machine can read prompts and answers; with evidence it would be verified by --policy"
        );
    }
    if args.danger_listen_beyond_loopback {
        tracing::warn!(
            "--danger-listen-beyond-loopback is set: other machines may use this address, and what they send crosses the network in the clear"
        );
    }
}

/// By what the gateway is judged.
fn accept(args: &ConnectArgs) -> TrustSettings {
    TrustSettings {
        policy: args.policy.clone(),
        collateral: args.collateral.clone(),
        danger_anchor: args.danger_development_trust_anchor.clone(),
        shelf: args.collateral_cache.clone(),
    }
}

fn endpoint(acceptance: &Acceptance) -> Endpoint {
    Endpoint {
        trust: acceptance.trust().clone(),
        identities: None,
        alpn: Vec::new(),
        clock: identity::clock(),
    }
}
