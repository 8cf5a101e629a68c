//! The gateway between real clients and upstreams, all as processes. One binary, one module a subject.

mod faults;
mod wire;
mod record;
mod failover;
mod flow;
mod lifecycle;
mod cancel;
