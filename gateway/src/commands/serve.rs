//! `mulberry serve`

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use backends::serve::BoxError;

use crate::{
    app::App,
    cli::ServeArgs,
    logging,
    signal::{Hangup, Signals},
    source::{Origin, Source},
};

/// The file that is taken when none is named.
const DEFAULT_FILE: &str = "mulberry.yaml";

#[derive(Debug, thiserror::Error)]
#[error(
    "there is no configuration: name a file with --config, put a {DEFAULT_FILE} here, or start with --backend URL and no file"
)]
pub(crate) struct NoConfig;

pub(super) async fn run(args: ServeArgs) -> Result<(), BoxError> {
    let flags = flags(&args);
    let origin = match args.backend {
        Some(url) => Origin::Backend(url),
        None => Origin::File(file(args.config.config)?),
    };
    serve(Source::new(origin, flags), |_| Ok(())).await
}

/// Runs a gateway until a signal. `announce` is called once it is bound.
pub(super) async fn serve(source: Source, announce: impl FnOnce(&App) -> Result<(), BoxError>) -> Result<(), BoxError> {
    let (mut first, mut second) = (Signals::install()?, Signals::install()?);
    let hurry = async {
        // Both listeners hear the first signal.
        second.next().await;
        second.next().await;
    };
    serve_until(source, announce, first.next(), hurry).await
}

/// The same until `stop` is ready; `hurry` ends what is left.
pub(super) async fn serve_until(
    source: Source,
    announce: impl FnOnce(&App) -> Result<(), BoxError>,
    stop: impl Future<Output = ()>,
    hurry: impl Future<Output = ()>,
) -> Result<(), BoxError> {
    let reading = source.read();
    let loaded = reading.config?;
    logging::install(&loaded.config.log);
    for warning in source.warnings() {
        tracing::warn!(%warning, "the configuration deserves a look");
    }
    // Heard from here on, for a reload may be asked as soon as we say that we listen.
    let hangup = Hangup::install()?;
    let app = App::build(source, loaded, reading.files).await?;
    if let Some(address) = app.address() {
        tracing::info!(%address, admin = app.admin_address().map(tracing::field::display), "listening");
    }
    if let Some((address, key)) = app.workers() {
        tracing::info!(workers = %address, key_sha256 = %key, "listening for workers");
    }
    if let Some((address, key)) = app.attested() {
        tracing::info!(attested = %address, key_sha256 = %key, "listening for mulberry connect");
    }
    announce(&app)?;
    Ok(app.run(hangup, stop, hurry).await?)
}

/// The configuration file that was named, or the one that is here.
pub(super) fn file(named: Option<PathBuf>) -> Result<PathBuf, NoConfig> {
    named
        .or_else(|| Path::new(DEFAULT_FILE).exists().then(|| PathBuf::from(DEFAULT_FILE)))
        .ok_or(NoConfig)
}

/// What the flags say, as the variables of the same meaning: they are checked by the same rules as the file.
fn flags(args: &ServeArgs) -> BTreeMap<&'static str, String> {
    let listen = args.listen.map(|address| ("MULBERRY_LISTEN", address.to_string()));
    let admin = args
        .admin_listen
        .map(|address| ("MULBERRY_ADMIN_LISTEN", address.to_string()));
    listen.into_iter().chain(admin).collect()
}
