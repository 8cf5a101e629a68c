//! What `mulberry connect` takes.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

use crate::{config::CollateralFrom, connect::Gateway};

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
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectCommand {
    /// Connect once, say in plain words what the gateway proved or why it is not believed; exits 0 if it is, else 1
    Doctor,
}
