//! Random histories on the database and on the pure rules: every answer and every refusal is the same, and so is what
//! is kept in the end.

use std::sync::Arc;
use std::time::Duration;

use billing::ledger::{self as rules, NodeState};
use billing::{
    AccountId, Ask, Bounds, Budget, Charge, ChargeKind, Currency, JournalKind, Ledger, Level, Nano, Pot, Renewal,
    Return, Span, Window, Windows,
};

use super::{BY, charge, id, nano, sealed};
use crate::ledger::{
    AccountChange, ChangeError, CreateError, Deposit, DepositError, ForgetError, Forgotten, LeaveError, NewAccount,
    PostError, RenewError, WithdrawError,
};
use crate::tests::scene::{Scene, on_both};
use crate::{LedgerStore, Location, SealedCharge};

on_both!(histories_agree, histories_that_once_differed_agree);

/// Small, so that names meet.
const ORGANISATIONS: [&str; 3] = ["org:a", "org:b", "org:ton"];
const TEAMS: [&str; 3] = ["team:a/x", "team:b/x", "team:c/x"];
const NODES: [&str; 2] = ["n1", "n2"];
const STEPS: usize = 400;

/// Seeds of histories on which the two differed, with what they found.
const ONCE_DIFFERED: [u64; 2] = [
    // A node whose charges took more than it was granted was granted more: the store leased all of that.
    654_729_240,
    // A node returned nothing of what it was never granted: the rules made a slice of it.
    134_623,
];

async fn histories_agree(scene: Scene) {
    let seed = given_seed().unwrap_or_else(|| {
        let elapsed = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
        u64::from(elapsed.subsec_nanos())
    });
    history_agrees(&scene, seed).await;
}

async fn histories_that_once_differed_agree(scene: Scene) {
    for seed in ONCE_DIFFERED {
        history_agrees(&scene, seed).await;
    }
}

/// How often a history begins anew.
const TRIES: usize = 5;

/// A database that did not answer in time, because the machine does much else, says nothing about either: the same history
/// is played again, on an empty one.
async fn history_agrees(scene: &Scene, seed: u64) {
    let mut faults = Vec::new();
    while faults.len() < TRIES {
        let Some(scene) = scene.another() else { return };
        match play(&scene, seed).await {
            Ok(()) => return,
            Err(Trouble::Fault(text)) => faults.push(text),
            Err(Trouble::Differs(text)) => panic!("MULBERRY_HISTORY_SEED={seed}, {text}"),
        }
    }
    panic!(
        "the database failed every time, MULBERRY_HISTORY_SEED={seed}: {}",
        faults.join("\n")
    );
}

/// Why a history did not end in agreement.
enum Trouble {
    /// The database answered neither yes nor no.
    Fault(String),
    Differs(String),
}

impl Trouble {
    fn said(self, when: &str, trace: &[String]) -> Self {
        let tell = |text: &str| format!("{when}: {text}\n{}", trace.join("\n"));
        match self {
            Self::Fault(text) => Self::Fault(tell(&text)),
            Self::Differs(text) => Self::Differs(tell(&text)),
        }
    }
}

impl<E: std::error::Error> From<E> for Trouble {
    fn from(fault: E) -> Self {
        Self::Fault(fault.to_string())
    }
}

async fn play(scene: &Scene, seed: u64) -> Result<(), Trouble> {
    let store = scene.open().await;
    let ledger = match scene.location {
        Location::File(_) => Ledger::sole(),
        Location::Postgres(_) => Ledger::shared(),
    };
    let elapsed = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    let now_ms = i64::try_from(elapsed.as_millis()).expect("before the year 292 million");
    let mut world = World {
        store: store.ledger(),
        rules: ledger,
        dice: Dice(seed),
        posted: Vec::new(),
        epochs: [0, 0],
        rounds: [0, 0],
        trace: Vec::new(),
        windows: Windows::at(now_ms),
    };
    for step in 0..STEPS {
        let outcome = world.step().await;
        outcome.map_err(|trouble| trouble.said(&format!("step {step}"), &world.trace))?;
    }
    let outcome = world.compare().await;
    outcome.map_err(|trouble| trouble.said("at the end", &world.trace))
}

