//! Extra headers of the requests to a backend.
//!
//! Refused: what is no header, what is set twice, and what the connection or the gateway sets itself.

use http::header::{self, HeaderName};

use super::decode::{Decode, Section};
use super::document::{Node, Value};
use super::interpolate::join;
use super::problem::Problems;
use super::secret::Secret;

/// Headers that belong to the connection or to the gateway.
const OURS: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Reads the `headers` of a backend, whose key path is `key`.
pub(super) fn read(section: &mut Section<'_>, key: &str, problems: &mut Problems) -> Vec<(HeaderName, Secret)> {
    // Read by hand: the names are the operator's, so there is no list of known ones.
    let HeaderMap(read) = section.or("headers", HeaderMap(Vec::new()), problems);
    let mut headers: Vec<(HeaderName, Secret)> = Vec::new();
    for (written, value) in read {
        let shown = written.escape_debug();
        let fault = match HeaderName::try_from(&written) {
            Err(_) => Some(format!("`{shown}` is not the name of a header")),
            Ok(name) if OURS.contains(&name) || name == "keep-alive" => {
                Some(format!("`{shown}` is set by the gateway itself"))
            }
            Ok(name) if headers.iter().any(|(other, _)| *other == name) => Some(format!("`{shown}` is set twice")),
            Ok(name) => {
                headers.push((name, value));
                None
            }
        };
        if let Some(message) = fault {
            let place = section.node("headers").map(|n| n.nearest(&written).place.clone());
            if let Some(place) = place {
                problems.report(&place, key, message, "remove it, or write another name");
            }
        }
    }
    headers
}

struct HeaderMap(Vec<(String, Secret)>);

impl Decode for HeaderMap {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            Section::open(node, key, problems);
            return None;
        };
        let read = entries.iter().filter_map(|entry| {
            let value = Secret::decode(&entry.node, &join(key, &entry.key), problems)?;
            Some((entry.key.clone(), value))
        });
        Some(Self(read.collect()))
    }
}
