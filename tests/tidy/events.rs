//! The log's schema: each event in the sources has a row in `docs/observability.md`, and each row an event.
//!
//! An event is a call of one of tracing's macros by its full path: a level, fields, and a message that never varies.

use std::collections::BTreeSet;

use super::tokens::{Kind, Token, code};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// Whether the events of a source belong to the gateway's log. The scripted engine plays someone else's server.
pub(crate) fn is_logged(path: &str) -> bool {
    [
        "gateway/src/",
        "backends/src/",
        "billing/store/src/",
        "attestation/ratls/src/",
        "attestation/guest/src/",
    ]
    .iter()
    .any(|root| path.starts_with(root))
}

/// The rows of the events in a source: level, message, fields.
pub(crate) fn rows(source: &str) -> BTreeSet<String> {
    let tokens = code(source);
    let starts = tokens.windows(6).enumerate().filter_map(|(at, window)| {
        let [path, one, two, level, bang, open] = window else {
            return None;
        };
        let Kind::Word(level) = level.kind else { return None };
        let is_event = path.is_word("tracing")
            && one.is_sign(':')
            && two.is_sign(':')
            && LEVELS.contains(&level)
            && bang.is_sign('!')
            && open.is_sign('(');
        is_event.then_some((level, at + window.len()))
    });
    starts.map(|(level, from)| row(level, &tokens[from..])).collect()
}

/// `rest` begins behind the opening parenthesis.
fn row(level: &str, rest: &[Token<'_>]) -> String {
    let mut message = String::from("(none)");
    let mut fields = Vec::new();
    for argument in arguments(rest) {
        match argument {
            [one] => match one.kind {
                Kind::Text(text) if text.contains('{') => message = format!("(a message that varies: {text})"),
                Kind::Text(text) => message = text.to_owned(),
                Kind::Word(word) => fields.push(word.to_owned()),
                Kind::Sign(_) | Kind::Comment(_) => {}
            },
            [sign, name, ..] if sign.is_sign('%') || sign.is_sign('?') => fields.extend(word(name)),
            [name, ..] => fields.extend(word(name)),
            [] => {}
        }
    }
    let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    format!("| {level} | {message} | {} |", fields.join(", "))
}

fn word(token: &Token<'_>) -> Option<String> {
    match token.kind {
        Kind::Word(word) => Some(word.to_owned()),
        _ => None,
    }
}

/// The arguments of a macro, without the commas between them.
fn arguments<'t, 's>(rest: &'t [Token<'s>]) -> Vec<&'t [Token<'s>]> {
    let mut arguments = Vec::new();
    let (mut depth, mut from) = (0_usize, 0);
    for (at, token) in rest.iter().enumerate() {
        match token.kind {
            Kind::Sign('(' | '[' | '{') => depth += 1,
            Kind::Sign(')' | ']' | '}') if depth == 0 => {
                arguments.push(&rest[from..at]);
                break;
            }
            Kind::Sign(')' | ']' | '}') => depth -= 1,
            Kind::Sign(',') if depth == 0 => {
                arguments.push(&rest[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    arguments
}

/// The rows of events in a document: those that begin with a level.
pub(crate) fn documented(text: &str) -> BTreeSet<String> {
    let is_row = |line: &&str| LEVELS.iter().any(|level| line.starts_with(&format!("| {level} | ")));
    text.lines().map(str::trim).filter(is_row).map(str::to_owned).collect()
}

#[test]
fn events_are_read_as_they_are_written() {
    let source = r#"
        // tracing::error!("in a comment");
        tracing::info!(hash, ?changed, cause = %Chain(&error, 1), took_ms = ms(a, b), "it, was (done)");
        () = x => tracing::warn!("told"),
        tracing::debug!(
            upstream = steps().upstream.as_deref(),
            "over lines"
        );
    "#;
    let expect = [
        "| debug | over lines | `upstream` |",
        "| info | it, was (done) | `hash`, `changed`, `cause`, `took_ms` |",
        "| warn | told |  |",
    ];
    assert_eq!(rows(source), expect.map(str::to_owned).into());
    let document = "| level | event | fields |\n|---|---|---|\n| warn | told |  |\nelse\n";
    assert_eq!(documented(document), ["| warn | told |  |".to_owned()].into());
}
