//! A real llama.cpp server with a tiny model, through `tests/upstreams/serve.py`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::mock::listening;
use crate::process::{Process, python};
use crate::raw;
use crate::wait::SOON;

/// A running llama.cpp server.
#[derive(Debug)]
pub struct Llama {
    process: Process,
    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub url: String,
    address: String,
    key: Option<String>,
}

impl Llama {
    pub(crate) fn start(name: &str, dir: &Path, model: &str, key: Option<&str>) -> Self {
        let mut command = Command::new(python());
        command
            .arg(tests().join("upstreams/serve.py"))
            .args(["--model", model, "--port", "0"]);
        if let Some(key) = key {
            command.args(["--api-key", key]);
        }
        let process = Process::start(&mut command, name, dir);
        let Some(address) = process.stdout().wait_for(2 * SOON, listening) else {
            panic!("llama.cpp does not listen:\n{}", process.stderr().text());
        };
        Self {
            process,
            url: format!("http://{address}"),
            address,
            key: key.map(str::to_owned),
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The slots as the server tells them; `is_processing` says whether one is at work.
    #[must_use]
    pub fn slots(&self) -> Vec<Value> {
        let body = raw::get(&self.address, "/slots", self.key.as_deref());
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("/slots is not a list: {error}"))
    }

    /// How many slots are at work.
    #[must_use]
    pub fn busy(&self) -> usize {
        let slots = self.slots();
        slots.iter().filter(|slot| slot["is_processing"] == true).count()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// This package's folder.
fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
