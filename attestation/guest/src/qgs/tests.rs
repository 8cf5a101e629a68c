//! The service played over a pair of sockets.

use std::{os::unix::net::UnixStream, thread};

use super::*;
use crate::device::tests::report;

const QUOTE: &[u8] = b"a quote, as far as the service is concerned";

fn message(id: &[u8], quote: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 0, 0, 0, 1, 0, 0, 0];
    message.extend_from_slice(&u32::try_from(24 + id.len() + quote.len()).expect("small").to_le_bytes());
    message.extend_from_slice(&[0; 4]);
    for part in [id, quote] {
        message.extend_from_slice(&u32::try_from(part.len()).expect("small").to_le_bytes());
    }
    [&message, id, quote].concat()
}

/// What the service got, and what we made of its answer.
fn exchange(answer: &[u8]) -> (Vec<u8>, Result<Vec<u8>, QgsError>) {
    let (mut ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
    thread::scope(|threads| {
        let service = threads.spawn(move || {
            let mut got = vec![0; 4 + 24 + 1024];
            theirs.read_exact(&mut got).expect("a whole request");
            theirs.write_all(answer).expect("it is small");
            got
        });
        let made = quote_of(&report(&[5; 64]), &mut ours);
        (service.join().expect("it ends"), made)
    })
}

fn framed(message: &[u8]) -> Vec<u8> {
    let len = u32::try_from(message.len()).expect("small");
    [&len.to_be_bytes(), message].concat()
}

#[test]
fn a_report_goes_out_and_a_quote_comes_back() {
    for id in [b"".as_slice(), b"which key"] {
        let (got, made) = exchange(&framed(&message(id, QUOTE)));
        assert_eq!(made.expect("a quote"), QUOTE);
        // The length of what follows; version 1.0, type 0, size 1048, no error; 1024 of report, 0 of ids.
        assert_eq!(got[..4], [0, 0, 4, 0x18]);
        assert_eq!(
            got[4..28],
            [
                1, 0, 0, 0, 0, 0, 0, 0, 0x18, 4, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0
            ]
        );
        assert_eq!(got[28..], *report(&[5; 64]).bytes());
    }
}

#[test]
fn each_part_of_an_answer_is_checked() {
    let check = |at: usize, byte: u8, expect: &str| {
        let mut wrong = message(b"id", QUOTE);
        assert_ne!(wrong[at], byte);
        wrong[at] = byte;
        let error = answer(&wrong).expect_err("it is wrong");
        assert!(format!("{error:?}").contains(expect), "{at}: {error:?}");
    };
    check(0, 2, "version");
    check(1, 1, "version");
    check(4, 0, "type");
    check(7, 1, "type");
    check(8, 0, "size");
    check(11, 255, "size");
    check(12, 1, "Refused(1)");
    check(15, 128, "Refused(2147483648)");
    check(16, 1, "lengths");
    check(19, 255, "lengths");
    check(20, 0, "lengths");
    check(23, 255, "lengths");
    // A minor version may add what we do not read.
    let mut minor = message(b"id", QUOTE);
    minor[2] = 1;
    assert_eq!(answer(&minor).expect("a quote"), QUOTE);
}

#[test]
fn every_answer_that_is_cut_off_or_too_long_is_refused() {
    let whole = message(b"id", QUOTE);
    for len in 0..whole.len() {
        assert!(answer(&whole[..len]).is_err(), "{len}");
    }
    assert!(answer(&[whole.as_slice(), b"x"].concat()).is_err());
    assert!(answer(&message(b"id", b"")).is_err(), "a quote of no bytes");
}

#[test]
fn a_lying_service_costs_no_memory_and_no_time() {
    let (_, made) = exchange(&[255, 255, 255, 255, 1]);
    assert!(matches!(made, Err(QgsError::TooLarge(u32::MAX))));
    let (_, made) = exchange(&[0, 0, 0, 80, 1, 0]);
    assert!(matches!(made, Err(QgsError::Broken(_))), "it ends in the middle");
    let (_, made) = exchange(b"");
    assert!(matches!(made, Err(QgsError::Broken(_))), "it says nothing");
}

#[test]
fn the_port_is_read_from_intels_file() {
    let check = |text: &str, expect: Option<u32>| assert_eq!(port_in(text).map(|port| port.0), expect, "{text:?}");
    check("port=4050\n", Some(4050));
    check("# the vsock port\n port = 4050 # of the host\n", Some(4050));
    check("#port=4050\n", None);
    check("port=0\n", None);
    check("port=-1\nports=3\n", None);
    check("", None);
    let folder = crate::testing::Folder::new();
    let path = folder.path().join("tdx-attest.conf");
    assert!(matches!(port(&path), Err(PortError::Read { .. })));
    std::fs::write(&path, "nothing").expect("the folder is ours");
    assert!(matches!(port(&path), Err(PortError::Missing { .. })));
    std::fs::write(&path, "port=4050").expect("the folder is ours");
    assert_eq!(port(&path).expect("it is there"), Port(4050));
}
