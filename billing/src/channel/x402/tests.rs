use serde_json::Value as Json;

use super::super::{Access, AccessRefusal, Account, ChannelId, Keys, Network, OnChain, Signer, Terms, Voucher};
use super::*;
use crate::Nano;

fn signer(seed: u8) -> Signer {
    Signer::from_seed(&[seed; 32]).expect("a seed")
}

fn account(byte: u8) -> Account {
    Account {
        workchain: 0,
        hash: [byte; 32],
    }
}

fn nano(amount: u64) -> Nano {
    Nano::new(amount).expect("small")
}

fn terms() -> Terms {
    Terms {
        network: Network::TESTNET,
        close_delay_s: 86_400,
        fee_bps: 250,
        salt: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
        payer: account(0x11),
        payee: account(0x22),
        fee_dest: account(0x33),
    }
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
        account: account(7),
    }
}

fn voucher() -> Voucher {
    Voucher::sign(&signer(1), &keys(), &channel(), nano(2_000_000)).expect("the payer's key")
}

fn offer() -> Offer {
    let on_chain = OnChain {
        close_at: Some(1_795_345_200),
        deposited: nano(5_000_000_000),
        claimed: nano(1_000_000),
    };
    Offer {
        scheme: Scheme,
        network: Network::TESTNET,
        asset: Asset,
        amount: nano(250_000),
        pay_to: account(0x22),
        max_timeout_seconds: 60,
        extra: OfferExtra {
            code_hash: [0xab; 32],
            receiver_authorizer: keys().payee,
            withdraw_delay: 86_400,
            fee_bps: 250,
            fee_dest: account(0x33),
            channel_state: Some(
                ChannelState::new(&channel(), &terms(), &on_chain, nano(1_900_000)).holding(nano(40_000)),
            ),
            voucher_state: Some(VoucherState::from(&voucher().claim())),
            required_cumulative: Some(nano(2_250_000)),
        },
    }
}

fn required() -> Required {
    Required {
        x402_version: Version,
        error: "The channel has 0.000250000 GRAM (TON) too little for this request.".into(),
        resource: Resource {
            url: "/v1/chat/completions".into(),
            description: "Inference, charged by the token".into(),
            mime_type: "application/json".into(),
        },
        accepts: vec![offer()],
    }
}

fn payment() -> Payment {
    Payment {
        x402_version: Version,
        accepted: offer(),
        payload: Payload {
            kind: Kind,
            channel_config: ChannelConfig::new(&terms(), &keys()),
            voucher: Some(voucher().claim()),
            access: Some(Access::sign(&signer(1), &keys(), &channel(), 1_795_258_800).expect("the payer's key")),
        },
    }
}

fn receipt() -> Receipt {
    let extra = offer().extra;
    Receipt {
        success: true,
        transaction: String::new(),
        network: Network::TESTNET,
        payer: account(0x11),
        extra: ReceiptExtra {
            charged_amount: nano(1_234),
            channel_state: extra.channel_state.expect("it is there"),
            voucher_state: extra.voucher_state,
        },
    }
}

/// What another program must write and read. Made by one that shares no code with us, from the same seeds.
#[test]
fn golden_documents() {
    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(document: &T, golden: &str) {
        let text = serde_json::to_string(document).expect("plain");
        assert_eq!(text, golden.trim_end());
        assert_eq!(serde_json::from_str::<T>(golden).expect("its own"), *document);
        let header = encode(document);
        assert_eq!(decode::<T>(&header).expect("its own"), *document);
        // Without padding too.
        assert_eq!(decode::<T>(header.trim_end_matches('=')).expect("its own"), *document);
    }
    check(&required(), include_str!("../golden/payment_required.json"));
    check(&payment(), include_str!("../golden/payment_signature.json"));
    check(&receipt(), include_str!("../golden/payment_response.json"));
}

#[test]
fn a_config_is_terms_and_keys() {
    assert_eq!(
        ChannelConfig::new(&terms(), &keys()).split(Network::TESTNET),
        (terms(), keys())
    );
    assert_eq!(payment().check(Network::TESTNET), Ok((terms(), keys())));
}

#[test]
fn a_payment_fits_together() {
    let check = |change: &dyn Fn(&mut Payment), network, expect| {
        let mut payment = payment();
        change(&mut payment);
        assert_eq!(payment.check(network), Err(expect));
    };
    let (named, expected) = (Network::TESTNET, Network::MAINNET);
    check(&|_| {}, expected, PaymentRefusal::OtherNetwork { named, expected });
    let (named, paid) = (account(0x23), account(0x22));
    check(
        &|payment| payment.accepted.pay_to = account(0x23),
        Network::TESTNET,
        PaymentRefusal::OtherPayee { named, paid },
    );
    check(
        &|payment| (payment.payload.voucher, payment.payload.access) = (None, None),
        Network::TESTNET,
        PaymentRefusal::Nothing,
    );
}

