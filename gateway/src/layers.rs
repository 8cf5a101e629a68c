//! The layers of the Edge and Call floors, one file each, in stack order.

pub(crate) mod admit;
pub(crate) mod body_limit;
pub(crate) mod catch_panic;
pub(crate) mod cors;
pub(crate) mod observe;
pub(crate) mod request_id;
pub(crate) mod rescue;
pub(crate) mod route;
pub(crate) mod trace;
pub(crate) mod via;

pub(crate) mod authenticate;
pub(crate) mod decode;
pub(crate) mod failover;
pub(crate) mod idempotency;
pub(crate) mod meter;
pub(crate) mod reserve;
pub(crate) mod resolve;
pub(crate) mod throttle;
pub(crate) mod throttle_tokens;
