//! The flags of `mulberry channel`.

use std::path::PathBuf;

use billing::Nano;
use clap::{Args, Subcommand};

use super::{chain::ChainFlags, key::Output, wallet::WalletFlags};

#[derive(Debug, Args)]
pub(crate) struct ChannelArgs {
    #[command(flatten)]
    pub(crate) wallet: WalletFlags,
    #[command(flatten)]
    pub(crate) chain: ChainFlags,
    /// Where channels to pay from are kept [default: mulberry/channels in $XDG_DATA_HOME, or in ~/.local/share]
    #[arg(long, global = true, env = "MULBERRY_CHANNELS", value_name = "FOLDER")]
    pub(crate) channels: Option<PathBuf>,
    /// The channels that pay a worker instead, in its folder of earnings; its own process need not run
    #[arg(long, global = true, value_name = "FOLDER", conflicts_with = "channels")]
    pub(crate) worker_folder: Option<PathBuf>,
    /// How the result is written
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: ChannelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// Open a channel to a gateway, and pay into it
    Open(OpenArgs),
    /// Pay more into a channel
    Topup {
        /// Its name or its address
        #[arg(value_name = "CHANNEL")]
        channel: String,
        /// In GRAM (TON)
        #[arg(value_name = "AMOUNT", value_parser = amount)]
        amount: Nano,
        #[command(flatten)]
        way: WayArgs,
    },
    /// Show all channels, one a line
    List {
        /// The configuration of a gateway that runs on this machine: shows the channels by which it pays its workers instead, and what is at risk in them
        #[arg(long, value_name = "FILE")]
        gateway_config: Option<PathBuf>,
    },
    /// Say how a channel stands: what was paid in, what is at risk, what comes back and when
    Show {
        /// Its name or its address; may be left out where there is one channel
        #[arg(value_name = "CHANNEL")]
        channel: Option<String>,
    },
    /// Show the payee's signature to the contract, which pays the payee; anybody may, and nobody else is paid
    Settle {
        /// The settlement, as `export` or a gateway writes it; - for standard input. With --worker-folder: which channel, by its address; may be left out where there is one
        #[arg(value_name = "FILE", required_unless_present = "worker_folder")]
        settlement: Option<PathBuf>,
        #[command(flatten)]
        way: WayArgs,
    },
    /// Get back what is left: at once with the payee's last signature, or starts the clock, and fetches the rest when it has run out
    Close {
        /// Its name or its address; may be left out where there is one channel
        #[arg(value_name = "CHANNEL")]
        channel: Option<String>,
        #[command(flatten)]
        way: WayArgs,
    },
    /// Write the settlement of a channel, for whoever watches it
    Export {
        /// Its name or its address; may be left out where there is one channel
        #[arg(value_name = "CHANNEL")]
        channel: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// In GRAM (TON)
    #[arg(value_name = "AMOUNT", value_parser = amount)]
    pub(crate) amount: Nano,
    /// The gateway that is to be paid, which says its terms: https://host, or http://127.0.0.1:4141 of `mulberry connect`
    #[arg(long, value_name = "URL", required_unless_present = "terms")]
    pub(crate) to: Option<String>,
    /// Its terms in a file instead: what it says in PAYMENT-REQUIRED, as JSON; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) terms: Option<PathBuf>,
    /// What to call the channel here: letters, digits and - [default: a few digits of its address]
    #[arg(long, value_parser = crate::payer::shelf::name, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Who gets the rest back, where another wallet pays by a link: an address whose owner can send messages, not that of an exchange
    #[arg(long, value_name = "ADDRESS", requires = "elsewhere", allow_hyphen_values = true)]
    pub(crate) payer: Option<String>,
    #[command(flatten)]
    pub(crate) way: WayArgs,
}

/// How a message gets to the chain.
#[derive(Debug, Args)]
pub(crate) struct WayArgs {
    /// Say what would be done and what it costs, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print a link for any other wallet program, instead of paying from the wallet here
    #[arg(long, conflicts_with = "dry_run", group = "elsewhere")]
    pub(crate) link: bool,
    /// Print the address of the gateway's page instead, which asks a wallet in the browser to pay
    #[arg(long, conflicts_with = "dry_run", group = "elsewhere")]
    pub(crate) page: bool,
    /// Draw the link as a QR code
    #[arg(long, requires = "link")]
    pub(crate) qr: bool,
    /// Do not ask whether it is meant
    #[arg(long, short)]
    pub(crate) yes: bool,
}

impl WayArgs {
    /// Whether another wallet pays.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.link || self.page
    }
}

pub(crate) fn amount(text: &str) -> Result<Nano, String> {
    let amount: Nano = text.parse().map_err(|error| format!("{error}"))?;
    if amount.is_zero() {
        Err("write more than nothing".to_owned())
    } else {
        Ok(amount)
    }
}
