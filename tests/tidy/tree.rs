//! The files of the repository: what is on disk, less what `.gitignore` names.
//!
//! Git itself is not asked, so that an unpacked archive is checked too.
//! Of `.gitignore` only the forms that ours uses are understood: a name, a path that starts with a slash, and `*`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Paths relative to the root, with forward slashes.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeSet<String>,
    ignored: Vec<String>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Self {
        let ignore = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let mut tree = Self::of(&[], &ignore);
        tree.walk(root, "");
        tree
    }

    /// A tree of the files named.
    pub(crate) fn of(files: &[&str], gitignore: &str) -> Self {
        let lines = gitignore.lines().map(str::trim);
        let entries = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self {
            files: files.iter().map(|&file| file.to_owned()).collect(),
            ignored: entries.map(|entry| entry.trim_end_matches('/').to_owned()).collect(),
        }
    }

    fn walk(&mut self, folder: &Path, prefix: &str) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = format!("{prefix}{name}");
            if name == ".git" || self.is_ignored(&path) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.walk(&entry.path(), &format!("{path}/")),
                Ok(kind) if kind.is_file() => {
                    self.files.insert(path);
                }
                // A link leads to what is listed elsewhere, or out of the repository.
                _ => {}
            }
        }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    pub(crate) fn has_file(&self, path: &str) -> bool {
        self.files.contains(path)
    }

    pub(crate) fn has_folder(&self, path: &str) -> bool {
        let below = format!("{path}/");
        self.files
            .range(below.clone()..)
            .next()
            .is_some_and(|file| file.starts_with(&below))
    }

    /// Whether the path, or a folder that it is in, is ignored by Git: made by a build or a run, and absent elsewhere.
    pub(crate) fn is_ignored(&self, path: &str) -> bool {
        self.ignored.iter().any(|entry| match entry.strip_prefix('/') {
            Some(anchored) => is_at_or_below(anchored, path),
            None if entry.contains('/') => is_at_or_below(entry, path),
            None => path.split('/').any(|name| matches(entry, name)),
        })
    }
}

/// The text of a file that the tree named.
pub(crate) fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

fn is_at_or_below(pattern: &str, path: &str) -> bool {
    let depth = pattern.split('/').count();
    let names: Vec<&str> = path.split('/').collect();
    names.len() >= depth
        && pattern
            .split('/')
            .zip(names)
            .all(|(pattern, name)| matches(pattern, name))
}

/// Whether a text fits a pattern in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            let starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            starts.into_iter().any(|at| matches(tail, &rest[at..]))
        }),
    }
}

#[test]
fn patterns_and_ignored_paths() {
    assert!(matches("*.pyc", "a.pyc") && matches("a*c*", "abcd") && matches("*", ""));
    assert!(!matches("*.pyc", "a.py") && !matches("a", "ab"));

    let tree = Tree::of(
        &["docs/a/b.md", "docs.md"],
        "/target\n# why\nnode_modules\n/tests/.cache/\n*.pyc\n",
    );
    for ignored in [
        "target",
        "target/debug/x",
        "k6/node_modules/x.js",
        "tests/.cache/y",
        "a/b.pyc",
    ] {
        assert!(tree.is_ignored(ignored), "{ignored}");
    }
    for kept in ["tests/target.rs", "k6/target/x", "tests/cache", "a/b.py"] {
        assert!(!tree.is_ignored(kept), "{kept}");
    }
    assert!(tree.has_folder("docs") && tree.has_folder("docs/a") && !tree.has_folder("doc"));
}
