//! Acts: what is done on the chain for the channels to workers, through the settler.

use billing::{
    Nano,
    channel::{
        Account, Channel,
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

use super::Shared;
use crate::{layers::rescue::Chain, wall_clock::unix_ms};

impl Shared {
    /// Orders it; what cannot be ordered now is ordered later.
    pub(super) async fn carry_out(&self, orders: &Orders, acts: Vec<(Account, Act)>) {
        if acts.is_empty() {
            return;
        }
        let prices = match self.chain.prices().await {
            Ok(prices) => prices,
            Err(error) => {
                tracing::warn!(cause = %Chain(&error), "payments to workers wait for the chain's prices");
                self.lock().acts.splice(0..0, acts);
                return;
            }
        };
        for (account, act) in acts {
            let channel = {
                let state = self.lock();
                let payee = state.payee_of(&account).and_then(|key| state.payees.get(&key));
                payee
                    .and_then(|payee| payee.channel.as_ref())
                    .map(|payer| *payer.channel())
            };
            let Some(channel) = channel else { continue };
            // The settler that has stopped has said why.
            orders.want(job(&channel, &act, &prices)).await.ok();
        }
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
                tracing::warn!(channel = %key.channel, %why, "a payment for a worker's channel is not made");
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

    fn failed(&self, key: &Key) {
        if key.kind != Kind::Deposit {
            return;
        }
        self.with(|state, entry| {
            let Some(payee) = state.payee_of(&key.channel) else {
                return;
            };
            let payer = state.payees.get(&payee).and_then(|payee| payee.channel.as_ref());
            if let Some(act) = payer.and_then(|payer| payer.pending_payment()) {
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
