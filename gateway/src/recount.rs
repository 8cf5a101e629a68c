//! Recount: what upstreams claim is counted anew with the model's own tokenizer, off a request's way.
//!
//! Only for accounts that are charged, on models with a tokenizer. The text of the answer is kept as it passes, in
//! memory and bounded, counted by one worker beside the requests, and forgotten.
//! An over-claim gives money back and is a strike against the upstream; it never costs more than was captured.
//! Where nothing can be counted (no text, too long, too many at once) the claim stands and a metric says so.

pub(crate) use count::Texts;
pub(crate) use transcript::Transcript;
pub(crate) use vocabulary::{LoadError, Vocabularies, Vocabulary};
pub(crate) use worker::{Counting, Pending, Recounts, recounts};

mod count;
mod transcript;
mod vocabulary;
mod worker;
