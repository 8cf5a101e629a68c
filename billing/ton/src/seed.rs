//! The 32 bytes that an Ed25519 key grows from: RFC 8032 calls them the private key.

use std::fmt;

use aws_lc_rs::{
    rand,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use billing::channel::PublicKey;
use zeroize::Zeroizing;

/// A private key. It is wiped when it is dropped, has no `Display`, and its `Debug` shows the public half.
#[derive(Clone)]
pub struct Seed(Zeroizing<[u8; 32]>);

/// The system has no random numbers. Nothing can be made safely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

/// Not a private key as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a private key is 64 hexadecimal digits")]
pub struct BadSeed;

impl Seed {
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut()).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// From 64 hexadecimal digits, with space around them or none.
    pub fn from_hex(text: &str) -> Result<Self, BadSeed> {
        let text = Zeroizing::new(text.trim().to_ascii_lowercase());
        let bytes = billing::receipt::from_hex(&text).ok_or(BadSeed)?;
        Ok(Self::from_bytes(bytes))
    }

    pub fn public_key(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair().public_key().as_ref());
        key
    }

    /// The same bytes have the same signature each time.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair().sign(message).as_ref());
        bytes
    }

    /// The bytes themselves, for who stores them or gives them to a signer. What copies them wipes the copy.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(self.0.as_ref()).expect("32 bytes of any value are a seed")
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed(of {})", billing::receipt::to_hex(&self.public_key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_read_and_not_shown() {
        // RFC 8032, 7.1, test 2.
        let digits = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
        let seed = Seed::from_hex(&format!(" {} \n", digits.to_ascii_uppercase())).expect("64 digits");
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(billing::receipt::to_hex(&seed.public_key()), public);
        assert_eq!(format!("{seed:?}"), format!("Seed(of {public})"));
        for wrong in ["", &digits[1..], &digits.replace('4', "g")] {
            assert_eq!(Seed::from_hex(wrong).err(), Some(BadSeed));
        }
        let other = Seed::generate().expect("random numbers");
        assert_ne!(other.public_key(), seed.public_key());
    }
}
