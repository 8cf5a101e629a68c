//! The flags of `mulberry simulated-chain`.

use std::{net::SocketAddr, path::PathBuf};

use billing::{Nano, channel::Network};
use clap::{Args, Subcommand};

use super::wallet::network;

#[derive(Debug, Args)]
pub(crate) struct SimulatedChainArgs {
    /// Where the chain is kept; one is begun if there is none
    #[arg(long, global = true, default_value = "simulated-chain", value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
    /// The network that it is: what is signed for one is worth nothing on another
    #[arg(long, global = true, default_value = "simulated", value_parser = network, allow_hyphen_values = true)]
    pub(crate) network: Network,
    #[command(subcommand)]
    pub(crate) command: SimulatedChainCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SimulatedChainCommand {
    /// Answer as toncenter does, with /danger_faucet and /danger_advance beside it, so that TON's own tools work against it
    Serve {
        /// Whoever reaches it owns the chain
        #[arg(long, default_value = "127.0.0.1:8081", value_name = "ADDR")]
        listen: SocketAddr,
    },
    /// Give an account coins out of nothing
    Fund {
        /// The account
        address: String,
        /// In GRAM (TON)
        amount: Nano,
    },
    /// Move the chain's clock forward
    Advance {
        /// By so many seconds
        seconds: u32,
    },
}
