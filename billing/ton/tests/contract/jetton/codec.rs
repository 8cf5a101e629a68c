//! What our codec makes of every message and state that the official side made, and what it refuses.

use billing::Nano;
use billing::channel::{Keys, OnChain};
use billing_ton::contract::Malformed;
use billing_ton::jetton::{self, CODE_HASH, Failure, Held, Request, State, Transfer, Unpaid, Who};
use tycho_types::cell::{Cell, CellBuilder, CellFamily};

use super::fixtures::{recorded, replay};
use super::world::destination;
use crate::codec::{data, opened};
use crate::fixtures::hex;
use crate::machine::{nano, party, terms};
use crate::random::Random;

#[test]
fn everything_that_was_understood_is_read_and_written_back_bit_for_bit() {
    let (mut requests, mut orders, mut states, mut returned) = (0, 0, 0, 0);
    for (machine, scenarios) in recorded() {
        for scenario in &scenarios {
            replay(&machine, scenario, |recorded, step| {
                let Ok(step) = step else { return };
                if step.to != scenario.channel() || step.outcome.exit_code() != Some(0) {
                    return;
                }
                let told = format!("{}: {}", scenario.name, recorded.name);
                let (_, _, body) = opened(&step.message);
                let kept = data(&step.outcome.state).expect("it stays");
                let state = State::decode(&kept).expect("the contract wrote it");
                assert_eq!(state.encode(), kept, "{told}");
                states += 1;
                if Unpaid::decode(&body).is_ok() {
                    returned += 1;
                } else {
                    match Request::decode(&body) {
                        // What somebody adds is not ours to write.
                        Ok(Request::Notification { .. } | Request::Rent) => {}
                        Ok(request) => assert_eq!(request.encode(), body, "{told}"),
                        Err(Malformed::TooLarge { .. } | Malformed::UnknownOperation(_)) => {}
                        Err(error) => panic!("{told}: {error}"),
                    }
                    requests += 1;
                }
                for out in &step.outcome.messages {
                    if Some(destination(out)) == state.held.wallet {
                        let (_, _, body) = opened(out);
                        let order = Transfer::decode(&body).expect("a transfer");
                        assert_eq!(order.encode(), body, "{told}");
                        orders += 1;
                    }
                }
            });
        }
    }
    assert!(
        requests > 200 && orders > 60 && states > 250 && returned > 10,
        "{requests} requests, {orders} orders, {states} states, {returned} returned"
    );
}

#[test]
fn the_address_is_the_one_that_the_official_side_computed() {
    let mut seen = 0;
    let [(_, scenarios), _] = &recorded();
    for scenario in scenarios {
        replay(&recorded()[0].0, scenario, |_, step| {
            let Ok(step) = step else { return };
            let (_, Some(init), _) = opened(&step.message) else {
                return;
            };
            let Some(Ok(state)) = init.data.map(|data| State::decode(&data)) else {
                return;
            };
            let account = jetton::account(&state.terms, &state.keys, &state.held.master);
            if scenario.channel().workchain == 0 {
                assert_eq!(account, scenario.channel(), "{}", scenario.name);
                seen += 1;
            }
        });
        if seen > 12 {
            break;
        }
    }
    assert!(seen > 12, "{seen}");
}

#[test]
fn the_code_is_the_one_that_is_written_beside_it() {
    assert_eq!(jetton::code().repr_hash().0, CODE_HASH);
    let facts = include_str!("../../../contracts/jetton_channel.json");
    assert!(
        facts.contains(&format!("\"code_hash\": \"{}\"", hex(&CODE_HASH))),
        "{facts}"
    );
}

fn state() -> State {
    State {
        on_chain: OnChain {
            close_at: Some(7),
            deposited: nano(900),
            claimed: nano(300),
        },
        held: Held {
            wallet: Some(party(8)),
            ended: true,
            ordered_at: 5,
            payee_due: nano(1),
            fee_due: nano(2),
            payer_due: Nano::MOST,
            ..State::newborn(terms(), keys(), party(9)).held
        },
        ..State::newborn(terms(), keys(), party(9))
    }
}

fn keys() -> Keys {
    Keys {
        payer: [4; 32],
        payee: [5; 32],
    }
}

#[test]
fn states_and_messages_come_back() {
    for state in [state(), State::newborn(terms(), keys(), party(9))] {
        assert_eq!(State::decode(&state.encode()), Ok(state));
    }
    for who in [Who::Payee, Who::Fee, Who::Payer] {
        let retry = Request::Retry { query_id: 1, who };
        assert_eq!(Request::decode(&retry.encode()), Ok(retry));
        let unpaid = Unpaid {
            who: Some(who),
            amount: nano(3),
        };
        assert_eq!(Unpaid::decode(&unpaid.encode()), Ok(unpaid));
    }
    let deposit = Transfer::deposit(nano(5), party(1), party(2), 3);
    assert_eq!(Transfer::decode(&deposit.encode()), Ok(deposit));
    assert_eq!(deposit.who(), None);
}

/// Nothing panics on whatever an account may say.
#[test]
fn what_is_not_of_the_scheme_is_refused() {
    let longer = |cell: &Cell| {
        let mut builder = CellBuilder::new();
        builder.store_slice(cell.as_slice().expect("ordinary")).expect("room");
        builder.store_bit_one().expect("room");
        builder.build().expect("ordinary")
    };
    assert_eq!(State::decode(&longer(&state().encode())), Err(Malformed::Long));
    assert_eq!(State::decode(&Cell::empty_cell()), Err(Malformed::Short));
    let sweep = Request::Sweep {
        query_id: 1,
        amount: nano(1),
    };
    assert_eq!(Request::decode(&longer(&sweep.encode())), Err(Malformed::Long));
    let mut nobody = CellBuilder::new();
    nobody.store_u32(0x7063_7279).expect("room");
    nobody.store_u64(1).expect("room");
    nobody.store_small_uint(0, 2).expect("room");
    let nobody = nobody.build().expect("ordinary");
    assert_eq!(Request::decode(&nobody), Err(Malformed::Nobody));
    let mut random = Random(7);
    for _ in 0..3_000 {
        let mut builder = CellBuilder::new();
        let operations = [
            0x7063_6f70,
            0x7063_7279,
            0x7362_d09c,
            0xd173_5400,
            0x0f8a_7ea5,
            0xffff_ffff,
        ];
        builder.store_u32(operations[random.below(6) as usize]).expect("room");
        for _ in 0..random.below(14) {
            builder.store_u64(random.next()).expect("room");
        }
        let cell = builder.build().expect("ordinary");
        if let Ok(request) = Request::decode(&cell) {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        if let Ok(order) = Transfer::decode(&cell) {
            assert_eq!(order.encode(), cell);
        }
        if let Ok(unpaid) = Unpaid::decode(&cell) {
            assert_eq!(Unpaid::decode(&unpaid.encode()), Ok(unpaid));
        }
        assert!(State::decode(&cell).is_err());
    }
}

#[test]
fn codes_become_failures_and_back() {
    for failure in Failure::OWN {
        assert_eq!(Failure::from_exit_code(failure.code()), Some(failure));
    }
    for failure in billing_ton::contract::Failure::ALL {
        let found = Failure::from_exit_code(failure.code());
        assert_eq!(found.map(Failure::code), Some(failure.code()));
    }
    assert_eq!(Failure::from_exit_code(0), None);
}
