//! Income: what this worker earns, and the channels that pay it.
//!
//! It counts what each gateway owes it: the usage of its own answers, at its own price.
//! A gateway that opens a channel to it is believed once the chain shows it on our terms, and what was owed goes into
//! it; without one the worker works on credit, up to a sum.
//! It signs what it takes, and whoever has coins for gas settles: the gateway, a watch, or its owner by hand. The worker
//! itself has no wallet.
//!
//! The key that signs what is taken lies in its folder. Whoever has it can take what gateways signed and it has not
//! earned, but to nobody else than its payout address.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use attestation::Hex;
use billing::{
    Nano, Tariff, Usage,
    channel::{
        Account, Channel, Envelope, Fact, HoldId, Network, Notice, Payee, PublicKey, Signer, Slack, State,
        payee::{Books as Keeper, Demands, Event, PayeePolicy},
    },
};
use billing_ton::{
    contract::{self, Wanted},
    durable,
    inquiry::InquiryError,
    sources::SourcesError,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    chain_source::ChainSource,
    config::{KeyDigest, Timestamp},
    control::{Notices, PayOffer, Prices},
    facts::Facts,
    frames::{Scribe, Then},
    layers::rescue::Chain,
    payments::{
        accept::{self, AcceptError},
        heard::Heard,
        senders::Senders,
    },
    wall_clock::unix_ms,
};

use books::{Books, Entry};
use count::Counted;
use journal::{Folder, JournalError, Line};

mod books;
mod count;
pub(crate) mod journal;

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(200);
/// Channels that wait to be looked up.
const OFFERED: usize = 16;
/// Channels of all gateways that are kept at a time, those that are over among them.
const CHANNELS: usize = 10_000;
/// Lines after which the journal is made shorter.
const LONG: u64 = 200_000;
/// For the journal at the end.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// For the chain to show a channel; who is late is asked again.
const PATIENCE: Duration = Duration::from_secs(30);

/// On what terms this worker works.
pub(crate) struct IncomeSettings {
    pub(crate) folder: Folder,
    pub(crate) network: Network,
    pub(crate) payout: Account,
    pub(crate) fee_bps: u16,
    pub(crate) fee_dest: Account,
    pub(crate) close_delay_s: u32,
    pub(crate) price: Prices,
    pub(crate) chain: ChainSource,
    /// How often the chain is asked about channels.
    pub(crate) follow: Duration,
    pub(crate) settle_above: Nano,
    pub(crate) settle_every: Duration,
    /// What a gateway may owe and still be served.
    pub(crate) credit: Nano,
}

/// What this worker earns. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Income(Arc<Shared>);

struct Shared {
    settings: IncomeSettings,
    signer: Arc<Signer>,
    policy: PayeePolicy,
    tariff: Tariff,
    books: Mutex<Books>,
    /// Set when it has begun, before anything is earned.
    scribe: OnceLock<Scribe<Line>>,
    lines: Mutex<u64>,
    /// Who ever wrote to the payout address.
    senders: Senders,
    offers: mpsc::Sender<(KeyDigest, Channel)>,
    offered: Mutex<Option<mpsc::Receiver<(KeyDigest, Channel)>>>,
    _lock: File,
}

/// Why no work is done for a gateway now. In order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unserved {
    #[error(
        "it was not paid for its work: {owed} GRAM (TON) are owed or not settled, and --credit is {credit}; ask the gateway's operator whether it has workers.pay and coins"
    )]
    Unpaid { owed: Nano, credit: Nano },
    #[error("the disk of this worker does not keep up")]
    Disk,
}

impl Unserved {
    /// As a gateway is told.
    pub(crate) const fn told(self) -> &'static str {
        match self {
            Self::Unpaid { .. } => "this worker was not paid for its work",
            Self::Disk => "this worker is too busy",
        }
    }
}

/// How a payee goes about it here. Where we count ourselves, and work on credit beyond what is covered.
fn policy(settle_above: Nano, settle_every: Duration) -> PayeePolicy {
    PayeePolicy {
        // How much credit there is, is decided before work begins and over all channels.
        credit: Nano::MOST,
        low_water: Nano::ZERO,
        sign_every: settle_above,
        settle_above,
        settle_every_ms: i64::try_from(settle_every.as_millis()).unwrap_or(i64::MAX),
        dust: Nano::ZERO,
        waive: Slack::OF_WORK,
        patience_ms: 600_000,
        resend_ms: 5_000,
        books: Keeper::Own,
    }
}

/// The same for who takes all that there is, at once and without asking anybody.
pub(crate) fn policy_alone() -> PayeePolicy {
    PayeePolicy {
        patience_ms: 0,
        ..policy(Nano::saturating(1), Duration::ZERO)
    }
}

