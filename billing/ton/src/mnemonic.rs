//! TON's 24 words, from which a wallet's key is made.
//!
//! The list is that of BIP 39 in English; the rest is TON's own: not every 24 words are good, but one choice in 256, by
//! a slow hash of them all. So a wrong word is seen nearly always, though not which.
//! Words with a password, which some wallets offer, are recognised and refused.
//!
//! The rules are those of `tonlib/keys/Mnemonic.cpp` in ton-blockchain/ton.

use std::{fmt, num::NonZeroU32, sync::LazyLock};

use aws_lc_rs::{hmac, pbkdf2, rand};
use zeroize::{Zeroize as _, Zeroizing};

use crate::seed::{NoRandomness, Seed};

/// How many words there are.
pub const WORDS: usize = 24;

const ITERATIONS: NonZeroU32 = NonZeroU32::new(100_000).expect("not zero");
/// A 256th of it: who looks for good words tries that often.
const TRIAL_ITERATIONS: NonZeroU32 = NonZeroU32::new(390).expect("not zero");
/// One in 256 is good: that none of so many is has a probability with a hundred zeros behind the point.
const MAX_TRIALS: u32 = 65_536;

/// From <https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt>, sorted.
static LIST: LazyLock<Vec<&str>> = LazyLock::new(|| include_str!("mnemonic/english.txt").lines().collect());

/// 24 words that are good. As secret as the key: wiped when dropped, and never shown by `Debug`.
#[derive(Clone)]
pub struct Mnemonic {
    /// Places in the list.
    words: Zeroizing<[u16; WORDS]>,
}

/// Why words make no key, in order of precedence. It says where, never what: a word with a typing error is a secret
/// still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MnemonicError {
    #[error("there must be {WORDS} words, and there are {0}")]
    Count(usize),
    /// Counted from one.
    #[error("word {0} is not in the list of BIP 39; look for a typing error")]
    Unknown(usize),
    #[error(
        "these words belong to a password, which is not supported; make a new wallet and send it the coins from the \
         wallet program that made the words"
    )]
    NeedsPassword,
    #[error("the words do not belong together: one is wrong, or their order is, or another kind of wallet made them")]
    Mismatch,
}

impl Mnemonic {
    /// Draws new words. Takes about a tenth of a second.
    pub fn generate() -> Result<Self, NoRandomness> {
        for _ in 0..MAX_TRIALS {
            let mut bytes = Zeroizing::new([0; WORDS * 2]);
            rand::fill(bytes.as_mut()).map_err(|_| NoRandomness)?;
            let mut words = Zeroizing::new([0; WORDS]);
            let (pairs, _) = bytes.as_chunks::<2>();
            for (word, pair) in words.iter_mut().zip(pairs) {
                // The list has 2^11 words, so that all are as likely.
                *word = u16::from_be_bytes(*pair) & 0x7ff;
            }
            let mnemonic = Self { words };
            if is_basic(&mnemonic.entropy()) {
                return Ok(mnemonic);
            }
        }
        Err(NoRandomness)
    }

    /// Reads words with any space between them, in small letters or capitals.
    pub fn parse(text: &str) -> Result<Self, MnemonicError> {
        let count = text.split_whitespace().count();
        if count != WORDS {
            return Err(MnemonicError::Count(count));
        }
        let mut words = Zeroizing::new([0; WORDS]);
        for (at, (word, text)) in words.iter_mut().zip(text.split_whitespace()).enumerate() {
            let text = Zeroizing::new(text.to_ascii_lowercase());
            let place = LIST.binary_search(&text.as_str()).ok();
            *word = place
                .and_then(|place| u16::try_from(place).ok())
                .ok_or(MnemonicError::Unknown(at + 1))?;
        }
        Self::checked(words)
    }

    /// From places in the list, two bytes each.
    pub(crate) fn from_places(bytes: &[u8; WORDS * 2]) -> Result<Self, MnemonicError> {
        let mut words = Zeroizing::new([0; WORDS]);
        let (pairs, _) = bytes.as_chunks::<2>();
        for (at, (word, pair)) in words.iter_mut().zip(pairs).enumerate() {
            *word = u16::from_be_bytes(*pair);
            if usize::from(*word) >= LIST.len() {
                return Err(MnemonicError::Unknown(at + 1));
            }
        }
        Self::checked(words)
    }

    pub(crate) fn places(&self) -> Zeroizing<[u8; WORDS * 2]> {
        let mut bytes = Zeroizing::new([0; WORDS * 2]);
        let (pairs, _) = bytes.as_chunks_mut::<2>();
        for (pair, word) in pairs.iter_mut().zip(self.words.iter()) {
            *pair = word.to_be_bytes();
        }
        bytes
    }

