//! `mulberry mock`

use std::{io::Write, time::Duration};

use backends::serve::BoxError;
use backends_mock::{Config as MockConfig, HostileH2};

use crate::{cli::MockArgs, config, listener, logging, signal::Signals};

#[derive(Debug, thiserror::Error)]
#[error("there is no kind '{given}' of hostile HTTP/2; the kinds are {known}")]
struct UnknownKind {
    given: String,
    known: String,
}

pub(super) async fn run(args: MockArgs) -> Result<(), BoxError> {
    if args.modes {
        let mut text = String::new();
        for (mode, description) in backends_mock::modes() {
            text.push_str(&format!("{mode:24} {description}\n"));
        }
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    logging::install(&config::Log {
        level: config::LogLevel::Info,
        format: config::LogFormat::Text,
        requests: false,
    });
    let listener = listener::bind(args.listen)?;
    let address = listener.local_addr()?;
    let mut signals = Signals::install()?;
    writeln!(std::io::stdout(), "listening {address}")?;
    if let Some(kind) = &args.hostile_h2 {
        let kind = HostileH2::named(kind).ok_or_else(|| UnknownKind {
            given: kind.clone(),
            known: HostileH2::ALL
                .iter()
                .map(|(name, ..)| *name)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        tokio::select! {
            ended = backends_mock::hostile_h2(listener, kind) => ended?,
            () = signals.next() => {}
        }
        return Ok(());
    }
    let config = MockConfig {
        models: args.model,
        chunk_delay: Duration::from_millis(args.chunk_delay),
        require_key: args.require_key,
    };
    backends_mock::serve(listener, config, signals.next()).await?;
    Ok(())
}
