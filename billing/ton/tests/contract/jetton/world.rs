//! Several accounts in the virtual machine, and the messages between them: a jetton, a channel that holds it, their wallets.

use std::collections::{BTreeMap, VecDeque};

use billing::Nano;
use billing::channel::{Account, ChannelId, Keys, Tag, Terms};
use billing_ton::contract::Settle;
use billing_ton::jetton::{self, Request, State, Transfer};
use billing_ton_sim::{At, Machine, NotAccepted, Outcome, nonexistent};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily, HashBytes, Load, Store};
use tycho_types::models::{IntAddr, IntMsgInfo, MsgInfo, ShardAccount, StateInit, StdAddr};
use tycho_types::num::Tokens;

use crate::codec::{data, opened};
use crate::machine::{Pair, START, TON, party};

pub(crate) const PAYER: Account = whole(0x11);
pub(crate) const STRANGER: Account = whole(0x44);
const ISSUER: Account = whole(0x55);
/// A message sets off no more than this.
const MOST: usize = 24;
/// What the payer has to begin with.
pub(crate) const FORTUNE: u64 = 1_000_000_000_000;

const fn whole(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

/// A transaction: the account before, the message, what came of it.
pub(crate) struct Step {
    pub(crate) to: Account,
    pub(crate) before: ShardAccount,
    pub(crate) message: Cell,
    pub(crate) outcome: Outcome,
}

pub(crate) struct World<'a> {
    machine: &'a Machine,
    accounts: BTreeMap<Account, ShardAccount>,
    pub(crate) now: u32,
    lt: u64,
}

/// What an account without a contract sends.
pub(crate) struct Sent {
    pub(crate) from: Account,
    pub(crate) to: Account,
    pub(crate) value: u64,
    pub(crate) bounce: bool,
    pub(crate) init: Option<StateInit>,
    pub(crate) body: Cell,
}

impl<'a> World<'a> {
    pub(crate) fn new(machine: &'a Machine) -> Self {
        Self {
            machine,
            accounts: BTreeMap::new(),
            now: START,
            lt: 1_000_000,
        }
    }

    pub(crate) fn state(&self, account: &Account) -> ShardAccount {
        self.accounts.get(account).cloned().unwrap_or_else(nonexistent)
    }

    /// One message; what the account sent is in the outcome.
    pub(crate) fn deliver(&mut self, to: Account, message: Cell, lt: u64) -> Result<Step, NotAccepted> {
        let before = self.state(&to);
        self.lt = lt;
        let at = At {
            lt,
            now: self.now,
            seed: [0; 32],
        };
        let outcome = self.machine.execute(&to, &before, message.clone(), at)?;
        self.accounts.insert(to, outcome.state.clone());
        Ok(Step {
            to,
            before,
            message,
            outcome,
        })
    }

    /// The message and all that it sets off, in order.
    pub(crate) fn send(&mut self, sent: &Sent) -> Vec<Step> {
        let mut queue = VecDeque::from([(sent.to, self.message(sent))]);
        let mut steps = Vec::new();
        while let Some((to, message)) = queue.pop_front() {
            assert!(steps.len() < MOST, "it does not end");
            let step = self
                .deliver(to, message, self.lt + 1_000_000)
                .expect("internal messages are taken");
            for out in &step.outcome.messages {
                let to = destination(out);
                if !is_party(&to) {
                    queue.push_back((to, out.clone()));
                }
            }
            steps.push(step);
        }
        steps
    }

    fn message(&self, sent: &Sent) -> Cell {
        let address = |account: &Account| StdAddr::new(account.workchain, HashBytes(account.hash));
        let info = MsgInfo::Int(IntMsgInfo {
            ihr_disabled: true,
            bounce: sent.bounce,
            src: address(&sent.from).into(),
            dst: address(&sent.to).into(),
            value: Tokens::new(u128::from(sent.value)).into(),
            created_lt: self.lt,
            created_at: self.now,
            ..IntMsgInfo::default()
        });
        let mut builder = CellBuilder::new();
        info.store_into(&mut builder, Cell::empty_context()).expect("a header");
        builder.store_bit(sent.init.is_some()).expect("room");
        if let Some(init) = &sent.init {
            builder.store_bit_one().expect("room");
            let init = CellBuilder::build_from(init).expect("a state init");
            builder.store_reference(init).expect("room");
        }
        builder.store_bit_one().expect("room");
        builder.store_reference(sent.body.clone()).expect("room");
        builder.build().expect("ordinary")
    }
}

