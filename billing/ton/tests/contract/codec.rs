//! What our codec makes of every message and state that the official side made, and what it refuses.

use billing::Nano;
use billing::channel::{Account, Keys, Network, OnChain, Terms};
use billing_ton::contract::{self, Malformed, Remittance, Request, State};
use tycho_types::cell::{Cell, CellBuilder, CellFamily, Load};
use tycho_types::models::{AccountState, MsgInfo, ShardAccount, StateInit};

use crate::fixtures::{recorded, replay};
use crate::random::Random;

/// Header gone: the state init, if any, and the body.
pub(crate) fn opened(message: &Cell) -> (MsgInfo, Option<StateInit>, Cell) {
    let mut slice = message.as_slice().expect("ordinary");
    let info = MsgInfo::load_from(&mut slice).expect("a header");
    let init = match slice.load_bit().expect("whole") {
        false => None,
        true => Some(match slice.load_bit().expect("whole") {
            false => StateInit::load_from(&mut slice).expect("a state init"),
            true => {
                let mut init = slice.load_reference_as_slice().expect("a state init");
                StateInit::load_from(&mut init).expect("a state init")
            }
        }),
    };
    let body = match slice.load_bit().expect("whole") {
        true => slice.load_reference_cloned().expect("a body"),
        false => CellBuilder::build_from(slice).expect("a body"),
    };
    (info, init, body)
}

/// `None` for an account without code.
pub(crate) fn data(state: &ShardAccount) -> Option<Cell> {
    let account = state.load_account().expect("an account")?;
    match account.state {
        AccountState::Active(init) => init.data,
        AccountState::Uninit | AccountState::Frozen(_) => None,
    }
}

#[test]
fn everything_that_was_understood_is_read_and_written_back_bit_for_bit() {
    let (mut requests, mut remittances, mut states) = (0, 0, 0);
    for (machine, scenarios) in recorded() {
        for scenario in &scenarios {
            replay(&machine, scenario, |step, before, outcome| {
                let told = format!("{}: {}", scenario.name, step.name);
                if let Some(Ok(state)) = data(before).map(|data| State::decode(&data)) {
                    assert_eq!(Some(state.encode()), data(before), "{told}");
                    states += 1;
                }
                let (_, _, body) = opened(&step.message());
                let Ok(outcome) = outcome else { return };
                // The contract went by what it read.
                if outcome.exit_code() == Some(0) && step.gas > 500 {
                    match Request::decode(&body) {
                        Ok(Request::Transfer) => {}
                        Ok(request) => assert_eq!(request.encode(), body, "{told}"),
                        Err(Malformed::TooLarge { .. }) => assert!(is_huge(&scenario.name), "{told}"),
                        Err(error) => panic!("{told}: {error}"),
                    }
                    requests += 1;
                    for out in step.out() {
                        let (_, _, body) = opened(&out);
                        // What came back of a failed sending has the request's body behind a mark.
                        if step.bounced {
                            continue;
                        }
                        match Remittance::decode(&body) {
                            Ok(remittance) => assert_eq!(remittance.encode(), body, "{told}"),
                            Err(Malformed::TooLarge { .. }) => assert!(is_huge(&scenario.name), "{told}"),
                            Err(error) => panic!("{told}: {error}"),
                        }
                        remittances += 1;
                    }
                }
            });
        }
    }
    assert!(
        requests > 150 && remittances > 300 && states > 300,
        "{requests} {remittances} {states}"
    );
}

fn is_huge(scenario: &str) -> bool {
    ["more than our own amounts hold", "a ceiling beyond the deposit"].contains(&scenario)
}

#[test]
fn the_address_is_the_one_that_the_official_side_computed() {
    let (_, scenarios) = &recorded()[0];
    let mut seen = 0;
    for scenario in scenarios {
        for step in &scenario.steps {
            let (_, Some(init), _) = opened(&step.message()) else {
                continue;
            };
            let Some(Ok(state)) = init.data.map(|data| State::decode(&data)) else {
                continue;
            };
            let account = scenario.account();
            let is_ours = contract::account(&state.terms, &state.keys) == account;
            let is_odd =
                ["in the masterchain", "a deposit that was never paid in", "frozen"].contains(&scenario.name.as_str());
            assert!(is_ours || is_odd, "{}", scenario.name);
            seen += usize::from(is_ours);
        }
    }
    assert!(seen > 30, "{seen}");
}

