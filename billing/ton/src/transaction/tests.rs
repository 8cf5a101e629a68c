use super::{
    fake::{Fake, message},
    *,
};

fn account(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

fn body(number: u32) -> Cell {
    let mut builder = CellBuilder::new();
    builder.store_u32(number).expect("it fits");
    builder.build().expect("a cell")
}

#[test]
fn a_transaction_is_read() {
    let (ours, theirs, payee) = (account(1), account(2), account(3));
    let first = Fake::new(ours, 5, None).made();
    let mut fake = Fake::new(ours, 9, Some(first.at));
    fake.before = AccountStatus::Uninit;
    fake.inbound = Some(message(theirs, ours, Nano::saturating(7), body(1)));
    fake.outbound = vec![message(ours, payee, Nano::saturating(6), body(2))];
    let made = fake.made();
    let happened = Happened::read(&ours, &made).expect("it is whole");
    let expect = Happened {
        at: made.at,
        time: 9,
        previous: Some(first.at),
        before: Existence::Uninitialised,
        after: Existence::Active,
        inbound: Some(Inbound::Internal {
            from: theirs,
            amount: Nano::saturating(7),
            is_bounced: false,
            sent_lt: 0,
            body: body(1),
        }),
        outbound: vec![Outbound {
            to: payee,
            amount: Nano::saturating(6),
            is_bounced: false,
            body: body(2),
        }],
        is_aborted: false,
        exit_code: None,
    };
    assert_eq!(happened, expect);
    assert!(happened.is_birth());
}

#[test]
fn what_is_not_what_it_says_is_named() {
    let ours = account(1);
    let made = Fake::new(ours, 9, None).made();
    let check = |transaction: Transaction, expect: TransactionError| {
        assert_eq!(Happened::read(&ours, &transaction).err(), Some(expect));
    };
    check(
        Transaction {
            cell: b"no bag".to_vec(),
            ..made.clone()
        },
        TransactionError::Bag,
    );
    let mut other = made.clone();
    other.at.hash = [9; 32];
    check(other, TransactionError::Hash);
    let odd = body(5);
    let mut other = made.clone();
    other.cell = Boc::encode(&odd);
    other.at.hash = odd.repr_hash().0;
    check(other, TransactionError::Form);
    let mut other = made.clone();
    other.at.lt = 10;
    check(other, TransactionError::Place);
    let mut other = made.clone();
    other.time = 10;
    check(other, TransactionError::Place);
    assert_eq!(Happened::read(&account(2), &made).err(), Some(TransactionError::Place));
    let later = Cursor { lt: 9, hash: [0; 32] };
    check(Fake::new(ours, 9, Some(later)).made(), TransactionError::Order);
    let mut fake = Fake::new(ours, 9, None);
    let mut most = message(account(2), ours, Nano::MOST, body(1));
    fake.inbound = Some(most.clone());
    assert!(Happened::read(&ours, &fake.made()).is_ok());
    // One nanoton more than we count.
    let mut parsed: models::OwnedMessage = most.parse().expect("a message");
    let MsgInfo::Int(info) = &mut parsed.info else {
        panic!("an internal message");
    };
    info.value = models::CurrencyCollection::new(u128::from(Nano::MOST.get()) + 1);
    most = CellBuilder::build_from(&parsed).expect("it fits");
    fake.inbound = Some(most);
    check(fake.made(), TransactionError::Range);
}

#[test]
fn no_bytes_of_a_transaction_can_stop_us() {
    let ours = account(1);
    let mut fake = Fake::new(ours, 9, None);
    fake.inbound = Some(message(account(2), ours, Nano::saturating(7), body(1)));
    let made = fake.made();
    for at in 0..made.cell.len() {
        let mut broken = made.clone();
        broken.cell[at] ^= 0x29;
        // With the hash made right, as a liar would.
        if let Ok(cell) = Boc::decode(&broken.cell) {
            broken.at.hash = cell.repr_hash().0;
        }
        drop(Happened::read(&ours, &broken));
    }
}
