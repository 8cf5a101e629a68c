//! Alarm: what a person should look at goes to the log, and to a command of theirs.
//!
//! The command is run by `/bin/sh`, one at a time, and is killed when it takes too long. It gets what happened as JSON on
//! its standard input, and in two variables.

use std::{
    io::{self, Write as _},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tokio::{sync::mpsc, time::Instant};

use super::board::Board;

/// Alerts that wait for the command; what is beyond is in the log alone.
const QUEUE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN: Duration = Duration::from_millis(50);

/// Something to look at.
#[derive(Clone, Debug)]
pub(super) struct Alert {
    /// One word, for programs.
    pub(super) code: &'static str,
    /// A sentence, for people.
    pub(super) text: String,
    /// The channel that it is about.
    pub(super) channel: Option<String>,
}

/// Where alerts go. Without a command, nowhere but the log.
#[derive(Clone, Debug)]
pub(super) struct Alarm(Option<mpsc::Sender<Alert>>);

impl Alarm {
    /// Runs the command until all clones are dropped.
    pub(super) fn new(command: Option<String>) -> Self {
        let Some(command) = command else { return Self(None) };
        let (give, mut alerts) = mpsc::channel::<Alert>(QUEUE);
        tokio::spawn(async move {
            while let Some(alert) = alerts.recv().await {
                if let Err(error) = run(&command, &alert).await {
                    tracing::warn!(code = alert.code, %error, "the alert command failed");
                }
            }
        });
        Self(Some(give))
    }

    /// To the log, and to the command where there is one. Never waits.
    pub(super) fn sound(&self, board: &Board, alert: Alert) {
        board.alerts.inc();
        tracing::warn!(
            code = alert.code,
            channel = alert.channel,
            text = alert.text,
            "look at this"
        );
        let Some(give) = &self.0 else { return };
        let code = alert.code;
        if give.try_send(alert).is_err() {
            tracing::warn!(code, "the alert command is too slow, so it is not told of this");
        }
    }
}

async fn run(command: &str, alert: &Alert) -> io::Result<()> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env("MULBERRY_ALERT", alert.code)
        .env("MULBERRY_ALERT_TEXT", &alert.text)
        // Not for a program that is told of money.
        .env_remove("MULBERRY_WALLET_PASSPHRASE")
        .env_remove("MULBERRY_CHAIN_API_KEY")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let document = json!({ "code": alert.code, "text": alert.text, "channel": alert.channel });
    if let Some(mut stdin) = child.stdin.take() {
        // Far less than a pipe holds, so that this waits for nobody; one that does not read it has the variables.
        drop(stdin.write_all(format!("{document}\n").as_bytes()));
    }
    let outcome = ended(&mut child).await;
    if outcome.is_err() {
        drop(child.kill());
        drop(child.wait());
    }
    outcome
}

async fn ended(child: &mut Child) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(format!("it ended with {status}"))),
            None if Instant::now() >= until => return Err(io::ErrorKind::TimedOut.into()),
            None => tokio::time::sleep(BETWEEN).await,
        }
    }
}
