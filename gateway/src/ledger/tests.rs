//! The ledger of a gateway over the pure rules, whose answers can be held back, lost and refused.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use billing::{
    AccountId, Budget, Charge, Currency, End, Fee, JournalKind, Nano, Payer, Pot, Renewal, Span, Tariff, Terms, Usage,
    UsageSource, Window,
    ledger::{AccountChange, NewAccount, PostRefusal, RenewRefusal},
};
use billing_store::{
    SealedCharge,
    ledger::{Joined, RateUse, Renewed},
};
use futures_util::FutureExt as _;
use tokio::{sync::Notify, task::JoinHandle};

use super::{
    CaptureError, Draft, Ledger, Reservation, ReserveError,
    central::{Answer, Central, Journal, Trouble},
    committer::{Committer, Sink, Target},
    node::Node,
    shipper::Shipper,
};
use crate::{metrics::LedgerMetrics, wall_clock::unix_ms};

mod capturing;
mod leasing;
mod shipping;

const TTL: Duration = Duration::from_secs(30);
const NODE: &str = "n";

/// The rules behind a wire that the test can cut.
struct World {
    rules: Mutex<billing::Ledger>,
    /// Milliseconds of the database's clock.
    now_ms: Mutex<i64>,
    is_away: AtomicBool,
    /// Posts that were taken.
    posts: Mutex<Vec<usize>>,
    /// Answers to posts wait for it.
    gate: Mutex<Option<Arc<Notify>>>,
    /// So does who joins or renews.
    door: Mutex<Option<Arc<Notify>>>,
    questions: Mutex<u64>,
}

/// A node's wire to the world.
struct Wire {
    world: Arc<World>,
    name: &'static str,
    kind: JournalKind,
}

fn away() -> Trouble {
    Trouble::Passing("the wire is cut".into())
}

impl World {
    fn new(rules: billing::Ledger) -> Arc<Self> {
        Arc::new(Self {
            rules: Mutex::new(rules),
            now_ms: Mutex::new(0),
            is_away: AtomicBool::new(false),
            posts: Mutex::default(),
            gate: Mutex::default(),
            door: Mutex::default(),
            questions: Mutex::default(),
        })
    }

    fn rules(&self) -> MutexGuard<'_, billing::Ledger> {
        self.rules.lock().expect("no test panics with it")
    }

    fn asked(&self) -> Result<i64, Trouble> {
        *self.questions.lock().expect("no test panics with it") += 1;
        if self.is_away.load(Ordering::Relaxed) {
            return Err(away());
        }
        Ok(*self.now_ms.lock().expect("no test panics with it"))
    }

    fn questions(&self) -> u64 {
        *self.questions.lock().expect("no test panics with it")
    }

    fn cut(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    fn spent(&self, account: &AccountId) -> u64 {
        let pot = Pot {
            account: account.clone(),
            window: Window::Total,
        };
        self.rules().pot(&pot).used.get()
    }
}

fn ttl_ms() -> i64 {
    i64::try_from(TTL.as_millis()).expect("it is short")
}