impl Income {
    /// Takes up what was earned before.
    pub(crate) async fn open(settings: IncomeSettings) -> Result<Self, JournalError> {
        let lock = settings.folder.lock()?;
        let is_key_new = !settings.folder.has_key();
        let signer = Arc::new(settings.folder.signer()?);
        let heard = Heard::open(&settings.folder.heard(settings.network, &settings.payout))?;
        let chain = settings.chain.chain().clone();
        let senders = Senders::in_file(chain, heard, settings.payout);
        if is_key_new {
            senders.begin().await;
        }
        let policy = policy(settings.settle_above, settings.settle_every);
        let (frames, restored) = journal::open(&settings.folder, &signer, policy, unix_ms())?;
        let (offers, offered) = mpsc::channel(OFFERED);
        let shared = Arc::new(Shared {
            tariff: settings.price.tariff(),
            signer,
            policy,
            books: Mutex::new(Books::new(restored)),
            scribe: OnceLock::new(),
            lines: Mutex::new(0),
            senders,
            offers,
            offered: Mutex::new(Some(offered)),
            settings,
            _lock: lock,
        });
        let weak = Arc::downgrade(&shared);
        let scribe = Scribe::begin(frames, move |thens| written(&weak, thens)).map_err(JournalError::Thread)?;
        drop(shared.scribe.set(scribe));
        Ok(Self(shared))
    }

    /// The key that signs what is taken.
    pub(crate) fn key(&self) -> PublicKey {
        self.0.signer.public()
    }

    /// What gateways are told.
    pub(crate) fn offer(&self) -> PayOffer {
        let settings = &self.0.settings;
        PayOffer {
            network: settings.network,
            payee_key: Hex(self.key()),
            payout: settings.payout,
            fee_bps: settings.fee_bps,
            fee_dest: settings.fee_dest,
            close_delay_s: settings.close_delay_s,
            price: settings.price,
        }
    }

    /// A connection to a gateway; notices to it go there until the link is dropped.
    pub(crate) fn meet(&self, gateway: KeyDigest, name: &str, notices: Notices) -> Link {
        let serial = self
            .0
            .with(|books, entry| books.meet(entry, gateway, name, notices, unix_ms()));
        Link {
            income: self.clone(),
            gateway,
            serial,
        }
    }

    /// What a gateway says of a channel. Only of channels that it opened itself.
    pub(crate) fn hear(&self, gateway: KeyDigest, message: Envelope) {
        let account = message.channel().account;
        let offered = message.offered();
        let is_new = self.0.with(|books, entry| match books.channels.get(&account) {
            Some(kept) if kept.payee.channel().id != message.channel() => false,
            Some(kept) if kept.gateway == gateway => {
                books.hear(entry, account, message.notice, fresh, unix_ms());
                false
            }
            Some(_) => {
                books.contend(entry, gateway, account, message.notice, fresh, unix_ms());
                false
            }
            None => books.channels.len() < CHANNELS && books.has_place(&gateway),
        });
        if let Some(channel) = offered.filter(|_| is_new) {
            // One that finds no room is offered again.
            let _is_taken = self.0.offers.try_send((gateway, channel)).is_ok();
        }
    }

    /// Whether work is done for this gateway.
    pub(crate) fn may_serve(&self, gateway: &KeyDigest) -> Result<(), Unserved> {
        self.0.may_serve(&self.0.lock(), gateway)
    }

    /// A piece of work for this gateway begins.
    pub(crate) fn begin(&self, gateway: KeyDigest) -> Result<Earning, Unserved> {
        let hold = fresh();
        let began = self.0.with(|books, entry| {
            self.0.may_serve(books, &gateway)?;
            Ok(books.begin(entry, &gateway, hold, unix_ms()))
        });
        Ok(Earning {
            income: self.clone(),
            gateway,
            marked: began?,
            hold,
            is_over: false,
        })
    }

    /// Looks after channels until dropped. Each in its own time: an offer that is looked up holds up no tick, and the payout
    /// account's history is read by who holds its turn.
    pub(crate) async fn run(self) {
        let Some(mut offered) = self.0.offered.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let mut facts = Facts::new(self.0.settings.follow);
        for (account, _) in self.0.lock().channels.iter().filter(|(_, kept)| is_alive(&kept.payee)) {
            facts.follow(*account);
        }
        let (accept, mut accepted) = mpsc::channel(OFFERED);
        let consider = async {
            while let Some((gateway, channel)) = offered.recv().await {
                if let Some(account) = self.0.consider(gateway, channel).await {
                    // Its other end is below, for as long as this is.
                    let _is_followed = accept.send(account).await.is_ok();
                }
            }
        };
        let look = async {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                while let Ok(account) = accepted.try_recv() {
                    facts.follow(account);
                }
                self.0.look(&mut facts).await;
            }
        };
        tokio::join!(consider, look, self.0.senders.read_on());
    }

    /// Waits until all that was earned is on the disk, or the disk is too slow.
    pub(crate) async fn flush(&self) {
        let (wake, woken) = oneshot::channel();
        if let Some(scribe) = self.0.scribe.get() {
            scribe.add(Vec::new(), vec![Then::Wake(wake)]);
        }
        drop(tokio::time::timeout(LAST_WORDS, woken).await);
    }
}

