//! A machine of its own as far as the network goes: a network namespace with one cable to this one. Needs root.

use std::fs;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

/// It ends, with its cable, when this is dropped; its processes are to be gone by then.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    /// Our end of the cable.
    cable: String,
    subnet: String,
}

impl Namespace {
    /// Nothing where this machine does not let us make one, with the reason.
    pub fn new() -> Result<Self, String> {
        static NAMESPACES: AtomicU32 = AtomicU32::new(0);
        let (pid, n) = (process::id(), NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let namespace = Self {
            name: format!("mulberry-{pid}-{n}"),
            // An interface's name has 15 characters at most.
            cable: format!("mb{}n{n}", pid % 1_000_000),
            subnet: format!("10.{}.{}", 64 + pid % 128, (pid / 128 + n) % 250),
        };
        namespace.build()?;
        Ok(namespace)
    }

    fn build(&self) -> Result<(), String> {
        let Self { name, cable, subnet } = self;
        let far = format!("{cable}f");
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {cable} type veth peer name {far} netns {name}"))?;
        ip(&format!("addr add {subnet}.1/24 dev {cable}"))?;
        ip(&format!("link set {cable} up"))?;
        ip(&format!("-n {name} addr add {subnet}.2/24 dev {far}"))?;
        ip(&format!("-n {name} link set {far} up"))?;
        ip(&format!("-n {name} link set lo up"))
    }

    /// What runs a command within.
    #[must_use]
    pub fn wrapper(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }

    /// Our own address, as it is seen from within.
    #[must_use]
    pub fn outside(&self) -> String {
        format!("{}.1", self.subnet)
    }

    /// Takes the cable out: nothing passes any more, and neither end is told.
    pub fn pull(&self) {
        // The end within: that of this side would take our address away with it.
        let down = ip(&format!("-n {} link set {}f down", self.name, self.cable));
        down.unwrap_or_else(|error| panic!("the cable stays: {error}"));
    }

    pub fn plug(&self) {
        let up = ip(&format!("-n {} link set {}f up", self.name, self.cable));
        up.unwrap_or_else(|error| panic!("the cable stays out: {error}"));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The cable goes with it. What is left behind fails no test.
        drop(ip(&format!("netns del {}", self.name)));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let done = Command::new("ip").args(arguments.split_whitespace()).output();
    let done = done.map_err(|error| format!("ip: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!(
        "ip {arguments}: {}",
        String::from_utf8_lossy(&done.stderr).trim()
    ))
}

/// The ports on which this process listens, in whatever network it is.
#[must_use]
pub fn listening(pid: u32) -> Vec<u16> {
    let sockets = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let inodes: Vec<String> = sockets
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    assert!(!inodes.is_empty(), "process {pid} has no socket at all");
    let tables = ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    let lines = tables.iter().flatten().flat_map(|table| table.lines().skip(1));
    lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, state, _, _, _, _, _, inode, ..] = words.as_slice() else {
                return None;
            };
            let listens = *state == "0A" && inodes.iter().any(|open| open == inode);
            let (_, port) = local.split_once(':')?;
            u16::from_str_radix(port, 16).ok().filter(|_| listens)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    #[test]
    fn a_port_that_is_open_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let us = std::process::id();
        assert!(super::listening(us).contains(&port));
        // Another socket, so that there is one.
        let _other = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        drop(listener);
        assert!(!super::listening(us).contains(&port));
    }
}
