//! Reads lite-servers out of TON's global configuration, the file that its own tools take (`global-config.json`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::Address;

/// Why a file lists no lite-servers, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadList {
    #[error("it is not a global configuration of TON: JSON with a list `liteservers`; line {line}, column {column}")]
    Form { line: usize, column: usize },
    #[error("lite-server {0} of the list has a key that is not 32 bytes in Base64")]
    Key(usize),
    #[error("the list `liteservers` is empty")]
    Empty,
}

#[derive(Deserialize)]
struct Global {
    liteservers: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// Four bytes of an address as one number with a sign.
    ip: i32,
    port: u16,
    id: Key,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

/// The lite-servers of a global configuration, in its order.
pub fn servers(json: &[u8]) -> Result<Vec<Address>, BadList> {
    let global: Global = serde_json::from_slice(json).map_err(|error| BadList::Form {
        line: error.line(),
        column: error.column(),
    })?;
    if global.liteservers.is_empty() {
        return Err(BadList::Empty);
    }
    let read = global.liteservers.iter().enumerate().map(|(index, entry)| {
        let key = STANDARD.decode(&entry.id.key).ok();
        let key = key.and_then(|key| key.try_into().ok()).ok_or(BadList::Key(index))?;
        let ip = Ipv4Addr::from(entry.ip.cast_unsigned());
        Ok(Address {
            at: SocketAddr::new(IpAddr::V4(ip), entry.port),
            key,
        })
    });
    read.collect()
}
