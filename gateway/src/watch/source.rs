//! One source of the chain: whether it answers, and what it says happened to the channels.

use std::time::Duration;

use billing_ton::follower::{self, Event, Follower};
use tokio::time::Instant;

use super::{
    alarm::{Alarm, Alert},
    board::Board,
};
use crate::{chain_source::ChainSource, layers::rescue::Chain as Causes};

/// A source, and how far it was followed.
pub(super) struct Source {
    pub(super) chain: ChainSource,
    pub(super) follower: Follower,
    /// Its head is asked for then.
    due: Instant,
    every: Duration,
    is_silent: bool,
}

impl Source {
    pub(super) fn new(chain: ChainSource, every: Duration) -> Self {
        Self {
            follower: Follower::new(every.as_secs().max(1)),
            chain,
            due: Instant::now(),
            every,
            is_silent: false,
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// One round. One that does not answer is asked for its head alone until it does.
    pub(super) async fn poll(&mut self, now_s: u64, board: &Board, alarm: &Alarm) -> Vec<Event> {
        if Instant::now() >= self.due {
            self.due = Instant::now() + self.every;
            self.hear_of(board, alarm).await;
        }
        if self.is_silent {
            return Vec::new();
        }
        let chain = self.chain.chain().clone();
        follower::poll(&mut self.follower, chain.as_ref(), now_s).await
    }

    /// Whether it is there, and how far.
    async fn hear_of(&mut self, board: &Board, alarm: &Alarm) {
        let who = self.chain.names().join(", ");
        match self.chain.chain().head().await {
            Ok(head) => {
                board.heard(head);
                if std::mem::take(&mut self.is_silent) {
                    tracing::info!(source = who, block = head.seqno, "a source of the chain answers again");
                }
            }
            Err(error) if !std::mem::replace(&mut self.is_silent, true) => {
                let alert = Alert {
                    code: "chain_silent",
                    text: format!("{who} does not answer: {}", Causes(&error)),
                    channel: None,
                };
                alarm.sound(board, alert);
            }
            Err(_) => {}
        }
    }
}
