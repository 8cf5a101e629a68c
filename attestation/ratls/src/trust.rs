//! What we accept now: anchor, policy, what somebody else leaves of the policy, collateral. Everything that appraises looks here, and hears when it changes.
//!
//! One value is in force at a time. Whoever replaces a part of it raises the generation, and every open connection
//! appraises its peer again ([`channel`](crate::channel)): a measurement struck from the policy, or a platform revoked in
//! a new list, cuts the connections that rest on it at once.
//!
//! Nothing here does I/O. A platform without collateral is refused, and named on a queue, so that somebody fetches its
//! collateral beside the handshakes; the peer comes again.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;
use attestation::{
    Allowed, Basis, Ca, Collateral, CollateralSet, FixedPolicy, Fmspc, Hex, Policy, Problem, Refusal, Tier, Verifier,
};
use tokio::sync::{mpsc, watch};

use crate::limit::Limit;

/// How many platforms may wait to be fetched; past that they are named again when their peers come again.
pub const WANTED: usize = 64;

pub struct Trust {
    current: ArcSwap<Accepted>,
    /// One change at a time, so that none is lost.
    changing: Mutex<()>,
    generation: watch::Sender<u64>,
    wanted: mpsc::Sender<Wanted>,
    limit: Limit,
    keyed: OnceLock<Keyed>,
}

/// Whether the SHA-256 of a key is one that we know.
type Known = dyn Fn(&[u8; 32]) -> bool + Send + Sync;

/// Of peers without a quote: who is known, and what they are judged by.
pub(crate) struct Keyed {
    known: Box<Known>,
    policy: FixedPolicy,
}

/// A platform whose collateral is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub fmspc: Hex<6>,
    /// `platform` or `processor`.
    pub ca: &'static str,
}

/// Why a policy was not put in force.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the policy cannot be meant")]
pub struct BadPolicy(pub Vec<Problem>);

#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    verifier: Arc<Verifier>,
    /// As the operator wrote it.
    written: Arc<Policy>,
    /// By somebody else.
    allowed: Arc<Allowed>,
    /// What both accept, by which peers are judged.
    policy: FixedPolicy,
    collateral: Arc<CollateralSet>,
}

impl Trust {
    /// The receiver names platforms to fetch collateral for.
    pub fn new(
        verifier: Verifier,
        policy: Policy,
        collateral: CollateralSet,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Wanted>), BadPolicy> {
        let (wanted, receiver) = mpsc::channel(WANTED);
        let written = meant(policy)?;
        let accepted = Accepted {
            verifier: Arc::new(verifier),
            policy: FixedPolicy::new(written.clone()),
            written: Arc::new(written),
            allowed: Arc::default(),
            collateral: Arc::new(collateral),
        };
        let trust = Self {
            current: ArcSwap::from_pointee(accepted),
            changing: Mutex::new(()),
            generation: watch::Sender::new(0),
            wanted,
            limit: Limit::default(),
            keyed: OnceLock::new(),
        };
        Ok((Arc::new(trust), receiver))
    }

    /// From here on a peer without a quote is accepted if `known` knows the SHA-256 of its key, and only then, whatever
    /// tier the policy asks for: whoever names a key answers for its machine. Asked in the handshake, before anything is
    /// computed for the peer. Said once; later it changes nothing.
    pub fn know(&self, known: impl Fn(&[u8; 32]) -> bool + Send + Sync + 'static) {
        let mut policy = Policy::of(Vec::new());
        policy.min_tier = Tier::Open;
        let keyed = Keyed {
            known: Box::new(known),
            policy: FixedPolicy::new(policy),
        };
        drop(self.keyed.set(keyed));
    }

