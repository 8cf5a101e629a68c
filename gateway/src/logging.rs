//! Where log lines go: standard error, as text or JSON, from the configured level on.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat, LogLevel};

pub(crate) fn install(config: &Log) {
    let level = match config.level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Only our own lines below warnings: what libraries print at debug and trace may hold headers and bodies.
    let mut filter = Targets::new().with_default(level.min(LevelFilter::WARN));
    for package in ["mulberry", "backends", "backends_mock", "billing_store"] {
        filter = filter.with_target(package, level);
    }
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    // Installed once, by `main`'s one command; a second would be ignored.
    let installed = match config.format {
        LogFormat::Text => registry
            .with(lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())))
            .try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    };
    if installed.is_err() {
        tracing::debug!("the log was installed before");
    }
    std::panic::set_hook(Box::new(|panic| {
        // The place only: a panic's text may hold what it choked on.
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic");
    }));
}
