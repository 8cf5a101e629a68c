//! The gateway as a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::process::{Process, mulberry};
use crate::wait::SOON;

/// A running `mulberry serve`.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    name: String,
    dir: PathBuf,
    address: String,
    admin: Option<String>,
    scheme: &'static str,
    /// Whether its records are in PostgreSQL.
    is_on_server: bool,
}

impl Gateway {
    pub(crate) fn start(name: &str, dir: &Path, yaml: &str) -> Self {
        let scheme = if has_key(yaml, "tls") { "https" } else { "http" };
        let mut gateway = Self::listening(spawn(name, dir, yaml), name, dir, scheme);
        gateway.is_on_server = has_key(yaml, "database");
        gateway
    }

    /// Starts it with a file of the world's, as it is, and these variables.
    pub(crate) fn of(name: &str, dir: &Path, file: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(mulberry());
        command.arg("serve").arg("--config").arg(file);
        command.envs(variables.iter().copied());
        Self::listening(Process::start(&mut command, name, dir), name, dir, "http")
    }

    fn listening(process: Process, name: &str, dir: &Path, scheme: &'static str) -> Self {
        let listening = process.stderr().wait_for(SOON, |log| {
            let line = log.lines().find(|line| line.contains("listening"))?;
            Some((field(line, "address")?, field(line, "admin")))
        });
        let Some((address, admin)) = listening else {
            panic!("the gateway does not listen:\n{}", process.stderr().text());
        };
        Self {
            process,
            name: name.to_owned(),
            dir: dir.to_owned(),
            address,
            admin,
            scheme,
            is_on_server: false,
        }
    }

    /// `http://127.0.0.1:PORT`, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    #[must_use]
    pub fn admin_url(&self) -> String {
        let admin = self.admin.as_deref().expect("this gateway has an admin listener");
        format!("http://{admin}")
    }

    /// Where workers connect and the key by which they know it: `KEY@ADDRESS`.
    #[must_use]
    pub fn for_workers(&self) -> String {
        let found = self.process.stderr().wait_for(SOON, |log| {
            let line = log.lines().find(|line| line.contains("listening for workers"))?;
            Some(format!("{}@{}", field(line, "key_sha256")?, field(line, "workers")?))
        });
        found.unwrap_or_else(|| panic!("the gateway does not listen for workers:\n{}", self.log()))
    }

    /// Where `mulberry connect` connects, and the key by which it may know the gateway.
    #[must_use]
    pub fn for_connect(&self) -> (String, String) {
        let found = self.process.stderr().wait_for(SOON, |log| {
            let line = log
                .lines()
                .find(|line| line.contains("listening for mulberry connect"))?;
            Some((field(line, "attested")?, field(line, "key_sha256")?))
        });
        found.unwrap_or_else(|| panic!("the gateway does not listen for mulberry connect:\n{}", self.log()))
    }

    /// The address for a bare socket.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
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

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits until the process has ended by itself.
    pub async fn wait(&mut self, timeout: Duration) -> ExitStatus {
        self.process.wait(timeout).await
    }

    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        self.process.rss_kib()
    }

    /// The file that it was started with.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join(format!("{}.yaml", self.name))
    }

    /// Writes its file anew, as an editor does: beside it, then in its place.
    pub fn rewrite(&self, yaml: &str) {
        let next = self.dir.join(format!("{}.next", self.name));
        let written =
            fs::write(&next, complete(yaml, &self.data_dir())).and_then(|()| fs::rename(&next, self.config()));
        written.unwrap_or_else(|error| panic!("{}: {error}", next.display()));
    }

    /// The admin token that it made at its start.
    #[must_use]
    pub fn admin_token(&self) -> String {
        let path = self.data_dir().join("admin.token");
        let token = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        token.trim().to_owned()
    }

    /// A request to its admin API, such as `admin(Method::GET, "status")`, to be given a body and sent.
    pub fn admin(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/admin/v1/{path}", self.admin_url());
        crate::client::client()
            .request(method, url)
            .header("content-type", "application/json")
            .bearer_auth(self.admin_token())
    }

    /// Reads its file again, and waits until that has an outcome.
    pub async fn reload(&self) -> crate::Answer {
        let answer = crate::client::send(self.admin(reqwest::Method::POST, "reload")).await;
        crate::Answer::of(answer).await
    }

    /// The directory of what this gateway writes.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.dir, &self.name)
    }

    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.data_dir().join("mulberry.db")
    }

    /// The records on disk, the latest first, as `mulberry usage --recent` prints them. Records are written some
    /// time after the answer has ended.
    #[must_use]
    pub fn records(&self) -> Vec<String> {
        let mut command = Command::new(mulberry());
        command.args(["usage", "--recent", "10000"]);
        // Only the file says where a server is, for its URL is a secret.
        if self.is_on_server {
            command.arg("--config").arg(self.config());
        } else {
            command.arg("--database").arg(self.database());
        }
        let shown = command.output().expect("the binary has started before");
        let error = String::from_utf8_lossy(&shown.stderr);
        assert!(shown.status.success(), "mulberry usage failed:\n{error}");
        String::from_utf8_lossy(&shown.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// What a gateway says that must not start.
pub(crate) fn refused(name: &str, dir: &Path, yaml: &str) -> String {
    let mut process = spawn(name, dir, yaml);
    let Some(said) = process.stderr().to_end(SOON) else {
        panic!("the gateway started:\n{}", process.stderr().text());
    };
    assert!(!process.to_end().success(), "it ended as if all were well:\n{said}");
    said
}

fn spawn(name: &str, dir: &Path, yaml: &str) -> Process {
    let file = dir.join(format!("{name}.yaml"));
    fs::write(&file, complete(yaml, &data_dir(dir, name)))
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    Process::start(
        Command::new(mulberry()).arg("serve").arg("--config").arg(&file),
        name,
        dir,
    )
}

fn data_dir(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.data"))
}

/// The configuration with what every test needs, behind what it says itself, so that its line numbers stay.
fn complete(yaml: &str, data_dir: &Path) -> String {
    let mut whole = yaml.to_owned();
    if !whole.ends_with('\n') {
        whole.push('\n');
    }
    let data_dir = data_dir.display().to_string();
    for (key, value) in [
        ("listen", "127.0.0.1:0"),
        ("admin_listen", "127.0.0.1:0"),
        ("data_dir", &data_dir),
    ] {
        if !has_key(yaml, key) {
            whole.push_str(&format!("{key}: {value}\n"));
        }
    }
    whole
}

/// Whether a key stands at the outermost level.
fn has_key(yaml: &str, key: &str) -> bool {
    yaml.lines()
        .any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')))
}

/// The value of `name=value`, or of `"name":"value"`, in a line of the log.
fn field(line: &str, name: &str) -> Option<String> {
    if let Some((_, rest)) = line.split_once(&format!("\"{name}\":\"")) {
        return rest.split_once('"').map(|(value, _)| value.to_owned());
    }
    let mut words = line.split_whitespace();
    words
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .map(str::to_owned)
}
