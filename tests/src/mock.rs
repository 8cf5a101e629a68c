//! The scripted upstream as a process: `mulberry mock`.

use std::path::Path;

use serde_json::Value;

use crate::process::{Process, wrapped};
use crate::raw;
use crate::wait::SOON;

/// A running `mulberry mock`.
#[derive(Debug)]
pub struct Mock {
    process: Process,
    address: String,
    key: Option<String>,
}

impl Mock {
    pub(crate) fn start(name: &str, dir: &Path, wrapper: &[&str], flags: &[&str]) -> Self {
        let mut command = wrapped(wrapper);
        command.args(["mock", "--listen", "127.0.0.1:0"]).args(flags);
        let process = Process::start(&mut command, name, dir);
        let Some(address) = process.stdout().wait_for(SOON, listening) else {
            panic!("the mock does not listen:\n{}", process.stderr().text());
        };
        let key = flags.iter().skip_while(|flag| **flag != "--require-key").nth(1);
        Self {
            process,
            address,
            key: key.map(|&key| key.to_owned()),
        }
    }

    /// `http://127.0.0.1:PORT`, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.address.rsplit(':').next().and_then(|port| port.parse().ok());
        port.expect("the mock has said an address")
    }

    /// How many requests named this model, whatever their path; the mode `m` is the model `fault/m`.
    #[must_use]
    pub fn count(&self, mode: &str) -> u64 {
        let counts = self.ask("/_counts");
        let counts = counts.as_object().expect("/_counts is an object");
        let is_of_model = |key: &str| {
            let model = key.splitn(3, ' ').nth(2).unwrap_or_default();
            model == mode || model.strip_prefix("fault/") == Some(mode)
        };
        let matching = counts.iter().filter(|(key, _)| is_of_model(key));
        matching.filter_map(|(_, count)| count.as_u64()).sum()
    }

    /// The requests that came, the oldest first. Those by which a gateway watches its upstreams are left out.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        match self.ask("/_log") {
            Value::Array(mut entries) => {
                let is_probe = |path: &Value| {
                    let path = path.as_str().unwrap_or_default().split('?').next();
                    matches!(path, Some("/v1/models" | "/v1beta/models" | "/api/version"))
                };
                entries.retain(|entry| !(entry["method"] == "GET" && is_probe(&entry["path"])));
                entries
            }
            other => panic!("/_log is not a list: {other}"),
        }
    }

    /// The one request that came.
    #[must_use]
    pub fn only(&self) -> Value {
        let mut log = self.log();
        assert_eq!(log.len(), 1, "one request was expected: {log:#?}");
        log.remove(0)
    }

    /// Requests whose answer has not ended.
    #[must_use]
    pub fn inflight(&self) -> u64 {
        self.number("/_inflight", "inflight")
    }

    /// Requests whose client left before the end.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.number("/_cancelled", "cancelled")
    }

    /// Forgets what came so far.
    pub fn reset(&self) {
        drop(self.fetch("/_reset"));
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    fn number(&self, path: &str, name: &str) -> u64 {
        let answer = self.ask(path);
        answer[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{path} names no {name}: {answer}"))
    }

    fn ask(&self, path: &str) -> Value {
        let body = self.fetch(path);
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{path} is not JSON: {error}"))
    }

    fn fetch(&self, path: &str) -> Vec<u8> {
        raw::get(&self.address, path, self.key.as_deref())
    }
}

/// The address in the line `listening ADDR`.
pub(crate) fn listening(output: &str) -> Option<String> {
    let whole_lines = output.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let mut addresses = whole_lines.filter_map(|line| line.trim_end().strip_prefix("listening "));
    addresses.next().map(str::to_owned)
}
