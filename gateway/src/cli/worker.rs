//! What `mulberry worker` takes.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use attestation_guest::gpu::Collector;
use billing::{Nano, channel::Network};
use clap::{Args, Subcommand};

use super::{chain::ChainFlags, registry::RegistryFlags};
use crate::{
    config::{CollateralFrom, EvidenceFrom, KeyDigest, duration},
    identity::{LIFE, SHORTEST_LIFE},
    worker::{Gateway, gpu},
};

#[derive(Args)]
pub(crate) struct WorkerArgs {
    #[command(subcommand)]
    pub(crate) command: Option<WorkerCommand>,
    /// A gateway to serve: the key_sha256 that it logs when it starts, and its worker_listen; without a key where --gateway-policy says what it must prove; can be given several times
    #[arg(long, global = true, value_parser = Gateway::parse, env = "MULBERRY_WORKER_GATEWAY", value_delimiter = ',', value_name = "[KEY@]HOST:PORT")]
    pub(crate) gateway: Vec<Gateway>,
    /// The engine on this machine: http://127.0.0.1:PORT or unix:PATH
    #[arg(
        long,
        global = true,
        env = "MULBERRY_WORKER_ENGINE",
        default_value = "http://127.0.0.1:8000",
        value_name = "ADDRESS"
    )]
    pub(crate) engine: String,
    /// The API key that the engine wants
    #[arg(
        long,
        global = true,
        env = "MULBERRY_WORKER_ENGINE_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub(crate) engine_key: Option<String>,
    /// Allow an engine on another machine, in the clear if it is http: whoever is between can read prompts
    #[arg(long, global = true)]
    pub(crate) danger_remote_engine: bool,
    /// The file with the worker's private key, which is made if there is none
    #[arg(
        long,
        global = true,
        env = "MULBERRY_WORKER_KEY_FILE",
        default_value = "worker.key",
        value_name = "FILE"
    )]
    pub(crate) key_file: PathBuf,
    /// What this worker shows of its machine: none, or tdx in a TDX guest
    #[arg(long, global = true, value_parser = EvidenceFrom::parse, env = "MULBERRY_WORKER_EVIDENCE", default_value = "none", value_name = "WHO")]
    pub(crate) evidence: EvidenceFrom,
    /// How long a certificate of this worker holds, in seconds, a minute to a day; it connects anew when half of that is over
    #[arg(long, global = true, env = "MULBERRY_WORKER_CERTIFICATE_LIFE", default_value_t = LIFE.as_secs(), value_parser = clap::value_parser!(u64).range(SHORTEST_LIFE.as_secs()..=LIFE.as_secs()), value_name = "SECONDS")]
    pub(crate) certificate_life: u64,
    /// The command that writes evidence of this guest's GPUs, as nvattest does; {nonce} stands for what it must answer
    #[arg(long, global = true, value_parser = gpu::collector, env = "MULBERRY_WORKER_GPU_COLLECTOR", value_name = "COMMAND")]
    pub(crate) gpu_collector: Option<Collector>,
    /// Where the certificates of GPUs are vouched for
    #[arg(
        long,
        global = true,
        env = "MULBERRY_WORKER_GPU_OCSP",
        default_value = attestation::gpu::NVIDIA_OCSP,
        value_name = "URL"
    )]
    pub(crate) gpu_ocsp: http::Uri,
    /// The file with the token by which a gateway knows this worker, where it has no key of its own
    #[arg(long, global = true, env = "MULBERRY_WORKER_JOIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) join_token_file: Option<PathBuf>,
    /// The policy by which gateways without a known key are accepted
    #[arg(long, global = true, env = "MULBERRY_WORKER_GATEWAY_POLICY", value_name = "FILE")]
    pub(crate) gateway_policy: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryFlags,
    /// Where what Intel says of platforms comes from, in order: intel, the URL of a PCCS, or bundle:FOLDER
    #[arg(long, global = true, value_parser = CollateralFrom::parse, env = "MULBERRY_WORKER_COLLATERAL", value_delimiter = ',', default_value = "intel", value_name = "SOURCE")]
    pub(crate) collateral: Vec<CollateralFrom>,
    /// Where collateral is kept between two starts
    #[arg(long, global = true, env = "MULBERRY_WORKER_COLLATERAL_CACHE", value_name = "FOLDER")]
    pub(crate) collateral_cache: Option<PathBuf>,
    /// A root certificate that stands in for Intel's: whoever has its key can forge all evidence; for development
    #[arg(
        long,
        global = true,
        env = "MULBERRY_WORKER_DANGER_DEVELOPMENT_TRUST_ANCHOR",
        value_name = "FILE"
    )]
    pub(crate) danger_development_trust_anchor: Option<PathBuf>,
    /// The SHA-256 of the engine that this guest was built with, which its evidence then names
    #[arg(long, global = true, value_parser = key, env = "MULBERRY_WORKER_CLAIM_ENGINE", value_name = "SHA256")]
    pub(crate) claim_engine: Option<KeyDigest>,
    /// The SHA-256 of the manifest of its models' weights, which its evidence then names
    #[arg(long, global = true, value_parser = key, env = "MULBERRY_WORKER_CLAIM_MODELS", value_name = "SHA256")]
    pub(crate) claim_models: Option<KeyDigest>,
    /// Listen for gateways that dial this worker
    #[arg(long, env = "MULBERRY_WORKER_LISTEN", value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The key of a gateway that dials this worker; those of --gateway may too
    #[arg(long, value_parser = key, env = "MULBERRY_WORKER_GATEWAY_KEY", value_delimiter = ',', value_name = "SHA256")]
    pub(crate) gateway_key: Vec<KeyDigest>,
    #[command(flatten)]
    pub(crate) pay: PayArgs,
    /// How long open answers may take once a signal has come, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) drain_timeout: u64,
}