/// Parties have no contracts: coins that reach them stay.
fn is_party(account: &Account) -> bool {
    account.hash.iter().all(|byte| *byte == account.hash[0])
}

pub(crate) fn destination(message: &Cell) -> Account {
    let (MsgInfo::Int(info), _, _) = opened(message) else {
        panic!("only accounts are sent to");
    };
    account(&info.dst)
}

pub(crate) fn account(address: &IntAddr) -> Account {
    let IntAddr::Std(address) = address else {
        panic!("an address of another form");
    };
    Account {
        workchain: address.workchain,
        hash: address.address.0,
    }
}

/// Which jetton.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Standard,
    /// Master and only wallet in one; transfers need so many nanoton.
    Fussy {
        least: u64,
    },
}

pub(crate) struct Jetton {
    kind: Kind,
    init: StateInit,
    pub(crate) master: Account,
}

fn boc(bytes: &[u8]) -> Cell {
    Boc::decode(bytes).expect("checked in")
}

fn minter() -> Cell {
    boc(include_bytes!("../../../contracts/jetton/minter.boc"))
}

fn wallet_code() -> Cell {
    boc(include_bytes!("../../../contracts/jetton/wallet.boc"))
}

fn fussy_code() -> Cell {
    boc(include_bytes!("../../../contracts/fixtures/fussy.boc"))
}

fn store_account(to: &mut CellBuilder, account: &Account) {
    StdAddr::new(account.workchain, HashBytes(account.hash))
        .store_into(to, Cell::empty_context())
        .expect("room");
}

fn store_amount(to: &mut CellBuilder, amount: u64) {
    Tokens::new(u128::from(amount))
        .store_into(to, Cell::empty_context())
        .expect("room");
}

fn at(code: Cell, data: CellBuilder) -> (StateInit, Account) {
    let init = StateInit {
        code: Some(code),
        data: Some(data.build().expect("ordinary")),
        ..StateInit::default()
    };
    let hash = CellBuilder::build_from(&init).expect("a state init").repr_hash().0;
    (init, Account { workchain: 0, hash })
}

impl Jetton {
    fn new(kind: Kind) -> Self {
        let mut data = CellBuilder::new();
        let code = match kind {
            Kind::Standard => {
                store_amount(&mut data, 0);
                store_account(&mut data, &ISSUER);
                data.store_reference(Cell::empty_cell()).expect("room");
                data.store_reference(wallet_code()).expect("room");
                minter()
            }
            Kind::Fussy { least } => {
                store_amount(&mut data, 0);
                data.store_small_uint(0, 2).expect("room");
                store_amount(&mut data, least);
                fussy_code()
            }
        };
        let (init, master) = at(code, data);
        Self { kind, init, master }
    }

    pub(crate) fn wallet(&self, owner: &Account) -> Account {
        if self.kind != Kind::Standard {
            return self.master;
        }
        let mut data = CellBuilder::new();
        store_amount(&mut data, 0);
        store_account(&mut data, owner);
        store_account(&mut data, &self.master);
        data.store_reference(wallet_code()).expect("room");
        at(wallet_code(), data).1
    }
}

/// A channel, its jetton, and keys that sign for both sides.
pub(crate) struct Live<'a> {
    pub(crate) world: World<'a>,
    pub(crate) jetton: Jetton,
    pub(crate) terms: Terms,
    pub(crate) payer: Pair,
    pub(crate) payee: Pair,
    pub(crate) account: Account,
    init: StateInit,
}

impl<'a> Live<'a> {
    pub(crate) fn new(machine: &'a Machine, terms: Terms, kind: Kind, code: Cell) -> Self {
        let jetton = Jetton::new(kind);
        let (payer, payee) = (Pair::new(1), Pair::new(2));
        let keys = Keys {
            payer: payer.public(),
            payee: payee.public(),
        };
        let init = StateInit {
            code: Some(code),
            ..jetton::state_init(&terms, &keys, &jetton.master)
        };
        let hash = CellBuilder::build_from(&init).expect("a state init").repr_hash().0;
        let mut live = Self {
            world: World::new(machine),
            jetton,
            terms,
            payer,
            payee,
            account: Account { workchain: 0, hash },
            init,
        };
        live.issue();
        live
    }

