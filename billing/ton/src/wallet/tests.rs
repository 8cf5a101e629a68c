use serde_json::Value;

use super::*;
use crate::{chain::Head, golden};

fn bag(value: &Value) -> Option<Cell> {
    value
        .as_str()
        .map(|text| Boc::decode_base64(text).expect("a bag of cells"))
}

fn network(value: &Value) -> Network {
    Network(i32::try_from(value.as_i64().expect("a number")).expect("32 bits"))
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().expect("a number")).expect("32 bits")
}

fn payments_of(sends: &Value) -> Vec<Payment> {
    let sends = sends.as_array().expect("a list");
    let payments = sends.iter().map(|send| Payment {
        to: address::parse(golden::text(&send["to"]), Network::MAINNET).expect("an address"),
        amount: Nano::new(golden::text(&send["value"]).parse().expect("a number")).expect("an amount"),
        bounce: send["bounce"].as_bool().expect("a flag"),
        mode: match number(&send["mode"]) {
            0 => Mode::FeesFromAmount,
            1 => Mode::FeesApart,
            128 => Mode::Everything,
            other => panic!("mode {other}"),
        },
        body: bag(&send["body"]),
        init: bag(&send["init"]).map(|cell| cell.parse().expect("a StateInit")),
    });
    payments.collect()
}

#[test]
fn addresses_are_those_of_the_official_library() {
    let known = "20834b7b72b112147e1b2fb457b84e74d1a30f04f737d4f62a668e9552d2b72f";
    assert_eq!(billing::receipt::to_hex(CODE.repr_hash().as_array()), known);
    let golden = golden::read();
    let cases = golden["wallets"].as_array().expect("a list");
    assert_eq!(cases.len(), 4);
    for case in cases {
        let seed = Seed::from_bytes(golden::hash(&case["seed"]));
        assert_eq!(seed.public_key(), golden::hash(&case["publicKey"]));
        let wallet = Wallet::new(network(&case["network"]), seed.public_key());
        assert_eq!(address::raw(&wallet.account()), golden::text(&case["address"]));
    }
    assert_eq!(wallet_id(Network::MAINNET), 0x7fff_ff11);
    assert_eq!(wallet_id(Network::TESTNET), 0x7fff_fffd);
}

#[test]
fn messages_are_those_of_the_official_library() {
    let golden = golden::read();
    let cases = golden["transfers"].as_array().expect("a list");
    assert_eq!(cases.len(), 4);
    for case in cases {
        let name = golden::text(&case["name"]);
        let seed = Seed::from_bytes(golden::hash(&case["seed"]));
        let wallet = Wallet::new(network(&case["network"]), seed.public_key());
        let batch = Batch::new(payments_of(&case["sends"])).expect("a batch");
        let (seqno, valid_until) = (number(&case["seqno"]), number(&case["validUntil"]));
        let signed = wallet.sign(&seed, seqno, valid_until, &batch).expect("it fits");
        assert_eq!(signed.hash, golden::hash(&case["hash"]), "{name}");
        let theirs = bag(&case["bagOfCells"]).expect("a message");
        // The order of cells within a bag is free; they and all that is in them are the same.
        assert_eq!(Boc::decode(&signed.message).expect("a bag of cells"), theirs, "{name}");

        // And what the official library made is read back.
        let decoded = wallet.decode(&Boc::encode(&theirs)).expect("our own message");
        let deploys = case["deploys"].as_bool().expect("a flag");
        let expect = Decoded {
            seqno,
            valid_until,
            deploys,
            batch,
        };
        assert_eq!(decoded, expect, "{name}");
    }
}

fn scene() -> (Seed, Wallet, Batch) {
    let seed = Seed::from_bytes([7; 32]);
    let wallet = Wallet::new(Network::TESTNET, seed.public_key());
    let payment = Payment {
        to: Account {
            workchain: 0,
            hash: [1; 32],
        },
        amount: Nano::saturating(5),
        bounce: true,
        mode: Mode::FeesApart,
        body: None,
        init: None,
    };
    (seed, wallet, Batch::new(vec![payment]).expect("one payment"))
}

