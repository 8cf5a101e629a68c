//! The watch: settles for payees whose payer starts to close, with a wallet for gas and no other key.
//!
//! [`Watchtower`] says what to do, from settlements that payees bring and from what the chain says; a settler pays the
//! gas and does not rest until the contract shows the payment. This is the shell around both: files, the chain, a journal.
//!
//! What it is given is worth nothing to who steals it: a settlement pays the payee, whoever shows it.
//! A settlement is believed when both signatures are those of the keys in the contract itself, read from the chain.
//! It survives its end at any moment: settlements are on disk before it says that they are kept, payments before they are
//! sent, and where channels stand is read anew at each start.
//!
//! It believes that a payer closes as soon as one source says so: to settle early costs gas and nothing else.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use billing::{
    Nano,
    channel::{
        Account, Blob, ChannelId, Fact, Keys, Network, OnChain, Settlement, State, Watchtower,
        watchtower::{self, Effect, Event, Record},
    },
};
use billing_ton::{
    Seed, Wallet,
    contract::Prices,
    follower::{self, Life, Position, What},
    settler::{
        Key, Kind, Seen,
        drive::{self, DriveError, Orders, Stopped},
    },
};
use tokio::{net::TcpListener, time::Instant};

use crate::{
    backoff::Backoff,
    cashing::{SettlerError, job, operation, settler, unpaid},
    chain_source::ChainSource,
    drain::{Phase, drain},
    frames::{Frames, FramesError},
    layers::rescue::Chain as Causes,
    on_chain,
    wallet_file::private_folder,
};

use alarm::{Alarm, Alert};
use board::Board;
use end::Before;
use intake::Intake;
use source::Source;

mod alarm;
mod board;
mod end;
mod intake;
mod news;
mod source;

/// Between two looks at files and what is due.
const TICK: Duration = Duration::from_secs(1);
/// A settlement that had no effect is wanted again. The settler wants it all the while; this is for what it declined.
const RESEND_MS: i64 = 60_000;
/// A settlement whose channel could not be read is tried again, less and less often.
const FIRST_REST: Duration = Duration::from_secs(5);
const LAST_REST: Duration = Duration::from_secs(3600);
/// A channel that is on no block for so long, by the chain's time, is over, though its history is not told.
const GONE_AFTER_S: u32 = 3600;
/// What a channel paid at its end has arrived by then, by the chain's time.
const ARRIVED_AFTER_S: u32 = 60;
/// Settlements of new channels in one round.
const MOST_IDENTIFIED: usize = 16;
/// Each asks the chain once and then seldom.
const MOST_WAITING: usize = Watchtower::MOST;

/// What a watch is set up with.
pub(crate) struct Settings {
    /// Where it keeps its own state.
    pub(crate) folder: PathBuf,
    /// Files and folders with settlements.
    pub(crate) settlements: Vec<PathBuf>,
    /// Followed each; messages go through the first.
    pub(crate) sources: Vec<ChainSource>,
    /// How often each channel is looked at.
    pub(crate) every: Duration,
    /// Settle also without a close, once so much was taken and not paid.
    pub(crate) settle_above: Option<Nano>,
    pub(crate) alert_command: Option<String>,
    /// For probes.
    pub(crate) listener: Option<TcpListener>,
}

