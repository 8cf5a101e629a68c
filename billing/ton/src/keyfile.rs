//! Private keys at rest: one file a key, sealed with a passphrase.
//!
//! The file is JSON. In the clear are its version, what the key is for, its public half, and how the passphrase is
//! stretched (Argon2id, RFC 9106); sealed are the key or the words that it is made of (ChaCha20-Poly1305, RFC 8439).
//! What is in the clear is authenticated by the seal, and so is not verified before the file is opened.
//! A checksum over all of it tells a damaged file from a wrong passphrase; it is no protection, the seal is.
//!
//! A file is written once, whole, readable by its owner alone, and never over another.
//! Where the passphrase comes from is the caller's matter, and so is the thread: stretching takes a second or so and
//! 64 MiB, so call from where waiting is allowed.
//!
//! What an attacker with the file can do is guess passphrases, at the price of 64 MiB and three passes each.
//!
//! ```
//! use billing_ton::keyfile::{self, Hardness, KeyFile, Purpose, Secret};
//! # let folder = std::env::temp_dir().join(format!("mulberry-keyfile-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let path = folder.join("wallet.json");
//!
//! let words = billing_ton::Mnemonic::generate()?;
//! keyfile::create(&path, Purpose::Wallet, &Secret::Words(words), b"four random words here", Hardness::LEAST)?;
//! let file = KeyFile::read(&path)?;
//! let seed = file.open(Purpose::Wallet, b"four random words here")?.seed();
//! assert_eq!(&seed.public_key(), file.public_key());
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{
    aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey},
    digest, rand,
};
use billing::{
    channel::PublicKey,
    receipt::{from_hex, to_hex},
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    durable,
    mnemonic::{Mnemonic, WORDS},
    seed::Seed,
};

const VERSION: u32 = 1;
/// Far more than a key file has.
const MAX_FILE: u64 = 16 * 1024;
/// Shorter ones are guessed whatever the work.
pub const SHORTEST_PASSPHRASE: usize = 8;

/// What a key is for. A file of one purpose does not open for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Moves coins.
    Wallet,
    /// Signs vouchers, or what is taken of them.
    Channel,
}

/// How hard each guess is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hardness {
    memory_kib: u32,
    passes: u32,
}

impl Hardness {
    /// OWASP's least for Argon2id: 19 MiB and two passes.
    pub const LEAST: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
    };
    /// The second recommendation of RFC 9106, on one lane.
    pub const USUAL: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
    };
    /// More than this a file of somebody else's making may not ask of us.
    const MOST: Self = Self {
        memory_kib: 1024 * 1024,
        passes: 16,
    };

    const fn is_allowed(self) -> bool {
        Self::LEAST.memory_kib <= self.memory_kib
            && self.memory_kib <= Self::MOST.memory_kib
            && Self::LEAST.passes <= self.passes
            && self.passes <= Self::MOST.passes
    }
}

/// What is sealed. Its `Debug` shows no more than the public half.
#[derive(Clone, Debug)]
pub enum Secret {
    Seed(Seed),
    /// The words, so that they can be shown again to who asks twice.
    Words(Mnemonic),
}

impl Secret {
    pub fn seed(&self) -> Seed {
        match self {
            Self::Seed(seed) => seed.clone(),
            Self::Words(words) => words.seed(),
        }
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Seed(seed) => Zeroizing::new(seed.reveal().to_vec()),
            Self::Words(words) => Zeroizing::new(words.places().to_vec()),
        }
    }
}

/// A key file that was read and is not opened.
#[derive(Clone)]
pub struct KeyFile {
    clear: Clear,
    public_key: PublicKey,
    sealed: Vec<u8>,
}

