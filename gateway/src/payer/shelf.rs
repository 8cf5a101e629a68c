//! The shelf: channels to pay from, a folder each.
//!
//! ```text
//! channels/NAME/channel.json   what it was born with; written once, before anything is paid in
//! channels/NAME/key.json       the key that signs vouchers, sealed with a passphrase
//! channels/NAME/slate.json      what was signed and seen; replaced whole
//! channels/NAME/payer.journal   of who pays requests from it, and only added to
//! channels/NAME/lock           held by who signs or closes
//! ```
//!
//! A folder is there whole or not at all. It is never removed: a channel that is over keeps its tombstone here, since its
//! address must never be paid into again.
//! What is read is checked: the address follows from terms and keys, and every signature is that of its key.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use billing::{
    Nano,
    channel::{
        Account, Blob, ChannelId, ClaimedTake, ClaimedVoucher, Keys, Network, Settlement, SettlementRefusal,
        TakeRefusal, Terms, VoucherRefusal, x402::ChannelConfig,
    },
};
use billing_ton::{
    Seed, address, contract, durable,
    keyfile::{self, CreateError, Hardness, KeyFile, OpenError, Purpose, ReadError, Secret},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::teller::Halt;
use crate::{absence::Absence, passphrase::Passphrase, tls, wallet_file::private_folder};

const VERSION: u32 = 1;
/// Far more than any file of a channel has, but its key, which has a bound of its own.
const MAX_FILE: u64 = 64 * 1024;
const LONGEST_NAME: usize = 32;

/// Why a channel is not found, read or written, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShelfError {
    #[error(
        "no folder for data is known, since neither XDG_DATA_HOME nor HOME is set; name the folder with --channels FOLDER"
    )]
    NoHome,
    #[error("there are no channels in '{}'; open one with `mulberry channel open`", .0.display())]
    Empty(PathBuf),
    #[error("there are several channels; name the one that is meant: {0}")]
    Several(String),
    #[error("there is no channel '{name}' in '{}'; `mulberry channel list` shows those that are", folder.display())]
    Unknown { name: String, folder: PathBuf },
    #[error("there is a channel '{0}' already; choose another --name")]
    Exists(String),
    #[error("'{}' cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("'{}' is damaged: {why}; restore it from a backup, or use the version of the program that wrote it", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the key of the channel was not made")]
    Create(#[source] CreateError),
    #[error("the key of the channel, '{}', cannot be used", path.display())]
    Key { path: PathBuf, source: ReadError },
    #[error("the key of the channel, '{}', does not open", path.display())]
    Open { path: PathBuf, source: OpenError },
    #[error("another process uses the channel '{0}'; wait until it has ended")]
    InUse(String),
}

/// All channels of one person.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
}

/// A channel that we pay from.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    pub(crate) name: String,
    pub(crate) id: ChannelId,
    pub(crate) terms: Terms,
    pub(crate) keys: Keys,
    /// Where the payee answers, as far as it was said.
    pub(crate) payee_url: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    network: Network,
    channel: Account,
    config: ChannelConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payee_url: Option<String>,
}

/// What was signed and seen. Amounts only grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slate {
    version: u32,
    /// The greatest that we signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) voucher: Option<ClaimedVoucher>,
    /// What the payee says that requests were charged, within the voucher.
    #[serde(default)]
    pub(crate) charged: Nano,
    /// The greatest take that the payee showed us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) take: Option<ClaimedTake>,
    /// All that we ever saw paid in and paid out.
    #[serde(default)]
    pub(crate) deposited: Nano,
    #[serde(default)]
    pub(crate) claimed: Nano,
    #[serde(default)]
    pub(crate) stage: Stage,
    /// The day on which something was last signed for requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) day: Option<Day>,
    /// Why nothing is paid from it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) halt: Option<Halt>,
    /// Since when the chain does not show it, where it did.
    #[serde(default, skip_serializing_if = "Absence::is_default")]
    pub(crate) absence: Absence,
}

/// A day of UTC, and what was spent in all when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Day {
    /// Days since 1970-01-01.
    pub(crate) number: i64,
    pub(crate) from: Nano,
}

/// How far a channel has come. No stage is left for an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// Never seen on the chain.
    #[default]
    New,
    Open,
    /// We want the rest: nothing more is signed.
    Leaving,
    /// It was there, and is no more: a tombstone.
    Over,
}

/// Held while something is signed or closed; falls with the value.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "the lock lasts as long as the file is open")] File);

/// A name for a channel: a folder will have it.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(is_good) || text.starts_with('-') {
        return Err(format!("write at most {LONGEST_NAME} small letters, digits and -"));
    }
    Ok(text.to_owned())
}

