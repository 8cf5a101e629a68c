//! What a gateway writes down of what it pays to workers, and how it comes back from it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use attestation::Hex;
use billing::{
    Nano,
    channel::{
        Account, Payer, Signer,
        payer::{self, PayerPolicy, Phase, Record},
    },
};
use serde::{Deserialize, Serialize};

use super::payee::{Payee, PayeeId};
use crate::{
    frames::{Frames, FramesError},
    payments::key::{self, KeyError},
    wallet_file::private_folder,
};

/// One line of the journal; a frame has those of one moment. Amounts in nanoton.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "made and moved once")]
pub(super) enum Line {
    /// What is owed to this worker that is in no channel.
    Owed { payee: Hex<32>, amount: Nano },
    Channel {
        payee: Hex<32>,
        account: Account,
        record: Record,
    },
}

/// Why nothing can be kept of what workers are paid, in order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error("the folder '{}' cannot be used", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another gateway pays workers out of '{}'; give each its own data_dir", .0.display())]
    InUse(PathBuf),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Frames(#[from] FramesError),
    #[error("the journal has records of the channel {account} that make no channel")]
    Restore {
        account: Account,
        source: payer::RestoreRefusal,
    },
    #[error("the thread that writes the journal cannot be made")]
    Thread(#[source] io::Error),
}

/// The files of what workers are paid: `wages` in the data directory.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join("wages"))
    }

    /// Nobody else pays out of it while this is held.
    pub(super) fn lock(&self) -> Result<File, JournalError> {
        let failed = |source| JournalError::Folder {
            path: self.0.clone(),
            source,
        };
        private_folder(&self.0).map_err(failed)?;
        let file = File::create(self.0.join("lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(JournalError::InUse(self.0.clone())),
            Err(fs::TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The key that signs vouchers; made if there is none.
    pub(super) fn signer(&self) -> Result<Signer, JournalError> {
        Ok(key::read_or_make(&self.0.join("payer.key"))?)
    }

    /// Of the settler, which pays gas and deposits.
    pub(super) fn payments(&self) -> PathBuf {
        self.0.join("payments.json")
    }
}

pub(super) type Payees = BTreeMap<PayeeId, Payee>;

/// Opens the journal, shortened where it has grown; with the lines of channels that are over.
pub(super) fn open(
    folder: &Folder,
    signer: &Arc<Signer>,
    policy: PayerPolicy,
    now_ms: i64,
) -> Result<(Frames, Payees, Vec<Vec<Line>>), JournalError> {
    let opened = Frames::open::<Vec<Line>>(&folder.0.join("journal"))?;
    let mut frames = opened.frames;
    if opened.torn > 0 {
        tracing::info!(bytes = opened.torn, "the end of the journal was torn, and is cut off");
    }
    let count = opened.records.len();
    let (payees, over) = restore(opened.records, signer, policy, now_ms)?;
    let shorter = snapshot(&payees, &over);
    if count > shorter.len().saturating_mul(2).saturating_add(1000) {
        frames.replace(shorter.iter())?;
    }
    Ok((frames, payees, over))
}

/// Everybody as they stood at the end, and the lines of channels that are over.
fn restore(
    frames: Vec<Vec<Line>>,
    signer: &Arc<Signer>,
    policy: PayerPolicy,
    now_ms: i64,
) -> Result<(Payees, Vec<Vec<Line>>), JournalError> {
    let mut payees = Payees::new();
    let mut over = Vec::new();
    let mut records: BTreeMap<Account, (PayeeId, Vec<Record>)> = BTreeMap::new();
    for line in frames.into_iter().flatten() {
        match line {
            Line::Owed { payee, amount } => {
                payees.entry(payee.0).or_insert_with(|| Payee::new(payee.0)).owed = amount;
            }
            Line::Channel { payee, account, record } => {
                let (_, known) = records.entry(account).or_insert_with(|| (payee.0, Vec::new()));
                known.push(record);
            }
        }
    }
    for (account, (key, records)) in records {
        let payer = Payer::restore(records, signer.clone(), policy, now_ms);
        let payer = payer.map_err(|source| JournalError::Restore { account, source })?;
        let payee = payees.entry(key).or_insert_with(|| Payee::new(key));
        payee.is_quarantined |= payer.phase() == Phase::Quarantined;
        if payer.phase() == Phase::Gone {
            payee.lost = payee.lost.saturating_add(payer.loss());
            payee.buried.insert(account);
            over.extend(lines(key, &payer));
        } else {
            payee.channel = Some(payer);
        }
    }
    for payee in payees.values_mut() {
        payee.restored(now_ms);
    }
    Ok((payees, over))
}

pub(super) fn lines(payee: PayeeId, payer: &Payer) -> Vec<Vec<Line>> {
    let account = payer.channel().id.account;
    let line = |record| {
        vec![Line::Channel {
            payee: Hex(payee),
            account,
            record,
        }]
    };
    payer.snapshot().into_iter().map(line).collect()
}

/// The same state, without the history.
pub(super) fn snapshot(payees: &Payees, tombstones: &[Vec<Line>]) -> Vec<Vec<Line>> {
    let mut frames = tombstones.to_vec();
    for payee in payees.values() {
        frames.push(vec![Line::Owed {
            payee: Hex(payee.key),
            amount: payee.owed,
        }]);
        frames.extend(payee.channel.iter().flat_map(|payer| lines(payee.key, payer)));
    }
    frames
}
