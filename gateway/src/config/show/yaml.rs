//! YAML 1.2, in the block style that people write.

use std::fmt::Write as _;

use super::{Shown, literal};

pub(super) fn document(shown: &Shown) -> String {
    let mut out = String::new();
    match shown {
        Shown::Map(entries) if !entries.is_empty() => map(entries, 0, &mut out),
        other => {
            inline(other, &mut out);
            out.push('\n');
        }
    }
    out
}

fn map(entries: &[(String, Shown)], indent: usize, out: &mut String) {
    for (i, (key, value)) in entries.iter().enumerate() {
        if i > 0 {
            pad(indent, out);
        }
        text(key, out);
        out.push(':');
        match value {
            Shown::Map(entries) if !entries.is_empty() => {
                out.push('\n');
                pad(indent + 2, out);
                map(entries, indent + 2, out);
            }
            Shown::List(items) if items.iter().any(|item| matches!(item, Shown::Map(_))) => {
                out.push('\n');
                for item in items {
                    pad(indent + 2, out);
                    out.push_str("- ");
                    match item {
                        Shown::Map(entries) if !entries.is_empty() => map(entries, indent + 4, out),
                        other => {
                            inline(other, out);
                            out.push('\n');
                        }
                    }
                }
            }
            // Bare it may become null, as it could where it was written.
            Shown::Written { text, plain: true } if is_reference(text) => {
                out.push(' ');
                out.push_str(text);
                out.push('\n');
            }
            other => {
                out.push(' ');
                inline(other, out);
                out.push('\n');
            }
        }
    }
}

fn inline(value: &Shown, out: &mut String) {
    match value {
        Shown::Null => out.push_str("null"),
        Shown::Plain(word) => out.push_str(word),
        Shown::Text(word) => text(&literal(word), out),
        Shown::Written { text: word, .. } => text(word, out),
        Shown::List(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                inline(item, out);
            }
            out.push(']');
        }
        Shown::Map(entries) => {
            out.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                text(key, out);
                out.push_str(": ");
                inline(value, out);
            }
            out.push('}');
        }
    }
}

/// One reference that needs no quotes on a line of its own.
fn is_reference(word: &str) -> bool {
    let inner = word.strip_prefix("${").and_then(|word| word.strip_suffix('}'));
    inner.is_some_and(|inner| {
        inner
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '/' | '.'))
    })
}

/// Bare where it surely reads back as the same text; else in double quotes.
fn text(word: &str, out: &mut String) {
    let bare = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && !matches!(
            word.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if bare {
        out.push_str(word);
        return;
    }
    out.push('"');
    for c in word.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            // What a line cannot hold, or a parser may take for the mark of an encoding.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // Writing to a String cannot fail.
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}
