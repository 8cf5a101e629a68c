//! Acts: what is done on the chain for the channels to workers, through the settler.

use std::collections::BTreeMap;

use billing::{
    Nano,
    channel::{
        Account, Channel, Payer,
        payer::{Act, Event},
    },
};
use billing_ton::{
    contract::{self, Operation, Prices, RENT_RESERVE, Request, Settle},
    settler::{
        self, Goal, Job, Key, Kind,
        drive::{News, Orders},
    },
};

use tokio::time::Instant;

use super::Shared;
use crate::{chain_source::ChainSilent, layers::rescue::Chain, wall_clock::unix_ms};

/// What is to be done on the chain: of each kind one for a channel, however often it is asked for.
#[derive(Debug, Default)]
pub(super) struct Acts {
    wanted: BTreeMap<Key, Act>,
    /// Channels that are over: what was ordered for them is of no use.
    over: Vec<Account>,
}

impl Acts {
    /// In place of one of the same kind that waits.
    pub(super) fn want(&mut self, channel: Account, act: Act) {
        let kind = kind(&act);
        self.wanted.insert(Key { kind, channel }, act);
    }

    pub(super) fn forget(&mut self, channel: &Account) {
        self.wanted.retain(|key, _| key.channel != *channel);
        self.over.push(*channel);
    }

    /// All that waits, and the channels that are over.
    pub(super) fn take(&mut self) -> (BTreeMap<Key, Act>, Vec<Account>) {
        (std::mem::take(&mut self.wanted), std::mem::take(&mut self.over))
    }

    /// What could not be ordered; what was asked for since is newer.
    pub(super) fn put_back(&mut self, acts: BTreeMap<Key, Act>) {
        for (key, act) in acts {
            self.wanted.entry(key).or_insert(act);
        }
    }
}

const fn kind(act: &Act) -> Kind {
    match act {
        Act::Open { .. } | Act::TopUp { .. } => Kind::Deposit,
        // Either ends the channel, and the settler has one job for that.
        Act::Settle(settlement) if settlement.take().is_last() => Kind::FinishClose,
        Act::FinishClose => Kind::FinishClose,
        Act::Settle(_) => Kind::Settle,
        Act::RequestClose => Kind::RequestClose,
    }
}

impl Shared {
    /// Orders them, unless nobody tells what that costs.
    pub(super) async fn carry_out(&self, orders: &Orders, acts: &BTreeMap<Key, Act>) -> Result<(), ChainSilent> {
        if acts.is_empty() {
            return Ok(());
        }
        let prices = self.chain.prices().await?;
        for (key, act) in acts {
            let channel = self.lock().payer(&key.channel).map(|payer| *payer.channel());
            let Some(channel) = channel else { continue };
            // The settler that has stopped has said why.
            orders.want(job(&channel, act, &prices)).await.ok();
        }
        Ok(())
    }

    /// The channel is over.
    pub(super) async fn forget(&self, orders: &Orders, channel: Account) {
        for kind in [Kind::Settle, Kind::RequestClose, Kind::FinishClose, Kind::Deposit] {
            orders.forget(Key { kind, channel }).await.ok();
        }
    }

    /// What came of it.
    pub(super) fn hear(&self, news: &News) {
        match news {
            News::Accepted(_) => {}
            News::Done(key, _) => {
                tracing::info!(channel = %key.channel, done = %key, "the chain shows what was done for a worker's channel");
            }
            News::Declined(key, why) => {
                tracing::warn!(channel = %key.channel, %why, "a payment for a worker's channel is not made now");
                self.declined(key);
            }
            News::GaveUp(key, why) => {
                tracing::error!(channel = %key.channel, %why, "a payment for a worker's channel was given up");
                self.failed(key);
            }
            News::Unsure(channel, why) => {
                tracing::warn!(%channel, why, "a payment for a worker's channel waits, because nobody can be believed");
            }
            News::Alert(settler::Alert::Recovered) => tracing::info!("the wallet that pays workers is well again"),
            // It goes on by itself.
            News::Alert(settler::Alert::Expired) => {
                tracing::info!("a message of the wallet that pays workers came to nothing; it is made anew");
            }
            News::Alert(alert) => {
                tracing::warn!(why = %Chain(alert), "the wallet that pays workers needs somebody");
            }
        }
    }

