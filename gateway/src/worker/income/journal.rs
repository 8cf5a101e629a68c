//! What a worker writes down of its earnings, and how it comes back from it.
//!
//! ```text
//! payee.key           the key that signs what is taken, made at the first start
//! heard.NETWORK.HASH  who wrote to the payout address, and how far that was read; one for each address
//! journal             each channel's records, and what each gateway owes beyond them
//! settlements/*.json  what may be shown to the contract, for `mulberry watch` and `mulberry channel settle`
//! lock                held by the worker that earns
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use attestation::Hex;
use billing::{
    Nano,
    channel::{
        Account, Network, Payee, Signer,
        payee::{self, PayeePolicy, Phase, Record},
    },
    receipt::to_hex,
};
use serde::{Deserialize, Serialize};

use crate::{
    config::KeyDigest,
    frames::{Frames, FramesError},
    payments::key::{self, KeyError},
    wallet_file::private_folder,
};

/// One line of the journal; a frame has those of one moment. Amounts in nanoton.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "made and moved once")]
pub(crate) enum Line {
    /// What this gateway owes that is in no channel.
    Owed {
        gateway: Hex<32>,
        amount: Nano,
        /// Where it was reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<String>,
    },
    Channel {
        gateway: Hex<32>,
        account: Account,
        record: Record,
    },
}

/// Why earnings cannot be kept, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("the folder of earnings, '{}', cannot be used", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another process earns in '{}'; give each worker its own --earnings", .0.display())]
    InUse(PathBuf),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Frames(#[from] FramesError),
    #[error("the journal has records of the channel {account} that make no channel")]
    Restore {
        account: Account,
        source: payee::RestoreRefusal,
    },
    #[error("the thread that writes the journal cannot be made")]
    Thread(#[source] io::Error),
}

/// A channel that pays us, and which gateway opened it.
pub(crate) struct Kept {
    pub(crate) gateway: KeyDigest,
    pub(crate) payee: Payee,
    /// The gateway has asked where we stand, and may take no work in this channel until it says where it does.
    pub(crate) is_asked: bool,
    /// What was paid out, and since when that is so though more is signed.
    pub(crate) settled: Option<(Nano, i64)>,
    /// When a person was told that it closes.
    pub(crate) told_ms: Option<i64>,
}

impl Kept {
    pub(crate) const fn new(gateway: KeyDigest, payee: Payee) -> Self {
        Self {
            gateway,
            payee,
            is_asked: false,
            settled: None,
            told_ms: None,
        }
    }
}

/// What was earned until now.
#[derive(Default)]
pub(crate) struct Restored {
    pub(crate) channels: BTreeMap<Account, Kept>,
    pub(crate) buried: BTreeSet<Account>,
    pub(crate) owed: BTreeMap<KeyDigest, Nano>,
    pub(crate) names: BTreeMap<KeyDigest, String>,
}

/// The files of one worker's earnings.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Nobody else earns there while this is held.
    pub(crate) fn lock(&self) -> Result<File, JournalError> {
        let failed = |source| JournalError::Folder {
            path: self.0.clone(),
            source,
        };
        private_folder(&self.settlements()).map_err(failed)?;
        let file = File::create(self.0.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(JournalError::InUse(self.0.clone())),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Whether there is a key, of an earlier start.
    pub(crate) fn has_key(&self) -> bool {
        self.0.join("payee.key").exists()
    }

    /// Who wrote to the payout address.
    pub(crate) fn heard(&self, network: Network, payout: &Account) -> PathBuf {
        let [a, b, c, d, ..] = payout.hash;
        self.0.join(format!("heard.{}.{}", network.0, to_hex(&[a, b, c, d])))
    }

    /// The key that signs what is taken; made if there is none.
    pub(crate) fn signer(&self) -> Result<Signer, JournalError> {
        Ok(key::read_or_make(&self.0.join("payee.key"))?)
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    pub(crate) fn settlements(&self) -> PathBuf {
        self.0.join("settlements")
    }

    pub(crate) fn settlement(&self, account: &Account) -> PathBuf {
        let name = format!("{}.json", billing::receipt::to_hex(&account.hash));
        self.settlements().join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// All channels of a journal, as they stood at its end.
pub(crate) fn restore(
    frames: Vec<Vec<Line>>,
    signer: &Arc<Signer>,
    policy: PayeePolicy,
    now_ms: i64,
) -> Result<Restored, JournalError> {
    let mut restored = Restored::default();
    let mut records: BTreeMap<Account, (KeyDigest, Vec<Record>)> = BTreeMap::new();
    for line in frames.into_iter().flatten() {
        match line {
            Line::Owed { gateway, amount, at } => {
                let gateway = KeyDigest(gateway.0);
                restored.owed.insert(gateway, amount);
                restored.owed.retain(|_, owed| !owed.is_zero());
                if let Some(at) = at {
                    restored.names.insert(gateway, at);
                }
            }
            Line::Channel {
                gateway,
                account,
                record,
            } => {
                let entry = records.entry(account);
                let (of, known) = entry.or_insert_with(|| (KeyDigest(gateway.0), Vec::new()));
                // Whoever offered it first need not be who pays from it.
                *of = KeyDigest(gateway.0);
                known.push(record);
            }
        }
    }
    for (account, (gateway, records)) in records {
        let payee = Payee::restore(records, signer.clone(), policy, now_ms);
        let payee = payee.map_err(|source| JournalError::Restore { account, source })?;
        if payee.phase() == Phase::Gone {
            restored.buried.insert(account);
        }
        restored.channels.insert(account, Kept::new(gateway, payee));
    }
    Ok(restored)
}

/// The same state, without the history. Tombstones stay.
pub(crate) fn snapshot(
    channels: &BTreeMap<Account, Kept>,
    owed: &BTreeMap<KeyDigest, Nano>,
    names: &BTreeMap<KeyDigest, String>,
) -> Vec<Vec<Line>> {
    let of_channel = |(account, kept): (&Account, &Kept)| {
        let (gateway, account) = (Hex(kept.gateway.0), *account);
        let line = move |record| {
            vec![Line::Channel {
                gateway,
                account,
                record,
            }]
        };
        kept.payee.snapshot().into_iter().map(line).collect::<Vec<_>>()
    };
    let owed = owed.iter().map(|(gateway, amount)| {
        vec![Line::Owed {
            gateway: Hex(gateway.0),
            amount: *amount,
            at: names.get(gateway).cloned(),
        }]
    });
    channels.iter().flat_map(of_channel).chain(owed).collect()
}

/// Opens the journal, shortened where it has grown.
pub(crate) fn open(
    folder: &Folder,
    signer: &Arc<Signer>,
    policy: PayeePolicy,
    now_ms: i64,
) -> Result<(Frames, Restored), JournalError> {
    let opened = Frames::open::<Vec<Line>>(&folder.journal())?;
    let mut frames = opened.frames;
    if opened.torn > 0 {
        tracing::info!(bytes = opened.torn, "the end of the journal was torn, and is cut off");
    }
    let count = opened.records.len();
    let restored = restore(opened.records, signer, policy, now_ms)?;
    let shorter = snapshot(&restored.channels, &restored.owed, &restored.names);
    if count > shorter.len().saturating_mul(2).saturating_add(1000) {
        frames.replace(shorter.iter())?;
    }
    Ok((frames, restored))
}