/// What is in the clear and authenticated by the seal: the bytes of its JSON in this order.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clear {
    version: u32,
    purpose: Purpose,
    holds: Holds,
    public_key: String,
    kdf: Kdf,
    memory_kib: u32,
    passes: u32,
    salt: String,
    cipher: Cipher,
    nonce: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Holds {
    Seed,
    Words,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Kdf {
    #[serde(rename = "argon2id")]
    Argon2id,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum Cipher {
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
}

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    key: Clear,
    sealed: String,
    checksum: String,
}

/// Why no file was written, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("the passphrase must have at least {SHORTEST_PASSPHRASE} bytes")]
    ShortPassphrase,
    #[error("the system gives no random numbers")]
    NoRandomness,
    /// Of Argon2: the memory is not there.
    #[error("the passphrase cannot be stretched: {0}")]
    Stretch(String),
    /// Nothing was changed: a key that is lost cannot be made again.
    #[error("there is a file of that name already; it was not touched")]
    Exists,
    #[error("the key file cannot be written")]
    Io(#[source] io::Error),
}

/// Why a file cannot be used, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the key file cannot be read")]
    Io(#[source] io::Error),
    #[error(
        "others than its owner may read or change the key file; run `chmod 600` on it, and consider the key as known"
    )]
    Exposed,
    #[error("the key file is of version {0}; this program knows version {VERSION}")]
    Version(u64),
    #[error("the key file is damaged ({0}); restore it from a backup, or the key from its words")]
    Damaged(&'static str),
    #[error("the key file asks for more memory or time than allowed, or for too little to be safe")]
    Hardness,
}

/// Why a file does not open, in order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("the key is of another purpose: {found:?}, not {expected:?}")]
    Purpose { found: Purpose, expected: Purpose },
    #[error("the passphrase cannot be stretched: {0}")]
    Stretch(String),
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// Sealed with the right passphrase, and nonsense: whoever wrote it made a mistake.
    #[error("what is sealed in the key file is not the key that it names")]
    Inconsistent,
}

/// Seals a key and writes it where there is no file yet.
pub fn create(
    path: &Path,
    purpose: Purpose,
    secret: &Secret,
    passphrase: &[u8],
    hardness: Hardness,
) -> Result<(), CreateError> {
    let text = KeyFile::seal(purpose, secret, passphrase, hardness)?.to_json();
    durable::create(path, text.as_bytes()).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CreateError::Exists,
        _ => CreateError::Io(error),
    })
}

