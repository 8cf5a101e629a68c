//! Workers: which machines may serve here, and what holds their connections.
//!
//! A worker is known by its key or by a token, as the configuration names it; enrolment beyond that is closed unless the operator opens it.
//! Whoever shows a key that nobody named is refused in the handshake, before anything is computed for it; whoever shows evidence is judged by the policy, at a bounded rate.
//! A worker serves the backend under which it is named, whatever models it announces.
//! What the configuration says anew takes effect at once: the connection of a worker that is no longer named is cut, and so is one whose guest the policy no longer has.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use attestation::{Hex, Policy, Role};
use attestation_ratls::{Endpoint, Peer, Trust, channel::Attested};
use backends::{
    verdict::{Assurance, Tier},
    worker::Worker,
};
use billing_store::{OpenError, private_folder};
use sha2::{Digest as _, Sha256};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    accounts::tier,
    config::{self, Address, Attestation, Config, Enrolment, KeyDigest, Kind},
    control,
    evidence::{Evidence, Own},
    identity::{self, IdentityError, Shown},
    registrar::Registrar,
    trust::{self, Judging, TrustError, TrustSettings},
    wages::Wages,
};

mod adopt;
mod dial;
mod listen;
mod seat;

pub(crate) use listen::listen;
use seat::{Seat, Seated};

/// The name of the gateway's key in the data directory.
const KEY: &str = "gateway.key";
/// The folder of collateral in the data directory.
const COLLATERAL: &str = "collateral";

/// Why workers cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    #[error("the gateway's key can be kept nowhere")]
    Folder(#[from] OpenError),
    #[error("the gateway has nothing to show to workers")]
    Identity(#[from] IdentityError),
    #[error("workers cannot be judged")]
    Trust(#[from] TrustError),
}

/// As whom a worker is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Known {
    Key(KeyDigest),
    /// By the SHA-256 of a token.
    Token(KeyDigest),
    /// By nothing: it took a place of this backend.
    Place(String, u32),
}

impl Known {
    fn of(worker: &config::Worker) -> Option<Self> {
        let key = worker.key_sha256.map(Self::Key);
        key.or_else(|| worker.join_token_sha256.map(Self::Token))
    }

    fn places(backend: &config::Backend) -> impl Iterator<Item = Self> {
        let places = backend.enrolment.as_ref().map_or(0, |enrolment| enrolment.places);
        (1..=places).map(|n| Self::Place(backend.name.clone(), n))
    }
}

/// Whom a configuration lets serve.
pub(crate) struct Staff {
    members: HashMap<Known, Member>,
    enrolment: Enrolment,
    policy: Policy,
}

/// One worker that may serve.
#[derive(Clone)]
pub(crate) struct Member {
    worker: Arc<Worker>,
    /// `backend/name`, as in metrics and logs.
    place: Arc<str>,
    kind: Kind,
    min_tier: Tier,
    address: Option<Address>,
    /// Of a place: who has it.
    seat: Arc<Seat>,
    /// Falls with the last who knows the member; then its connections are cut.
    stays: Arc<watch::Sender<()>>,
    /// Where we dial it, what does so.
    dialling: Option<Arc<Dialling>>,
}

/// A dialler that ends when dropped.
struct Dialling(AbortHandle);

impl Drop for Dialling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why a worker that is accepted may still not serve, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TurnedAway {
    #[error("its token is not one that is known here")]
    Token,
    #[error("another worker was expected there")]
    Other,
    #[error("nobody named it, and workers that enrol themselves are not let in")]
    Unnamed,
    #[error("what it proves is less than what it must")]
    Tier,
    #[error("no place is free for its engine")]
    Full,
}

impl TurnedAway {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Token => "token_unknown",
            Self::Other => "another_worker",
            Self::Unnamed => "enrolment_closed",
            Self::Tier => "tier_too_low",
            Self::Full => "no_place",
        }
    }
}

/// What connections to workers are made with.
#[derive(Debug)]
pub(crate) struct Meeting {
    shown: Shown,
    judging: Judging,
    endpoint: Endpoint,
}

impl Meeting {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn trust(&self) -> &Arc<Trust> {
        self.judging.trust()
    }

