//! `mulberry simulated-chain`: a chain of TON in a folder, for development.

use backends::serve::BoxError;
use billing_ton::address;

use tokio::net::TcpListener;

use super::place::write;
use crate::{
    chain_source::simulated,
    cli::simulated_chain::{SimulatedChainArgs, SimulatedChainCommand},
    config::Timestamp,
    signal::Signals,
};

pub(super) async fn run(args: SimulatedChainArgs) -> Result<(), BoxError> {
    let chain = simulated(&args.folder, args.network)?;
    match args.command {
        SimulatedChainCommand::Serve { listen } => {
            let mut signals = Signals::install()?;
            let listener = TcpListener::bind(listen).await?;
            let address = listener.local_addr()?;
            write(&format!(
                "a simulated chain, whose coins are worth nothing, listens: --chain http://{address}/api/v2\n"
            ))?;
            billing_ton_sim::http::serve(listener, chain, async move { signals.next().await }).await;
            Ok(())
        }
        SimulatedChainCommand::Fund { address, amount } => {
            let account = address::parse(&address, args.network)?;
            chain.fund(account, amount)?;
            write(&format!(
                "{amount} GRAM (TON) that are worth nothing were given to {account}\n"
            ))
        }
        SimulatedChainCommand::Advance { seconds } => {
            chain.advance(seconds)?;
            let now = Timestamp::from_unix_seconds(chain.now().into());
            write(&format!("the chain's clock says {now}\n"))
        }
    }
}