    /// What is not a deposit is asked for again by itself.
    fn declined(&self, key: &Key) {
        let mut state = self.lock();
        let Some(payee) = state.payee_of(&key.channel).filter(|_| key.kind == Kind::Deposit) else {
            return;
        };
        if let Some(payee) = state.payees.get_mut(&payee) {
            payee.declined = Some(Instant::now());
        }
    }

    fn failed(&self, key: &Key) {
        if key.kind != Kind::Deposit {
            return;
        }
        self.with(|state, entry| {
            let Some(payee) = state.payee_of(&key.channel) else {
                return;
            };
            if let Some(act) = state.payer(&key.channel).and_then(Payer::pending_payment) {
                state.step(entry, &payee, Event::Failed(act), unix_ms());
            }
        });
    }
}

fn job(channel: &Channel, act: &Act, prices: &Prices) -> Job {
    let account = channel.id.account;
    let bare = |goal, operation, request: Request| Job {
        channel: account,
        goal,
        amount: prices.bring(operation),
        body: request.encode(),
        init: None,
    };
    let pay = |amount: Nano, to: Nano| Job {
        amount: amount.saturating_add(prices.bring(Operation::TopUp)),
        ..bare(
            Goal::Deposited(to),
            Operation::TopUp,
            Request::TopUp { query_id: 0, amount },
        )
    };
    match act {
        Act::Open { amount } => {
            let job = pay(*amount, *amount);
            Job {
                // What the contract keeps for its rent.
                amount: job.amount.saturating_add(RENT_RESERVE),
                init: Some(contract::state_init(&channel.terms, &channel.keys)),
                ..job
            }
        }
        Act::TopUp { amount, to } => pay(*amount, *to),
        Act::Settle(settlement) if settlement.take().is_last() => {
            bare(Goal::Gone, Operation::Close, Request::Settle(Settle::of(settlement, 0)))
        }
        Act::Settle(settlement) => {
            let goal = Goal::Claimed(settlement.take().amount());
            bare(goal, Operation::Settle, Request::Settle(Settle::of(settlement, 0)))
        }
        Act::RequestClose => bare(
            Goal::Closing,
            Operation::RequestClose,
            Request::RequestClose { query_id: 0 },
        ),
        Act::FinishClose => bare(Goal::Gone, Operation::FinishClose, Request::FinishClose { query_id: 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Account = Account {
        workchain: 0,
        hash: [1; 32],
    };

    #[test]
    fn an_act_that_waits_is_there_once() {
        let mut acts = Acts::default();
        let nano = Nano::saturating;
        for round in 0..1000 {
            acts.want(ONE, Act::RequestClose);
            acts.want(ONE, Act::FinishClose);
            let (amount, to) = (nano(1), nano(round));
            acts.want(ONE, Act::TopUp { amount, to });
            // Nobody tells the chain's prices.
            let (taken, _) = acts.take();
            acts.put_back(taken);
        }
        let (taken, over) = acts.take();
        assert_eq!((taken.len(), over.len()), (3, 0));
        let (amount, to) = (nano(1), nano(999));
        assert!(
            taken.values().any(|act| *act == Act::TopUp { amount, to }),
            "the newest"
        );
        acts.put_back(taken);
        acts.forget(&ONE);
        let (taken, over) = acts.take();
        assert_eq!((taken.len(), over), (0, vec![ONE]));
    }

    #[test]
    fn what_was_asked_for_since_is_newer() {
        let mut acts = Acts::default();
        let nano = Nano::saturating;
        acts.want(ONE, Act::Open { amount: nano(1) });
        let (taken, _) = acts.take();
        acts.want(ONE, Act::Open { amount: nano(2) });
        acts.put_back(taken);
        let (taken, _) = acts.take();
        assert_eq!(taken.into_values().collect::<Vec<_>>(), [Act::Open { amount: nano(2) }]);
    }
}
