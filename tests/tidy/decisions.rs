//! The form of a decision record.

const HEADINGS: [&str; 3] = ["## Context", "## Choice", "## Consequence"];

/// What is wrong with the records, given as file name and text in order of their names.
pub(crate) fn faults(records: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Vec::new();
    for (expected, (name, text)) in (1..).zip(records) {
        match number(name) {
            Some(number) if number == expected => {}
            Some(_) => faults.push(format!("{name} should have the number {expected:04}")),
            None => faults.push(format!("{name} is not named NNNN-words-with-dashes.md")),
        }
        let title = format!("# {expected}. ");
        if !text.starts_with(&title) {
            faults.push(format!("{name} does not start with `{title}`"));
        }
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with("## ")).collect();
        if headings != HEADINGS {
            faults.push(format!("{name} does not have the headings {}", HEADINGS.join(", ")));
        }
    }
    faults
}

/// The number that a well-formed name starts with.
fn number(name: &str) -> Option<u32> {
    let (digits, words) = name.strip_suffix(".md")?.split_once('-')?;
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_named = digits.len() == 4 && words.split('-').all(is_word);
    is_named.then(|| digits.parse().ok()).flatten()
}

#[test]
fn records_out_of_form_are_refused() {
    let text = |number: u32| format!("# {number}. A title\n\n## Context\na\n## Choice\nb\n## Consequence\nc\n");
    let (one, two, three) = (text(1), text(2), text(3));
    let check = |records: &[(&str, &str)], expect: &[&str]| assert_eq!(faults(records), expect);
    check(&[("0001-a-b.md", &one), ("0002-c4.md", &two)], &[]);
    check(
        &[("0001-a.md", &one), ("0003-c.md", &two)],
        &["0003-c.md should have the number 0002"],
    );
    check(
        &[("0001-a.md", &one), ("0001-b.md", &two)],
        &["0001-b.md should have the number 0002"],
    );
    check(
        &[("01-a.md", &one)],
        &["01-a.md is not named NNNN-words-with-dashes.md"],
    );
    check(
        &[("0001-A_b.md", &one)],
        &["0001-A_b.md is not named NNNN-words-with-dashes.md"],
    );
    check(&[("0001-a.md", &three)], &["0001-a.md does not start with `# 1. `"]);
    check(
        &[("0001-a.md", "# 1. A title\n\n## Context\n")],
        &["0001-a.md does not have the headings ## Context, ## Choice, ## Consequence"],
    );
}