    /// The key that is shown now.
    pub(crate) fn key(&self) -> KeyDigest {
        self.shown.key()
    }
}

/// Who may serve, while the gateway runs.
pub(crate) struct Roster {
    /// Where the gateway's key is kept.
    folder: Option<PathBuf>,
    /// Where what workers prove is kept.
    evidence: Evidence,
    /// Told what is shown to them.
    own: Own,
    /// What they are paid.
    wages: Wages,
    /// What takes away from the policy.
    registrar: Registrar,
    /// As it was at the start; what changes later is the policy and who may enrol.
    attestation: Attestation,
    staff: Mutex<Staff>,
    meeting: Mutex<Option<Arc<Meeting>>>,
    told: Told,
}

impl Roster {
    pub(crate) fn new(config: &Config, evidence: Evidence, own: Own, wages: Wages, registrar: Registrar) -> Arc<Self> {
        let nobody = Staff {
            members: HashMap::new(),
            enrolment: Enrolment::Closed,
            policy: Policy::of(Vec::new()),
        };
        Arc::new(Self {
            evidence,
            own,
            wages,
            registrar,
            folder: config.data_dir.clone(),
            attestation: config.attestation.clone(),
            staff: Mutex::new(nobody),
            meeting: Mutex::default(),
            told: Told::default(),
        })
    }

    /// Whom a configuration names; those who are as before are the same, with their connections. Blocking.
    pub(crate) fn staff(self: &Arc<Self>, config: &Config) -> Result<Staff, EnrolError> {
        let policy = trust::policy(config.attestation.policy.as_deref())?;
        let now = self.lock();
        let mut members = HashMap::new();
        for backend in &config.backends {
            for worker in &backend.workers {
                if let Some(known) = Known::of(worker) {
                    let before = now.members.get(&known);
                    let least = tier(worker.min_tier());
                    let member = Member::new(&worker.name, backend, least, worker.address.clone());
                    members.insert(known, member.or_as_before(before));
                }
            }
            let least = backend.enrolment.as_ref().map(|enrolment| tier(enrolment.min_tier));
            // Whoever is let in by evidence alone has some, whatever the place would take.
            let least = match config.attestation.enrolment {
                Enrolment::Attested => least.map(|least| least.max(Tier::Tee)),
                Enrolment::Open | Enrolment::Closed => least,
            };
            for known in Known::places(backend) {
                let Known::Place(_, n) = &known else { continue };
                let member = Member::new(&format!("enrolled-{n}"), backend, least.unwrap_or(Tier::Tee), None);
                let before = now.members.get(&known);
                members.insert(known, member.or_as_before(before));
            }
        }
        drop(now);
        if !members.is_empty() || config.worker_listen.is_some() || config.attested_listen.is_some() {
            // What can fail does so before anything is in force.
            self.meeting()?;
        }
        Ok(Staff {
            members,
            enrolment: config.attestation.enrolment,
            policy,
        })
    }

    /// Puts them in force: whoever is not among them is cut, whoever has an address is dialled.
    pub(crate) fn employ(self: &Arc<Self>, mut staff: Staff) {
        // Made when the staff was drawn up.
        if let Some(meeting) = self.made().clone() {
            for (known, member) in &mut staff.members {
                if let (Some(address), None) = (&member.address, &member.dialling) {
                    let (roster, meeting) = (Arc::downgrade(self), meeting.clone());
                    let dialling = dial::keep(roster, meeting, known.clone(), address.clone(), member.place.clone());
                    member.dialling = Some(Arc::new(Dialling(tokio::spawn(dialling).abort_handle())));
                }
            }
            // The problems of a policy were found when it was read.
            if let Err(error) = meeting.trust().set_policy(staff.policy.clone()) {
                tracing::error!(%error, "the new policy is not in force");
            }
            if let Err(error) = meeting.judging.import() {
                tracing::warn!(error = %crate::layers::rescue::Chain(&error), "collateral of a bundle is not used");
            }
        }
        *self.lock() = staff;
    }

