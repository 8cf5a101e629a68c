use super::*;
use crate::receipt::to_hex;

fn signer(seed: u8) -> Signer {
    Signer::from_seed(&[seed; 32]).expect("a seed")
}

fn keys() -> Keys {
    Keys {
        payer: signer(1).public(),
        payee: signer(2).public(),
    }
}

fn channel() -> ChannelId {
    ChannelId {
        network: Network::TESTNET,
        account: Account {
            workchain: 0,
            hash: [7; 32],
        },
    }
}

fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("small")
}

fn voucher(max: u64) -> Voucher {
    Voucher::sign(&signer(1), &keys(), &channel(), nano(max)).expect("the payer's key")
}

fn take(amount: u64) -> Take {
    Take::sign(&signer(2), &keys(), &channel(), nano(amount)).expect("the payee's key")
}

/// Computed once with Python's `cryptography` from the same seeds: what both sides of another program must agree with.
#[test]
fn golden_bytes_and_signatures() {
    let account = "07".repeat(32);
    let amount = "000000000000000000000000075bcd15";
    let check = |tag: Tag, letters: &str, signature: &Signature, expect: &str| {
        let bytes = signed_bytes(tag, &channel(), nano(123_456_789));
        assert_eq!(to_hex(&bytes), format!("{letters}fffffffd{account}{amount}"));
        assert_eq!(to_hex(signature), expect, "{tag:?}");
    };
    let golden = include_str!("golden/signatures.txt");
    let line = |at: usize| golden.lines().nth(at).expect("three lines");
    check(Tag::Voucher, "56434831", voucher(123_456_789).signature(), line(0));
    check(Tag::Take, "53544c31", take(123_456_789).signature(), line(1));
    let last = Take::sign_last(&signer(2), &keys(), &channel(), nano(123_456_789)).expect("the payee's key");
    check(Tag::Close, "434c5331", last.signature(), line(2));
}

#[test]
fn golden_json() {
    let blob = Settlement::new(take(5), Some(voucher(9))).expect("within").claim();
    let text = serde_json::to_string(&blob).expect("plain");
    assert_eq!(text, include_str!("golden/settlement.json").trim_end());
    let read: Blob = serde_json::from_str(&text).expect("its own");
    let settlement = read.verify(&keys(), &channel()).expect("good");
    assert_eq!(settlement.take().amount(), nano(5));
    assert_eq!(settlement.voucher().map(Voucher::max), Some(nano(9)));
}

#[test]
fn a_signature_is_for_one_key_one_channel_one_network_one_kind_and_one_amount() {
    let good = voucher(9).claim();
    assert!(good.verify(&keys(), &channel()).is_ok());
    let check = |what: &str, claimed: ClaimedVoucher, keys: Keys, channel: ChannelId, expect: VoucherRefusal| {
        assert_eq!(claimed.verify(&keys, &channel), Err(expect), "{what}");
    };
    let with = |change: fn(&mut ClaimedVoucher)| {
        let mut claimed = voucher(9).claim();
        change(&mut claimed);
        claimed
    };
    let swapped = Keys {
        payer: keys().payee,
        payee: keys().payer,
    };
    let mainnet = ChannelId {
        network: Network::MAINNET,
        ..channel()
    };
    let masterchain = Account {
        workchain: -1,
        ..channel().account
    };
    let other = Account {
        workchain: 0,
        hash: [8; 32],
    };
    use VoucherRefusal::{OtherChannel, Signature, Workchain};
    check("more", with(|v| v.max = nano(10)), keys(), channel(), Signature);
    check("less", with(|v| v.max = nano(8)), keys(), channel(), Signature);
    check("flipped", with(|v| v.signature[63] ^= 1), keys(), channel(), Signature);
    check("the payee's key", good, swapped, channel(), Signature);
    check("another network", good, keys(), mainnet, Signature);
    let taken = ClaimedVoucher {
        account: channel().account,
        max: nano(9),
        signature: *Take::sign(&signer(1), &swapped, &channel(), nano(9))
            .expect("swapped")
            .signature(),
    };
    check("the payer's key under a take", taken, keys(), channel(), Signature);
    let moved = ChannelId {
        account: masterchain,
        ..channel()
    };
    let moved_claim = ClaimedVoucher {
        account: masterchain,
        ..good
    };
    check("the masterchain", moved_claim, keys(), moved, Workchain(-1));
    let named = ClaimedVoucher { account: other, ..good };
    let expected = channel().account;
    check(
        "another channel",
        named,
        keys(),
        channel(),
        OtherChannel { named: other, expected },
    );

    let good = take(9).claim();
    assert!(good.verify(&keys(), &channel()).is_ok());
    // A take does not close.
    let closing = ClaimedTake { is_last: true, ..good };
    assert_eq!(closing.verify(&keys(), &channel()), Err(TakeRefusal::Signature));
}

