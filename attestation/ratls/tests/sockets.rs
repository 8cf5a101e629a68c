//! Handshakes and channels over real sockets, with a software TDX where a guest is needed.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

#[path = "sockets/bundle.rs"]
mod bundle;
#[path = "sockets/channel.rs"]
mod channel;
#[path = "sockets/cocoon.rs"]
mod cocoon;
#[path = "sockets/document.rs"]
mod document;
#[path = "sockets/forge.rs"]
mod forge;
#[path = "sockets/gpu.rs"]
mod gpu;
#[path = "sockets/handshake.rs"]
mod handshake;
#[path = "sockets/renewal.rs"]
mod renewal;
#[path = "sockets/resumption.rs"]
mod resumption;
#[path = "sockets/streams.rs"]
mod streams;
#[path = "sockets/time.rs"]
mod time;
#[path = "sockets/world.rs"]
mod world;