impl Central for Wire {
    fn join(&self) -> Answer<'_, Joined> {
        async {
            let door = self.world.door.lock().expect("no test panics with it").clone();
            if let Some(door) = door {
                door.notified().await;
            }
            let now_ms = self.world.asked()?;
            let joined = self.world.rules().join(self.name, self.kind, ttl_ms(), now_ms);
            Ok(Joined {
                epoch: joined.epoch,
                last_seq: joined.last_seq,
                heads: Vec::new(),
            })
        }
        .boxed()
    }

    fn renew<'a>(&'a self, epoch: u64, renewal: &'a Renewal, _: &'a [RateUse]) -> Answer<'a, Renewed> {
        async move {
            let door = self.world.door.lock().expect("no test panics with it").clone();
            if let Some(door) = door {
                door.notified().await;
            }
            let now_ms = self.world.asked()?;
            let mut rules = self.world.rules();
            let renewed = rules.renew(self.name, epoch, ttl_ms(), now_ms, renewal);
            let renewed = renewed.map_err(|refusal| match refusal {
                RenewRefusal::Closed | RenewRefusal::UnknownNode => Trouble::Closed,
                other => Trouble::Astray(other.into()),
            })?;
            Ok(Renewed {
                grants: renewed.grants,
                live_nodes: renewed.live_nodes,
                generation: i64::try_from(rules.generation()).expect("it is small"),
                shares: Vec::new(),
            })
        }
        .boxed()
    }

    fn post<'a>(&'a self, epoch: u64, charges: &'a [SealedCharge]) -> Answer<'a, ()> {
        async move {
            self.world.asked()?;
            let gate = self.world.gate.lock().expect("no test panics with it").clone();
            if let Some(gate) = gate {
                gate.notified().await;
            }
            let charges: Vec<Charge> = charges.iter().map(|sealed| sealed.charge.clone()).collect();
            let posted = self.world.rules().post(self.name, epoch, &charges);
            posted.map_err(|refusal| match refusal {
                PostRefusal::Closed | PostRefusal::UnknownNode => Trouble::Closed,
                PostRefusal::Gap { .. } | PostRefusal::Conflict { .. } => Trouble::Astray(refusal.into()),
                other => Trouble::Refused(other.into()),
            })?;
            self.world
                .posts
                .lock()
                .expect("no test panics with it")
                .push(charges.len());
            Ok(())
        }
        .boxed()
    }

    fn leave(&self, epoch: u64) -> Answer<'_, ()> {
        async move {
            self.world.asked()?;
            let left = self.world.rules().leave(self.name, epoch);
            left.map_err(|refusal| Trouble::Refused(refusal.into()))
        }
        .boxed()
    }

    fn reap(&self) -> Answer<'_, ()> {
        async move {
            let now_ms = self.world.asked()?;
            self.world.rules().reap(now_ms);
            Ok(())
        }
        .boxed()
    }
}

/// A journal that outlives a node.
#[derive(Default)]
struct Disk(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    epoch: u64,
    last_seq: u64,
    shipped: u64,
    charges: Vec<SealedCharge>,
}

impl Pages {
    fn pending(&self) -> impl Iterator<Item = &SealedCharge> {
        self.charges.iter().filter(|sealed| sealed.charge.seq > self.shipped)
    }
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().expect("no test panics with it")
    }

    fn waiting(&self) -> usize {
        self.state().pending().count()
    }
}

impl Journal for Disk {
    fn begin<'a>(&'a self, joined: &'a Joined) -> Answer<'a, Joined> {
        async move {
            let mut state = self.state();
            assert!(
                state.charges.iter().all(|sealed| sealed.charge.seq <= joined.last_seq),
                "all was shipped before"
            );
            state.epoch = joined.epoch;
            state.last_seq = state.last_seq.max(joined.last_seq);
            state.shipped = state.last_seq;
            state.charges.clear();
            Ok(Joined {
                last_seq: state.last_seq,
                ..joined.clone()
            })
        }
        .boxed()
    }

    fn append<'a>(&'a self, charges: &'a [SealedCharge]) -> Answer<'a, ()> {
        async move {
            let mut state = self.state();
            for sealed in charges {
                assert_eq!(sealed.charge.seq, state.last_seq + 1, "numbers have no gap");
                state.last_seq = sealed.charge.seq;
                state.charges.push(sealed.clone());
            }
            Ok(())
        }
        .boxed()
    }

    fn pending(&self, limit: u32) -> Answer<'_, (u64, Vec<SealedCharge>)> {
        async move {
            let state = self.state();
            let limit = usize::try_from(limit).expect("a count");
            Ok((state.epoch, state.pending().take(limit).cloned().collect()))
        }
        .boxed()
    }

    fn trim(&self, up_to: u64) -> Answer<'_, ()> {
        async move {
            let mut state = self.state();
            state.shipped = state.shipped.max(up_to);
            Ok(())
        }
        .boxed()
    }

    fn rewind(&self, to: u64) -> Answer<'_, bool> {
        async move {
            let mut state = self.state();
            let is_here = state.last_seq == to || state.charges.iter().any(|sealed| sealed.charge.seq == to + 1);
            if is_here {
                state.shipped = state.shipped.min(to);
            }
            Ok(is_here)
        }
        .boxed()
    }

    fn last_seq(&self) -> Answer<'_, u64> {
        async move { Ok(self.state().last_seq) }.boxed()
    }

    fn backlog(&self) -> Answer<'_, (u64, Option<i64>)> {
        async move {
            let state = self.state();
            let count = u64::try_from(state.pending().count()).expect("a count");
            Ok((count, state.pending().next().map(|sealed| sealed.charge.at_ms)))
        }
        .boxed()
    }
}