/// What its work costs, and where it is paid.
#[derive(Debug, Args)]
pub(crate) struct PayArgs {
    /// Where what it earns goes: an address of TON. Without it, it works for nothing
    #[arg(
        long,
        env = "MULBERRY_WORKER_PAYOUT",
        value_name = "ADDRESS",
        allow_hyphen_values = true
    )]
    pub(crate) payout: Option<String>,
    /// Of a million tokens of prompt, in GRAM (TON)
    #[arg(long, env = "MULBERRY_WORKER_PRICE_PROMPT", default_value = "0", value_parser = price, value_name = "AMOUNT")]
    pub(crate) price_prompt: Nano,
    /// Of a million tokens of prompt that the engine had in its cache [default: that of prompt]
    #[arg(long, env = "MULBERRY_WORKER_PRICE_CACHED", value_parser = price, value_name = "AMOUNT")]
    pub(crate) price_cached: Option<Nano>,
    /// Of a million tokens of answer
    #[arg(long, env = "MULBERRY_WORKER_PRICE_COMPLETION", default_value = "0", value_parser = price, value_name = "AMOUNT")]
    pub(crate) price_completion: Nano,
    /// Of each request, besides
    #[arg(long, env = "MULBERRY_WORKER_PRICE_REQUEST", default_value = "0", value_parser = price, value_name = "AMOUNT")]
    pub(crate) price_request: Nano,
    /// Where its earnings are kept, with the key that signs what is taken [default: beside --key-file]
    #[arg(long, env = "MULBERRY_WORKER_EARNINGS", value_name = "FOLDER")]
    pub(crate) earnings: Option<PathBuf>,
    /// The chain: mainnet, testnet, or the global id of another one
    #[arg(long, env = "MULBERRY_NETWORK", default_value = "mainnet", value_parser = super::wallet::network, allow_hyphen_values = true)]
    pub(crate) network: Network,
    #[command(flatten)]
    pub(crate) chain: ChainFlags,
    /// How often the chain is asked about its channels
    #[arg(long, env = "MULBERRY_WORKER_CHAIN_EVERY", default_value = "30s", value_parser = time, value_name = "TIME")]
    pub(crate) chain_every: Duration,
    /// Signs what it takes, for gateways to settle, as soon as so much was earned, in GRAM (TON)
    #[arg(long, env = "MULBERRY_WORKER_SETTLE_ABOVE", default_value = "0.5", value_parser = super::channel::amount, value_name = "AMOUNT")]
    pub(crate) settle_above: Nano,
    /// And whatever was earned, so often
    #[arg(long, env = "MULBERRY_WORKER_SETTLE_EVERY", default_value = "24h", value_parser = time, value_name = "TIME")]
    pub(crate) settle_every: Duration,
    /// What a gateway may owe before it is served no more, in GRAM (TON)
    #[arg(long, env = "MULBERRY_WORKER_CREDIT", default_value = "5", value_parser = price, value_name = "AMOUNT")]
    pub(crate) credit: Nano,
    /// How long a gateway must wait for its rest at least: the time that there is to settle in
    #[arg(long, env = "MULBERRY_WORKER_MIN_CLOSE_DELAY", default_value = "24h", value_parser = time, value_name = "TIME")]
    pub(crate) min_close_delay: Duration,
    /// Parts of 10000 of what it takes that it lets go to --fee-dest
    #[arg(long, env = "MULBERRY_WORKER_FEE_BPS", default_value_t = 0, value_name = "PARTS")]
    pub(crate) fee_bps: u16,
    /// Where that goes
    #[arg(
        long,
        env = "MULBERRY_WORKER_FEE_DEST",
        value_name = "ADDRESS",
        allow_hyphen_values = true
    )]
    pub(crate) fee_dest: Option<String>,
}

fn price(text: &str) -> Result<Nano, String> {
    text.parse().map_err(|error| format!("{error}"))
}

fn time(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "write a whole number and a unit: 500ms, 5s, 2m, 1h".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Print the SHA-256 of this worker's public key, which the gateway's configuration names; the key is made if there is none
    Key,
    /// Print the SHA-256 of the token in --join-token-file, which the gateway's configuration names; the token is made if there is none
    Token,
    /// Examine the engine, the key, the gateways and the clock, and say in plain words what to fix; exits 0 if all is well
    Doctor,
}

/// Without the key of the engine.
impl std::fmt::Debug for WorkerArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerArgs")
            .field("command", &self.command)
            .field("gateway", &self.gateway)
            .field("engine", &self.engine)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

fn key(text: &str) -> Result<KeyDigest, String> {
    KeyDigest::parse(text).ok_or_else(|| "not a SHA-256 digest: 64 hexadecimal digits".to_owned())
}
