//! The peer of an open connection proves, while it is open, that it is the one of the certificate, on this connection, now.
//!
//! Evidence in a certificate commits to a key, not to a session: whoever gets hold of a key that some genuine guest once
//! had can show that guest's evidence elsewhere, and divert what is meant for it. So the verifier asks on the connection
//! itself: a nonce, and the answer is a fresh quote whose report data name this nonce, the TLS exporter of this very
//! connection, the role, and both keys ([`attestation::binding::Channel`]). Relayed to another connection the exporter
//! differs; sent back to its sender role and keys do; recorded and played again the nonce does.
//!
//! The first answer is due in [`FIRST_ANSWER`]. The question comes again after [`RENEW`], the verdict ends
//! [`LIFETIME`] after the question that it answers; then the peer is *late*: it gets no new requests, and [`GRACE`]
//! later the connection is cut. On a change of what we trust the last answer is appraised again at once, and a new one
//! is asked for. A refusal cuts at once. No connection outlives the claims of either side.
//!
//! A peer without a quote signs the same report data with its TLS key. That binds keys and connection and proves nothing
//! about its machine: tier `open`.
//!
//! This module does no I/O and reads no clock: [`Party::step`] takes an event and a time and returns effects.
//! [`Binder`] is the shell beside it.

mod attested;
mod challenger;
mod cut;
mod drive;
mod message;
mod party;
mod responder;

use std::{sync::Arc, time::Duration};

use attestation::Hex;

pub use attested::Attested;
pub(crate) use attested::{Question, Said};
pub use cut::Cut;
pub use drive::{Binder, Outgoing};
pub use message::{Answer, BadLine, Bytes, MAX_LINE, Message, Proof};
pub use party::{Event, Party};

/// For the first answer. A quote takes a second where hardware is idle, and its quoting service makes one at a time.
pub const FIRST_ANSWER: Duration = Duration::from_secs(30);
/// From one question to the next.
pub const RENEW: Duration = Duration::from_secs(7 * 60);
/// Of a verdict, from the question that it answers.
pub const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// From the end of a verdict to the end of the connection.
pub const GRACE: Duration = Duration::from_secs(30);

/// By both clocks: that of the day for dates, and one that only goes forward for waits. A guest's host sets the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub unix: u64,
    /// Since the connection began.
    pub elapsed: Duration,
}

impl Now {
    /// The moment that is this much later by both.
    pub fn after(self, wait: Duration) -> Self {
        Self {
            unix: self.unix.saturating_add(wait.as_secs()),
            elapsed: self.elapsed.saturating_add(wait),
        }
    }

    /// Whether that moment has come by either clock, so that no clock that stands still or is set back extends anything.
    fn reached(self, moment: Self) -> bool {
        self.elapsed >= moment.elapsed || self.unix >= moment.unix
    }

    /// The moment of a date.
    fn at_unix(self, unix: u64) -> Self {
        Self {
            unix,
            elapsed: self
                .elapsed
                .saturating_add(Duration::from_secs(unix.saturating_sub(self.unix))),
        }
    }

    fn earlier(self, other: Self) -> Self {
        Self {
            unix: self.unix.min(other.unix),
            elapsed: self.elapsed.min(other.elapsed),
        }
    }
}

/// What a machine needs from the TLS connection that it binds.
pub trait Session: Send + Sync {
    /// The exporter under [`attestation::binding::EXPORTER_LABEL`] with this context; `None` once the connection is gone.
    fn export(&self, nonce: &[u8; 32]) -> Option<[u8; 32]>;
    /// 32 bytes that nobody can foresee; `None` where the system has none.
    fn nonce(&self) -> Option<[u8; 32]>;
}

/// What the shell does next.
#[derive(Clone, Debug)]
pub enum Effect {
    Send(Message),
    /// Say what we are: [`Identity::prove`](crate::Identity::prove), then [`Event::Proved`].
    Prove {
        nonce: Hex<32>,
        report_data: [u8; 64],
    },
    Footing(Footing),
    /// After what is to be sent. Nothing comes after this.
    Cut(Cut),
}

/// Where a connection stands.
#[derive(Clone, Debug, Default)]
pub struct Footing {
    /// What we know of the peer; `None` where it showed no certificate, which only a gateway accepts of an app's side.
    pub peer: Option<Status>,
    /// What the peer thinks of us.
    pub ours: Acceptance,
}

/// Of us, by the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceptance {
    /// It has said nothing yet.
    #[default]
    Pending,
    /// Until then by its clock, if we do not answer again.
    Until(u64),
    /// We showed no certificate, and it lets anyone in.
    NotAsked,
}

/// Of the peer, to us.
#[derive(Clone, Debug)]
pub enum Status {
    /// It has not answered yet: nothing may be sent to it.
    Pending,
    Bound(Arc<Attested>),
    /// Its verdict ended: what runs may end, nothing new begins.
    Late(Arc<Attested>),
}

impl Footing {
    /// Whether a new request may cross this connection: both verdicts stand.
    pub fn ready(&self) -> Option<&Arc<Attested>> {
        match (&self.peer, self.ours) {
            (Some(Status::Bound(attested)), Acceptance::Until(_) | Acceptance::NotAsked) => Some(attested),
            _ => None,
        }
    }
}
