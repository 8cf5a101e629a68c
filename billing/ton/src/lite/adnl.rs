//! ADNL over TCP: how TON's nodes hide and authenticate a stream. Both ends, for the simulated chain is one of them.
//!
//! The client knows the server's key, draws one of its own, and sends 256 bytes: which server it means, its public key,
//! a hash, and 160 bytes that only the server can read and that hold the keys of both directions. From there on each
//! packet is `length ‖ 32 random bytes ‖ payload ‖ SHA-256 of both`, under AES-256 in counter mode that goes on from packet
//! to packet. The server's first packet is empty, and shows that it has its key.
//!
//! The form is docs.ton.org, "ADNL TCP". The checksum is no MAC: whoever can change bytes on the way can end the
//! connection, and who knows what a packet says could write another. What is asked over it must be checked by its own
//! proofs; see [`super`].

use aws_lc_rs::{
    cipher::{AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey},
    digest::{Context, SHA256},
    iv::FixedLength,
    rand,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tycho_crypto::ed25519::{KeyPair, PublicKey, SecretKey};
use zeroize::Zeroizing;

/// `pub.ed25519` in TL.
const KEY_TAG: [u8; 4] = [0xc6, 0xb4, 0x13, 0x48];
const HANDSHAKE: usize = 256;
/// Beside a payload: random bytes before it and a checksum after it.
const AROUND: usize = 64;

/// Why a connection is none, or none any more, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum AdnlError {
    #[error("the connection ended")]
    Stream(#[source] std::io::Error),
    #[error("it is for a server with another key")]
    OtherServer,
    #[error("the key is not one: no point of the curve")]
    BadKey,
    #[error("the other end does not have the key that it should have")]
    Handshake,
    #[error("a packet has {bytes} bytes; at least {AROUND} and at most {most} are taken")]
    Length { bytes: usize, most: usize },
    #[error("a packet's checksum is wrong")]
    Checksum,
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl From<std::io::Error> for AdnlError {
    fn from(error: std::io::Error) -> Self {
        Self::Stream(error)
    }
}

/// What a server proves itself with.
pub struct ServerKey(KeyPair);

impl ServerKey {
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(KeyPair::from(&SecretKey::from_bytes(*seed)))
    }

    /// What clients must know.
    pub fn public(&self) -> [u8; 32] {
        self.0.public_key.to_bytes()
    }
}

/// A stream of packets.
pub struct Channel<S> {
    stream: S,
    sending: Cipher,
    receiving: Cipher,
    /// The longest packet that is taken.
    most: usize,
}

/// Whether these bytes can be a server's public key.
pub fn is_key(key: [u8; 32]) -> bool {
    PublicKey::from_bytes(key).is_some()
}

/// Calls the server with the public key `server`. Packets beyond `most` bytes end the connection.
pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    server: &[u8; 32],
    most: usize,
) -> Result<Channel<S>, AdnlError> {
    let theirs = PublicKey::from_bytes(*server).ok_or(AdnlError::BadKey)?;
    let seed = random::<32>()?;
    let ours = KeyPair::from(&SecretKey::from_bytes(*seed));
    let keys = random::<160>()?;
    let hash = sha256(&[keys.as_ref()]);
    let hidden = secret(&ours, &theirs, &hash).apply(keys.as_ref());
    let mut hello = Vec::with_capacity(HANDSHAKE);
    hello.extend_from_slice(&sha256(&[&KEY_TAG, server]));
    hello.extend_from_slice(ours.public_key.as_bytes());
    hello.extend_from_slice(&hash);
    hello.extend_from_slice(&hidden);
    stream.write_all(&hello).await?;
    let [receiving, sending] = directions(&keys);
    let mut channel = Channel {
        stream,
        sending,
        receiving,
        most,
    };
    match channel.receive().await {
        Ok(first) if first.is_empty() => Ok(channel),
        Err(AdnlError::Stream(error)) => Err(AdnlError::Stream(error)),
        _ => Err(AdnlError::Handshake),
    }
}

