//! The gateway between real clients and upstreams, all as processes. One binary, one module a subject.

mod admin;
mod bad_input;
mod balance;
mod cancel;
mod clocks;
mod config_cli;
mod count;
mod demo;
mod failover;
mod faults;
mod flow;
mod idempotency;
mod lifecycle;
mod limits;
mod llama;
mod metering;
mod metrics;
mod oidc;
mod passthrough;
mod privacy;
mod record;
mod reload;
mod scripted;
mod sdk_rust;
mod uploads;
mod wire;
