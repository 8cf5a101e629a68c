//! Which channels are taken: start from a good one, break one thing, expect one refusal.

use billing::channel::{Account, Network};
use billing_ton::chain::{AccountState, Head, Status};
use billing_ton::contract::{self, Malformed};
use billing_ton::jetton::{self, Accepted, Request, Seen, State, Unacceptable, Wanted, accept};
use billing_ton_sim::{Machine, Prices, slim};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellFamily};

use super::world::{Kind, Live, PAYER};
use crate::codec::data;
use crate::machine::{TON, nano, party, terms};

fn machine() -> Machine {
    Machine::new(slim(), Prices::New).expect("embedded")
}

struct Shown {
    network: Network,
    account: Account,
    state: AccountState,
}

impl Shown {
    fn accept(&self, wanted: &Wanted) -> Result<Accepted, Unacceptable> {
        accept(
            &Seen {
                network: self.network,
                account: self.account,
                state: &self.state,
            },
            wanted,
        )
    }
}

fn shown(live: &Live<'_>) -> Shown {
    let status = match data(&live.shown()) {
        None => Status::Nonexistent,
        Some(data) => Status::Active {
            code: Boc::encode(jetton::code()),
            data: Boc::encode(data),
        },
    };
    Shown {
        network: Network::MAINNET,
        account: live.account,
        state: AccountState {
            head: Head {
                seqno: 7,
                time: live.world.now,
            },
            balance: 1,
            last: None,
            status,
        },
    }
}

fn wanted(live: &Live<'_>) -> Wanted {
    Wanted {
        channel: contract::Wanted {
            network: Network::MAINNET,
            payee: live.terms.payee,
            payee_key: live.payee.public(),
            fee_bps: live.terms.fee_bps,
            fee_dest: live.terms.fee_dest,
            close_delay_s: 86_400,
        },
        master: live.jetton.master,
    }
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
    let mut live = Live::new(&machine, terms(), Kind::Standard, jetton::code());
    assert_eq!(
        shown(&live).accept(&wanted(&live)),
        Err(contract::Unacceptable::NotThere.into())
    );
    live.open();
    live.world.send(&live.deposit(nano(5_000_000), TON / 10));
    let taken = shown(&live).accept(&wanted(&live)).expect("it is as it should be");
    assert_eq!(
        (taken.id(), taken.terms(), taken.keys()),
        (live.id(), &live.terms, &live.keys())
    );
    assert_eq!(taken.wallet(), live.jetton.wallet(&live.account));
    assert_eq!(
        (taken.payable(), taken.on_chain().deposited),
        (nano(5_000_000), nano(5_000_000))
    );
    assert_eq!(taken.head().seqno, 7);
}

#[test]
fn a_channel_with_one_thing_wrong_is_refused_by_name() {
    let machine = machine();
    let mut live = Live::new(&machine, terms(), Kind::Standard, jetton::code());
    live.open();
    live.world.send(&live.deposit(nano(5_000_000), TON / 10));
    let ours = wanted(&live);
    type Break<'a> = &'a dyn Fn(&mut Shown, &mut Wanted);
    let check = |change: Break<'_>, expect: Unacceptable| {
        let (mut seen, mut wanted) = (shown(&live), ours);
        change(&mut seen, &mut wanted);
        assert_eq!(seen.accept(&wanted), Err(expect));
    };
    let channel = |change: Break<'_>, expect: contract::Unacceptable| check(change, Unacceptable::Channel(expect));
    channel(
        &|seen, _| seen.network = Network::TESTNET,
        contract::Unacceptable::Network {
            wanted: Network::MAINNET,
            found: Network::TESTNET,
        },
    );
    channel(
        &|seen, _| seen.account.workchain = -1,
        contract::Unacceptable::Workchain { workchain: -1 },
    );
    channel(
        &|seen, _| seen.state.status = Status::Frozen,
        contract::Unacceptable::Frozen,
    );
    channel(
        &|seen, _| {
            if let Status::Active { code, .. } = &mut seen.state.status {
                *code = Boc::encode(contract::code());
            }
        },
        contract::Unacceptable::Code,
    );
    channel(
        &|seen, _| {
            if let Status::Active { data, .. } = &mut seen.state.status {
                *data = Boc::encode(Cell::empty_cell());
            }
        },
        contract::Unacceptable::Data(Malformed::Short),
    );
    // A channel whose wallet somebody else named has another address.
    channel(
        &|seen, _| with_state(seen, |state| state.held.master = party(7)),
        contract::Unacceptable::Address,
    );
    channel(
        &|seen, _| with_state(seen, |state| state.terms.salt = 7),
        contract::Unacceptable::Address,
    );
    let master = live.jetton.master;
    check(
        &|_, wanted| wanted.master = party(7),
        Unacceptable::Master {
            wanted: party(7),
            found: master,
        },
    );
    channel(
        &|_, wanted| wanted.channel.payee = party(7),
        contract::Unacceptable::Payee,
    );
    channel(
        &|_, wanted| wanted.channel.payee_key = [7; 32],
        contract::Unacceptable::PayeeKey,
    );
    channel(
        &|_, wanted| wanted.channel.fee_bps = 1,
        contract::Unacceptable::FeeBps { wanted: 1, found: 0 },
    );
    check(
        &|seen, _| with_state(seen, |state| state.held.wallet = None),
        Unacceptable::NotOpen,
    );
    check(
        &|seen, _| with_state(seen, |state| state.held.ended = true),
        Unacceptable::Ended,
    );
    channel(
        &|seen, _| with_state(seen, |state| state.on_chain.close_at = Some(9)),
        contract::Unacceptable::Closing { close_at: 9 },
    );
}

/// The account stays, so that its address never lives twice: whatever is tried, what was signed is worth nothing any more.
#[test]
fn an_address_never_comes_twice() {
    let machine = machine();
    let mut live = Live::new(&machine, terms(), Kind::Standard, jetton::code());
    live.open();
    live.world.send(&live.deposit(nano(5_000_000), TON / 10));
    let close = Request::Settle(live.settle(true, nano(1_000_000), nano(1_000_000)));
    live.world.send(&live.request(PAYER, TON / 4, &close));
    assert_eq!(live.holds(&live.terms.payee), 1_000_000);
    assert_eq!(live.holds(&PAYER), super::world::FORTUNE - 1_000_000);
    live.world.now += 700_000;
    let sweep = Request::Sweep {
        query_id: 1,
        amount: nano(0),
    };
    live.world.send(&live.request(PAYER, TON / 4, &sweep));
    live.world.now += 31_000_000;
    live.open();
    live.world.send(&live.deposit(nano(5_000_000), TON / 10));
    let again = Request::Settle(live.settle(false, nano(5_000_000), nano(5_000_000)));
    live.world.send(&live.request(PAYER, TON / 4, &again));
    assert_eq!(live.holds(&live.terms.payee), 1_000_000);
    assert_eq!(live.holds(&PAYER), super::world::FORTUNE - 1_000_000);
    assert_eq!(shown(&live).accept(&wanted(&live)), Err(Unacceptable::Ended));
}