/// A gateway at the ledger.
struct Gateway {
    ledger: Ledger,
    node: Node,
    committer: JoinHandle<usize>,
}

impl Gateway {
    /// It has joined.
    async fn start(world: &Arc<World>, name: &'static str, disk: Option<Arc<Disk>>) -> Self {
        let mut gateway = Self::before(world, name, disk);
        gateway.node.step().await;
        gateway
    }

    /// It has not joined yet.
    fn before(world: &Arc<World>, name: &'static str, disk: Option<Arc<Disk>>) -> Self {
        let (ledger, waiting) = Ledger::new(LedgerMetrics::default());
        let kind = if disk.is_some() {
            JournalKind::Local
        } else {
            JournalKind::Direct
        };
        let central: Arc<dyn Central> = Arc::new(Wire {
            world: world.clone(),
            name,
            kind,
        });
        let journal = disk.map(|disk| disk as Arc<dyn Journal>);
        let target = match &journal {
            Some(journal) => Target::Journal(journal.clone()),
            None => Target::Central(central.clone()),
        };
        let sink = Sink::new(name.into(), target, None, LedgerMetrics::default(), Arc::default());
        let committer = tokio::spawn(Committer::new(waiting, sink).run());
        ledger.bar(HashMap::new(), true);
        let node = Node::new(ledger.0.clone(), central, journal, TTL, Some(Arc::default()), None);
        Self {
            ledger,
            node,
            committer,
        }
    }

    /// Holds, with a node that answers when it is asked.
    async fn reserve(&mut self, payer: &Arc<Payer>, amount: u64) -> Result<Reservation, ReserveError> {
        let ledger = self.ledger.clone();
        let reserving = ledger.reserve(payer, nano(amount));
        tokio::pin!(reserving);
        loop {
            if let Some(outcome) = reserving.as_mut().now_or_never() {
                return outcome;
            }
            self.node.step().await;
        }
    }
}

fn nano(amount: u64) -> Nano {
    Nano::saturating(amount)
}

fn key() -> AccountId {
    AccountId::key("alice")
}

/// A postpaid organisation with a key of this budget.
fn rules(mut ledger: billing::Ledger, total: u64) -> billing::Ledger {
    let organisation = super::default_account();
    for (id, parent, budget) in [
        (organisation.clone(), None, Budget::default()),
        (
            key(),
            Some(organisation),
            Budget {
                total: Some(nano(total)),
                ..Budget::default()
            },
        ),
    ] {
        let new = NewAccount {
            id,
            parent,
            currency: Currency::USD,
            credit: None,
            budget,
        };
        ledger.create_account(new).expect("a good account");
    }
    ledger
}

fn payer(world: &World) -> Arc<Payer> {
    Arc::new(world.rules().payer(&key()).expect("it was made"))
}

fn draft(amount: u64) -> Draft {
    Draft {
        at_ms: unix_ms(),
        request_id: "r".to_owned(),
        amount: nano(amount),
        fee: Nano::ZERO,
        terms: Terms {
            tariff: Tariff::default(),
            fee: Fee::default(),
            currency: Currency::USD,
            rate: None,
        },
        model: "m".to_owned(),
        endpoint: "/v1/chat/completions".to_owned(),
        backend: None,
        upstream: None,
        end: End::Complete,
        billed: Usage::default(),
        claimed: None,
        counted: None,
        source: UsageSource::Upstream,
        tags: Vec::new(),
        evidence: None,
    }
}
