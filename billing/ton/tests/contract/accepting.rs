//! Which channels are taken: start from a good one, break one thing, expect one refusal.

use billing::Nano;
use billing::channel::{Account, Network, Terms};
use billing_ton::chain::{AccountState, Cursor, Head, Status, Transaction};
use billing_ton::contract::{
    Accepted, BadTerms, Malformed, Request, Seen, State, Unacceptable, Wanted, accept, check_terms, code,
};
use billing_ton::transaction::TransactionError;
use billing_ton_sim::{Machine, Outcome, Prices, slim};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellFamily};

use crate::machine::{Live, TON, nano, party, sent, terms};

/// A channel as a source shows it.
struct Shown {
    network: Network,
    account: Account,
    state: AccountState,
    history: Vec<Transaction>,
}

impl Shown {
    fn accept(&self, wanted: &Wanted) -> Result<Accepted, Unacceptable> {
        let seen = Seen {
            network: self.network,
            account: self.account,
            state: &self.state,
            history: &self.history,
        };
        accept(&seen, wanted)
    }
}

/// What the machine left, as a chain would tell it.
fn shown(live: &Live<'_>, outcomes: &[Outcome]) -> Shown {
    let history: Vec<_> = outcomes.iter().map(told).collect();
    let status = match live.kept() {
        None => Status::Nonexistent,
        Some(state) => Status::Active {
            code: Boc::encode(code()),
            data: Boc::encode(state.encode()),
        },
    };
    let balance = live
        .state
        .load_account()
        .expect("ours")
        .map_or(0, |account| account.balance.tokens.into_inner());
    Shown {
        network: Network::MAINNET,
        account: live.account,
        state: AccountState {
            head: Head {
                seqno: 7,
                time: live.now,
            },
            balance,
            last: history.last().map(|transaction| transaction.at),
            status,
        },
        history,
    }
}

fn told(outcome: &Outcome) -> Transaction {
    let cell = outcome.transaction.inner();
    let transaction = outcome.transaction.load().expect("ours");
    Transaction {
        at: Cursor {
            lt: transaction.lt,
            hash: cell.repr_hash().0,
        },
        time: transaction.now,
        cell: Boc::encode(cell),
    }
}

fn wanted(live: &Live<'_>) -> Wanted {
    Wanted {
        network: Network::MAINNET,
        payee: live.terms.payee,
        payee_key: live.payee.public(),
        fee_bps: live.terms.fee_bps,
        fee_dest: live.terms.fee_dest,
        close_delay_s: 86_400,
    }
}

fn machine() -> Machine {
    Machine::new(slim(), Prices::New).expect("embedded")
}

fn with_state(shown: &mut Shown, change: impl FnOnce(&mut State)) {
    let Status::Active { data, .. } = &mut shown.state.status else {
        panic!("not active");
    };
    let mut state = State::decode_boc(data).expect("ours");
    change(&mut state);
    *data = Boc::encode(state.encode());
}

#[test]
fn a_channel_that_was_just_opened_is_taken() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    let opened = live.open(5 * TON);
    let seen = shown(&live, &[opened]);
    let taken = seen.accept(&wanted(&live)).expect("it is as it should be");
    assert_eq!(taken.id(), live.id());
    assert_eq!((taken.terms(), taken.keys()), (&live.terms, &live.keys()));
    assert_eq!(taken.on_chain().deposited, nano(5 * TON));
    assert_eq!(taken.payable(), nano(5 * TON));
    assert_eq!(Some(taken.last()), seen.state.last);
    assert_eq!(taken.head().seqno, 7);
}

#[test]
fn what_rent_took_cannot_be_paid() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    let opened = live.open(TON);
    live.now += 10 * 365 * 86_400;
    // Whatever comes has the rent taken.
    let nudged = live
        .send(&sent(party(0x44), TON / 20, &Request::FinishClose { query_id: 1 }))
        .1
        .expect("taken");
    let seen = shown(&live, &[opened, nudged]);
    let taken = seen.accept(&wanted(&live)).expect("the terms are as they were");
    assert!(taken.payable() < nano(TON), "{}", taken.payable());
    assert_eq!(u128::from(taken.payable().get()), seen.state.balance);
}

