//! What a voucher costs: to sign, to verify, to carry, to take through both machines, and to make durable.
//!
//! Figures of one core count the time that the thread ran, so that a neighbour on the same core is not in them. Durable
//! ones are mostly the wait for the disk.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use billing::Nano;
use billing::channel::x402::{self, ChannelConfig, Kind, Offer, OfferExtra, Payload, Payment, Scheme, Version};
use billing::channel::{
    Access, Account, Channel, ChannelId, Envelope, Keys, Network, Notice, OnChain, Signer, Take, Terms, Voucher,
    journal, payee,
};
use billing_store::ledger::{Facts, NewChannel, Side, Word};
use billing_store::{By, Location, Store};
use tokio::task::JoinSet;

use crate::captures::{Failure, cpu_time, median_and_p99};

mod work;

/// 2026-11-22, noon.
const NOW_S: u64 = 1_795_348_800;
const SEEDS: ([u8; 32], [u8; 32]) = ([1; 32], [2; 32]);

/// How often one core does something in a second.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub what: &'static str,
    pub a_second: f64,
}

/// What both sides sign with, and for what.
struct Sides {
    payer: Signer,
    payee: Signer,
    channel: Channel,
}

fn account(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

impl Sides {
    /// Of the channel at an address of its own.
    fn at(number: u8) -> Result<Self, Failure> {
        let (payer, payee) = (Signer::from_seed(&SEEDS.0)?, Signer::from_seed(&SEEDS.1)?);
        let terms = Terms {
            network: Network::TESTNET,
            close_delay_s: 86_400,
            fee_bps: 0,
            salt: u128::from(number),
            payer: account(1),
            payee: account(2),
            fee_dest: account(3),
        };
        let channel = Channel {
            id: ChannelId {
                network: terms.network,
                account: account(number),
            },
            keys: Keys {
                payer: payer.public(),
                payee: payee.public(),
            },
            terms,
        };
        Ok(Self { payer, payee, channel })
    }

    fn voucher(&self, max: u64) -> Result<Voucher, Failure> {
        let (keys, id) = (&self.channel.keys, &self.channel.id);
        Ok(Voucher::sign(&self.payer, keys, id, Nano::saturating(max))?)
    }

    /// A request that pays, with a voucher and an access proof.
    fn payment(&self) -> Result<Payment, Failure> {
        let Channel { id, keys, terms } = &self.channel;
        let accepted = Offer {
            scheme: Scheme,
            network: terms.network,
            asset: x402::Asset,
            amount: Nano::ZERO,
            pay_to: terms.payee,
            max_timeout_seconds: 60,
            extra: OfferExtra {
                code_hash: [0xab; 32],
                receiver_authorizer: keys.payee,
                withdraw_delay: terms.close_delay_s,
                fee_bps: terms.fee_bps,
                fee_dest: terms.fee_dest,
                channel_state: None,
                voucher_state: None,
                required_cumulative: None,
            },
        };
        Ok(Payment {
            x402_version: Version,
            accepted,
            payload: Payload {
                kind: Kind,
                channel_config: ChannelConfig::new(terms, keys),
                voucher: Some(self.voucher(9)?.claim()),
                access: Some(Access::sign(&self.payer, keys, id, NOW_S)?),
            },
        })
    }
}

/// What one core does, one after another. The first is what the others are compared with.
pub fn on_one_core(time: Duration) -> Result<Vec<Rate>, Failure> {
    let sides = Sides::at(7)?;
    let (keys, id) = (sides.channel.keys, sides.channel.id);
    let claimed = sides.voucher(9)?.claim();
    let payment = sides.payment()?;
    let header = x402::encode(&payment);
    let mut work = work::Work::begin()?;
    Ok(vec![
        rate("vouchers signed", time, |at| sides.voucher(at).map(drop))?,
        rate("vouchers verified", time, |_| {
            black_box(claimed.verify(&keys, &id)?);
            Ok(())
        })?,
        rate("takes signed", time, |at| {
            black_box(Take::sign(&sides.payee, &keys, &id, Nano::saturating(at))?);
            Ok(())
        })?,
        rate("notices with a voucher, written and read", time, |at| {
            let notice = Notice::Voucher {
                voucher: claimed,
                spent: Nano::saturating(at),
                open: Nano::ZERO,
            };
            let bytes = serde_json::to_vec(&Envelope::new(&id, notice))?;
            black_box(Envelope::read(&bytes)?);
            Ok(())
        })?,
        rate("`PAYMENT-SIGNATURE` read, nothing verified", time, |_| {
            black_box(x402::decode::<Payment>(&header)?.check(id.network)?);
            Ok(())
        })?,
        rate("`PAYMENT-SIGNATURE` read, voucher and access verified", time, |_| {
            let payment = x402::decode::<Payment>(&header)?;
            let (_, keys) = payment.check(id.network)?;
            if let (Some(voucher), Some(access)) = (payment.payload.voucher, payment.payload.access) {
                black_box((voucher.verify(&keys, &id)?, access.verify(&keys, &id, NOW_S, 300)?));
            }
            Ok(())
        })?,
        rate("pieces of work through both machines, a voucher each", time, |at| {
            work.piece(at)
        })?,
    ])
}

fn rate(what: &'static str, time: Duration, mut once: impl FnMut(u64) -> Result<(), Failure>) -> Result<Rate, Failure> {
    let began = (Instant::now(), cpu_time());
    let mut count = 0_u64;
    while began.0.elapsed() < time {
        for _ in 0..64 {
            count += 1;
            once(count)?;
        }
    }
    let busy = match (began.1, cpu_time()) {
        (Some(before), Some(after)) => after - before,
        _ => began.0.elapsed(),
    };
    Ok(Rate {
        what,
        a_second: count as f64 / busy.as_secs_f64(),
    })
}

/// Vouchers that are on disk.
#[derive(Debug, Clone, Copy)]
pub struct Durable {
    pub a_second: f64,
    /// What one of them, or its group, waits.
    pub p50: Duration,
    pub p99: Duration,
}

/// In a journal of frames: so many records are written, then synced together.
pub fn in_frames(folder: &Path, group: usize, time: Duration) -> Result<Durable, Failure> {
    let record = payee::Record::Voucher(Sides::at(7)?.voucher(9)?.claim());
    let path = folder.join(format!("frames-{group}"));
    let mut file = File::create_new(&path)?;
    let mut waits = Vec::new();
    let began = Instant::now();
    while began.elapsed() < time {
        let since = Instant::now();
        let bytes: Vec<u8> = (0..group).flat_map(|_| journal::frame(&record)).collect();
        file.write_all(&bytes)?;
        file.sync_data()?;
        waits.push(since.elapsed());
    }
    let took = began.elapsed();
    fs::remove_file(path)?;
    let (p50, p99) = median_and_p99(&mut waits);
    Ok(Durable {
        a_second: (waits.len() * group) as f64 / took.as_secs_f64(),
        p50,
        p99,
    })
}

/// In a ledger: so many channels, each raised again and again, with its account in the same transaction. Signing and
/// verifying each voucher is in the figure.
pub async fn in_ledger(location: &Location, channels: u8, time: Duration) -> Result<Durable, Failure> {
    let store = Store::open(location).await?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 1..=channels {
        let sides = Sides::at(number)?;
        let by = By {
            actor: "bench",
            at_ms: 1_000 * NOW_S as i64,
        };
        let Channel { id, keys, terms } = sides.channel;
        let on_chain = OnChain {
            close_at: None,
            deposited: Nano::saturating(u64::MAX / 1024),
            claimed: Nano::ZERO,
        };
        let new = NewChannel {
            side: Side::Payee,
            id,
            terms,
            keys,
            facts: Facts { seqno: 1, on_chain },
            word: Word::Agreed,
        };
        let store = store.channels();
        let known = store.add(&new, by).await?;
        tasks.spawn(async move {
            let mut waits = Vec::new();
            let mut max = known.voucher_max().get();
            while began.elapsed() < time {
                max += 1;
                let claimed = sides.voucher(max)?.claim();
                let since = Instant::now();
                store.raise(&claimed.verify(&keys, &id)?, by).await?;
                waits.push(since.elapsed());
            }
            Ok::<_, Failure>(waits)
        });
    }
    let mut waits = Vec::new();
    for task in tasks.join_all().await {
        waits.extend(task?);
    }
    let took = began.elapsed();
    store.close().await;
    let (p50, p99) = median_and_p99(&mut waits);
    Ok(Durable {
        a_second: waits.len() as f64 / took.as_secs_f64(),
        p50,
        p99,
    })
}
