//! TLS between nodes that prove what they are: certificates with evidence, verifiers for both directions, channel binding.
//!
//! - [`Identity`] is our certificate: a TLS key, and evidence that names it. [`Identities`] renews it while it is in use.
//! - [`Trust`] is what we accept: policy, collateral, anchor. [`Endpoint`] connects and accepts under both.
//! - [`channel`] asks the peer of an open connection for fresh evidence of this very connection, again and again.
//!
//! Two layers, because one is not enough. The evidence in the certificate says which code holds which key; it can be
//! replayed by whoever has the key. The evidence on the channel says that it is this connection, now.
//!
//! Refused by construction: TLS below 1.3, resumption in any form (a resumed session skips the verifier), intermediate
//! certificates, a peer that shows nothing. No verifier does I/O: what is unknown is refused, and asked for elsewhere.

mod certificate;
mod connection;
mod endpoint;
mod identity;
mod key;
mod limit;
mod peer;
mod provider;
mod trust;
mod verifier;

pub mod channel;
pub mod collateral;
pub mod gate;

pub use certificate::{Certificate, CertificateRefusal, MAX_LEN, Shown};
pub use connection::{Connection, Handle};
pub use endpoint::{Admit, DEADLINE, Endpoint, HandshakeError};
pub use identity::{Draft, Format, GpuAttester, Identities, Identity, IssueError, Keys, LIFETIME, NoProof};
pub use key::{BadKey, Key, KeyKind, PublicKey};
pub use limit::{ADDRESSES, BURST, REFILL};
pub use peer::{Expect, Peer, PeerRefusal};
pub use trust::{BadPolicy, Trust, WANTED, Wanted};
