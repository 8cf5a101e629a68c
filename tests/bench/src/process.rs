//! CPU time and memory of a process and its descendants, from `/proc`.
//!
//! CPU is user plus system time. `stat` counts it in ticks of 10 ms, `schedstat` in nanoseconds but
//! only for threads that still live; the finer one is used where no thread ended in between.
//! A process that ends is an error: what it had spent would be lost.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// `USER_HZ` is 100 on every Linux architecture that Rust runs on, whatever the kernel's own tick.
const TICK: Duration = Duration::from_millis(10);

/// A reading at one instant.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    ticks: u64,
    /// Nanoseconds on a CPU, by thread; empty where the kernel keeps no `schedstat`.
    threads: BTreeMap<u32, u64>,
    pub rss_bytes: u64,
}

impl Reading {
    /// Reads `root` and its descendants.
    pub fn take(root: u32) -> io::Result<Self> {
        Self::read(root)
            .map_err(|error| io::Error::new(error.kind(), format!("process {root} cannot be read: {error}")))
    }

    fn read(root: u32) -> io::Result<Self> {
        let mut reading = Self::default();
        for pid in tree(root)? {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            reading.ticks += field(&stat, UTIME)? + field(&stat, STIME)?;
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            reading.rss_bytes += rss_bytes(&status).unwrap_or(0);
            reading.add_threads(pid)?;
        }
        Ok(reading)
    }

    /// CPU time spent between `earlier` and this reading.
    pub fn cpu_since(&self, earlier: &Self) -> Duration {
        let fine =
            !earlier.threads.is_empty() && earlier.threads.keys().all(|thread| self.threads.contains_key(thread));
        if fine {
            let total = |reading: &Self| reading.threads.values().sum::<u64>();
            return Duration::from_nanos(total(self).saturating_sub(total(earlier)));
        }
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn add_threads(&mut self, pid: u32) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let Some(thread) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end between the listing and the reading.
            let Ok(schedstat) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")) else {
                continue;
            };
            if let Some(ns) = schedstat.split(' ').next().and_then(|word| word.parse().ok()) {
                self.threads.insert(thread, ns);
            }
        }
        Ok(())
    }
}

// Places in /proc/PID/stat, counted from the state, the first field after the name (proc(5)).
const PARENT: usize = 1;
const UTIME: usize = 11;
const STIME: usize = 12;

/// `root`, its children, their children, and so on.
fn tree(root: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // Processes of others come and go while we look.
        if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
            parents.push((pid, field(&stat, PARENT)?));
        }
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = parents.iter().filter(|(_, of)| *of == u64::from(parent));
        found.extend(children.map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(found)
}

/// The name, in parentheses, may hold spaces and parentheses: count from the last one.
fn field(stat: &str, place: usize) -> io::Result<u64> {
    stat.rsplit_once(") ")
        .and_then(|(_, rest)| rest.split(' ').nth(place)?.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected /proc/PID/stat"))
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_busy_thread_costs_what_the_clock_says() {
        let before = Reading::take(std::process::id()).expect("we exist");
        let start = Instant::now();
        let mut sum = 0_u64;
        while start.elapsed() < Duration::from_millis(150) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let after = Reading::take(std::process::id()).expect("we exist");
        let cpu = after.cpu_since(&before);
        // Other work on the machine may halve our share; nothing but idleness gives less than a tenth.
        assert!(cpu > Duration::from_millis(15), "{cpu:?}");
        assert!(after.rss_bytes > 100_000);
    }

    #[test]
    fn children_are_counted_and_the_dead_are_an_error() {
        let mut child = Command::new("sleep")
            .arg("30")
            .stdin(Stdio::null())
            .spawn()
            .expect("sleep runs");
        let found = tree(std::process::id()).expect("/proc is there");
        let contains = found.contains(&child.id());
        child.kill().expect("it was running");
        child.wait().expect("it was killed");
        assert!(contains);
        assert!(Reading::take(child.id()).is_err());
    }

    #[test]
    fn ticks_serve_when_a_thread_ended() {
        let reading = |ticks, threads: &[(u32, u64)]| Reading {
            ticks,
            threads: threads.iter().copied().collect(),
            rss_bytes: 0,
        };
        let earlier = reading(100, &[(1, 5_000), (2, 7_000)]);
        assert_eq!(reading(130, &[(1, 6_000)]).cpu_since(&earlier), TICK * 30);
        let later = reading(130, &[(1, 6_000), (2, 7_500), (3, 100)]);
        assert_eq!(later.cpu_since(&earlier), Duration::from_nanos(1_600));
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) R 3 7 7 0 -1 0 1 2 3 4 11 22 0 0";
        assert_eq!(field(stat, PARENT).expect("a number"), 3);
        assert_eq!(field(stat, UTIME).expect("a number"), 11);
        assert_eq!(field(stat, STIME).expect("a number"), 22);
    }
}
