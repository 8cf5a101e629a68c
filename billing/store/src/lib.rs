//! Usage, API keys and the audit log on disk: one SQLite file that the gateway writes and anybody on the machine who may read it can query.
//!
//! [`Store`] opens the file for the gateway, [`Recorder`] takes records without ever blocking, [`KeyStore`] changes keys, [`Reader`] answers questions.
//! A command-line process opens a [`Reader`] or a [`Store`] of its own while the gateway writes.
//!
//! Refused: a file of a newer version, another program's file, a damaged file.
//! None of them is changed or deleted; the error says what to do.
//! Left to others: what a request costs, and records that must not be lost.
//! The last records are lost when the machine loses power, and those in the queue when the process is killed.
//! Records are also lost when the queue is full; these are counted.

mod audit;
mod backup;
mod fault;
mod file;
mod keys;
#[expect(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "the PostgreSQL store begins with it"
)]
mod pool;
mod reader;
mod recorder;
mod rows;
mod schema;
mod store;
mod usage;

#[cfg(test)]
mod tests;

pub use audit::AuditEntry;
pub use backup::BackupError;
pub use file::OpenError;
pub use keys::{By, Grant, KeyError, KeySnapshot, KeyStore, NewKey, Rotated, Sha256, StoredHash, StoredKey};
pub use reader::{ReadError, Reader};
pub use recorder::{Recorder, RecorderTask};
pub use store::Store;
pub use usage::{GroupBy, UsageQuery, UsageRow};