impl KeyFile {
    fn seal(purpose: Purpose, secret: &Secret, passphrase: &[u8], hardness: Hardness) -> Result<Self, CreateError> {
        if passphrase.len() < SHORTEST_PASSPHRASE {
            return Err(CreateError::ShortPassphrase);
        }
        let (mut salt, mut nonce) = ([0; 16], [0; 12]);
        rand::fill(&mut salt).map_err(|_| CreateError::NoRandomness)?;
        rand::fill(&mut nonce).map_err(|_| CreateError::NoRandomness)?;
        let public_key = secret.seed().public_key();
        let clear = Clear {
            version: VERSION,
            purpose,
            holds: match secret {
                Secret::Seed(_) => Holds::Seed,
                Secret::Words(_) => Holds::Words,
            },
            public_key: to_hex(&public_key),
            kdf: Kdf::Argon2id,
            memory_kib: hardness.memory_kib,
            passes: hardness.passes,
            salt: to_hex(&salt),
            cipher: Cipher::ChaCha20Poly1305,
            nonce: to_hex(&nonce),
        };
        let key = stretch(passphrase, &salt, hardness).map_err(CreateError::Stretch)?;
        let mut sealed = secret.bytes();
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(clear.bytes()),
            &mut *sealed,
        )
        .map_err(|_| CreateError::Stretch("the cipher refused".to_owned()))?;
        Ok(Self {
            clear,
            public_key,
            sealed: sealed.to_vec(),
        })
    }

    /// Reads a file that nobody else may read.
    pub fn read(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::Io)?;
        // Of the file that is open, not of whatever has its name by now.
        if durable::is_exposed(&file.metadata().map_err(ReadError::Io)?) {
            return Err(ReadError::Exposed);
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
        Self::parse(&bytes)
    }

    /// Reads the text of a key file.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadError> {
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_FILE) {
            return Err(ReadError::Damaged("it is too long"));
        }
        // The version first: of a later one nothing else is known.
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|_| ReadError::Damaged("it is not JSON"))?;
        match value["key"]["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(ReadError::Version(version)),
            None => return Err(ReadError::Damaged("it has no version")),
        }
        let document: Document =
            serde_json::from_value(value).map_err(|_| ReadError::Damaged("it has not the fields of a key file"))?;
        if document.checksum != checksum(&document.key, &document.sealed) {
            return Err(ReadError::Damaged("its checksum is wrong"));
        }
        let clear = document.key;
        if !clear.hardness().is_allowed() {
            return Err(ReadError::Hardness);
        }
        let public_key = from_hex(&clear.public_key).ok_or(ReadError::Damaged("its public key is not one"))?;
        let sealed = match clear.holds {
            Holds::Seed => from_hex::<48>(&document.sealed).map(Vec::from),
            Holds::Words => from_hex::<64>(&document.sealed).map(Vec::from),
        };
        let sealed = sealed.ok_or(ReadError::Damaged("what is sealed has another length"))?;
        if from_hex::<16>(&clear.salt).is_none() || from_hex::<12>(&clear.nonce).is_none() {
            return Err(ReadError::Damaged("its salt or nonce has another length"));
        }
        Ok(Self {
            clear,
            public_key,
            sealed,
        })
    }

    pub fn purpose(&self) -> Purpose {
        self.clear.purpose
    }

    /// What the file says in the clear. Whoever may write the file may have put another key here, and an address made of
    /// it is theirs: it is verified by [`KeyFile::open`] only, which opens nothing with another key beside it.
    pub fn unverified_public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The same; see [`KeyFile::unverified_public_key`].
    pub fn public_key(&self) -> &PublicKey {
        self.unverified_public_key()
    }

    /// Whether it holds the words, so that they can be shown.
    pub fn has_words(&self) -> bool {
        matches!(self.clear.holds, Holds::Words)
    }

    pub fn open(&self, purpose: Purpose, passphrase: &[u8]) -> Result<Secret, OpenError> {
        if self.clear.purpose != purpose {
            return Err(OpenError::Purpose {
                found: self.clear.purpose,
                expected: purpose,
            });
        }
        let (Some(salt), Some(nonce)) = (from_hex::<16>(&self.clear.salt), from_hex(&self.clear.nonce)) else {
            return Err(OpenError::Inconsistent);
        };
        let key = stretch(passphrase, &salt, self.clear.hardness()).map_err(OpenError::Stretch)?;
        let mut bytes = Zeroizing::new(self.sealed.clone());
        let opened = key
            .open_in_place(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.clear.bytes()),
                &mut bytes,
            )
            .map_err(|_| OpenError::WrongPassphrase)?;
        let secret = match self.clear.holds {
            Holds::Seed => <[u8; 32]>::try_from(&*opened)
                .ok()
                .map(Seed::from_bytes)
                .map(Secret::Seed),
            Holds::Words => <[u8; WORDS * 2]>::try_from(&*opened)
                .ok()
                .and_then(|places| Mnemonic::from_places(&places).ok())
                .map(Secret::Words),
        };
        secret
            .filter(|secret| secret.seed().public_key() == self.public_key)
            .ok_or(OpenError::Inconsistent)
    }

    fn to_json(&self) -> String {
        let sealed = to_hex(&self.sealed);
        let document = Document {
            checksum: checksum(&self.clear, &sealed),
            key: self.clear.clone(),
            sealed,
        };
        let text = serde_json::to_string_pretty(&document).expect("strings and numbers are JSON");
        text + "\n"
    }
}

impl Clear {
    fn hardness(&self) -> Hardness {
        Hardness {
            memory_kib: self.memory_kib,
            passes: self.passes,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are JSON")
    }
}

fn checksum(clear: &Clear, sealed: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&clear.bytes());
    context.update(sealed.as_bytes());
    to_hex(context.finish().as_ref())
}

fn stretch(passphrase: &[u8], salt: &[u8; 16], hardness: Hardness) -> Result<LessSafeKey, String> {
    let params = Params::new(hardness.memory_kib, hardness.passes, 1, Some(32)).map_err(|error| error.to_string())?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase, salt, key.as_mut())
        .map_err(|error| error.to_string())?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_ref()).map_err(|_| "the cipher refused the key".to_owned())?;
    Ok(LessSafeKey::new(key))
}

/// Nothing that is sealed, or that it is sealed with.
impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile({:?} of {})", self.clear.purpose, self.clear.public_key)
    }
}

#[cfg(test)]
mod tests;
