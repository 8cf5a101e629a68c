use num_bigint::BigInt;
use tycho_types::boc::Boc;
use tycho_types::cell::CellFamily;
use tycho_types::models::{CurrencyCollection, ExtInMsgInfo, IntMsgInfo, OwnedMessage, StateInit};
use tycho_types::num::Tokens;

use super::*;
use crate::config::slim;

/// A contract that counts the external messages it gets, in 32 bits of data, and tells the count to any method.
///
/// Codepage 0; an internal message is let in; an external one: accept, count; else: the count.
const COUNTER: [u8; 32] = [
    0xff, 0x00, // SETCP 0
    0x20, 0xdd, // DUP IFNOTRET
    0x20, 0xc1, 0x00, // DUP 0 LESSINT
    0x9f, // PUSHCONT of 15 bytes
    0xf8, 0x00, // ACCEPT
    0xed, 0x44, 0xd0, 0xd7, 0x0b, 0x1f, // c4 PUSHCTR CTOS 32 PLDU
    0xa4, 0xc8, 0xcb, 0x1f, 0xc9, // INC NEWC 32 STU ENDC
    0xed, 0x54, // c4 POPCTR
    0xe0, // IFJMP
    0x30, // DROP
    0xed, 0x44, 0xd0, 0xd7, 0x0b, 0x1f, // c4 PUSHCTR CTOS 32 PLDU
    0x00, // NOP
];

const AT: At = At {
    lt: 1_000_000,
    now: 1_760_000_000,
    seed: [3; 32],
};

fn machine(prices: Prices) -> Machine {
    Machine::new(slim(), prices).expect("embedded")
}

pub(crate) fn counter() -> (Account, StateInit) {
    let mut code = CellBuilder::new();
    code.store_raw(&COUNTER, 256).expect("fits");
    let mut data = CellBuilder::new();
    data.store_u32(41).expect("fits");
    let init = StateInit {
        code: Some(code.build().expect("fits")),
        data: Some(data.build().expect("fits")),
        ..StateInit::default()
    };
    let hash = CellBuilder::build_from(&init).expect("fits").repr_hash().0;
    (Account { workchain: 0, hash }, init)
}

pub(crate) fn coins(to: &Account, nano: u128, init: Option<StateInit>) -> Cell {
    CellBuilder::build_from(OwnedMessage {
        info: MsgInfo::Int(IntMsgInfo {
            ihr_disabled: true,
            src: StdAddr::new(0, HashBytes([9; 32])).into(),
            dst: standard(to).into(),
            value: CurrencyCollection {
                tokens: Tokens::new(nano),
                ..CurrencyCollection::ZERO
            },
            created_lt: 10,
            ..IntMsgInfo::default()
        }),
        init,
        body: Default::default(),
        layout: None,
    })
    .expect("fits")
}

pub(crate) fn external(to: &Account) -> Cell {
    CellBuilder::build_from(OwnedMessage {
        info: MsgInfo::ExtIn(ExtInMsgInfo {
            dst: standard(to).into(),
            ..ExtInMsgInfo::default()
        }),
        init: None,
        body: Default::default(),
        layout: None,
    })
    .expect("fits")
}

fn balance(state: &ShardAccount) -> u128 {
    state
        .load_account()
        .expect("readable")
        .map_or(0, |account| account.balance.tokens.into_inner())
}

#[test]
fn a_contract_is_deployed_counts_and_answers() {
    let machine = machine(Prices::Old);
    let (account, init) = counter();
    let deployed = machine
        .execute(&account, &nonexistent(), coins(&account, 1_000_000_000, Some(init)), AT)
        .expect("coins are always taken");
    assert!(deployed.succeeded());
    assert_eq!(deployed.exit_code(), Some(0));
    assert_eq!(balance(&deployed.state), 1_000_000_000 - deployed.fees);
    // The first hundred units have one price.
    assert!(deployed.gas_used() <= 100);
    assert_eq!(deployed.fees, 40_000);

    let counted = machine
        .execute(
            &account,
            &deployed.state,
            external(&account),
            At {
                lt: deployed.next_lt,
                ..AT
            },
        )
        .expect("accepted");
    assert_eq!(counted.exit_code(), Some(0));
    assert_eq!(counted.action, Some(0));
    assert!(balance(&counted.state) < balance(&deployed.state));

    let got = machine
        .get_method(&account, &counted.state, "count", vec![], AT.now)
        .expect("there is code");
    assert_eq!(got.exit_code, 0);
    assert_eq!(got.stack, [Value::Int(BigInt::from(42))]);
}

#[test]
fn new_prices_make_the_same_gas_cheaper() {
    let (account, init) = counter();
    let fees = |prices| {
        let out = machine(prices)
            .execute(
                &account,
                &nonexistent(),
                coins(&account, 1_000_000_000, Some(init.clone())),
                AT,
            )
            .expect("coins are always taken");
        (out.gas_used(), out.fees)
    };
    let ((old_gas, old_fees), (new_gas, new_fees)) = (fees(Prices::Old), fees(Prices::New));
    assert_eq!(old_gas, new_gas);
    assert!(new_fees <= old_fees / 6 + 1 && new_fees >= old_fees / 7);
}

