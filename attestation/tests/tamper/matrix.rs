//! What was tried and what came of it, beside the table that says what must.

use std::collections::{BTreeMap, BTreeSet};

use attestation::Refusal;

const TABLE: &str = include_str!("tamper.txt");

/// Of one section: a name for each thing that was changed, and the codes that this gave.
#[derive(Default)]
pub(crate) struct Matrix(BTreeMap<String, BTreeSet<&'static str>>);

impl Matrix {
    pub(crate) fn add<T>(&mut self, name: impl Into<String>, outcome: Result<T, Refusal>) {
        self.0.entry(name.into()).or_default().insert(code(outcome));
    }

    /// Compares with the table, both ways.
    pub(crate) fn check(self, section: &str) {
        let found: BTreeMap<String, String> = self
            .0
            .into_iter()
            .map(|(name, codes)| (name, codes.into_iter().collect::<Vec<_>>().join("|")))
            .collect();
        let expected = section_of_table(section);
        let mut wrong = Vec::new();
        for (name, codes) in &found {
            match expected.get(name.as_str()) {
                Some(expected) if fits(codes, expected) => {}
                Some(expected) => wrong.push(format!("{name}: {codes}; the table says {expected}")),
                None => wrong.push(format!("{name}: {codes}; the table does not have it")),
            }
        }
        for (name, codes) in expected {
            if !found.contains_key(name) {
                wrong.push(format!("{name}: not tried; the table says {codes}"));
            }
        }
        assert!(
            wrong.is_empty(),
            "[{section}] {} differ:\n{}\n\nfound:\n{}",
            wrong.len(),
            wrong.join("\n"),
            found
                .iter()
                .map(|(name, codes)| format!("{name:<48} {codes}\n"))
                .collect::<String>()
        );
    }
}

/// `~` before the codes: no others than these. Where a signature's own bytes are changed, they are not the same in each
/// run, and so not every code comes each time.
fn fits(found: &str, expected: &str) -> bool {
    match expected.strip_prefix('~') {
        Some(among) => found
            .split('|')
            .all(|code| among.split('|').any(|listed| listed == code)),
        None => found == expected,
    }
}

fn code<T>(outcome: Result<T, Refusal>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(refusal) => refusal.code(),
    }
}

fn section_of_table(section: &str) -> BTreeMap<&'static str, &'static str> {
    let heading = format!("[{section}]");
    let lines = TABLE.lines().skip_while(|line| *line != heading).skip(1);
    let mut rows = BTreeMap::new();
    for line in lines.take_while(|line| !line.starts_with('[')) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, codes) = line.rsplit_once(' ').expect("a row is a name and codes");
        let before = rows.insert(name.trim_end(), codes);
        assert_eq!(before, None, "{name} stands twice in [{section}]");
    }
    assert!(!rows.is_empty(), "the table has no section [{section}]");
    rows
}
