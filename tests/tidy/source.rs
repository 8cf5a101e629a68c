//! Rules about one Rust source. Each takes its path, which is only repeated, and its text.

use super::tokens::{Kind, Token, code, tokens};

/// No joy is longer; about 400 is where to look for a seam.
const MAX_LINES: usize = 700;

/// Modules of `std` that reach outside the program.
const OUTSIDE: [&str; 6] = ["env", "fs", "net", "os", "process", "thread"];

pub(crate) fn too_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > MAX_LINES && !is_test(path)).then(|| format!("{path} has {lines} lines; {MAX_LINES} are allowed"))
}

/// `tests.rs`, and whatever lies in a folder `tests` of its package; the folder where packages for tests live is none.
fn is_test(path: &str) -> bool {
    let within = match path.rsplit_once("/src/") {
        Some((_, within)) => within,
        None => path,
    };
    within.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// What does I/O or reads a clock.
pub(crate) fn impurities(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let mut found = Vec::new();
    for (at, token) in code.iter().enumerate() {
        let line = token.line;
        match token.kind {
            Kind::Word("std") => {
                let modules = children(&code[at + 1..]);
                let outside = modules.into_iter().filter(|(module, _)| OUTSIDE.contains(module));
                found.extend(outside.map(|(module, line)| format!("{path}:{line} uses std::{module}")));
            }
            Kind::Word(word @ ("tokio" | "SystemTime")) => found.push(format!("{path}:{line} uses {word}")),
            // An `Instant` as an argument is what a pure function should take.
            Kind::Word("Instant") if children(&code[at + 1..]).iter().any(|(name, _)| *name == "now") => {
                found.push(format!("{path}:{line} uses Instant::now"));
            }
            _ => {}
        }
    }
    found
}

/// The names right after `::`: one, or those of a group such as `::{self, fs::File, net}`.
fn children<'a>(after: &[Token<'a>]) -> Vec<(&'a str, usize)> {
    let [first, second, rest @ ..] = after else {
        return Vec::new();
    };
    if !first.is_sign(':') || !second.is_sign(':') {
        return Vec::new();
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut is_head = true;
    for token in rest {
        match token.kind {
            Kind::Sign('{') => {
                depth += 1;
                is_head = depth == 1;
            }
            Kind::Sign('}') => depth = depth.saturating_sub(1),
            Kind::Sign(',') => is_head = depth == 1,
            Kind::Word(name) if is_head => {
                names.push((name, token.line));
                is_head = false;
            }
            _ => is_head = false,
        }
        if depth == 0 {
            break;
        }
    }
    names
}

/// Lints that are silenced without a reason.
pub(crate) fn silent_exceptions(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let mut found = Vec::new();
    for at in 0..code.len() {
        let Some(attribute) = attribute(&code[at..]) else {
            continue;
        };
        for (i, token) in attribute.iter().enumerate() {
            let Kind::Word(word @ ("expect" | "allow")) = token.kind else {
                continue;
            };
            let is_list = attribute.get(i + 1).is_some_and(|next| next.is_sign('('));
            if is_list && !has_reason(enclosed(&attribute[i + 1..], '(', ')')) {
                found.push(format!("{path}:{} {word} without a reason", token.line));
            }
        }
    }
    found
}

/// What stands in the brackets of `#[…]` or `#![…]`, if an attribute starts here.
fn attribute<'t, 'a>(at: &'t [Token<'a>]) -> Option<&'t [Token<'a>]> {
    let (hash, mut rest) = at.split_first()?;
    if !hash.is_sign('#') {
        return None;
    }
    if rest.first()?.is_sign('!') {
        rest = &rest[1..];
    }
    rest.first()?.is_sign('[').then(|| enclosed(rest, '[', ']'))
}

/// From an opening sign, which is the first, to what closes it; neither is part of it.
fn enclosed<'t, 'a>(from: &'t [Token<'a>], open: char, close: char) -> &'t [Token<'a>] {
    let mut depth = 0_usize;
    for (at, token) in from.iter().enumerate() {
        if token.is_sign(open) {
            depth += 1;
        } else if token.is_sign(close) {
            depth -= 1;
            if depth == 0 {
                return &from[1..at];
            }
        }
    }
    &from[1..]
}

