//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) mod attest;
pub(crate) mod chain;
pub(crate) mod channel;
pub(crate) mod connect;
pub(crate) mod key;
pub(crate) mod money;
pub(crate) mod registry;
#[cfg(feature = "demo")]
pub(crate) mod simulated_chain;
pub(crate) mod verify;
pub(crate) mod wallet;
pub(crate) mod watch;
pub(crate) mod worker;

/// An OpenAI-compatible inference gateway.
#[derive(Debug, Parser)]
#[command(name = "mulberry", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway
    Serve(ServeArgs),
    /// Serve gateways from the engine on this machine: dials them, and needs no open port
    Worker(Box<worker::WorkerArgs>),
    /// Verify a gateway for the apps of this machine, and pass their requests on to it: an OpenAI endpoint on loopback
    Connect(connect::ConnectArgs),
    /// Check a configuration and print it with every default, secrets hidden
    Check(ConfigArgs),
    /// Print a configuration, convert one, or print the JSON Schema for editors
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make a configuration from that of another gateway
    #[command(subcommand)]
    Import(ImportCommand),
    /// Examine a server that speaks OpenAI's API, and say what differs and what that means
    Doctor(DoctorArgs),
    /// Show what was used, from the records of requests
    Usage(UsageArgs),
    /// Make, change and end the API keys of clients
    Key(key::KeyArgs),
    /// Make and change the accounts that pay, and move money to and from them
    Account(money::AccountArgs),
    /// Show what was spent, from the ledger
    Spend(money::SpendArgs),
    /// Check the ledger, write it out, and see who spends from it
    Ledger(money::LedgerArgs),
    /// Make a wallet of GRAM (TON), and see its address and what is in it
    Wallet(wallet::WalletArgs),
    /// Open payment channels, see what they are worth and at risk, and get back what is left
    Channel(Box<channel::ChannelArgs>),
    /// Settle for payees whose payer starts to close: a separate process with a wallet for gas and no other key
    Watch(Box<watch::WatchArgs>),
    /// Copy the database to a file, while the gateway runs
    Backup(BackupArgs),
    /// Check receipts, without asking anybody; exits 0 if they are good, 1 if one is not, 2 if nothing can be said
    Verify(verify::VerifyArgs),
    /// Read and appraise evidence by hand, and write policies
    #[command(subcommand)]
    Attest(attest::AttestCommand),
    /// Ask the gateway of this configuration whether it is ready; exits 0 if it is, else 1
    Healthcheck(HealthcheckArgs),
    /// Run everything that exists in one process, with a scripted engine where no real one is found
    #[cfg(feature = "demo")]
    Demo(DemoArgs),
    /// Run a chain of TON in a folder, for development: its coins are worth nothing, and whoever has it makes them
    #[cfg(feature = "demo")]
    SimulatedChain(simulated_chain::SimulatedChainArgs),
    /// Run a scripted OpenAI-compatible server that answers, or fails in any of the known ways
    #[cfg(feature = "demo")]
    Mock(MockArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file (YAML, TOML or JSON); mulberry.yaml is taken when it is there
    #[arg(long, short, global = true, env = "MULBERRY_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print what a configuration means, with every default, secrets hidden
    Print(PrintArgs),
    /// Print the JSON Schema of the configuration, which is mulberry.schema.json
    Schema,
    /// Write a configuration in another format, references as they are; comments are lost
    Convert(ConvertArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PrintArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    #[arg(long, value_enum, default_value = "yaml")]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Yaml,
    Json,
    Toml,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The file to read (.yaml, .toml or .json)
    pub(crate) from: PathBuf,
    /// The file to write (.yaml, .toml or .json)
    pub(crate) to: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// From LiteLLM's config.yaml, with a report of what is not carried over
    Litellm(LitellmArgs),
}

#[derive(Debug, Args)]
pub(crate) struct LitellmArgs {
    /// LiteLLM's config.yaml
    pub(crate) file: PathBuf,
    /// Write here (.yaml, .toml or .json) instead of to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// An export of LiteLLM's table of keys (JSON or CSV), whose keys go into the file by their hashes
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// Copy secrets that stand in the file, instead of naming a variable for each
    #[arg(long)]
    pub(crate) keep_secrets: bool,
    /// Exit with 2 where anything is not carried over
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Where it is, with or without /v1
    pub(crate) url: String,
    /// Its API key
    #[arg(
        long,
        env = "MULBERRY_DOCTOR_KEY",
        hide_env_values = true,
        value_name = "KEY",
        allow_hyphen_values = true
    )]
    pub(crate) key: Option<String>,
    /// The model to ask; the first that is listed otherwise
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) output: DoctorOutput,
    /// How long one answer may take, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

/// Without the key.
impl std::fmt::Debug for DoctorArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DoctorArgs")
            .field("url", &self.url)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorOutput {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Serve one OpenAI-compatible server without any file
    #[arg(long, value_name = "URL")]
    pub(crate) backend: Option<String>,
    /// Where clients connect [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where operators connect [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin_listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The database, where it is not the configuration's
    #[arg(long, value_name = "FILE")]
    pub(crate) database: Option<PathBuf>,
    /// Group by this
    #[arg(long, value_enum, default_value = "model")]
    pub(crate) by: By,
    /// How far back, in days
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    pub(crate) days: u32,
    /// Show the latest requests, one a line, instead of sums
    #[arg(long, value_name = "COUNT")]
    pub(crate) recent: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The copy to make; a file that exists is refused
    #[arg(value_name = "FILE")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The database, where it is not the configuration's
    #[arg(long, value_name = "FILE")]
    pub(crate) database: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Where to ask, whatever the configuration says
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// Ask only whether the process answers, not whether it can serve
    #[arg(long)]
    pub(crate) live: bool,
    /// How long to wait for the answer, in milliseconds
    #[arg(long, default_value_t = 2000, value_name = "MS")]
    pub(crate) timeout: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Model,
    Key,
    Day,
    Upstream,
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where clients connect [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// An engine to use instead of looking for one
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Option<String>,
}

#[cfg(feature = "demo")]
#[derive(Debug, Args)]
pub(crate) struct MockArgs {
    #[arg(long, default_value = "127.0.0.1:9100", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Models to list besides `mock`; can be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Vec<String>,
    /// Pause between two chunks, in milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS")]
    pub(crate) chunk_delay: u64,
    /// Ask for this API key
    #[arg(long, value_name = "KEY")]
    pub(crate) require_key: Option<String>,
    /// Print the fault modes (`model: fault/MODE`) and exit
    #[arg(long)]
    pub(crate) modes: bool,
    /// Instead of all that: speak hostile HTTP/2 of this kind
    #[arg(long, value_name = "KIND")]
    pub(crate) hostile_h2: Option<String>,
}
