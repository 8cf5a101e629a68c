//! The channel contract in the Rust virtual machine, beside what the official executor said of the same messages.

mod accepting;
mod books;
mod codec;
mod fixtures;
mod machine;
mod random;
mod storm;
