//! `mulberry check`

use std::io::Write;

use backends::serve::BoxError;

use super::serve::file;
use crate::{
    cli::ConfigArgs,
    config::{Config, Process},
};

pub(super) fn run(args: &ConfigArgs) -> Result<(), BoxError> {
    let config = Config::load(&file(args.config.clone())?, &Process)?;
    std::io::stdout().write_all(config.normalised().as_bytes())?;
    Ok(())
}
