//! `mulberry watch`

use std::{path::PathBuf, slice, time::Duration};

use backends::serve::BoxError;

use super::wallet::shown;
use crate::{
    chain_source::{ChainSource, ChainSourceError},
    cli::watch::WatchArgs,
    config::{self, Process},
    home, listener, logging,
    passphrase::Source,
    signal::Signals,
    wallet_file::{self, WalletFile},
    watch::{self, Settings},
};

#[derive(Debug, thiserror::Error)]
#[error(
    "no folder for data is known, since neither XDG_DATA_HOME nor HOME is set; name one for the state with --state FOLDER"
)]
struct NoHome;

pub(super) async fn run(args: WatchArgs) -> Result<(), BoxError> {
    logging::install(&config::Log {
        level: config::LogLevel::Info,
        format: config::LogFormat::Text,
        requests: false,
    });
    let folder = state(args.state.clone())?;
    let network = args.wallet.network;
    let file = WalletFile::read(wallet_file::place(args.wallet.wallet.clone(), &Process)?)?;
    let sources = sources(&args)?;
    let secret = file.open(&Source {
        file: args.wallet.passphrase_file.as_deref(),
        environment: &Process,
    })?;
    let listener = args.listen.map(listener::bind).transpose()?;
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let wallet = file.wallet(network);
    let mut signals = Signals::install()?;
    tracing::info!(
        wallet = shown(wallet.account(), network),
        state = %folder.display(),
        listen = address.map(tracing::field::display),
        "watch starts"
    );
    let settings = Settings {
        folder,
        settlements: args.settlements,
        sources,
        every: Duration::from_secs(args.every),
        settle_above: args.settle_above,
        alert_command: args.alert_command,
        listener,
    };
    watch::run(settings, wallet, secret.seed(), signals.next()).await?;
    tracing::info!("watch ends");
    Ok(())
}

fn state(named: Option<PathBuf>) -> Result<PathBuf, NoHome> {
    match named {
        Some(folder) => Ok(folder),
        None => Ok(home::data(&Process).ok_or(NoHome)?.join("watch")),
    }
}

/// Each is asked for itself: one that says that a payer closes is believed.
fn sources(args: &WatchArgs) -> Result<Vec<ChainSource>, ChainSourceError> {
    let (named, key) = (&args.chain.chain, args.chain.chain_api_key_file.as_deref());
    let open = |named: &[_]| ChainSource::new(named, key, args.wallet.network, &Process);
    match named.len() {
        2 => named.iter().map(|from| open(slice::from_ref(from))).collect(),
        _ => Ok(vec![open(named)?]),
    }
}
