//! Cashier: the teller on a thread of its own, for it waits for the disk, and what requests ask of it.
//!
//! Requests hand it work and wait for the answer; what it signs ahead of need and writes down it does when they have
//! theirs.
//! What a person should know goes to the log, once.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use billing::channel::{
    Fact, HoldId,
    payer::{Act, Phase},
    x402::{ReceiptExtra, Required},
};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, timeout_at},
};

use crate::{
    layers::rescue::Chain,
    payer::{
        shelf::Kept,
        teller::{Ended, Picture, Teller, TellerError},
    },
    registrar::Registrar,
    tls,
    wall_clock::unix_ms,
};

/// How often it looks what is due by itself.
const TICK: Duration = Duration::from_secs(1);

/// Pieces of work that may wait before nothing more is begun: several for each request that apps can have under way. What
/// has happened is always taken, for it must not be lost, and nobody may wait for a disk to say it.
const MOST_JOBS: usize = 16_384;

type Work = Box<dyn FnOnce(&mut Teller, i64) + Send>;

enum Job {
    Work(Work),
    Stop,
}

/// Why a request is not paid for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CashierError {
    #[error(transparent)]
    Teller(#[from] TellerError),
    #[error(
        "The registry does not list the key that this gateway takes payments by, or could not be read. Nothing is paid to it."
    )]
    Unlisted,
    #[error("The payer of this program has ended, or has too much to do; look at its log.")]
    Gone,
    #[error("The gateway asked for more each time that more was signed. Nothing was answered; it may be asked again.")]
    Greedy,
    #[error(
        "The channel pays for it now, but the request is too large to be kept, and has to be sent once more. Send it again."
    )]
    Again,
}

/// Hands work to the teller. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cashier {
    jobs: Sender<Job>,
    waiting: Arc<AtomicUsize>,
    picture: watch::Receiver<Picture>,
    about: Arc<About>,
    /// What says who may be paid.
    registrar: Registrar,
}

/// What never changes.
struct About {
    kept: Kept,
    /// Names of requests begin with it, so that no process uses one twice.
    mark: [u8; 8],
    count: AtomicU64,
    /// Why the gateway does not say how the channel stands, where it does not.
    trouble: Mutex<Option<String>>,
    /// Told when the deposit did not do: perhaps more was paid in.
    poor: Notify,
}

/// A request that is being paid for. Dropped before its cost is known, the gateway will be asked.
pub(super) struct Paying {
    cashier: Cashier,
    id: HoldId,
    /// Whether its header was handed out: before, it was certainly not sent.
    is_begun: bool,
    is_over: bool,
}

