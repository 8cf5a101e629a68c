//! One server: started, paused, stopped, killed, started again.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};
use std::{iter, process};

use crate::binaries::Binaries;

/// Ends the server and removes its folder when its standard input ends, which it does when the test process is gone.
/// A paused server is woken first; it would not hear that it is to end.
const UNDERTAKER: &str = r#"
read -r _
pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
  kill -CONT "$pid" $(pgrep -P "$pid") 2>/dev/null
  kill -QUIT "$pid" 2>/dev/null
  for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$0"
"#;

/// Who may connect how: one user needs a password, so that refusals can be tested.
const ACCESS: &str = "\
host  all guarded 127.0.0.1/32 scram-sha-256
local all all                  trust
host  all all     127.0.0.1/32 trust
host  replication all 127.0.0.1/32 trust
";

/// Times that a free port may turn out to be taken after all.
const ATTEMPTS: u32 = 5;

/// How long the processes of a killed server may stay in the way of its next start.
const BURIAL: Duration = Duration::from_secs(20);

/// How a server is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether commits reach the disk before they are answered. Only a power cut could tell, so most tests save the time.
    pub fsync: bool,
    /// More lines for `postgresql.conf`.
    pub more: String,
}

impl Settings {
    #[must_use]
    pub fn quick() -> Self {
        Self {
            fsync: false,
            more: String::new(),
        }
    }

    #[must_use]
    pub fn durable() -> Self {
        Self {
            fsync: true,
            more: String::new(),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    folder: PathBuf,
    port: u16,
    /// Ends the server when it is dropped or this process ends.
    undertaker: Child,
    databases: AtomicU32,
}

impl Server {
    /// The one of all tests of this process. `None`, and a line that says so, where the machine has no PostgreSQL.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Settings::quick())).as_ref()
    }

    /// One for a test alone. `None`, and a line that says so, where the machine has no PostgreSQL.
    #[must_use]
    pub fn start(settings: Settings) -> Option<Self> {
        let mut server = Self::prepare()?;
        server.create(&settings);
        server.up();
        server.sql("postgres", "CREATE ROLE guarded LOGIN PASSWORD 'secret'");
        Some(server)
    }

    /// An empty folder, and who will remove it.
    fn prepare() -> Option<Self> {
        let Some(binaries) = Binaries::find() else {
            skip();
            return None;
        };
        let folder = folder();
        binaries.hand_over(&folder);
        let undertaker = Command::new("sh")
            .args(["-c", UNDERTAKER])
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every machine that we test on has a shell");
        Some(Self {
            binaries,
            folder,
            port: 0,
            undertaker,
            databases: AtomicU32::new(0),
        })
    }

    /// Starts it on a port that nobody has.
    fn up(&mut self) {
        for attempt in 1.. {
            self.port = free_port();
            if self.try_up() {
                return;
            }
            assert!(attempt < ATTEMPTS, "PostgreSQL does not start:\n{}", self.log());
        }
    }

    /// A copy of another server that follows it and only reads.
    #[must_use]
    pub fn start_standby_of(primary: &Self) -> Option<Self> {
        let mut server = Self::prepare()?;
        let mut command = server.binaries.command("pg_basebackup");
        command
            .args([
                "--no-sync",
                "--checkpoint=fast",
                "--write-recovery-conf",
                "--wal-method=stream",
            ])
            .args(["--dbname", &primary.url("postgres")])
            .arg("--pgdata")
            .arg(server.data());
        run(&mut command, "pg_basebackup");
        server.append(
            "postgresql.conf",
            &format!("unix_socket_directories = '{}'\n", server.folder.display()),
        );
        server.up();
        Some(server)
    }

    fn create(&self, settings: &Settings) {
        let mut command = self.binaries.command("initdb");
        command
            .args([
                "--no-sync",
                "--username=mulberry",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ])
            .arg("--pgdata")
            .arg(self.data());
        run(&mut command, "initdb");
        let fsync = if settings.fsync { "on" } else { "off" };
        // Many tests at once, each with several pools.
        let lines = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = {fsync}\nmax_connections = 400\n\
             shared_buffers = 32MB\nautovacuum_naptime = 10s\n{}\n",
            self.folder.display(),
            settings.more
        );
        self.append("postgresql.conf", &lines);
        fs::write(self.data().join("pg_hba.conf"), ACCESS).expect("initdb made it");
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(self.data().join(name))
            .expect("a server's folder has it");
        file.write_all(text.as_bytes()).expect("the disk has room");
    }