fn has_reason(list: &[Token<'_>]) -> bool {
    list.windows(3).any(|window| {
        let [name, equals, value] = window else {
            return false;
        };
        let is_said = matches!(value.kind, Kind::Text(text) if !text.trim().is_empty());
        name.is_word("reason") && equals.is_sign('=') && is_said
    })
}

/// Macros and comments that put work off.
pub(crate) fn unfinished(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for token in tokens(text) {
        if let Kind::Comment(comment) = token.kind {
            let mut words = comment.split(|c: char| !c.is_ascii_alphanumeric());
            if let Some(word) = words.find(|word| matches!(*word, "TODO" | "FIXME" | "XXX" | "HACK")) {
                found.push(format!("{path}:{} {word}", token.line));
            }
        }
    }
    for window in code(text).windows(3) {
        let [name, bang, open] = window else {
            continue;
        };
        let is_call = bang.is_sign('!') && matches!(open.kind, Kind::Sign('(' | '[' | '{'));
        if let Kind::Word(word @ ("todo" | "unimplemented")) = name.kind
            && is_call
        {
            found.push(format!("{path}:{} {word}!", name.line));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_are_refused_unless_they_are_tests() {
        let long = "x\n".repeat(701);
        for path in ["a/src/b.rs", "tests/bench/src/b.rs", "a/build.rs", "a/src/attests/b.rs"] {
            assert!(too_long(path, &long).is_some(), "{path}");
            assert_eq!(too_long(path, &long[2..]), None, "{path}");
        }
        for path in [
            "a/tests/b.rs",
            "a/src/b/tests.rs",
            "a/src/b/tests/c.rs",
            "tests/e2e/main.rs",
        ] {
            assert_eq!(too_long(path, &long), None, "{path}");
        }
    }

    #[test]
    fn impure_code_is_refused() {
        let check = |text: &str, expect: &[&str]| assert_eq!(impurities("f", text), expect, "for {text}");
        check("use std::{fmt, io::{self, Read}};\nuse std::time::Duration;", &[]);
        check("// tokio and std::fs\nlet a = \"std::net\";", &[]);
        check("fn f(now: Instant) {}", &[]);
        check("use std::fs;", &["f:1 uses std::fs"]);
        check("let a = ::std::env::var(b);", &["f:1 uses std::env"]);
        check(
            "use std::{\n  fmt,\n  net::{IpAddr, TcpStream},\n};",
            &["f:3 uses std::net"],
        );
        check("use std::{fmt::{self, Debug}, thread};", &["f:1 uses std::thread"]);
        check("use tokio::time;", &["f:1 uses tokio"]);
        check("use std::time::{Duration, SystemTime};", &["f:1 uses SystemTime"]);
        check("let a = Instant::now();", &["f:1 uses Instant::now"]);
    }

    #[test]
    fn exceptions_without_a_reason_are_refused() {
        let check = |text: &str, expect: &[&str]| assert_eq!(silent_exceptions("f", text), expect, "for {text}");
        check("#[expect(a, reason = \"b\")] fn c() {}", &[]);
        check("a.expect(\"b\"); [allow(c)];", &[]);
        check("// #[allow(a)]\nlet b = \"#[allow(a)]\";", &[]);
        check("#[expect(a)] fn c() {}", &["f:1 expect without a reason"]);
        check("#![allow(a)]", &["f:1 allow without a reason"]);
        check("#[expect(a, reason = \"\")]", &["f:1 expect without a reason"]);
        check(
            "\n#[cfg_attr(test, allow(a::b), derive(C))]",
            &["f:2 allow without a reason"],
        );
        check(
            "#[cfg_attr(test, allow(a, reason = \"b\"), expect(c))]",
            &["f:1 expect without a reason"],
        );
    }

    #[test]
    fn work_put_off_is_refused() {
        let check = |text: &str, expect: &[&str]| assert_eq!(unfinished("f", text), expect, "for {text}");
        check("let todo = 1; if todo != 2 {}", &[]);
        check("let a = \"todo!() TODO\"; // todos are done", &[]);
        check("fn a() { todo!() }", &["f:1 todo!"]);
        check("fn a() {\n unimplemented!(\"b\") }", &["f:2 unimplemented!"]);
        check("// TODO: b", &["f:1 TODO"]);
        check("/* a\n FIXME(b) */", &["f:1 FIXME"]);
    }
}