/// Changes one thing in a document that is good.
fn without(pointer: &str, name: &str, value: Option<Json>) -> String {
    let mut json = serde_json::to_value(payment()).expect("plain");
    let object = json
        .pointer_mut(pointer)
        .and_then(Json::as_object_mut)
        .expect("an object");
    match value {
        Some(value) => object.insert(name.into(), value),
        None => object.remove(name),
    };
    encode(&json)
}

#[test]
fn what_is_not_exactly_that_is_refused() {
    for (pointer, name, value) in [
        ("", "x402Version", Some(1.into())),
        ("", "x402Version", Some("2".into())),
        ("", "more", Some(1.into())),
        ("", "accepted", None),
        ("/accepted", "scheme", Some("exact".into())),
        ("/accepted", "asset", Some("USDT".into())),
        ("/accepted", "network", Some("eip155:1".into())),
        ("/accepted", "amount", Some(1.into())),
        ("/accepted", "amount", Some("01".into())),
        ("/accepted", "amount", Some("9223372036854775808".into())),
        ("/accepted/extra", "codeHash", Some("AB".repeat(32).into())),
        ("/accepted/extra", "requiredCumulative", Some("-1".into())),
        ("/payload", "type", Some("deposit".into())),
        ("/payload/channelConfig", "token", Some("jetton".into())),
        ("/payload/channelConfig", "salt", Some("00".into())),
        ("/payload/channelConfig", "feeBps", Some(65_536.into())),
        ("/payload/channelConfig", "withdrawDelay", Some((-1).into())),
        ("/payload/channelConfig", "payer", Some("EQ".into())),
        ("/payload/voucher", "signature", Some("00".into())),
        ("/payload/voucher", "extra", Some(1.into())),
        ("/payload/access", "at", Some("1".into())),
    ] {
        let read = decode::<Payment>(&without(pointer, name, value));
        assert!(
            matches!(read, Err(DecodeError::Document { .. })),
            "{pointer}/{name}: {read:?}"
        );
    }
    assert!(decode::<Payment>(&without("/payload", "access", None)).is_ok());
    assert_eq!(decode::<Payment>("a b"), Err(DecodeError::Base64));
    assert_eq!(decode::<Payment>(&"A".repeat(8193)), Err(DecodeError::Long(8193)));
    let twice = STANDARD.encode(r#"{"x402Version":2}{"#);
    assert!(decode::<Payment>(&twice).is_err());
    // No value of a header is in what we say of it, nor in a log.
    let told = decode::<Payment>(&without("/payload/voucher", "signature", Some("secret".into())));
    assert!(!format!("{told:?}").contains("secret"));
    let signature = crate::receipt::to_hex(voucher().signature());
    assert!(!format!("{:?}{:?}", payment(), receipt()).contains(&signature[..16]));
}

#[test]
fn access_is_good_for_one_channel_around_one_moment() {
    let claimed = payment().payload.access.expect("it is there");
    let (at_s, window_s) = (1_795_258_800, 300);
    for now_s in [at_s - 300, at_s, at_s + 300] {
        let access = claimed
            .verify(&keys(), &channel(), now_s, window_s)
            .expect("it is near");
        assert_eq!((*access.channel(), access.at_s()), (channel(), at_s));
    }
    let check = |claimed: super::super::ClaimedAccess, keys: Keys, channel: ChannelId, now_s, expect| {
        assert_eq!(claimed.verify(&keys, &channel, now_s, window_s), Err(expect));
    };
    let (ago_s, ahead_s) = (301, 301);
    check(
        claimed,
        keys(),
        channel(),
        at_s + 301,
        AccessRefusal::Old { ago_s, window_s },
    );
    check(
        claimed,
        keys(),
        channel(),
        at_s - 301,
        AccessRefusal::Early { ahead_s, window_s },
    );
    let mut other = channel();
    other.account = account(8);
    check(claimed, keys(), other, at_s, AccessRefusal::Signature);
    other = channel();
    other.network = Network::MAINNET;
    check(claimed, keys(), other, at_s, AccessRefusal::Signature);
    other.account.workchain = -1;
    check(claimed, keys(), other, at_s, AccessRefusal::Workchain(-1));
    let swapped = Keys {
        payer: keys().payee,
        payee: keys().payer,
    };
    check(claimed, swapped, channel(), at_s, AccessRefusal::Signature);
    let moved = super::super::ClaimedAccess {
        at_s: at_s + 1,
        ..claimed
    };
    check(moved, keys(), channel(), at_s, AccessRefusal::Signature);
    // A voucher of as many nanoton as there are seconds is no access proof, nor the other way round.
    let voucher = Voucher::sign(&signer(1), &keys(), &channel(), nano(at_s)).expect("the payer's key");
    let forged = super::super::ClaimedAccess {
        at_s,
        signature: *voucher.signature(),
    };
    check(forged, keys(), channel(), at_s, AccessRefusal::Signature);
    assert!(Access::sign(&signer(2), &keys(), &channel(), at_s).is_err());
    // No sum overflows, whatever the clocks are.
    let (now_s, ago_s) = (u64::MAX, u64::MAX - at_s);
    check(
        claimed,
        keys(),
        channel(),
        now_s,
        AccessRefusal::Old { ago_s, window_s },
    );
}