    fn issue(&mut self) {
        let mut deploy = sent(ISSUER, self.jetton.master, TON, Cell::empty_cell());
        deploy.init = Some(self.jetton.init.clone());
        self.world.send(&deploy);
        if self.jetton.kind != Kind::Standard {
            return;
        }
        let mut internal = CellBuilder::new();
        internal.store_u32(0x178d_4519).expect("room");
        internal.store_u64(0).expect("room");
        store_amount(&mut internal, FORTUNE);
        internal.store_small_uint(0, 2).expect("room");
        store_account(&mut internal, &ISSUER);
        store_amount(&mut internal, 0);
        internal.store_bit_zero().expect("room");
        let mut body = CellBuilder::new();
        body.store_u32(21).expect("room");
        body.store_u64(0).expect("room");
        store_account(&mut body, &PAYER);
        store_amount(&mut body, TON / 10);
        body.store_reference(internal.build().expect("ordinary")).expect("room");
        let mint = sent(ISSUER, self.jetton.master, TON, body.build().expect("ordinary"));
        self.world.send(&mint);
        assert_eq!(self.holds(&PAYER), FORTUNE);
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys {
            payer: self.payer.public(),
            payee: self.payee.public(),
        }
    }

    pub(crate) fn id(&self) -> ChannelId {
        ChannelId {
            network: self.terms.network,
            account: self.account,
        }
    }

    pub(crate) fn kept(&self) -> Option<State> {
        data(&self.world.state(&self.account)).map(|data| State::decode(&data).expect("the contract wrote it"))
    }

    /// Jettons of `owner`.
    pub(crate) fn holds(&self, owner: &Account) -> u64 {
        let Some(data) = data(&self.world.state(&self.jetton.wallet(owner))) else {
            return 0;
        };
        let mut from = data.as_slice().expect("ordinary");
        let amount = Tokens::load_from(&mut from).expect("a balance").into_inner();
        u64::try_from(amount).expect("no more than there are")
    }

    pub(crate) fn settle(&self, close: bool, take: Nano, max: Nano) -> Settle {
        let id = self.id();
        let tag = if close { Tag::Close } else { Tag::Take };
        Settle {
            query_id: 1,
            close,
            take,
            max,
            payee_signature: self.payee.sign(tag, &id, take),
            voucher_signature: Some(self.payer.sign(Tag::Voucher, &id, max)),
        }
    }

    /// To the channel.
    pub(crate) fn request(&self, from: Account, value: u64, request: &Request) -> Sent {
        sent(from, self.account, value, request.encode())
    }

    pub(crate) fn opening(&self, value: u64) -> Sent {
        let mut open = self.request(PAYER, value, &Request::Open { query_id: 1 });
        open.init = Some(self.init.clone());
        open
    }

    /// With so many nanoton forwarded.
    pub(crate) fn deposit(&self, amount: Nano, forward: u64) -> Sent {
        match self.jetton.kind {
            Kind::Standard => {
                let order = Transfer {
                    forward: Nano::saturating(forward),
                    ..Transfer::deposit(amount, self.account, PAYER, 7)
                };
                let wallet = self.jetton.wallet(&PAYER);
                sent(PAYER, wallet, forward + TON / 10, order.encode())
            }
            Kind::Fussy { .. } => {
                let mut body = CellBuilder::new();
                body.store_u32(0x6675_7373).expect("room");
                store_amount(&mut body, amount.get());
                store_account(&mut body, &PAYER);
                sent(STRANGER, self.jetton.master, TON / 4, body.build().expect("ordinary"))
            }
        }
    }

    pub(crate) fn open(&mut self) {
        self.world.send(&self.opening(jetton::OPENING.get()));
    }

    pub(crate) fn shown(&self) -> ShardAccount {
        self.world.state(&self.account)
    }
}

pub(crate) fn sent(from: Account, to: Account, value: u64, body: Cell) -> Sent {
    Sent {
        from,
        to,
        value,
        bounce: true,
        init: None,
        body,
    }
}

pub(crate) fn fee_dest() -> Account {
    party(0x33)
}
