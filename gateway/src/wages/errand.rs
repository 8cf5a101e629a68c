//! An errand: one request on its way to a worker that is paid for it, from the choice of the worker to what it earned.
//!
//! Nothing here waits: what is held is held in memory, and what is written is written by others later.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use backends::{
    attempt::{Admission, Hooks, Ranking},
    upstream::Upstream,
};
use billing::{Currency, Estimate, Fee, Nano, Output, PromptBound, Tariff, Terms, Usage, Wage, channel::HoldId};

use super::{Held, Refused, Wages};
use crate::layers::meter::Extent;

/// What a request may come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nobody is paid for it.
    Nothing,
    /// The price for a request, for nobody counts its tokens.
    Request,
    Tokens {
        prompt: PromptBound,
        output: Output,
    },
}

impl Ask {
    /// What no usage within its bounds exceeds at this price.
    fn ceiling(self, tariff: Tariff) -> Nano {
        let terms = Terms {
            tariff,
            fee: Fee::default(),
            currency: Currency::TON,
            rate: None,
        };
        match self {
            Self::Nothing => Nano::ZERO,
            Self::Request => tariff.cost(&Usage::default()),
            Self::Tokens { prompt, output } => Estimate::new(prompt, output).ceiling(&terms),
        }
    }

    /// The bounds within which usage is believed where nobody else has set any.
    fn extent(self) -> Extent {
        match self {
            Self::Nothing | Self::Request => Extent::PER_REQUEST,
            Self::Tokens { prompt, output } => {
                let Estimate { prompt, output: tokens } = Estimate::new(prompt, output);
                Extent {
                    prompt,
                    output: tokens,
                    answers: output.choices.saturating_mul(output.prompts),
                    is_text: false,
                    is_measured: true,
                }
            }
        }
    }
}

/// One request that workers are asked to serve and are paid for.
pub(crate) struct Errand {
    wages: Wages,
    ask: Ask,
    held: Mutex<Option<Held>>,
}

impl Errand {
    pub(crate) fn new(wages: &Wages, ask: Ask) -> Arc<Self> {
        Arc::new(Self {
            wages: wages.clone(),
            ask,
            held: Mutex::new(None),
        })
    }

    pub(crate) fn extent(&self) -> Extent {
        self.ask.extent()
    }

    /// The worker that was asked last has earned so much; nothing, without a usage. `None` where it is not paid.
    pub(crate) fn earned(&self, usage: Option<&Usage>) -> Option<Wage> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let amount = usage.map_or(Nano::ZERO, |usage| held.tariff.cost(usage));
        self.wages.settle(&held, amount)
    }

    /// Holds for this worker, and for no other any more.
    fn hold(&self, upstream: &Upstream) -> Result<(), Refused> {
        // The one that was asked before has failed.
        self.earned(None);
        if self.ask == Ask::Nothing {
            return Ok(());
        }
        let id = HoldId(fastrand::u128(..).to_be_bytes());
        let held = self.wages.hold(&upstream.name, id, |tariff| self.ask.ceiling(tariff))?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }
}

impl Hooks for Errand {
    fn rank(&self, candidates: &mut Vec<Arc<Upstream>>) -> Ranking {
        candidates.retain(|upstream| self.wages.may_serve(&upstream.name).is_ok());
        Ranking::Open
    }

    fn admit<'a>(&'a self, upstream: &'a Upstream) -> Option<Admission<'a>> {
        match self.hold(upstream) {
            Ok(()) => None,
            Err(refused) => Some(Box::pin(std::future::ready(Err(refused.into())))),
        }
    }
}

/// Whoever did not say what was earned leaves it at nothing.
impl Drop for Errand {
    fn drop(&mut self) {
        self.earned(None);
    }
}

impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errand({:?})", self.ask)
    }
}