    fn checked(words: Zeroizing<[u16; WORDS]>) -> Result<Self, MnemonicError> {
        let mnemonic = Self { words };
        let entropy = mnemonic.entropy();
        match (is_basic(&entropy), is_of_password(&entropy)) {
            (true, _) => Ok(mnemonic),
            (false, true) => Err(MnemonicError::NeedsPassword),
            (false, false) => Err(MnemonicError::Mismatch),
        }
    }

    /// The wallet's private key. Takes about a tenth of a second.
    pub fn seed(&self) -> Seed {
        let derived = derived(&self.entropy(), "TON default seed", ITERATIONS);
        let mut seed = [0; 32];
        seed.copy_from_slice(&derived[..32]);
        let kept = Seed::from_bytes(seed);
        seed.zeroize();
        kept
    }

    /// The words with one space between them. To be shown once, on paper's way.
    pub fn reveal(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(WORDS * 9));
        for (at, word) in self.words.iter().enumerate() {
            if at > 0 {
                text.push(' ');
            }
            text.push_str(LIST.get(usize::from(*word)).copied().unwrap_or_default());
        }
        text
    }

    fn entropy(&self) -> Zeroizing<[u8; 64]> {
        let key = hmac::Key::new(hmac::HMAC_SHA512, self.reveal().as_bytes());
        let mut entropy = Zeroizing::new([0; 64]);
        entropy.copy_from_slice(hmac::sign(&key, b"").as_ref());
        entropy
    }
}

fn derived(entropy: &[u8; 64], salt: &str, iterations: NonZeroU32) -> Zeroizing<[u8; 64]> {
    let mut out = Zeroizing::new([0; 64]);
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA512,
        iterations,
        salt.as_bytes(),
        entropy,
        out.as_mut(),
    );
    out
}

fn is_basic(entropy: &[u8; 64]) -> bool {
    derived(entropy, "TON seed version", TRIAL_ITERATIONS)[0] == 0
}

fn is_of_password(entropy: &[u8; 64]) -> bool {
    derived(entropy, "TON fast seed version", NonZeroU32::MIN)[0] == 1
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mnemonic({WORDS} words)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn the_list_is_that_of_the_standard() {
        assert_eq!(LIST.len(), 2048);
        assert!(LIST.is_sorted());
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, include_bytes!("mnemonic/english.txt"));
        let known = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda";
        assert_eq!(billing::receipt::to_hex(hash.as_ref()), known);
        assert_eq!((LIST[0], LIST[2047]), ("abandon", "zoo"));
    }

    #[test]
    fn keys_are_those_of_the_official_library() {
        let golden = golden::read();
        for case in golden["mnemonics"].as_array().expect("a list") {
            let words = golden::text(&case["words"]);
            let mnemonic = Mnemonic::parse(words).expect("good words");
            assert_eq!(mnemonic.reveal().as_str(), words);
            assert_eq!(mnemonic.seed().reveal(), &golden::hash(&case["seed"]));
            assert_eq!(mnemonic.seed().public_key(), golden::hash(&case["publicKey"]));
            let shouted = words.to_uppercase().replace(' ', "\n\t ");
            assert_eq!(
                Mnemonic::parse(&shouted)
                    .map(|same| same.reveal().to_string())
                    .as_deref(),
                Ok(words)
            );
            let again = Mnemonic::from_places(&mnemonic.places()).expect("good words");
            assert_eq!(again.reveal(), mnemonic.reveal());
        }
    }

    #[test]
    fn new_words_are_good_and_differ() {
        let one = Mnemonic::generate().expect("random numbers");
        let other = Mnemonic::generate().expect("random numbers");
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(
            Mnemonic::parse(&one.reveal()).map(|same| same.reveal()),
            Ok(one.reveal())
        );
        assert_eq!(format!("{one:?}"), "Mnemonic(24 words)");
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        let golden = golden::read();
        let words = golden::text(&golden["mnemonics"][0]["words"]);
        let check = |text: &str, expect: MnemonicError| {
            assert_eq!(Mnemonic::parse(text).err(), Some(expect));
        };
        check("", MnemonicError::Count(0));
        check(&format!("{words} abandon"), MnemonicError::Count(25));
        check(&words.replace("relax", "relaxx"), MnemonicError::Unknown(3));
        check(&words.replace("relax", "zoo"), MnemonicError::Mismatch);
        check(
            golden::text(&golden["mnemonicWithPassword"]["words"]),
            MnemonicError::NeedsPassword,
        );
        assert_eq!(
            Mnemonic::from_places(&[0xff; 48]).err(),
            Some(MnemonicError::Unknown(1))
        );
    }
}
