//! What the ledger can do: holds and captures in memory, and captures that are durable.
//!
//! The durable part gathers as the gateway does: all that was queued while the last group was written is the next one,
//! at most 512 of them, and no timer. Receipts are not signed here; that costs about 25 µs a charge beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use billing::{
    AccountId, Ask, Book, Bounds, Budget, Charge, ChargeKind, Currency, End, Fee, JournalKind, Level, Nano, Payer, Pot,
    Renewal, Span, Tariff, Terms, Usage, UsageSource, Window, Windows,
};
use billing_store::ledger::NewAccount;
use billing_store::{By, Journal, LedgerStore, Location, SealedCharge, Store, Writer};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A moment within a window, so that no day ends while it is measured.
const NOW_MS: i64 = 1_795_348_800_000;
const NODE: &str = "bench";
/// As the gateway's committer.
const GROUP: usize = 512;
const AMOUNT: u64 = 72_000;
const HELD: u64 = 100_000;

/// How fast a node's memory is.
#[derive(Debug, Clone, Copy)]
pub struct InMemory {
    /// Pairs of a hold and its capture for each second of one core.
    pub pairs_a_second: f64,
}

/// Holds and captures, one after another, for a payer with three bounds.
pub fn in_memory(time: Duration) -> Result<InMemory, Failure> {
    let payer = Arc::new(Payer {
        organisation: AccountId::organisation("acme")?,
        team: Some(AccountId::team("acme/research")?),
        key: Some(AccountId::key("alice")),
        currency: Currency::TON,
        bounds: vec![
            (AccountId::organisation("acme")?, Span::Total),
            (AccountId::team("acme/research")?, Span::Month),
            (AccountId::key("alice"), Span::Day),
        ],
    });
    let mut book = Book::new();
    let windows = Windows::at(NOW_MS);
    for (account, span) in &payer.bounds {
        let pot = Pot {
            account: account.clone(),
            window: windows.of(*span),
        };
        book.grant(&pot, Nano::saturating(u64::MAX / 4))?;
    }
    let (held, amount) = (Nano::saturating(HELD), Nano::saturating(AMOUNT));
    let began = (Instant::now(), cpu_time());
    let mut pairs = 0_u64;
    while began.0.elapsed() < time {
        for _ in 0..1000 {
            let hold = book.reserve(&payer, held, NOW_MS)?;
            book.capture(hold, amount)?;
        }
        pairs += 1000;
    }
    let busy = match (began.1, cpu_time()) {
        (Some(before), Some(after)) => after - before,
        _ => began.0.elapsed(),
    };
    Ok(InMemory {
        pairs_a_second: pairs as f64 / busy.as_secs_f64(),
    })
}

/// What this thread has run for: a neighbour on the same core does not count.
pub(crate) fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split_whitespace().next()?.parse().ok()?))
}

/// Where captures become durable.
#[derive(Debug)]
pub enum Place {
    Ledger { store: Store, epoch: u64, seq: u64 },
    Journal { journal: Journal, seq: u64 },
}

impl Place {
    /// A ledger with one organisation, of which this node has leased more than it will spend.
    pub async fn ledger(location: &Location, kind: JournalKind) -> Result<Self, Failure> {
        let store = Store::open(location).await?;
        let ledger = store.ledger();
        let by = By {
            actor: "bench",
            at_ms: NOW_MS,
        };
        let organisation = NewAccount {
            id: AccountId::organisation("acme")?,
            currency: Some(Currency::TON),
            credit: Some(Nano::saturating(u64::MAX / 4)),
            budget: Budget::default(),
            disabled: false,
            tags: Vec::new(),
        };
        ledger.ensure_account(&organisation, by).await?;
        let joined = ledger.join(NODE, kind, Duration::from_secs(3600)).await?;
        let ask = Ask {
            pot: Pot {
                account: AccountId::organisation("acme")?,
                window: Window::Total,
            },
            need: Nano::saturating(u64::MAX / 16),
        };
        let renewal = Renewal {
            round: 1,
            asks: vec![ask],
            returns: Vec::new(),
        };
        let lease = Duration::from_secs(3600);
        ledger.renew(NODE, joined.epoch, lease, &renewal, &[]).await?;
        Ok(Self::Ledger {
            store,
            epoch: joined.epoch,
            seq: joined.last_seq,
        })
    }

    /// The journal of a node whose ledger is elsewhere.
    pub async fn journal(path: &Path) -> Result<Self, Failure> {
        let journal = Journal::open(path).await?;
        let writer = Writer {
            node: NODE.to_owned(),
            epoch: 1,
        };
        journal.begin(&writer, 0, &[]).await?;
        Ok(Self::Journal { journal, seq: 0 })
    }