/// Takes the call of a client that knows our key.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    key: &ServerKey,
    most: usize,
) -> Result<Channel<S>, AdnlError> {
    let mut hello = [0; HANDSHAKE];
    stream.read_exact(&mut hello).await?;
    let (meant, rest) = split::<32>(&hello);
    let (theirs, rest) = split::<32>(rest);
    let (hash, hidden) = split::<32>(rest);
    if meant != sha256(&[&KEY_TAG, &key.public()]) {
        return Err(AdnlError::OtherServer);
    }
    let theirs = PublicKey::from_bytes(theirs).ok_or(AdnlError::BadKey)?;
    let keys = Zeroizing::new(secret(&key.0, &theirs, &hash).apply(hidden));
    if sha256(&[&keys]) != hash {
        return Err(AdnlError::Handshake);
    }
    let keys: &[u8; 160] = keys.as_slice().try_into().map_err(|_| AdnlError::Handshake)?;
    let [sending, receiving] = directions(keys);
    let mut channel = Channel {
        stream,
        sending,
        receiving,
        most,
    };
    channel.send(&[]).await?;
    Ok(channel)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Channel<S> {
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), AdnlError> {
        let salt = random::<32>()?;
        let length = payload.len() + AROUND;
        let written = u32::try_from(length).map_err(|_| AdnlError::Length {
            bytes: length,
            most: self.most,
        })?;
        let mut packet = Vec::with_capacity(4 + length);
        packet.extend_from_slice(&written.to_le_bytes());
        packet.extend_from_slice(salt.as_ref());
        packet.extend_from_slice(payload);
        packet.extend_from_slice(&sha256(&[salt.as_ref(), payload]));
        self.stream.write_all(&self.sending.apply(&packet)).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// The next payload. Whoever stops waiting for it cannot go on with this channel.
    pub async fn receive(&mut self) -> Result<Vec<u8>, AdnlError> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let length = self.receiving.apply(&length);
        let bytes = length
            .first_chunk()
            .and_then(|length| usize::try_from(u32::from_le_bytes(*length)).ok())
            .unwrap_or(usize::MAX);
        if !(AROUND..=self.most).contains(&bytes) {
            return Err(AdnlError::Length { bytes, most: self.most });
        }
        let mut packet = vec![0; bytes];
        self.stream.read_exact(&mut packet).await?;
        let packet = self.receiving.apply(&packet);
        let (said, checksum) = packet.split_at(bytes - 32);
        if sha256(&[said]) != checksum {
            return Err(AdnlError::Checksum);
        }
        Ok(said.get(32..).unwrap_or_default().to_vec())
    }
}

/// A keystream that goes on.
struct Cipher(StreamingEncryptingKey);

impl Cipher {
    fn new(key: &[u8; 32], counter: [u8; 16]) -> Self {
        let key = UnboundCipherKey::new(&AES_256, key).expect("32 bytes are such a key");
        let context = EncryptionContext::Iv128(FixedLength::from(counter));
        Self(StreamingEncryptingKey::less_safe_ctr(key, context).expect("the mode and its counter belong together"))
    }

    /// Hides or shows: in this mode it is the same.
    fn apply(&mut self, bytes: &[u8]) -> Vec<u8> {
        // The interface asks for room for a block more, which this mode never fills.
        let mut result = vec![0; bytes.len() + AES_256.block_len()];
        let written = self.0.update(bytes, &mut result).expect("there is room");
        let length = written.written().len();
        result.truncate(length);
        result
    }
}

/// The cipher of the handshake: of a secret that both ends can compute.
fn secret(ours: &KeyPair, theirs: &PublicKey, hash: &[u8; 32]) -> Cipher {
    let secret = Zeroizing::new(ours.compute_shared_secret(theirs));
    let mut key = Zeroizing::new([0; 32]);
    let mut counter = [0; 16];
    key[..16].copy_from_slice(&secret[..16]);
    key[16..].copy_from_slice(&hash[16..]);
    counter[..4].copy_from_slice(&hash[..4]);
    counter[4..].copy_from_slice(&secret[20..]);
    Cipher::new(&key, counter)
}

/// What the client receives under, and what it sends under.
fn directions(keys: &[u8; 160]) -> [Cipher; 2] {
    let (first, rest) = split::<32>(keys);
    let (second, rest) = split::<32>(rest);
    let (first_counter, rest) = split::<16>(rest);
    let (second_counter, _) = split::<16>(rest);
    [Cipher::new(&first, first_counter), Cipher::new(&second, second_counter)]
}

fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (first, rest) = bytes.split_first_chunk().expect("both ends have fixed lengths");
    (*first, rest)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, AdnlError> {
    let mut bytes = Zeroizing::new([0; N]);
    rand::fill(bytes.as_mut()).map_err(|_| AdnlError::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
