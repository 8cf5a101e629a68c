//! `mulberry serve`

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use backends::serve::BoxError;

use crate::{
    app::App,
    cli::ServeArgs,
    config::{Config, Environment, Process},
    logging,
    notify::Notify,
    signal::Signals,
};

/// The file that is taken when none is named.
const DEFAULT_FILE: &str = "mulberry.yaml";
/// What the end may take besides the drain: cutting what is open, writing records to a disk that refuses.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[error(
    "there is no configuration: name a file with --config, put a {DEFAULT_FILE} here, or start with --backend URL and no file"
)]
pub(crate) struct NoConfig;

pub(super) async fn run(args: ServeArgs) -> Result<(), BoxError> {
    let environment = WithFlags::new(&Process, &args);
    let config = match &args.backend {
        Some(url) => Config::single(url, &environment)?,
        None => Config::load(&file(args.config.config)?, &environment)?,
    };
    logging::install(&config.log);
    for warning in Config::warnings(&environment) {
        tracing::warn!("{warning}");
    }
    serve(config, |_| Ok(())).await
}

/// Runs a gateway until a signal. `announce` is called once it is bound.
pub(super) async fn serve(config: Config, announce: impl FnOnce(&App) -> Result<(), BoxError>) -> Result<(), BoxError> {
    let (mut first, mut second) = (Signals::install()?, Signals::install()?);
    let notify = Notify::new(&Process);
    let until_end = config.drain.delay + config.drain.timeout + AFTER_DRAIN;
    let app = App::build(config).await?;
    if let Some(address) = app.address() {
        tracing::info!(%address, admin = app.admin_address().map(tracing::field::display), "listening");
    }
    announce(&app)?;
    notify.ready();
    let stop = async {
        first.next().await;
        notify.stopping(until_end);
    };
    let hurry = async {
        // Both listeners hear the first signal.
        second.next().await;
        second.next().await;
    };
    Ok(app.run(stop, hurry).await?)
}

/// The configuration file that was named, or the one that is here.
pub(super) fn file(named: Option<PathBuf>) -> Result<PathBuf, NoConfig> {
    named
        .or_else(|| Path::new(DEFAULT_FILE).exists().then(|| PathBuf::from(DEFAULT_FILE)))
        .ok_or(NoConfig)
}

/// The environment, with what flags say on top: a flag is checked by the same rules as the file.
struct WithFlags<'a> {
    below: &'a dyn Environment,
    flags: BTreeMap<&'static str, String>,
}

impl<'a> WithFlags<'a> {
    fn new(below: &'a dyn Environment, args: &ServeArgs) -> Self {
        let listen = args.listen.map(|address| ("MULBERRY_LISTEN", address.to_string()));
        let admin = args
            .admin_listen
            .map(|address| ("MULBERRY_ADMIN_LISTEN", address.to_string()));
        Self {
            below,
            flags: listen.into_iter().chain(admin).collect(),
        }
    }
}

impl Environment for WithFlags<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.flags.get(name).cloned().or_else(|| self.below.variable(name))
    }

    fn variables(&self) -> Vec<(String, String)> {
        let mut variables = self.below.variables();
        variables.retain(|(name, _)| !self.flags.contains_key(name.as_str()));
        variables.extend(
            self.flags
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        variables
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        self.below.read(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        self.below.is_file(path)
    }
}
