//! `mulberry verify`

use std::path::PathBuf;

use billing::receipt::{Hash, PublicKey, from_hex, statement};
use clap::Args;

use crate::receipts::keys::{decode_key, decode_salt};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Receipts as the gateway gave them: JSON, a list of them, or one a line; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// A public key of the gateway, in hexadecimal or base64url; can be given several times
    #[arg(long, value_name = "KEY", value_parser = key, allow_hyphen_values = true)]
    pub(crate) key: Vec<PublicKey>,
    /// The public keys of the gateway, as GET /v1/receipts/keys gives them
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// The key, in hexadecimal or base64url, by which the worker signs: every statement must be signed by one of these
    #[arg(long, value_name = "KEY", value_parser = key, allow_hyphen_values = true)]
    pub(crate) worker_key: Vec<PublicKey>,
    /// The request body that was sent, whose hash must be the receipt's
    #[arg(long, value_name = "FILE", requires = "salt")]
    pub(crate) request: Option<PathBuf>,
    /// The response body that was received, whose hash must be the receipt's
    #[arg(long, value_name = "FILE", requires = "salt")]
    pub(crate) response: Option<PathBuf>,
    /// The header `x-receipt-salt` of the response
    #[arg(long, value_name = "SALT", value_parser = salt, allow_hyphen_values = true)]
    pub(crate) salt: Option<Salt>,
    /// A bundle of evidence, as GET /v1/evidence gives it; receipts that name one must name one of these. Can be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) evidence: Vec<PathBuf>,
    /// A root certificate in DER in place of Intel's, for evidence of a software TDX, which proves nothing
    #[arg(long = "danger-development-trust-anchor", value_name = "FILE", requires = "evidence")]
    pub(crate) root: Option<PathBuf>,
    /// A checkpoint, as GET /v1/receipts/checkpoint gives it: every chain must go as far
    #[arg(long, value_name = "FILE")]
    pub(crate) checkpoint: Option<PathBuf>,
    /// The hash that a chain must end with; can be given several times
    #[arg(long, value_name = "HASH", value_parser = hash)]
    pub(crate) head: Vec<Hash>,
    /// Every chain must be there from its first receipt on
    #[arg(long)]
    pub(crate) from_first: bool,
    /// Allow receipts to be missing between those that are here, as for who has those of one key only
    #[arg(long, conflicts_with_all = ["from_first", "checkpoint", "head"])]
    pub(crate) allow_gaps: bool,
}

/// What a client knows and nobody else.
#[derive(Clone, Copy)]
pub(crate) struct Salt(pub(crate) [u8; 32]);

impl Salt {
    /// With which the worker was asked for its statement.
    pub(crate) fn of_statement(self) -> Self {
        Self(statement::salt(&self.0))
    }
}

impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(…)")
    }
}

fn key(text: &str) -> Result<PublicKey, &'static str> {
    decode_key(text).ok_or("expected 64 hexadecimal digits, or 43 characters of base64url")
}

fn salt(text: &str) -> Result<Salt, &'static str> {
    decode_salt(text)
        .map(Salt)
        .ok_or("expected the 43 characters of the header x-receipt-salt")
}

fn hash(text: &str) -> Result<Hash, &'static str> {
    from_hex(text).ok_or("expected 64 hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::Cli;

    /// What one key in 64 begins with, and every address of the masterchain.
    #[test]
    fn what_begins_with_a_dash_is_no_flag() {
        let key = format!("-{}", "A".repeat(42));
        let address = format!("-1:{}", "0".repeat(64));
        let lines: [&[&str]; 5] = [
            &["verify", "receipts.json", "--key", &key, "--worker-key", &key],
            &[
                "worker",
                "--engine",
                "http://127.0.0.1:8000",
                "--payout",
                &address,
                "--fee-dest",
                &address,
            ],
            &[
                "channel",
                "open",
                "5",
                "--to",
                "https://host",
                "--link",
                "--payer",
                &address,
            ],
            &[
                "account",
                "deposit",
                "org:acme",
                "5",
                "--memo",
                "- for May",
                "--id",
                "-1",
            ],
            &["doctor", "http://127.0.0.1:8000", "--key", "-key"],
        ];
        for line in lines {
            if let Err(error) = Cli::try_parse_from([&["mulberry"][..], line].concat()) {
                panic!("{line:?}: {error}");
            }
        }
    }
}
