//! Extra headers of the requests that the gateway makes.
//!
//! Refused: what is no header, what is set twice, and what the connection or the gateway sets itself.

use http::header::{self, HeaderName};

use super::decode::{Decode, Section};
use super::describe::{self, Definitions, Describe};
use super::document::{Node, Value};
use super::interpolate::join;
use super::problem::Problems;
use super::secret::Secret;
use super::show::{Show, Shown};

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

/// Names and values, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Headers(pub(crate) Vec<(HeaderName, Secret)>);

impl Decode for Headers {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        // Read by hand: the names are the operator's, so there is no list of known ones.
        let Value::Map(entries) = &node.value else {
            Section::open(node, key, problems);
            return None;
        };
        let mut headers: Vec<(HeaderName, Secret)> = Vec::new();
        for entry in entries {
            let Some(value) = Secret::decode(&entry.node, &join(key, &entry.key), problems) else {
                continue;
            };
            let shown = entry.key.escape_debug();
            let fault = match HeaderName::try_from(&entry.key) {
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
                problems.report(&entry.node.place, key, message, "remove it, or write another name");
            }
        }
        Some(Self(headers))
    }
}

impl Describe for Headers {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::names(&["Names of headers and their values, which are secrets."])
    }
}

impl Show for Headers {
    fn show(&self) -> Shown {
        let headers = self.0.iter();
        Shown::Map(
            headers
                .map(|(name, value)| (name.as_str().to_owned(), value.show()))
                .collect(),
        )
    }
}