impl Shelf {
    pub(crate) fn new(named: Option<PathBuf>, home: Option<PathBuf>) -> Result<Self, ShelfError> {
        let folder = named
            .or_else(|| Some(home?.join("channels")))
            .ok_or(ShelfError::NoHome)?;
        Ok(Self { folder })
    }

    /// All channels, by their names.
    pub(crate) fn all(&self) -> Result<Vec<Kept>, ShelfError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.unread(source)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| self.unread(source))?;
            // What begins with a point was not finished, or is somebody else's.
            let named = entry.file_name().into_string().ok().and_then(|text| name(&text).ok());
            if let Some(name) = named {
                all.push(Kept::read(&entry.path(), name)?);
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// The one that is meant: by its name, by its address in any form, or because there is no other.
    pub(crate) fn pick(&self, named: Option<&str>) -> Result<Kept, ShelfError> {
        let mut all = self.all()?;
        let Some(named) = named else {
            return match (all.len(), all.pop()) {
                (1, Some(only)) => Ok(only),
                (_, None) => Err(ShelfError::Empty(self.folder.clone())),
                (_, Some(last)) => {
                    let names = all.iter().chain([&last]).map(|kept| kept.name.as_str());
                    Err(ShelfError::Several(names.collect::<Vec<_>>().join(", ")))
                }
            };
        };
        let is_meant = |kept: &&Kept| {
            let account = address::parse(named, kept.id.network);
            kept.name == named || account.is_ok_and(|account| account == kept.id.account)
        };
        let found = all.iter().find(is_meant).cloned();
        found.ok_or_else(|| ShelfError::Unknown {
            name: named.to_owned(),
            folder: self.folder.clone(),
        })
    }

    /// Makes the folder of a channel, with its key. It is on the disk when this returns, and nothing was paid yet.
    pub(crate) fn keep(
        &self,
        named: Option<String>,
        terms: &Terms,
        seed: &Seed,
        payee_key: [u8; 32],
        payee_url: Option<String>,
        passphrase: &Passphrase,
    ) -> Result<Kept, ShelfError> {
        let keys = Keys {
            payer: seed.public_key(),
            payee: payee_key,
        };
        let account = contract::account(terms, &keys);
        let name = named.unwrap_or_else(|| billing::receipt::to_hex(&account.hash)[..8].to_owned());
        let folder = self.folder.join(&name);
        if folder.symlink_metadata().is_ok() {
            return Err(ShelfError::Exists(name));
        }
        let mark: [u8; 8] = tls::random().ok_or_else(|| written(&folder)(io::ErrorKind::Unsupported.into()))?;
        let beside = self.folder.join(format!(".new-{:016x}", u64::from_be_bytes(mark)));
        private_folder(&beside).map_err(written(&beside))?;
        let kept = Kept {
            folder: beside.clone(),
            name,
            id: ChannelId {
                network: terms.network,
                account,
            },
            terms: *terms,
            keys,
            payee_url,
        };
        let made = kept.write(seed, passphrase).and_then(|()| {
            fs::rename(&beside, &folder).map_err(written(&folder))?;
            File::open(&self.folder)
                .and_then(|folder| folder.sync_all())
                .map_err(written(&folder))
        });
        if let Err(error) = made {
            // Nothing was paid, so that nothing is lost.
            drop(fs::remove_dir_all(&beside));
            return Err(match error {
                ShelfError::Write { .. } if folder.exists() && beside.exists() => ShelfError::Exists(kept.name),
                error => error,
            });
        }
        Ok(Kept { folder, ..kept })
    }

    fn unread(&self, source: io::Error) -> ShelfError {
        ShelfError::Read {
            path: self.folder.clone(),
            source,
        }
    }
}

impl Kept {
    fn write(&self, seed: &Seed, passphrase: &Passphrase) -> Result<(), ShelfError> {
        let secret = Secret::Seed(seed.clone());
        keyfile::create(
            &self.key_path(),
            Purpose::Channel,
            &secret,
            passphrase.bytes(),
            Hardness::USUAL,
        )
        .map_err(ShelfError::Create)?;
        let document = Written {
            version: VERSION,
            network: self.id.network,
            channel: self.id.account,
            config: ChannelConfig::new(&self.terms, &self.keys),
            payee_url: self.payee_url.clone(),
        };
        let path = self.folder.join("channel.json");
        durable::create(&path, &json(&document)).map_err(written(&path))
    }

