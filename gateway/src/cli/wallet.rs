//! The flags of `mulberry wallet`, and those by which other commands name a wallet.

use std::path::PathBuf;

use billing::channel::Network;
use clap::{Args, Subcommand};

use super::{chain::ChainFlags, key::Output};

#[derive(Debug, Args)]
pub(crate) struct WalletArgs {
    #[command(flatten)]
    pub(crate) wallet: WalletFlags,
    /// How the result is written
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: WalletCommand,
}

/// A wallet, and what it is opened with.
#[derive(Debug, Args)]
pub(crate) struct WalletFlags {
    /// The wallet's key file [default: mulberry/wallet.json in $XDG_DATA_HOME, or in ~/.local/share]
    #[arg(long, global = true, env = "MULBERRY_WALLET", value_name = "FILE")]
    pub(crate) wallet: Option<PathBuf>,
    /// The chain: mainnet, testnet, or the global id of another one
    #[arg(long, global = true, env = "MULBERRY_NETWORK", default_value = "mainnet", value_parser = network, allow_hyphen_values = true)]
    pub(crate) network: Network,
    /// A file with the passphrase, that only you may read; otherwise MULBERRY_WALLET_PASSPHRASE is taken, or the terminal asked
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// Make a wallet, and print its 24 words, this once
    Create,
    /// Take over a wallet by its 24 words or its private key, asked for on the terminal or read from standard input
    Import {
        /// A file with the words or the key instead
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Print the address to send coins to; needs no passphrase
    Address {
        /// Draw it as a QR code for a phone
        #[arg(long)]
        qr: bool,
    },
    /// Print what is in it, as a chain tells it; needs no passphrase
    Balance {
        #[command(flatten)]
        chain: ChainFlags,
    },
    /// Print the 24 words again; asks twice
    Words {
        /// Do not ask the second time: yes, show them
        #[arg(long)]
        show: bool,
    },
}

/// Reads `mainnet`, `testnet`, a global id, or `tvm:` before one; in builds for development `simulated` too.
pub(crate) fn network(text: &str) -> Result<Network, String> {
    match text {
        "mainnet" => Ok(Network::MAINNET),
        "testnet" => Ok(Network::TESTNET),
        #[cfg(feature = "demo")]
        "simulated" => Ok(billing_ton_sim::DEVELOPMENT),
        _ => {
            let id = text.strip_prefix("tvm:").unwrap_or(text);
            let id = id
                .parse()
                .map_err(|_| "write mainnet, testnet, or the global id of another network, such as -217");
            Ok(Network(id?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_names_and_numbers() {
        for (text, id) in [
            ("mainnet", -239),
            ("testnet", -3),
            ("-239", -239),
            ("tvm:-3", -3),
            ("tvm:662387", 662_387),
            #[cfg(feature = "demo")]
            ("simulated", -217),
        ] {
            assert_eq!(network(text), Ok(Network(id)), "for {text}");
        }
        for text in ["", "main", "tvm:", "ton:-239", "9999999999"] {
            assert!(network(text).is_err(), "for {text}");
        }
    }
}
