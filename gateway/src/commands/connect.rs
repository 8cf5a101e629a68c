//! `mulberry connect`; `doctor` has a file of its own.

use std::{process::ExitCode, sync::Arc, time::Duration};

use attestation_ratls::Endpoint;
use backends::serve::BoxError;
use billing::channel::Signer;

use crate::{
    chain_source::ChainSource,
    cli::connect::{ConnectArgs, ConnectCommand, PayArgs},
    config::{self, Process},
    connect::{self, AppKeys, Cashier, Gateway, Guard, Link, Payment, Settings, acceptance::Acceptance},
    home, identity, listener, logging,
    metrics::RegistryMetrics,
    passphrase::Source,
    payer::{
        shelf::{Kept, Shelf, Stage},
        teller::Teller,
    },
    registrar::Registrar,
    signal::{Hangup, Signals},
    trust::TrustSettings,
    wall_clock::unix_ms,
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
    #[error("there are several open channels; say which one pays, with --pay NAME: {0}")]
    Several(String),
    #[error("this system gives no random numbers, or no thread for the payer")]
    NoPayer,
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
    let registrar = registrar(&args).await?;
    // Who is known by its key is listed nowhere; what it is paid is the registrar's matter all the same.
    if gateway.key.is_none() {
        registrar.govern(acceptance.trust());
    }
    // Before apps are listened to: a passphrase may be asked for.
    let payment = match &args.pay.pay {
        Some(named) => Some(open_payment(&args.pay, named, &registrar)?),
        None => None,
    };
    let listener = listener::bind(args.listen)?;
    let (mut first, mut second) = (Signals::install()?, Signals::install()?);
    let mut hangup = Hangup::install()?;
    let address = listener.local_addr()?;
    tracing::info!(%address, gateway = gateway.address.as_str(), "connect starts");
    warn(&args, &gateway);
    let link = Link::new(gateway, endpoint(&acceptance));
    let keeping = tokio::spawn(acceptance.keep());
    let following = tokio::spawn(registrar.follow(RegistryMetrics::default()));
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
    connect::run(settings, link, guard, payment, first.next(), hurry).await;
    heard.abort();
    keeping.abort();
    following.abort();
    Ok(())
}

/// Opens what pays, with the channel's key; nobody else signs for the channel meanwhile.
fn open_payment(args: &PayArgs, named: &str, registrar: &Registrar) -> Result<Payment, BoxError> {
    let kept = pick(args, named)?;
    let lock = kept.lock()?;
    let chain = &args.chain;
    let source = ChainSource::new(
        &chain.chain,
        chain.chain_api_key_file.as_deref(),
        kept.id.network,
        &Process,
    )?;
    let passphrase = Source {
        file: args.passphrase_file.as_deref(),
        environment: &Process,
    };
    let passphrase = passphrase.existing(&format!("the channel {}", kept.name))?;
    let seed = kept.open(&passphrase)?;
    let signer = Arc::new(Signer::from_seed(seed.reveal())?);
    let teller = Teller::open(kept.clone(), lock, signer, args.limits(), unix_ms())?;
    let now = teller.picture();
    tracing::info!(
        channel = kept.name, address = %kept.id.account, charged = %now.charged, at_risk = %now.at_risk,
        budget_day = %now.limits.day, exposure = %now.limits.exposure,
        "a channel pays for the requests of apps"
    );
    let keys = if args.forward_keys {
        AppKeys::Forwarded
    } else {
        AppKeys::Stay
    };
    let (cashier, desk) = Cashier::open(kept, teller).ok_or(ArgsError::NoPayer)?;
    let cashier = cashier.governed_by(registrar.clone());
    Ok(Payment {
        cashier,
        desk,
        source,
        keys,
    })
}

/// What takes away from what is believed.
async fn registrar(args: &ConnectArgs) -> Result<Registrar, BoxError> {
    let usual = home::data(&Process).map(|data| data.join("registry.json"));
    args.registry.open(&args.pay.chain, usual).await
}

/// The channel that is meant; without a name the only one that is not closing or closed.
fn pick(args: &PayArgs, named: &str) -> Result<Kept, BoxError> {
    let shelf = Shelf::new(args.channels.clone(), home::data(&Process))?;
    if !named.is_empty() {
        return Ok(shelf.pick(Some(named))?);
    }
    let mut open = Vec::new();
    for kept in shelf.all()? {
        if kept.slate()?.stage < Stage::Leaving {
            open.push(kept);
        }
    }
    match open.len() {
        0 | 1 => Ok(match open.pop() {
            Some(only) => only,
            // It says why there is none.
            None => shelf.pick(None)?,
        }),
        _ => {
            let names: Vec<&str> = open.iter().map(|kept| kept.name.as_str()).collect();
            Err(ArgsError::Several(names.join(", ")).into())
        }
    }
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
        if args.pay.pay.is_some() {
            tracing::warn!("whoever reaches this address is paid for from your channel, up to --budget-day");
        }
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