fn is_alive(payee: &Payee) -> bool {
    payee.phase() != billing::channel::payee::Phase::Gone
}

fn fresh() -> HoldId {
    HoldId(fastrand::u128(..).to_be_bytes())
}

/// What is on the disk now.
fn written(shared: &Weak<Shared>, thens: Vec<Then>) {
    let Some(shared) = shared.upgrade() else { return };
    // A ticket speaks for all before it.
    let mut last = BTreeMap::new();
    for then in thens {
        match then {
            Then::Tell(account, ticket) => drop(last.insert(account, ticket)),
            Then::Wake(wake) => drop(wake.send(())),
        }
    }
    for (account, ticket) in last {
        shared.with(|books, entry| books.step(entry, account, Event::Persisted(ticket), unix_ms()));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_serve(&self, books: &Books, gateway: &KeyDigest) -> Result<(), Unserved> {
        let (owed, credit) = (books.unpaid(gateway, unix_ms()), self.settings.credit);
        if owed > credit {
            return Err(Unserved::Unpaid { owed, credit });
        }
        if self.scribe.get().is_some_and(Scribe::is_behind) {
            return Err(Unserved::Disk);
        }
        Ok(())
    }

    /// What is to be written of it goes to the scribe, in the order in which it happened.
    fn with<T>(&self, act: impl FnOnce(&mut Books, &mut Entry) -> T) -> T {
        let mut books = self.lock();
        let mut entry = Entry::default();
        let outcome = act(&mut books, &mut entry);
        if let Some(scribe) = self.scribe.get()
            && !(entry.lines.is_empty() && entry.then.is_empty())
        {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            *lines = lines.saturating_add(1);
            scribe.add(entry.lines, entry.then);
            if *lines > LONG {
                *lines = 0;
                scribe.replace(journal::snapshot(&books.channels, &books.owed, &books.names));
            }
        }
        outcome
    }

    /// Whether this channel is one to serve for; where it is, its address.
    async fn consider(&self, gateway: KeyDigest, channel: Channel) -> Option<Account> {
        let account = channel.id.account;
        let refuse = |code: &str, text: String| {
            tracing::warn!(channel = %account, %gateway, code, text, "a gateway opened a channel that this worker does not take");
            let code = code.to_owned();
            let refusal = Envelope::new(&channel.id, Notice::Refuse { code, text });
            self.lock().say(&gateway, refusal);
        };
        if self.lock().channels.contains_key(&account) {
            return None;
        }
        if contract::account(&channel.terms, &channel.keys) != account {
            refuse(
                "address",
                "its address does not follow from its terms and keys".to_owned(),
            );
            return None;
        }
        let fact = match self.look_up(&channel).await {
            Ok(fact) => fact,
            Err(LookUp::Later(why)) => {
                tracing::info!(channel = %account, %gateway, why, "a gateway opened a channel that the chain does not show yet; this worker works on credit");
                return None;
            }
            Err(LookUp::Never(code, why)) => {
                refuse(code, why);
                return None;
            }
        };
        let settings = &self.settings;
        let demands = Demands {
            network: settings.network,
            payee: settings.payout,
            payee_key: self.signer.public(),
            fee_bps: settings.fee_bps,
            fee_dest: settings.fee_dest,
            least_close_delay_s: settings.close_delay_s,
            least_deposit: Nano::ZERO,
        };
        let (signer, now_ms) = (self.signer.clone(), unix_ms());
        let accepted = self.with(|books, entry| {
            let is_buried = books.buried.contains(&account);
            let mut payee = Payee::accept(channel, signer, self.policy, &demands, is_buried, fact, now_ms)?;
            let effects = payee.effects();
            books.channels.insert(account, journal::Kept::new(gateway, payee));
            books.perform(entry, account, effects);
            books.fold(entry, fresh, now_ms);
            Ok(())
        });
        match accepted {
            Ok(()) => {
                let deposited = match fact.state {
                    State::Open(open) => open.deposited,
                    State::Absent { .. } => Nano::ZERO,
                };
                tracing::info!(channel = %account, %gateway, %deposited, "a gateway opened a channel that pays this worker");
                Some(account)
            }
            Err(refusal) => {
                let refusal: billing::channel::payee::AcceptRefusal = refusal;
                refuse(refusal.code(), refusal.to_string());
                None
            }
        }
    }

    /// What the chain shows of it, on our terms.
    async fn look_up(&self, channel: &Channel) -> Result<Fact, LookUp> {
        let settings = &self.settings;
        let wanted = Wanted {
            network: settings.network,
            payee: settings.payout,
            payee_key: self.signer.public(),
            fee_bps: settings.fee_bps,
            fee_dest: settings.fee_dest,
            close_delay_s: settings.close_delay_s,
        };
        let sources = settings.chain.sources();
        let asked = accept::ask(sources, &self.senders, &wanted, &channel.id.account);
        let accepted = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(accepted) => accepted.map_err(|error| LookUp::of(&error))?,
            Err(_) => return Err(LookUp::Later("the chain's source is slow".to_owned())),
        };
        Ok(Fact {
            seqno: accepted.head().seqno,
            time_s: accepted.head().time,
            state: State::Open(accepted.on_chain()),
        })
    }

    /// What is due by itself, and what the chain says.
    async fn look(&self, facts: &mut Facts) {
        let at_stake: BTreeMap<Account, Nano> = {
            let books = self.lock();
            let unclaimed = |payee: &Payee| payee.earned().saturating_sub(payee.claimed());
            let all = books.channels.iter().filter(|(_, kept)| is_alive(&kept.payee));
            all.map(|(account, kept)| (*account, unclaimed(&kept.payee))).collect()
        };
        let sources = self.settings.chain.sources();
        let stake = |account: &Account| at_stake.get(account).copied().unwrap_or_default();
        for (account, fact) in facts.ask(sources, &stake).await {
            self.with(|books, entry| books.step(entry, account, Event::Chain(fact), unix_ms()));
        }
        let accounts = at_stake.into_keys();
        for account in accounts {
            self.with(|books, entry| books.step(entry, account, Event::Tick, unix_ms()));
        }
        let (blobs, over, closing) = self.with(|books, entry| {
            books.fold(entry, fresh, unix_ms());
            let closing = books.watch(unix_ms());
            (
                std::mem::take(&mut books.blobs),
                std::mem::take(&mut books.over),
                closing,
            )
        });
        for (account, close_at, left) in closing {
            let until = Timestamp::from_unix_seconds(close_at.into());
            let folder = self.settings.folder.path().display();
            let run = format!("mulberry channel settle --worker-folder {folder} {account}");
            tracing::error!(channel = %account, %left, %until, run, "a gateway closes a channel that is not settled; what is left then is lost");
        }
        for account in over {
            facts.forget(&account);
        }
        for (account, blob) in blobs {
            let path = self.settings.folder.settlement(&account);
            let Ok(json) = serde_json::to_vec(&blob) else { continue };
            let written = tokio::task::spawn_blocking(move || durable::replace(&path, &json)).await;
            if let Err(error) = written.map_err(io::Error::other).and_then(|written| written) {
                tracing::warn!(channel = %account, cause = %Chain(&error), "what may be settled cannot be laid where a watch finds it");
                self.lock().blobs.entry(account).or_insert(blob);
            }
        }
    }
}

