//! The processes: a machine, what it still has to do, and its disk.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use billing::{
    Nano,
    channel::{
        Account, Caps, Channel, ChannelId, Keys, Network, Payee, Payer, Purse, Signer, Terms, Watchtower, payee, payer,
        watchtower,
    },
};

use serde::{Deserialize, Serialize};

use crate::{disk::Disk, random::Random};

/// One frame: a record of the machine, and by how much what is owed beside it changes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line<R> {
    pub(crate) record: Option<R>,
    pub(crate) owed: i64,
}

impl<R> Line<R> {
    pub(crate) fn of(record: R) -> Self {
        let record = Some(record);
        Self { record, owed: 0 }
    }

    pub(crate) fn owed(owed: i64) -> Self {
        Self { record: None, owed }
    }
}

/// What is owed, and the records of the machine.
pub(crate) fn replay<R>(lines: Vec<Line<R>>) -> (u64, Vec<R>) {
    let owed: i64 = lines.iter().map(|line| line.owed).sum();
    let records = lines.into_iter().filter_map(|line| line.record).collect();
    (
        u64::try_from(owed).expect("no more is taken off than was owed"),
        records,
    )
}

/// A machine's state, and what is owed beside it.
pub(crate) fn shortened<R>(owed: u64, records: Vec<R>) -> Vec<Line<R>> {
    let mut lines: Vec<_> = records.into_iter().map(Line::of).collect();
    lines.push(Line::owed(signed(owed)));
    lines
}

pub(crate) fn signed(amount: u64) -> i64 {
    i64::try_from(amount).expect("small")
}

pub(crate) fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("small")
}

pub(crate) struct PayerNode {
    pub(crate) signer: Arc<Signer>,
    pub(crate) policy: payer::PayerPolicy,
    pub(crate) machine: Option<Payer>,
    pub(crate) caps: Caps,
    pub(crate) purse: Purse,
    pub(crate) todo: VecDeque<payer::Effect>,
    pub(crate) disk: Disk<Line<payer::Record>>,
    /// Beside the channel.
    pub(crate) owed: u64,
    pub(crate) skew_ms: i64,
    /// Of the greatest voucher whose record was synced.
    pub(crate) durable_max: Nano,
    pub(crate) durable_spent: Nano,
    pub(crate) covered: Nano,
    pub(crate) is_buried: bool,
}

pub(crate) struct PayeeNode {
    pub(crate) signer: Arc<Signer>,
    pub(crate) policy: payee::PayeePolicy,
    pub(crate) machine: Option<Payee>,
    pub(crate) todo: VecDeque<payee::Effect>,
    pub(crate) disk: Disk<Line<payee::Record>>,
    /// Beside the channel, and what comes off it with records that are to be written.
    pub(crate) owed: u64,
    pub(crate) off: VecDeque<u64>,
    /// The payer asked where we stand, and waits for nothing to be under way.
    pub(crate) is_asked: bool,
    pub(crate) next_fold: u64,
    pub(crate) skew_ms: i64,
    pub(crate) durable_max: Nano,
    pub(crate) durable_spent: Nano,
    pub(crate) durable_take: Nano,
    pub(crate) durable_ids: BTreeSet<[u8; 16]>,
    pub(crate) is_last_shown: bool,
    pub(crate) is_buried: bool,
    /// It will not come back.
    pub(crate) is_dead: bool,
}

pub(crate) struct TowerNode {
    pub(crate) machine: Option<Watchtower>,
    pub(crate) todo: VecDeque<watchtower::Effect>,
    pub(crate) disk: Disk<watchtower::Record>,
    pub(crate) skew_ms: i64,
    /// The most that it said it kept.
    pub(crate) kept: Nano,
}

pub(crate) fn terms(random: &mut Random) -> (Channel, Arc<Signer>, Arc<Signer>) {
    let signer = |seed: u8| Arc::new(Signer::from_seed(&[seed; 32]).expect("a seed"));
    let (payer, payee) = (signer(1), signer(2));
    let account = |hash: u8| Account {
        workchain: 0,
        hash: [hash; 32],
    };
    let channel = Channel {
        id: ChannelId {
            network: Network::TESTNET,
            account: account(7),
        },
        keys: Keys {
            payer: payer.public(),
            payee: payee.public(),
        },
        terms: Terms {
            network: Network::TESTNET,
            close_delay_s: 3600,
            fee_bps: 0,
            salt: u128::from(random.below(u64::MAX)),
            payer: account(1),
            payee: account(2),
            fee_dest: account(3),
        },
    };
    (channel, payer, payee)
}

pub(crate) fn demands(channel: &Channel) -> payee::Demands {
    payee::Demands {
        network: channel.id.network,
        payee: channel.terms.payee,
        payee_key: channel.keys.payee,
        fee_bps: 0,
        fee_dest: channel.terms.fee_dest,
        least_close_delay_s: 3600,
        least_deposit: nano(100),
    }
}