#[test]
fn a_channel_with_one_thing_wrong_is_refused_by_name() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    let opened = live.open(5 * TON);
    let ours = wanted(&live);
    type Break<'a> = &'a dyn Fn(&mut Shown, &mut Wanted);
    let check = |change: Break<'_>, expect: Unacceptable| {
        let (mut seen, mut wanted) = (shown(&live, std::slice::from_ref(&opened)), ours);
        change(&mut seen, &mut wanted);
        assert_eq!(seen.accept(&wanted), Err(expect));
    };
    check(
        &|seen, _| seen.network = Network::TESTNET,
        Unacceptable::Network {
            wanted: Network::MAINNET,
            found: Network::TESTNET,
        },
    );
    check(
        &|seen, _| seen.account.workchain = -1,
        Unacceptable::Workchain { workchain: -1 },
    );
    check(
        &|seen, _| seen.state.status = Status::Nonexistent,
        Unacceptable::NotThere,
    );
    check(
        &|seen, _| seen.state.status = Status::Uninitialised,
        Unacceptable::NotThere,
    );
    check(&|seen, _| seen.state.status = Status::Frozen, Unacceptable::Frozen);
    let another_code = |bytes: Vec<u8>| {
        move |seen: &mut Shown, _: &mut Wanted| {
            if let Status::Active { code, .. } = &mut seen.state.status {
                *code = bytes.clone();
            }
        }
    };
    check(&another_code(Boc::encode(Cell::empty_cell())), Unacceptable::Code);
    check(&another_code(b"nothing".to_vec()), Unacceptable::Code);
    let other_data = |bytes: Vec<u8>| {
        move |seen: &mut Shown, _: &mut Wanted| {
            if let Status::Active { data, .. } = &mut seen.state.status {
                *data = bytes.clone();
            }
        }
    };
    check(&other_data(b"nothing".to_vec()), Unacceptable::Data(Malformed::NoCells));
    check(
        &other_data(Boc::encode(Cell::empty_cell())),
        Unacceptable::Data(Malformed::Short),
    );
    check(&|seen, _| seen.account.hash = [7; 32], Unacceptable::Address);
    check(
        &|seen, _| with_state(seen, |state| state.terms.salt = 7),
        Unacceptable::Address,
    );
    check(
        &|seen, _| with_state(seen, |state| state.keys.payer = [7; 32]),
        Unacceptable::Address,
    );
    check(&|_, wanted| wanted.payee_key = [7; 32], Unacceptable::PayeeKey);
    check(&|_, wanted| wanted.payee = party(7), Unacceptable::Payee);
    check(
        &|_, wanted| wanted.fee_bps = 1,
        Unacceptable::FeeBps { wanted: 1, found: 0 },
    );
    check(&|_, wanted| wanted.fee_dest = party(7), Unacceptable::FeeDest);
    check(
        &|_, wanted| wanted.close_delay_s = 86_401,
        Unacceptable::CloseDelay {
            wanted: 86_401,
            found: 86_400,
        },
    );
    check(
        &|seen, _| with_state(seen, |state| state.on_chain.close_at = Some(9)),
        Unacceptable::Closing { close_at: 9 },
    );
    check(&|seen, _| seen.history.clear(), Unacceptable::History);
    check(&|seen, _| seen.state.last = None, Unacceptable::History);
    let lt = opened.transaction.load().expect("ours").lt;
    let unread = |why| Unacceptable::Transaction { lt, why };
    check(
        &|seen, _| seen.history[0].at.hash = [7; 32],
        unread(TransactionError::Hash),
    );
    check(
        &|seen, _| seen.history[0].cell = b"nothing".to_vec(),
        unread(TransactionError::Bag),
    );
}