/// Why a channel is not taken now.
enum LookUp {
    Later(String),
    /// With the code that the gateway is told.
    Never(&'static str, String),
}

impl LookUp {
    fn of(error: &AcceptError) -> Self {
        let why = Chain(error).to_string();
        match error {
            AcceptError::Sources(SourcesError::NoSecond { .. }) => {
                Self::Later("so much is believed when two sources say it; give this worker a second --chain".to_owned())
            }
            _ if error.may_pass() => Self::Later(why),
            AcceptError::Inquiry(InquiryError::LongHistory) => Self::Never("history", why),
            _ => Self::Never("unacceptable", why),
        }
    }
}

/// A connection to a gateway.
pub(crate) struct Link {
    income: Income,
    gateway: KeyDigest,
    serial: u64,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.income.0.lock().part(&self.gateway, self.serial);
    }
}

/// A piece of work under way. Dropped, nothing was earned that we know of.
pub(crate) struct Earning {
    income: Income,
    gateway: KeyDigest,
    /// The channel that it is marked in.
    marked: Option<Account>,
    hold: HoldId,
    is_over: bool,
}

impl Earning {
    /// The answer, which is counted as it passes.
    pub(crate) fn count(self, body: backends::body::BoxBody) -> backends::body::BoxBody {
        backends::body::BoxBody::new(Counted::new(body, self))
    }

    fn earned(mut self, usage: &Usage) {
        let amount = self.income.0.tariff.cost(usage);
        self.end(amount);
    }

    fn end(&mut self, amount: Nano) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let (gateway, marked, hold) = (self.gateway, self.marked, self.hold);
        self.income.0.with(|books, entry| {
            books.end(entry, &gateway, marked, hold, amount, unix_ms());
        });
    }
}

impl Drop for Earning {
    fn drop(&mut self) {
        self.end(Nano::ZERO);
    }
}
