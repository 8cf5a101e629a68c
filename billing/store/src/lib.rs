//! Usage, API keys and the audit log on disk: one SQLite file that the gateway writes and anybody on the machine who may read it can query, or one PostgreSQL database that several gateways share.
//!
//! [`Store`] opens the database for the gateway, [`Recorder`] takes records without ever blocking, [`KeyStore`] changes keys, [`Reader`] answers questions.
//! A command-line process opens a [`Reader`] or a [`Store`] of its own while the gateway writes.
//!
//! Refused: a database of a newer version, another program's, a damaged file, a PostgreSQL that is too old or only reads.
//! None of them is changed or deleted; the error says what to do.
//! Left to others: what a request costs, and records that must not be lost.
//! The last records are lost when the machine loses power, and those in the queue when the process is killed.
//! Records are also lost when the queue is full; these are counted.

mod audit;
mod backup;
mod fault;
mod fields;
mod file;
mod journal;
mod keys;
pub mod ledger;
mod location;
mod opening;
mod pool;
mod reader;
mod recorder;
mod rows;
mod schema;
mod server;
mod store;
mod usage;

#[cfg(test)]
mod tests;

pub use audit::AuditEntry;
pub use backup::BackupError;
pub use file::private_folder;
pub use journal::{Journal, JournalError, Writer};
pub use keys::{By, Grant, KeyError, KeySnapshot, KeyStore, NewKey, Rotated, Sha256, StoredHash, StoredKey};
pub use ledger::{ChannelStore, LedgerFault, LedgerStore, SealedCharge};
pub use location::{Location, PgUrl, PgUrlError};
pub use opening::OpenError;
pub use reader::{ReadError, Reader};
pub use recorder::{Recorder, RecorderTask};
pub use store::Store;
pub use usage::{GroupBy, UsageQuery, UsageRow};
