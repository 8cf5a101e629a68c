//! Bytes and code of somebody's making: whatever comes, the chain answers and goes on.

use billing::Nano;
use billing::channel::Account;
use billing_ton::Chain;
use billing_ton::wallet::{Batch, Mode, Payment};
use billing_ton::{Seed, Wallet};
use billing_ton_sim::{DEVELOPMENT, Settings, Simulated, Value};
use fastrand::Rng;
use futures_util::FutureExt;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::models::{ExtInMsgInfo, MsgInfo, OwnedMessage, StateInit, StdAddr};

const TON: u64 = 1_000_000_000;

fn chain() -> Simulated {
    Simulated::in_memory(Settings::for_tests(1)).expect("embedded")
}

fn fund(chain: &Simulated, account: Account) {
    chain.fund(account, Nano::new(TON).expect("small")).expect("taken");
}

/// How many of `messages` were taken. None of them may end the chain.
fn send(chain: &Simulated, messages: impl Iterator<Item = Vec<u8>>) -> usize {
    let taken = messages
        .filter(|message| chain.send(message).now_or_never().expect("ready").is_ok())
        .count();
    chain.tick().expect("made");
    taken
}

#[test]
fn a_wallets_message_with_bytes_changed_is_refused_or_is_no_other() {
    let chain = chain();
    let seed = Seed::from_bytes([7; 32]);
    let wallet = Wallet::new(DEVELOPMENT, seed.public_key());
    fund(&chain, wallet.account());
    chain.tick().expect("made");
    let payment = Payment {
        to: Account {
            workchain: 0,
            hash: [1; 32],
        },
        amount: Nano::new(5).expect("small"),
        bounce: false,
        mode: Mode::FeesApart,
        body: None,
        init: None,
    };
    let signed = wallet
        .sign(&seed, 0, chain.now() + 60, &Batch::new(vec![payment]).expect("one"))
        .expect("its key");
    let mut rng = Rng::with_seed(1);
    let changed = (0..20_000).map(|_| {
        let mut bytes = signed.message.clone();
        for _ in 0..rng.usize(1..4) {
            match rng.u8(..4) {
                0 => bytes.truncate(rng.usize(..bytes.len().max(1))),
                1 => bytes.extend(std::iter::repeat_with(|| rng.u8(..)).take(3)),
                _ => {
                    if let Some(byte) = rng.choice(bytes.iter_mut()) {
                        *byte ^= 0x41;
                    }
                }
            }
        }
        bytes
    });
    // The envelope is not signed: the same body in another one is taken too. But of all of them one is executed.
    send(&chain, changed);
    let told = chain
        .get_method(&wallet.account(), "seqno", Vec::new())
        .expect("deployed");
    assert_eq!(told.stack, [Value::Int(1.into())]);
    let history = chain
        .transactions(wallet.account(), None, 100)
        .now_or_never()
        .expect("ready");
    assert_eq!(history.expect("answered").len(), 2, "coins, and one message");
}

#[test]
fn code_of_any_bytes_runs_into_its_own_wall() {
    let chain = chain();
    let mut rng = Rng::with_seed(2);
    let messages: Vec<Vec<u8>> = (0..3_000)
        .map(|_| {
            let init = StateInit {
                code: Some(random_cell(&mut rng, 3)),
                data: Some(random_cell(&mut rng, 1)),
                ..StateInit::default()
            };
            let hash = CellBuilder::build_from(&init).expect("fits").repr_hash().0;
            fund(&chain, Account { workchain: 0, hash });
            if chain.waiting() > 500 {
                chain.tick().expect("made");
            }
            let message = OwnedMessage {
                info: MsgInfo::ExtIn(ExtInMsgInfo {
                    dst: StdAddr::new(0, HashBytes(hash)).into(),
                    ..ExtInMsgInfo::default()
                }),
                init: Some(init),
                body: random_cell(&mut rng, 2).into(),
                layout: None,
            };
            Boc::encode(CellBuilder::build_from(message).expect("fits"))
        })
        .collect();
    while chain.waiting() > 0 {
        chain.tick().expect("made");
    }
    let taken = send(&chain, messages.into_iter());
    // Half of them begin with what accepts them.
    assert!(taken > 100, "{taken} were accepted");
    while chain.waiting() > 0 {
        chain.tick().expect("made");
    }
    chain.head().now_or_never().expect("ready").expect("answered");
}

/// A cell of up to 60 bytes with up to `depth` levels below it; every other one begins with ACCEPT.
fn random_cell(rng: &mut Rng, depth: u8) -> Cell {
    let mut builder = CellBuilder::new();
    if rng.bool() {
        builder.store_u16(0xf800).expect("fits");
    }
    for _ in 0..rng.usize(..60) {
        builder.store_u8(rng.u8(..)).expect("fits");
    }
    if depth > 0 {
        for _ in 0..rng.usize(..3) {
            builder.store_reference(random_cell(rng, depth - 1)).expect("fits");
        }
    }
    builder.build().expect("fits")
}
