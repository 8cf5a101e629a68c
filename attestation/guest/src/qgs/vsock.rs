//! A socket to the host, which the standard library does not have.
//!
//! Once connected it is a stream like any other, so that the library's own stream type carries it.
#![expect(unsafe_code, reason = "the standard library opens no vsock")]

use std::{
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use super::{Port, QgsError};

/// For the whole of each read and write. Hardware takes about a second; a queue before it several.
const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel gives up by itself after two seconds.
pub(crate) fn connect(port: Port) -> Result<UnixStream, QgsError> {
    let opened = open(port).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    opened.map_err(|source| QgsError::Connect { port, source })
}

fn open(port: Port) -> io::Result<UnixStream> {
    // SAFETY: it takes three numbers and gives a descriptor or -1.
    let socket = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was opened above, and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: every member of this structure is a number, for which zeros are valid.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = libc::VMADDR_CID_HOST;
    address.svm_port = port.0;
    // SAFETY: the descriptor is open, and the pointer and the length are those of one `sockaddr_vm`, of which the kernel
    // only reads.
    let connected = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_vm>() as libc::socklen_t,
        )
    };
    if connected < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_the_service_is_an_error_with_its_port() {
        // No machine that runs this test has a hypervisor with a listener there, and most have no vsock at all.
        let error = connect(Port(3)).expect_err("nobody listens");
        assert!(error.to_string().contains("vsock port 3"), "{error}");
    }
}
