//! The flags of `mulberry attest`.

use std::path::PathBuf;

use attestation::{Hex, Role};
use clap::{Args, Subcommand};

use crate::config::Timestamp;

#[derive(Debug, Subcommand)]
pub(crate) enum AttestCommand {
    /// Say in words what a quote, a certificate or a bundle holds; nothing of it is verified
    Show(ShowArgs),
    /// Appraise a quote, a certificate or a bundle; exits 0 with the verdict, 1 with the refusal, 2 if nothing can be said
    Verify(Box<VerifyArgs>),
    /// Fetch what a gateway shows of itself and its workers, or the evidence for one answer, and check it; exits as `verify`
    Fetch(Box<FetchArgs>),
    /// Write or check a policy
    #[command(subcommand)]
    Policy(PolicyCommand),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A quote (binary or hexadecimal), a certificate (PEM or DER) or a bundle (JSON); `-` is standard input
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A quote (binary or hexadecimal), a certificate (PEM or DER) or a bundle (JSON); `-` is standard input
    pub(crate) file: PathBuf,
    /// What is accepted (.json, .yaml or .toml); a bundle has its own, and is judged by this one too
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Collateral: a folder for each platform, as the cache has it, or the files of one; a bundle has its own
    #[arg(long, value_name = "DIR")]
    pub(crate) collateral: Option<PathBuf>,
    /// The time to appraise at, such as 2026-11-22 or 2026-11-22T08:00:00Z; now otherwise
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) at: Option<Timestamp>,
    /// A root certificate in DER in place of Intel's, for evidence of a software TDX, which proves nothing
    #[arg(long = "danger-development-trust-anchor", alias = "danger-root", value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// A root certificate in DER in place of NVIDIA's, for evidence of software GPUs; only beside the other one
    #[arg(long = "danger-gpu-root", value_name = "FILE", requires = "root")]
    pub(crate) gpu_root: Option<PathBuf>,
    /// Evidence of the GPUs that the certificate's claims name, as it travels (binary or hexadecimal)
    #[arg(long, value_name = "FILE")]
    pub(crate) gpu: Option<PathBuf>,
    /// The SHA-256 that the bundle must have, as a receipt names it
    #[arg(long, value_name = "HEX")]
    pub(crate) id: Option<Hex<32>>,
    /// Whom the evidence must be of
    #[arg(long, default_value = "worker", value_name = "ROLE", value_parser = role)]
    pub(crate) role: Role,
    /// What a quote without a certificate must hold, 128 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub(crate) report_data: Option<Hex<64>>,
}

#[derive(Args)]
pub(crate) struct FetchArgs {
    /// Where the gateway is
    pub(crate) url: String,
    /// The header `x-receipt` of an answer: its receipt and the evidence that it rests on are fetched and checked
    #[arg(long, value_name = "ID")]
    pub(crate) answer: Option<String>,
    /// Where the files of an answer are kept
    #[arg(long, default_value = "evidence", value_name = "DIR")]
    pub(crate) save: PathBuf,
    /// The API key
    #[arg(
        long,
        env = "MULBERRY_API_KEY",
        hide_env_values = true,
        value_name = "KEY",
        allow_hyphen_values = true
    )]
    pub(crate) key: Option<String>,
    /// A policy of yours for the workers, beside the one that the gateway judged them by
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// What a gateway that shows a quote must be
    #[arg(long, value_name = "FILE")]
    pub(crate) gateway_policy: Option<PathBuf>,
    /// Collateral for the gateway's quote
    #[arg(long, value_name = "DIR")]
    pub(crate) collateral: Option<PathBuf>,
    /// A root certificate in DER in place of Intel's, for evidence of a software TDX, which proves nothing
    #[arg(long = "danger-development-trust-anchor", value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
}

/// Without the key.
impl std::fmt::Debug for FetchArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FetchArgs")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Write a policy that accepts the guest of a quote, and nothing else
    Init(InitArgs),
    /// Say what is wrong with a policy, and its digest if nothing is; exits 0, 1, or 2 if it cannot be read
    Check(CheckArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// A quote or a certificate of a guest that you have reason to trust
    #[arg(long, value_name = "FILE")]
    pub(crate) from_quote: PathBuf,
    /// What to call its image
    #[arg(long, default_value = "worker", value_name = "NAME")]
    pub(crate) name: String,
    /// Which role it may play; can be given several times
    #[arg(long, default_value = "worker", value_name = "ROLE", value_parser = role)]
    pub(crate) role: Vec<Role>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The policy (.json, .yaml or .toml)
    pub(crate) file: PathBuf,
}

fn role(text: &str) -> Result<Role, &'static str> {
    let found = Role::ALL.into_iter().find(|role| role.name() == text);
    found.ok_or("expected gateway, worker or connect")
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse(text).ok_or("expected a day, or a time in UTC such as 2026-11-22T08:00:00Z")
}
