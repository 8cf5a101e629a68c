//! A receipt from its charge to a stranger's check, and every bit of it flipped.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    statement::{Absence, Ended, Exchange, Seen, Signed, Statement, Word},
    *,
};
use crate::channel::{self, ChannelId, Network, Signer, Voucher};
use crate::{AccountId, Charge, ChargeKind, Currency, End, Evidence, Fee, Nano, Tariff, Terms, Usage, UsageSource};

/// The seed of RFC 8032, 7.1, test 1: no key that anybody uses.
fn key() -> std::sync::Arc<SigningKey> {
    let seed = from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").expect("32 bytes");
    std::sync::Arc::new(SigningKey::from_seed(&seed).expect("a seed"))
}

fn keys() -> Keys {
    [key().public()].into_iter().collect()
}

fn salted(salt: &[u8; 32], body: &[u8]) -> Hash {
    let mut hash = BodyHash::new(salt);
    for piece in body.chunks(7) {
        hash.update(piece);
    }
    hash.finish()
}

const SALT: [u8; 32] = [7; 32];

/// The bill of the golden test: 68,000 for the tokens, 4,000 for the gateway.
fn charge(seq: u64) -> Charge {
    let usage = Usage {
        prompt: 400,
        cached: 800,
        completion: 350,
        reasoning: 0,
    };
    Charge {
        node: "gateway-1-5e3c8ba0".into(),
        seq,
        kind: ChargeKind::Capture,
        at_ms: 1_795_320_000_123,
        request_id: format!("req_{seq:08}"),
        organisation: AccountId::organisation("acme").expect("a name"),
        team: Some(AccountId::team("acme/research").expect("a name")),
        key: Some(AccountId::key("alice")),
        day: 20_779,
        month: 682,
        bounds: crate::Bounds::NONE,
        currency: Currency::TON,
        held: Nano::saturating(1_000_000),
        amount: Nano::saturating(72_000),
        fee: Nano::saturating(4_000),
        terms: Terms {
            tariff: Tariff {
                prompt: 20_000_000,
                cached: 5_000_000,
                completion: 160_000_000,
                reasoning: 160_000_000,
                ..Tariff::default()
            },
            fee: Fee {
                prompt: 1_000_000,
                completion: 8_000_000,
            },
            currency: Currency::TON,
            rate: None,
        },
        model: "Qwen/Qwen3-8B".to_owned(),
        endpoint: "chat_completions".to_owned(),
        backend: Some("gpu".to_owned()),
        upstream: Some("http://10.0.0.7:8000".to_owned()),
        end: End::Complete,
        billed: usage,
        claimed: Some(usage),
        counted: None,
        source: UsageSource::Upstream,
        tags: vec![("project".to_owned(), "x".to_owned())],
        evidence: Some(Box::new(Evidence {
            request: salted(&SALT, br#"{"model":"Qwen/Qwen3-8B","messages":[]}"#),
            response: Some(salted(&SALT, br#"{"id":"chatcmpl-1"}"#)),
            tier: "open".to_owned(),
            forwarded: None,
            word: Word::default(),
            rests_on: None,
            paid_by: None,
        })),
    }
}

fn refund(seq: u64, of: u64, amount: u64) -> Charge {
    Charge {
        kind: ChargeKind::Refund { of },
        amount: Nano::saturating(amount),
        fee: Nano::ZERO,
        request_id: format!("req_{of:08}"),
        ..charge(seq)
    }
}

fn sealer() -> Sealer {
    Sealer::new(key(), [])
}

fn checked(json: &str) -> Result<Verified, Refused> {
    verify(&Document::parse(json.as_bytes()).expect("canonical"), &keys())
}

fn chain_of(charges: &[Charge]) -> Vec<Sealed> {
    let mut sealer = sealer();
    charges
        .iter()
        .map(|charge| sealer.seal(charge).expect("evidence"))
        .collect()
}

#[test]
fn the_golden_receipt_is_made_again_to_the_byte() {
    let golden = include_str!("golden/receipts.ndjson");
    let made = chain_of(&[charge(41), charge(42), refund(43, 41, 1_000)]);
    let made: String = made.iter().map(|sealed| format!("{}\n", sealed.json)).collect();
    assert_eq!(
        made, golden,
        "the format is what others have kept receipts in: a change is a new version"
    );
    let mut chains = Chains::default();
    for document in Document::parse_all(golden.as_bytes()).expect("canonical") {
        chains
            .add(&verify(&document, &keys()).expect("good"))
            .expect("a free number");
    }
    // And the checkpoint that says where they end.
    let last = golden.lines().last().and_then(Head::of).expect("ours");
    let organisation = last.organisation.clone();
    let heads = BTreeMap::from([("gateway-1-5e3c8ba0".to_owned(), last)]);
    let made = checkpoint(&key(), &organisation, &heads, 1_795_320_001);
    let golden = include_str!("golden/checkpoint.json");
    assert_eq!(format!("{made}\n"), golden);
    let document = Document::parse(golden.as_bytes()).expect("canonical");
    let checkpoint = Checkpoint::verify(&document, &keys()).expect("good");
    assert_eq!(chains.check_ends(&checkpoint), Ok(()));
}

#[test]
fn a_receipt_says_what_its_charge_says() {
    let sealed = sealer().seal(&charge(41)).expect("evidence");
    let verified = checked(&sealed.json).expect("good");
    let facts = verified.facts();
    assert_eq!(verified.hash(), &sealed.hash);
    assert_eq!(verified.signer(), key().public().id());
    assert_eq!(facts.receipt_id, "gateway-1-5e3c8ba0/41");
    assert_eq!(facts.previous, None);
    assert_eq!(facts.served_at, 1_795_320_000);
    assert_eq!(facts.amounts.total.get(), 72_000);
    assert_eq!(facts.amounts.cost.get(), 68_000);
    assert_eq!(facts.usage.billed, charge(41).billed);
    assert_eq!(facts.terms.tariff.completion, 160_000_000);
    assert_eq!(facts.response.returned, Some(salted(&SALT, br#"{"id":"chatcmpl-1"}"#)));
    for secret in ["10.0.0.7", "gpu", "project"] {
        assert!(!sealed.json.contains(secret), "{secret} is nothing for a client");
    }
}

#[test]
fn without_evidence_there_is_no_receipt_and_the_chain_stays() {
    let mut sealer = sealer();
    let first = sealer.seal(&charge(1)).expect("evidence");
    let without = Charge {
        evidence: None,
        ..charge(2)
    };
    assert_eq!(sealer.seal(&without), None);
    let next = checked(&sealer.seal(&charge(3)).expect("evidence").json).expect("good");
    assert_eq!(
        next.facts().previous,
        Some(Previous {
            seq: 1,
            hash: first.hash
        })
    );
}

#[test]
fn a_chain_goes_on_after_a_restart() {
    let made = chain_of(&[charge(1), charge(2)]);
    let head = Head::of(&made[1].json).expect("ours");
    assert_eq!((head.seq, head.hash), (2, made[1].hash));
    let mut sealer = Sealer::new(key(), [head]);
    let next = checked(&sealer.seal(&charge(3)).expect("evidence").json).expect("good");
    assert_eq!(
        next.facts().previous,
        Some(Previous {
            seq: 2,
            hash: made[1].hash
        })
    );
}

/// Every bit of a good file. A flip within a value is blamed on that member.
#[test]
fn any_bit_flipped_is_refused_and_a_field_is_named() {
    let receipt = chain_of(&[charge(1), refund(2, 1, 5)]).remove(1);
    let good = format!("{}\n", receipt.json);
    let document = Document::parse(good.as_bytes()).expect("canonical");
    verify(&document, &keys()).expect("good");
    let mut members = document.values().map(|(name, value)| {
        let begin = good.find(&format!("\"{name}\":{value}")).expect("it stands there") + name.len() + 3;
        (name, begin..begin + value.len())
    });
    let mut blamed = BTreeMap::<String, usize>::new();
    let (mut name, mut place) = members.next().expect("it has members");
    for at in 0..good.len() {
        if at == place.end
            && let Some(next) = members.next()
        {
            (name, place) = next;
        }
        for bit in 0..8 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let (field, is_broken) = match Document::parse(&bytes) {
                Err(malformed) => (malformed.member.unwrap_or_else(|| "document".to_owned()), true),
                Ok(altered) => match verify(&altered, &keys()) {
                    Ok(_) => panic!("bit {bit} of byte {at} may be flipped"),
                    // A quote or a bracket that is gone joins a value with what stands behind it.
                    Err(refused) => (refused.field, altered.names().count() != document.names().count()),
                },
            };
            let is_named =
                field == name || field.starts_with(&format!("{name}[")) || field.starts_with(&format!("{name}."));
            assert!(
                is_named || is_broken || !place.contains(&at),
                "bit {bit} of byte {at}, in {name}, is blamed on {field}"
            );
            *blamed.entry(field).or_default() += 1;
        }
    }
    for name in document.names() {
        assert!(
            blamed.keys().any(|field| field.starts_with(name)),
            "no flip was blamed on {name}"
        );
    }
}

/// As tools indent it. White space is all that may differ.
#[test]
fn any_bit_flipped_of_an_indented_receipt_alters_the_text() {
    let receipt = sealer().seal(&charge(1)).expect("evidence");
    let indented = receipt.json.replace(",\"", ",\r\n\t\"").replace("\":", "\": ");
    assert!(checked(&indented).is_ok());
    for at in 0..indented.len() * 8 {
        let mut bytes = indented.clone().into_bytes();
        bytes[at / 8] ^= 1 << (at % 8);
        let is_same = Document::parse(&bytes).is_ok_and(|document| document.text() == &*receipt.json);
        let was_space = indented.as_bytes()[at / 8].is_ascii_whitespace();
        assert!(!is_same || was_space, "bit {at} of {indented} may be flipped");
    }
}

#[test]
fn what_is_refused_names_the_member() {
    let good = sealer().seal(&charge(41)).expect("evidence").json;
    let check = |from: &str, to: &str, field: &str| {
        assert!(good.contains(from), "{from} is in the receipt");
        let refused = checked(&good.replacen(from, to, 1)).expect_err("altered");
        assert_eq!(refused.field, field, "{refused}");
    };
    check("\"total\":\"72000\"", "\"total\":\"7200\"", "amounts");
    check("\"model\":\"Qwen", "\"model\":\"qwen", "model");
    check("\"seq\":41", "\"seq\":42", "seq");
    check("\"voucher\":null", "\"voucher\":\"\"", "voucher");
    check(",\"voucher\":null", "", "voucher");
    check("\"v\":1", "\"uz\":0,\"v\":1", "uz");
    check("\"v\":1", "\"v\":2", "v");
    check("\"role\":\"gateway\"", "\"role\":\"worker\"", "signatures");
    check("\"role\":\"gateway\"", "\"role\":\"gateway\",\"s\":1", "signatures");
    check("\"key_id\":\"2", "\"key_id\":\"3", "signatures[0].key_id");
    let digests = Document::parse(good.as_bytes()).expect("canonical");
    let digest = digests.value("digests").expect("there").to_owned();
    let other = digest.replacen("\"account\":\"", "\"account\":\"0", 1);
    check(&digest, &other, "digests.account");
    let signature = good.find("\"signature\":\"").expect("there") + 13;
    let mut bytes = good.clone().into_string();
    let digit = if &bytes[signature..=signature] == "0" { "1" } else { "0" };
    bytes.replace_range(signature..=signature, digit);
    assert_eq!(checked(&bytes).expect_err("altered").field, "signatures[0].signature");
    // Both the member and its digest: the signature still refuses.
    let forged = good.replacen("\"seq\":41", "\"seq\":49", 1);
    let digest = |value: &[u8]| to_hex(&sha256(value)[..8]);
    assert!(forged.contains(&digest(b"41")));
    let forged = forged.replacen(&digest(b"41"), &digest(b"49"), 1);
    assert_eq!(checked(&forged).expect_err("forged").field, "signatures[0].signature");
}

#[test]
fn a_stranger_s_signature_is_none() {
    let other = SigningKey::from_seed(&[1; 32]).expect("a seed");
    let sealed = Sealer::new(std::sync::Arc::new(other), [])
        .seal(&charge(1))
        .expect("evidence");
    assert_eq!(
        checked(&sealed.json).expect_err("not trusted").field,
        "signatures[0].key_id"
    );
    // Nor is one of ours over something else.
    let heads = BTreeMap::new();
    let organisation = AccountId::organisation("acme").expect("a name");
    let other = checkpoint(&key(), &organisation, &heads, 1);
    assert!(checked(&other).is_err());
}

/// Signed, and not consistent: a gateway that lies, or a fault of ours.
#[test]
fn what_a_gateway_may_not_sign_is_refused() {
    let check = |change: &dyn Fn(&mut Charge), field: &str| {
        let mut charge = charge(1);
        change(&mut charge);
        let sealed = sealer().seal(&charge).expect("evidence");
        assert_eq!(checked(&sealed.json).expect_err("inconsistent").field, field);
    };
    check(&|charge| charge.held = Nano::saturating(71_999), "amounts");
    check(&|charge| charge.amount = Nano::saturating(72_001), "amounts");
    check(&|charge| charge.billed.completion = 349, "amounts");
    check(&|charge| charge.fee = Nano::saturating(72_001), "amounts");
}

/// A charge of a channel whose voucher covers it.
fn of_channel(max: u64, charged: u64) -> Charge {
    let nano = Nano::saturating;
    let id = ChannelId {
        network: Network::TESTNET,
        account: channel::Account {
            workchain: 0,
            hash: [9; 32],
        },
    };
    let signer = Signer::from_seed(&[1; 32]).expect("a seed");
    let keys = channel::Keys {
        payer: signer.public(),
        payee: [2; 32],
    };
    let voucher = Voucher::sign(&signer, &keys, &id, nano(max)).expect("the payer's key");
    let mut charge = charge(1);
    (charge.organisation, charge.team, charge.key) = (id.account.organisation(), None, None);
    charge.evidence.as_mut().expect("it is there").paid_by = Some(Box::new(PaidBy {
        network: id.network,
        channel: id.account,
        payer: keys.payer,
        max: nano(max),
        signature: *voucher.signature(),
        charged: nano(charged),
    }));
    charge
}

#[test]
fn a_voucher_covers_its_charge_or_the_receipt_is_refused() {
    let good = sealer().seal(&of_channel(500_000, 500_000)).expect("evidence");
    let facts = checked(&good.json).expect("good").facts().clone();
    let paid_by = facts.voucher.expect("a channel pays");
    assert_eq!(
        (paid_by.max, paid_by.charged),
        (Nano::saturating(500_000), Nano::saturating(500_000))
    );
    assert!(!format!("{paid_by:?}").contains(&to_hex(&paid_by.signature)[..16]));
    let check = |charged: u64, change: &dyn Fn(&mut Charge, &mut PaidBy), field: &str| {
        let mut charge = of_channel(500_000, charged);
        let mut paid_by = charge
            .evidence
            .as_mut()
            .and_then(|evidence| evidence.paid_by.take())
            .expect("there");
        change(&mut charge, &mut paid_by);
        charge.evidence.as_mut().expect("there").paid_by = Some(paid_by);
        let sealed = sealer().seal(&charge).expect("evidence");
        assert_eq!(checked(&sealed.json).expect_err("not covered").field, field);
    };
    let acme = AccountId::organisation("acme").expect("a name");
    check(
        72_000,
        &|charge, _| charge.organisation = acme.clone(),
        "voucher.channel",
    );
    check(72_000, &|charge, _| charge.currency = Currency::USD, "voucher.channel");
    check(500_001, &|_, _| {}, "voucher.charged");
    check(71_999, &|_, _| {}, "voucher.charged");
    let signature = "voucher.signature";
    check(72_000, &|_, paid_by| paid_by.max = Nano::saturating(500_001), signature);
    check(72_000, &|_, paid_by| paid_by.network = Network::MAINNET, signature);
    check(72_000, &|_, paid_by| paid_by.payer = [2; 32], signature);
    check(72_000, &|_, paid_by| paid_by.signature[0] ^= 1, signature);
    check(
        72_000,
        &|charge, paid_by| {
            paid_by.channel.workchain = -1;
            charge.organisation = paid_by.channel.organisation();
        },
        signature,
    );
}

fn statement() -> Statement {
    Statement {
        exchange: Exchange {
            request: Seen {
                sha256: [1; 32],
                bytes: 39,
            },
            response: Seen {
                sha256: [2; 32],
                bytes: 19,
            },
            status: 200,
            ended: Ended::Whole,
            claims: [4; 32],
            engine: None,
            models: None,
        },
        started_at: 1_795_319_998,
        ended_at: 1_795_320_000,
        usage: Some(Usage::from_totals(1200, 800, 350, 0)),
    }
}

/// A charge whose worker signed a statement.
fn stated(seq: u64) -> Charge {
    let worker = SigningKey::from_seed(&[3; 32]).expect("a seed");
    let mut charge = charge(seq);
    let evidence = charge.evidence.as_mut().expect("it is there");
    evidence.forwarded = Some(statement().exchange.request.sha256);
    evidence.word = Word::Signed {
        key: worker.public(),
        statement: statement().sign(&worker),
    };
    charge
}

#[test]
fn a_statement_is_embedded_whole() {
    let golden = include_str!("golden/stated.json");
    let sealed = sealer().seal(&stated(44)).expect("evidence");
    assert_eq!(
        format!("{}\n", sealed.json),
        golden,
        "the format is what others have kept receipts in: a change is a new version"
    );
    let verified = checked(&sealed.json).expect("good");
    let (key, signed) = verified.facts().worker_statement.signed().expect("it is there");
    assert_eq!(signed.verify(&key), Ok(statement()));
    assert_eq!(verified.facts().request.forwarded, Some([1; 32]));
    // As tools indent it, and as the database keeps it.
    let indented = sealed.json.replace(",\"", ",\r\n\t\"").replace("\":", "\": ");
    assert_eq!(checked(&indented).expect("good").facts(), verified.facts());
    let kept = serde_json::to_string(&stated(44)).expect("no maps with other keys");
    let kept: Charge = serde_json::from_str(&kept).expect(&kept);
    assert_eq!(sealer().seal(&kept).expect("evidence"), sealed);
}

#[test]
fn why_there_is_no_statement_is_told() {
    for why in Absence::ALL {
        let mut charge = charge(1);
        charge.evidence.as_mut().expect("it is there").word = Word::Absent(why);
        let verified = checked(&sealer().seal(&charge).expect("evidence").json).expect("good");
        let worker = &verified.facts().worker_statement;
        assert_eq!(worker.absent.as_deref(), Some(why.as_str()));
        assert_eq!(worker.signed(), None);
    }
}

/// Every bit of the statement within a receipt, and of its signature and its key, whoever flipped it.
#[test]
fn a_flip_within_an_embedded_statement_is_blamed_on_it() {
    let good = sealer().seal(&stated(1)).expect("evidence").json;
    let document = Document::parse(good.as_bytes()).expect("canonical");
    let value = document.value("worker_statement").expect("there");
    let begin = good.find(value).expect("it stands there");
    let inside = begin + 1..begin + value.len() - 1;
    for at in inside.start * 8..inside.end * 8 {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        let (field, is_broken) = match Document::parse(&bytes) {
            Err(malformed) => (malformed.member.unwrap_or_default(), false),
            Ok(altered) => {
                let refused = verify(&altered, &keys()).expect_err("altered");
                (refused.field, altered.names().count() != document.names().count())
            }
        };
        assert!(
            field.starts_with("worker_statement") || is_broken,
            "bit {at} is blamed on {field}"
        );
    }
}

/// A gateway that signs a receipt with a statement that its worker did not make.
#[test]
fn a_statement_that_a_gateway_made_up_is_refused() {
    let check = |change: &dyn Fn(&mut Evidence), field: &str| {
        let mut charge = stated(1);
        change(charge.evidence.as_mut().expect("it is there"));
        let sealed = sealer().seal(&charge).expect("evidence");
        let refused = checked(&sealed.json).expect_err("made up");
        assert_eq!(refused.field, field, "{refused}");
    };
    let stranger = || SigningKey::from_seed(&[4; 32]).expect("a seed");
    let said = |statement: Signed, key: &SigningKey| Word::Signed {
        key: key.public(),
        statement,
    };
    let worker = || SigningKey::from_seed(&[3; 32]).expect("a seed");
    check(
        &|evidence| evidence.word = said(statement().sign(&stranger()), &worker()),
        "worker_statement.signature",
    );
    check(
        &|evidence| evidence.word = said(statement().sign(&worker()), &stranger()),
        "worker_statement.signature",
    );
    let other = || Statement {
        usage: None,
        ..statement()
    };
    check(
        &|evidence| {
            let signature = *statement().sign(&worker()).signature();
            let altered = Signed::new(other().sign(&worker()).json().as_bytes(), signature).expect("it is short");
            evidence.word = said(altered, &worker());
        },
        "worker_statement.signature",
    );
    check(&|evidence| evidence.forwarded = Some([9; 32]), "request.forwarded");
    check(&|evidence| evidence.forwarded = None, "request.forwarded");
}

#[test]
fn chains_are_checked() {
    let charges: Vec<_> = (1..=5).map(charge).collect();
    let made = chain_of(&charges);
    let chains = |receipts: &[usize]| {
        let mut chains = Chains::default();
        for at in receipts {
            chains
                .add(&checked(&made[*at].json).expect("good"))
                .expect("no other of this place");
        }
        chains
    };
    let organisation = AccountId::organisation("acme").expect("a name");
    let heads = |at: usize| {
        let head = Head::of(&made[at].json).expect("ours");
        BTreeMap::from([("gateway-1-5e3c8ba0".to_owned(), head)])
    };
    let checkpoint = |at: usize| {
        let json = checkpoint(&key(), &organisation, &heads(at), 1_795_320_001);
        let document = Document::parse(json.as_bytes()).expect("canonical");
        Checkpoint::verify(&document, &keys()).expect("good")
    };
    let whole = chains(&[4, 0, 2, 1, 3, 3]);
    assert_eq!(whole.counts(), (1, 5));
    assert_eq!(whole.check_links(), Ok(()));
    assert_eq!(whole.check_gaps(true), Ok(()));
    assert_eq!(whole.check_ends(&checkpoint(4)), Ok(()));
    assert_eq!(
        whole.check_ends(&checkpoint(2)),
        Ok(()),
        "it may go on behind a checkpoint"
    );
    assert_eq!(whole.check_head(&made[4].hash), Ok(()));
    assert_eq!(whole.check_head(&made[3].hash), Err(Gap::NoSuchHead(made[3].hash)));

    assert!(matches!(
        chains(&[0, 1, 3]).check_gaps(false),
        Err(Gap::Missing { missing: 3, .. })
    ));
    assert_eq!(chains(&[0, 1, 3]).check_links(), Ok(()));
    assert_eq!(chains(&[2, 3]).check_gaps(false), Ok(()));
    assert!(matches!(
        chains(&[2, 3]).check_gaps(true),
        Err(Gap::Missing { missing: 2, .. })
    ));
    for cut in [vec![0, 1], Vec::new()] {
        assert!(matches!(
            chains(&cut).check_ends(&checkpoint(4)),
            Err(Gap::Truncated { missing: 5, .. })
        ));
    }

    // A gateway that says of a later receipt that it is the first, or leaves one out.
    let anew = sealer().seal(&charge(6)).expect("evidence");
    let head = Head::of(&made[0].json).expect("ours");
    let jumped = Sealer::new(key(), [head]).seal(&charge(6)).expect("evidence");
    for liar in [anew, jumped] {
        let mut broken = chains(&[0, 1]);
        broken.add(&checked(&liar.json).expect("good")).expect("a free number");
        assert!(matches!(broken.check_links(), Err(Gap::Exchanged { .. })));
    }

    // Another history of the same node.
    let mut forged = charges.clone();
    forged[2].amount = Nano::saturating(4_000);
    let forged = chain_of(&forged);
    let mut mixed = chains(&[0, 1]);
    mixed
        .add(&checked(&forged[2].json).expect("good"))
        .expect("a free place");
    mixed.add(&checked(&made[3].json).expect("good")).expect("a free place");
    assert!(matches!(mixed.check_links(), Err(Gap::Exchanged { .. })));
    assert!(matches!(
        mixed.add(&checked(&made[2].json).expect("good")),
        Err(Gap::Twice { .. })
    ));
    let mut other = Chains::default();
    for sealed in &forged {
        other.add(&checked(&sealed.json).expect("good")).expect("a free place");
    }
    assert_eq!(other.check_links(), Ok(()));
    assert!(matches!(
        other.check_ends(&checkpoint(4)),
        Err(Gap::Forked { seq: 5, .. })
    ));
}

#[test]
fn a_refund_gives_back_what_was_paid() {
    let check = |charges: &[Charge], is_good: bool| {
        let mut chains = Chains::default();
        for sealed in chain_of(charges) {
            chains.add(&checked(&sealed.json).expect("good")).expect("a free place");
        }
        assert_eq!(chains.check_links().is_ok(), is_good);
    };
    check(&[charge(1), refund(2, 1, 72_000)], true);
    check(&[charge(1), refund(2, 1, 40_000), refund(3, 1, 32_000)], true);
    check(&[charge(1), refund(2, 1, 40_000), refund(3, 1, 32_001)], false);
    check(&[charge(1), refund(2, 1, 5), refund(3, 2, 1)], false);
    let stranger = Charge {
        request_id: "req_other".to_owned(),
        ..refund(2, 1, 5)
    };
    check(&[charge(1), stranger], false);
    check(&[refund(2, 1, 5)], true);
}

#[test]
fn a_checkpoint_with_a_bit_flipped_is_refused() {
    let organisation = AccountId::organisation("acme").expect("a name");
    let sealed = sealer().seal(&charge(1)).expect("evidence");
    let heads = BTreeMap::from([("n".to_owned(), Head::of(&sealed.json).expect("ours"))]);
    let good = checkpoint(&key(), &organisation, &heads, 7);
    for at in 0..good.len() * 8 {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at / 8] ^= 1 << (at % 8);
        if let Ok(document) = Document::parse(&bytes) {
            Checkpoint::verify(&document, &keys()).expect_err("altered");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_written_and_read_back(model in any::<String>(), request_id in ".*", key_name in ".+") {
        let charge = Charge { model, request_id, key: Some(AccountId::key(&key_name)), ..charge(9) };
        let sealed = sealer().seal(&charge).expect("evidence");
        let verified = checked(&sealed.json).expect("good");
        prop_assert_eq!(&verified.facts().model, &charge.model);
        prop_assert_eq!(&verified.facts().request_id, &charge.request_id);
        prop_assert_eq!(&verified.facts().account.key, &charge.key);
        // Another reader agrees, and a writer that sorts and does not escape writes the same bytes.
        let value: serde_json::Value = serde_json::from_str(&sealed.json).expect("JSON");
        prop_assert_eq!(serde_json::to_string(&value).expect("JSON"), &*sealed.json);
    }

    #[test]
    fn any_numbers_are_exact_or_refused(amount in any::<u64>(), fee in any::<u64>(), held in any::<u64>()) {
        let amount = Nano::saturating(amount);
        let mut charge = Charge { amount, fee: Nano::saturating(fee), held: Nano::saturating(held), ..charge(9) };
        charge.terms.tariff.minimum = u64::MAX;
        let sealed = sealer().seal(&charge).expect("evidence");
        let is_sane = charge.fee <= amount && amount <= charge.held;
        match checked(&sealed.json) {
            Ok(verified) => {
                prop_assert!(is_sane);
                prop_assert_eq!(verified.facts().amounts.total, amount);
                prop_assert_eq!(verified.facts().amounts.fee, charge.fee);
            }
            Err(refused) => {
                prop_assert!(!is_sane, "{}", refused);
                prop_assert_eq!(refused.field, "amounts");
            }
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(documents) = Document::parse_all(&bytes) {
            for document in documents {
                prop_assert!(verify(&document, &keys()).is_err());
            }
        }
    }

    #[test]
    fn no_text_like_json_panics(text in "[\\[\\]{}\",:\\\\ntu0a1 ]{0,60}") {
        if let Ok(document) = Document::parse(text.as_bytes()) {
            prop_assert!(verify(&document, &keys()).is_err());
            prop_assert_eq!(Document::parse(document.text().as_bytes()).map(|again| again.text().to_owned()), Ok(document.text().to_owned()));
        }
    }
}
