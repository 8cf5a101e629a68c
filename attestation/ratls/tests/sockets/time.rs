//! Both parties of one connection, without sockets: what happens when, by which clock.

use std::{
    cell::Cell,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use attestation::{Role, Tier};
use attestation_ratls::{
    Admit, Draft, Identity, Peer,
    channel::{Cut, Effect, Event, Footing, Message, Now, Party, Session, Status},
};
use attestation_soft_tdx::SoftTdx;
use tokio::io::duplex;

use crate::world::{NOW, Soft, World, collateral, draft, expect, guest, policy};

/// A connection whose both ends export the same, and whose nonces never repeat.
struct Line(AtomicU8);

impl Session for Line {
    fn export(&self, nonce: &[u8; 32]) -> Option<[u8; 32]> {
        Some(nonce.map(|byte| byte ^ 0x5a))
    }

    fn nonce(&self) -> Option<[u8; 32]> {
        Some([self.0.fetch_add(1, Ordering::SeqCst); 32])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Gateway,
    Worker,
}

struct Pair {
    world: World,
    line: Line,
    parties: [Party; 2],
    identities: [Arc<Identity>; 2],
    now: Now,
    footings: [Footing; 2],
    cuts: [Option<(u64, Cut)>; 2],
    /// When the gateway asked.
    asked: Vec<u64>,
    /// What the worker says is kept back while this is set.
    silent: Cell<bool>,
    kept_back: VecDeque<Message>,
}

impl Pair {
    async fn new(world: World) -> Self {
        let mut pair = Self::silent(world).await;
        pair.worker_speaks();
        pair
    }

    /// With a worker that has said nothing yet.
    async fn silent(world: World) -> Self {
        let (ours, theirs) = duplex(64 * 1024);
        let (gateway, worker) = tokio::join!(
            world.gateway.accept(ours, expect(Role::Worker), Admit::Certified),
            world.worker.connect(theirs, expect(Role::Gateway)),
        );
        let (gateway, worker) = (gateway.unwrap(), worker.unwrap());
        let now = Now {
            unix: NOW,
            elapsed: Duration::ZERO,
        };
        let party = |identity: Option<&Arc<Identity>>, peer: Option<&Arc<Peer>>| {
            Party::new(identity.map(|identity| &**identity), peer, now)
        };
        let mut pair = Self {
            line: Line(AtomicU8::new(1)),
            parties: [
                party(gateway.identity(), gateway.peer()),
                party(worker.identity(), worker.peer()),
            ],
            identities: [gateway, worker].map(|connection| Arc::clone(connection.identity().unwrap())),
            world,
            now,
            footings: [Footing::default(), Footing::default()],
            cuts: [None, None],
            asked: Vec::new(),
            silent: Cell::new(true),
            kept_back: VecDeque::new(),
        };
        pair.happen(Side::Gateway, Event::Opened);
        pair.happen(Side::Worker, Event::Opened);
        pair
    }

    fn elapsed(&self) -> u64 {
        self.now.elapsed.as_secs()
    }

    /// And everything that follows from it at once.
    fn happen(&mut self, side: Side, event: Event) {
        let mut events = VecDeque::from([(side, event)]);
        while let Some((side, event)) = events.pop_front() {
            let other = match side {
                Side::Gateway => Side::Worker,
                Side::Worker => Side::Gateway,
            };
            for effect in self.parties[side as usize].step(event, self.now, &self.line) {
                match effect {
                    Effect::Send(message) if side == Side::Worker && self.silent.get() => {
                        self.kept_back.push_back(message);
                    }
                    Effect::Send(message) => {
                        if side == Side::Gateway && matches!(message, Message::Challenge { .. }) {
                            self.asked.push(self.elapsed());
                        }
                        events.push_back((other, Event::Received(message)));
                    }
                    Effect::Prove { nonce, report_data } => {
                        let answer = self.identities[side as usize].prove(&report_data).ok();
                        events.push_back((side, Event::Proved { nonce, answer }));
                    }
                    Effect::Footing(footing) => self.footings[side as usize] = footing,
                    Effect::Cut(cut) => self.cuts[side as usize] = Some((self.elapsed(), cut)),
                }
            }
        }
    }

    /// Lets time pass, and wakes each side when it asked to be woken.
    fn pass(&mut self, seconds: u64) {
        let until = self.now.after(Duration::from_secs(seconds));
        loop {
            let next = [Side::Gateway, Side::Worker]
                .into_iter()
                .filter(|side| !self.parties[*side as usize].is_over())
                .filter_map(|side| Some((self.parties[side as usize].wake()?, side)))
                .min_by_key(|(wake, _)| wake.elapsed);
            match next {
                Some((wake, side)) if wake.elapsed <= until.elapsed => {
                    let wait = wake.elapsed.saturating_sub(self.now.elapsed);
                    self.now = self.now.after(wait);
                    self.happen(side, Event::Tick);
                }
                _ => break,
            }
        }
        self.now = self.now.after(until.elapsed.saturating_sub(self.now.elapsed));
    }

    fn worker_speaks(&mut self) {
        self.silent.set(false);
        while let Some(message) = self.kept_back.pop_front() {
            self.happen(Side::Gateway, Event::Received(message));
        }
    }

    /// Of the worker, to the gateway.
    fn status(&self) -> &'static str {
        match &self.footings[0].peer {
            None => "over",
            Some(Status::Pending) => "pending",
            Some(Status::Bound(_)) => "bound",
            Some(Status::Late(_)) => "late",
        }
    }

    fn cut(&self) -> Option<(u64, &str)> {
        self.cuts[0].as_ref().map(|(at, cut)| (*at, cut.code()))
    }
}

#[tokio::test]
async fn evidence_is_renewed_every_seven_minutes() {
    let mut pair = Pair::new(World::new(Tier::Tee)).await;
    assert!(pair.footings.iter().all(|footing| footing.ready().is_some()));
    pair.pass(3600);
    assert_eq!(pair.asked, [0, 420, 840, 1260, 1680, 2100, 2520, 2940, 3360]);
    assert_eq!((pair.status(), pair.cut()), ("bound", None));
}

#[tokio::test]
async fn who_never_answers_is_cut_after_half_a_minute() {
    let mut pair = Pair::silent(World::new(Tier::Tee)).await;
    pair.pass(29);
    assert_eq!((pair.status(), pair.cut()), ("pending", None));
    pair.pass(1);
    assert_eq!(pair.cut(), Some((30, "channel_unanswered")));
}

#[tokio::test]
async fn who_is_late_gets_nothing_new_and_is_cut() {
    let mut pair = Pair::new(World::new(Tier::Tee)).await;
    pair.silent.set(true);
    pair.pass(599);
    assert_eq!(pair.status(), "bound");
    pair.pass(1);
    assert_eq!(pair.status(), "late");
    assert!(pair.footings[0].ready().is_none());
    pair.pass(29);
    assert_eq!((pair.status(), pair.cut()), ("late", None));
    pair.pass(1);
    assert_eq!((pair.status(), pair.cut()), ("over", Some((630, "channel_late"))));
}

#[tokio::test]
async fn an_answer_held_back_is_no_fresher_for_it() {
    let mut pair = Pair::new(World::new(Tier::Tee)).await;
    pair.silent.set(true);
    pair.pass(620);
    assert_eq!(pair.status(), "late");
    pair.worker_speaks();
    // The question was asked at 420: it is answered, and the answer ends ten minutes after it.
    assert_eq!(pair.status(), "bound");
    assert_eq!(pair.asked, [0, 420]);
    pair.silent.set(true);
    pair.pass(1019 - 620);
    assert_eq!(pair.status(), "bound");
    pair.pass(1);
    assert_eq!((pair.elapsed(), pair.status()), (1020, "late"));
}

#[tokio::test]
async fn no_connection_outlives_the_claims() {
    let worker = Draft {
        lifetime: Duration::from_secs(1800),
        ..draft(Role::Worker, Some(Soft::honest(&guest("worker"))))
    };
    let mut pair = Pair::new(World::with(policy(Tier::Tee), &worker)).await;
    // They began five minutes ago, for clocks that are behind.
    pair.pass(1499);
    assert_eq!((pair.status(), pair.cut()), ("bound", None));
    pair.pass(1);
    assert_eq!(pair.cut(), Some((1500, "claims_expired")));
    assert_eq!(pair.cuts[1], Some((1500, Cut::OurEnd)));
}

#[tokio::test]
async fn a_clock_that_is_set_back_extends_nothing() {
    let mut pair = Pair::new(World::new(Tier::Tee)).await;
    pair.silent.set(true);
    pair.now.unix -= 3600;
    pair.pass(600);
    assert_eq!(pair.status(), "late");
    pair.pass(30);
    assert_eq!(pair.cut(), Some((630, "channel_late")));
}

#[tokio::test]
async fn a_clock_that_jumps_on_ends_what_has_ended() {
    let mut pair = Pair::new(World::new(Tier::Tee)).await;
    pair.silent.set(true);
    pair.now.unix += 600;
    pair.happen(Side::Gateway, Event::Tick);
    assert_eq!(pair.status(), "late");
    pair.worker_speaks();
    assert_eq!(pair.status(), "bound");
    pair.now.unix += 24 * 3600;
    pair.happen(Side::Gateway, Event::Tick);
    // Its own too.
    assert_eq!(pair.cut(), Some((0, "own_claims_expired")));
}

#[tokio::test]
async fn collateral_that_ends_ends_the_verdict() {
    let window = attestation_soft_tdx::recipe::Window { age: 0, life: 1000 };
    let short = SoftTdx::builder().image("worker").collateral_window(window).build();
    let world = World::new(Tier::Tee);
    world
        .trust
        .change_collateral(|set| set.insert(collateral(&short, NOW), NOW))
        .unwrap();
    let mut pair = Pair::new(world).await;
    pair.pass(1000);
    assert_eq!((pair.status(), pair.cut()), ("bound", None));
    // Asked again in its last minutes, it answers; what it answers is worth nothing any more.
    pair.pass(1);
    assert_eq!(pair.cut(), Some((1001, "collateral_expired")));
    assert_eq!(pair.asked, [0, 420, 821, 851, 881, 911, 941, 971, 1001]);
}

#[tokio::test]
async fn new_collateral_in_time_is_noticed() {
    let window = attestation_soft_tdx::recipe::Window { age: 0, life: 1000 };
    let short = SoftTdx::builder().image("worker").collateral_window(window).build();
    let world = World::new(Tier::Tee);
    world
        .trust
        .change_collateral(|set| set.insert(collateral(&short, NOW), NOW))
        .unwrap();
    let mut pair = Pair::new(world).await;
    pair.pass(900);
    let window = attestation_soft_tdx::recipe::Window { age: 0, life: 86_400 };
    let renewed = SoftTdx::builder().image("worker").collateral_window(window).build();
    let now = pair.now.unix;
    pair.world
        .trust
        .change_collateral(|set| set.insert(collateral(&renewed, now), now))
        .unwrap();
    pair.happen(Side::Gateway, Event::TrustChanged);
    pair.happen(Side::Worker, Event::TrustChanged);
    pair.pass(1000);
    assert_eq!((pair.status(), pair.cut()), ("bound", None));
}

#[tokio::test]
async fn who_is_refused_is_told() {
    let mut pair = Pair::new(World::new(Tier::Tee)).await;
    pair.pass(100);
    let mut without = policy(Tier::Tee);
    without.images.retain(|image| image.name != "worker");
    pair.world.trust.set_policy(without).unwrap();
    pair.happen(Side::Gateway, Event::TrustChanged);
    assert_eq!(pair.cut(), Some((100, "image_unknown")));
    let code = "image_unknown".to_owned();
    assert_eq!(pair.cuts[1], Some((100, Cut::Unwelcome { code })));
}

#[tokio::test]
async fn nothing_follows_a_cut() {
    let mut pair = Pair::new(World::new(Tier::Tee)).await;
    pair.happen(Side::Gateway, Event::Broken("noise"));
    assert_eq!(pair.cut(), Some((0, "channel_protocol")));
    for event in [Event::Opened, Event::Tick, Event::TrustChanged] {
        assert!(pair.parties[0].step(event, pair.now, &pair.line).is_empty());
    }
}
