//! `bench-load`: asks, checks, measures; prints one line of JSON a run. See `bench::load`.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bench::load::{self, Asker, Job, Name, Shape};
use bench::question::{Address, Pace, Question};
use bench::run::Run;
use bench::table::Table;
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Load generator of the bench; exits 1 if any answer was wrong")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Unary requests, one after another on every connection.
    Closed {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
    },
    /// Unary requests at a fixed rate.
    Paced {
        #[command(flatten)]
        common: Common,
        /// Requests a second.
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,
    },
    /// Streams, one after another on every connection.
    Streams {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        answer: Answer,
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
    },
    /// Streams opened over the warm-up and held open; memory is read when all are.
    Hold {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        answer: Answer,
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
        connections: u32,
    },
    /// Asks until one answer is right; exits 1 if none is in time.
    Ready {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 15.0, value_parser = seconds)]
        timeout: f64,
    },
    /// Prints the table of many runs; exits 1 if any of their answers was wrong.
    Table {
        /// Lines of JSON, as the other commands print them.
        #[arg(long)]
        runs: PathBuf,
        /// Where to write the table and the runs as one JSON document.
        #[arg(long)]
        json: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Common {
    /// `http://host:port/v1/chat/completions`.
    #[arg(long)]
    url: String,
    #[arg(long, default_value = "mock-model")]
    model: String,
    /// The API key to send, if any.
    #[arg(long, env = "BENCH_API_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The size of a request's body.
    #[arg(long, default_value_t = 700)]
    body: usize,
    /// Seconds before the measured window.
    #[arg(long, default_value_t = 0.5, value_parser = seconds)]
    warm_up: f64,
    /// Seconds of the measured window.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    window: f64,
    /// The proxy's process; its descendants count too.
    #[arg(long)]
    pid: Option<u32>,
    #[arg(long, default_value = "-")]
    scenario: String,
    #[arg(long, default_value = "-")]
    target: String,
    #[arg(long, default_value_t = 0)]
    round: u32,
}

#[derive(Args)]
struct Answer {
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(bench::question::CHUNKS_MAX)))]
    chunks: u32,
    /// Microseconds between chunks; 0 sends them as fast as they go.
    #[arg(long, default_value_t = 0)]
    delay_us: u64,
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody is left to tell if standard error is gone.
            drop(writeln!(io::stderr(), "bench-load: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Says whether all answers were right.
fn execute(command: Command) -> Result<bool, Box<dyn Error>> {
    match command {
        Command::Closed { common, connections } => measure(common, Shape::Closed { connections }, None),
        Command::Paced { common, rate } => measure(common, Shape::Paced { rate }, None),
        Command::Streams {
            common,
            answer,
            connections,
        } => measure(common, Shape::Closed { connections }, Some(answer.pace())),
        Command::Hold {
            common,
            answer,
            connections,
        } => measure(common, Shape::Hold { streams: connections }, Some(answer.pace())),
        Command::Ready { common, timeout } => {
            let (address, question) = common.question(None)?;
            let asker = Asker::new(address, question);
            let patience = Duration::from_secs_f64(timeout);
            let outcome = runtime()?.block_on(load::ready(asker, patience));
            if let Err(last) = &outcome {
                writeln!(io::stderr(), "no right answer in {timeout} s; the last: {last}")?;
            }
            Ok(outcome.is_ok())
        }
        Command::Table { runs, json } => table(&runs, json),
    }
}

fn measure(common: Common, shape: Shape, pace: Option<Pace>) -> Result<bool, Box<dyn Error>> {
    let (address, question) = common.question(pace)?;
    let job = Job {
        address,
        question,
        shape,
        warm_up: Duration::from_secs_f64(common.warm_up),
        window: Duration::from_secs_f64(common.window),
        pid: common.pid,
        name: Name {
            scenario: common.scenario,
            target: common.target,
            round: common.round,
        },
    };
    let run = tokio::task::LocalSet::new().block_on(&runtime()?, load::run(job))?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&run)?)?;
    // A run in which nothing was answered proves nothing.
    Ok(run.errors == 0 && run.chunks + run.requests > 0)
}

fn table(runs: &PathBuf, json: Option<PathBuf>) -> Result<bool, Box<dyn Error>> {
    let text = fs::read_to_string(runs)?;
    let runs = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<Vec<Run>, _>>()?;
    let table = Table::new(&runs);
    write!(io::stdout(), "{}", table.text())?;
    if let Some(path) = json {
        let document = serde_json::json!({ "table": &table, "runs": &runs });
        fs::write(path, format!("{document:#}\n"))?;
    }
    Ok(table.errors == 0 && !runs.is_empty())
}

impl Common {
    fn question(&self, pace: Option<Pace>) -> Result<(Address, Question), Box<dyn Error>> {
        let address = Address::parse(&self.url).ok_or("--url must be http://host:port/path")?;
        let question = Question::new(&address, self.key.as_deref(), &self.model, self.body, pace);
        Ok((address, question))
    }
}

impl Answer {
    fn pace(&self) -> Pace {
        Pace {
            chunks: self.chunks,
            delay_us: self.delay_us,
        }
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds, from 0 to 3600".to_owned()),
    }
}
