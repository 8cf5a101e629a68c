//! PostgreSQL servers for tests: each in a folder of its own, on a port of its own, gone with the test process however that ends.
//!
//! [`Server::shared`] is one for all tests of a process, each of which takes a [`Server::database`] of its own.
//! A test that pauses, stops or kills a server starts one for itself with [`Server::start`].
//! Where the machine has no PostgreSQL, those tests are skipped, and say so on standard error, where the harness does not
//! hide it; with `MULBERRY_TEST_POSTGRES=required` they fail instead.
//!
//! Users: `mulberry` may do everything and needs no password; `guarded` has the password `secret` and no right to anything.

mod binaries;
mod server;

pub use server::{Server, Settings};