    /// What connections are made with. Made when it is first needed; then it may make a quote, and blocks.
    pub(crate) fn meeting(self: &Arc<Self>) -> Result<Arc<Meeting>, EnrolError> {
        let mut meeting = self.made();
        if let Some(made) = &*meeting {
            return Ok(made.clone());
        }
        // Without a data directory workers are refused by the rules of the configuration.
        let folder = self.folder.clone().unwrap_or_default();
        private_folder(&folder)?;
        let mut draft = identity::draft(Role::Gateway, &self.attestation.evidence, &folder.join(KEY))?;
        draft.lifetime = self.attestation.certificate_life;
        let shown = Shown::begin(draft)?;
        self.own.is(shown.identities());
        let judging = Judging::begin(&TrustSettings {
            policy: self.attestation.policy.clone(),
            collateral: self.attestation.collateral.clone(),
            danger_anchor: self.attestation.danger_development_trust_anchor.clone(),
            shelf: Some(folder.join(COLLATERAL)),
        })?;
        // Before anybody is judged.
        self.registrar.govern(judging.trust());
        let roster = Arc::downgrade(self);
        judging
            .trust()
            .know(move |key| roster.upgrade().is_some_and(|roster| roster.admits(&KeyDigest(*key))));
        let endpoint = Endpoint {
            trust: judging.trust().clone(),
            identities: Some(shown.identities().clone()),
            alpn: vec![control::ALPN.to_vec()],
            clock: identity::clock(),
        };
        let made = Arc::new(Meeting {
            shown,
            judging,
            endpoint,
        });
        *meeting = Some(made.clone());
        Ok(made)
    }

    /// What a worker has shown, and where that is kept.
    fn assurance(&self, named: &Named, peer: &Peer, attested: &Attested) -> Assurance {
        let assurance = named.assurance(attested);
        match self.evidence.note(peer, attested) {
            Some(bundle) => assurance.with_evidence(bundle),
            None => assurance,
        }
    }

    /// Whether somebody without evidence is let in to say who it is.
    fn admits(&self, key: &KeyDigest) -> bool {
        let staff = self.lock();
        let is_known = staff.members.contains_key(&Known::Key(*key)) || staff.takes_keys();
        drop(staff);
        if !is_known {
            self.tell(key);
        }
        is_known
    }

    /// A stranger is told of once a second at most, whatever it does. It has not shown that the key is its own.
    fn tell(&self, key: &KeyDigest) {
        if self.told.may() {
            tracing::warn!(key_sha256 = %key, "a worker that the configuration does not name was refused; if it is yours, add its key to `workers` of a backend");
        }
    }

    /// Where a worker serves that proved this and says that. `dialled`: whom we meant to reach.
    fn place(
        &self,
        peer: &Peer,
        attested: &Attested,
        asks: &Asks,
        dialled: Option<&Known>,
    ) -> Result<Named, TurnedAway> {
        let staff = self.lock();
        let key = Known::Key(KeyDigest(*peer.spki_sha256()));
        let token = asks.token.as_deref().map(|token| Known::Token(digest_of_token(token)));
        let named = match token {
            Some(token) if staff.members.contains_key(&token) => Some(token),
            Some(_) => return Err(TurnedAway::Token),
            None => Some(key).filter(|key| staff.members.contains_key(key)),
        };
        if dialled.is_some() && dialled != named.as_ref() {
            return Err(TurnedAway::Other);
        }
        if let Some(member) = named.as_ref().and_then(|known| staff.members.get(known)) {
            let named = member.named(None);
            return if named.accepts(attested) {
                Ok(named)
            } else {
                Err(TurnedAway::Tier)
            };
        }
        let tier = attested.verdict().tier();
        if staff.enrolment == Enrolment::Closed || staff.enrolment == Enrolment::Attested && tier == Tier::Open {
            return Err(TurnedAway::Unnamed);
        }
        let places = staff
            .members
            .iter()
            .filter(|(known, _)| matches!(known, Known::Place(..)));
        let mut fitting: Vec<&Member> = places
            .map(|(_, member)| member)
            .filter(|member| member.kind == Kind::OpenaiCompatible || member.kind.as_str() == asks.engine)
            .collect();
        if fitting.iter().all(|member| tier < member.min_tier) && !fitting.is_empty() {
            return Err(TurnedAway::Tier);
        }
        fitting.retain(|member| tier >= member.min_tier);
        // In order, so that few places are ever in use.
        fitting.sort_by(|a, b| (a.place.len(), &a.place).cmp(&(b.place.len(), &b.place)));
        // A worker that dials anew has its place already.
        let same = fitting
            .iter()
            .find_map(|member| Some((member, Seat::join(&member.seat, asks.line?)?)));
        let seated = same.or_else(|| {
            fitting
                .iter()
                .find_map(|member| Some((member, Seat::take(&member.seat, asks.line)?)))
        });
        let (member, seated) = seated.ok_or(TurnedAway::Full)?;
        Ok(member.named(Some(seated)))
    }

