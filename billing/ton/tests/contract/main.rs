//! The channel contract in the Rust virtual machine, beside what the official executor said of the same messages.

mod accepting;
mod asking;
mod books;
mod codec;
mod document;
mod fixtures;
mod jetton;
mod machine;
mod prices;
mod random;
mod registry;
mod storm;
