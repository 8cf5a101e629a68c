//! The wire: what clients and upstreams say to each other, and nothing else.
//!
//! One rule holds throughout: **bytes pass, they are not rebuilt**.
//! A request or a chunk is read through a thin view that borrows from the bytes; what we do not model survives
//! untouched, and the few members that must change are [spliced](splice) into the original.
//! The one place that does rebuild is [`dialect`], for upstreams and clients that do not speak OpenAI's wire.
//! No I/O, no async runtime, no clock.
//!
//! | module | what it reads or writes |
//! |---|---|
//! | [`endpoint`] | which path is which operation |
//! | [`request`] | the members of a request that routing and pricing need |
//! | [`splice`] | the named edits of a request body |
//! | [`sse`] | server-sent events: where one ends and the next begins |
//! | [`stream`] | a stream of chunks: what it says, whether it is whole, what must be repaired |
//! | [`response`] | a whole answer: usage, a disguised error |
//! | [`text`] | the words of a request and of an answer, for a recount |
//! | [`usage`] | token usage as upstreams spell it |
//! | [`error`] | the error envelope, and other people's errors made into it |
//! | [`model`] | the model list |
//! | [`redact`] | content that must not be printed |
//! | [`dialect`] | translation to and from Anthropic's and Gemini's wire |
//! | [`document`] | the OpenAPI document and the page to try it |

pub mod dialect;
pub mod document;
pub mod endpoint;
pub mod error;
pub mod json;
pub mod model;
pub mod redact;
pub mod request;
pub mod response;
pub mod splice;
pub mod sse;
pub mod stream;
pub mod text;
pub mod usage;