    fn made(&self) -> MutexGuard<'_, Option<Arc<Meeting>>> {
        self.meeting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Staff> {
        self.staff.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roster({})", self.lock().members.len())
    }
}

/// The SHA-256 by which the configuration names a token: of its text, without white space around it.
pub(crate) fn digest_of_token(token: &str) -> KeyDigest {
    KeyDigest(Sha256::digest(token.trim()).into())
}

impl Staff {
    /// The workers of a backend with their weights, in the order of the configuration.
    pub(crate) fn of(&self, backend: &config::Backend) -> Vec<(Arc<Worker>, u32)> {
        let named = backend.workers.iter().map(|worker| (Known::of(worker), worker.weight));
        let places = Known::places(backend).map(|known| (Some(known), 1));
        named
            .chain(places)
            .filter_map(|(known, weight)| Some((self.members.get(&known?)?.worker.clone(), weight)))
            .collect()
    }

    /// Whether somebody may serve who proves nothing and whose key nobody named.
    fn takes_keys(&self) -> bool {
        self.members.iter().any(|(known, member)| match known {
            Known::Key(_) => false,
            Known::Token(_) => member.min_tier == Tier::Open,
            Known::Place(..) => member.min_tier == Tier::Open && self.enrolment == Enrolment::Open,
        })
    }
}

impl Member {
    fn new(name: &str, backend: &config::Backend, min_tier: Tier, address: Option<Address>) -> Self {
        Self {
            worker: Arc::new(Worker::new(name)),
            place: format!("{}/{name}", backend.name).into(),
            kind: backend.kind,
            min_tier,
            address,
            seat: Arc::default(),
            stays: Arc::new(watch::Sender::new(())),
            dialling: None,
        }
    }

    /// The one that was there, if nothing has changed.
    fn or_as_before(self, before: Option<&Self>) -> Self {
        let same = before.filter(|before| {
            before.place == self.place
                && before.address == self.address
                && before.min_tier == self.min_tier
                && before.kind == self.kind
        });
        same.cloned().unwrap_or(self)
    }

    fn named(&self, seated: Option<Seated>) -> Named {
        Named {
            worker: self.worker.clone(),
            place: self.place.clone(),
            min_tier: self.min_tier,
            seated,
            stays: self.stays.subscribe(),
        }
    }
}

/// What strangers do is told once a second at most.
#[derive(Debug, Default)]
struct Told(Mutex<Option<Instant>>);

impl Told {
    fn may(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() > Duration::from_secs(1));
        if may {
            *last = Some(Instant::now());
        }
        may
    }
}

/// What a worker asks for when it joins.
struct Asks {
    /// The kind of its engine.
    engine: String,
    token: Option<String>,
    line: Option<Hex<16>>,
}

/// A member as its connection knows it: it does not keep it.
#[derive(Debug)]
struct Named {
    worker: Arc<Worker>,
    place: Arc<str>,
    min_tier: Tier,
    /// Of one that enrolled itself.
    seated: Option<Seated>,
    stays: watch::Receiver<()>,
}

impl Named {
    /// Whether what it proved is what it must prove.
    fn accepts(&self, attested: &Attested) -> bool {
        attested.verdict().tier() >= self.min_tier
    }

    /// What is known of it since it was asked for its last answer.
    fn assurance(&self, attested: &Attested) -> Assurance {
        let assurance = Assurance::of(Arc::new(attested.verdict().clone()), attested.asked_at());
        if self.seated.is_some() {
            assurance.self_enrolled()
        } else {
            assurance
        }
    }
}
