//! Choosing an upstream and calling it.
//!
//! ```text
//! Model ─▶ Route ─▶ Backend ─▶ Upstream ─▶ Attempt
//!          which    equal       one         one try,
//!          ones     members     address     one answer
//! ```
//!
//! The Attempt floor is [`stack`]: Balance, RequireVerdict, Encode, Send, each in its own file.
//! This package never hears of money: an [`Attempt`](attempt::Attempt) carries two opaque hooks through which the
//! gateway may rank candidates and admit one.

pub mod answer;
pub mod attempt;
pub mod backend;
pub mod balance;
pub mod body;
pub mod breaker;
pub mod client;
pub mod clock;
pub mod encode;
pub mod error;
pub mod headers;
pub mod health;
pub mod kind;
pub mod route;
pub mod send;
pub mod serve;
pub mod stack;
pub mod statement;
pub mod trace;
pub mod translation;
pub mod upload;
pub mod upstream;
pub mod verdict;
pub mod worker;
