//! The sidecar of an app as a process: `mulberry connect`.

use std::path::Path;
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use serde_json::Value;

use crate::client::{Answer, chat, get, request, send};
use crate::process::{Process, mulberry};
use crate::wait::SOON;

/// A running `mulberry connect`.
#[derive(Debug)]
pub struct Connect {
    process: Process,
    address: String,
}

impl Connect {
    pub(crate) fn start(name: &str, dir: &Path, flags: &[&str]) -> Self {
        let process = spawn(name, dir, flags);
        let address = process.stderr().wait_for(SOON, |log| {
            let line = log.lines().find(|line| line.contains("connect starts"))?;
            line.split_whitespace()
                .find_map(|word| word.strip_prefix("address="))
                .map(str::to_owned)
        });
        let Some(address) = address else {
            panic!("mulberry connect does not listen:\n{}", process.stderr().text());
        };
        Self { process, address }
    }

    pub(crate) fn refused(name: &str, dir: &Path, flags: &[&str]) -> String {
        let mut process = spawn(name, dir, flags);
        let Some(said) = process.stderr().to_end(SOON) else {
            panic!("mulberry connect started:\n{}", process.stderr().text());
        };
        assert!(!process.to_end().success(), "it ended as if all were well:\n{said}");
        said
    }

    /// `mulberry connect doctor`, to its end.
    #[must_use]
    pub fn doctor(dir: &Path, flags: &[&str]) -> Output {
        let mut command = Command::new(mulberry());
        command.args(["connect", "doctor"]).args(flags).current_dir(dir);
        command.output().expect("the binary starts")
    }

    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A POST of JSON to `/v1/chat/completions`, to be given headers and sent.
    pub fn request(&self, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        request(&self.url("/v1/chat/completions"), body)
    }

    /// Asks the model for a whole answer.
    pub async fn chat(&self, model: &str) -> Answer {
        Answer::of(send(self.request(chat(model))).await).await
    }

    /// How it stands with the gateway.
    pub async fn status(&self) -> Value {
        Answer::of(get(&self.url("/mulberry/status")).await).await.json()
    }

    /// Waits until it stands so.
    pub async fn stands(&self, standing: &str) -> Value {
        let deadline = std::time::Instant::now() + SOON;
        loop {
            let status = self.status().await;
            if status["standing"] == standing {
                return status;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "not {standing}: {status}\n{}",
                self.log()
            );
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr().text()
    }

    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Ends it as a loss of power would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub async fn wait(&mut self, timeout: Duration) -> ExitStatus {
        self.process.wait(timeout).await
    }
}

fn spawn(name: &str, dir: &Path, flags: &[&str]) -> Process {
    let mut command = Command::new(mulberry());
    command.arg("connect").args(flags);
    if !flags.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    Process::start(&mut command, name, dir)
}