/// Why a watch does not start, or ends. In order of precedence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("the folder '{}' cannot be used", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another watch keeps its state in '{}'; give each its own --state", .0.display())]
    InUse(PathBuf),
    #[error(transparent)]
    Frames(#[from] FramesError),
    #[error(transparent)]
    Settler(#[from] SettlerError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Watches until `stop` is ready.
pub(crate) async fn run(
    settings: Settings,
    wallet: Wallet,
    seed: Seed,
    stop: impl Future<Output = ()>,
) -> Result<(), WatchError> {
    let _lock = lock(&settings.folder)?;
    let board = Board::new(settings.every.saturating_mul(3).max(Duration::from_secs(60)));
    let alarm = Alarm::new(settings.alert_command.clone());
    let network = wallet.network();
    let (journal, tower) = restored(&settings.folder.join("settlements.journal"))?;
    let tower = tower.with_sources(settings.sources.len());
    let (settler, keep) = settler(&settings.folder.join("payments.json"), wallet, seed).await?;
    let chain = settings.sources.first().map(|source| source.chain().clone());
    let Some(chain) = chain else { return Err(Stopped.into()) };
    let (drive, orders, news) = drive::prepare(settler, chain, keep);
    let (control, ending) = drain();
    let probes = settings
        .listener
        .map(|listener| tokio::spawn(board::serve(listener, board.clone(), ending)));
    let mut watch = Watch {
        network,
        tower,
        journal,
        sources: settings
            .sources
            .into_iter()
            .map(|source| Source::new(source, settings.every))
            .collect(),
        intake: Intake::new(settings.settlements),
        waiting: VecDeque::new(),
        seen: BTreeMap::new(),
        absent: BTreeMap::new(),
        before: BTreeMap::new(),
        due: BTreeMap::new(),
        over: Vec::new(),
        orders,
        settle_above: settings.settle_above,
        are_prices_silent: false,
        alarm: alarm.clone(),
        board: board.clone(),
        started: Instant::now(),
    };
    let outcome = tokio::select! {
        ended = watch.run() => ended,
        ended = drive.run() => ended.map_err(WatchError::from),
        () = news::hear(news, alarm, board) => Err(Stopped.into()),
        () = stop => Ok(()),
    };
    control.enter(Phase::Cutting);
    if let Some(probes) = probes {
        probes.abort();
    }
    outcome
}

/// Nobody else keeps state there while it is held.
fn lock(folder: &Path) -> Result<File, WatchError> {
    let failed = |source| WatchError::Folder {
        path: folder.to_owned(),
        source,
    };
    private_folder(folder).map_err(failed)?;
    let file = File::create(folder.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(WatchError::InUse(folder.to_owned())),
        Err(fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn restored(path: &Path) -> Result<(Frames, Watchtower), WatchError> {
    let opened = Frames::open::<Record>(path)?;
    let (mut journal, records) = (opened.frames, opened.records);
    if opened.torn > 0 {
        tracing::info!(bytes = opened.torn, "the end of the journal was torn, and is cut off");
    }
    let tower = Watchtower::restore(records.iter().cloned(), RESEND_MS);
    let channels = tower.watched().count();
    // Each channel's best is enough.
    if records.len() > channels.saturating_mul(2).saturating_add(1000) {
        shorten(&mut journal, &tower)?;
    }
    tracing::info!(channels, "what is watched was read");
    Ok((journal, tower))
}

fn shorten(journal: &mut Frames, tower: &Watchtower) -> Result<(), FramesError> {
    let best: Vec<Record> = tower.watched().filter_map(|channel| kept(tower, channel)).collect();
    journal.replace(best.iter())
}

fn kept(tower: &Watchtower, channel: &ChannelId) -> Option<Record> {
    Some(Record::Kept {
        channel: *channel,
        keys: *tower.keys(channel)?,
        blob: tower.best(channel)?.claim(),
    })
}

/// A settlement of a channel whose keys are not known yet.
struct Waiting {
    from: PathBuf,
    blob: Blob,
    not_before: Instant,
    rest: Backoff,
    is_told: bool,
}

struct Watch {
    network: Network,
    tower: Watchtower,
    journal: Frames,
    sources: Vec<Source>,
    intake: Intake,
    waiting: VecDeque<Waiting>,
    /// What each source said last of each that is open: one that lies hides nothing that another one shows.
    seen: BTreeMap<(ChannelId, usize), OnChain>,
    /// Since when, by a source's time, nothing was there, of those of which no end was told.
    absent: BTreeMap<(ChannelId, usize), u32>,
    /// Where the payee's account stood while the channel was there.
    before: BTreeMap<(ChannelId, usize), Before>,
    /// To be shown to the contract as soon as the chain's prices are known.
    due: BTreeMap<ChannelId, Settlement>,
    /// Of no use to settle any more.
    over: Vec<Account>,
    orders: Orders,
    settle_above: Option<Nano>,
    are_prices_silent: bool,
    alarm: Alarm,
    board: Board,
    started: Instant,
}

impl Watch {
    async fn run(&mut self) -> Result<(), WatchError> {
        let watched: Vec<ChannelId> = self.tower.watched().copied().collect();
        for channel in watched {
            self.follow(&channel);
        }
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.take_in();
            self.identify().await?;
            for at in 0..self.sources.len() {
                self.listen(at).await?;
            }
            self.step(Event::Tick)?;
            self.order().await?;
            self.tell();
        }
    }

    /// What lies in files and folders.
    fn take_in(&mut self) {
        for found in self.intake.look() {
            let (from, blob) = match found.blob {
                Ok(blob) => (found.from, blob),
                Err(error) => {
                    tracing::warn!(file = %found.from.display(), cause = %Causes(&error), "a file brings no settlement");
                    continue;
                }
            };
            if blob.network != self.network {
                tracing::warn!(file = %from.display(), network = %blob.network, "a settlement is for another network");
                continue;
            }
            if self.waiting.len() >= MOST_WAITING {
                tracing::warn!(file = %from.display(), "too many settlements wait for the chain, so this one is left out");
                continue;
            }
            self.waiting.push_back(Waiting {
                from,
                blob,
                not_before: Instant::now(),
                rest: Backoff::new(FIRST_REST, LAST_REST),
                is_told: false,
            });
        }
    }

    /// Whose channels they are for: the contract says which keys must have signed.
    async fn identify(&mut self) -> Result<(), WatchError> {
        let is_silent = self.sources.iter().all(Source::is_silent);
        let mut asked = 0;
        for _ in 0..self.waiting.len() {
            let Some(mut waiting) = self.waiting.pop_front() else {
                break;
            };
            let channel = ChannelId {
                network: self.network,
                account: waiting.blob.take.account,
            };
            if let Some(keys) = self.tower.keys(&channel).copied() {
                self.bring(channel, keys, &waiting)?;
                continue;
            }
            if is_silent || asked >= MOST_IDENTIFIED || Instant::now() < waiting.not_before {
                self.waiting.push_back(waiting);
                continue;
            }
            asked += 1;
            match self.keys(&channel).await {
                Ok(keys) => self.bring(channel, keys, &waiting)?,
                Err(cause) => {
                    if !std::mem::replace(&mut waiting.is_told, true) {
                        let file = waiting.from.display();
                        tracing::warn!(%file, channel = %channel.account, cause, "a settlement waits for its channel");
                    }
                    waiting.not_before = Instant::now() + waiting.rest.next();
                    self.waiting.push_back(waiting);
                }
            }
        }
        Ok(())
    }

    async fn keys(&mut self, channel: &ChannelId) -> Result<Keys, String> {
        let mut cause = String::from("there is no source");
        for (at, source) in self.sources.iter().enumerate() {
            let state = match source.chain.account(channel.account).await {
                Ok(state) => state,
                Err(error) => {
                    cause = Causes(&error).to_string();
                    continue;
                }
            };
            match on_chain::read(&state, channel) {
                Ok(Some(state)) => {
                    // Without it only the word for what was paid at the end is missing.
                    if let Ok(before) = Before::note(source.chain.chain().as_ref(), state.terms.payee).await {
                        self.before.insert((*channel, at), before);
                    }
                    return Ok(state.keys);
                }
                Ok(None) => cause = String::from("there is no such channel: it is over, or not there yet"),
                Err(stranger) => cause = stranger.to_string(),
            }
        }
        Err(cause)
    }

    fn bring(&mut self, channel: ChannelId, keys: Keys, waiting: &Waiting) -> Result<(), WatchError> {
        if let Err(refusal) = waiting.blob.verify(&keys, &channel) {
            let file = waiting.from.display();
            tracing::warn!(%file, channel = %channel.account, cause = %refusal, "a settlement is refused");
            return Ok(());
        }
        let blob = waiting.blob;
        self.step(Event::Blob { channel, keys, blob })
    }

    /// What a source says of the chain and of the channels.
    async fn listen(&mut self, at: usize) -> Result<(), WatchError> {
        let now_s = self.started.elapsed().as_secs();
        let Some(source) = self.sources.get_mut(at) else {
            return Ok(());
        };
        for event in source.poll(now_s, &self.board, &self.alarm).await {
            if let (What::CloseRequested { .. }, None) = (&event.what, event.at) {
                self.closes(at, event.account).await?;
            }
            let paid = match &event.what {
                What::Current { seen: Seen::Absent, .. } => self.paid(at, event.account).await,
                _ => None,
            };
            self.happened(at, event, paid)?;
        }
        Ok(())
    }

    /// A close shows before all that happened was read: it is not waited for.
    async fn closes(&mut self, at: usize, account: Account) -> Result<(), WatchError> {
        let channel = ChannelId {
            network: self.network,
            account,
        };
        let Some(source) = self.sources.get(at) else {
            return Ok(());
        };
        // Where it says nothing now, it says it again in time.
        let chain = source.chain.chain().clone();
        let Ok(mut state) = chain.account(account).await else {
            return Ok(());
        };
        if !self.before.contains_key(&(channel, at))
            && let Ok(Some(now)) = on_chain::read(&state, &channel)
            && let Ok(before) = Before::note(chain.as_ref(), now.terms.payee).await
        {
            // What is paid after this shows there, and what was paid before shows here.
            let Ok(again) = chain.account(account).await else {
                return Ok(());
            };
            state = again;
            self.before.insert((channel, at), before);
        }
        if let Ok(Some(now)) = on_chain::read(&state, &channel) {
            self.seen.insert((channel, at), now.on_chain);
            let fact = Fact {
                seqno: state.head.seqno,
                time_s: state.head.time,
                state: State::Open(now.on_chain),
            };
            let source = at;
            self.step(Event::Source { source, channel, fact })?;
        }
        Ok(())
    }

    /// What a channel that is gone paid in all, as its payee's account tells. `None` where nobody does.
    async fn paid(&self, at: usize, account: Account) -> Option<Nano> {
        let channel = ChannelId {
            network: self.network,
            account,
        };
        let (best, source) = (self.tower.best(&channel)?, self.sources.get(at)?);
        let claimed = source.follower.position(&account)?.on_chain.claimed;
        if claimed >= best.take().amount() {
            return Some(claimed);
        }
        let before = self.before.get(&(channel, at))?;
        match before.paid(source.chain.chain().as_ref(), &account).await {
            Ok(paid) => Some(paid.max(claimed)),
            Err(error) => {
                tracing::debug!(channel = %account, cause = %Causes(&error), "nobody tells yet what a channel paid at its end");
                None
            }
        }
    }

    fn happened(&mut self, at: usize, event: follower::Event, paid: Option<Nano>) -> Result<(), WatchError> {
        let channel = ChannelId {
            network: self.network,
            account: event.account,
        };
        match event.what {
            What::Current { head, seen, .. } => {
                let Some(state) = self.state(at, &channel, head.time, seen, paid) else {
                    return Ok(());
                };
                if let State::Open(on_chain) = state {
                    self.seen.insert((channel, at), on_chain);
                    self.settle_early(&channel, &on_chain);
                }
                let (seqno, time_s) = (head.seqno, head.time);
                let fact = Fact { seqno, time_s, state };
                let source = at;
                self.step(Event::Source { source, channel, fact })?;
            }
            What::Lost => {
                self.alert(
                    "chain_lost",
                    "a source of the chain contradicts what it told before; the channel is read anew".to_owned(),
                    Some(&channel),
                );
                if let Some(source) = self.sources.get_mut(at) {
                    source.follower.restart(&event.account);
                }
            }
            What::Foreign => {
                let text = "a source of the chain shows something else at the address of a channel";
                self.alert("stranger", text.to_owned(), Some(&channel));
            }
            What::Opened
            | What::Deposited { .. }
            | What::Claimed { .. }
            | What::CloseRequested { .. }
            | What::Closed
            | What::Redeployed
            | What::Unreadable(_) => {}
        }
        Ok(())
    }

    fn state(&mut self, at: usize, channel: &ChannelId, time: u32, seen: Seen, paid: Option<Nano>) -> Option<State> {
        let position = self
            .sources
            .get(at)
            .and_then(|source| source.follower.position(&channel.account));
        let position = position.copied().unwrap_or(Position::START);
        match seen {
            Seen::Foreign => None,
            Seen::Open(on_chain) => {
                self.absent.remove(&(*channel, at));
                Some(State::Open(on_chain))
            }
            // What was brought for it was checked against the contract, so that it was there once.
            Seen::Absent => {
                let since = *self.absent.entry((*channel, at)).or_insert(time);
                let since_s = time.saturating_sub(since);
                let is_over = position.life == Life::Ended || since_s >= GONE_AFTER_S;
                // The last payment may be on its way to its payee, or its source silent.
                let patience_s = match (paid, self.before.contains_key(&(*channel, at))) {
                    (Some(paid), _) if self.tower.best(channel).is_none_or(|best| paid >= best.take().amount()) => 0,
                    (Some(_), true) => ARRIVED_AFTER_S,
                    (None, true) => GONE_AFTER_S,
                    (_, false) => 0,
                };
                (is_over && since_s >= patience_s).then_some(State::Absent {
                    claimed: Some(paid.unwrap_or_default().max(position.on_chain.claimed)),
                })
            }
        }
    }

    /// Without a close, where so much was taken that it should not wait.
    fn settle_early(&mut self, channel: &ChannelId, on_chain: &OnChain) {
        let (Some(above), Some(best)) = (self.settle_above, self.tower.best(channel)) else {
            return;
        };
        if unpaid(best, on_chain) >= above {
            self.due.insert(*channel, *best);
        }
    }

    fn step(&mut self, event: Event) -> Result<(), WatchError> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
            for effect in self.tower.step(event, now_ms) {
                match effect {
                    Effect::Persist(record, ticket) => {
                        // Waits for the disk: nothing is more urgent, and it is some milliseconds.
                        self.journal.add(&record)?;
                        if self.journal.is_long() {
                            shorten(&mut self.journal, &self.tower)?;
                        }
                        events.push_back(Event::Persisted(ticket));
                    }
                    Effect::Kept { channel, take } => {
                        tracing::info!(channel = %channel.account, %take, "a settlement is kept");
                    }
                    Effect::Follow(channel) => self.follow(&channel),
                    Effect::Settle(settlement) => {
                        self.due.insert(*settlement.channel(), settlement);
                    }
                    Effect::Alert(alert) => self.look_at(&alert),
                    Effect::Forget(channel) => self.forget(&channel),
                }
            }
        }
        Ok(())
    }

    fn follow(&mut self, channel: &ChannelId) {
        for source in &mut self.sources {
            if !source.follower.follow(channel.account, Position::START) {
                tracing::debug!(channel = %channel.account, "a channel is followed already, or too many are");
            }
        }
    }

    fn forget(&mut self, channel: &ChannelId) {
        tracing::info!(channel = %channel.account, "a channel is over, and is watched no more");
        for source in &mut self.sources {
            source.follower.forget(&channel.account);
        }
        for at in 0..self.sources.len() {
            self.seen.remove(&(*channel, at));
            self.absent.remove(&(*channel, at));
            self.before.remove(&(*channel, at));
        }
        self.due.remove(channel);
        self.over.push(channel.account);
    }

    /// What is due goes to the settler, with what the chain asks for it now.
    async fn order(&mut self) -> Result<(), WatchError> {
        for channel in std::mem::take(&mut self.over) {
            for kind in [Kind::Settle, Kind::FinishClose] {
                self.orders.forget(Key { kind, channel }).await?;
            }
        }
        if self.due.is_empty() {
            return Ok(());
        }
        let Some(prices) = self.prices().await else {
            return Ok(());
        };
        for (channel, settlement) in std::mem::take(&mut self.due) {
            let seen = (0..self.sources.len()).filter_map(|at| self.seen.get(&(channel, at)));
            let left = seen.map(|seen| unpaid(&settlement, seen)).max().unwrap_or(Nano::MOST);
            let operation = operation(&settlement);
            if left <= prices.least(operation) {
                tracing::debug!(channel = %channel.account, %left, "a settlement would cost more than it brings");
                continue;
            }
            tracing::info!(channel = %channel.account, %left, "settling");
            self.orders.want(job(&settlement, operation, &prices)).await?;
        }
        Ok(())
    }

    async fn prices(&mut self) -> Option<Prices> {
        for source in &self.sources {
            match source.chain.prices().await {
                Ok(prices) => {
                    self.are_prices_silent = false;
                    return Some(prices);
                }
                Err(error) if !self.are_prices_silent => {
                    tracing::warn!(cause = %Causes(&error), "a settlement waits for the chain's prices");
                }
                Err(_) => {}
            }
        }
        self.are_prices_silent = true;
        None
    }

    fn look_at(&mut self, alert: &watchtower::Alert) {
        let (code, channel) = match alert {
            watchtower::Alert::BadBlob(_) => ("bad_settlement", None),
            watchtower::Alert::TooMany => ("too_many", None),
            watchtower::Alert::Closing { channel, .. } => ("closing", Some(channel)),
            watchtower::Alert::Contradiction { channel, .. } => ("contradiction", Some(channel)),
            watchtower::Alert::Missed { channel, .. } => {
                self.board.missed.inc();
                ("missed", Some(channel))
            }
        };
        self.alert(code, Causes(alert).to_string(), channel);
    }

    fn alert(&self, code: &'static str, text: String, channel: Option<&ChannelId>) {
        let channel = channel.map(|channel| channel.account.to_string());
        self.alarm.sound(&self.board, Alert { code, text, channel });
    }

    /// On the board.
    fn tell(&self) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        // Of each channel what the worst source says.
        let mut worst: BTreeMap<&ChannelId, (bool, Nano)> = BTreeMap::new();
        for ((channel, _), seen) in &self.seen {
            let Some(best) = self.tower.best(channel) else { continue };
            let (closes, owed) = worst.entry(channel).or_default();
            *closes |= seen.close_at.is_some();
            *owed = unpaid(best, seen).max(*owed);
        }
        let closing = worst.values().filter(|(closes, _)| *closes);
        self.board.channels.set(count(self.tower.watched().count()));
        self.board.closing.set(count(closing.count()));
        let owed = worst.values().map(|(_, owed)| *owed);
        let unpaid = owed.fold(Nano::ZERO, Nano::saturating_add);
        self.board.unpaid.set(i64::try_from(unpaid.get()).unwrap_or(i64::MAX));
    }
}
