//! A chain to point a wallet, a script or a node at: `cargo run -p billing-ton-sim --example chain -- [FOLDER] [PORT]`.
//!
//! Without a folder it ends with the process; without a port it takes a free one. It prints where it listens, and runs until
//! Ctrl-C or SIGTERM.

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
