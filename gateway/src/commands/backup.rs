//! `mulberry backup`

use std::io::Write;

use backends::serve::BoxError;
use billing_store::Reader;

use super::usage::location;
use crate::cli::BackupArgs;

pub(super) async fn run(args: BackupArgs) -> Result<(), BoxError> {
    let from = location(args.database, args.config)?;
    let reader = Reader::open(&from).await?;
    let copied = reader.copy_to(&args.to).await;
    reader.close().await;
    copied?;
    Ok(writeln!(
        std::io::stdout(),
        "{} is a copy of {from}",
        args.to.display(),
    )?)
}
