//! A process with a chain in a folder is killed at any moment: every block that it told of is there afterwards.
//!
//! The process is this program again, as a child; it is not harnessed, so that it has a `main` of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use billing::Nano;
use billing::channel::Account;
use billing_ton::Chain;
use billing_ton_sim::{Settings, Simulated};
use futures_util::FutureExt;

const ROUNDS: usize = 20;
const ACCOUNT: Account = Account {
    workchain: 0,
    hash: [4; 32],
};
const CHILD: &str = "make-blocks-in";

fn settings() -> Settings {
    Settings {
        // Some rounds are killed in the middle of a replacement of the file.
        compact_above_bytes: 20_000,
        ..Settings::for_tests(1)
    }
}

fn main() {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if let [word, folder] = arguments.as_slice()
        && word == CHILD
    {
        return child(Path::new(folder));
    }
    let folder = std::env::temp_dir().join(format!("mulberry-sim-kill9-{}", std::process::id()));
    let mut known = (0, 0);
    for round in 0..ROUNDS {
        let told = run_and_kill(&folder, round * 7 % 40 + 1);
        assert!(told.0 > known.0, "round {round}: nothing new before the end");
        known = told;
        let chain = Simulated::open(&folder, settings()).expect("opened after a kill");
        let (seqno, balance) = state(&chain);
        // The last block may be on the disk and not told.
        assert!(
            seqno >= known.0 && balance >= known.1,
            "round {round}: block {} with {} was told, and {seqno} with {balance} is there",
            known.0,
            known.1
        );
        assert_eq!(
            u64::from(seqno - 1),
            balance,
            "round {round}: each block brought one nanoton"
        );
    }
    std::fs::remove_dir_all(&folder).expect("removed");
    writeln!(std::io::stdout(), "{ROUNDS} kills, {} blocks, none lost", known.0).expect("written");
}

/// Makes blocks until it is killed, and tells of each.
fn child(folder: &Path) {
    let chain = Simulated::open(folder, settings()).expect("opened");
    let mut out = std::io::stdout();
    loop {
        chain.fund(ACCOUNT, Nano::new(1).expect("small")).expect("taken");
        chain.tick().expect("made");
        let (seqno, balance) = state(&chain);
        writeln!(out, "{seqno} {balance}")
            .and_then(|()| out.flush())
            .expect("told");
    }
}

fn state(chain: &Simulated) -> (u32, u64) {
    let state = chain.account(ACCOUNT).now_or_never().expect("ready").expect("answered");
    (state.head.seqno, u64::try_from(state.balance).expect("small"))
}

/// The last that a child told before it was killed, after `lines` lines.
fn run_and_kill(folder: &PathBuf, lines: usize) -> (u32, u64) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg(CHILD)
        .arg(folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut told = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut last = None;
    for _ in 0..lines {
        last = told.next();
    }
    // SIGKILL; what it wrote before is still in the pipe.
    child.kill().expect("killed");
    child.wait().expect("ended");
    let last = told.last().or(last).expect("a line").expect("text");
    let (seqno, balance) = last.split_once(' ').expect("two numbers");
    (seqno.parse().expect("a number"), balance.parse().expect("a number"))
}
