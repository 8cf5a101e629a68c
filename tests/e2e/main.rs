//! The gateway between real clients and upstreams, all as processes. One binary, one module a subject.

mod bad_input;
mod faults;
mod wire;
mod record;
mod failover;
mod flow;
mod lifecycle;
mod cancel;
mod clocks;
mod uploads;
mod metering;
mod scripted;
mod llama;
mod balance;
