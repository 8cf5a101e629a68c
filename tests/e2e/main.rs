//! The gateway between real clients and upstreams, all as processes. One binary, one module a subject.

mod bad_input;
mod balance;
mod cancel;
mod clocks;
mod count;
mod demo;
mod dialects;
mod failover;
mod faults;
mod flow;
mod lifecycle;
mod llama;
mod metering;
mod passthrough;
mod privacy;
mod record;
mod scripted;
mod sdk_rust;
mod uploads;
mod wire;
