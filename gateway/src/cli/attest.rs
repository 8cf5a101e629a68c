//! The flags of `mulberry attest`.

use std::path::PathBuf;

use attestation::{Hex, Role};
use clap::{Args, Subcommand};

use crate::config::Timestamp;

#[derive(Debug, Subcommand)]
pub(crate) enum AttestCommand {
    /// Say in words what a quote or a certificate holds; nothing of it is verified
    Show(ShowArgs),
    /// Appraise a quote or a certificate; exits 0 with the verdict, 1 with the refusal, 2 if nothing can be said
    Verify(VerifyArgs),
    /// Write or check a policy
    #[command(subcommand)]
    Policy(PolicyCommand),
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A quote (binary or hexadecimal) or a certificate (PEM or DER); `-` is standard input
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A quote (binary or hexadecimal) or a certificate (PEM or DER); `-` is standard input
    pub(crate) file: PathBuf,
    /// What is accepted (.json, .yaml or .toml)
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
    /// Collateral: a folder for each platform, as the cache and bundles have it, or the files of one
    #[arg(long, value_name = "DIR")]
    pub(crate) collateral: PathBuf,
    /// The time to appraise at, such as 2026-11-22 or 2026-11-22T08:00:00Z; now otherwise
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) at: Option<Timestamp>,
    /// A root certificate in DER in place of Intel's, for evidence of a software TDX, which proves nothing
    #[arg(long = "danger-root", value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// Whom the evidence must be of
    #[arg(long, default_value = "worker", value_name = "ROLE", value_parser = role)]
    pub(crate) role: Role,
    /// What a quote without a certificate must hold, 128 hexadecimal digits
    #[arg(long, value_name = "HEX")]
    pub(crate) report_data: Option<Hex<64>>,
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
