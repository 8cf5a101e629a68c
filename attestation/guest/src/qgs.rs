//! The host's quoting service (QGS), which makes a quote of a report: messages of version 1.0.
//!
//! As in Intel's DCAP, `qgs_msg_lib.h`: on the wire the length of the message in four bytes, big-endian; in the message
//! everything is little-endian: a header of 16 bytes (version, type, size of all, error), then two lengths, then what
//! they measure.
//! The service runs on the host, which nobody trusts: what it sends is bounded, and the quote is checked by whoever it
//! convinces.

#[cfg(target_os = "linux")]
pub mod vsock;

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use crate::{device::Report, quote::MAX_QUOTE};

/// Where Intel's packages say which port the service has.
pub const CONFIG: &str = "/etc/tdx-attest.conf";

/// Of Intel's configuration file, at most.
const MAX_CONFIG: usize = 64 * 1024;
const HEADER: usize = 16;
/// A header and the two lengths.
const LENGTHS: usize = HEADER + 8;
const MAX_MESSAGE: usize = LENGTHS + 256 + MAX_QUOTE;
const MAJOR: u16 = 1;
const GET_QUOTE_REQUEST: u32 = 0;
const GET_QUOTE_RESPONSE: u32 = 1;

/// Of the service, on the host's side of vsock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port(pub u32);

/// Why the service made no quote.
#[derive(Debug, thiserror::Error)]
pub enum QgsError {
    #[error("there is no connection to the host at vsock port {}", port.0)]
    Connect { port: Port, source: io::Error },
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the answer has {0} bytes, more than a quote")]
    TooLarge(u32),
    #[error("the answer is not one of version 1 to a request for a quote: {0}")]
    Malformed(&'static str),
    #[error("the service answered with error {0:#x}")]
    Refused(u32),
}

/// Sends one request and reads its answer.
pub(crate) fn quote_of(report: &Report, service: &mut (impl Read + Write)) -> Result<Vec<u8>, QgsError> {
    service.write_all(&request(report)).map_err(QgsError::Broken)?;
    let mut len = [0; 4];
    service.read_exact(&mut len).map_err(QgsError::Broken)?;
    let len = u32::from_be_bytes(len);
    let fits = usize::try_from(len).ok().filter(|len| *len <= MAX_MESSAGE);
    let mut message = vec![0; fits.ok_or(QgsError::TooLarge(len))?];
    service.read_exact(&mut message).map_err(QgsError::Broken)?;
    answer(&message)
}

fn request(report: &Report) -> Vec<u8> {
    let report = report.bytes();
    let report_len = crate::device::REPORT as u32;
    let len = LENGTHS as u32 + report_len;
    let mut wire = len.to_be_bytes().to_vec();
    for half in [MAJOR, 0] {
        wire.extend_from_slice(&half.to_le_bytes());
    }
    // The error is used in answers only; of attestation keys we name none, so that the service takes its own.
    for word in [GET_QUOTE_REQUEST, len, 0, report_len, 0] {
        wire.extend_from_slice(&word.to_le_bytes());
    }
    wire.extend_from_slice(report);
    wire
}

fn answer(message: &[u8]) -> Result<Vec<u8>, QgsError> {
    let (version, rest) = message
        .split_first_chunk::<4>()
        .ok_or(QgsError::Malformed("it is cut off"))?;
    let [m0, m1, _, _] = *version;
    if u16::from_le_bytes([m0, m1]) != MAJOR {
        return Err(QgsError::Malformed("its version"));
    }
    let (kind, rest) = word(rest)?;
    let (size, rest) = word(rest)?;
    let (error, rest) = word(rest)?;
    if kind != GET_QUOTE_RESPONSE {
        return Err(QgsError::Malformed("its type"));
    }
    if usize::try_from(size) != Ok(message.len()) {
        return Err(QgsError::Malformed("its size"));
    }
    if error != 0 {
        return Err(QgsError::Refused(error));
    }
    let (id_len, rest) = word(rest)?;
    let (quote_len, rest) = word(rest)?;
    let lens = (usize::try_from(id_len), usize::try_from(quote_len));
    let (Ok(id_len), Ok(quote_len)) = lens else {
        return Err(QgsError::Malformed("its lengths"));
    };
    match rest.get(id_len..) {
        Some(quote) if quote.len() == quote_len && !quote.is_empty() => Ok(quote.to_vec()),
        _ => Err(QgsError::Malformed("its lengths")),
    }
}

fn word(bytes: &[u8]) -> Result<(u32, &[u8]), QgsError> {
    let (word, rest) = bytes.split_first_chunk().ok_or(QgsError::Malformed("it is cut off"))?;
    Ok((u32::from_le_bytes(*word), rest))
}

/// Why the port of the service is not known.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("cannot read '{}', which says at which vsock port the host makes quotes", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' has no line such as 'port = 4050'", path.display())]
    Missing { path: PathBuf },
}

/// Reads Intel's `/etc/tdx-attest.conf`.
pub fn port(path: &Path) -> Result<Port, PortError> {
    let read = || {
        let bytes = crate::configfs::read_bounded(path, MAX_CONFIG)?;
        String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    };
    let text = read().map_err(|source| PortError::Read {
        path: path.to_owned(),
        source,
    })?;
    port_in(&text).ok_or_else(|| PortError::Missing { path: path.to_owned() })
}

fn port_in(text: &str) -> Option<Port> {
    text.lines().find_map(|line| {
        let (name, value) = line.split('#').next()?.split_once('=')?;
        let port = value.trim().parse().ok()?;
        (name.trim() == "port" && port != 0).then_some(Port(port))
    })
}

#[cfg(test)]
mod tests;
