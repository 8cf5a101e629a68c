//! The flags of `mulberry watch`.

use std::{net::SocketAddr, path::PathBuf};

use billing::Nano;
use clap::Args;

use super::{chain::ChainFlags, channel::amount, wallet::WalletFlags};

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Settlements, as `mulberry channel export` and gateways write them: files, or folders of which every .json is looked at again and again
    #[arg(required = true, value_name = "PATH")]
    pub(crate) settlements: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) wallet: WalletFlags,
    #[command(flatten)]
    pub(crate) chain: ChainFlags,
    /// Where it keeps what it watches [default: mulberry/watch in $XDG_DATA_HOME, or in ~/.local/share]
    #[arg(long, env = "MULBERRY_WATCH_STATE", value_name = "FOLDER")]
    pub(crate) state: Option<PathBuf>,
    /// How often each channel is looked at, in seconds
    #[arg(long, env = "MULBERRY_WATCH_EVERY", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "SECONDS")]
    pub(crate) every: u64,
    /// Settle also without a close, once so much in GRAM (TON) was taken and not paid
    #[arg(long, env = "MULBERRY_WATCH_SETTLE_ABOVE", value_parser = amount, value_name = "AMOUNT")]
    pub(crate) settle_above: Option<Nano>,
    /// Run by /bin/sh for each alert, with JSON on its standard input, MULBERRY_ALERT and MULBERRY_ALERT_TEXT
    #[arg(long, env = "MULBERRY_WATCH_ALERT_COMMAND", value_name = "COMMAND")]
    pub(crate) alert_command: Option<String>,
    /// Where /livez, /readyz and /metrics are
    #[arg(long, env = "MULBERRY_WATCH_LISTEN", value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}
