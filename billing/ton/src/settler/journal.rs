//! What must survive: the jobs, and the message in flight.
//!
//! A journal is whole in itself; the newest replaces the older ones. An older one does no harm either: goals are
//! absolute, and the chain says what was reached meanwhile.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use billing::{
    Nano,
    channel::{Account, Network},
};
use serde::{Deserialize, Serialize};
use tycho_types::{
    boc::Boc,
    cell::{Cell, CellBuilder},
    models::StateInit,
};

use super::{Goal, InFlight, Job, Key, Kind, Pending, Phase};
use crate::{address, wallet::Wallet};

const VERSION: u32 = 1;

/// What must be on disk before anything else happens. It has no private key in it, but a signed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    network: Network,
    wallet: Account,
    pub(super) latest: u32,
    pub(super) in_flight: Option<InFlight>,
    jobs: Vec<Pending>,
}

/// Why a settler cannot go on from a journal, in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error(
        "the journal is not JSON of the right form; if it cannot be restored, remove it: the chain says what is done"
    )]
    Form,
    #[error("the journal is of version {0}; this program knows version {VERSION}")]
    Version(u64),
    #[error("the journal is of another wallet or network")]
    Wallet,
    #[error("the message in the journal was not signed by this wallet")]
    Message,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    network: i32,
    wallet: String,
    /// Unix seconds of the chain.
    latest: u32,
    in_flight: Option<FlightDocument>,
    jobs: Vec<JobDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FlightDocument {
    message: String,
    jobs: Vec<KeyDocument>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyDocument {
    kind: KindDocument,
    channel: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindDocument {
    Settle,
    RequestClose,
    FinishClose,
    Deposit,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobDocument {
    channel: String,
    goal: GoalDocument,
    /// Nanoton.
    amount: Nano,
    body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init: Option<String>,
    phase: PhaseDocument,
    /// What was sent last, which a goal may have outgrown since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent: Option<GoalDocument>,
    sends: u32,
    failures: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GoalDocument {
    Claimed(Nano),
    Deposited(Nano),
    Closing,
    Gone,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PhaseDocument {
    /// Read the channel at this time of the chain or later.
    Unread(u32),
    InFlight,
    Awaiting(u32),
}

impl Journal {
    pub(super) fn of(
        wallet: &Wallet,
        latest: u32,
        in_flight: Option<&InFlight>,
        jobs: &BTreeMap<Key, Pending>,
    ) -> Self {
        Self {
            network: wallet.network(),
            wallet: wallet.account(),
            latest,
            in_flight: in_flight.cloned(),
            jobs: jobs.values().cloned().collect(),
        }
    }

    pub(super) fn read(&self, wallet: &Wallet) -> Result<(Option<InFlight>, BTreeMap<Key, Pending>), JournalError> {
        if (self.network, self.wallet) != (wallet.network(), wallet.account()) {
            return Err(JournalError::Wallet);
        }
        let mut in_flight = self.in_flight.clone();
        if let Some(flying) = &mut in_flight {
            let decoded = wallet.decode(&flying.message).map_err(|_| JournalError::Message)?;
            flying.seqno = decoded.seqno;
            flying.valid_until = decoded.valid_until;
            flying.sent_s = None;
            // It is durable: it was read.
            flying.number = 0;
        }
        let flown = in_flight.as_ref().map(|flying| flying.keys.clone()).unwrap_or_default();
        let jobs = self.jobs.iter().map(|pending| {
            let key = pending.job.key();
            let phase = match pending.phase {
                Phase::InFlight if flown.contains(&key) => Phase::InFlight,
                Phase::Awaiting { since } => Phase::Awaiting { since },
                // Rests are over after a start.
                Phase::Unread { not_before } | Phase::Resting { not_before, .. } => Phase::Unread { not_before },
                Phase::Ready | Phase::InFlight => Phase::Unread {
                    not_before: self.latest,
                },
            };
            let pending = Pending {
                phase,
                asked_s: None,
                ..pending.clone()
            };
            (key, pending)
        });
        Ok((in_flight, jobs.collect()))
    }

    /// As it goes to disk.
    pub fn to_json(&self) -> String {
        let document = Document {
            version: VERSION,
            network: self.network.0,
            wallet: address::raw(&self.wallet),
            latest: self.latest,
            in_flight: self.in_flight.as_ref().map(|flying| FlightDocument {
                message: STANDARD.encode(&flying.message),
                jobs: flying.keys.iter().map(KeyDocument::of).collect(),
            }),
            jobs: self.jobs.iter().map(JobDocument::of).collect(),
        };
        serde_json::to_string(&document).expect("strings and numbers are JSON")
    }

    /// As it comes from disk. That it is of the right wallet is seen when a settler is made of it.
    pub fn from_json(text: &str) -> Result<Self, JournalError> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| JournalError::Form)?;
        match value["version"].as_u64() {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(JournalError::Version(version)),
            None => return Err(JournalError::Form),
        }
        let document: Document = serde_json::from_value(value).map_err(|_| JournalError::Form)?;
        let in_flight = document.in_flight.map(FlightDocument::read).transpose()?;
        let jobs = document.jobs.into_iter().map(JobDocument::read);
        Ok(Self {
            network: Network(document.network),
            wallet: account(&document.wallet)?,
            latest: document.latest,
            in_flight,
            jobs: jobs.collect::<Result<_, _>>()?,
        })
    }
}

impl FlightDocument {
    fn read(self) -> Result<InFlight, JournalError> {
        let keys = self.jobs.into_iter().map(KeyDocument::read);
        Ok(InFlight {
            // Both are in the message; `Journal::read` takes them from there.
            seqno: 0,
            valid_until: 0,
            message: STANDARD.decode(self.message).map_err(|_| JournalError::Form)?,
            keys: keys.collect::<Result<_, _>>()?,
            number: 0,
            sent_s: None,
        })
    }
}

impl KeyDocument {
    fn of(key: &Key) -> Self {
        Self {
            kind: match key.kind {
                Kind::Settle => KindDocument::Settle,
                Kind::RequestClose => KindDocument::RequestClose,
                Kind::FinishClose => KindDocument::FinishClose,
                Kind::Deposit => KindDocument::Deposit,
            },
            channel: address::raw(&key.channel),
        }
    }

    fn read(self) -> Result<Key, JournalError> {
        Ok(Key {
            kind: match self.kind {
                KindDocument::Settle => Kind::Settle,
                KindDocument::RequestClose => Kind::RequestClose,
                KindDocument::FinishClose => Kind::FinishClose,
                KindDocument::Deposit => Kind::Deposit,
            },
            channel: account(&self.channel)?,
        })
    }
}

impl GoalDocument {
    const fn of(goal: Goal) -> Self {
        match goal {
            Goal::Claimed(nano) => Self::Claimed(nano),
            Goal::Deposited(nano) => Self::Deposited(nano),
            Goal::Closing => Self::Closing,
            Goal::Gone => Self::Gone,
        }
    }

    const fn read(self) -> Goal {
        match self {
            Self::Claimed(nano) => Goal::Claimed(nano),
            Self::Deposited(nano) => Goal::Deposited(nano),
            Self::Closing => Goal::Closing,
            Self::Gone => Goal::Gone,
        }
    }
}

impl JobDocument {
    fn of(pending: &Pending) -> Self {
        let job = &pending.job;
        Self {
            channel: address::raw(&job.channel),
            goal: GoalDocument::of(job.goal),
            amount: job.amount,
            body: Boc::encode_base64(&job.body),
            init: job.init.as_ref().map(|init| {
                // It fitted in a message when the job was accepted.
                CellBuilder::build_from(init)
                    .map(Boc::encode_base64)
                    .unwrap_or_default()
            }),
            phase: match pending.phase {
                Phase::Unread { not_before } | Phase::Resting { not_before, .. } => PhaseDocument::Unread(not_before),
                Phase::Ready => PhaseDocument::Unread(0),
                Phase::InFlight => PhaseDocument::InFlight,
                Phase::Awaiting { since } => PhaseDocument::Awaiting(since),
            },
            sent: pending.sent.map(GoalDocument::of),
            sends: pending.sends,
            failures: pending.failures,
        }
    }

    fn read(self) -> Result<Pending, JournalError> {
        let init = self
            .init
            .map(|text| cell(&text)?.parse::<StateInit>().map_err(|_| JournalError::Form));
        Ok(Pending {
            job: Job {
                channel: account(&self.channel)?,
                goal: self.goal.read(),
                amount: self.amount,
                body: cell(&self.body)?,
                init: init.transpose()?,
            },
            phase: match self.phase {
                PhaseDocument::Unread(not_before) => Phase::Unread { not_before },
                PhaseDocument::InFlight => Phase::InFlight,
                PhaseDocument::Awaiting(since) => Phase::Awaiting { since },
            },
            sent: self.sent.map(GoalDocument::read),
            sends: self.sends,
            failures: self.failures,
            asked_s: None,
            is_told: false,
        })
    }
}

fn account(text: &str) -> Result<Account, JournalError> {
    address::parse(text, Network::TESTNET).map_err(|_| JournalError::Form)
}

fn cell(text: &str) -> Result<Cell, JournalError> {
    Boc::decode_base64(text).map_err(|_| JournalError::Form)
}
