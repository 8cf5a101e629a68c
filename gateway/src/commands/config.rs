//! `mulberry config print`, `mulberry config schema` and `mulberry config convert`

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use backends::serve::BoxError;

use super::serve::file;
use crate::{
    cli::{ConfigCommand, ConvertArgs, Output, PrintArgs},
    config::{Config, Format, Process, convert, json_schema},
};

#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot read {}: {kind}", .path.display())]
    Unreadable { path: PathBuf, kind: io::ErrorKind },
    #[error("{} is there already: choose another name, or write over it with --force", .0.display())]
    Exists(PathBuf),
    #[error("cannot write {}: {kind}", .path.display())]
    Unwritable { path: PathBuf, kind: io::ErrorKind },
    #[error("{}: the name must end in .yaml, .toml or .json, so that the format is known", .0.display())]
    NoFormat(PathBuf),
}

pub(super) fn run(command: ConfigCommand) -> Result<(), BoxError> {
    let text = match command {
        ConfigCommand::Print(args) => print(args)?,
        ConfigCommand::Schema => json_schema(),
        ConfigCommand::Convert(args) => return convert_file(&args),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

fn print(args: PrintArgs) -> Result<String, BoxError> {
    let format = match args.output {
        Output::Yaml => Format::Yaml,
        Output::Json => Format::Json,
        Output::Toml => Format::Toml,
    };
    let config = Config::load(&file(args.config.config)?, &Process)?;
    Ok(config.normalised_as(format))
}

fn convert_file(args: &ConvertArgs) -> Result<(), BoxError> {
    let no_format = |path: &Path| FileError::NoFormat(path.to_owned());
    Format::named(&args.from).ok_or_else(|| no_format(&args.from))?;
    let format = Format::named(&args.to).ok_or_else(|| no_format(&args.to))?;
    let text = read(&args.from)?;
    let converted = convert(&text, &args.from.display().to_string(), format, &Process)?;
    // What one may not read of the old file, one may not read of the new.
    let permissions = fs::metadata(&args.from)?.permissions();
    write(&args.to, &converted, args.force, Some(permissions))?;
    if Config::load(&args.to, &Process).is_err() {
        tell(&format!(
            "{} is refused as it stands, and so is {}: see mulberry check",
            args.from.display(),
            args.to.display()
        ));
    }
    tell("comments are not carried over; values and references are as they were");
    Ok(())
}

pub(super) fn read(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(|error| FileError::Unreadable {
        path: path.to_owned(),
        kind: error.kind(),
    })
}

/// Writes a file that may hold secrets; one that is there only with `force`.
pub(super) fn write(
    path: &Path,
    text: &str,
    force: bool,
    permissions: Option<fs::Permissions>,
) -> Result<(), FileError> {
    let mut options = OpenOptions::new();
    options.write(true).create(force).truncate(force).create_new(!force);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let unwritable = |error: io::Error| FileError::Unwritable {
        path: path.to_owned(),
        kind: error.kind(),
    };
    let mut file = options.open(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => FileError::Exists(path.to_owned()),
        _ => unwritable(error),
    })?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions).map_err(unwritable)?;
    }
    file.write_all(text.as_bytes()).map_err(unwritable)
}

/// A word to the person at the terminal, beside what is written.
pub(super) fn tell(words: &str) {
    let told = writeln!(io::stderr(), "mulberry: {words}");
    // Without a standard error there is nobody to tell.
    drop(told);
}