#[test]
fn what_is_not_of_this_wallet_is_named() {
    let (seed, wallet, batch) = scene();
    let signed = wallet.sign(&seed, 3, 9, &batch).expect("it fits");
    let other = Seed::from_bytes([8; 32]);
    assert_eq!(wallet.sign(&other, 3, 9, &batch).err(), Some(SignError::Key));

    let stranger = Wallet::new(Network::TESTNET, other.public_key());
    assert_eq!(stranger.decode(&signed.message).err(), Some(DecodeError::Account));
    assert_eq!(wallet.decode(b"no bag").err(), Some(DecodeError::Bag));
    assert_eq!(
        wallet.decode(&Boc::encode(Cell::empty_cell())).err(),
        Some(DecodeError::Form)
    );
    // A message of the same account that another key signed: as a forger would make it.
    let forger = Wallet {
        public_key: other.public_key(),
        ..wallet.clone()
    };
    let forged = forger.sign(&other, 3, 9, &batch).expect("it fits");
    assert_eq!(wallet.decode(&forged.message).err(), Some(DecodeError::Signature));
    // For the same account on another network.
    let elsewhere = Wallet {
        network: Network::MAINNET,
        ..wallet.clone()
    };
    let signed = elsewhere.sign(&seed, 3, 9, &batch).expect("it fits");
    assert_eq!(wallet.decode(&signed.message).err(), Some(DecodeError::Wallet));
}

#[test]
fn no_bytes_of_a_message_can_stop_us() {
    let (seed, wallet, batch) = scene();
    let signed = wallet.sign(&seed, 0, 9, &batch).expect("it fits");
    let whole = wallet.decode(&signed.message).expect("our own message");
    for at in 0..signed.message.len() {
        let mut broken = signed.message.clone();
        broken[at] ^= 0x41;
        match wallet.decode(&broken) {
            // The StateInit and the header are not signed.
            Ok(decoded) => assert_eq!(decoded.batch, whole.batch, "byte {at}"),
            Err(_) => assert!(wallet.decode(&broken[..at]).is_err()),
        }
    }
}

#[test]
fn a_batch_has_between_one_and_255_payments() {
    let (.., batch) = scene();
    let one = batch.payments()[0].clone();
    assert_eq!(Batch::new(vec![]).err(), Some(BatchError::Empty));
    assert_eq!(Batch::new(vec![one.clone(); 256]).err(), Some(BatchError::TooMany(256)));
    let most = Payment {
        amount: Nano::MOST,
        ..one.clone()
    };
    assert_eq!(Batch::new(vec![most, one.clone()]).err(), Some(BatchError::Total));
    let full = Batch::new(vec![one; 255]).expect("255");
    assert_eq!(full.total(), Nano::saturating(1275));
}

fn state(status: Status) -> AccountState {
    AccountState {
        head: Head { seqno: 1, time: 1 },
        balance: 77,
        last: None,
        status,
    }
}

#[test]
fn a_wallet_is_known_by_its_code_and_data() {
    let (_, wallet, _) = scene();
    let code = Boc::encode(&*CODE);
    let with = |change: fn(&mut CellBuilder) -> Result<(), CellError>| {
        let mut data = CellBuilder::new();
        change(&mut data).expect("it fits");
        Boc::encode(data.build().expect("a cell"))
    };
    let check = |code: &[u8], data: &[u8], expect: Result<u32, StandingError>| {
        let state = state(Status::Active {
            code: code.to_vec(),
            data: data.to_vec(),
        });
        assert_eq!(wallet.standing(&state).map(|standing| standing.seqno), expect);
    };
    let absent = Standing {
        seqno: 0,
        is_deployed: false,
        balance: Nano::saturating(77),
    };
    assert_eq!(wallet.standing(&state(Status::Nonexistent)), Ok(absent));
    assert_eq!(wallet.standing(&state(Status::Uninitialised)), Ok(absent));
    assert_eq!(wallet.standing(&state(Status::Frozen)), Err(StandingError::Frozen));

    let fresh = Boc::encode(wallet.init().data.as_ref().expect("it has data"));
    check(&code, &fresh, Ok(0));
    let used = with(|data| {
        data.store_bit_one()?;
        data.store_u32(41)?;
        data.store_u32(0x7fff_fffd)?;
        data.store_u256(&HashBytes(Seed::from_bytes([7; 32]).public_key()))?;
        data.store_bit_one()?;
        data.store_reference(Cell::empty_cell())
    });
    check(&code, &used, Ok(41));
    let off = with(|data| {
        data.store_bit_zero()?;
        data.store_u32(41)?;
        data.store_u32(0x7fff_fffd)?;
        data.store_u256(&HashBytes(Seed::from_bytes([7; 32]).public_key()))?;
        data.store_bit_zero()
    });
    check(&code, &off, Err(StandingError::SignatureOff));
    let elsewhere = Wallet::new(Network::MAINNET, *wallet.public_key());
    let elsewhere = Boc::encode(elsewhere.init().data.as_ref().expect("it has data"));
    check(&code, &elsewhere, Err(StandingError::Other));
    let long = with(|data| data.store_zeros(400));
    check(&code, &long, Err(StandingError::Data));
    check(&code, &Boc::encode(Cell::empty_cell()), Err(StandingError::Data));
    check(&code, b"no bag", Err(StandingError::Data));
    check(&fresh, &fresh, Err(StandingError::Code));
    check(b"no bag", &fresh, Err(StandingError::Code));
}
