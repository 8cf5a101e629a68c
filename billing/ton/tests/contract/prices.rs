//! What a message is told to bring is enough, and not much more than enough.

use billing::Nano;
use billing::channel::Terms;
use billing_ton::contract::{BadPrices, MOST_NEEDED, Operation, Prices, Request};
use billing_ton_sim::{Machine, slim};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder};
use tycho_types::models::{GasLimitsPrices, MsgForwardPrices};

use crate::codec::opened;
use crate::fixtures::recorded;
use crate::machine::{Live, TON, nano, party, sent, terms};

fn prices(machine: &Machine) -> Prices {
    let parameter = |index| Boc::encode(machine.parameter(index).expect("every chain has it"));
    Prices::read(&parameter(21), &parameter(25)).expect("prices")
}

fn machines() -> [Machine; 2] {
    use billing_ton_sim::Prices::{New, Old};
    [Old, New].map(|prices| Machine::new(slim(), prices).expect("embedded"))
}

/// Whether `operation`, on its dearest path, goes through with `value` beside what it pays in.
fn goes_through(machine: &Machine, operation: Operation, value: Nano) -> bool {
    let mut live = Live::new(
        machine,
        Terms {
            fee_bps: 5_000,
            ..terms()
        },
    );
    let value = value.get();
    assert!(live.open(5 * TON).succeeded());
    let amount = nano(TON);
    let settle = |live: &Live<'_>, close| Request::Settle(live.settle(close, amount, amount));
    let request = match operation {
        Operation::TopUp => sent(party(0x44), TON + value, &Request::TopUp { query_id: 1, amount }),
        Operation::Settle => sent(party(0x44), value, &settle(&live, false)),
        Operation::Close => sent(party(0x44), value, &settle(&live, true)),
        Operation::RequestClose => sent(party(0x11), value, &Request::RequestClose { query_id: 1 }),
        Operation::FinishClose => {
            let start = sent(party(0x11), TON / 10, &Request::RequestClose { query_id: 1 });
            assert!(live.send(&start).1.expect("taken").succeeded());
            live.now += live.terms.close_delay_s;
            sent(party(0x44), value, &Request::FinishClose { query_id: 1 })
        }
    };
    live.send(&request).1.expect("taken").succeeded()
}

#[test]
fn the_least_is_enough_and_half_of_it_is_not() {
    for machine in machines() {
        let prices = prices(&machine);
        for operation in Operation::ALL {
            let least = prices.least(operation);
            assert!(goes_through(&machine, operation, least), "{operation:?} with {least}");
            let half = nano(least.get() / 2);
            assert!(!goes_through(&machine, operation, half), "{operation:?} with {half}");
            assert_eq!(prices.bring(operation), least.saturating_add(least));
        }
    }
}

#[test]
fn no_path_that_succeeds_uses_more_gas_than_is_said() {
    let mut most = Operation::ALL.map(|operation| (operation, 0));
    for (_, scenarios) in recorded() {
        for step in scenarios.iter().flat_map(|scenario| &scenario.steps) {
            if step.exit != Some(0) || step.action != Some(0) {
                continue;
            }
            let (_, _, body) = opened(&step.message());
            let operation = match Request::decode(&body) {
                Ok(Request::TopUp { .. } | Request::Transfer) => Operation::TopUp,
                Ok(Request::Settle(settle)) if settle.close => Operation::Close,
                Ok(Request::Settle(_)) => Operation::Settle,
                Ok(Request::RequestClose { .. }) => Operation::RequestClose,
                Ok(Request::FinishClose { .. }) => Operation::FinishClose,
                // Amounts beyond ours.
                Err(_) => continue,
            };
            let (_, most) = most.iter_mut().find(|(of, _)| *of == operation).expect("all are there");
            *most = step.gas.max(*most);
        }
    }
    for (operation, most) in most {
        match operation {
            // What the contract itself takes for it is rounded up.
            Operation::TopUp => assert!((7_000..=operation.gas()).contains(&most), "{most}"),
            _ => assert_eq!(most, operation.gas(), "{operation:?}"),
        }
    }
}

#[test]
fn what_is_no_table_of_prices_is_refused() {
    let [machine, _] = machines();
    let parameter = |index| Boc::encode(machine.parameter(index).expect("every chain has it"));
    let refused = |gas: &[u8], forwarding: &[u8]| Prices::read(gas, forwarding).expect_err("wrong");
    let form = |index| BadPrices::Form { index };
    assert_eq!(refused(b"nothing", &parameter(25)), form(21));
    assert_eq!(refused(&parameter(25), &parameter(25)), form(21));
    assert_eq!(refused(&parameter(21), &parameter(21)), form(25));
}

/// A source that says that all is free gets us to bring what is enough today; one that says that all is dear, nothing.
#[test]
fn a_lie_about_prices_neither_stops_nor_empties_a_wallet() {
    let [_, new] = machines();
    let honest = |index| new.parameter(index).expect("every chain has it");
    let changed = |price: u64, lump: u64| {
        let mut gas: GasLimitsPrices = honest(21).parse().expect("prices");
        (gas.gas_price, gas.flat_gas_price) = (price << 16, price * 100);
        let mut forwarding: MsgForwardPrices = honest(25).parse().expect("prices");
        forwarding.lump_price = lump;
        let bag = |cell: Cell| Boc::encode(cell);
        Prices::read(
            &bag(CellBuilder::build_from(&gas).expect("it fits")),
            &bag(CellBuilder::build_from(&forwarding).expect("it fits")),
        )
    };
    let free = changed(0, 0).expect("what is too low is made good");
    for operation in Operation::ALL {
        let bring = free.bring(operation);
        assert!(goes_through(&new, operation, bring), "{operation:?} with {bring}");
    }
    assert!(changed(4_000, 4_000_000).is_ok(), "ten times as dear as it was");
    for (price, lump) in [(40_000, 400_000), (400, 400_000_000), (1 << 40, u64::MAX)] {
        let error = changed(price, lump).expect_err("too dear");
        assert!(
            matches!(error, BadPrices::TooDear { needs } if needs > MOST_NEEDED),
            "{error}"
        );
    }
}
