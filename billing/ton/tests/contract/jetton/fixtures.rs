//! What the official C++ executor made of every scenario with a jetton, and the same messages here: of all accounts, the
//! channel's, the jetton's and its wallets'.

use std::collections::HashMap;

use billing::channel::Account;
use billing_ton::jetton::CODE_HASH;
use billing_ton_sim::{Compute, Machine, NotAccepted, Prices};
use serde::Deserialize;
use tycho_types::boc::Boc;
use tycho_types::cell::Cell;

use super::books;
use super::world::{Step, World};
use crate::fixtures::{NEW_CONFIG, OLD_CONFIG, account, hex};

#[derive(Deserialize)]
struct File {
    code_hash: String,
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    address: String,
    pub(crate) transactions: Vec<Recorded>,
}

/// A transaction as the official executor did it.
#[derive(Deserialize)]
pub(crate) struct Recorded {
    pub(crate) name: String,
    pub(crate) to: String,
    now: u32,
    lt: u64,
    /// Of a message that no account here sent.
    message: Option<String>,
    /// Of one that was sent by a transaction before.
    message_hash: Option<String>,
    accepted: bool,
    pub(crate) exit: Option<i32>,
    action: Option<i32>,
    #[serde(default)]
    bounced: bool,
    #[serde(default)]
    pub(crate) gas: u64,
    #[serde(default)]
    fees: String,
    #[serde(default)]
    pub(crate) out_hashes: Vec<String>,
    #[serde(default)]
    account_hash: String,
}

impl Scenario {
    pub(crate) fn channel(&self) -> Account {
        account(&self.address)
    }

    pub(crate) fn is_channel(&self, recorded: &Recorded) -> bool {
        recorded.to == self.address
    }
}

impl Recorded {
    pub(crate) fn fees(&self) -> u128 {
        self.fees.parse().expect("a number")
    }
}

macro_rules! theme {
    ($prices:literal, $theme:literal) => {
        include_str!(concat!("../../../contracts/fixtures/", $prices, "/", $theme, ".json"))
    };
}

/// tycho-executor 0.3.7 still runs the code in the transaction in which rent freezes an account (`crate::fixtures` knows the
/// same of the channel of TON): here the payee's wallet, and from there on the two tell different stories.
const FREEZES: &str = "a payee whose wallet froze";

/// Both prices: a machine that charges them, and all that was recorded at them.
pub(crate) fn recorded() -> [(Machine, Vec<Scenario>); 2] {
    let old = [theme!("old", "jetton"), theme!("old", "jetton_storm")];
    let new = [theme!("new", "jetton"), theme!("new", "jetton_storm")];
    [(OLD_CONFIG, old), (NEW_CONFIG, new)].map(|(config, themes)| {
        let machine = Machine::new(config, Prices::Old).expect("the configuration that is checked in");
        let read = |theme| {
            let file: File = serde_json::from_str(theme).expect("a fixture");
            assert_eq!(file.code_hash, hex(&CODE_HASH), "run `npm run fixtures`");
            file.scenarios
        };
        (machine, themes.into_iter().flat_map(read).collect())
    })
}

/// Plays a scenario; `each` sees what was recorded and what came of it here.
pub(crate) fn replay(
    machine: &Machine,
    scenario: &Scenario,
    mut each: impl FnMut(&Recorded, &Result<Step, NotAccepted>),
) {
    let mut world = World::new(machine);
    let mut messages: HashMap<String, Cell> = HashMap::new();
    for recorded in &scenario.transactions {
        if scenario.name == FREEZES && recorded.accepted && recorded.exit.is_none() {
            return;
        }
        world.now = recorded.now;
        let message = match (&recorded.message, &recorded.message_hash) {
            (Some(message), _) => Boc::decode_base64(message).expect("a cell"),
            (None, Some(hash)) => messages
                .get(hash)
                .unwrap_or_else(|| panic!("{}: {} was not sent", scenario.name, recorded.name))
                .clone(),
            (None, None) => panic!("{}: no message", recorded.name),
        };
        let step = world.deliver(account(&recorded.to), message, recorded.lt);
        if let Ok(step) = &step {
            let sent = step.outcome.messages.iter();
            messages.extend(sent.map(|out| (hex(&out.repr_hash().0), out.clone())));
        }
        each(recorded, &step);
    }
}

#[test]
fn both_executors_come_to_the_same_states() {
    let mut compared = 0;
    for (machine, scenarios) in recorded() {
        for scenario in &scenarios {
            replay(&machine, scenario, |recorded, step| {
                let told = format!("{}: {}", scenario.name, recorded.name);
                same(&told, recorded, step);
                compared += 1;
            });
        }
    }
    assert!(compared > 1_000, "only {compared} transactions were found");
}

fn same(told: &str, recorded: &Recorded, step: &Result<Step, NotAccepted>) {
    let outcome = match step {
        Ok(step) => &step.outcome,
        Err(NotAccepted::Refused { exit_code }) => {
            assert!(!recorded.accepted, "{told}: refused, and should not be");
            assert_eq!(*exit_code, recorded.exit, "{told}");
            return;
        }
        Err(error) => panic!("{told}: {error}"),
    };
    assert!(recorded.accepted, "{told}: accepted, and should not be");
    let hash = hex(&outcome.state.account.inner().repr_hash().0);
    assert_eq!(hash, recorded.account_hash, "{told}: account");
    assert_eq!(outcome.exit_code(), recorded.exit, "{told}: exit code");
    assert_eq!(outcome.action, recorded.action, "{told}: result of the actions");
    if matches!(outcome.compute, Compute::Ran { .. }) {
        assert_eq!(outcome.gas_used(), recorded.gas, "{told}: gas");
    }
    assert_eq!(outcome.bounced, recorded.bounced, "{told}: bounced");
    assert_eq!(outcome.fees, recorded.fees(), "{told}: fees");
    let found: Vec<_> = outcome.messages.iter().map(|out| hex(&out.repr_hash().0)).collect();
    assert_eq!(found, recorded.out_hashes, "{told}: messages");
}

#[test]
fn every_scenario_keeps_the_books() {
    let mut checked = 0;
    for (machine, scenarios) in recorded() {
        for scenario in &scenarios {
            replay(&machine, scenario, |recorded, step| {
                if let Ok(step) = step
                    && step.to == scenario.channel()
                {
                    books::check(&format!("{}: {}", scenario.name, recorded.name), step);
                    checked += 1;
                }
            });
        }
    }
    assert!(checked > 300, "only {checked} transactions were found");
}
