//! `docs/contract.md` says what the contract for jettons does.

use billing_ton::jetton::{CODE, CODE_HASH, Failure, RENT_RESERVE, TRANSFER};

use super::fixtures::{Recorded, Scenario, recorded};
use crate::document::{DOCUMENT, grouped, has_row, thrown, ton};
use crate::fixtures::hex;

const SOURCE: &str = include_str!("../../../contracts/jetton_channel.tolk");

/// The name of an operation there, and where it was measured.
const MEASURED: [(&str, &str, &str); 11] = [
    ("`open`", "a whole life", "open"),
    ("the master's answer", "a whole life", "open, and then"),
    ("a deposit", "a whole life", "deposit, and then"),
    ("`settle` in a jetton", "without a fee", "settle"),
    ("`settle` in a jetton, with a fee", "a whole life", "settle with a fee"),
    (
        "`settle` with `close` in a jetton, and a fee",
        "a whole life",
        "close together with a fee",
    ),
    ("`request_close` in a jetton", "the payer leaves", "request close"),
    ("`finish_close` in a jetton", "the payer leaves", "finish close"),
    (
        "a transfer that came back",
        "a transfer that cannot be made",
        "settle, and then",
    ),
    ("`retry`", "a transfer that cannot be made", "retry with enough"),
    ("`sweep`", "too early", "sweep what was not credited"),
];

fn find<'a>(scenarios: &'a [Scenario], scenario: &str, named: &str) -> &'a Recorded {
    let scenario = scenarios
        .iter()
        .find(|found| found.name == scenario)
        .expect("it was played");
    scenario
        .transactions
        .iter()
        .rfind(|found| found.name == named && found.exit == Some(0) && scenario.is_channel(found))
        .expect("it was recorded")
}

#[test]
fn the_table_of_costs_is_what_was_measured() {
    let [(_, old), (_, new)] = &recorded();
    for (name, scenario, named) in MEASURED {
        let (old, new) = (find(old, scenario, named), find(new, scenario, named));
        assert_eq!(old.gas, new.gas, "{name}: gas does not depend on its price");
        has_row(&format!(
            "| {name} | {} | {} | {} | {} |",
            grouped(old.gas),
            old.out_hashes.len(),
            ton(old.fees()),
            ton(new.fees())
        ));
    }
}

#[test]
fn the_table_of_errors_is_the_enum_and_the_source() {
    for failure in Failure::OWN {
        let begin = format!("| {} | `{failure:?}` | ", failure.code());
        assert!(
            DOCUMENT.lines().any(|line| line.starts_with(&begin)),
            "docs/contract.md lacks {begin}"
        );
    }
    let codes: Vec<_> = Failure::OWN.iter().map(|failure| failure.code()).collect();
    assert_eq!(thrown(SOURCE), codes);
}

#[test]
fn the_code_is_the_one_that_the_page_names() {
    has_row(&format!("| code hash | `{}` |", hex(&CODE_HASH)));
    let length = grouped(CODE.len() as u64);
    has_row(&format!(
        "| code | `billing/ton/contracts/jetton_channel.boc`, {length} bytes |"
    ));
}

#[test]
fn the_source_has_our_numbers() {
    let number = |nano: u64| format!("ton(\"{}.{:02}\")", nano / 1_000_000_000, nano / 10_000_000 % 100);
    assert!(SOURCE.contains(&format!("const RENT_RESERVE = {}", number(RENT_RESERVE.get()))));
    assert!(SOURCE.contains(&format!("const TRANSFER = {}", number(TRANSFER.get()))));
}

#[test]
fn the_tests_that_hold_a_promise_are_there() {
    let modules = [
        ("jetton::accepting", include_str!("accepting.rs")),
        ("jetton::fixtures", include_str!("fixtures.rs")),
        ("jetton::storm", include_str!("storm.rs")),
    ];
    let promises: Vec<_> = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_suffix("` |")?.rsplit_once("| `"))
        .filter_map(|(_, test)| test.rsplit_once("::"))
        .filter(|(module, _)| module.starts_with("jetton"))
        .collect();
    assert!(promises.len() >= 12, "{promises:?}");
    for (module, test) in promises {
        let (_, source) = modules
            .iter()
            .find(|(name, _)| *name == module)
            .expect("a module of these tests");
        assert!(source.contains(&format!("#[test]\nfn {test}()")), "{module}::{test}");
    }
}
