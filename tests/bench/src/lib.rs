//! The bench smoke: what a request and a chunk cost the gateway, in CPU time, beside nginx.
//!
//! Two programs share this crate. `bench-upstream` plays the inference server, `bench-load` asks
//! it through a proxy, checks every answer and reads the proxy's own CPU time from `/proc`.
//! The script `smoke` starts both, nginx and the gateway, and pins them to cores.
//!
//! Both ends speak HTTP/1.1 by hand ([`http1`]), on one thread: whatever they spend is spent on
//! the same machine as the proxy, so they must be much cheaper than what they measure.
//! They refuse to be fooled: an answer counts only if it is complete, in order, about this very
//! request, and reports the right usage ([`verdict`]).
//!
//! Beside it `bench-billing` measures what the ledger can do ([`captures`]), and `bench-vouchers` what a voucher costs
//! ([`vouchers`]); they need no gateway.

pub mod captures;
pub mod histogram;
pub mod http1;
pub mod load;
pub mod process;
pub mod question;
pub mod run;
pub mod table;
pub mod upstream;
pub mod verdict;
pub mod vouchers;
