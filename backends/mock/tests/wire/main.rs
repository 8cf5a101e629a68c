//! The mock over real sockets.

mod client;
mod dialects;
mod endpoints;
mod faults;
mod hostile;
mod instrument;
