//! `mulberry worker`, `mulberry worker key`; `doctor` has a file of its own.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use attestation::{Hex, Role};
use attestation_ratls::{Draft, GpuAttester};
use backends::serve::BoxError;

use crate::{
    cli::worker::{WorkerArgs, WorkerCommand},
    config::{self, EvidenceFrom},
    control::Token,
    identity::{self, IdentityError, Shown},
    key_file::{self, ReadError},
    listener, logging,
    metrics::RegistryMetrics,
    receipts::key::KeyError,
    registrar::Registrar,
    signal::Signals,
    tls::{self, TlsError},
    trust::{Judging, TrustSettings},
    worker::{self, Engine, EngineSettings, Income, Settings, Statements, gpu::Gpus},
    workers::digest_of_token,
};

mod doctor;
mod income;

pub(super) async fn run(args: WorkerArgs) -> Result<ExitCode, BoxError> {
    match &args.command {
        Some(WorkerCommand::Key) => {
            let key = identity::read_or_make(&args.key_file)?;
            writeln!(io::stdout(), "{}", config::KeyDigest(*key.spki_sha256()))?;
        }
        Some(WorkerCommand::Token) => {
            let path = args.join_token_file.as_deref().ok_or(NoTokenFile)?;
            let token = read_or_make_token(path)?;
            writeln!(io::stdout(), "{}", digest_of_token(&token.0))?;
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
    let statements = statements(&args)?;
    let receipt_key = Hex(*statements.public().as_bytes());
    let engine = Engine::new(&settings(&args))?.stated_by(statements);
    if args.evidence != EvidenceFrom::None && args.danger_remote_engine {
        return Err(RemoteEngine.into());
    }
    if args.evidence == EvidenceFrom::None && args.gpu_collector.is_some() {
        return Err(GpusAlone.into());
    }
    let listener = args.listen.map(listener::bind).transpose()?;
    let token = args.join_token_file.as_deref().map(read_token).transpose()?;
    let gpus = gpus(&args)?;
    let income = income::open(&args).await?;
    let shown = Shown::begin_in_time(Draft {
        receipt_key: Some(receipt_key),
        payee_key: income.as_ref().map(|income| Hex(Income::key(income))),
        ..draft(&args, gpus.clone())?
    })
    .await?;
    if let Some(gpus) = gpus {
        tokio::spawn(gpus.renew(shown.identities().clone()));
    }
    let (judging, registrar) = judging(&args).await?;
    tokio::spawn(registrar.follow(RegistryMetrics::default()));
    let (mut first, mut second) = (Signals::install()?, Signals::install()?);
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    tracing::info!(key_sha256 = %shown.key(), evidence = %args.evidence, engine = %engine.target(), listen = address.map(tracing::field::display), "worker starts");
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
        shown,
        judging,
        token,
        gateways: args.gateway,
        callers: args.gateway_key,
        listener,
        income,
        patience: Duration::from_secs(args.drain_timeout),
    };
    Ok(worker::run(settings, Arc::new(engine), first.next(), hurry).await?)
}

/// By which it states its answers: a worker that is known by its key keeps this one beside it, a guest makes one.
fn statements(args: &WorkerArgs) -> Result<Statements, KeyError> {
    match args.evidence {
        EvidenceFrom::None => Statements::beside(&args.key_file),
        _ => Statements::fresh(),
    }
}

/// What its certificates are made from.
fn draft(args: &WorkerArgs, gpus: Option<Arc<Gpus>>) -> Result<Draft, IdentityError> {
    let mut draft = identity::draft(Role::Worker, &args.evidence, &args.key_file)?;
    draft.lifetime = Duration::from_secs(args.certificate_life);
    draft.gpu = gpus.map(|gpus| gpus as Arc<dyn GpuAttester>);
    draft.engine = args.claim_engine.map(|digest| Hex(digest.0));
    draft.models = args.claim_models.map(|digest| Hex(digest.0));
    Ok(draft)
}

/// What collects evidence of its GPUs, beside that of the guest.
fn gpus(args: &WorkerArgs) -> Result<Option<Arc<Gpus>>, TlsError> {
    let collector = args.gpu_collector.clone();
    let gpus = collector.map(|collector| Gpus::new(collector, args.gpu_ocsp.clone()));
    Ok(gpus.transpose()?.map(Arc::new))
}

/// What judges gateways, and what takes away from it.
async fn judging(args: &WorkerArgs) -> Result<(Judging, Registrar), BoxError> {
    let judging = Judging::begin(&trust(args))?;
    let usual = args.key_file.with_extension("registry.json");
    let registrar = args.registry.open(&args.pay.chain, Some(usual)).await?;
    registrar.govern(judging.trust());
    Ok((judging, registrar))
}

/// By what gateways are judged.
fn trust(args: &WorkerArgs) -> TrustSettings {
    TrustSettings {
        policy: args.gateway_policy.clone(),
        collateral: args.collateral.clone(),
        danger_anchor: args.danger_development_trust_anchor.clone(),
        shelf: args.collateral_cache.clone(),
    }
}

/// Why there is no token, in order of precedence.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("the token cannot be read from '{}'; make one with: mulberry worker token --join-token-file {}", path.display(), path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("other users of this machine may read or change '{}', which holds a secret; run: chmod 600 {}", path.display(), path.display())]
    Exposed { path: PathBuf },
    #[error("'{}' holds no token: a line of 16 to 512 characters", path.display())]
    Malformed { path: PathBuf },
    #[error("the token cannot be kept in '{}'; check the permissions of the folder", path.display())]
    Write { path: PathBuf, source: io::Error },
}

#[derive(Debug, thiserror::Error)]
#[error("say where the token is kept: --join-token-file FILE")]
struct NoTokenFile;

#[derive(Debug, thiserror::Error)]
#[error("a worker that proves what it is has its engine inside: leave out --danger-remote-engine, or --evidence")]
struct RemoteEngine;

#[derive(Debug, thiserror::Error)]
#[error("GPUs count only beside a guest that proves itself: add --evidence tdx, or leave out --gpu-collector")]
struct GpusAlone;

fn read_token(path: &Path) -> Result<Token, TokenError> {
    let path = path.to_owned();
    let text = match key_file::read(&path) {
        Ok(text) => text,
        Err(ReadError::Io(source)) => return Err(TokenError::Read { path, source }),
        Err(ReadError::Exposed) => return Err(TokenError::Exposed { path }),
    };
    let token = text.trim();
    if !(16..=512).contains(&token.len()) || token.contains(char::is_whitespace) {
        return Err(TokenError::Malformed { path });
    }
    Ok(Token(token.to_owned()))
}

fn read_or_make_token(path: &Path) -> Result<Token, TokenError> {
    match read_token(path) {
        Err(TokenError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let write = |source| TokenError::Write {
                path: path.to_owned(),
                source,
            };
            let random: [u8; 32] = tls::random().ok_or_else(|| write(io::ErrorKind::Unsupported.into()))?;
            key_file::keep(path, &format!("{}\n", Hex(random))).map_err(write)?;
            // Perhaps that of a process that started beside us.
            read_token(path)
        }
        read => read,
    }
}

fn settings(args: &WorkerArgs) -> EngineSettings {
    EngineSettings {
        address: args.engine.clone(),
        key: args.engine_key.clone(),
        danger_remote: args.danger_remote_engine,
    }
}
