//! Compressed bodies: good, bad, unknown, and far larger than they look.

use std::io::Write;

use e2e::client::{chat, send};
use e2e::{Answer, Rig};

use super::small;

/// What `content-encoding` brings, as status and code; 200 has none.
async fn encoded(rig: &Rig, encoding: &str, body: Vec<u8>) -> (u16, Option<String>) {
    let answer = Answer::of(send(rig.request(body).header("content-encoding", encoding)).await).await;
    if answer.status == 200 {
        return (200, None);
    }
    let envelope = answer.envelope();
    assert_eq!(envelope.kind, "invalid_request_error", "{envelope:?}");
    (envelope.status, envelope.code)
}

fn refusal(status: u16, code: &str) -> (u16, Option<String>) {
    (status, Some(code.to_owned()))
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("memory takes all");
    encoder.finish().expect("memory takes all")
}

/// A frame of one raw block (RFC 8878 section 3.1.1): nothing is compressed, all is framed.
fn zstd(plain: &[u8]) -> Vec<u8> {
    let length = u8::try_from(plain.len()).expect("the size fits the one byte of this frame's header");
    let block = (u32::from(length) << 3 | 1).to_le_bytes();
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, length][..], &block[..3], plain].concat()
}

/// A frame of one block that says "this byte, so many times" (RFC 8878 section 3.1.1.2.2).
fn zstd_bomb(size: u32) -> Vec<u8> {
    // Blocks may hold 128 KiB each; the window is said to be 1 MiB.
    let count = size / (128 << 10);
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50];
    for nth in 1..=count {
        let last = u32::from(nth == count);
        let block = ((128_u32 << 10) << 3 | 1 << 1 | last).to_le_bytes();
        frame.extend_from_slice(&block[..3]);
        frame.push(b' ');
    }
    frame
}

/// A stream of one uncompressed meta-block (RFC 7932 section 9.2) and the empty last one.
fn brotli(plain: &[u8]) -> Vec<u8> {
    let length = u32::try_from(plain.len()).expect("a short text") - 1;
    let head = (0x0b | length << 7 | 1 << 23).to_le_bytes();
    [&head[..3], plain, &[0x03]].concat()
}

#[tokio::test]
async fn compressed_bodies_are_read_and_forwarded_plain() {
    let rig = small();
    let plain = chat("mock");
    for (encoding, body) in [
        ("gzip", gzip(plain.as_bytes())),
        ("x-gzip", gzip(plain.as_bytes())),
        ("GZIP", gzip(plain.as_bytes())),
        ("deflate", zlib(plain.as_bytes())),
        ("zstd", zstd(plain.as_bytes())),
        ("br", brotli(plain.as_bytes())),
        ("identity", plain.clone().into_bytes()),
    ] {
        rig.mock.reset();
        assert_eq!(encoded(&rig, encoding, body).await, (200, None), "{encoding}");
        let seen = rig.mock.only();
        assert_eq!(seen["body"], plain.as_str(), "{encoding}");
        assert!(seen["headers"].get("content-encoding").is_none(), "{encoding}: {seen}");
    }
}

#[tokio::test]
async fn a_bad_or_unknown_compression_is_refused() {
    let rig = small();
    for encoding in ["gzip", "deflate", "zstd", "br"] {
        let refused = encoded(&rig, encoding, b"certainly not compressed".to_vec()).await;
        assert_eq!(refused, refusal(400, "invalid_encoding"), "{encoding}");
    }
    let plain = chat("mock");
    for (encoding, mut body) in [
        ("gzip", gzip(plain.as_bytes())),
        ("zstd", zstd(plain.as_bytes())),
        ("br", brotli(plain.as_bytes())),
    ] {
        body.truncate(body.len() / 2);
        assert_eq!(
            encoded(&rig, encoding, body).await,
            refusal(400, "invalid_encoding"),
            "half of {encoding}"
        );
    }
    for encoding in ["compress", "gzip, gzip", "gzip, br", "lzma"] {
        let refused = encoded(&rig, encoding, gzip(plain.as_bytes())).await;
        assert_eq!(refused, refusal(415, "unsupported_encoding"), "{encoding}");
    }
}

#[tokio::test]
async fn a_bomb_is_a_413_and_costs_little_memory() {
    let rig = small();
    assert_eq!(rig.chat("mock").await.status, 200);
    let before = rig.gateway.rss_kib();
    let zeros = vec![b' '; 48 << 20];
    for (encoding, bomb) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("zstd", zstd_bomb(48 << 20)),
    ] {
        assert!(bomb.len() < 64 << 10, "{encoding}: the bomb itself is within the cap");
        assert_eq!(
            encoded(&rig, encoding, bomb).await,
            refusal(413, "request_too_large"),
            "{encoding}"
        );
    }
    let grown = rig.gateway.rss_kib().saturating_sub(before);
    assert!(grown < 40 << 10, "{grown} KiB");
}
