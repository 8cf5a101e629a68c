//! Bare sockets, for what no HTTP client would send, and for questions in passing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::wait::SOON;

/// Sends `bytes` and reads until the peer closes, with the sending side left open. Blocks.
///
/// Bytes that came before a reset are given too: a server that refuses early may not read all that was sent.
#[must_use]
pub fn exchange(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // A peer that has refused already may have closed.
    drop(stream.write_all(bytes));
    read(&mut stream)
}

/// As [`exchange`], but tells the peer that nothing more will come.
#[must_use]
pub fn exchange_and_close(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    drop(stream.write_all(bytes));
    drop(stream.shutdown(Shutdown::Write));
    read(&mut stream)
}

/// The body of a GET. Blocks.
pub(crate) fn get(address: &str, path: &str, key: Option<&str>) -> Vec<u8> {
    let key = key.map_or(String::new(), |key| format!("authorization: Bearer {key}\r\n"));
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n{key}connection: close\r\n\r\n");
    let mut stream = connect(address);
    let sent = stream.write_all(request.as_bytes());
    sent.unwrap_or_else(|error| panic!("{address}{path}: {error}"));
    let response = read(&mut stream);
    let text = String::from_utf8_lossy(&response);
    assert!(text.starts_with("HTTP/1.1 200"), "{address}{path}: {text}");
    body(&response)
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let limited = stream
        .set_read_timeout(Some(SOON))
        .and_then(|()| stream.set_write_timeout(Some(SOON)));
    limited.expect("a limit above zero can be set");
    stream
}

fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return all,
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("the peer neither answers nor closes: {error}"),
        }
    }
}

/// The status of a response that was read from a bare socket.
#[must_use]
pub fn status(response: &[u8]) -> u16 {
    let line = response.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("not an HTTP/1.1 response: {line:?}"))
}

/// The body of a response that was read from a bare socket, its chunks joined.
#[must_use]
pub fn body(response: &[u8]) -> Vec<u8> {
    let end = find(response, b"\r\n\r\n").expect("a response has an end of its headers");
    let (head, body) = (&response[..end], &response[end + 4..]);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_vec()
    }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = find(rest, b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).ok();
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.expect("a chunk begins with its size");
        let chunk = rest.get(end + 2..end + 2 + size).expect("a chunk has its size");
        whole.extend_from_slice(chunk);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
        if size == 0 {
            break;
        }
    }
    whole
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

/// A moment's silence after `bytes`: true if the peer closed or answered within `timeout`.
#[must_use]
pub fn ends_within(address: &str, bytes: &[u8], timeout: Duration) -> Option<Vec<u8>> {
    let mut stream = connect(address);
    drop(stream.write_all(bytes));
    stream
        .set_read_timeout(Some(timeout))
        .expect("a limit above zero can be set");
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Some(all),
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Some(all),
            Err(_) => return None,
        }
    }
}