    fn read(folder: &Path, name: String) -> Result<Self, ShelfError> {
        let path = folder.join("channel.json");
        let document: Written = parse(&path)?.ok_or_else(|| ShelfError::Read {
            path: path.clone(),
            source: io::ErrorKind::NotFound.into(),
        })?;
        let (terms, keys) = document.config.split(document.network);
        if document.version != VERSION || contract::account(&terms, &keys) != document.channel {
            return Err(damaged(&path, "its address does not follow from its terms and keys"));
        }
        Ok(Self {
            folder: folder.to_owned(),
            name,
            id: ChannelId {
                network: document.network,
                account: document.channel,
            },
            terms,
            keys,
            payee_url: document.payee_url,
        })
    }

    /// What was signed and seen so far.
    pub(crate) fn slate(&self) -> Result<Slate, ShelfError> {
        let path = self.folder.join("slate.json");
        let Some(slate) = parse::<Slate>(&path)? else {
            return Ok(Slate::default());
        };
        if slate.version != VERSION {
            return Err(damaged(&path, "it is of another version"));
        }
        let check = |why: String| damaged(&path, &why);
        if let Some(voucher) = &slate.voucher {
            let verified = voucher.verify(&self.keys, &self.id);
            verified.map_err(|refusal: VoucherRefusal| check(refusal.to_string()))?;
        }
        if let Some(take) = &slate.take {
            let verified = take.verify(&self.keys, &self.id);
            verified.map_err(|refusal: TakeRefusal| check(refusal.to_string()))?;
        }
        Ok(slate)
    }

    /// Writes it down. It is on the disk when this returns.
    pub(crate) fn write_slate(&self, slate: &Slate) -> Result<(), ShelfError> {
        let path = self.folder.join("slate.json");
        let slate = Slate {
            version: VERSION,
            ..slate.clone()
        };
        durable::replace(&path, &json(&slate)).map_err(written(&path))
    }

    /// The key that signs vouchers.
    pub(crate) fn open(&self, passphrase: &Passphrase) -> Result<Seed, ShelfError> {
        let path = self.key_path();
        let file = KeyFile::read(&path).map_err(|source| ShelfError::Key {
            path: path.clone(),
            source,
        })?;
        let secret = file.open(Purpose::Channel, passphrase.bytes());
        Ok(secret.map_err(|source| ShelfError::Open { path, source })?.seed())
    }

    /// Nobody else signs or closes while this is held.
    pub(crate) fn lock(&self) -> Result<Lock, ShelfError> {
        let path = self.folder.join("lock");
        let file = File::create(&path).map_err(written(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(fs::TryLockError::WouldBlock) => Err(ShelfError::InUse(self.name.clone())),
            Err(fs::TryLockError::Error(source)) => Err(ShelfError::Write { path, source }),
        }
    }

    /// Of who pays requests from it.
    pub(crate) fn journal_path(&self) -> PathBuf {
        self.folder.join("payer.journal")
    }

    fn key_path(&self) -> PathBuf {
        self.folder.join("key.json")
    }
}

impl Slate {
    /// What we signed and the payee did not charge: what it could take without having earned it.
    pub(crate) fn at_risk(&self) -> Nano {
        let signed = self.signed();
        signed.saturating_sub(self.charged.max(self.claimed))
    }

    pub(crate) fn signed(&self) -> Nano {
        self.voucher.map_or(Nano::ZERO, |voucher| voucher.max)
    }

    /// What the contract can be shown, if the payee ever showed us a take.
    pub(crate) fn settlement(&self, kept: &Kept) -> Option<Result<Settlement, SettlementRefusal>> {
        let take = self.take?;
        let blob = Blob {
            network: kept.id.network,
            voucher: self.voucher.filter(|_| !take.amount.is_zero()),
            take,
        };
        Some(blob.verify(&kept.keys, &kept.id))
    }

    pub(crate) fn reach(&mut self, stage: Stage) {
        self.stage = self.stage.max(stage);
    }
}

fn json<T: Serialize>(document: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(document).expect("texts and numbers are JSON");
    text.push(b'\n');
    text
}

/// `None` where there is no file.
fn parse<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ShelfError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ShelfError::Read {
                path: path.to_owned(),
                source,
            });
        }
    }
    let document = serde_json::from_slice(&bytes).map_err(|error| damaged(path, &error.to_string()))?;
    Ok(Some(document))
}

fn damaged(path: &Path, why: &str) -> ShelfError {
    ShelfError::Damaged {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

fn written(path: &Path) -> impl FnOnce(io::Error) -> ShelfError {
    let path = path.to_owned();
    move |source| ShelfError::Write { path, source }
}

#[cfg(test)]
pub(crate) mod tests;
