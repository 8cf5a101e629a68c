//! The repository's own rules, those that the compiler and clippy do not know.
//!
//! One rule is one test, and its message says what to do.
//! The checkers are functions of what they are given; each has tests of its own that show it refusing something, so
//! that a rule which silently stopped looking would be noticed.

use std::{collections::BTreeSet, path::Path};

#[path = "tidy/decisions.rs"]
mod decisions;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/events.rs"]
mod events;
#[path = "tidy/features.rs"]
mod features;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/packages.rs"]
mod packages;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tokens.rs"]
mod tokens;
#[path = "tidy/tree.rs"]
mod tree;

use tree::{Tree, read};

/// Packages whose manifest and sources must show that they do no I/O and read no clock.
const PURE: [&str; 4] = ["openapi", "billing", "attestation", "attestation/measure"];

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is a folder of the repository")
}

fn repository() -> Tree {
    let tree = Tree::read(root());
    assert!(
        tree.has_file("Cargo.lock") && tree.has_file("openapi/src/lib.rs"),
        "the walk of {} found no sources, so the rules would hold of nothing",
        root().display()
    );
    tree
}

/// The Rust sources, each with its path.
fn sources(tree: &Tree) -> Vec<(&str, String)> {
    let rust = tree.files().filter(|path| path.ends_with(".rs"));
    rust.map(|path| (path, read(root(), path))).collect()
}

/// Fails with every problem, and what to do about them.
fn assert_none(problems: &[String], advice: &str) {
    assert!(problems.is_empty(), "\n  {}\n\n{advice}\n", problems.join("\n  "));
}

#[test]
fn packages_import_only_what_the_picture_allows() {
    let packages = packages::workspace(root());
    assert_none(
        &packages::forbidden_imports(&packages, &packages::ALLOWED),
        "Move the code so that the import is not needed. A new edge is rare: discuss it, then write it into ALLOWED in \
         tests/tidy/packages.rs and into the picture in ARCHITECTURE.md.",
    );
}

#[test]
fn the_verifier_of_quotes_has_no_dangerous_feature() {
    assert_none(
        &features::problems(root()),
        "A verdict must mean the same in every build: take the feature from whichever Cargo.toml asks for it. \
         docs/decisions/0009-attestation.md says why.",
    );
}

#[test]
fn pure_packages_do_no_io_and_read_no_clock() {
    let tree = repository();
    let mut problems = Vec::new();
    let mut looked_at = 0;
    for (path, text) in sources(&tree) {
        if PURE.iter().any(|package| path.starts_with(&format!("{package}/src/"))) {
            looked_at += 1;
            problems.extend(source::impurities(path, &text));
        }
    }
    assert!(
        looked_at > PURE.len(),
        "the sources of the pure packages were not found"
    );
    assert_none(
        &problems,
        "Take bytes and times as arguments, and leave sockets, files and clocks to the package that calls.",
    );
}

#[test]
fn modules_are_files_with_the_name_of_the_module() {
    assert_none(
        &names::folder_modules(&repository()),
        "Write `x.rs` beside `x/`, never `x/mod.rs`: an editor with ten tabs called mod.rs helps nobody.",
    );
}

#[test]
fn no_file_is_called_after_nothing() {
    assert_none(
        &names::nameless(&repository()),
        "A helper belongs to a noun. Find the noun and name the file after it.",
    );
}

#[test]
fn rust_files_stay_short() {
    let tree = repository();
    let too_long: Vec<String> = sources(&tree)
        .iter()
        .filter_map(|(path, text)| source::too_long(path, text))
        .collect();
    assert_none(
        &too_long,
        "Look for the seam: a noun that wants its own file, a floor inside a function, two audiences.",
    );
}

#[test]
fn silenced_lints_say_why() {
    let tree = repository();
    let silent: Vec<String> = sources(&tree)
        .iter()
        .flat_map(|(path, text)| source::silent_exceptions(path, text))
        .collect();
    assert_none(
        &silent,
        "Write `#[expect(lint, reason = \"...\")]`; the reason is for a stranger.",
    );
}

#[test]
fn nothing_is_left_for_later() {
    let tree = repository();
    let unfinished: Vec<String> = sources(&tree)
        .iter()
        .flat_map(|(path, text)| source::unfinished(path, text))
        .collect();
    assert_none(&unfinished, "Write it now, or open an issue and leave the code whole.");
}

#[test]
fn documents_name_files_that_exist() {
    let tree = repository();
    let mut problems = Vec::new();
    for path in tree.files().filter(|path| documents::is_checked(path)) {
        problems.extend(documents::dangling(path, &read(root(), path), &tree));
    }
    assert_none(
        &problems,
        "The document is a map: correct it in the commit that moved the file. Name files, never lines.",
    );
}

#[test]
fn what_is_logged_is_documented() {
    let tree = repository();
    let logged: BTreeSet<String> = sources(&tree)
        .iter()
        .filter(|(path, _)| events::is_logged(path))
        .flat_map(|(_, text)| events::rows(text))
        .collect();
    assert!(logged.len() > 20, "the events of the sources were not found");
    let documented = events::documented(&read(root(), "docs/observability.md"));
    let missing = logged.difference(&documented).map(|row| format!("missing: {row}"));
    let gone = documented.difference(&logged).map(|row| format!("gone: {row}"));
    assert_none(
        &missing.chain(gone).collect::<Vec<_>>(),
        "The table of events in docs/observability.md is the log's schema, on which operators build. Copy the missing \
         rows into it and take out those that are gone.",
    );
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let tree = repository();
    let records: Vec<(&str, String)> = tree
        .files()
        .filter_map(|path| Some((path.strip_prefix("docs/decisions/")?, read(root(), path))))
        .collect();
    let records: Vec<(&str, &str)> = records.iter().map(|(name, text)| (*name, text.as_str())).collect();
    assert_none(
        &decisions::faults(&records),
        "A record is docs/decisions/NNNN-what-was-decided.md with the next free number and three headings: Context, \
         Choice, Consequence. docs/decisions/0001-record-decisions.md is the model.",
    );
}
