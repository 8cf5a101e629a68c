//! Documents that say where things are must stay true.
//!
//! Checked: what stands in backticks and looks like a path, and the targets of relative links.
//! Not checked: blocks of code, paths that Git ignores, and names with a placeholder such as `<name>`.

use super::tree::{Tree, matches};

/// Where a path starts that is written from the root.
const TOP: [&str; 9] = [
    "openapi",
    "attestation",
    "backends",
    "billing",
    "gateway",
    "tests",
    "k6",
    "docs",
    ".github",
];

/// Decision records are not checked: they tell what was true when they were written.
pub(crate) fn is_checked(path: &str) -> bool {
    match path.rsplit_once('/') {
        None => matches!(
            path,
            "ARCHITECTURE.md" | "README.md" | "SECURITY.md" | "GLOSSARY.md" | "CONTRIBUTING.md"
        ),
        Some((folder, name)) => folder == "docs" && name.ends_with(".md"),
    }
}

/// What the document at `path` names and the tree does not have.
pub(crate) fn dangling(path: &str, text: &str, tree: &Tree) -> Vec<String> {
    let mut problems = Vec::new();
    let mut is_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
            continue;
        }
        if is_block {
            continue;
        }
        // Between backticks are the odd pieces; a last one that is not closed is text.
        let pieces: Vec<&str> = line.split('`').collect();
        let quoted = pieces.iter().skip(1).step_by(2).take((pieces.len() - 1) / 2);
        let named = quoted.filter(|name| !exists(name, tree)).map(|name| (*name).to_owned());
        let linked = links(line).filter(|target| !tree.is_ignored(&resolved(path, target)));
        let broken = linked.filter(|target| {
            let target = resolved(path, target);
            !tree.has_file(&target) && !tree.has_folder(&target)
        });
        let missing = named.chain(broken.map(str::to_owned));
        problems.extend(missing.map(|name| format!("{path}:{number} names {name}, which does not exist")));
    }
    problems
}

/// Whether a quoted text is the path of something in the tree, or no path at all.
fn exists(quoted: &str, tree: &Tree) -> bool {
    let path = quoted.trim_start_matches("./").trim_end_matches('/');
    if path.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '{' | '(' | '=' | '…')) || tree.is_ignored(path)
    {
        return true;
    }
    let is_from_root = path.split_once('/').is_some_and(|(top, _)| TOP.contains(&top));
    if is_from_root {
        let is_pattern = path.contains('*');
        return tree.has_file(path)
            || tree.has_folder(path)
            || (is_pattern && tree.files().any(|file| matches(path, file)));
    }
    // A file by its last names, as prose names a neighbour: `stack.rs`, `layers/admit.rs`.
    let is_source = path.ends_with(".rs") || path.ends_with(".md");
    if is_source && !path.starts_with(['/', '*']) && !path.contains("://") {
        let end = format!("/{path}");
        return tree.files().any(|file| file == path || file.ends_with(&end));
    }
    true
}

/// The targets of links such as `[text](target)`, without those that lead out of the repository.
fn links(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let paths = targets.map(|target| target.split('#').next().unwrap_or_default());
    paths.filter(|path| !path.is_empty() && !path.contains(':'))
}

/// A link's target as a path from the root.
fn resolved(document: &str, target: &str) -> String {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, missing: &[&str]) {
        let tree = Tree::of(
            &[
                "gateway/src/stack.rs",
                "gateway/src/layers/admit.rs",
                "docs/errors.md",
                "README.md",
            ],
            "/target\n/tests/.cache",
        );
        let expect: Vec<String> = missing
            .iter()
            .map(|name| format!("docs/a.md:1 names {name}, which does not exist"))
            .collect();
        assert_eq!(dangling("docs/a.md", line, &tree), expect, "for {line}");
    }

    #[test]
    fn files_that_are_there() {
        check(
            "See `gateway/src/stack.rs`, `gateway/src/`, `stack.rs`, `layers/admit.rs`, `docs/*.md`.",
            &[],
        );
        check(
            "[errors](errors.md) [top](../README.md#why) [folder](../gateway/src)",
            &[],
        );
    }

    #[test]
    fn what_is_not_a_path() {
        check(
            "`POST /v1/chat/completions` `/v1/models` `text/event-stream` `a.b` `cargo test gateway/x`",
            &[],
        );
        check(
            "`tests/.cache/x` `docs/<name>.md` `meta-llama/Llama-3` an open ` gateway/x.rs",
            &[],
        );
        check("[out](https://example.com/a.md) [here](#part)", &[]);
        check("```\n`gateway/x.rs`\n```", &[]);
    }

    #[test]
    fn files_that_are_gone() {
        check("See `gateway/src/gone.rs` and `stack.rs`.", &["gateway/src/gone.rs"]);
        check("`gateway/gone/`", &["gateway/gone/"]);
        check(
            "`gone.rs` `GONE.md` `layers/gone.rs`",
            &["gone.rs", "GONE.md", "layers/gone.rs"],
        );
        check("`tack.rs`", &["tack.rs"]);
        check("`docs/*.yaml`", &["docs/*.yaml"]);
        check("`gateway/src/stack.rs:12`", &["gateway/src/stack.rs:12"]);
        check("[gone](gone.md) [up](../gone.md)", &["gone.md", "../gone.md"]);
    }

    #[test]
    fn the_checked_documents() {
        for path in ["ARCHITECTURE.md", "README.md", "docs/request.md"] {
            assert!(is_checked(path), "{path}");
        }
        for path in [
            "docs/decisions/0001-a.md",
            "tests/bench/README.md",
            "CHANGELOG.md",
            "docs/a.json",
        ] {
            assert!(!is_checked(path), "{path}");
        }
    }
}
