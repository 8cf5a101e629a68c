//! The mock over real sockets.

mod client;
mod endpoints;
mod faults;
mod hostile;
mod instrument;
