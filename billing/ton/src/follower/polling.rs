//! One round of following: asks what is to be asked, and tells what happened.

use billing::{Nano, channel::Account};

use super::{Ask, Event, Follower, Told};
use crate::{
    chain::{Chain, ChainError},
    sources::{Sources, SourcesError},
};

/// Histories of one account that are asked for in one round.
const MAX_CATCHING_UP: usize = 8;
/// A source that does not answer so often in a row is asked in the next round.
const MAX_FAILURES: u32 = 3;

/// What a round over two sources came to.
#[derive(Debug, Default)]
pub struct Round {
    pub events: Vec<Event>,
    /// Accounts that much depends on, and that two sources did not say the same of. What the first one says is followed
    /// where it does not contradict the other; what it hides is not seen. One that stays here for minutes is a reason to
    /// settle.
    pub unsure: Vec<(Account, SourcesError)>,
}

/// Whom to ask.
enum Asked<'a> {
    One(&'a dyn Chain),
    Two(&'a Sources, &'a (dyn Fn(&Account) -> Nano + Sync)),
}

/// One round on one source's word. Call it again and again, every second or so, and keep the positions of the accounts
/// that events are about.
pub async fn poll(follower: &mut Follower, chain: &dyn Chain, now_s: u64) -> Vec<Event> {
    round(follower, &Asked::One(chain), now_s).await.events
}

/// One round as [`poll`] does it, where `at_stake` is what is lost of an account if its closing is not seen: what was
/// taken and not claimed. Above the sources' set amount, alone or together with others, two must say the same.
pub async fn poll_sources(
    follower: &mut Follower,
    sources: &Sources,
    at_stake: &(dyn Fn(&Account) -> Nano + Sync),
    now_s: u64,
) -> Round {
    round(follower, &Asked::Two(sources, at_stake), now_s).await
}

async fn round(follower: &mut Follower, asked: &Asked<'_>, now_s: u64) -> Round {
    let mut round = Round::default();
    let mut asks = follower.asks(now_s);
    let mut failures = 0;
    // Who is behind is caught up with at once, within this round's bound.
    for _ in 0..MAX_CATCHING_UP {
        let mut behind = Vec::new();
        for ask in asks {
            let (Ask::State(account) | Ask::History { account, .. }) = ask;
            if failures >= MAX_FAILURES {
                // Each would be waited for, and everybody else with it.
                follower.hurry(&account);
                continue;
            }
            let Some(told) = asked.ask(ask, &mut round.unsure).await else {
                continue;
            };
            let is_answer = !matches!(told, Told::Failed(..));
            match &told {
                Told::Failed(_, ChainError::Unreachable(_) | ChainError::Limited) => failures += 1,
                _ => failures = 0,
            }
            round.events.extend(follower.step(told));
            if is_answer {
                behind.extend(follower.behind(&account));
            }
        }
        if behind.is_empty() {
            break;
        }
        asks = behind;
    }
    round
}

impl Asked<'_> {
    /// `None` where two sources do not let us say anything.
    async fn ask(&self, ask: Ask, unsure: &mut Vec<(Account, SourcesError)>) -> Option<Told> {
        match ask {
            Ask::State(account) => self.state(account, unsure).await,
            Ask::History { account, after, limit } => {
                let told = match self {
                    Self::One(chain) => chain
                        .transactions(account, after, limit)
                        .await
                        .map_err(SourcesError::First),
                    Self::Two(sources, at_stake) => {
                        sources.transactions(account, after, limit, at_stake(&account)).await
                    }
                };
                match told {
                    Ok(history) => Some(Told::History(account, history)),
                    Err(SourcesError::First(error) | SourcesError::Second(error)) => Some(Told::Failed(account, error)),
                    Err(error) => {
                        unsure.push((account, error));
                        None
                    }
                }
            }
        }
    }

    async fn state(&self, account: Account, unsure: &mut Vec<(Account, SourcesError)>) -> Option<Told> {
        let first = match self {
            Self::One(chain) => *chain,
            Self::Two(sources, at_stake) => match sources.account(account, at_stake(&account)).await {
                Ok(state) => return Some(Told::State(account, state)),
                Err(error) => {
                    // A closing that one source tells of is worth knowing, whatever the other one does not say.
                    let is_heard = matches!(
                        error,
                        SourcesError::NoSecond { .. } | SourcesError::Second(_) | SourcesError::Apart { .. }
                    );
                    unsure.push((account, error));
                    if !is_heard {
                        return None;
                    }
                    sources.first().as_ref()
                }
            },
        };
        Some(match first.account(account).await {
            Ok(state) => Told::State(account, state),
            Err(error) => Told::Failed(account, error),
        })
    }
}
