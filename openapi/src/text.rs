//! What was said, as text: the prompt of a request and the words of an answer, for whoever counts tokens anew.
//!
//! Read after the fact, from the bytes as the client sent and received them, so that nothing on a request's way builds
//! it. Known members alone count: padding in a member that clients do not read is no text.
//! What is not text (images, sound, files, earlier responses, hidden choices) makes a side *uncountable*, which is not
//! the same as empty.
//! These types hold content: they have no `Display`, and `Debug` prints lengths.

mod answer;
mod lenient;
mod prompt;

pub use answer::{Kind, Said};
pub use prompt::Asked;