/// To replay a history that failed.
#[expect(
    clippy::disallowed_methods,
    reason = "a test is told by its caller, and has no configuration"
)]
fn given_seed() -> Option<u64> {
    std::env::var("MULBERRY_HISTORY_SEED").ok()?.parse().ok()
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(bound).expect("small")).expect("small")
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn amount(&mut self) -> Nano {
        let most = self.one(&[1, 10, 1000]);
        nano(self.roll() % most)
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

fn tell(charge: &Charge) -> String {
    let Charge {
        node,
        seq,
        kind,
        organisation,
        team,
        held,
        amount,
        fee,
        currency,
        bounds,
        ..
    } = charge;
    let (held, amount, fee) = (held.get(), amount.get(), fee.get());
    format!("{node}/{seq} {kind:?} {organisation} {team:?} {amount} (fee {fee}) of {held} {currency} {bounds:?}")
}

struct World {
    store: LedgerStore,
    rules: Ledger,
    dice: Dice,
    posted: Vec<Charge>,
    epochs: [u64; 2],
    rounds: [u64; 2],
    trace: Vec<String>,
    /// Slices of windows that are long over are forgotten, so that these are today's.
    windows: Windows,
}

/// A lease that has ended, or that does not end while the test runs.
const TTLS: [u64; 2] = [0, 3_600_000];

/// The rules are given this time. A lease of the one length is over then, one of the other is not.
const NOW_MS: i64 = 1_000_000_000;

impl World {
    async fn step(&mut self) -> Result<(), Trouble> {
        match self.dice.below(16) {
            0 => self.create().await,
            1 => self.change().await,
            2 => self.pay(true).await,
            3 => self.pay(false).await,
            4 => self.join().await,
            5 if self.dice.chance(3) => self.leave().await,
            6 if self.dice.chance(3) => self.reap().await,
            7 if self.dice.chance(3) => self.forget().await,
            8..=11 => self.renew().await,
            _ => self.post().await,
        }
    }

    fn same(&mut self, what: String, store: String, rules: String) -> Result<(), Trouble> {
        let mut line = format!("{what} -> {rules}");
        line.truncate(line.floor_char_boundary(600));
        self.trace.push(line);
        if store == rules {
            Ok(())
        } else {
            let text = format!("{what}\n  the store: {store}\n  the rules: {rules}");
            Err(match store.starts_with("Fault(") {
                true => Trouble::Fault(text),
                false => Trouble::Differs(text),
            })
        }
    }

    async fn create(&mut self) -> Result<(), Trouble> {
        let is_team = self.dice.chance(2);
        let name = id(if is_team {
            self.dice.one(&TEAMS)
        } else {
            self.dice.one(&ORGANISATIONS)
        });
        let currency = if name.name().starts_with("ton") {
            Currency::TON
        } else {
            Currency::USD
        };
        let credit = (!is_team || self.dice.chance(8))
            .then(|| self.dice.one(&[None, Some(Nano::ZERO), Some(nano(500))]))
            .flatten();
        let budget = self.budget();
        let parent = is_team.then(|| {
            let (organisation, _) = name.name().split_once('/').expect("a team has one");
            AccountId::organisation(organisation).expect("a name")
        });
        let store = match self
            .store
            .create_account(
                &NewAccount {
                    id: name.clone(),
                    currency: Some(currency),
                    credit,
                    budget,
                    disabled: false,
                    tags: Vec::new(),
                },
                BY,
            )
            .await
        {
            Ok(_) => "ok".to_owned(),
            Err(CreateError::Taken { .. }) => "taken".into(),
            Err(CreateError::NoOrganisation { .. }) => "no organisation".into(),
            Err(CreateError::Credit) => "credit".into(),
            Err(CreateError::Currency { .. }) => "currency".into(),
            Err(error) => format!("{error:?}"),
        };
        let rules = match self.rules.create_account(rules::NewAccount {
            id: name.clone(),
            parent,
            currency,
            credit,
            budget,
        }) {
            Ok(_) => "ok".to_owned(),
            Err(rules::CreateRefusal::Exists) => "taken".into(),
            Err(rules::CreateRefusal::UnknownParent { .. }) => "no organisation".into(),
            Err(rules::CreateRefusal::CreditOfNoOrganisation) => "credit".into(),
            Err(rules::CreateRefusal::WrongCurrency { .. }) => "currency".into(),
            Err(refusal) => format!("{refusal:?}"),
        };
        self.same(format!("create {name} {credit:?} {budget:?}"), store, rules)
    }

    fn budget(&mut self) -> Budget {
        let mut bound = || self.dice.one(&[None, None, Some(nano(300)), Some(nano(2000))]);
        Budget {
            total: bound(),
            day: bound(),
            month: bound(),
        }
    }

    fn account(&mut self) -> AccountId {
        let is_team = self.dice.chance(3);
        id(if is_team {
            self.dice.one(&TEAMS)
        } else {
            self.dice.one(&ORGANISATIONS)
        })
    }

    async fn change(&mut self) -> Result<(), Trouble> {
        let name = self.account();
        let credit = self
            .dice
            .chance(3)
            .then(|| self.dice.one(&[None, Some(Nano::ZERO), Some(nano(700))]));
        let budget = self.dice.chance(2).then(|| self.budget());
        let disabled = self.dice.chance(3).then(|| self.dice.chance(3));
        let store = match self
            .store
            .change_account(
                &name,
                &AccountChange {
                    credit,
                    budget,
                    disabled,
                    ..AccountChange::default()
                },
                BY,
            )
            .await
        {
            Ok(_) => "ok".to_owned(),
            Err(ChangeError::NotFound { .. }) => "unknown".into(),
            Err(ChangeError::Credit) => "credit".into(),
            Err(error) => format!("{error:?}"),
        };
        let change = rules::AccountChange {
            credit,
            budget,
            is_disabled: disabled,
        };
        let rules = match self.rules.change_account(&name, &change) {
            Ok(()) => "ok".to_owned(),
            Err(rules::ChangeRefusal::UnknownAccount) => "unknown".into(),
            Err(rules::ChangeRefusal::CreditOfNoOrganisation) => "credit".into(),
        };
        self.same(format!("change {name} {change:?}"), store, rules)
    }

    async fn pay(&mut self, is_in: bool) -> Result<(), Trouble> {
        let organisation = id(self.dice.one(&ORGANISATIONS));
        let one = Deposit {
            id: format!("d{}", self.dice.below(60)),
            organisation: organisation.clone(),
            amount: self.dice.amount(),
            currency: self.dice.one(&[Currency::USD, Currency::USD, Currency::TON]),
            memo: None,
        };
        let what = format!("{} {one:?}", if is_in { "deposit" } else { "withdraw" });
        let (store, rules) = if is_in {
            let store = match self.store.deposit(&one, BY).await {
                Ok(deposited) => format!("{} {}", deposited.is_new, deposited.balance_nano.max(0)),
                Err(DepositError::Differs { .. }) => "conflict".into(),
                Err(DepositError::NotFound { .. }) => "unknown".into(),
                Err(DepositError::Currency { .. }) => "currency".into(),
                Err(DepositError::Zero) => "zero".into(),
                Err(error) => format!("{error:?}"),
            };
            let rules = match self.rules.deposit(rules::Deposit {
                id: one.id.into(),
                organisation,
                amount: one.amount,
                currency: one.currency,
                memo: "".into(),
            }) {
                Ok(deposited) => format!("{} {}", deposited.is_new, deposited.balance.get()),
                Err(rules::DepositRefusal::Conflict) => "conflict".into(),
                Err(rules::DepositRefusal::UnknownOrganisation) => "unknown".into(),
                Err(rules::DepositRefusal::WrongCurrency { .. }) => "currency".into(),
                Err(rules::DepositRefusal::Zero) => "zero".into(),
                Err(refusal) => format!("{refusal:?}"),
            };
            (store, rules)
        } else {
            let store = match self.store.withdraw(&one, BY).await {
                Ok(deposited) => format!("{} {}", deposited.is_new, deposited.balance_nano.max(0)),
                Err(WithdrawError::Differs { .. }) => "conflict".into(),
                Err(WithdrawError::NotFound { .. }) => "unknown".into(),
                Err(WithdrawError::Currency { .. }) => "currency".into(),
                Err(WithdrawError::Zero) => "zero".into(),
                Err(WithdrawError::Short { available, .. }) => format!("{available} available"),
                Err(error) => format!("{error:?}"),
            };
            let rules = match self.rules.withdraw(rules::Withdrawal {
                id: one.id.into(),
                organisation,
                amount: one.amount,
                currency: one.currency,
                memo: "".into(),
            }) {
                Ok(withdrawn) => format!("{} {}", withdrawn.is_new, withdrawn.balance.get()),
                Err(rules::WithdrawRefusal::Conflict) => "conflict".into(),
                Err(rules::WithdrawRefusal::UnknownOrganisation) => "unknown".into(),
                Err(rules::WithdrawRefusal::WrongCurrency { .. }) => "currency".into(),
                Err(rules::WithdrawRefusal::Zero) => "zero".into(),
                Err(rules::WithdrawRefusal::NotEnough { available }) => format!("{available} available"),
                Err(refusal) => format!("{refusal:?}"),
            };
            (store, rules)
        };
        self.same(what, store, rules)
    }

    async fn join(&mut self) -> Result<(), Trouble> {
        let at = self.dice.below(NODES.len());
        let kind = self.dice.one(&[JournalKind::Local, JournalKind::Direct]);
        let ttl = self.dice.one(&TTLS);
        let joined = self.store.join(NODES[at], kind, Duration::from_millis(ttl)).await;
        let store = match joined {
            Ok(joined) => format!("{} {}", joined.epoch, joined.last_seq),
            Err(error) => format!("{error:?}"),
        };
        let ttl_ms = i64::try_from(ttl).expect("an hour");
        let joined = self.rules.join(NODES[at], kind, ttl_ms, NOW_MS);
        self.epochs[at] = joined.epoch;
        self.rounds[at] = 0;
        let rules = format!("{} {}", joined.epoch, joined.last_seq);
        self.same(format!("join {} {kind:?} {ttl}", NODES[at]), store, rules)
    }

    /// Mostly the one that is open.
    fn epoch(&mut self, at: usize) -> u64 {
        let stale = u64::from(self.dice.chance(12));
        self.epochs[at].saturating_sub(stale)
    }

    async fn leave(&mut self) -> Result<(), Trouble> {
        let at = self.dice.below(NODES.len());
        let epoch = self.epoch(at);
        let store = match self.store.leave(NODES[at], epoch).await {
            Ok(()) => "ok".to_owned(),
            Err(LeaveError::Refused(refusal)) => format!("{refusal:?}"),
            Err(error) => format!("{error:?}"),
        };
        let rules = match self.rules.leave(NODES[at], epoch) {
            Ok(()) => "ok".to_owned(),
            Err(refusal) => format!("{refusal:?}"),
        };
        self.same(format!("leave {} {epoch}", NODES[at]), store, rules)
    }

    async fn reap(&mut self) -> Result<(), Trouble> {
        let store = self.store.reap().await?;
        let rules: Vec<String> = self.rules.reap(NOW_MS).iter().map(ToString::to_string).collect();
        self.same("reap".into(), format!("{store:?}"), format!("{rules:?}"))
    }

    async fn forget(&mut self) -> Result<(), Trouble> {
        let at = self.dice.below(NODES.len());
        let store = match self.store.forget_node(NODES[at], BY).await {
            Ok(Forgotten::Now) => "now".to_owned(),
            Ok(Forgotten::Already) => "already".into(),
            Err(ForgetError::NotFound { .. }) => "unknown".into(),
            Err(ForgetError::StillLeased { .. }) => "leased".into(),
            Err(error) => format!("{error:?}"),
        };
        let rules = match self.rules.forget(NODES[at], NOW_MS) {
            Ok(rules::Forgotten::Now) => "now".to_owned(),
            Ok(rules::Forgotten::Already) => "already".into(),
            Err(rules::ForgetRefusal::UnknownNode) => "unknown".into(),
            Err(rules::ForgetRefusal::StillLeased { .. }) => "leased".into(),
        };
        self.same(format!("forget {}", NODES[at]), store, rules)
    }

    fn pot(&mut self) -> Pot {
        let account = if self.dice.chance(10) {
            id("key:nobody")
        } else {
            self.account()
        };
        let span = self.dice.one(&Span::ALL);
        let window = self.windows.of(span);
        Pot { account, window }
    }

    async fn renew(&mut self) -> Result<(), Trouble> {
        let at = self.dice.below(NODES.len());
        let epoch = self.epoch(at);
        if !self.dice.chance(10) {
            self.rounds[at] += 1;
        }
        let asks = (0..self.dice.below(4)).map(|_| {
            let pot = self.pot();
            let need = self.dice.amount();
            Ask { pot, need }
        });
        let asks = asks.collect::<Vec<_>>();
        let mut returns = Vec::new();
        for _ in 0..self.dice.below(3) {
            let pot = self.pot();
            let (granted, drawn) = self.rules.slice(NODES[at], &pot);
            let left = granted.saturating_sub(drawn).get();
            let amount = nano(match self.dice.below(6) {
                0 => left.saturating_add(1),
                1 => left,
                _ => self.dice.roll() % left.saturating_add(1),
            });
            if !returns.iter().any(|one: &Return| one.pot == pot) {
                returns.push(Return { pot, amount });
            }
        }
        let renewal = Renewal {
            round: self.rounds[at],
            asks,
            returns,
        };
        let ttl = self.dice.one(&TTLS);
        let ttl_ms = i64::try_from(ttl).expect("an hour");
        let renewed = self
            .store
            .renew(NODES[at], epoch, Duration::from_millis(ttl), &renewal, &[])
            .await;
        let store = match renewed {
            Ok(renewed) => format!("{:?} {}", renewed.grants, renewed.live_nodes),
            Err(RenewError::Refused(refusal)) => format!("{refusal:?}"),
            Err(error) => format!("{error:?}"),
        };
        let rules = match self.rules.renew(NODES[at], epoch, ttl_ms, NOW_MS, &renewal) {
            Ok(renewed) => format!("{:?} {}", renewed.grants, renewed.live_nodes),
            Err(refusal) => format!("{refusal:?}"),
        };
        self.same(format!("renew {} {epoch} {ttl} {renewal:?}", NODES[at]), store, rules)
    }

    /// The next charge of a node, or one that is wrong in some way.
    fn charge(&mut self, at: usize, seq: u64) -> Charge {
        let organisation = if self.dice.chance(15) {
            "org:none"
        } else {
            self.dice.one(&ORGANISATIONS)
        };
        let amount = self.dice.amount().get();
        let mut charge = charge(NODES[at], seq, organisation, amount);
        charge.currency = match (organisation, self.dice.chance(15)) {
            ("org:ton", false) | (_, true) => Currency::TON,
            _ => Currency::USD,
        };
        (charge.day, charge.month) = (self.windows.day, self.windows.month);
        charge.team = self.dice.chance(2).then(|| id(self.dice.one(&TEAMS)));
        charge.bounds = Bounds::NONE;
        for level in [Level::Organisation, Level::Team] {
            for span in Span::ALL {
                if self.dice.chance(2) {
                    charge.bounds = charge.bounds.with(level, span);
                }
            }
        }
        if self.dice.chance(20) {
            charge.held = nano(amount.saturating_sub(1));
        }
        if self.dice.chance(20) {
            charge.fee = nano(amount.saturating_add(1));
        }
        if self.dice.chance(3) && !self.posted.is_empty() {
            let capture = self.posted[self.dice.below(self.posted.len())].clone();
            let of = capture.seq;
            let back = nano(self.dice.roll() % capture.amount.get().saturating_add(2));
            let fee = nano(self.dice.roll() % capture.fee.get().saturating_add(1)).min(back);
            charge = Charge {
                node: Arc::from(NODES[at]),
                seq,
                kind: ChargeKind::Refund { of },
                amount: back,
                fee,
                held: back,
                bounds: Bounds::NONE,
                ..capture
            };
            if self.dice.chance(10) {
                charge.day += 1;
            }
        }
        charge
    }

    async fn post(&mut self) -> Result<(), Trouble> {
        let at = self.dice.below(NODES.len());
        let epoch = self.epoch(at);
        let mine = self.posted.iter().filter(|charge| *charge.node == *NODES[at]);
        let mut next = mine.map(|charge| charge.seq).max().unwrap_or(0) + 1;
        let mut batch = Vec::new();
        for _ in 0..=self.dice.below(5) {
            if self.dice.chance(8) && !self.posted.is_empty() {
                // Again, or something else under its number, or another node's.
                let mut again = self.posted[self.dice.below(self.posted.len())].clone();
                if self.dice.chance(3) {
                    again.model = "another".into();
                }
                batch.push(again);
                continue;
            }
            if self.dice.chance(25) {
                next += 1;
            }
            batch.push(self.charge(at, next));
            next += 1;
        }
        let sealed: Vec<SealedCharge> = batch.iter().cloned().map(sealed).collect();
        let store = match self.store.post(NODES[at], epoch, &sealed).await {
            Ok(posted) => format!("{} {} {}", posted.new, posted.already, posted.late),
            Err(PostError::Refused(refusal)) => format!("{refusal:?}"),
            Err(error) => format!("{error:?}"),
        };
        let rules = match self.rules.post(NODES[at], epoch, &batch) {
            Ok(posted) => {
                for charge in &batch {
                    let is_known = |known: &Charge| known.node == charge.node && known.seq == charge.seq;
                    if !self.posted.iter().any(is_known) {
                        self.posted.push(charge.clone());
                    }
                }
                format!("{} {} {}", posted.new, posted.already, posted.late)
            }
            Err(refusal) => format!("{refusal:?}"),
        };
        let told: Vec<_> = batch.iter().map(tell).collect();
        self.same(format!("post {} {epoch} {}", NODES[at], told.join(", ")), store, rules)
    }

    /// What is kept in the end.
    async fn compare(&mut self) -> Result<(), Trouble> {
        let snapshot = self.store.accounts().await?;
        for stored in &snapshot.accounts {
            let account = self
                .rules
                .account(&stored.id)
                .ok_or_else(|| Trouble::Differs("an account too many".into()))?;
            let total = self.rules.pot(&Pot {
                account: stored.id.clone(),
                window: Window::Total,
            });
            let store = (
                (stored.credit, stored.budget, stored.disabled),
                (
                    stored.deposited,
                    stored.withdrawn,
                    stored.total.spent,
                    stored.total.leased,
                ),
            );
            let rules = (
                (account.credit, account.budget, account.is_disabled),
                (account.deposited, account.withdrawn, total.used, total.leased),
            );
            self.same(stored.id.to_string(), format!("{store:?}"), format!("{rules:?}"))?;
        }
        if snapshot.accounts.len() != self.rules.accounts().count() {
            return Err(Trouble::Differs("an account is missing".into()));
        }
        for stored in self.store.nodes().await? {
            let rules = self.rules.node_state(&stored.name);
            self.same(stored.name, format!("{:?}", Some(stored.state)), format!("{rules:?}"))?;
        }
        if self.rules.verify().is_err()
            || NODES
                .iter()
                .all(|name| self.rules.node_state(name) == Some(NodeState::Closed))
        {
            self.trace
                .push("the rules themselves disagree, or nothing was open in the end".into());
        }
        Ok(())
    }
}
