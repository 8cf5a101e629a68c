//! How many vouchers one core signs, verifies, and takes through both machines, in a second.
//!
//! `cargo run -p billing --release --example vouchers`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use billing::{
    Nano,
    channel::{
        Account, Caps, Channel, ChannelId, Envelope, Fact, HoldId, Keys, Network, Notice, OnChain, Payee, Payer, Purse,
        Signer, State, Terms, Ticket, Voucher,
        journal::frame,
        payee,
        payer::{self, Books, Trust},
    },
};

const SPAN: Duration = Duration::from_secs(2);

fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("small")
}

/// Does it for a while and says how often in a second.
#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn measure(what: &str, mut once: impl FnMut(u64)) {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < SPAN {
        for _ in 0..64 {
            count += 1;
            once(count);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for the eye")]
    let rate = count as f64 / seconds;
    println!("{what:50} {rate:>10.0}/s  {:>7.1} us each", 1e6 / rate);
}

fn main() {
    let signer = |seed: u8| Arc::new(Signer::from_seed(&[seed; 32]).expect("a seed"));
    let (payer, payee) = (signer(1), signer(2));
    let account = |hash| Account {
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
            close_delay_s: 86_400,
            fee_bps: 0,
            salt: 1,
            payer: account(1),
            payee: account(2),
            fee_dest: account(3),
        },
    };
    let (keys, id) = (channel.keys, channel.id);
    measure("vouchers signed", |at| {
        std::hint::black_box(Voucher::sign(&payer, &keys, &id, nano(at)).expect("its key"));
    });
    let claimed = Voucher::sign(&payer, &keys, &id, nano(9)).expect("its key").claim();
    measure("vouchers verified", |_| {
        std::hint::black_box(claimed.verify(&keys, &id).expect("good"));
    });
    let notice = |at| Notice::Voucher {
        voucher: claimed,
        spent: nano(at),
        open: Nano::ZERO,
    };
    measure("notices written and read as JSON", |at| {
        let bytes = serde_json::to_vec(&Envelope::new(&id, notice(at))).expect("plain");
        std::hint::black_box(Envelope::read(&bytes).expect("its own"));
    });
    both_sides(&channel, &payer, &payee);
}

/// Every piece of work raises a voucher: hold, sign, record, verify, record, reserve, commit, record, capture, record.
/// Records are framed and not synced.
fn both_sides(channel: &Channel, payer_key: &Arc<Signer>, payee_key: &Arc<Signer>) {
    let most = nano(1_000_000_000_000);
    let open = Fact {
        seqno: 1,
        time_s: 1,
        state: State::Open(OnChain {
            close_at: None,
            deposited: most,
            claimed: Nano::ZERO,
        }),
    };
    let mut purse = Purse::new(Caps {
        exposure: most,
        capital: most,
        capital_of_owner: most,
        open_above: Nano::ZERO,
    });
    let policy = payer::PayerPolicy {
        trust: Trust::Attested,
        exposure_cap: nano(1_000_000),
        window: nano(2),
        top_up_below: Nano::ZERO,
        top_up_by: Nano::ZERO,
        tally_every: most,
        cooperate_ms: 1000,
        resend_ms: 1000,
        books: Books::Own,
    };
    let payer = Payer::open(
        *channel,
        payer_key.clone(),
        policy,
        most,
        Nano::ZERO,
        false,
        &mut purse,
        0,
    );
    let mut payer = payer.expect("within the caps");
    let policy = payee::PayeePolicy {
        credit: Nano::ZERO,
        low_water: Nano::ZERO,
        sign_every: most,
        settle_above: most,
        settle_every_ms: i64::MAX,
        dust: Nano::ZERO,
        waive: Nano::ZERO,
        patience_ms: i64::MAX,
        resend_ms: i64::MAX,
        books: Books::Own,
    };
    let demands = payee::Demands {
        network: channel.id.network,
        payee: channel.terms.payee,
        payee_key: channel.keys.payee,
        fee_bps: 0,
        fee_dest: channel.terms.fee_dest,
        least_close_delay_s: 3600,
        least_deposit: nano(1),
    };
    let payee = Payee::accept(*channel, payee_key.clone(), policy, &demands, false, open, 0);
    let mut payee = payee.expect("what is demanded");
    let mut bytes = 0;
    let effects = payer.effects();
    payers(&mut payer, &mut payee, &mut purse, effects, &mut bytes);
    for event in [payer::Event::Chain(open), payer::Event::Notice(Notice::Accept {})] {
        let effects = payer.step(&mut purse, event, 0);
        payers(&mut payer, &mut payee, &mut purse, effects, &mut bytes);
    }
    measure("pieces of work, each with a voucher, both sides", |at| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&at.to_be_bytes());
        let id = HoldId(id);
        payer.hold(&mut purse, id, nano(100)).expect("within the caps");
        let effects = payer.effects();
        payers(&mut payer, &mut payee, &mut purse, effects, &mut bytes);
        payee.reserve(id, nano(100), 0).expect("covered");
        payee.commit(id, nano(90)).expect("held");
        let effects = payee.effects();
        payees(&mut payee, effects, &mut bytes);
        payer.capture(&mut purse, id, nano(90)).expect("held");
        let effects = payer.effects();
        payers(&mut payer, &mut payee, &mut purse, effects, &mut bytes);
    });
}

fn payers(payer: &mut Payer, payee: &mut Payee, purse: &mut Purse, mut effects: Vec<payer::Effect>, bytes: &mut usize) {
    while !effects.is_empty() {
        let mut last: Option<Ticket> = None;
        for effect in effects {
            match effect {
                payer::Effect::Persist(record, ticket) => {
                    *bytes += frame(&record).len();
                    last = Some(ticket);
                }
                payer::Effect::Send(notice) => {
                    let effects = payee.step(payee::Event::Notice(notice), 0);
                    payees(payee, effects, bytes);
                }
                _ => {}
            }
        }
        effects = last.map_or_else(Vec::new, |ticket| payer.step(purse, payer::Event::Persisted(ticket), 0));
    }
}

fn payees(payee: &mut Payee, mut effects: Vec<payee::Effect>, bytes: &mut usize) {
    while !effects.is_empty() {
        let mut last: Option<Ticket> = None;
        for effect in effects {
            if let payee::Effect::Persist(record, ticket) = effect {
                *bytes += frame(&record).len();
                last = Some(ticket);
            }
        }
        effects = last.map_or_else(Vec::new, |ticket| payee.step(payee::Event::Persisted(ticket), 0));
    }
}
