//! Where log lines go: standard error, as text or JSON, from the configured level on.

use std::panic::PanicHookInfo;

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
    std::panic::set_hook(Box::new(tell_place));
}

/// The place only: a panic's text may hold what it choked on, and the standard hook would print it.
fn tell_place(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    tracing::error!(place, "panic");
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        panic::AssertUnwindSafe,
        sync::{Arc, Mutex, PoisonError},
    };

    use backends::serve::{BoxError, Serve};
    use futures_util::FutureExt;
    use tower_layer::Layer;

    use super::*;
    use crate::{layers::catch_panic::CatchPanicLayer, rescue::rescue};

    const CANARY: &str = "quixotic-canary-7f3a";

    struct Panics;

    impl Serve<String> for Panics {
        type Response = ();

        async fn call(&self, prompt: String) -> Result<(), BoxError> {
            panic!("choked on {prompt}");
        }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_tells_its_place_and_not_what_it_choked_on() {
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false);
        let standard = std::panic::take_hook();
        std::panic::set_hook(Box::new(tell_place));
        let error = tracing::subscriber::with_default(tracing_subscriber::registry().with(log), || {
            let layer = CatchPanicLayer.layer(Panics);
            let call = layer.call(CANARY.to_owned());
            AssertUnwindSafe(call)
                .now_or_never()
                .expect("it does not wait")
                .expect_err("it panicked")
        });
        std::panic::set_hook(standard);

        let log = String::from_utf8_lossy(&lines.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        assert!(log.contains("panic") && log.contains("logging.rs"), "{log}");
        let answer = String::from_utf8_lossy(&rescue(&error).body.to_json()).into_owned();
        let chain = crate::layers::rescue::Chain(&*error).to_string();
        for told in [&log, &answer, &chain] {
            assert!(!told.contains(CANARY), "{told}");
        }
    }
}
