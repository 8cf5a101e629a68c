//! Evidence of GPUs, collected by a program that the operator names, such as NVIDIA's `nvattest`.
//!
//! We link no vendor's library: the program gets the nonce as an argument and writes the canonical GPU evidence to its
//! standard output. It is started without a shell and without our environment, bounded in time and in bytes, and ended
//! with everything that it started.
//! What it writes is not believed here; the package `attestation` verifies it, and claims name its digest.

#[cfg(unix)]
mod group;

use std::{
    ffi::OsString,
    io::{self, Read as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use attestation::Hex;

/// Stands in an argument for the nonce, in hex.
pub const NONCE: &str = "{nonce}";

/// Of the program's output: eight GPUs with their chains have a tenth of it.
pub const MAX_EVIDENCE: usize = 1024 * 1024;

/// How often a program is asked whether it ended, once it has closed its output.
const PAUSE: Duration = Duration::from_millis(10);

/// The program, its arguments, and how long it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    pub program: OsString,
    pub arguments: Vec<String>,
    pub timeout: Duration,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error("no argument of the command has {NONCE}, so that its evidence could not be fresh")]
    NoNonce,
    #[error("the command '{}' does not start", program.display())]
    Start { program: OsString, source: io::Error },
    #[error("the command wrote nothing, or did not end, within {0:?}")]
    Late(Duration),
    #[error("what the command writes cannot be read")]
    Read(#[source] io::Error),
    #[error("the command wrote more than {MAX_EVIDENCE} bytes")]
    TooLarge,
    #[error("the command failed ({0}); run it by hand to see why")]
    Failed(ExitStatus),
    #[error("the command wrote nothing")]
    Empty,
}

impl Collector {
    /// Blocks until the program ended.
    pub fn collect(&self, nonce: &Hex<32>) -> Result<Vec<u8>, CollectError> {
        let deadline = Instant::now() + self.timeout;
        let late = || CollectError::Late(self.timeout);
        let mut running = self.start(nonce)?;
        let mut output = running.0.stdout.take().ok_or_else(late)?;
        let (tx, rx) = sync_channel(1);
        // Its own thread, for a pipe has no clock. It ends with the pipe, which ends with the program's group.
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let limit = u64::try_from(MAX_EVIDENCE).unwrap_or(u64::MAX).saturating_add(1);
            let read = output.by_ref().take(limit).read_to_end(&mut bytes);
            // Who waited may have gone.
            drop(tx.send(read.map(|_| bytes)));
        });
        let read = match rx.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(read) => read.map_err(CollectError::Read)?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Err(late()),
        };
        if read.len() > MAX_EVIDENCE {
            return Err(CollectError::TooLarge);
        }
        let status = running.end_by(deadline).ok_or_else(late)?;
        if !status.success() {
            return Err(CollectError::Failed(status));
        }
        if read.is_empty() {
            return Err(CollectError::Empty);
        }
        Ok(read)
    }

    fn start(&self, nonce: &Hex<32>) -> Result<Running, CollectError> {
        if !self.arguments.iter().any(|argument| argument.contains(NONCE)) {
            return Err(CollectError::NoNonce);
        }
        let nonce = nonce.to_string();
        let arguments = self.arguments.iter().map(|argument| argument.replace(NONCE, &nonce));
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|source| CollectError::Start {
            program: self.program.clone(),
            source,
        })?;
        Ok(Running(child))
    }
}

/// Ended when it is dropped, with what it started.
struct Running(Child);

impl Running {
    /// Its status, if it ends by then.
    fn end_by(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => pause(),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(unix)]
        group::kill(&self.0);
        // It may have ended; then there is nothing to kill, and `wait` only takes its status.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program that has closed its output ends within moments, and the standard library cannot wait with a clock"
)]
fn pause() {
    thread::sleep(PAUSE);
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const NONCE_OF_TEST: Hex<32> = Hex([0xab; 32]);

    /// What `sh -c script` has to say, the nonce as its first argument.
    fn collect(script: &str, timeout: Duration) -> Result<Vec<u8>, CollectError> {
        let collector = Collector {
            program: "/bin/sh".into(),
            arguments: ["-c", script, "sh", NONCE].map(str::to_owned).to_vec(),
            timeout,
        };
        collector.collect(&NONCE_OF_TEST)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_nonce_goes_in_and_evidence_comes_out() {
        let evidence = collect("printf %s \"$1\"", LONG).expect("it writes");
        assert_eq!(evidence, "ab".repeat(32).as_bytes());
    }

    #[test]
    fn our_environment_stays_ours() {
        let seen = collect("env; echo end", LONG).expect("it writes");
        let seen = String::from_utf8_lossy(&seen);
        assert!(!seen.contains("CARGO") && !seen.contains("HOME="), "{seen}");
        assert!(seen.ends_with("end\n"), "{seen}");
    }

    #[test]
    fn failures_have_names() {
        assert!(matches!(collect("exit 3", LONG), Err(CollectError::Failed(status)) if status.code() == Some(3)));
        assert!(matches!(collect("echo x; exit 1", LONG), Err(CollectError::Failed(_))));
        assert!(matches!(collect("exit 0", LONG), Err(CollectError::Empty)));
        let endless = collect("while :; do echo 0123456789012345678901234567890123456789; done", LONG);
        assert!(matches!(endless, Err(CollectError::TooLarge)));
        let missing = Collector {
            program: "/nonexistent/nvattest".into(),
            arguments: vec![NONCE.to_owned()],
            timeout: LONG,
        };
        assert!(matches!(
            missing.collect(&NONCE_OF_TEST),
            Err(CollectError::Start { .. })
        ));
        let stale = Collector {
            arguments: vec!["--nonce".to_owned()],
            ..missing
        };
        assert!(matches!(stale.collect(&NONCE_OF_TEST), Err(CollectError::NoNonce)));
    }

    #[test]
    fn who_is_late_ends_with_what_they_started() {
        // What the program started holds a pipe of ours, which ends when the last of its holders has.
        let folder = crate::testing::Folder::new();
        let pipe = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().expect("mkfifo starts");
        assert!(made.success());
        let script = format!(
            "exec 3>{}; echo held >&3; sleep 1000 & sleep 1000 & wait",
            pipe.display()
        );
        thread::scope(|threads| {
            let held = threads.spawn(|| std::fs::read_to_string(&pipe));
            let late = collect(&script, Duration::from_secs(2));
            assert!(matches!(late, Err(CollectError::Late(_))), "{late:?}");
            // Had the program not come so far, the reader would wait for somebody to open the pipe: both ways never waits.
            drop(std::fs::File::options().read(true).write(true).open(&pipe));
            let held = held.join().expect("it ends").expect("it is text");
            assert_eq!(held, "held\n", "the program came so far");
        });
    }

    #[test]
    fn a_program_that_closes_its_output_and_stays_is_late() {
        let late = collect("echo x; exec >&-; sleep 1000", Duration::from_millis(300));
        assert!(matches!(late, Err(CollectError::Late(_))), "{late:?}");
    }
}