fn state() -> State {
    let party = |byte| Account {
        workchain: 0,
        hash: [byte; 32],
    };
    State {
        terms: Terms {
            network: Network::TESTNET,
            close_delay_s: 3_600,
            fee_bps: 250,
            salt: u128::MAX,
            payer: party(1),
            payee: party(2),
            fee_dest: party(3),
        },
        keys: Keys {
            payer: [4; 32],
            payee: [5; 32],
        },
        on_chain: OnChain {
            close_at: Some(1),
            deposited: Nano::MOST,
            claimed: Nano::saturating(1),
        },
    }
}

/// `cell`, with `bits` of ones and `references` to nothing at its end.
fn longer(cell: &Cell, bits: u16, references: usize) -> Cell {
    let mut builder = CellBuilder::new();
    builder
        .store_slice(cell.as_slice().expect("ordinary"))
        .expect("it fits");
    builder.store_ones(bits).expect("it fits");
    for _ in 0..references {
        builder.store_reference(Cell::empty_cell()).expect("it fits");
    }
    builder.build().expect("ordinary")
}

/// `cell` without its last bit, or without its references.
fn shorter(cell: &Cell, references: bool) -> Cell {
    let slice = cell.as_slice().expect("ordinary");
    let mut builder = CellBuilder::new();
    let bits = slice.size_bits() - u16::from(!references);
    builder.store_slice_data(slice.get_prefix(bits, 0)).expect("it fits");
    if !references {
        for at in 0..slice.size_refs() {
            builder
                .store_reference(slice.get_reference_cloned(at).expect("it is there"))
                .expect("it fits");
        }
    }
    builder.build().expect("ordinary")
}

#[test]
fn what_is_longer_or_shorter_is_refused() {
    let data = state().encode();
    assert_eq!(State::decode(&data), Ok(state()));
    assert_eq!(State::decode(&longer(&data, 1, 0)), Err(Malformed::Long));
    assert_eq!(State::decode(&longer(&data, 0, 1)), Err(Malformed::Long));
    assert_eq!(State::decode(&shorter(&data, false)), Err(Malformed::Short));
    assert_eq!(State::decode(&shorter(&data, true)), Err(Malformed::Short));
    assert_eq!(State::decode(&Cell::empty_cell()), Err(Malformed::Short));
    assert_eq!(State::decode_boc(b"nothing"), Err(Malformed::NoCells));

    let settle = |voucher_signature| {
        Request::Settle(contract::Settle {
            query_id: 7,
            close: true,
            take: Nano::saturating(5),
            max: Nano::MOST,
            payee_signature: [8; 64],
            voucher_signature,
        })
    };
    let amount = Nano::saturating(300);
    let requests = [
        settle(Some([9; 64])),
        settle(None),
        Request::TopUp { query_id: 7, amount },
        Request::RequestClose { query_id: u64::MAX },
        Request::FinishClose { query_id: 0 },
    ];
    for request in requests {
        let body = request.encode();
        assert_eq!(Request::decode(&body), Ok(request));
        assert_eq!(
            Request::decode(&longer(&body, 1, 0)),
            Err(Malformed::Long),
            "{request:?}"
        );
        assert_eq!(
            Request::decode(&longer(&body, 0, 1)),
            Err(Malformed::Long),
            "{request:?}"
        );
        assert!(Request::decode(&shorter(&body, false)).is_err(), "{request:?}");
    }
    let remittances = [
        Remittance::Payout {
            query_id: 7,
            cumulative: amount,
        },
        Remittance::FeePayout { query_id: 7 },
        Remittance::Refund { query_id: 7 },
        Remittance::Excesses { query_id: 7 },
        Remittance::Event {
            query_id: 7,
            on_chain: state().on_chain,
        },
    ];
    for remittance in remittances {
        let body = remittance.encode();
        assert_eq!(Remittance::decode(&body), Ok(remittance));
        assert_eq!(
            Remittance::decode(&longer(&body, 1, 0)),
            Err(Malformed::Long),
            "{remittance:?}"
        );
        assert_eq!(
            Remittance::decode(&longer(&body, 0, 1)),
            Err(Malformed::Long),
            "{remittance:?}"
        );
        assert!(Remittance::decode(&shorter(&body, false)).is_err(), "{remittance:?}");
    }
}

