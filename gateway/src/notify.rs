//! What the service manager is told: ready, reloading, stopping.
//!
//! The protocol is systemd's `sd_notify(3)`: lines in one datagram to the socket that `NOTIFY_SOCKET` names, a path or an abstract name behind `@`.
//! Without that variable nothing is told to anybody.
//! Refused: waiting for the manager. A message that cannot be sent is lost and logged; it never holds up a request or the end.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use crate::config::{Drain, Environment};

/// What the end may take besides the drain: cutting what is open, writing records to a disk that refuses.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// The way to whoever started this process.
#[derive(Debug)]
pub(crate) struct Supervisor(Option<UnixDatagram>);

impl Supervisor {
    pub(crate) fn new(env: &dyn Environment) -> Self {
        let Some(name) = env.variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self(None);
        };
        match connect(&name) {
            Ok(socket) => Self(Some(socket)),
            Err(error) => {
                tracing::warn!(%error, "the service manager's NOTIFY_SOCKET cannot be used, so it is told nothing");
                Self(None)
            }
        }
    }

    /// It accepts connections: units that wait for this one may start, and a reload is over.
    pub(crate) fn ready(&self) {
        self.tell("READY=1\nSTATUS=serving");
    }

    /// What came of a reload.
    pub(crate) fn reloaded(&self, is_accepted: bool) {
        self.tell(if is_accepted {
            "STATUS=serving"
        } else {
            "STATUS=serving; the changed configuration was refused, the log has the reason"
        });
    }

    /// It ends, and needs time for what is open, whatever `TimeoutStopSec` says.
    pub(crate) fn stopping(&self, drain: &Drain) {
        let within = drain.delay.saturating_add(drain.timeout).saturating_add(AFTER_DRAIN);
        self.tell(&format!(
            "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC={}",
            within.as_micros()
        ));
    }

    fn tell(&self, state: &str) {
        let Some(socket) = &self.0 else { return };
        if let Err(error) = socket.send(state.as_bytes()) {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}

fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    struct Started(Option<String>);

    impl Environment for Started {
        fn variable(&self, name: &str) -> Option<String> {
            self.0.clone().filter(|_| name == "NOTIFY_SOCKET")
        }

        fn variables(&self) -> Vec<(String, String)> {
            Vec::new()
        }

        fn read(&self, path: &Path) -> io::Result<String> {
            std::fs::read_to_string(path)
        }

        fn is_file(&self, path: &Path) -> bool {
            path.is_file()
        }
    }

    fn check(name: &str, manager: &UnixDatagram) {
        manager
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("ten seconds are a timeout");
        let supervisor = Supervisor::new(&Started(Some(name.to_owned())));
        supervisor.ready();
        supervisor.reloaded(false);
        supervisor.reloaded(true);
        supervisor.stopping(&Drain {
            delay: Duration::from_millis(5_500),
            timeout: Duration::from_secs(60),
        });
        for expect in [
            "READY=1\nSTATUS=serving",
            "STATUS=serving; the changed configuration was refused, the log has the reason",
            "STATUS=serving",
            "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=75500000",
        ] {
            let mut message = [0; 256];
            let length = manager.recv(&mut message).expect("a message comes");
            assert_eq!(String::from_utf8_lossy(&message[..length]), expect);
        }
    }

    struct Socket(PathBuf);

    impl Drop for Socket {
        fn drop(&mut self) {
            drop(std::fs::remove_file(&self.0));
        }
    }

    #[test]
    fn the_manager_hears_through_a_path() {
        let socket = Socket(std::env::temp_dir().join(format!("mulberry-notify-{}", std::process::id())));
        let manager = UnixDatagram::bind(&socket.0).expect("the temporary folder takes a socket");
        check(&socket.0.to_string_lossy(), &manager);
    }

    #[test]
    fn the_manager_hears_through_an_abstract_name() {
        let name = format!("mulberry-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let manager = UnixDatagram::bind_addr(&address).expect("nobody else has this name");
        check(&format!("@{name}"), &manager);
    }

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        for name in [None, Some(String::new()), Some("/nowhere/at/all".to_owned())] {
            let supervisor = Supervisor::new(&Started(name));
            assert!(supervisor.0.is_none());
            supervisor.ready();
        }
    }
}