#[test]
fn nobody_signs_for_the_other_side() {
    assert_eq!(
        Voucher::sign(&signer(2), &keys(), &channel(), nano(1)).err(),
        Some(NotTheSigner)
    );
    assert_eq!(
        Take::sign(&signer(1), &keys(), &channel(), nano(1)).err(),
        Some(NotTheSigner)
    );
}

#[test]
fn what_is_on_disk_is_read_back_or_not_at_all() {
    let voucher = voucher(77).claim();
    let bytes = voucher.to_bytes();
    assert_eq!(bytes.len(), Voucher::BYTES);
    assert_eq!(ClaimedVoucher::from_bytes(&bytes), Some(voucher));
    assert_eq!(ClaimedTake::from_bytes(&bytes), None, "of another kind");
    assert_eq!(ClaimedVoucher::from_bytes(&bytes[..105]), None, "torn");
    assert_eq!(ClaimedVoucher::from_bytes(&[&bytes[..], &[0]].concat()), None, "longer");
    let mut above = bytes;
    above[34] = 0x80;
    assert_eq!(ClaimedVoucher::from_bytes(&above), None, "more than an amount can be");
    for take in [
        take(3).claim(),
        Take::sign_last(&signer(2), &keys(), &channel(), nano(3))
            .expect("the payee's key")
            .claim(),
    ] {
        assert_eq!(ClaimedTake::from_bytes(&take.to_bytes()), Some(take));
    }
}