/// Its thread.
pub(crate) struct Desk {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Desk {
    /// Ends it when all that was handed over is done, and on the disk.
    pub(crate) fn close(self) {
        // Where nobody hears it, it has ended.
        drop(self.jobs.send(Job::Stop));
        if self.thread.join().is_err() {
            tracing::error!("the payer ended by a panic");
        }
    }
}

impl Cashier {
    /// `None` where the system has no random numbers or no thread.
    pub(crate) fn open(kept: Kept, teller: Teller) -> Option<(Self, Desk)> {
        let mark = tls::random()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "what is begun is bounded by `MOST_JOBS`, and what ends was begun"
        )]
        let (jobs, asked) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = waiting.clone();
        let (tell, picture) = watch::channel(teller.picture());
        let thread = std::thread::Builder::new().name("payer".to_owned());
        let name = kept.name.clone();
        let thread = thread.spawn(move || serve(teller, &asked, &left, &tell, &name)).ok()?;
        let desk = Desk {
            jobs: jobs.clone(),
            thread,
        };
        let about = About {
            kept,
            mark,
            count: AtomicU64::new(0),
            trouble: Mutex::default(),
            poor: Notify::new(),
        };
        let cashier = Self {
            jobs,
            waiting,
            picture,
            about: Arc::new(about),
            registrar: Registrar::default(),
        };
        Some((cashier, desk))
    }

    /// It pays only whom this allows.
    pub(crate) fn governed_by(self, registrar: Registrar) -> Self {
        Self { registrar, ..self }
    }

    pub(crate) fn kept(&self) -> &Kept {
        &self.about.kept
    }

    pub(crate) fn picture(&self) -> Picture {
        *self.picture.borrow()
    }

    /// Waits until it is another.
    pub(super) async fn changed(&mut self) {
        if self.picture.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Why the gateway does not say how the channel stands.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.troubles().clone()
    }

    /// Notes it; says whether it is news.
    pub(super) fn is_troubled(&self, why: Option<String>) -> bool {
        let mut trouble = self.troubles();
        let is_news = *trouble != why;
        *trouble = why;
        is_news
    }

    fn troubles(&self) -> MutexGuard<'_, Option<String>> {
        self.about.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the deposit did not do for a request.
    pub(super) async fn poor(&self) {
        self.about.poor.notified().await;
    }

    /// Sets aside for a request, and gives its header. Waits for what may pass: for a channel that is not ready, and for
    /// requests under way that need all that may be at risk.
    pub(super) async fn begin(&self, until: Instant) -> Result<(Paying, String), CashierError> {
        self.check_listed()?;
        let count = self.about.count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut bytes = [0; 16];
        for (byte, from) in bytes.iter_mut().zip(self.about.mark.into_iter().chain(count)) {
            *byte = from;
        }
        let id = HoldId(bytes);
        let mut paying = Paying {
            cashier: self.clone(),
            id,
            is_begun: false,
            is_over: false,
        };
        match self
            .patient(until, move |teller, now_ms| teller.begin(id, now_ms))
            .await
        {
            Ok(header) => {
                paying.is_begun = true;
                Ok((paying, header))
            }
            Err(error) => {
                paying.end(Ended::Free);
                Err(error)
            }
        }
    }

    /// Vouchers are shown to nobody whom the registry does not list, nor before it was read.
    fn check_listed(&self) -> Result<(), CashierError> {
        match self.registrar.allows_gateway(&self.about.kept.keys.payee) {
            true => Ok(()),
            false => Err(CashierError::Unlisted),
        }
    }

    /// The header of a request that costs nothing.
    pub(super) async fn pass(&self) -> Result<String, CashierError> {
        self.check_listed()?;
        let header = self.ask(Teller::pass).await.ok_or(CashierError::Gone)?;
        Ok(header?)
    }

    /// The header of a probe, where one is due.
    pub(super) async fn probe(&self) -> Result<Option<String>, CashierError> {
        self.check_listed()?;
        let header = self.ask(Teller::probe).await.ok_or(CashierError::Gone)?;
        Ok(header?)
    }

    pub(super) fn told(&self, said: ReceiptExtra, is_probe: bool) {
        self.hand(move |teller, now_ms| teller.told(&said, is_probe, now_ms));
    }

    pub(super) fn turned_away(&self, code: String, text: String) {
        self.hand(move |teller, now_ms| teller.turned_away(code, text, now_ms));
    }

    pub(super) fn chain(&self, fact: Fact) {
        self.hand(move |teller, now_ms| teller.chain(fact, now_ms));
    }

    /// Asks again, while the answer may be another before long.
    async fn patient<T, F>(&self, until: Instant, work: F) -> Result<T, CashierError>
    where
        T: Send + 'static,
        F: Fn(&mut Teller, i64) -> Result<T, TellerError> + Clone + Send + 'static,
    {
        let mut picture = self.picture.clone();
        loop {
            picture.mark_unchanged();
            let done = self.ask(work.clone()).await.ok_or(CashierError::Gone)?;
            match done {
                Err(error) if may_pass(&error) => {
                    if !matches!(timeout_at(until, picture.changed()).await, Ok(Ok(()))) {
                        return Err(error.into());
                    }
                }
                done => {
                    if let Err(TellerError::Empty { .. }) = &done {
                        self.about.poor.notify_one();
                    }
                    return Ok(done?);
                }
            }
        }
    }

    /// `None` where its thread has ended, or has too much to do.
    async fn ask<T: Send + 'static>(&self, work: impl FnOnce(&mut Teller, i64) -> T + Send + 'static) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let work: Work = Box::new(move |teller, now_ms| drop(tell.send(work(teller, now_ms))));
        if self.waiting.load(Ordering::Relaxed) >= MOST_JOBS {
            return None;
        }
        self.send(work)?;
        told.await.ok()
    }

    /// Nobody waits for it; an error is one of the disk, which the picture tells.
    fn hand(&self, work: impl FnOnce(&mut Teller, i64) -> Result<(), TellerError> + Send + 'static) {
        let work: Work = Box::new(move |teller, now_ms| {
            if let Err(error) = work(teller, now_ms) {
                tracing::error!(error = %Chain(&error), "what a payment needs cannot be written down");
            }
        });
        // Where nobody is there any more the journal ends where it ends.
        let _is_sent = self.send(work).is_some();
    }

    fn send(&self, work: Work) -> Option<()> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.jobs.send(Job::Work(work)).ok()
    }
}

