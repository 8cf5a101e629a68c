//! The address of an upstream.

use std::fmt;

use http::uri::{Authority, Uri};

use super::decode::{Decode, scalar};
use super::describe::{self, Definitions, Describe};
use super::document::Node;
use super::problem::Problems;
use super::show::{Show, Shown};

/// `http` or `https`, a host, perhaps a port, and the path under which the API begins.
///
/// The path has no slash at its end and is empty at the root.
/// There are no credentials, no query and no fragment in it, so it may be logged.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct BaseUrl {
    https: bool,
    authority: Authority,
    path: String,
}

impl BaseUrl {
    /// Takes the place of a URL that could not be read; the report about it keeps it from use.
    pub(super) fn stand_in() -> Self {
        Self {
            https: false,
            authority: Authority::from_static("invalid"),
            path: String::new(),
        }
    }

    pub(crate) const fn is_https(&self) -> bool {
        self.https
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Drops a version such as `/v1` at the end of the path, since every endpoint brings its own.
    pub(super) fn strip(&mut self, version: &str) {
        if let Some(shorter) = self.path.strip_suffix(version) {
            self.path.truncate(shorter.len());
        }
    }
}

/// The stand-in, for a field that must be there and is not.
impl Default for BaseUrl {
    fn default() -> Self {
        Self::stand_in()
    }
}

impl Decode for BaseUrl {
    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let text = scalar(node, key, "a URL", problems)?;
        match parse(text) {
            Ok(url) => Some(url),
            Err(Fault::Credentials) => {
                // The text holds a password: not quoted.
                let message = "has credentials before the host";
                let fix = "remove what stands before the `@`, and use `api_key:` or `headers:`";
                problems.report(&node.place, key, message, fix);
                None
            }
            Err(Fault::Query) => {
                // A query may hold a key: not quoted.
                let message = "has a query or a fragment, which a base URL has not";
                let fix = "remove what stands from the `?` or `#` on, and use `api_key:` or `headers:` for a key";
                problems.report(&node.place, key, message, fix);
                None
            }
            Err(Fault::Shape(message)) => {
                let message = format!("{}: {message}", node.quoted());
                let fix = "write it like `http://127.0.0.1:8000` or `https://api.example.com/v1`";
                problems.report(&node.place, key, message, fix);
                None
            }
        }
    }
}

enum Fault {
    Credentials,
    Query,
    Shape(&'static str),
}

fn parse(text: &str) -> Result<BaseUrl, Fault> {
    if text.contains('@') {
        return Err(Fault::Credentials);
    }
    if text.contains(['?', '#']) {
        return Err(Fault::Query);
    }
    if !text.contains("://") {
        return Err(Fault::Shape("the scheme is missing"));
    }
    let uri: Uri = text.parse().map_err(|_| Fault::Shape("this is not a URL"))?;
    let https = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(Fault::Shape("the scheme must be http or https")),
    };
    let authority = uri
        .authority()
        .filter(|authority| !authority.host().is_empty())
        .ok_or(Fault::Shape("the host is missing"))?;
    let rest = authority.as_str().strip_prefix(authority.host());
    if rest != Some("") && authority.port_u16().is_none_or(|port| port == 0) {
        return Err(Fault::Shape("the port must be a number from 1 to 65535"));
    }
    Ok(BaseUrl {
        https,
        authority: authority.clone(),
        path: uri.path().trim_end_matches('/').to_owned(),
    })
}

impl Describe for BaseUrl {
    fn describe(_: &mut Definitions) -> serde_json::Value {
        describe::text(&[], "^https?://[^@?#]+$")
    }
}

impl Show for BaseUrl {
    fn show(&self) -> Shown {
        Shown::Text(self.to_string())
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
