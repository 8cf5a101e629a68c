//! Logs of real guests, and logs made by hand.

use attestation_measure::log::{Log, LogError};
use attestation_measure::{Measurement, Register};
use serde_json::Value;

use crate::firmware;
use crate::predictions::{self, hex};
use crate::samples::sample;

const SHA384: u16 = 0x0c;
const SHA256: u16 = 0x0b;

fn header(algorithms: &[(u16, u16)]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    data.extend((algorithms.len() as u32).to_le_bytes());
    for (algorithm, len) in algorithms {
        data.extend(algorithm.to_le_bytes());
        data.extend(len.to_le_bytes());
    }
    data.push(0);
    let mut header = vec![0; 32];
    header[4] = 3;
    header[28..32].copy_from_slice(&(data.len() as u32).to_le_bytes());
    header.extend(data);
    header
}

fn event(register: u32, kind: u32, digests: &[(u16, &[u8])], data: &[u8]) -> Vec<u8> {
    let mut event = register.to_le_bytes().to_vec();
    event.extend(kind.to_le_bytes());
    event.extend((digests.len() as u32).to_le_bytes());
    for (algorithm, digest) in digests {
        event.extend(algorithm.to_le_bytes());
        event.extend(*digest);
    }
    event.extend((data.len() as u32).to_le_bytes());
    event.extend(data);
    event
}

fn one(register: u32, kind: u32, fill: u8) -> Vec<u8> {
    event(register, kind, &[(SHA384, &[fill; 48])], b"why")
}

fn parse(parts: &[Vec<u8>]) -> Result<Log, LogError> {
    Log::parse(&[&[header(&[(SHA384, 48)])], parts].concat().concat())
}

#[test]
fn a_log_is_replayed_register_by_register() {
    let events = [
        one(2, 0x8000_0003, 1),
        one(1, 4, 2),
        one(1, 3, 9),
        one(0, 1, 9),
        one(4, 6, 3),
        one(1, 4, 4),
    ];
    let of = |fills: &[u8]| {
        let digests = fills.iter().map(|&fill| Measurement([fill; 48]));
        digests.fold(Measurement::ZERO, Measurement::extend)
    };
    let expect = [of(&[2, 4]), of(&[1]), of(&[]), of(&[3])];
    for padding in [vec![], vec![0; 40], vec![0xff; 5000]] {
        let log = parse(&[events.concat(), padding]).expect("a log");
        assert_eq!(log.entries.len(), 6);
        assert_eq!(log.replay(), expect);
        assert_eq!(log.entries[0].data, b"why");
        assert_eq!(log.extensions(Register::Rtmr1).count(), 1);
    }
    assert_eq!(parse(&[]).expect("an empty log").replay(), [Measurement::ZERO; 4]);
}

/// What is done to a log: the number of a register in it, and what extended it.
type Change<'a> = &'a dyn Fn(&mut Vec<(u32, Measurement)>);
/// Register, index, what was predicted, whether anything was logged.
type Found = (Register, usize, Option<&'static str>, bool);

#[test]
fn the_first_extension_that_is_another_is_named() {
    let image = firmware::image(firmware::LEN, &firmware::PARTS);
    let kernel = predictions::bootable();
    let mut guest = predictions::guest(&image, &kernel);
    let runtime = [Measurement([1; 48]), Measurement([2; 48])];
    guest.runtime = &runtime;
    let predicted = guest.predict().expect("a guest that QEMU would start");
    let log = |change: Change<'_>| {
        let number = |register| {
            Register::ALL
                .iter()
                .position(|known| *known == register)
                .expect("one of four") as u32
        };
        let extensions = predicted.extensions.iter();
        let mut extensions: Vec<_> = extensions.map(|own| (number(own.register) + 1, own.digest)).collect();
        change(&mut extensions);
        let events = extensions
            .iter()
            .map(|(register, digest)| event(*register, 6, &[(SHA384, &digest.0)], b""));
        parse(&events.collect::<Vec<_>>()).expect("a log")
    };
    let check = |change: Change<'_>, expect: &[Found]| {
        let found = predicted.differences(&log(change));
        let found: Vec<_> = found
            .iter()
            .map(|found| {
                let what = found.predicted.map(|own| own.what);
                (found.register, found.index, what, found.logged.is_some())
            })
            .collect();
        assert_eq!(found, expect);
    };
    assert_eq!(log(&|_| {}).replay(), predicted.rtmr);
    check(&|_| {}, &[]);
    let other = Measurement([9; 48]);
    check(
        &|log| log[0].1 = other,
        &[(Register::Rtmr0, 0, Some("list of memory"), true)],
    );
    let kernel_at = predicted
        .extensions
        .iter()
        .position(|own| own.what == "kernel")
        .expect("there is a kernel");
    check(
        &|log| {
            log[kernel_at].1 = other;
            log.pop();
        },
        &[
            (Register::Rtmr1, 0, Some("kernel"), true),
            (Register::Rtmr3, 1, Some("of the guest itself"), false),
        ],
    );
    check(&|log| log.push((4, other)), &[(Register::Rtmr3, 2, None, true)]);
}

#[test]
fn other_digests_are_stepped_over() {
    let algorithms = header(&[(SHA256, 32), (SHA384, 48)]);
    let both = event(3, 6, &[(SHA256, &[7; 32]), (SHA384, &[8; 48])], b"");
    let log = Log::parse(&[algorithms, both].concat()).expect("a log");
    assert_eq!(log.entries[0].digest, Measurement([8; 48]));
}

