//! TOML: a table for each mapping, an array of tables for each list of mappings.
//!
//! Within a table, single values come before the tables below it, because a header ends the table before it.
//! Null is written as the text `"null"`, as it is read.

use super::json::quoted;
use super::{Shown, is_bare, literal};

pub(super) fn document(shown: &Shown) -> String {
    let mut out = String::new();
    match shown {
        Shown::Map(entries) => table(entries, "", &mut out),
        other => value(other, &mut out),
    }
    out
}

fn table(entries: &[(String, Shown)], path: &str, out: &mut String) {
    for (key, shown) in entries.iter().filter(|(_, shown)| !is_below(shown)) {
        out.push_str(&name(key));
        out.push_str(" = ");
        value(shown, out);
        out.push('\n');
    }
    for (key, shown) in entries {
        let path = if path.is_empty() {
            name(key)
        } else {
            format!("{path}.{}", name(key))
        };
        match shown {
            Shown::Map(entries) if !entries.is_empty() => {
                // A table that holds nothing but tables is named by them.
                if entries.iter().any(|(_, shown)| !is_below(shown)) {
                    header(&format!("[{path}]"), out);
                }
                table(entries, &path, out);
            }
            Shown::List(items) if is_below(shown) => {
                for item in items {
                    header(&format!("[[{path}]]"), out);
                    if let Shown::Map(entries) = item {
                        table(entries, &path, out);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether it gets a header of its own.
fn is_below(shown: &Shown) -> bool {
    match shown {
        Shown::Map(entries) => !entries.is_empty(),
        Shown::List(items) => !items.is_empty() && items.iter().all(|item| matches!(item, Shown::Map(_))),
        _ => false,
    }
}

fn header(text: &str, out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(text);
    out.push('\n');
}

fn value(shown: &Shown, out: &mut String) {
    match shown {
        Shown::Null => out.push_str("\"null\""),
        Shown::Plain(word) if is_bare(word) => out.push_str(word),
        Shown::Plain(word) | Shown::Written { text: word, .. } => out.push_str(&quoted(word)),
        Shown::Text(word) => out.push_str(&quoted(&literal(word))),
        Shown::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                value(item, out);
            }
            out.push(']');
        }
        Shown::Map(entries) => {
            out.push('{');
            for (i, (key, item)) in entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { " " });
                out.push_str(&name(key));
                out.push_str(" = ");
                value(item, out);
            }
            out.push_str(if entries.is_empty() { "}" } else { " }" });
        }
    }
}

fn name(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        quoted(key)
    }
}