#[test]
fn terms_that_do_not_work_out_are_refused_even_if_we_asked_for_them() {
    let machine = machine();
    let check = |change: &dyn Fn(&mut Terms), expect: BadTerms| {
        let mut terms = terms();
        change(&mut terms);
        assert_eq!(check_terms(&terms), Err(expect));
        let mut live = Live::new(&machine, terms);
        let opened = live.open(TON);
        let mut wanted = wanted(&live);
        wanted.close_delay_s = 0;
        let refused = shown(&live, &[opened]).accept(&wanted);
        let expect = match expect {
            // Said earlier, with what would do.
            BadTerms::DelayTooShort { close_delay_s } => Unacceptable::CloseDelay {
                wanted: 3_600,
                found: close_delay_s,
            },
            other => Unacceptable::Terms(other),
        };
        assert_eq!(refused, Err(expect));
    };
    check(&|terms| terms.fee_bps = 10_001, BadTerms::Fee { fee_bps: 10_001 });
    check(
        &|terms| terms.close_delay_s = 3_599,
        BadTerms::DelayTooShort { close_delay_s: 3_599 },
    );
    check(
        &|terms| terms.close_delay_s = u32::MAX,
        BadTerms::DelayTooLong {
            close_delay_s: u32::MAX,
        },
    );
    let elsewhere = Account {
        workchain: -1,
        ..party(9)
    };
    let outside = |party| BadTerms::Workchain { party, workchain: -1 };
    check(&|terms| terms.payer = elsewhere, outside("payer"));
    check(&|terms| terms.payee = elsewhere, outside("payee"));
    check(&|terms| terms.fee_dest = elsewhere, outside("fee's destination"));
    assert_eq!(check_terms(&terms()), Ok(()));
}

#[test]
fn terms_for_another_network_are_refused() {
    let machine = machine();
    let mut live = Live::new(
        &machine,
        Terms {
            network: Network::TESTNET,
            ..terms()
        },
    );
    let opened = live.open(TON);
    let refused = shown(&live, &[opened]).accept(&wanted(&live));
    let expect = Unacceptable::TermsNetwork {
        wanted: Network::MAINNET,
        found: Network::TESTNET,
    };
    assert_eq!(refused, Err(expect));
}

/// Opened, closed by both, and opened again with the same terms: the chain itself says nothing against it.
#[test]
fn an_address_that_came_twice_is_refused() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    let mut outcomes = vec![live.open(5 * TON)];
    let close = Request::Settle(live.settle(true, nano(TON), nano(TON)));
    outcomes.push(live.send(&sent(party(0x22), TON / 20, &close)).1.expect("taken"));
    assert!(live.kept().is_none(), "closed");
    live.now += 60;
    outcomes.push(live.open(5 * TON));
    let ours = wanted(&live);

    // A source that keeps what a deleted account did.
    let ended = told(&outcomes[1]).at.lt;
    let whole = shown(&live, &outcomes);
    assert_eq!(whole.accept(&ours), Err(Unacceptable::Redeployed { lt: ended }));

    // One that lost how it ended.
    let again = told(&outcomes[2]).at.lt;
    let holed = shown(&live, &[outcomes[0].clone(), outcomes[2].clone()]);
    assert_eq!(holed.accept(&ours), Err(Unacceptable::Redeployed { lt: again }));
    // One that knows of the second life alone cannot be found out: that is what our own tombstones are for.
    assert!(shown(&live, &outcomes[2..]).accept(&ours).is_ok());

    // The voucher of its first life is good in its second.
    let old = Request::Settle(live.settle(false, nano(TON), nano(TON)));
    let again = live.send(&sent(party(0x22), TON / 20, &old)).1.expect("taken");
    assert!(again.succeeded());
    assert_eq!(
        live.kept().map(|state| state.on_chain.claimed),
        Some(Nano::saturating(TON))
    );
}

#[test]
fn a_history_with_a_gap_is_refused() {
    let machine = machine();
    let mut live = Live::new(&machine, terms());
    let mut outcomes = vec![live.open(5 * TON)];
    for _ in 0..2 {
        let request = Request::TopUp {
            query_id: 1,
            amount: nano(TON),
        };
        outcomes.push(live.send(&sent(party(0x11), 2 * TON, &request)).1.expect("taken"));
    }
    let ours = wanted(&live);
    assert!(shown(&live, &outcomes).accept(&ours).is_ok());
    for missing in 0..3 {
        let mut seen = shown(&live, &outcomes);
        seen.history.remove(missing);
        assert_eq!(seen.accept(&ours), Err(Unacceptable::History), "without {missing}");
    }
    let mut seen = shown(&live, &outcomes);
    seen.history.swap(1, 2);
    assert_eq!(seen.accept(&ours), Err(Unacceptable::History));
}