#[test]
fn json_has_one_spelling() {
    let good = serde_json::to_string(&voucher(9).claim()).expect("plain");
    let check = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        let text = good.replace(from, to);
        assert!(serde_json::from_str::<ClaimedVoucher>(&text).is_err(), "{text}");
    };
    check(r#""9""#, "9");
    check(r#""9""#, r#""09""#);
    check(r#""9""#, r#""-9""#);
    check(r#""9""#, r#""""#);
    check(r#""9""#, r#""9223372036854775808""#);
    check(r#""9""#, r#""340282366920938463463374607431768211456""#);
    check("0:0707", "00:0707");
    check("0:0707", "+0:0707");
    check("0:0707", "0707");
    check(r#"{"channelId""#, r#"{"x":1,"channelId""#);
    check(r#"{"channelId""#, r#"{"maxClaimableAmount":"9","channelId""#);
}

#[test]
fn a_take_is_within_its_voucher() {
    let check = |amount, max: Option<u64>, expect: Result<(), SettlementRefusal>| {
        let settlement = Settlement::new(take(amount), max.map(voucher));
        assert_eq!(settlement.map(|_| ()), expect, "{amount} of {max:?}");
    };
    check(5, Some(5), Ok(()));
    check(0, None, Ok(()));
    check(1, None, Err(SettlementRefusal::Uncovered { take: nano(1) }));
    check(
        6,
        Some(5),
        Err(SettlementRefusal::AboveVoucher {
            take: nano(6),
            max: nano(5),
        }),
    );
    let elsewhere = ChannelId {
        network: Network::MAINNET,
        ..channel()
    };
    let apart = Voucher::sign(&signer(1), &keys(), &elsewhere, nano(9)).expect("the payer's key");
    assert_eq!(Settlement::new(take(1), Some(apart)), Err(SettlementRefusal::Apart));
    // Each is good by the keys that it came with, and the contract has one pair.
    let theirs = Keys {
        payer: signer(3).public(),
        ..keys()
    };
    let theirs = Voucher::sign(&signer(3), &theirs, &channel(), nano(9)).expect("their own key");
    assert_eq!(Settlement::new(take(1), Some(theirs)), Err(SettlementRefusal::Keys));
}

/// Nothing of a signature, by which money can be had, is printed.
#[test]
fn debug_prints_no_signature() {
    let digits = to_hex(&voucher(9).signature()[..4]);
    let texts = [
        format!("{:?} {:?}", voucher(9), voucher(9).claim()),
        format!("{:?} {:?}", take(9), Settlement::new(take(9), Some(voucher(9)))),
    ];
    for text in texts {
        assert!(!text.contains(&digits), "{text}");
    }
}

#[test]
fn notices_have_one_form() {
    let standing = Standing {
        voucher: None,
        take: None,
        spent: nano(3),
        open: nano(4),
    };
    let notices = [
        Notice::offer(&opening()),
        Notice::Accept {},
        Notice::Voucher {
            voucher: voucher(9).claim(),
            spent: nano(1),
            open: nano(2),
        },
        Notice::Raise {
            max: nano(7),
            spent: nano(1),
        },
        Notice::Take { take: take(5).claim() },
        Notice::Close { spent: nano(5) },
        Notice::Reestablish { question: 8, standing },
    ];
    let mut lines = String::new();
    for notice in notices {
        let envelope = Envelope::new(&channel(), notice);
        let text = serde_json::to_string(&envelope).expect("plain");
        assert_eq!(Envelope::read(text.as_bytes()).expect("its own"), envelope);
        lines.push_str(&text);
        lines.push('\n');
    }
    assert_eq!(lines, include_str!("golden/notices.ndjson"));
    let offer = Envelope::new(&channel(), Notice::offer(&opening()));
    assert_eq!(offer.offered(), Some(opening()));
}

fn opening() -> Channel {
    let account = |hash| Account {
        workchain: 0,
        hash: [hash; 32],
    };
    Channel {
        id: channel(),
        keys: keys(),
        terms: Terms {
            network: Network::TESTNET,
            close_delay_s: 86_400,
            fee_bps: 25,
            salt: 0x0123_4567_89ab_cdef_0011_2233_4455_6677,
            payer: account(1),
            payee: account(2),
            fee_dest: account(3),
        },
    }
}

#[test]
fn what_is_no_notice_is_refused() {
    let good = serde_json::to_string(&Envelope::new(
        &channel(),
        Notice::Tally {
            spent: nano(1),
            open: nano(2),
        },
    ))
    .expect("plain");
    let check = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} is not in {good}");
        let text = good.replace(from, to);
        assert!(Envelope::read(text.as_bytes()).is_err(), "{text}");
    };
    check(r#""v":1"#, r#""v":2"#);
    check(r#""v":1,"#, "");
    check(r#""v":1"#, r#""v":1,"w":1"#);
    check("tvm:-3", "tvm:+3");
    check("tvm:-3", "eip155:1");
    check("tally", "tale");
    check(r#""open""#, r#""more":1,"open""#);
    check(r#","open":"2""#, "");
    check(r#""2""#, "2");
    let long = format!("{}{good}", " ".repeat(Envelope::MOST_BYTES));
    assert!(matches!(
        Envelope::read(long.as_bytes()),
        Err(Unreadable::TooLong { .. })
    ));
}

/// Cut anywhere and bent anywhere: what is read is a beginning of what was written.
#[test]
fn a_journal_is_read_up_to_where_it_is_whole() {
    let written = [nano(1), nano(22), nano(333)];
    let bytes: Vec<u8> = written.iter().flat_map(journal::frame).collect();
    for end in 0..=bytes.len() {
        let read = journal::read::<Nano>(&bytes[..end]).expect("amounts");
        assert!(written.starts_with(&read.records), "cut at {end}");
        assert_eq!(read.whole + read.torn, end);
        assert_eq!(read.torn == 0, [0, 13, 27, 42].contains(&end), "cut at {end}");
    }
    for at in 0..bytes.len() {
        let mut bent = bytes.clone();
        bent[at] ^= 0x10;
        match journal::read::<Nano>(&bent) {
            // Whole ones are behind it.
            Err(journal::Foreign::Damaged { at: found, .. }) => assert!(at < 27 && found <= at, "bent at {at}"),
            // It may have been cut short.
            Ok(read) => assert!(at >= 27 && read.records[..] == written[..2], "bent at {at}"),
            Err(error) => panic!("bent at {at}: {error}"),
        }
    }
    // What a file system leaves of a write whose data did not come.
    let zeros = [&bytes[..], &[0; 100_000]].concat();
    assert_eq!(journal::read::<Nano>(&zeros).expect("amounts").torn, 100_000);
    let noise = [&bytes[..], &[1; 100_000]].concat();
    assert!(journal::read::<Nano>(&noise).is_err());
    assert!(journal::read::<Nano>(&journal::frame(&"not an amount")).is_err());
}

proptest::proptest! {
    /// Whatever comes from outside: it is read as what it is, or not at all.
    #[test]
    fn bytes_from_outside_are_read_or_refused(bytes: Vec<u8>, at in 0_usize..600, flip: u8) {
        let _read = Envelope::read(&bytes);
        let _claimed = (ClaimedVoucher::from_bytes(&bytes), ClaimedTake::from_bytes(&bytes));
        let _records = journal::read::<payee::Record>(&bytes);
        // One byte of an honest notice, bent: what is still a notice holds no voucher of ours but the one that was sent.
        let sent = voucher(9).claim();
        let notice = Notice::Voucher { voucher: sent, spent: nano(1), open: nano(2) };
        let mut text = serde_json::to_vec(&Envelope::new(&channel(), notice)).expect("plain");
        if let Some(byte) = text.get_mut(at) {
            *byte ^= flip;
        }
        if let Ok(Envelope { notice: Notice::Voucher { voucher, .. }, .. }) = Envelope::read(&text)
            && let Ok(verified) = voucher.verify(&keys(), &channel())
        {
            proptest::prop_assert_eq!(verified.max(), nano(9));
        }
    }
}
