//! A chain to point a wallet, a script or a node at: `cargo run -p billing-ton-sim --example chain -- [FOLDER] [PORT]`.
//!
//! Without a folder it ends with the process; without a port it takes a free one. It prints where it listens, and runs until
//! Ctrl-C or SIGTERM. With the feature `lite-server` it is a lite-server too, on a free port, and prints that and its key.

use std::io::Write;
use std::path::Path;

use billing_ton_sim::{Settings, Simulated, http};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().filter(|folder| !folder.is_empty());
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let settings = Settings::for_development();
    let chain = match folder {
        Some(folder) => Simulated::open(Path::new(&folder), settings)?,
        None => Simulated::in_memory(settings)?,
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    writeln!(std::io::stdout(), "http://{}/api/v2/jsonRPC", listener.local_addr()?)?;
    #[cfg(feature = "lite-server")]
    lite_server(chain.clone()).await?;
    let mut terminated = signal(SignalKind::terminate())?;
    let stopped = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    http::serve(listener, chain, stopped).await;
    Ok(())
}

/// Ends with the process.
#[cfg(feature = "lite-server")]
async fn lite_server(chain: Simulated) -> Result<(), Box<dyn std::error::Error>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use billing_ton::lite::adnl::ServerKey;
    use billing_ton_sim::lite;

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    // Nobody who knows it can harm a chain that is worth nothing.
    let key = ServerKey::from_seed(&[7; 32]);
    let (at, public) = (listener.local_addr()?, STANDARD.encode(key.public()));
    writeln!(std::io::stdout(), "lite-server {at} {public}")?;
    tokio::spawn(lite::serve(
        listener,
        lite::Front::new(chain),
        key,
        std::future::pending(),
    ));
    Ok(())
}