    /// The URL of a new, empty database.
    #[must_use]
    pub fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// The URL of a database by its name.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://mulberry@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database as `guarded` would connect.
    #[must_use]
    pub fn guarded_url(&self, database: &str, password: &str) -> String {
        format!("postgres://guarded:{password}@127.0.0.1:{}/{database}", self.port)
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What statements answer, a row a line, columns between `|`.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let mut command = self.binaries.command("psql");
        command
            .args([
                "--no-psqlrc",
                "--quiet",
                "--no-align",
                "--tuples-only",
                "--set=ON_ERROR_STOP=1",
            ])
            .args(["--dbname", &self.url(database), "--command", statements]);
        run(&mut command, "psql")
    }

    /// One of PostgreSQL's own programs, such as `pg_dump`.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.binaries.path(name));
        command.current_dir("/");
        command
    }

    /// Nothing of it runs any more, connections stay open and answer nothing, until [`Server::resume`].
    pub fn pause(&self) {
        // The parent first, so that no child is born that we do not know.
        self.signal_all("STOP");
    }

    pub fn resume(&self) {
        self.signal_all("CONT");
    }

    /// Ends it in order: connections are cut, nothing is lost.
    pub fn stop(&self) {
        let mut command = self.control("stop");
        command.args(["--mode=fast", "--wait"]);
        run(&mut command, "pg_ctl stop");
    }

    /// Ends every process of it at once, as a power cut would.
    pub fn kill(&self) {
        self.signal_all("KILL");
        // What follows must not meet a process that is about to end.
        let pid = self.pid();
        let gone = || pid.is_none_or(|pid| !Path::new(&format!("/proc/{pid}")).exists() || is_zombie(pid));
        while !gone() {
            std::thread::yield_now();
        }
    }

    /// Starts it again on the same port.
    ///
    /// A killed one is in PostgreSQL's way until the system has buried it, which takes a moment on a busy machine.
    pub fn start_again(&self) {
        let begin = Instant::now();
        while !self.try_up() {
            assert!(
                begin.elapsed() < BURIAL,
                "PostgreSQL does not start again:\n{}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn try_up(&self) -> bool {
        let mut command = self.control("start");
        command
            .arg("--wait")
            .arg("--log")
            .arg(self.folder.join("log"))
            .args(["--options", &format!("-p {}", self.port)]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("pg_ctl is there").success()
    }

    fn control(&self, what: &str) -> Command {
        let mut command = self.binaries.command("pg_ctl");
        command.arg(what).arg("--pgdata").arg(self.data());
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Of the parent of all its processes.
    fn pid(&self) -> Option<u32> {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    fn signal_all(&self, signal: &str) {
        let pid = self.pid().expect("it runs").to_string();
        send(signal, [pid.as_str()]);
        let children = Command::new("pgrep").args(["-P", &pid]).output();
        let children = children.expect("every machine that we test on has pgrep").stdout;
        let children = String::from_utf8(children).expect("numbers are ASCII");
        send(signal, children.split_whitespace());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.undertaker.stdin.take());
        // Whatever it says, there is nothing more to do.
        drop(self.undertaker.wait());
    }
}

/// A process may have ended before it is told to.
fn send<'a>(signal: &str, pids: impl IntoIterator<Item = &'a str>) {
    let mut command = Command::new("kill");
    command.args(["-s", signal]).args(pids).stderr(Stdio::null());
    drop(command.status());
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

fn run(command: &mut Command, what: &str) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{what} cannot be started: {error}"));
    assert!(
        output.status.success(),
        "{what} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Short, for the path of a socket lies in it and has at most 107 bytes.
fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // One of the same process id, which was killed, may have left what it had.
    let now = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let folder = std::env::temp_dir().join(format!("mulberry-pg-{}-{number}-{now:x}", process::id()));
    fs::create_dir(&folder).expect("the temporary folder is writable and the name is new");
    folder
}

/// Below those that the system gives to whoever asks for any, for a server that was stopped takes its own again.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut ports = iter::repeat_with(|| {
        let number = process::id()
            .wrapping_mul(101)
            .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        20_000 + u16::try_from(number % 12_000).expect("is small")
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.by_ref().take(1000).find(is_free).expect("there are free ports")
}

/// Once a process, and past the harness, which shows nothing of a test that passes.
fn skip() {
    static SAID: OnceLock<()> = OnceLock::new();
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests are started by a shell, and know no configuration"
    )]
    let required = std::env::var_os("MULBERRY_TEST_POSTGRES").is_some_and(|word| word == "required");
    assert!(
        !required,
        "there is no PostgreSQL on this machine, and MULBERRY_TEST_POSTGRES=required: run tests/setup/system"
    );
    SAID.get_or_init(|| {
        let line = "postgres: skipped: there is no PostgreSQL on this machine (tests/setup/system installs it)\n";
        // A test whose words nobody reads has still passed.
        drop(std::io::stderr().write_all(line.as_bytes()));
    });
}