impl Paying {
    /// The gateway wants more: the header to repeat the request with.
    pub(super) async fn refused(&self, required: Required, until: Instant) -> Result<String, CashierError> {
        self.cashier.check_listed()?;
        let (id, required) = (self.id, Arc::new(required));
        let refused = move |teller: &mut Teller, now_ms| teller.refused(id, &required, now_ms);
        self.cashier.patient(until, refused).await
    }

    /// What its answer says.
    pub(super) fn told(self, said: ReceiptExtra) {
        let charged = said.charged_amount;
        self.cashier.told(said, false);
        self.end(Ended::Charged(charged));
    }

    pub(super) fn free(self) {
        self.end(Ended::Free);
    }

    fn end(mut self, ended: Ended) {
        self.over(ended);
    }

    fn over(&mut self, ended: Ended) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let id = self.id;
        self.cashier.hand(move |teller, now_ms| teller.ended(id, ended, now_ms));
    }
}

impl Drop for Paying {
    fn drop(&mut self) {
        let ended = if self.is_begun { Ended::Unknown } else { Ended::Free };
        self.over(ended);
    }
}

/// Whether the same may be paid before long.
const fn may_pass(error: &TellerError) -> bool {
    matches!(
        error,
        TellerError::Unready(_) | TellerError::Busy { .. } | TellerError::Asking { .. }
    )
}

fn serve(
    mut teller: Teller,
    asked: &mpsc::Receiver<Job>,
    waiting: &AtomicUsize,
    tell: &watch::Sender<Picture>,
    name: &str,
) {
    let mut told = HashSet::new();
    let mut ticked = Instant::now();
    loop {
        let done = match asked.recv_timeout(TICK) {
            Ok(Job::Work(work)) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                work(&mut teller, unix_ms());
                teller.catch_up(unix_ms())
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => {
                let done = teller.flush(unix_ms());
                return report(&mut teller, done, name, tell, &mut told);
            }
        };
        let done = done.and_then(|()| {
            if ticked.elapsed() < TICK {
                return Ok(());
            }
            ticked = Instant::now();
            teller.tick(unix_ms())
        });
        report(&mut teller, done, name, tell, &mut told);
    }
}

/// What people should know; each once.
fn report(
    teller: &mut Teller,
    done: Result<(), TellerError>,
    name: &str,
    tell: &watch::Sender<Picture>,
    told: &mut HashSet<&'static str>,
) {
    let (was, now) = (*tell.borrow(), teller.picture());
    if let Err(error) = done
        && !was.is_broken
    {
        tracing::error!(channel = name, error = %Chain(&error), "the channel's records cannot be written; nothing is paid any more");
    }
    for warning in teller.warnings() {
        tracing::warn!(channel = name, %warning, "the channel needs a look");
    }
    for act in teller.acts() {
        let what = match act {
            Act::RequestClose | Act::Settle(_) => "ask for the rest with `mulberry channel close`",
            Act::FinishClose => "fetch the rest with `mulberry channel close`",
            // Nothing is paid in from here.
            Act::Open { .. } | Act::TopUp { .. } => continue,
        };
        if told.insert(what) {
            tracing::warn!(
                channel = name,
                what,
                "something is due for the channel, which this program cannot do; stop it first"
            );
        }
    }
    if was.phase != now.phase && now.phase != Phase::Waking && was.phase != Phase::Waking {
        tracing::info!(channel = name, phase = ?now.phase, charged = %now.charged, "the channel's standing changed");
    }
    tell.send_if_modified(|picture| {
        let is_new = *picture != now;
        *picture = now;
        is_new
    });
}
