//! Whoever connects, lapses or leaves while requests wait: nothing is sent to who has not shown what is demanded.

use std::{
    any::Any,
    collections::HashMap,
    pin::Pin,
    sync::{LazyLock, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{HeaderMap, Method};
use openapi::{endpoint::Operation, stream::Watch};
use proptest::{
    prelude::{Just, ProptestConfig, any, prop, prop_oneof, proptest},
    strategy::Strategy as Drawn,
};
use tower::ServiceBuilder;

use super::*;
use crate::{
    attempt::{Outbound, Payload, Trail, Unpriced},
    backend::{BackendConfig, Clocks, Concurrency, Reach, UpstreamConfig},
    breaker::BreakerConfig,
    client::HttpVersion,
    clock::unix_seconds,
    kind::Kind,
    route::Leg,
    verdict::{Assurance, Demand, RequireVerdictLayer, Tier, Verified, guests::Guest},
    worker::{Connected, Standing, Worker, tests::line},
};

const WORKERS: usize = 3;

/// What a connection may have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shown {
    Nothing,
    Key,
    Tee,
    Gpu,
    /// A verdict whose time is over.
    Ended,
    /// Nothing, and nobody named it.
    Stranger,
    StrangerTee,
}

const SHOWN: [Shown; 7] = [
    Shown::Nothing,
    Shown::Key,
    Shown::Tee,
    Shown::Gpu,
    Shown::Ended,
    Shown::Stranger,
    Shown::StrangerTee,
];

/// Made once: a software TDX takes its time.
static ASSURANCES: LazyLock<HashMap<Shown, Assurance>> = LazyLock::new(|| {
    let now = unix_seconds();
    let tee = Assurance::of(Guest::new(now).verdict(), now);
    HashMap::from([
        (Shown::Nothing, Assurance::none()),
        (Shown::Key, Assurance::of(Guest::new(now).keyed(), now)),
        (Shown::StrangerTee, tee.clone().self_enrolled()),
        (Shown::Tee, tee),
        (Shown::Gpu, Assurance::of(Guest::new(now).listed().with_gpu(), now)),
        (Shown::Ended, Assurance::of(Guest::new(now - 700).verdict(), now - 700)),
        (Shown::Stranger, Assurance::none().self_enrolled()),
    ])
});

/// What the tests believe, beside what the code does.
#[derive(Debug, Clone, Copy)]
struct Line {
    shown: Shown,
    is_ready: bool,
    is_late: bool,
}

impl Line {
    fn may_serve(self, demand: &Demand) -> bool {
        let tier = match self.shown {
            Shown::Ended => return false,
            Shown::Stranger if !demand.accepts_strangers => return false,
            Shown::Nothing | Shown::Key | Shown::Stranger => Tier::Open,
            Shown::Tee | Shown::StrangerTee => Tier::Tee,
            Shown::Gpu => Tier::TeeGpu,
        };
        self.is_ready && !self.is_late && tier >= demand.min_tier
    }
}

#[derive(Default)]
struct Believed {
    /// By the name of the upstream.
    lines: HashMap<String, Line>,
    sent: usize,
    refused: usize,
}

/// In the place of Encode and Send: waits a turn, looks a last time, sends, and holds its place for a turn.
struct Gate(Arc<Mutex<Believed>>);

impl Serve<Verified> for Gate {
    type Response = ();

    async fn call(&self, verified: Verified) -> Result<(), BoxError> {
        turn().await;
        match verified.passage() {
            Ok(passage) => {
                assert!(passage.is_some(), "every upstream here is a worker");
                let mut believed = self.0.lock().expect("no test panicked");
                let line = believed.lines.get(&*verified.upstream().name).copied();
                let demand = &verified.attempt().outbound.demand;
                let line = line.expect("it was sent to a worker that is not connected");
                assert!(line.may_serve(demand), "{demand:?} was sent to {line:?}");
                believed.sent += 1;
            }
            Err(_) => self.0.lock().expect("no test panicked").refused += 1,
        }
        turn().await;
        Ok(())
    }
}

/// Pending once.
async fn turn() {
    let mut had = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut had, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

fn backend(workers: &[Arc<Worker>]) -> Arc<Backend> {
    Arc::new(Backend::new(BackendConfig {
        name: "gpu".to_owned(),
        kind: Kind::Vllm,
        upstreams: workers
            .iter()
            .map(|worker| UpstreamConfig {
                reach: Reach::By(worker.clone()),
                weight: 1,
                api_key: None,
            })
            .collect(),
        api_version: None,
        headers: HeaderMap::new(),
        endpoints: Kind::Vllm.endpoints().to_vec(),
        capabilities: Kind::Vllm.capabilities(),
        strategy: Strategy::PowerOfTwo,
        concurrency: Concurrency {
            // One at a time, so that others wait and are looked at again.
            limit: Some(1),
            queue: 8,
            queue_timeout: Duration::from_secs(60),
        },
        clocks: Clocks {
            connect: Duration::from_secs(1),
            first_frame: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            total: Duration::from_secs(1),
        },
        keep_alive: Duration::ZERO,
        http: HttpVersion::Http2,
        tls: None,
        health: None,
        breaker: BreakerConfig {
            failures: 5,
            cooldown: Duration::from_secs(1),
        },
        max_event: 1024,
        max_answer: 1024,
    }))
}

fn attempt(backend: &Arc<Backend>, demand: Demand) -> Attempt {
    Attempt {
        outbound: Arc::new(Outbound {
            method: Method::POST,
            operation: Operation::parse("POST", "/v1/chat/completions").expect("is served"),
            query: None,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            model: None,
            demand,
        }),
        leg: Leg {
            backend: backend.clone(),
            model: None,
            weight: 1,
            priority: 0,
        },
        avoid: Vec::new(),
        deadline: None,
        hooks: Arc::new(Unpriced),
        watch: Watch::default(),
        trail: Arc::new(Trail::default()),
    }
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Connect(usize, Shown),
    Ready(usize, bool),
    Assure(usize, Shown),
    Lapse(usize),
    Leave(usize),
    Ask(Tier, bool),
    /// Every request goes on by a turn.
    Turn,
}

fn acts() -> impl Drawn<Value = Vec<Act>> {
    let worker = 0..WORKERS;
    let shown = || prop::sample::select(&SHOWN[..]);
    let act = prop_oneof![
        3 => (worker.clone(), shown()).prop_map(|(worker, shown)| Act::Connect(worker, shown)),
        3 => (worker.clone(), prop::bool::weighted(0.8)).prop_map(|(worker, ready)| Act::Ready(worker, ready)),
        2 => (worker.clone(), shown()).prop_map(|(worker, shown)| Act::Assure(worker, shown)),
        1 => worker.clone().prop_map(Act::Lapse),
        1 => worker.prop_map(Act::Leave),
        4 => (prop::sample::select(&Tier::ALL[..]), any::<bool>()).prop_map(|(tier, said)| Act::Ask(tier, said)),
        5 => Just(Act::Turn),
    ];
    prop::collection::vec(act, 1..80)
}

type Running = Pin<Box<dyn Future<Output = Result<(), BoxError>>>>;

struct World {
    workers: Vec<Arc<Worker>>,
    /// With what keeps the connection open.
    connected: Vec<Option<(Connected, Box<dyn Any>)>>,
    backend: Arc<Backend>,
    believed: Arc<Mutex<Believed>>,
    running: Vec<Running>,
}

impl World {
    fn new() -> Self {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| Arc::new(Worker::new(format!("box-{number}"))))
            .collect();
        Self {
            backend: backend(&workers),
            connected: workers.iter().map(|_| None).collect(),
            workers,
            believed: Arc::default(),
            running: Vec::new(),
        }
    }

    fn with_line(&self, worker: usize, edit: impl FnOnce(&mut Line)) {
        let name = format!("gpu/box-{worker}");
        self.believed
            .lock()
            .expect("no test panicked")
            .lines
            .get_mut(&name)
            .map(edit);
    }

    async fn act(&mut self, act: Act) {
        let name = |worker| format!("gpu/box-{worker}");
        match act {
            Act::Connect(worker, shown) => {
                let (sender, open) = line().await;
                let connected = self.workers[worker].connect(sender, ASSURANCES[&shown].clone(), None);
                let fresh = Line {
                    shown,
                    is_ready: false,
                    is_late: false,
                };
                let mut believed = self.believed.lock().expect("no test panicked");
                believed.lines.insert(name(worker), fresh);
                drop(believed);
                self.connected[worker] = Some((connected, Box::new(open)));
            }
            Act::Ready(worker, is_ready) => {
                if let Some((connected, _)) = &self.connected[worker] {
                    connected.set(&Standing { is_ready, busy: 0 });
                }
                self.with_line(worker, |line| line.is_ready = is_ready);
            }
            Act::Assure(worker, shown) => {
                if let Some((connected, _)) = &self.connected[worker] {
                    connected.assure(ASSURANCES[&shown].clone());
                }
                self.with_line(worker, |line| {
                    line.shown = shown;
                    line.is_late = false;
                });
            }
            Act::Lapse(worker) => {
                if let Some((connected, _)) = &self.connected[worker] {
                    connected.lapse();
                }
                self.with_line(worker, |line| line.is_late = true);
            }
            Act::Leave(worker) => {
                self.connected[worker] = None;
                let mut believed = self.believed.lock().expect("no test panicked");
                believed.lines.remove(&name(worker));
            }
            Act::Ask(min_tier, said) => {
                let demand = Demand {
                    min_tier,
                    accepts_strangers: said && min_tier == Tier::Open,
                    ..Demand::any()
                };
                let stack = ServiceBuilder::new()
                    .layer(BalanceLayer)
                    .layer(RequireVerdictLayer)
                    .service(Gate(self.believed.clone()));
                let attempt = attempt(&self.backend, demand);
                self.running.push(Box::pin(async move { stack.call(attempt).await }));
            }
            Act::Turn => self.turn(),
        }
    }

    fn turn(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        self.running
            .retain_mut(|running| match running.as_mut().poll(&mut context) {
                Poll::Pending => true,
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(error)) => {
                    let error = error
                        .downcast::<AttemptError>()
                        .expect("the floor's errors are its own");
                    let is_known = error.failure.excluded().is_some()
                        || matches!(error.failure, Failure::Unverified(_) | Failure::QueueFull);
                    assert!(is_known, "{:?}", error.failure);
                    false
                }
            });
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime starts").block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_sent_to_who_has_not_shown_what_is_demanded(acts in acts()) {
        run(async {
            let mut world = World::new();
            for act in acts {
                world.act(act).await;
            }
            // In the end everybody is there, and nobody waits for ever.
            for worker in 0..WORKERS {
                world.act(Act::Connect(worker, Shown::Gpu)).await;
                world.act(Act::Ready(worker, true)).await;
            }
            let asked = world.running.len();
            for _ in 0..4 * asked + 4 {
                world.turn();
            }
            assert!(world.running.is_empty(), "{} requests wait for ever", world.running.len());
        });
    }
}