    async fn write(&mut self, group: &mut [SealedCharge]) -> Result<(), Failure> {
        let seq = match self {
            Self::Ledger { seq, .. } | Self::Journal { seq, .. } => seq,
        };
        for sealed in group.iter_mut() {
            *seq += 1;
            sealed.charge.seq = *seq;
        }
        match self {
            Self::Ledger { store, epoch, .. } => {
                let ledger: LedgerStore = store.ledger();
                ledger.post(NODE, *epoch, group).await?;
            }
            Self::Journal { journal, .. } => journal.append(group).await?,
        }
        Ok(())
    }
}

/// What so many who end at the same time get.
#[derive(Debug, Clone, Copy)]
pub struct Durable {
    pub captures_a_second: f64,
    /// Captures that share a commit.
    pub group: f64,
    pub p50: Duration,
    pub p99: Duration,
}

/// So many tasks, each of which ends one request after another and waits until its capture is durable.
pub async fn durable(mut place: Place, enders: usize, time: Duration) -> Result<(Durable, Place), Failure> {
    let (sender, mut receiver) = mpsc::channel::<(SealedCharge, oneshot::Sender<()>)>(enders.max(1));
    let committer = tokio::spawn(async move {
        let mut groups = 0_u64;
        let mut waiting = Vec::with_capacity(GROUP);
        let mut charges = Vec::with_capacity(GROUP);
        while receiver.recv_many(&mut waiting, GROUP).await > 0 {
            let mut answers = Vec::with_capacity(waiting.len());
            for (charge, answer) in waiting.drain(..) {
                charges.push(charge);
                answers.push(answer);
            }
            place.write(&mut charges).await?;
            charges.clear();
            groups += 1;
            for answer in answers {
                if answer.send(()).is_err() {
                    // Who waits was stopped, and all others with it.
                    break;
                }
            }
        }
        Ok::<_, Failure>((groups, place))
    });
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for ender in 0..enders {
        let sender = sender.clone();
        tasks.spawn(async move {
            let mut waits = Vec::new();
            while began.elapsed() < time {
                let (answer, done) = oneshot::channel();
                let since = Instant::now();
                let charge = charge(format!("bench-{ender}-{}", waits.len()));
                if sender.send((charge, answer)).await.is_err() || done.await.is_err() {
                    break;
                }
                waits.push(since.elapsed());
            }
            waits
        });
    }
    drop(sender);
    let mut waits: Vec<Duration> = tasks.join_all().await.concat();
    let took = began.elapsed();
    let (groups, place) = committer.await??;
    let (p50, p99) = median_and_p99(&mut waits);
    let figures = Durable {
        captures_a_second: waits.len() as f64 / took.as_secs_f64(),
        group: waits.len() as f64 / groups.max(1) as f64,
        p50,
        p99,
    };
    Ok((figures, place))
}

/// Of what was waited; nothing is zero.
pub(crate) fn median_and_p99(waits: &mut [Duration]) -> (Duration, Duration) {
    waits.sort_unstable();
    let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len().saturating_sub(1)));
    (at(50).copied().unwrap_or_default(), at(99).copied().unwrap_or_default())
}

/// The golden request: 1200 tokens of prompt, 800 of them cached, and 350 of an answer.
fn charge(request_id: String) -> SealedCharge {
    let windows = Windows::at(NOW_MS);
    let number = |span| match windows.of(span) {
        Window::Day(day) => day,
        Window::Month(month) => month,
        Window::Total => 0,
    };
    let organisation = AccountId::organisation("acme").unwrap_or_else(|_| AccountId::earnings());
    let usage = Usage::from_totals(1200, 800, 350, 0);
    SealedCharge {
        charge: Charge {
            node: NODE.into(),
            seq: 0,
            kind: ChargeKind::Capture,
            at_ms: NOW_MS,
            request_id,
            organisation,
            team: None,
            key: None,
            day: number(Span::Day),
            month: number(Span::Month),
            bounds: Bounds::NONE.with(Level::Organisation, Span::Total),
            currency: Currency::TON,
            held: Nano::saturating(HELD),
            amount: Nano::saturating(AMOUNT),
            fee: Nano::saturating(4000),
            terms: Terms {
                tariff: Tariff {
                    prompt: 20_000_000,
                    cached: 5_000_000,
                    completion: 160_000_000,
                    reasoning: 160_000_000,
                    request: 0,
                    minimum: 0,
                },
                fee: Fee {
                    prompt: 1_000_000,
                    completion: 8_000_000,
                },
                currency: Currency::TON,
                rate: None,
            },
            model: "qwen3-8b".to_owned(),
            endpoint: "chat_completions".to_owned(),
            backend: Some("pool".to_owned()),
            upstream: Some("pool/10.0.0.7:8000".to_owned()),
            end: End::Complete,
            billed: usage,
            claimed: Some(usage),
            counted: None,
            source: UsageSource::Upstream,
            tags: Vec::new(),
            evidence: None,
        },
        receipt: None,
        receipt_hash: None,
    }
}
