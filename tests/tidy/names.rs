//! What files and folders may be called.

use super::tree::Tree;

/// Names that say that no name was found.
const NAMELESS: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];

pub(crate) fn folder_modules(tree: &Tree) -> Vec<String> {
    let modules = tree
        .files()
        .filter(|path| path.split('/').next_back() == Some("mod.rs"));
    modules.map(str::to_owned).collect()
}

/// Files whose name, or a folder of whose path, says nothing.
pub(crate) fn nameless(tree: &Tree) -> Vec<String> {
    let is_nameless = |part: &str| {
        let stem = part.split('.').next().unwrap_or_default();
        NAMELESS.contains(&stem.to_ascii_lowercase().as_str())
    };
    let found = tree.files().filter(|path| path.split('/').any(is_nameless));
    found.map(str::to_owned).collect()
}

#[test]
fn names_are_refused() {
    let tree = Tree::of(
        &[
            "a/src/mod.rs",
            "a/src/model.rs",
            "b/Utils/x.rs",
            "c/helpers.py",
            "d/commons.rs",
            "e/common.test.mjs",
        ],
        "",
    );
    assert_eq!(folder_modules(&tree), ["a/src/mod.rs"]);
    assert_eq!(nameless(&tree), ["b/Utils/x.rs", "c/helpers.py", "e/common.test.mjs"]);
}
