use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const MOST: usize = 1_000;

fn key() -> ServerKey {
    ServerKey::from_seed(&[7; 32])
}

async fn both() -> (Channel<DuplexStream>, Channel<DuplexStream>) {
    let (client, server) = duplex(4_096);
    let (key, public) = (key(), key().public());
    let (client, server) = tokio::join!(connect(client, &public, MOST), accept(server, &key, MOST));
    (client.expect("its key"), server.expect("its key"))
}

#[tokio::test]
async fn packets_go_both_ways_and_the_keystream_goes_on() {
    let (mut client, mut server) = both().await;
    for length in [0, 1, 15, 16, 17, 500, MOST - AROUND] {
        let said = vec![u8::try_from(length % 251).expect("below 251"); length];
        client.send(&said).await.expect("it is there");
        assert_eq!(server.receive().await.expect("it was sent"), said);
        server.send(&said).await.expect("it is there");
        assert_eq!(client.receive().await.expect("it was sent"), said);
    }
}

#[tokio::test]
async fn a_packet_beyond_what_is_taken_is_refused_before_it_is_read() {
    let (mut client, mut server) = both().await;
    client.send(&vec![0; MOST - AROUND + 1]).await.expect("it is there");
    let refused = server.receive().await;
    assert!(
        matches!(refused, Err(AdnlError::Length { bytes, most: MOST }) if bytes == MOST + 1),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_client_that_means_another_server_is_refused() {
    let (client, server) = duplex(4_096);
    let other = ServerKey::from_seed(&[8; 32]).public();
    let key = key();
    let (client, server) = tokio::join!(connect(client, &other, MOST), accept(server, &key, MOST));
    assert!(matches!(server.err(), Some(AdnlError::OtherServer)));
    assert!(matches!(client.err(), Some(AdnlError::Stream(_))));
}

#[tokio::test]
async fn a_server_without_the_key_cannot_answer() {
    let (client, mut server) = duplex(4_096);
    let public = key().public();
    let impostor = async {
        let mut hello = [0; HANDSHAKE];
        server.read_exact(&mut hello).await.expect("a handshake");
        server.write_all(&[0x55; 68]).await.expect("it is there");
    };
    let (client, ()) = tokio::join!(connect(client, &public, MOST), impostor);
    assert!(matches!(client.err(), Some(AdnlError::Handshake)));
}

/// What goes over the wire, with the bit `flip` changed on the way to the server.
async fn disturbed(flip: usize) -> Result<Vec<u8>, AdnlError> {
    let (client, mut near) = duplex(4_096);
    let (mut far, server) = duplex(4_096);
    let (key, public) = (key(), key().public());
    let way = async {
        let mut bytes = vec![0; HANDSHAKE];
        near.read_exact(&mut bytes).await?;
        if let Some(byte) = bytes.get_mut(flip) {
            *byte ^= 1;
        }
        far.write_all(&bytes).await?;
        let mut first = [0; 68];
        far.read_exact(&mut first).await?;
        near.write_all(&first).await?;
        let mut bytes = vec![0; 4 + AROUND + 5];
        near.read_exact(&mut bytes).await?;
        if let Some(byte) = flip.checked_sub(HANDSHAKE).and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1;
        }
        far.write_all(&bytes).await?;
        // Whoever waits for more is told that there is no more.
        far.shutdown().await
    };
    let client = async {
        let mut client = connect(client, &public, MOST).await?;
        client.send(b"hello").await
    };
    let server = async { accept(server, &key, MOST).await?.receive().await };
    // A way that is cut is what the server ends with, and all that is asked here.
    let (received, _, _) = tokio::join!(
        server,
        tokio::time::timeout(std::time::Duration::from_secs(1), client),
        tokio::time::timeout(std::time::Duration::from_secs(1), way),
    );
    received
}

#[tokio::test(start_paused = true)]
async fn a_bit_that_is_changed_on_the_way_ends_the_connection() {
    assert_eq!(disturbed(usize::MAX).await.expect("undisturbed"), b"hello");
    for flip in (0..HANDSHAKE + 4 + AROUND + 5).step_by(5) {
        let received = disturbed(flip).await;
        assert!(received.is_err(), "byte {flip}: {received:?}");
    }
}

#[test]
fn keys_are_those_of_ed25519() {
    assert!(is_key(key().public()));
    let mut none = [0xff; 32];
    none[0] = 2;
    assert!(!is_key(none));
    // RFC 8032, 7.1, test 1.
    let seed = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
        0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];
    assert_eq!(ServerKey::from_seed(&seed).public()[..4], [0xd7, 0x5a, 0x98, 0x01]);
}
