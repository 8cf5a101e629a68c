//! Hostile HTTP/2, seen as frames by a client that bears everything.

use backends_mock::{HostileH2, hostile_h2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::client::PATIENCE;

/// The kinds of the first `count` frames, and whether they belonged to stream 1.
async fn frames(kind: HostileH2, count: usize) -> Vec<(u8, u32)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let attacker = tokio::spawn(hostile_h2(listener, kind));
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    socket
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .expect("sent");
    // Empty settings, then a request whose headers nobody reads.
    socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("sent");
    socket
        .write_all(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x82])
        .await
        .expect("sent");
    let mut seen = Vec::new();
    let reading = async {
        while seen.len() < count {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await.expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            seen.push((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]])));
            if length < 1 << 20 {
                socket
                    .read_exact(&mut vec![0; length as usize])
                    .await
                    .expect("a payload");
            }
        }
    };
    timeout(PATIENCE, reading).await.expect("the frames come");
    attacker.abort();
    seen
}

#[tokio::test]
async fn each_kind_sends_its_frames() {
    // The settings of the attacker and its acknowledgement come first.
    for (name, count, last) in [
        ("settings-flood", 5000, (4, 0)),
        ("ping-flood", 5000, (6, 0)),
        ("continuation-flood", 5000, (9, 1)),
        ("reset-flood", 5000, (3, 1)),
        ("data-flood", 500, (0, 1)),
        ("empty-data-flood", 5000, (0, 1)),
        ("huge-frame", 4, (0, 1)),
        ("bad-hpack", 3, (1, 1)),
        ("go-away", 3, (7, 0)),
    ] {
        let kind = HostileH2::named(name).expect(name);
        let seen = frames(kind, count).await;
        assert_eq!(seen[..2], [(4, 0), (4, 0)], "{name}");
        assert_eq!(seen.last(), Some(&last), "{name}");
    }
    assert_eq!(HostileH2::ALL.len(), 9);
    assert_eq!(HostileH2::named("none"), None);
}
