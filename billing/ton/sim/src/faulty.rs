//! A source of chain answers that fails on demand: around any [`Chain`], for tests of whoever asks one.
//!
//! What is sent can be refused, lost, held back and let go later in another order, sent twice, or taken without an answer.
//! What is asked can go without an answer or be limited; be stale; and be a lie, about one account or about what things cost.
//! Faults are ordered one by one, or drawn from a seed. What must be done to the chain itself (a halt, a fork, other prices)
//! is done with [`crate::Simulated`].
//!
//! ```
//! use billing_ton::Chain;
//! use billing_ton::chain::ChainError;
//! use billing_ton_sim::{Faulty, Fault, Settings, Simulated};
//! use futures_util::FutureExt;
//!
//! let chain = Faulty::new(Simulated::in_memory(Settings::for_tests(1))?);
//! chain.fail_next(1, Fault::Limited);
//! assert!(matches!(chain.head().now_or_never(), Some(Err(ChainError::Limited))));
//! assert!(matches!(chain.head().now_or_never(), Some(Ok(_))));
//! # Ok::<(), billing_ton_sim::OpenError>(())
//! ```

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use billing::channel::{Account, Network};
use billing_ton::chain::{AccountState, Chain, ChainError, Cursor, Head, Transaction};
use fastrand::Rng;
use futures_util::future::{BoxFuture, FutureExt};

/// A chain with faults. Clones share them.
pub struct Faulty<C> {
    chain: Arc<C>,
    faults: Arc<Mutex<Faults>>,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No answer. What was sent did not arrive.
    Unreachable,
    /// "Come back later."
    Limited,
    /// Something that is no answer.
    Unreadable,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sending {
    /// It arrives.
    Arrives,
    /// The source refuses it, for this reason.
    Refused(String),
    /// Taken, and never seen again.
    Lost,
    /// Taken, and held back until [`Faulty::release`].
    Held,
    /// It arrives twice.
    Twice,
    /// It arrives, but the answer does not.
    Unanswered,
}

/// In which order held messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    AsSent,
    Reversed,
}

/// Of a thousand calls, how many fail in which way, where faults are drawn from a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odds {
    pub unreachable: u16,
    pub limited: u16,
    pub refused: u16,
    pub lost: u16,
    /// Each later message lets all that is held go first, in a drawn order, at every second time.
    pub held: u16,
    pub twice: u16,
    pub unanswered: u16,
}

type Lie = Arc<dyn Fn(AccountState) -> AccountState + Send + Sync>;

#[derive(Default)]
struct Faults {
    /// For the next calls.
    calls: VecDeque<Fault>,
    /// For all of them, when there are no others.
    always: Option<Fault>,
    /// For the next messages.
    sendings: VecDeque<Sending>,
    held: Vec<Vec<u8>>,
    drawn: Option<(Rng, Odds)>,
    /// The last answer about each account.
    known: HashMap<Account, AccountState>,
    /// Time has stood still here since.
    frozen: Option<Head>,
    lies: HashMap<Account, Lie>,
    parameters: BTreeMap<u32, Option<Vec<u8>>>,
}

impl<C> Clone for Faulty<C> {
    fn clone(&self) -> Self {
        Self {
            chain: Arc::clone(&self.chain),
            faults: Arc::clone(&self.faults),
        }
    }
}

impl<C: Chain> Faulty<C> {
    /// Without faults, until some are asked for.
    pub fn new(chain: C) -> Self {
        Self {
            chain: Arc::new(chain),
            faults: Arc::default(),
        }
    }

    /// With faults drawn from `seed`: the same calls fail in the same way.
    pub fn drawn(chain: C, seed: u64, odds: Odds) -> Self {
        let faulty = Self::new(chain);
        faulty.faults().drawn = Some((Rng::with_seed(seed), odds));
        faulty
    }

    /// The chain within.
    #[must_use]
    pub fn chain(&self) -> &C {
        &self.chain
    }

    /// The next `calls` calls of any kind fail so.
    pub fn fail_next(&self, calls: usize, fault: Fault) {
        self.faults().calls.extend(std::iter::repeat_n(fault, calls));
    }

    /// All calls fail so, or, with `None`, no longer.
    pub fn fail_always(&self, fault: Option<Fault>) {
        self.faults().always = fault;
    }

    /// What becomes of the next message for which nothing was said yet.
    pub fn send_next(&self, sending: Sending) {
        self.faults().sendings.push_back(sending);
    }

    /// How many messages are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.faults().held.len()
    }

    /// Lets go what is held; with what the chain said to each.
    pub async fn release(&self, order: Order) -> Vec<Result<(), ChainError>> {
        let mut held = std::mem::take(&mut self.faults().held);
        if order == Order::Reversed {
            held.reverse();
        }
        let mut answers = Vec::with_capacity(held.len());
        for message in held {
            answers.push(self.chain.send(&message).await);
        }
        answers
    }

    /// From here on the head, the accounts that were asked about before, and all histories stay as they are now.
    pub async fn freeze(&self) -> Result<(), ChainError> {
        let head = self.chain.head().await?;
        self.faults().frozen = Some(head);
        Ok(())
    }

    /// Ends [`Self::freeze`].
    pub fn thaw(&self) {
        self.faults().frozen = None;
    }

    /// Answers about `account` are what `lie` makes of them.
    pub fn lie(&self, account: Account, lie: impl Fn(AccountState) -> AccountState + Send + Sync + 'static) {
        self.faults().lies.insert(account, Arc::new(lie));
    }

    /// Parameter `index` of the configuration is said to be `value`.
    pub fn lie_about_parameter(&self, index: u32, value: Option<Vec<u8>>) {
        self.faults().parameters.insert(index, value);
    }

    /// Ends all lies.
    pub fn be_honest(&self) {
        let mut faults = self.faults();
        faults.lies.clear();
        faults.parameters.clear();
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self) -> Result<(), ChainError> {
        self.faults().admit()
    }
}