    /// By which peers are judged: what the operator wrote and [`allow_only`](Self::allow_only) left of it.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(self.current.load().policy.policy())
    }

    /// What the operator wrote.
    pub fn written(&self) -> Arc<Policy> {
        Arc::clone(&self.current.load().written)
    }

    pub fn collateral(&self) -> Arc<CollateralSet> {
        Arc::clone(&self.current.load().collateral)
    }

    /// Counts changes. Whoever holds a verdict listens, and appraises again.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// In force from here on, for open connections too. The same policy again is no change.
    pub fn set_policy(&self, policy: Policy) -> Result<(), BadPolicy> {
        let written = Arc::new(meant(policy)?);
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = Arc::clone(&self.current.load().allowed);
        self.judge_by(written, allowed);
        Ok(())
    }

    /// From here on, for open connections too, what the operator wrote is accepted as far as this allows it, and nothing
    /// else. Replaces what was said before.
    pub fn allow_only(&self, allowed: Allowed) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let written = Arc::clone(&self.current.load().written);
        self.judge_by(written, Arc::new(allowed));
    }

    fn judge_by(&self, written: Arc<Policy>, allowed: Arc<Allowed>) {
        let accepted = self.current.load_full();
        let policy = FixedPolicy::new(written.narrowed(&allowed));
        let is_change = policy.digest() != accepted.policy.digest();
        let next = Accepted {
            verifier: Arc::clone(&accepted.verifier),
            written,
            allowed,
            policy,
            collateral: Arc::clone(&accepted.collateral),
        };
        if is_change {
            self.put(next);
        } else {
            // Nobody is judged otherwise by it.
            self.current.store(Arc::new(next));
        }
    }

    /// Changes a copy of the collateral, and puts it in force if the change is not refused.
    pub fn change_collateral<E>(&self, change: impl FnOnce(&mut CollateralSet) -> Result<(), E>) -> Result<(), E> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = self.current.load_full();
        let mut collateral = CollateralSet::clone(&accepted.collateral);
        change(&mut collateral)?;
        if collateral.generation() != accepted.collateral.generation() {
            self.put(Accepted {
                collateral: Arc::new(collateral),
                ..Accepted::clone(&accepted)
            });
        }
        Ok(())
    }

    /// Takes what was kept of before a restart. What has ended serves no quote, and is remembered all the same, so that
    /// nothing older is taken in its place.
    pub(crate) fn restore_collateral(&self, kept: Vec<Collateral>, now: u64) -> Vec<(Fmspc, Ca, Refusal)> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = self.current.load_full();
        let mut collateral = CollateralSet::clone(&accepted.collateral);
        let refused = collateral.restore(kept, now);
        self.put(Accepted {
            collateral: Arc::new(collateral),
            ..Accepted::clone(&accepted)
        });
        refused
    }

    pub(crate) fn current(&self) -> Arc<Accepted> {
        self.current.load_full()
    }

    pub(crate) fn keyed(&self) -> Option<&Keyed> {
        self.keyed.get()
    }

    /// Whether this address may cost us another verification.
    pub(crate) fn admit(&self, address: IpAddr) -> bool {
        self.limit.take(address, Instant::now())
    }

    /// It ended in a verdict.
    pub(crate) fn vindicate(&self, address: IpAddr) {
        self.limit.give_back(address);
    }

    /// Tells whoever fetches, where that can help.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        if let Refusal::CollateralMissing { fmspc, ca } = *refusal {
            // A full queue names others; this peer will come again.
            self.wanted.try_send(Wanted { fmspc, ca }).ok();
        }
    }

    fn put(&self, next: Accepted) {
        self.current.store(Arc::new(next));
        self.generation.send_modify(|generation| *generation += 1);
    }
}

impl Accepted {
    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// By which a peer is judged.
    pub(crate) fn policy<'a>(&'a self, keyed: Option<&'a Keyed>, is_attested: bool) -> &'a Arc<Policy> {
        match keyed {
            Some(keyed) if !is_attested => &keyed.policy,
            _ => &self.policy,
        }
    }

    pub(crate) fn collateral(&self) -> &CollateralSet {
        &self.collateral
    }

    pub(crate) fn basis(&self, now: u64) -> Basis<'_> {
        Basis::fixed(&self.policy, &self.collateral, now)
    }

    /// Of a peer without a quote.
    pub(crate) fn keyed_basis<'a>(&'a self, keyed: Option<&'a Keyed>, now: u64) -> Basis<'a> {
        let policy = keyed.map_or(&self.policy, |keyed| &keyed.policy);
        Basis::fixed(policy, &self.collateral, now)
    }
}

impl Keyed {
    pub(crate) fn knows(&self, spki_sha256: &[u8; 32]) -> bool {
        (self.known)(spki_sha256)
    }
}

fn meant(policy: Policy) -> Result<Policy, BadPolicy> {
    let problems = policy.problems();
    if problems.is_empty() {
        Ok(policy)
    } else {
        Err(BadPolicy(problems))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        f.debug_struct("Trust")
            .field("anchor", current.verifier.anchor())
            .field("policy", &current.policy.digest())
            .field("collateral", &current.collateral.generation())
            .finish_non_exhaustive()
    }
}
