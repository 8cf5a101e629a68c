//! What `mulberry worker` takes.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

use crate::{config::KeyDigest, worker::Gateway};

#[derive(Args)]
pub(crate) struct WorkerArgs {
    #[command(subcommand)]
    pub(crate) command: Option<WorkerCommand>,
    /// A gateway to serve: the key_sha256 that it logs when it starts, and its worker_listen; can be given several times
    #[arg(long, global = true, value_parser = Gateway::parse, env = "MULBERRY_WORKER_GATEWAY", value_delimiter = ',', value_name = "KEY@HOST:PORT")]
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
    /// Listen for gateways that dial this worker
    #[arg(long, env = "MULBERRY_WORKER_LISTEN", value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The key of a gateway that dials this worker; those of --gateway may too
    #[arg(long, value_parser = key, env = "MULBERRY_WORKER_GATEWAY_KEY", value_delimiter = ',', value_name = "SHA256")]
    pub(crate) gateway_key: Vec<KeyDigest>,
    /// How long open answers may take once a signal has come, in seconds
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    pub(crate) drain_timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkerCommand {
    /// Print the SHA-256 of this worker's public key, which the gateway's configuration names; the key is made if there is none
    Key,
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
