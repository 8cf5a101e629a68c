//! What the contract says when it is asked, and what our own signers make for it.

use billing::Nano;
use billing::channel::{Keys, Settlement, Signer, Take, Voucher};
use billing_ton::contract::{self, RENT_RESERVE, Request, Settle, State};
use billing_ton_sim::{Machine, Prices, Value, slim};
use tycho_types::cell::{CellBuilder, HashBytes};

use crate::machine::{Live, TON, nano, party, sent, terms};

fn machine() -> Machine {
    Machine::new(slim(), Prices::Old).expect("embedded")
}

fn number(value: &Value) -> u64 {
    let Value::Int(number) = value else {
        panic!("{value:?} is no number");
    };
    number.to_string().parse().expect("a small number")
}

fn top_up_fee(live: &Live<'_>) -> u64 {
    let got = live
        .machine
        .get_method(&live.account, &live.state, "get_topup_fee", Vec::new(), live.now)
        .expect("it answers");
    assert_eq!(got.exit_code, 0);
    number(&got.stack[0])
}

#[test]
fn get_channel_says_what_the_data_say() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    live.open(5 * TON);
    let settle = Request::Settle(live.settle(false, nano(TON), nano(2 * TON)));
    live.send(&sent(party(0x22), TON / 20, &settle)).1.expect("taken");
    live.send(&sent(party(0x11), TON / 20, &Request::RequestClose { query_id: 1 }))
        .1
        .expect("taken");
    let got = machine
        .get_method(&live.account, &live.state, "get_channel", Vec::new(), live.now)
        .expect("it answers");
    assert_eq!(got.exit_code, 0);
    let [close_at, deposited, claimed, payer_key, payee_key, Value::Cell(said)] = &got.stack[..] else {
        panic!("{:?}", got.stack);
    };
    let kept = live.kept().expect("it is open");
    assert_eq!(number(close_at), u64::from(live.now + 86_400));
    assert_eq!(number(deposited), kept.on_chain.deposited.get());
    assert_eq!(number(claimed), kept.on_chain.claimed.get());
    // The same data, put together from the answers.
    let Keys { payer, payee } = kept.keys;
    for (said, key) in [(payer_key, payer), (payee_key, payee)] {
        let Value::Int(said) = said else { panic!("{said:?}") };
        assert_eq!(format!("{said:064x}"), crate::fixtures::hex(&key));
    }
    let data = State::encode(&kept);
    let terms = data.reference_cloned(0).expect("terms");
    assert_eq!(said, &terms);
}

#[test]
fn get_topup_fee_is_just_enough() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    live.open(TON);
    let amount = nano(TON);
    let request = Request::TopUp { query_id: 1, amount };
    for years in [0, 1, 10] {
        live.now += years * 365 * 86_400;
        // Whatever comes has the rent taken; what this is asked for fails.
        live.send(&sent(party(0x44), TON / 20, &Request::FinishClose { query_id: 1 }))
            .1
            .expect("taken");
        let fee = top_up_fee(&live);
        let short = live.send(&sent(party(0x44), TON + fee - 1, &request)).1.expect("taken");
        assert_eq!(
            short.exit_code(),
            Some(200),
            "after {years} years, a nanoton less than {fee}"
        );
        let enough = live.send(&sent(party(0x44), TON + fee, &request)).1.expect("taken");
        assert!(enough.succeeded(), "after {years} years, {fee}");
        let has = live.state.load_account().expect("ours").expect("it is there");
        let kept = live.kept().expect("it is open").on_chain;
        let owed = u128::from(kept.deposited.get() + RENT_RESERVE.get());
        // What would not pay for its own way back stays.
        let has = has.balance.tokens.into_inner();
        assert!(
            (owed..owed + 1_000_000).contains(&has),
            "the deposit is not whole: {has}, {owed}"
        );
    }
}

/// Signed by the protocol's own types, paid by the contract.
#[test]
fn a_settlement_that_was_verified_is_paid() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    let (payer, payee) = (signer(1), signer(2));
    let (keys, id) = (live.keys(), live.id());
    live.open(5 * TON);
    let mut settle = |take: Take, max: Option<u64>| {
        let voucher = max.map(|max| Voucher::sign(&payer, &keys, &id, nano(max)).expect("the payer's key"));
        let settlement = Settlement::new(take, voucher).expect("both are good");
        let request = Request::Settle(Settle::of(&settlement, 7));
        assert_eq!(Request::decode(&request.encode()), Ok(request));
        let outcome = live.send(&sent(party(0x44), TON / 20, &request)).1.expect("taken");
        assert!(outcome.succeeded(), "exit code {:?}", outcome.exit_code());
        live.kept().map(|state| state.on_chain.claimed)
    };
    let take = |amount| Take::sign(&payee, &keys, &id, nano(amount)).expect("the payee's key");
    let last = |amount| Take::sign_last(&payee, &keys, &id, nano(amount)).expect("the payee's key");
    assert_eq!(settle(take(TON), Some(3 * TON)), Some(nano(TON)));
    assert_eq!(settle(take(2 * TON), Some(3 * TON)), Some(nano(2 * TON)));
    assert_eq!(settle(last(3 * TON), Some(3 * TON)), None::<Nano>);
}

#[test]
fn a_channel_that_was_never_used_is_closed_without_a_voucher() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    live.open(TON);
    let last = Take::sign_last(&signer(2), &live.keys(), &live.id(), Nano::ZERO).expect("the payee's key");
    let settlement = Settlement::new(last, None).expect("nothing is taken");
    let request = Request::Settle(Settle::of(&settlement, 7));
    let outcome = live.send(&sent(party(0x44), TON / 20, &request)).1.expect("taken");
    assert!(outcome.destroyed, "exit code {:?}", outcome.exit_code());
}

/// The address is the hash of the state init, as any wallet computes it.
#[test]
fn the_address_is_the_hash_of_the_state_init() {
    let machine = machine();
    let live = Live::new(&machine, terms());
    let init = CellBuilder::build_from(contract::state_init(&live.terms, &live.keys())).expect("a state init");
    assert_eq!(HashBytes(live.account.hash), *init.repr_hash());
    assert_eq!(contract::account(&live.terms, &live.keys()), live.account);
}

fn signer(seed: u8) -> Signer {
    Signer::from_seed(&[seed; 32]).expect("32 bytes")
}