#[test]
fn logs_that_are_none_are_refused() {
    let check = |bytes: &[u8], expect| assert_eq!(Log::parse(bytes).err(), Some(expect));
    let good = header(&[(SHA384, 48)]);
    check(&[], LogError::Header);
    check(&good[..good.len() - 1], LogError::Header);
    check(&vec![0; (1 << 20) + 1], LogError::TooLarge((1 << 20) + 1));
    check(&header(&[]), LogError::NoSha384);
    check(&header(&[(SHA256, 32)]), LogError::NoSha384);
    check(&header(&[(SHA384, 32)]), LogError::NoSha384);
    let mut other = good.clone();
    other[32] = b's';
    check(&other, LogError::Header);
    let mut vendor = good.clone();
    *vendor.last_mut().expect("not empty") = 1;
    check(&vendor, LogError::Header);
    let event_refused = |event: Vec<u8>, expect| assert_eq!(parse(&[one(1, 4, 1), event]).err(), Some(expect));
    event_refused(one(5, 4, 1), LogError::Register { index: 1, number: 5 });
    event_refused(event(1, 4, &[], b""), LogError::Digest { index: 1 });
    let twice: [(u16, &[u8]); 2] = [(SHA384, &[1; 48]), (SHA384, &[2; 48])];
    event_refused(event(1, 4, &twice, b""), LogError::Digest { index: 1 });
    event_refused(
        event(1, 4, &[(SHA256, &[1; 32])], b""),
        LogError::Truncated { index: 1 },
    );
    let whole = one(1, 4, 1);
    for len in 1..whole.len() {
        event_refused(whole[..len].to_vec(), LogError::Truncated { index: 1 });
    }
}

/// Google's Container-Optimized OS 113 on TDX, from google/go-eventlog `testdata`; the registers are those that its
/// tests compare with. One is of a firmware that wrote a separator twice.
#[test]
fn logs_of_google_replay_to_the_registers_of_their_guests() {
    let check = |name: &str, expect: [&str; 3]| {
        let Some(bytes) = sample(name) else {
            return;
        };
        let replayed = Log::parse(&bytes).expect("a real log").replay();
        for (replayed, expect) in replayed.into_iter().zip(expect) {
            assert_eq!(replayed, hex(expect), "{name}");
        }
    };
    let rtmr2 = "4969684dc87381fc3b3134176c8d8806eaf0a901859f5f70cfae8d17714b46c10a8de219048c9fc09f11f381a6fbe7c1";
    check(
        "cos_113_ccel.bin",
        [
            "3fa2f61f395b7f5feefb4ec2df61297f109ad8abcd6410c1b7df60f21f37b19297fc35e544039c7e1edece752afd17f6",
            "f62dbc072bd5d3f3438b7b35c39a727f5aea2ffc2473f43723953f530daf62504f0a7944aa62c41a86e8a878c2b122c1",
            rtmr2,
        ],
    );
    check(
        "cos_113_unpadded_ccel.bin",
        [
            "a4de2df23e9611299123ba4359c42a5e578b0f8488bf1bba8ef5606d9ea5d81c97c064b482a5eac537d166bd0f0f752d",
            "0ee9366c928a77092f55e9e114c7394181fd264699155f0df77d23577618d5f650568a17d379355a07bd846e552f4e20",
            rtmr2,
        ],
    );
}

/// dstack's own form of a log, beside the quote that it belongs to (`dstack/verifier/fixtures`).
#[test]
fn logs_of_dstack_replay_to_the_registers_of_their_quotes() {
    for name in ["dstack_quote_report.json", "dstack_lite_getquote.json"] {
        let Some(bytes) = sample(name) else {
            continue;
        };
        let report: Value = serde_json::from_slice(&bytes).expect("JSON");
        let quote = report["quote"].as_str().expect("hex");
        let events: Value = serde_json::from_str(report["event_log"].as_str().expect("JSON in JSON")).expect("JSON");
        let events = events.as_array().expect("a list");
        // A quote of version 4: its header is 48 bytes, and RTMR0 is at 328 of the report.
        for register in 0..3_usize {
            let at = 2 * (48 + 328 + 48 * register);
            let own = events.iter().filter(|event| event["imr"] == register);
            let digests: Vec<_> = own.map(|event| hex(event["digest"].as_str().expect("hex"))).collect();
            assert!(!digests.is_empty());
            let value = digests.into_iter().fold(Measurement::ZERO, Measurement::extend);
            assert_eq!(value, hex(&quote[at..at + 96]), "{name}, RTMR{register}");
        }
    }
}

/// dstack's `cc-eventlog/samples/ccel.bin`, of the same kind of guest as ours. Its kernel
/// measured neither command line nor initrd, as older ones do.
#[test]
fn a_direct_boot_is_logged_in_the_order_that_is_predicted() {
    let Some(bytes) = sample("dstack_ccel.bin") else {
        return;
    };
    let log = Log::parse(&bytes).expect("a real log");
    let kinds = |register| -> Vec<u32> {
        let own = log.entries.iter().filter(|entry| entry.register == Some(register));
        own.map(|entry| entry.kind).collect()
    };
    let variable = 0x8000_0001;
    let expect = [
        0x8000_000b,
        0x8000_000a,
        variable,
        variable,
        variable,
        variable,
        variable,
        4,
        0xa,
        0xa,
        0xa,
        0x8000_0002,
        0x8000_0002,
    ];
    assert_eq!(kinds(Register::Rtmr0), expect);
    assert_eq!(
        kinds(Register::Rtmr1),
        [0x8000_0003, 0x8000_0007, 4, 0x8000_0007, 0x8000_0007]
    );
    assert!(kinds(Register::Rtmr2).is_empty());
}