#[test]
fn what_meets_the_demand_is_sent() {
    run(async {
        let mut world = World::new();
        for (worker, shown) in [Shown::Nothing, Shown::Stranger, Shown::Tee].into_iter().enumerate() {
            world.act(Act::Connect(worker, shown)).await;
            world.act(Act::Ready(worker, true)).await;
        }
        // Three for the one worker of the tier: two of them wait for their turn.
        for _ in 0..3 {
            world.act(Act::Ask(Tier::Tee, false)).await;
        }
        for _ in 0..12 {
            world.turn();
        }
        let sent = world.believed.lock().expect("no test panicked").sent;
        assert_eq!((sent, world.running.len()), (3, 0));
        let passed_over = |worker: usize| {
            world.backend.upstreams[worker]
                .counts
                .exclusions
                .seen()
                .collect::<Vec<_>>()
        };
        assert_eq!(passed_over(0), [(Reason::TierTooLow, 3)]);
        assert_eq!(passed_over(2), []);
        world.act(Act::Ask(Tier::TeeGpu, false)).await;
        world.turn();
        assert!(world.running.is_empty(), "nobody has that tier");
    });
}

#[test]
fn what_lapses_between_the_choice_and_the_send_is_not_sent() {
    run(async {
        for act in [
            Act::Lapse(0),
            Act::Leave(0),
            Act::Connect(0, Shown::Gpu),
            Act::Assure(0, Shown::Key),
            Act::Assure(0, Shown::Ended),
            Act::Ready(0, false),
        ] {
            let mut world = World::new();
            world.act(Act::Connect(0, Shown::Tee)).await;
            world.act(Act::Ready(0, true)).await;
            world.act(Act::Ask(Tier::Tee, false)).await;
            world.turn();
            world.act(act).await;
            world.turn();
            let believed = world.believed.lock().expect("no test panicked");
            assert_eq!((believed.sent, believed.refused), (0, 1), "{act:?}");
        }
    });
}

#[test]
fn who_waited_is_looked_at_again() {
    run(async {
        let mut world = World::new();
        world.act(Act::Connect(0, Shown::Tee)).await;
        world.act(Act::Ready(0, true)).await;
        world.act(Act::Ask(Tier::Tee, false)).await;
        world.act(Act::Ask(Tier::Tee, false)).await;
        world.turn();
        assert_eq!(world.backend.queue.waiting(), 1);
        // The first is on its way; the worker lapses before the second has its place.
        world.turn();
        world.act(Act::Lapse(0)).await;
        world.turn();
        world.turn();
        assert!(world.running.is_empty());
        assert_eq!(world.believed.lock().expect("no test panicked").sent, 1);
    });
}