#[test]
fn a_message_that_is_none_is_refused_by_name() {
    let word = |word: u32| CellBuilder::build_from(word).expect("32 bits");
    assert_eq!(Request::decode(&Cell::empty_cell()), Ok(Request::Transfer));
    assert_eq!(Request::decode(&word(0)), Ok(Request::Transfer));
    assert_eq!(Request::decode(&word(7)), Err(Malformed::UnknownOperation(7)));
    assert_eq!(
        Remittance::decode(&word(0x7063_7470)),
        Err(Malformed::UnknownOperation(0x7063_7470))
    );
    assert_eq!(
        Request::decode(&longer(&Cell::empty_cell(), 8, 0)),
        Err(Malformed::Short)
    );
    assert_eq!(
        Request::decode(&longer(&Cell::empty_cell(), 0, 1)),
        Err(Malformed::Short)
    );
}

#[test]
fn an_amount_beyond_ours_is_refused_by_name() {
    let mut builder = CellBuilder::new();
    builder.store_u32(0x7063_7470).expect("it fits");
    builder.store_u64(1).expect("it fits");
    // Eight bytes: one more than the greatest of ours.
    builder.store_small_uint(8, 4).expect("it fits");
    builder.store_u64(1 << 63).expect("it fits");
    let body = builder.build().expect("ordinary");
    assert_eq!(
        Request::decode(&body),
        Err(Malformed::TooLarge {
            field: "the amount",
            nano: 1 << 63
        })
    );
}

#[test]
fn signatures_are_not_shown() {
    let settle = contract::Settle {
        query_id: 7,
        close: false,
        take: Nano::saturating(5),
        max: Nano::saturating(6),
        payee_signature: [0xab; 64],
        voucher_signature: Some([0xcd; 64]),
    };
    let shown = format!("{:?}", Request::Settle(settle));
    // 0xab and 0xcd as Debug would have them.
    assert!(!shown.contains("171") && !shown.contains("205"), "{shown}");
}

/// A chain's cells are anybody's: whatever they hold, reading them ends, and what was read is written and read the same.
/// Not bit for bit: an amount may have more zeros before it than it needs, for the contract too.
#[test]
fn any_cell_is_read_or_refused() {
    let mut random = Random(7);
    let good = [state().encode(), Request::RequestClose { query_id: 1 }.encode()];
    for _ in 0..20_000 {
        let mut builder = CellBuilder::new();
        if random.once_in(2) {
            let good = &good[random.below(2) as usize];
            let slice = good.as_slice().expect("ordinary");
            let bits = random.below(u64::from(slice.size_bits()) + 1) as u16;
            builder.store_slice_data(slice.get_prefix(bits, 0)).expect("it fits");
        }
        for _ in 0..random.below(8) {
            if builder.store_u64(random.next()).is_err() {
                break;
            }
        }
        for _ in 0..random.below(3) {
            let child = CellBuilder::build_from(random.next()).expect("64 bits");
            builder.store_reference(child).expect("it fits");
        }
        let cell = builder.build().expect("ordinary");
        if let Ok(state) = State::decode(&cell) {
            assert_eq!(State::decode(&state.encode()), Ok(state));
        }
        if let Ok(request) = Request::decode(&cell) {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        if let Ok(remittance) = Remittance::decode(&cell) {
            assert_eq!(Remittance::decode(&remittance.encode()), Ok(remittance));
        }
    }
}
