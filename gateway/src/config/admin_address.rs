//! Where the admin listener of a configuration is, whatever else is wrong with the file.
//!
//! For a probe that runs beside a gateway that may have read the file before it was spoiled.

use std::net::SocketAddr;
use std::path::Path;

use super::document::{self, Node, Value};
use super::environment::Environment;
use super::problem::{Place, Problems};
use super::{Config, interpolate, loopback, overrides};

impl Config {
    /// The value of `admin_listen`; `None` where it is null. The default stands in where it cannot be read.
    pub(crate) fn admin_address(path: &Path, env: &dyn Environment) -> Option<SocketAddr> {
        const KEY: &str = "admin_listen";
        // Nobody hears of these: `mulberry check` is for that.
        let mut problems = Problems::default();
        let text = env.read(path).unwrap_or_default();
        let read = document::parse(&text, document::Format::of(path), &mut problems);
        let mut root = read.unwrap_or_else(|| Node::empty_map(Place::Whole));
        overrides::apply(&mut root, &[KEY], env.variables(), &mut problems);
        let Some(entry) = root.get(KEY) else {
            return Some(loopback(9090));
        };
        let mut node = entry.node.clone();
        interpolate::resolve(&mut node, KEY, env, &mut problems);
        match &node.value {
            _ if node.is_null() => None,
            Value::Scalar { text, .. } => Some(text.parse().unwrap_or(loopback(9090))),
            Value::List(_) | Value::Map(_) | Value::Broken => Some(loopback(9090)),
        }
    }
}
