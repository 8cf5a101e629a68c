//! The gateway between real clients and upstreams, all as processes. One binary, one module a subject.

mod wire;
