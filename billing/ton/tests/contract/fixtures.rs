//! What the official C++ executor made of every scenario (`billing/ton/contracts/run` writes and checks it), and the same
//! messages here.

use billing::channel::Account;
use billing_ton::contract::CODE_HASH;
use billing_ton_sim::{At, Compute, Machine, NotAccepted, Outcome, Prices, nonexistent};
use serde::Deserialize;
use tycho_types::boc::Boc;
use tycho_types::cell::Cell;
use tycho_types::models::ShardAccount;

#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) code_hash: String,
    pub(crate) scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) steps: Vec<Step>,
}

/// A message, and what the official executor says came of it.
#[derive(Deserialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) now: u32,
    pub(crate) lt: u64,
    message: String,
    pub(crate) accepted: bool,
    pub(crate) exit: Option<i32>,
    pub(crate) action: Option<i32>,
    #[serde(default)]
    pub(crate) bounced: bool,
    #[serde(default)]
    pub(crate) gas: u64,
    #[serde(default)]
    fees: String,
    #[serde(default)]
    out: Vec<String>,
    /// Of what was random, in place of it.
    #[serde(default)]
    out_hashes: Vec<String>,
    #[serde(default)]
    account_hash: String,
}

impl Scenario {
    pub(crate) fn account(&self) -> Account {
        account(&self.address)
    }
}

/// From its raw form.
pub(crate) fn account(address: &str) -> Account {
    let (workchain, hash) = address.split_once(':').expect("an address");
    let mut account = Account {
        workchain: workchain.parse().expect("a workchain"),
        hash: [0; 32],
    };
    for (byte, at) in account.hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&hash[at..at + 2], 16).expect("hexadecimal");
    }
    account
}

impl Step {
    pub(crate) fn message(&self) -> Cell {
        Boc::decode_base64(&self.message).expect("a cell")
    }

    pub(crate) fn out(&self) -> impl Iterator<Item = Cell> {
        self.out.iter().map(|out| Boc::decode_base64(out).expect("a cell"))
    }

    pub(crate) fn fees(&self) -> u128 {
        self.fees.parse().expect("a number")
    }

    pub(crate) fn at(&self) -> At {
        At {
            lt: self.lt,
            now: self.now,
            seed: [0; 32],
        }
    }
}

macro_rules! theme {
    ($prices:literal, $theme:literal) => {
        include_str!(concat!("../../contracts/fixtures/", $prices, "/", $theme, ".json"))
    };
}

const OLD: [&str; 6] = [
    theme!("old", "attacks"),
    theme!("old", "fees"),
    theme!("old", "life"),
    theme!("old", "limits"),
    theme!("old", "rent"),
    theme!("old", "storm"),
];
const NEW: [&str; 6] = [
    theme!("new", "attacks"),
    theme!("new", "fees"),
    theme!("new", "life"),
    theme!("new", "limits"),
    theme!("new", "rent"),
    theme!("new", "storm"),
];
pub(crate) const OLD_CONFIG: &[u8] = include_bytes!("../../contracts/fixtures/old.boc");
pub(crate) const NEW_CONFIG: &[u8] = include_bytes!("../../contracts/fixtures/new.boc");

/// Where the two differ, all that we know of, with both exit codes; the states are the same even there.
///
/// tycho-vm 0.3.7 says 12 (unknown) of an address that is none, where the official machine says 9 (underflow).
/// tycho-executor 0.3.7 still runs the code in the transaction in which rent freezes the account.
const DIFFERENCES: [(&str, Option<i32>, Option<i32>); 2] = [
    ("terms without a payee: open", Some(9), Some(12)),
    ("frozen: the message that finds it", None, Some(207)),
];

/// Both prices: a machine that charges them, and all that was recorded at them.
pub(crate) fn recorded() -> [(Machine, Vec<Scenario>); 2] {
    [(OLD_CONFIG, OLD), (NEW_CONFIG, NEW)].map(|(config, themes)| {
        // The configuration says the prices already.
        let machine = Machine::new(config, Prices::Old).expect("the configuration that is checked in");
        let scenarios = themes
            .into_iter()
            .flat_map(|theme| {
                let file: File = serde_json::from_str(theme).expect("a fixture");
                assert_eq!(
                    file.code_hash,
                    hex(&CODE_HASH),
                    "the fixtures are of another code: run `npm run fixtures`"
                );
                file.scenarios
            })
            .collect();
        (machine, scenarios)
    })
}

/// Plays a scenario; `each` sees the step, the account before, and what came of it.
pub(crate) fn replay(
    machine: &Machine,
    scenario: &Scenario,
    mut each: impl FnMut(&Step, &ShardAccount, &Result<Outcome, NotAccepted>),
) {
    let account = scenario.account();
    let mut state = nonexistent();
    for step in &scenario.steps {
        let outcome = machine.execute(&account, &state, step.message(), step.at());
        each(step, &state, &outcome);
        if let Ok(outcome) = outcome {
            state = outcome.state;
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn both_executors_come_to_the_same_states() {
    let mut compared = 0;
    for (machine, scenarios) in recorded() {
        for scenario in &scenarios {
            replay(&machine, scenario, |step, _, outcome| {
                let told = format!("{}: {}", scenario.name, step.name);
                same(&told, step, outcome);
                compared += 1;
            });
        }
    }
    assert!(compared > 900, "only {compared} steps were found");
}

pub(crate) fn same(told: &str, step: &Step, outcome: &Result<Outcome, NotAccepted>) {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(NotAccepted::Refused { exit_code }) => {
            assert!(!step.accepted, "{told}: refused, and should not be");
            assert_eq!(*exit_code, step.exit, "{told}");
            return;
        }
        Err(error) => panic!("{told}: {error}"),
    };
    assert!(step.accepted, "{told}: accepted, and should not be");
    let hash = hex(&outcome.state.account.inner().repr_hash().0);
    assert_eq!(hash, step.account_hash, "{told}: account");
    if let Some((_, official, ours)) = DIFFERENCES.iter().find(|(name, _, _)| *name == told) {
        assert_eq!(
            (step.exit, outcome.exit_code()),
            (*official, *ours),
            "{told}: no longer so"
        );
        return;
    }
    assert_eq!(outcome.exit_code(), step.exit, "{told}: exit code");
    assert_eq!(outcome.action, step.action, "{told}: result of the actions");
    if matches!(outcome.compute, Compute::Ran { .. }) {
        assert_eq!(outcome.gas_used(), step.gas, "{told}: gas");
    }
    assert_eq!(outcome.bounced, step.bounced, "{told}: bounced");
    assert_eq!(outcome.fees, step.fees(), "{told}: fees");
    let mut expected: Vec<_> = step.out().map(|cell| hex(&cell.repr_hash().0)).collect();
    expected.extend(step.out_hashes.iter().cloned());
    let found: Vec<_> = outcome.messages.iter().map(|cell| hex(&cell.repr_hash().0)).collect();
    assert_eq!(found, expected, "{told}: messages");
}

#[test]
fn the_configurations_are_the_ones_that_are_written_beside_them() {
    let facts: serde_json::Value =
        serde_json::from_str(include_str!("../../contracts/fixtures/configs.json")).expect("JSON");
    for (name, config) in [("old", OLD_CONFIG), ("new", NEW_CONFIG)] {
        let root = Boc::decode(config).expect("checked in");
        assert_eq!(facts[name]["hash"], hex(&root.repr_hash().0), "{name}");
    }
    assert_eq!(
        OLD_CONFIG,
        billing_ton_sim::slim(),
        "the simulated chain has the same one"
    );
}