#[test]
fn rent_is_taken_for_the_time_that_passed() {
    let machine = machine(Prices::Old);
    let (account, init) = counter();
    let deployed = machine
        .execute(&account, &nonexistent(), coins(&account, 1_000_000_000, Some(init)), AT)
        .expect("taken");
    let later = At {
        lt: deployed.next_lt,
        now: AT.now + 365 * 86_400,
        ..AT
    };
    let soon = At {
        now: AT.now + 1,
        ..later
    };
    let fees = |at| {
        machine
            .execute(&account, &deployed.state, coins(&account, 1, None), at)
            .expect("taken")
            .fees
    };
    assert!(fees(later) > fees(soon) + 100_000);
}

#[test]
fn what_an_account_does_not_pay_for_did_not_happen() {
    let machine = machine(Prices::Old);
    let (account, init) = counter();
    let refused = machine.execute(&account, &nonexistent(), external(&account), AT);
    assert!(matches!(refused, Err(NotAccepted::Refused { exit_code: None })));

    // Code that throws before it accepts: exit code 5 by THROW 5.
    let mut code = CellBuilder::new();
    code.store_raw(&[0xf2, 0x05], 16).expect("fits");
    let thrower = StateInit {
        code: Some(code.build().expect("fits")),
        ..init
    };
    let hash = CellBuilder::build_from(&thrower).expect("fits").repr_hash().0;
    let account = Account { workchain: 0, hash };
    let deployed = machine
        .execute(
            &account,
            &nonexistent(),
            coins(&account, 1_000_000_000, Some(thrower)),
            AT,
        )
        .expect("taken");
    assert_eq!(deployed.exit_code(), Some(5));
    assert!(deployed.aborted);
    let refused = machine.execute(&account, &deployed.state, external(&account), AT);
    // It was never deployed: code that throws at its first message stays away.
    assert!(matches!(refused, Err(NotAccepted::Refused { .. })));
}

#[test]
fn a_message_for_another_or_for_nobody_is_named() {
    let machine = machine(Prices::Old);
    let (account, _) = counter();
    let other = Account {
        hash: [1; 32],
        ..account
    };
    assert!(matches!(
        machine.execute(&account, &nonexistent(), external(&other), AT),
        Err(NotAccepted::NotForThisAccount)
    ));
    assert!(matches!(
        machine.execute(&account, &nonexistent(), Cell::empty_cell(), AT),
        Err(NotAccepted::Unreadable(_))
    ));
    let outbound = CellBuilder::build_from(MsgInfo::ExtOut(Default::default())).expect("fits");
    assert!(matches!(
        machine.execute(&account, &nonexistent(), outbound, AT),
        Err(NotAccepted::Outbound)
    ));
}

#[test]
fn a_get_method_takes_and_gives_values() {
    let machine = machine(Prices::Old);
    let (account, _) = counter();
    assert!(matches!(
        machine.get_method(&account, &nonexistent(), "count", vec![], AT.now),
        Err(GetError::NoCode)
    ));
    // Code that drops the method's number and leaves its arguments.
    let mut code = CellBuilder::new();
    code.store_raw(&[0x30], 8).expect("fits");
    let echo = StateInit {
        code: Some(code.build().expect("fits")),
        ..StateInit::default()
    };
    let hash = CellBuilder::build_from(&echo).expect("fits").repr_hash().0;
    let account = Account { workchain: 0, hash };
    let state = machine
        .execute(
            &account,
            &nonexistent(),
            coins(&account, 1_000_000_000, Some(echo.clone())),
            AT,
        )
        .expect("taken")
        .state;
    let cell = CellBuilder::build_from(&echo).expect("fits");
    let sent = vec![
        Value::Null,
        Value::NaN,
        Value::Int(BigInt::from(-7)),
        Value::Cell(cell.clone()),
        Value::Slice(cell.clone()),
        Value::Builder(cell),
        Value::Tuple(vec![Value::Int(BigInt::from(1)), Value::Tuple(vec![])]),
    ];
    let got = machine
        .get_method(&account, &state, "echo", sent.clone(), AT.now)
        .expect("there is code");
    assert_eq!(got.exit_code, 0);
    assert_eq!(got.stack, sent);
}

#[test]
fn the_same_message_gives_the_same_transaction() {
    let (account, init) = counter();
    let hash = || {
        let out = machine(Prices::Old)
            .execute(
                &account,
                &nonexistent(),
                coins(&account, 1_000_000_000, Some(init.clone())),
                AT,
            )
            .expect("taken");
        (
            *out.transaction.inner().repr_hash(),
            Boc::encode(out.state.account.inner()),
        )
    };
    assert_eq!(hash(), hash());
}
