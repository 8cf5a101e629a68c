//! A process of a test's world: its output is kept, and it ends with its guard.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::{clocks, wait::eventually};

/// The binary under test.
///
/// `MULBERRY_BIN` names it; otherwise it is what cargo built beside the tests.
#[must_use]
pub fn mulberry() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests are started by a shell, and know no configuration"
    )]
    let named = std::env::var_os("MULBERRY_BIN");
    if let Some(path) = named {
        return path.into();
    }
    let test = std::env::current_exe().expect("the system knows where the test's executable is");
    // target/<profile>/deps/e2e-<hash>
    let beside = test.ancestors().nth(2).map(|profile| profile.join("mulberry"));
    beside
        .filter(|path| path.is_file())
        .expect("the binary `mulberry` is not built: run tests/run, or name one with MULBERRY_BIN")
}

/// Runs a command to its end on this input; gives its status and all that it said.
#[must_use]
pub fn fed(command: &mut Command, input: &str) -> process::Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("it was asked for above");
    // A command that refuses its flags reads nothing.
    drop(stdin.write_all(input.as_bytes()));
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// The binary, run by these words, if there are any: `ip netns exec NAME`.
pub(crate) fn wrapped(wrapper: &[&str]) -> Command {
    match wrapper {
        [] => Command::new(mulberry()),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(mulberry());
            command
        }
    }
}

/// The Python of the tests, with what `tests/setup/venv` installs.
#[must_use]
pub fn python() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests are started by a shell, and know no configuration"
    )]
    let named = std::env::var_os("MULBERRY_TEST_CACHE");
    let cache = named.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache"), PathBuf::from);
    let python = cache.join("venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing: run tests/run, which installs it",
        python.display()
    );
    python
}

/// How long the last lines of a process that has ended are waited for.
const LAST_LINES: Duration = Duration::from_secs(2);

/// A running process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
}

impl Process {
    /// Starts `command`; its output goes to `<name>.stdout` and `<name>.stderr` in `dir`.
    pub fn start(command: &mut Command, name: &str, dir: &Path) -> Self {
        let mut child = command
            .current_dir(dir)
            .envs(clocks::variables(dir))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdout = child.stdout.take().expect("it was asked for above");
        let stderr = child.stderr.take().expect("it was asked for above");
        Self {
            child,
            name: name.to_owned(),
            stdout: Output::keep(stdout, &dir.join(format!("{name}.stdout"))),
            stderr: Output::keep(stderr, &dir.join(format!("{name}.stderr"))),
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    #[must_use]
    pub fn stdout(&self) -> &Output {
        &self.stdout
    }

    #[must_use]
    pub fn stderr(&self) -> &Output {
        &self.stderr
    }

    /// Sends a signal by its name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status()
            .expect("`kill` is on every system that we test on");
        assert!(sent.success(), "{} could not be sent {name}", self.name);
    }

    /// Waits for the process to end by itself.
    pub async fn wait(&mut self, timeout: Duration) -> ExitStatus {
        let mut status = None;
        let ended = eventually(timeout, || {
            status = self.child.try_wait().expect("a child can be asked about");
            status.is_some()
        });
        let ended = ended.await;
        match status {
            Some(status) if ended => {
                // Its last lines may still be in the pipes; a child of its own may hold these open.
                let _is_read = eventually(LAST_LINES, || self.stdout.is_over() && self.stderr.is_over()).await;
                status
            }
            _ => panic!(
                "{} is still running after {timeout:?}:\n{}",
                self.name,
                self.stderr.text()
            ),
        }
    }

    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked about").is_none()
    }

    /// Blocks until the process has ended by itself, which it is about to.
    pub fn to_end(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("a child can be waited for");
        for output in [&self.stdout, &self.stderr] {
            drop(output.to_end(LAST_LINES));
        }
        status
    }

    /// Ends it without a chance to do anything about it.
    pub fn kill(&mut self) {
        // Only a process that has ended already cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// The memory that the process holds, in KiB (`VmRSS`).
    #[must_use]
    pub fn rss_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("{path} names no VmRSS"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a process has written so far to one of its outputs, as text.
#[derive(Debug, Default)]
pub struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    is_over: bool,
}

impl Output {
    fn keep(source: impl Read + Send + 'static, path: &Path) -> Arc<Self> {
        let output = Arc::new(Self::default());
        let mut file = File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let kept = output.clone();
        thread::spawn(move || {
            let mut lines = BufReader::new(source);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                // A full disk must not stop the process that writes.
                drop(file.write_all(&line));
                kept.state().text.push_str(&String::from_utf8_lossy(&line));
                kept.changed.notify_all();
                line.clear();
            }
            kept.state().is_over = true;
            kept.changed.notify_all();
        });
        output
    }

    #[must_use]
    pub fn text(&self) -> String {
        self.state().text.clone()
    }

    /// Blocks until `find` finds something in what was written; `None` if the output ends or the time does.
    pub fn wait_for<T>(&self, timeout: Duration, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        loop {
            if let Some(found) = find(&state.text) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.is_over || left.is_zero() {
                return None;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Blocks until the output is closed, and gives all of it.
    pub fn to_end(&self, timeout: Duration) -> Option<String> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state();
        while !state.is_over {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state.text.clone())
    }

    /// Whether all of it was read.
    fn is_over(&self) -> bool {
        self.state().is_over
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Text is only ever added, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
