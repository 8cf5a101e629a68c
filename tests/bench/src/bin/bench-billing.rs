//! `bench-billing`: what the ledger can do on this machine; prints one table. See `bench::captures`.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use bench::captures::{Place, durable, in_memory};
use billing::JournalKind;
use billing_store::Location;
use clap::Parser;
use test_postgres::{Server, Settings};

#[derive(Parser)]
#[command(about = "Holds and captures in memory, and durable captures on SQLite and PostgreSQL")]
struct Arguments {
    /// How long each figure is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many requests end at the same time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 512])]
    enders: Vec<usize>,
    /// Where the files of SQLite lie while it runs; a folder on the disk that is meant.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments = Arguments::parse();
    let time = Duration::from_secs(arguments.seconds);
    let mut out = io::stdout();
    let pairs = in_memory(time)?.pairs_a_second;
    writeln!(
        out,
        "in memory: {pairs:.0} holds with their captures for each second of one core\n"
    )?;
    writeln!(
        out,
        "| durable in | enders | captures/s | in one commit | p50 ms | p99 ms |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
    let folder = arguments.folder.join(format!("bench-billing-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    // One that commits as in production: fsync on.
    let server = Server::start(Settings::durable());
    let mut places = vec![
        (
            "SQLite",
            Place::ledger(&Location::from(folder.join("ledger.db")), JournalKind::Direct).await?,
        ),
        ("journal of a node", Place::journal(&folder.join("journal.db")).await?),
    ];
    if let Some(server) = &server {
        let location = Location::Postgres(server.database().parse()?);
        places.push(("PostgreSQL", Place::ledger(&location, JournalKind::Direct).await?));
    }
    for (name, mut place) in places {
        for enders in &arguments.enders {
            let (figures, again) = durable(place, *enders, time).await?;
            place = again;
            let ms = |wait: Duration| wait.as_secs_f64() * 1000.0;
            writeln!(
                out,
                "| {name} | {enders} | {:.0} | {:.1} | {:.2} | {:.2} |",
                figures.captures_a_second,
                figures.group,
                ms(figures.p50),
                ms(figures.p99)
            )?;
        }
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
