//! What the end-to-end tests stand on: real processes, each test with a world of its own.
//!
//! A test makes a [`World`], starts upstreams and gateways in it, and speaks to them over sockets. All ports are free
//! ones, all files lie in one directory of the world's, and every process ends with its guard. The directory is
//! removed at the end, unless the test failed: then its path is printed, with the logs of all processes in it.
//!
//! Starting a process and asking a mock block the thread for some milliseconds; the tests' own traffic is
//! asynchronous. Nothing here sleeps in the hope that something has happened by then: see [`wait::eventually`].

pub mod client;
pub mod clocks;
pub mod collector;
pub mod connect;
pub mod dice;
pub mod gateway;
pub mod llama;
pub mod mock;
pub mod namespace;
pub mod papers;
pub mod pccs;
pub mod ports;
pub mod process;
pub mod raw;
pub mod rig;
pub mod rogue;
pub mod scripted;
pub mod soft;
pub mod spender;
pub mod sse;
pub mod tap;
pub mod tape;
pub mod wait;
pub mod worker;
pub mod world;

pub use client::{Answer, Envelope};
pub use clocks::Clocks;
pub use collector::Collector;
pub use connect::Connect;
pub use gateway::Gateway;
pub use llama::Llama;
pub use mock::Mock;
pub use papers::Papers;
pub use pccs::Pccs;
pub use rig::Rig;
pub use rogue::{Rogue, Visit};
pub use scripted::Scripted;
pub use tap::Tap;
pub use wait::eventually;
pub use worker::{Worker, WorkerKey};
pub use world::World;
