//! The table of codes in `docs/attestation.md` is the one in the source.

const SOURCE: &str = include_str!("../src/refusal.rs");
const DOCUMENT: &str = include_str!("../../docs/attestation.md");

/// The codes of `Refusal::code`, as they stand there; those of GPUs come from a list of their own.
fn in_source() -> Vec<&'static str> {
    let (_, codes) = SOURCE.split_once("pub const fn code").unwrap_or_default();
    let (codes, _) = codes.split_once("\n    }\n").unwrap_or_default();
    codes
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once("=> \""))
        .filter_map(|(_, code)| code.strip_suffix("\","))
        .collect()
}

fn in_document() -> Vec<&'static str> {
    let (_, table) = DOCUMENT.split_once("## Codes").unwrap_or_default();
    let (table, _) = table.split_once("\n## ").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .collect()
}

#[test]
fn codes_are_documented_in_their_order() {
    let source = in_source();
    assert!(source.len() > 40, "the codes were not found: {source:?}");
    assert_eq!(in_document(), source);
}

#[test]
fn each_code_is_one_refusal() {
    let mut codes = in_source();
    codes.sort_unstable();
    let all = codes.len();
    codes.dedup();
    assert_eq!(codes.len(), all);
}

#[test]
fn codes_of_bundles_are_documented_in_their_order() {
    let source = include_str!("../src/bundle/refusal.rs");
    let codes = |text: &'static str, start: &str| -> Vec<&'static str> {
        let ends = text.split(start).skip(1);
        ends.filter_map(|rest| rest.split(['"', '`']).next()).collect()
    };
    let source = codes(source, "=> \"");
    assert_eq!(source.len(), 8, "{source:?}");
    let rows = codes(include_str!("../../docs/evidence.md"), "\n| `");
    let rows: Vec<&str> = rows.into_iter().filter(|row| row.starts_with("bundle_")).collect();
    assert_eq!(rows, source);
}
