//! What `mulberry connect` takes.

use std::{net::SocketAddr, path::PathBuf};

use billing::Nano;
use clap::{Args, Subcommand};

use super::{chain::ChainFlags, channel::amount, registry::RegistryFlags};
use crate::{config::CollateralFrom, connect::Gateway, payer::teller::Limits};

#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ConnectCommand>,
    /// The gateway: its attested_listen; with KEY@ before it one without evidence, by the key_sha256 that it logs when it starts
    #[arg(long, global = true, value_parser = Gateway::parse, env = "MULBERRY_CONNECT_GATEWAY", value_name = "[KEY@]HOST:PORT")]
    pub(crate) gateway: Option<Gateway>,
    /// Which gateways are believed (.json, .yaml or .toml), as `mulberry attest policy init --role gateway` writes it
    #[arg(long, global = true, env = "MULBERRY_CONNECT_POLICY", value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Where collateral comes from, in order: intel, the URL of a PCCS, or bundle:FOLDER; can be given several times
    #[arg(long, global = true, value_parser = CollateralFrom::parse, env = "MULBERRY_CONNECT_COLLATERAL", value_delimiter = ',', default_value = "intel", value_name = "SOURCE")]
    pub(crate) collateral: Vec<CollateralFrom>,
    /// Where collateral is kept between two starts
    #[arg(
        long,
        global = true,
        env = "MULBERRY_CONNECT_COLLATERAL_CACHE",
        value_name = "FOLDER"
    )]
    pub(crate) collateral_cache: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    /// A root certificate in DER in place of Intel's: whoever has its key can forge all evidence
    #[arg(
        long,
        global = true,
        env = "MULBERRY_CONNECT_DANGER_DEVELOPMENT_TRUST_ANCHOR",
        value_name = "FILE"
    )]
    pub(crate) danger_development_trust_anchor: Option<PathBuf>,
    /// Where apps connect
    #[arg(
        long,
        env = "MULBERRY_CONNECT_LISTEN",
        default_value = "127.0.0.1:4141",
        value_name = "ADDR"
    )]
    pub(crate) listen: SocketAddr,
    /// Allow --listen on an address that other machines reach: what they send crosses the network in the clear
    #[arg(long)]
    pub(crate) danger_listen_beyond_loopback: bool,
    /// How long open answers may take once a signal has come, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub(crate) drain_timeout: u64,
    #[command(flatten)]
    pub(crate) pay: PayArgs,
}

/// How requests are paid for.
#[derive(Debug, Args)]
pub(crate) struct PayArgs {
    /// Pay for the requests of apps from a channel of `mulberry channel`; its name or its address may be left out where there is one. Keys that apps send stay here
    #[arg(
        long,
        global = true,
        env = "MULBERRY_CONNECT_PAY",
        num_args = 0..=1,
        default_missing_value = "",
        value_name = "CHANNEL"
    )]
    pub(crate) pay: Option<String>,
    /// Forward the keys that apps send to the gateway: a request with a key is then not paid for, unless the key is `channel`
    #[arg(long, global = true, env = "MULBERRY_CONNECT_FORWARD_KEYS", value_parser = clap::builder::BoolishValueParser::new())]
    pub(crate) forward_keys: bool,
    /// What may be spent in a day of UTC, in GRAM (TON)
    #[arg(long, global = true, env = "MULBERRY_CONNECT_BUDGET_DAY", value_parser = amount, default_value = "1", value_name = "AMOUNT")]
    pub(crate) budget_day: Nano,
    /// What may be at risk, in GRAM (TON): signed, and not yet charged for an answer
    #[arg(long, global = true, env = "MULBERRY_CONNECT_EXPOSURE", value_parser = amount, default_value = "0.5", value_name = "AMOUNT")]
    pub(crate) exposure: Nano,
    /// What is signed ahead of need, in GRAM (TON)
    #[arg(long, global = true, env = "MULBERRY_CONNECT_WINDOW", value_parser = amount, default_value = "0.1", value_name = "AMOUNT")]
    pub(crate) window: Nano,
    /// Where channels to pay from are kept [default: mulberry/channels in $XDG_DATA_HOME, or in ~/.local/share]
    #[arg(long, global = true, env = "MULBERRY_CHANNELS", value_name = "FOLDER")]
    pub(crate) channels: Option<PathBuf>,
    /// A file with the passphrase of the channel's key, that only you may read; otherwise MULBERRY_WALLET_PASSPHRASE is taken, or the terminal asked
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) chain: ChainFlags,
}

impl PayArgs {
    /// What is signed ahead is at risk as well.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            exposure: self.exposure,
            window: self.window.min(self.exposure),
            day: self.budget_day,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectCommand {
    /// Connect once, say in plain words what the gateway proved or why it is not believed; exits 0 if it is, else 1
    Doctor,
}