impl Faults {
    fn admit(&mut self) -> Result<(), ChainError> {
        let drawn = self.drawn.as_mut().and_then(|(rng, odds)| {
            draw(
                rng,
                [(odds.unreachable, Fault::Unreachable), (odds.limited, Fault::Limited)],
            )
        });
        match self.calls.pop_front().or(self.always).or(drawn) {
            None => Ok(()),
            Some(Fault::Unreachable) => Err(ChainError::Unreachable("a fault was asked for".to_owned())),
            Some(Fault::Limited) => Err(ChainError::Limited),
            Some(Fault::Unreadable) => Err(ChainError::Unreadable("a fault was asked for".to_owned())),
        }
    }

    fn sending(&mut self) -> Sending {
        if let Some(sending) = self.sendings.pop_front() {
            return sending;
        }
        let drawn = self.drawn.as_mut().and_then(|(rng, odds)| {
            draw(
                rng,
                [
                    (odds.refused, Sending::Refused("a fault was drawn".to_owned())),
                    (odds.lost, Sending::Lost),
                    (odds.held, Sending::Held),
                    (odds.twice, Sending::Twice),
                    (odds.unanswered, Sending::Unanswered),
                ],
            )
        });
        drawn.unwrap_or(Sending::Arrives)
    }

    /// Those held messages that go before the next one.
    fn let_go(&mut self) -> Vec<Vec<u8>> {
        let Some((rng, _)) = &mut self.drawn else {
            return Vec::new();
        };
        if self.held.is_empty() || !rng.bool() {
            return Vec::new();
        }
        rng.shuffle(&mut self.held);
        std::mem::take(&mut self.held)
    }
}

/// One of the faults, or none, by their odds.
fn draw<T, const N: usize>(rng: &mut Rng, odds: [(u16, T); N]) -> Option<T> {
    let mut number = rng.u16(..1_000);
    for (odds, fault) in odds {
        match number.checked_sub(odds) {
            None => return Some(fault),
            Some(rest) => number = rest,
        }
    }
    None
}

impl<C: Chain> Chain for Faulty<C> {
    fn network(&self) -> Network {
        self.chain.network()
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, ChainError>> {
        async move {
            self.admit()?;
            let frozen = self.faults().frozen;
            match frozen {
                Some(head) => Ok(head),
                None => self.chain.head().await,
            }
        }
        .boxed()
    }

    fn account(&self, account: Account) -> BoxFuture<'_, Result<AccountState, ChainError>> {
        async move {
            self.admit()?;
            let (frozen, known) = {
                let faults = self.faults();
                (faults.frozen, faults.known.get(&account).cloned())
            };
            let state = match (frozen, known) {
                (Some(head), Some(known)) => AccountState { head, ..known },
                (Some(head), None) => AccountState {
                    head,
                    ..self.chain.account(account).await?
                },
                (None, _) => self.chain.account(account).await?,
            };
            let lie = {
                let mut faults = self.faults();
                faults.known.insert(account, state.clone());
                faults.lies.get(&account).cloned()
            };
            Ok(match lie {
                Some(lie) => lie(state),
                None => state,
            })
        }
        .boxed()
    }

    fn transactions(
        &self,
        account: Account,
        after: Option<Cursor>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Transaction>, ChainError>> {
        async move {
            self.admit()?;
            let mut told = self.chain.transactions(account, after, limit).await?;
            let faults = self.faults();
            if let Some(head) = faults.frozen {
                let last = faults
                    .known
                    .get(&account)
                    .map(|state| state.last.map_or(0, |last| last.lt));
                told.retain(|transaction| {
                    transaction.time <= head.time && last.is_none_or(|last| transaction.at.lt <= last)
                });
            }
            Ok(told)
        }
        .boxed()
    }

    fn shows_former_lives(&self) -> bool {
        self.chain.shows_former_lives()
    }

    fn send<'a>(&'a self, message: &'a [u8]) -> BoxFuture<'a, Result<(), ChainError>> {
        async move {
            self.admit()?;
            let (let_go, sending) = {
                let mut faults = self.faults();
                (faults.let_go(), faults.sending())
            };
            for held in let_go {
                // Whoever sent it was told long ago that it was taken.
                self.chain.send(&held).await.unwrap_or_default();
            }
            match sending {
                Sending::Arrives => self.chain.send(message).await,
                Sending::Refused(reason) => Err(ChainError::Refused(reason)),
                Sending::Lost => Ok(()),
                Sending::Held => {
                    self.faults().held.push(message.to_vec());
                    Ok(())
                }
                Sending::Twice => {
                    let answer = self.chain.send(message).await;
                    // What the chain says to the second one, nobody hears.
                    self.chain.send(message).await.unwrap_or_default();
                    answer
                }
                Sending::Unanswered => {
                    self.chain.send(message).await.unwrap_or_default();
                    Err(ChainError::Unreachable("the answer was lost".to_owned()))
                }
            }
        }
        .boxed()
    }

    fn config_parameter(&self, index: u32) -> BoxFuture<'_, Result<Option<Vec<u8>>, ChainError>> {
        async move {
            self.admit()?;
            let lie = self.faults().parameters.get(&index).cloned();
            match lie {
                Some(value) => Ok(value),
                None => self.chain.config_parameter(index).await,
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
