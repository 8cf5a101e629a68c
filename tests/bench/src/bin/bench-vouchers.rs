//! `bench-vouchers`: what a voucher costs on this machine; prints two tables. See `bench::vouchers`.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use bench::vouchers::{Durable, in_frames, in_ledger, on_one_core};
use billing_store::Location;
use clap::Parser;
use test_postgres::{Server, Settings};

/// How many are made durable at a time, or raised by as many tasks.
const AT_ONCE: u8 = 64;

#[derive(Parser)]
#[command(about = "Vouchers signed, verified and made durable, a second, with the ratios of one run")]
struct Arguments {
    /// How long each figure is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Where the files lie while it runs; a folder on the disk that is meant.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments = Arguments::parse();
    let time = Duration::from_secs(arguments.seconds);
    let mut out = io::stdout();
    writeln!(out, "| one core | a second | us each | times a signature |")?;
    writeln!(out, "|---|---:|---:|---:|")?;
    let rates = on_one_core(time)?;
    let signing = rates.first().map_or(1.0, |rate| rate.a_second);
    for rate in &rates {
        let (us, times) = (1e6 / rate.a_second, signing / rate.a_second);
        writeln!(out, "| {} | {:.0} | {us:.1} | {times:.2} |", rate.what, rate.a_second)?;
    }
    writeln!(
        out,
        "\n| durable in | at once | vouchers/s | p50 ms | p99 ms | to one at a time |"
    )?;
    writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
    let folder = arguments.folder.join(format!("bench-vouchers-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    // One that commits as in production: fsync on.
    let server = Server::start(Settings::durable());
    let mut ledgers = vec![("SQLite", Location::from(folder.join("ledger.db")))];
    if let Some(server) = &server {
        ledgers.push(("PostgreSQL", Location::Postgres(server.database().parse()?)));
    }
    let frames = (in_frames(&folder, 1, time)?, in_frames(&folder, AT_ONCE.into(), time)?);
    pair(&mut out, "a journal of frames", frames)?;
    for (name, location) in ledgers {
        let raised = (
            in_ledger(&location, 1, time).await?,
            in_ledger(&location, AT_ONCE, time).await?,
        );
        pair(&mut out, name, raised)?;
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn pair(out: &mut impl Write, name: &str, (one, many): (Durable, Durable)) -> io::Result<()> {
    for (at_once, durable) in [(1, one), (AT_ONCE, many)] {
        let ms = |wait: Duration| wait.as_secs_f64() * 1000.0;
        writeln!(
            out,
            "| {name} | {at_once} | {:.0} | {:.2} | {:.2} | {:.1} |",
            durable.a_second,
            ms(durable.p50),
            ms(durable.p99),
            durable.a_second / one.a_second
        )?;
    }
    Ok(())
}
