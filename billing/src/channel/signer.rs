//! What signs for one side of channels: Ed25519 ([RFC 8032]) over the bytes of [`super::signed_bytes`].
//!
//! [RFC 8032]: https://www.rfc-editor.org/rfc/rfc8032

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{ChannelId, PublicKey, Tag, signed_bytes};
use crate::Nano;

/// A signature of Ed25519.
pub type Signature = [u8; 64];

/// The private key of one side. It has no `Debug`, and nothing gives the seed back.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// Not the seed of an Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the seed of an Ed25519 key")]
pub struct BadSeed;

/// The signer's key is not the one that the channel has for this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the channel was opened with another key for this side; sign with the key that it was opened with")]
pub struct NotTheSigner;

impl Signer {
    /// From the 32 bytes that RFC 8032 calls the private key.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BadSeed> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadSeed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| BadSeed)?;
        Ok(Self { pair, public })
    }

    pub const fn public(&self) -> PublicKey {
        self.public
    }

    pub(super) fn sign(&self, tag: Tag, channel: &ChannelId, amount: Nano) -> Signature {
        let mut bytes = [0; 64];
        let signature = self.pair.sign(&signed_bytes(tag, channel, amount));
        for (byte, from) in bytes.iter_mut().zip(signature.as_ref()) {
            *byte = *from;
        }
        bytes
    }
}

pub(super) fn is_signed(key: &PublicKey, tag: Tag, channel: &ChannelId, amount: Nano, signature: &Signature) -> bool {
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&signed_bytes(tag, channel, amount), signature)
        .is_ok()
}
