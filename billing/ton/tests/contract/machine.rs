//! One channel in the virtual machine: what is sent to it is signed here, as a payer and a payee would.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use billing::Nano;
use billing::channel::{Account, ChannelId, Keys, Network, Tag, Terms, signed_bytes};
use billing_ton::contract::{self, Request, Settle, State};
use billing_ton_sim::{At, Machine, NotAccepted, Outcome, nonexistent};
use tycho_types::cell::{Cell, CellBuilder, CellFamily, HashBytes, Store};
use tycho_types::models::{IntMsgInfo, MsgInfo, ShardAccount, StateInit, StdAddr};
use tycho_types::num::Tokens;

use crate::codec::data;

pub(crate) const TON: u64 = Nano::UNIT;
pub(crate) const START: u32 = 1_790_000_000;

pub(crate) fn party(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

pub(crate) fn nano(nano: u64) -> Nano {
    Nano::new(nano).expect("a small amount")
}

/// Keys that everybody has.
pub(crate) struct Pair(Ed25519KeyPair);

impl Pair {
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes"))
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("32 bytes")
    }

    pub(crate) fn sign(&self, tag: Tag, channel: &ChannelId, amount: Nano) -> [u8; 64] {
        self.sign_bytes(&signed_bytes(tag, channel, amount))
    }

    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).as_ref().try_into().expect("64 bytes")
    }
}

pub(crate) fn terms() -> Terms {
    Terms {
        network: Network::MAINNET,
        close_delay_s: 86_400,
        fee_bps: 0,
        salt: 0x5eed,
        payer: party(0x11),
        payee: party(0x22),
        fee_dest: party(0x33),
    }
}

/// What an account sends to the channel.
pub(crate) struct Sent {
    pub(crate) from: Account,
    pub(crate) value: u64,
    pub(crate) bounce: bool,
    pub(crate) init: bool,
    pub(crate) body: Cell,
}

pub(crate) fn sent(from: Account, value: u64, request: &Request) -> Sent {
    Sent {
        from,
        value,
        bounce: true,
        init: false,
        body: request.encode(),
    }
}

/// A channel and its whole world.
pub(crate) struct Live<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) terms: Terms,
    pub(crate) payer: Pair,
    pub(crate) payee: Pair,
    pub(crate) account: Account,
    pub(crate) state: ShardAccount,
    pub(crate) now: u32,
    init: StateInit,
    lt: u64,
}

impl<'a> Live<'a> {
    pub(crate) fn new(machine: &'a Machine, terms: Terms) -> Self {
        Self::with_code(machine, terms, contract::code())
    }

    /// With a contract that is not ours.
    pub(crate) fn with_code(machine: &'a Machine, terms: Terms, code: Cell) -> Self {
        let (payer, payee) = (Pair::new(1), Pair::new(2));
        let keys = Keys {
            payer: payer.public(),
            payee: payee.public(),
        };
        let init = StateInit {
            code: Some(code),
            ..contract::state_init(&terms, &keys)
        };
        let hash = CellBuilder::build_from(&init).expect("a state init").repr_hash().0;
        Self {
            machine,
            terms,
            account: Account { workchain: 0, hash },
            init,
            payer,
            payee,
            state: nonexistent(),
            now: START,
            lt: 1_000_000,
        }
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

    /// `None` where there is no code.
    pub(crate) fn kept(&self) -> Option<State> {
        data(&self.state).map(|data| State::decode(&data).expect("the contract wrote it"))
    }

    /// Signed by both as it should be.
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

    pub(crate) fn open(&mut self, amount: u64) -> Outcome {
        let request = Request::TopUp {
            query_id: 1,
            amount: nano(amount),
        };
        let mut message = sent(self.terms.payer, amount + TON / 10, &request);
        message.init = true;
        self.send(&message).1.expect("internal messages are always taken")
    }

    pub(crate) fn message(&self, sent: &Sent) -> Cell {
        let address = |account: &Account| StdAddr::new(account.workchain, HashBytes(account.hash));
        let info = MsgInfo::Int(IntMsgInfo {
            ihr_disabled: true,
            bounce: sent.bounce,
            src: address(&sent.from).into(),
            dst: address(&self.account).into(),
            value: Tokens::new(u128::from(sent.value)).into(),
            created_lt: self.lt,
            created_at: self.now,
            ..IntMsgInfo::default()
        });
        let mut builder = CellBuilder::new();
        let context = Cell::empty_context();
        info.store_into(&mut builder, context).expect("a header");
        builder.store_bit(sent.init).expect("room");
        if sent.init {
            builder.store_bit_one().expect("room");
            builder
                .store_reference(CellBuilder::build_from(&self.init).expect("a state init"))
                .expect("room");
        }
        builder.store_bit_one().expect("room");
        builder.store_reference(sent.body.clone()).expect("room");
        builder.build().expect("ordinary")
    }

    /// The message as it was delivered, and what came of it; the channel goes on from there.
    pub(crate) fn send(&mut self, sent: &Sent) -> (Cell, Result<Outcome, NotAccepted>) {
        let message = self.message(sent);
        self.lt += 1_000_000;
        let at = At {
            lt: self.lt,
            now: self.now,
            seed: [0; 32],
        };
        let outcome = self.machine.execute(&self.account, &self.state, message.clone(), at);
        if let Ok(outcome) = &outcome {
            // A chain forgets an account that ended.
            self.state = if outcome.destroyed {
                nonexistent()
            } else {
                outcome.state.clone()
            };
            self.lt = self.lt.max(outcome.next_lt);
        }
        (message, outcome)
    }
}
