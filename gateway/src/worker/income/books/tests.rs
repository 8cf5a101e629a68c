use std::sync::Arc;

use billing::channel::{
    Channel, ChannelId, Fact, Keys, Network, OnChain, Signer, State, Terms, Voucher, payee::Demands,
};

use super::*;
use crate::{control::notices, worker::income::policy_alone};

const NOW_MS: i64 = 1_800_000_000_000;
const DEPOSIT: Nano = Nano::saturating(10 * Nano::UNIT);

fn account(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

fn signer(byte: u8) -> Arc<Signer> {
    Arc::new(Signer::from_seed(&[byte; 32]).expect("a seed"))
}

fn fact(seqno: u32, claimed: Nano, close_at: Option<u32>) -> Fact {
    Fact {
        seqno,
        time_s: 1_800_000_000,
        state: State::Open(OnChain {
            close_at,
            deposited: DEPOSIT,
            claimed,
        }),
    }
}

fn channel() -> Channel {
    let network = Network::TESTNET;
    Channel {
        id: ChannelId {
            network,
            account: account(9),
        },
        keys: Keys {
            payer: signer(1).public(),
            payee: signer(2).public(),
        },
        terms: Terms {
            network,
            close_delay_s: 86_400,
            fee_bps: 0,
            salt: 1,
            payer: account(1),
            payee: account(2),
            fee_dest: account(2),
        },
    }
}

fn voucher(gram: u64) -> Notice {
    let channel = channel();
    let max = Nano::saturating(gram * Nano::UNIT);
    let voucher = Voucher::sign(&signer(1), &channel.keys, &channel.id, max).expect("its key");
    Notice::Voucher {
        voucher: voucher.claim(),
        spent: Nano::ZERO,
        open: Nano::ZERO,
    }
}

/// A worker's books with a channel that this gateway was the first to offer.
fn books(gateway: KeyDigest) -> Books {
    let terms = channel().terms;
    let demands = Demands {
        network: terms.network,
        payee: terms.payee,
        payee_key: signer(2).public(),
        fee_bps: 0,
        fee_dest: terms.fee_dest,
        least_close_delay_s: 3_600,
        least_deposit: Nano::ZERO,
    };
    let fact = fact(1, Nano::ZERO, None);
    let payee = Payee::accept(channel(), signer(2), policy_alone(), &demands, false, fact, NOW_MS).expect("it is ours");
    let mut books = Books::default();
    books.channels.insert(account(9), Kept::new(gateway, payee));
    let mut entry = Entry::default();
    let effects = books
        .channels
        .get_mut(&account(9))
        .expect("it is there")
        .payee
        .effects();
    books.perform(&mut entry, account(9), effects);
    written(&mut books, entry);
    books
}

/// The disk has it.
fn written(books: &mut Books, mut entry: Entry) {
    while let Some(then) = entry.then.pop() {
        if let Then::Tell(account, ticket) = then {
            books.step(&mut entry, account, Event::Persisted(ticket), NOW_MS);
        }
    }
}

fn fresh() -> HoldId {
    HoldId(fastrand::u128(..).to_be_bytes())
}

fn hears(books: &mut Books, gateway: KeyDigest, notice: Notice) {
    let mut entry = Entry::default();
    if books.channels[&account(9)].gateway == gateway {
        books.hear(&mut entry, account(9), notice, fresh, NOW_MS);
    } else {
        books.contend(&mut entry, gateway, account(9), notice, fresh, NOW_MS);
    }
    written(books, entry);
}

fn earns(books: &mut Books, gateway: &KeyDigest, gram: u64, now_ms: i64) {
    let mut entry = Entry::default();
    let hold = fresh();
    let marked = books.begin(&mut entry, gateway, hold, now_ms);
    let amount = Nano::saturating(gram * Nano::UNIT);
    books.end(&mut entry, gateway, marked, hold, amount, now_ms);
    books.step(&mut entry, account(9), Event::Tick, now_ms);
    written(books, entry);
}

fn unpaid(books: &Books, gateway: &KeyDigest, now_ms: i64) -> u64 {
    books.unpaid(gateway, now_ms).get() / Nano::UNIT
}

/// Terms and keys of a channel are on the chain for everybody to offer.
#[test]
fn a_channel_is_of_who_shows_a_voucher() {
    let (thief, payer) = (KeyDigest([1; 32]), KeyDigest([2; 32]));
    let mut books = books(thief);
    let (notices, mut waiting) = (notices(), Vec::new());
    let mut entry = Entry::default();
    books.meet(&mut entry, payer, "payer", notices.0, NOW_MS);
    // Its work is in no channel that it does not pay.
    earns(&mut books, &thief, 1, NOW_MS);
    assert_eq!(books.channels[&account(9)].payee.earned(), Nano::ZERO);
    assert_eq!(unpaid(&books, &thief, NOW_MS), 1);
    hears(&mut books, payer, Notice::offer(&channel()));
    waiting.push(books.channels[&account(9)].gateway);
    assert_eq!(waiting, [thief], "who offers shows nothing");
    hears(&mut books, payer, voucher(5));
    assert_eq!(books.channels[&account(9)].gateway, payer);
    earns(&mut books, &payer, 1, NOW_MS);
    assert_eq!(unpaid(&books, &payer, NOW_MS), 0);
    // It stays so.
    hears(&mut books, thief, voucher(6));
    assert_eq!(books.channels[&account(9)].gateway, payer);
    assert_eq!(unpaid(&books, &thief, NOW_MS), 1);
}

/// What vouchers cover is ours when it was settled.
#[test]
fn what_is_signed_and_never_settled_is_not_paid() {
    let gateway = KeyDigest([1; 32]);
    let mut books = books(gateway);
    hears(&mut books, gateway, voucher(9));
    earns(&mut books, &gateway, 3, NOW_MS);
    assert!(books.channels[&account(9)].payee.take() > Nano::ZERO, "it is signed");
    books.watch(NOW_MS);
    assert_eq!(unpaid(&books, &gateway, NOW_MS), 0);
    let later = NOW_MS + UNSETTLED_MS;
    books.watch(later - 1);
    assert_eq!(unpaid(&books, &gateway, later - 1), 0);
    books.watch(later);
    assert_eq!(unpaid(&books, &gateway, later), 3);
    // Until it is settled.
    let mut entry = Entry::default();
    let settled = fact(2, books.channels[&account(9)].payee.take(), None);
    books.step(&mut entry, account(9), Event::Chain(settled), later);
    books.watch(later);
    assert_eq!(unpaid(&books, &gateway, later), 0);
}

#[test]
fn a_close_is_told_every_hour_until_all_is_settled() {
    let gateway = KeyDigest([1; 32]);
    let mut books = books(gateway);
    hears(&mut books, gateway, voucher(9));
    earns(&mut books, &gateway, 3, NOW_MS);
    assert_eq!(books.watch(NOW_MS), []);
    let mut entry = Entry::default();
    let close_at = 1_800_086_400;
    let closing = fact(2, Nano::ZERO, Some(close_at));
    books.step(&mut entry, account(9), Event::Chain(closing), NOW_MS);
    let told = [(account(9), close_at, Nano::saturating(3 * Nano::UNIT))];
    assert_eq!(books.watch(NOW_MS), told);
    assert_eq!(books.watch(NOW_MS + AGAIN_MS - 1), []);
    assert_eq!(books.watch(NOW_MS + AGAIN_MS), told);
    let settled = fact(3, Nano::saturating(3 * Nano::UNIT), Some(close_at));
    books.step(&mut entry, account(9), Event::Chain(settled), NOW_MS);
    assert_eq!(books.watch(NOW_MS + 2 * AGAIN_MS), []);
}

/// A gateway in a guest has a new key at each start.
#[test]
fn a_new_key_is_no_new_credit() {
    let mut books = Books::default();
    let mut meets = |byte, name: &str| {
        let gateway = KeyDigest([byte; 32]);
        let mut entry = Entry::default();
        books.meet(&mut entry, gateway, name, notices().0, NOW_MS);
        books.end(
            &mut entry,
            &gateway,
            None,
            fresh(),
            Nano::saturating(Nano::UNIT),
            NOW_MS,
        );
        unpaid(&books, &gateway, NOW_MS)
    };
    assert_eq!(meets(1, "a.example:1"), 1);
    assert_eq!(meets(2, "a.example:1"), 2);
    assert_eq!(meets(3, "b.example:1"), 1);
}
