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
        payer::{PayerPolicy, Phase, Record},
    },
};
use serde::{Deserialize, Serialize};

use super::{
    payee::{Payee, PayeeId},
    quarantine::{Mark, Quarantine},
};
use crate::{
    frames::{Frames, FramesError},
    layers::rescue::Chain,
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
    /// No request goes to whoever has this mark, because of this worker.
    Quarantined { payee: Hex<32>, mark: Mark },
    /// A person lifted all of that.
    Lifted { payee: Hex<32> },
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

/// All that the journal says.
#[derive(Default)]
pub(super) struct Restored {
    pub(super) payees: Payees,
    pub(super) quarantine: Quarantine,
    /// The lines of channels that are over, and of those that cannot be restored.
    pub(super) set_apart: Vec<Vec<Line>>,
}

/// Opens the journal, shortened where it has grown.
pub(super) fn open(
    folder: &Folder,
    signer: &Arc<Signer>,
    policy: PayerPolicy,
    now_ms: i64,
) -> Result<(Frames, Restored), JournalError> {
    let opened = Frames::open::<Vec<Line>>(&folder.0.join("journal"))?;
    let mut frames = opened.frames;
    if opened.torn > 0 {
        tracing::info!(bytes = opened.torn, "the end of the journal was torn, and is cut off");
    }
    let count = opened.records.len();
    let restored = restore(opened.records, signer, policy, now_ms);
    let shorter = snapshot(&restored.payees, &restored.quarantine, &restored.set_apart);
    if count > shorter.len().saturating_mul(2).saturating_add(1000) {
        frames.replace(shorter.iter())?;
    }
    Ok((frames, restored))
}

/// Everybody as they stood at the end.
fn restore(frames: Vec<Vec<Line>>, signer: &Arc<Signer>, policy: PayerPolicy, now_ms: i64) -> Restored {
    let mut restored = Restored::default();
    let Restored {
        payees,
        quarantine,
        set_apart,
    } = &mut restored;
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
            Line::Quarantined { payee, mark } => drop(quarantine.add(payee.0, mark)),
            Line::Lifted { payee } => quarantine.lift(&payee.0),
        }
    }
    for (account, (key, records)) in records {
        let payee = payees.entry(key).or_insert_with(|| Payee::new(key));
        let payer = match Payer::restore(records.clone(), signer.clone(), policy, now_ms) {
            Ok(payer) => payer,
            Err(error) => {
                tracing::error!(channel = %account, payee = %Hex(key), cause = %Chain(&error), "the journal has records of a channel to a worker that make no channel; nothing is signed or done for it. Give back the payer.key or the version that made it");
                payee.buried.insert(account);
                set_apart.extend(
                    records
                        .into_iter()
                        .map(|record| vec![channel_line(key, account, record)]),
                );
                continue;
            }
        };
        if payer.phase() == Phase::Gone {
            payee.lost = payee.lost.saturating_add(payer.loss());
            payee.buried.insert(account);
            set_apart.extend(lines(key, &payer));
        } else {
            payee.channel = Some(payer);
        }
    }
    for payee in payees.values_mut() {
        payee.is_quarantined = quarantine.has(&payee.key);
        payee.restored();
    }
    restored
}

fn channel_line(payee: PayeeId, account: Account, record: Record) -> Line {
    let payee = Hex(payee);
    Line::Channel { payee, account, record }
}

pub(super) fn lines(payee: PayeeId, payer: &Payer) -> Vec<Vec<Line>> {
    let account = payer.channel().id.account;
    let line = |record| vec![channel_line(payee, account, record)];
    payer.snapshot().into_iter().map(line).collect()
}

/// The same state, without the history.
pub(super) fn snapshot(payees: &Payees, quarantine: &Quarantine, set_apart: &[Vec<Line>]) -> Vec<Vec<Line>> {
    let mut frames = set_apart.to_vec();
    frames.extend(quarantine.iter().map(|(mark, payee)| {
        let (payee, mark) = (Hex(*payee), mark.clone());
        vec![Line::Quarantined { payee, mark }]
    }));
    for payee in payees.values() {
        frames.push(vec![Line::Owed {
            payee: Hex(payee.key),
            amount: payee.owed,
        }]);
        frames.extend(payee.channel.iter().flat_map(|payer| lines(payee.key, payer)));
    }
    frames
}
