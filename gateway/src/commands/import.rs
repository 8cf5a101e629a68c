//! `mulberry import litellm`: the configuration of another gateway as one of ours.
//!
//! What is not carried over is told, each with its place and why; a key that nothing here knows is told too.
//! What is written was read and checked by our own rules before.
//! A secret that stands in the file is replaced by a reference to a variable, unless the operator insists.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use backends::serve::BoxError;

use super::config::{read, tell, write};
use crate::{
    cli::{ImportCommand, LitellmArgs},
    config::{Config, ConfigError, Environment, Format, Node, Problems, Process, parse_document},
};

pub(super) mod decimal;
mod draft;
mod fields;
mod litellm;
mod report;

use report::Report;

/// Something was not carried over, and `--strict` was given.
const INCOMPLETE: u8 = 2;

#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("there is no model that could be carried over, so nothing was written")]
    Nothing,
    #[error("what would be written is refused by our own rules, so nothing was written; change this in the old file")]
    Refused(#[source] ConfigError),
}

pub(super) fn run(command: &ImportCommand) -> Result<ExitCode, BoxError> {
    match command {
        ImportCommand::Litellm(args) => litellm(args),
    }
}

fn litellm(args: &LitellmArgs) -> Result<ExitCode, BoxError> {
    let name = args.file.display().to_string();
    let root = tree(&read(&args.file)?, &name)?;
    let mut report = Report::default();
    let mut draft = litellm::read(&root, args.keep_secrets, &mut report);
    if let Some(path) = &args.keys {
        let found = super::key::litellm::read(&read(path)?)?;
        litellm::add_keys(found, &path.display().to_string(), &mut draft, &mut report);
    }
    tell_all(&report, &name);
    if draft.models.is_empty() {
        return Err(ImportError::Nothing.into());
    }

    let format = args.output.as_deref().map(Format::of).unwrap_or_default();
    let text = format!("{}{}", heading(&name, format), draft.shown().document(format));
    // Nothing is written that would not start, whatever the variables will be.
    let target = args.output.as_deref().unwrap_or(Path::new("mulberry.yaml"));
    let environment = Promised(&Process);
    let config = Config::parse(&text, &target.display().to_string(), &environment).map_err(ImportError::Refused)?;
    match &args.output {
        Some(path) => write(path, &text, args.force, None)?,
        None => io::stdout().write_all(text.as_bytes())?,
    }
    tell(&format!(
        "models: {}, backends: {}, keys: {}; {}",
        config.models.len(),
        config.backends.len(),
        config.keys.len(),
        report.summary()
    ));
    Ok(if args.strict && report.has_losses() {
        ExitCode::from(INCOMPLETE)
    } else {
        ExitCode::SUCCESS
    })
}

fn tree(text: &str, name: &str) -> Result<Node, ConfigError> {
    // LiteLLM reads YAML whatever the name.
    let mut problems = Problems::of(Format::Yaml);
    match parse_document(text, Format::Yaml, &mut problems) {
        Some(tree) if problems.is_empty() => Ok(tree),
        _ => Err(problems.into_error(name)),
    }
}

fn heading(name: &str, format: Format) -> String {
    match format {
        Format::Json => String::new(),
        Format::Yaml | Format::Toml => {
            let name: String = name.chars().filter(|c| !c.is_control()).collect();
            format!("# Made from {name} by `mulberry import litellm`; `mulberry check` says what it means.\n")
        }
    }
}

fn tell_all(report: &Report, name: &str) {
    for line in report.lines(name) {
        let told = writeln!(io::stderr(), "{line}");
        // Without a standard error there is nobody to tell.
        drop(told);
    }
}

/// The environment as it will be: a variable that is not set yet stands as an address, which is good as any text.
struct Promised<'a>(&'a dyn Environment);

impl Environment for Promised<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        let promised = || format!("https://{}.invalid", name.to_lowercase().replace('_', "-"));
        Some(self.0.variable(name).unwrap_or_else(promised))
    }

    /// Overrides are of the machine where it will run, and not of the file.
    fn variables(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.read(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        self.0.is_file(path)
    }
}
