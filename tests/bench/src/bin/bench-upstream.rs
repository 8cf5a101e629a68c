//! `bench-upstream`: the inference server of the bench. See `bench::upstream`.

use std::io::{self, Write};
use std::net::SocketAddr;

use clap::Parser;

#[derive(Parser)]
#[command(about = "A fast mock of an OpenAI-compatible server; says where it listens and serves until killed")]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = bench::upstream::bind(arguments.listen)?;
        let address = listener.local_addr()?;
        writeln!(io::stdout(), "listening on {address}")?;
        bench::upstream::serve(listener).await;
        Ok(())
    })
}
