//! One text for one value: RFC 8785, restricted to what policies and bundles hold.
//!
//! Names are ASCII, so that their order by bytes is the one by UTF-16 units; numbers are whole and below 2^53, so that
//! the one hard rule, how to print a fraction, is never needed.

use serde::Serialize;
use serde_json::Value;

pub(crate) fn text(of: &impl Serialize) -> String {
    let mut out = String::new();
    // None of them has maps with names that are not text or numbers that are not finite: it is always a value.
    if let Ok(value) = serde_json::to_value(of) {
        write(&mut out, &value);
    }
    out
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(out, value);
            }
            out.push('}');
        }
        // serde_json escapes as RFC 8785 §3.2.2.2 asks for: short forms, lowercase hex, nothing beyond.
        scalar => out.push_str(&scalar.to_string()),
    }
}
