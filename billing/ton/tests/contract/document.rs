//! `docs/contract.md` says what the code does.

use billing_ton::contract::{CODE, CODE_HASH, Failure, LEAST_CLOSE_DELAY_S, MOST_CLOSE_DELAY_S, RENT_RESERVE};

use crate::fixtures::{Scenario, Step, hex, recorded};

pub(crate) const DOCUMENT: &str = include_str!("../../../../docs/contract.md");
const SOURCE: &str = concat!(
    include_str!("../../contracts/channel.tolk"),
    include_str!("../../contracts/core.tolk")
);

pub(crate) fn has_row(row: &str) {
    assert!(
        DOCUMENT.lines().any(|line| line == row),
        "docs/contract.md lacks the row\n{row}"
    );
}

/// The name of an operation there, and where it was measured.
const MEASURED: [(&str, &str, &str); 9] = [
    ("open, or `top_up`", "a whole life", "open"),
    ("plain transfer", "a whole life", "plain transfer"),
    ("`settle`", "a whole life", "settle"),
    ("`settle` with a fee", "a network fee", "settle with a fee"),
    ("`settle` with `close`", "a whole life", "close together"),
    (
        "`settle` with `close` and a fee",
        "a network fee",
        "close together with a fee",
    ),
    (
        "`settle` with `close`, nothing to pay",
        "never used",
        "close without a voucher",
    ),
    ("`request_close`", "the payer leaves", "request close"),
    ("`finish_close`", "the payer leaves", "finish close"),
];

fn step<'a>(scenarios: &'a [Scenario], scenario: &str, step: &str) -> &'a Step {
    scenarios
        .iter()
        .filter(|found| found.name == scenario)
        .flat_map(|found| &found.steps)
        .rfind(|found| found.name == step && found.exit == Some(0))
        .expect("it was recorded")
}

/// In TON, to the millionth.
pub(crate) fn ton(nano: u128) -> String {
    let micro = (nano + 500) / 1_000;
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

pub(crate) fn grouped(number: u64) -> String {
    match number / 1_000 {
        0 => number.to_string(),
        thousands => format!("{},{:03}", grouped(thousands), number % 1_000),
    }
}

#[test]
fn the_table_of_costs_is_what_was_measured() {
    let [(_, old), (_, new)] = &recorded();
    for (name, scenario, named) in MEASURED {
        let (old, new) = (step(old, scenario, named), step(new, scenario, named));
        assert_eq!(old.gas, new.gas, "{name}: gas does not depend on its price");
        has_row(&format!(
            "| {name} | {} | {} | {} | {} |",
            grouped(old.gas),
            old.out().count(),
            ton(old.fees()),
            ton(new.fees())
        ));
    }
}

#[test]
fn the_table_of_errors_is_the_enum_and_the_source() {
    for failure in Failure::ALL {
        let begin = format!("| {} | `{failure:?}` | ", failure.code());
        assert!(
            DOCUMENT.lines().any(|line| line.starts_with(&begin)),
            "docs/contract.md lacks {begin}"
        );
    }
    let thrown = thrown(SOURCE);
    assert_eq!(thrown.len(), 11, "{thrown:?}");
    for code in thrown {
        let failure = Failure::from_exit_code(code).expect("no success");
        assert_ne!(
            failure,
            Failure::Other(code),
            "the source throws {code}, which has no name"
        );
    }
}

/// The exit codes that a source names.
pub(crate) fn thrown(source: &str) -> Vec<i32> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("const ERR_")?.split_once(" = "))
        .map(|(_, code)| match code.strip_prefix("0x") {
            Some(code) => i32::from_str_radix(code, 16).expect("a number"),
            None => code.parse().expect("a number"),
        })
        .collect()
}

#[test]
fn codes_become_failures_and_back() {
    for failure in Failure::ALL {
        let (exit, action) = (
            Failure::from_exit_code(failure.code()),
            Failure::from_action_code(failure.code()),
        );
        assert!([exit, action].contains(&Some(failure)), "{failure:?}");
    }
    assert_eq!(Failure::from_exit_code(0), None);
    assert_eq!(Failure::from_exit_code(1), None);
    assert_eq!(Failure::from_action_code(0), None);
    assert_eq!(Failure::from_exit_code(37), Some(Failure::Other(37)));
    assert_eq!(Failure::from_action_code(200), Some(Failure::Other(200)));
}

#[test]
fn the_code_is_the_one_that_the_page_names() {
    has_row(&format!("| code hash | `{}` |", hex(&CODE_HASH)));
    let length = grouped(CODE.len() as u64);
    has_row(&format!(
        "| code | `billing/ton/contracts/channel.boc`, {length} bytes |"
    ));
}

#[test]
fn the_source_has_our_numbers() {
    let reserve = format!("const RENT_RESERVE = ton(\"0.{:02}\")", RENT_RESERVE.get() / 10_000_000);
    assert!(SOURCE.contains(&reserve), "{reserve}");
    assert!(SOURCE.contains(&format!("const MAX_CLOSE_DELAY = {MOST_CLOSE_DELAY_S}")));
    assert_eq!(LEAST_CLOSE_DELAY_S, 3_600);
    let gas = billing_ton::contract::Operation::TopUp.gas();
    assert!(SOURCE.contains(&format!("const GAS_TOP_UP = {gas}")));
}

#[test]
fn the_tests_that_hold_a_promise_are_there() {
    let modules = [
        ("books", include_str!("books.rs")),
        ("document", include_str!("document.rs")),
        ("fixtures", include_str!("fixtures.rs")),
        ("storm", include_str!("storm.rs")),
    ];
    // What is between backquotes in a table, and named as a test of a module.
    let promises: Vec<_> = DOCUMENT
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter_map(|code| code.split_once("::"))
        .filter(|(module, _)| *module != "jetton")
        .collect();
    assert!(promises.len() >= 18, "{promises:?}");
    for (module, test) in promises {
        let (_, source) = modules
            .iter()
            .find(|(name, _)| *name == module)
            .expect("a module of these tests");
        assert!(source.contains(&format!("#[test]\nfn {test}()")), "{module}::{test}");
    }
}
