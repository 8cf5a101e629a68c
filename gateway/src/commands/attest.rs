//! `mulberry attest`: evidence and policies by hand, without asking anybody.
//!
//! Exits 0 when what was asked holds, 1 when something is refused, with its code and what to do, and 2 when nothing can
//! be said. Files were written by somebody else: they are bounded, and printed without their control characters.

mod bundle;
mod fetch;
mod policy;
mod sample;
mod show;
mod verify;

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use backends::serve::BoxError;

use crate::{
    cli::attest::{AttestCommand, PolicyCommand},
    layers::rescue::Chain,
};

/// Something was looked at and does not hold.
const REFUSED: u8 = 1;
/// Nothing can be said.
const UNUSABLE: u8 = 2;

/// The most that is read of a file: evidence has tens of kilobytes, a policy with many images hundreds.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Why nothing can be said of what was given.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot read '{}'", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' has more than 4 MiB", path.display())]
    TooLarge { path: PathBuf },
    #[error("'{}' is neither a quote (binary or hexadecimal) nor a certificate (PEM or DER) nor a bundle (JSON)", path.display())]
    Neither { path: PathBuf },
    #[error("'{}' is not a certificate of a node", path.display())]
    Certificate {
        path: PathBuf,
        source: attestation_ratls::CertificateRefusal,
    },
    #[error("'{}' holds no quote", path.display())]
    NoQuote { path: PathBuf },
    #[error("'{}' is no policy", path.display())]
    Policy { path: PathBuf, source: BoxError },
    #[error("there is no collateral in '{}'", path.display())]
    Collateral {
        path: PathBuf,
        source: attestation_ratls::collateral::ShelfError,
    },
    #[error("a quote and a certificate are judged by a policy and by collateral: give --policy and --collateral")]
    NoBasis,
    #[error("a bundle says itself {what}: leave {flag} out")]
    InBundle { what: &'static str, flag: &'static str },
    #[error("{flag} is for {what}")]
    OnlyFor { flag: &'static str, what: &'static str },
    #[error("'{}' is no evidence of GPUs", path.display())]
    Gpu {
        path: PathBuf,
        source: attestation::gpu::GpuRefusal,
    },
    #[error("the policy has no rules for GPUs")]
    NoGpuRules,
    #[error("a quote alone does not say what it was made for: give --report-data, or the certificate that it came in")]
    NoReportData,
    #[error("a certificate says itself what its report data must be: leave --report-data out")]
    TwoReportData,
}

/// What there is to say, and whether it holds.
enum Said {
    Good(String),
    Refused(String),
}

pub(super) async fn run(command: AttestCommand) -> Result<ExitCode, BoxError> {
    let said = match command {
        // It says what it finds as it finds it.
        AttestCommand::Fetch(args) => {
            return match fetch::fetch(&args).await {
                Ok(code) => Ok(code),
                Err(error) => {
                    writeln!(io::stderr(), "mulberry: {}", Chain(&*error))?;
                    Ok(ExitCode::from(UNUSABLE))
                }
            };
        }
        AttestCommand::Show(args) => show::show(&args),
        AttestCommand::Verify(args) => verify::verify(&args),
        AttestCommand::Policy(PolicyCommand::Init(args)) => policy::init(&args),
        AttestCommand::Policy(PolicyCommand::Check(args)) => policy::check(&args),
    };
    let (text, code) = match said {
        Ok(Said::Good(text)) => (text, ExitCode::SUCCESS),
        Ok(Said::Refused(text)) => (text, ExitCode::from(REFUSED)),
        Err(unusable) => {
            writeln!(io::stderr(), "mulberry: {}", Chain(&unusable))?;
            return Ok(ExitCode::from(UNUSABLE));
        }
    };
    // Who reads the exit status alone may have closed the output.
    drop(writeln!(io::stdout(), "{}", text.trim_end()));
    Ok(code)
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let failed = |source| Unusable::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let limit = MAX_FILE + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = File::open(path).map_err(failed)?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(Unusable::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Text of somebody else's.
fn plain(text: &str) -> String {
    let plain = |char: char| if char.is_control() { '\u{fffd}' } else { char };
    text.chars().map(plain).collect()
}
