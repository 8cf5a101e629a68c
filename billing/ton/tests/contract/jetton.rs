//! The contract for jettons: with the jetton of TON's standard, and with one of ours that can be told to fail.

mod accepting;
mod books;
mod codec;
mod document;
mod fixtures;
mod storm;
mod world;
