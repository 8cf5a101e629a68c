//! JSON, indented.

use super::{Shown, is_bare, literal};

pub(super) fn document(shown: &Shown) -> String {
    let mut out = String::new();
    value(shown, 0, &mut out);
    out.push('\n');
    out
}

fn value(shown: &Shown, indent: usize, out: &mut String) {
    match shown {
        Shown::Null => out.push_str("null"),
        Shown::Plain(word) if is_bare(word) => out.push_str(word),
        Shown::Plain(word) | Shown::Written { text: word, .. } => out.push_str(&quoted(word)),
        Shown::Text(word) => out.push_str(&quoted(&literal(word))),
        Shown::List(items) if items.iter().all(is_single) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                value(item, indent, out);
            }
            out.push(']');
        }
        Shown::List(items) => {
            let lines = items.iter().map(|item| (String::new(), item));
            block(['[', ']'], lines, indent, out);
        }
        Shown::Map(entries) if entries.is_empty() => out.push_str("{}"),
        Shown::Map(entries) => {
            let lines = entries.iter().map(|(key, item)| (format!("{}: ", quoted(key)), item));
            block(['{', '}'], lines, indent, out);
        }
    }
}

fn block<'a>(
    [open, close]: [char; 2],
    lines: impl Iterator<Item = (String, &'a Shown)>,
    indent: usize,
    out: &mut String,
) {
    out.push(open);
    for (i, (start, item)) in lines.enumerate() {
        out.push_str(if i > 0 { ",\n" } else { "\n" });
        pad(indent + 2, out);
        out.push_str(&start);
        value(item, indent + 2, out);
    }
    out.push('\n');
    pad(indent, out);
    out.push(close);
}

const fn is_single(shown: &Shown) -> bool {
    !matches!(shown, Shown::List(_) | Shown::Map(_))
}

/// A string in JSON's quotes, which TOML reads alike but for one character.
pub(super) fn quoted(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a string is always JSON");
    // Allowed bare in JSON, and not in TOML.
    quoted.replace('\u{7f}', "\\u007f")
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}
