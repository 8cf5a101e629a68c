//! The contract's rules, and a chain that is late, loses and reorders what it is sent, and halts.

use billing::{
    Nano,
    channel::{Fact, OnChain, Settlement, State, payer::Act},
};

use crate::random::Random;

/// Who sent a message, to be told when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Payer,
    Payee,
    Watchtower,
    Thief,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) from: Sender,
    pub(crate) act: Act,
}

#[derive(Debug, Default)]
pub(crate) struct Chain {
    pub(crate) open: Option<OnChain>,
    pub(crate) was_open: bool,
    /// What the closed contract had paid out.
    last_claimed: Nano,
    pub(crate) close_delay_s: u32,
    pool: Vec<Message>,
    /// Final states, oldest first.
    blocks: Vec<Fact>,
    pub(crate) is_halted: bool,
    pub(crate) paid_in: Nano,
    pub(crate) paid_out: Nano,
    pub(crate) refunded: Nano,
    pub(crate) claimed: Nano,
}

fn less(from: Nano, what: Nano) -> Nano {
    from.checked_sub(what).expect("the contract holds it")
}

fn more(to: Nano, what: Nano) -> Nano {
    to.checked_add(what).expect("small")
}

impl Chain {
    pub(crate) fn new(close_delay_s: u32) -> Self {
        Self {
            close_delay_s,
            ..Self::default()
        }
    }

    pub(crate) fn send(&mut self, from: Sender, act: Act) {
        self.pool.push(Message { from, act });
    }

    /// Whether it is under way, or was done.
    pub(crate) fn knows(&self, act: &Act) -> bool {
        let is_done = match act {
            Act::Open { .. } => self.was_open,
            Act::TopUp { to, .. } => self.paid_in >= *to,
            _ => false,
        };
        is_done || self.pool.iter().any(|message| message.act == *act)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.pool.is_empty()
    }

    /// A block with some of what waits, in any order. What had no effect goes back to who sent it.
    pub(crate) fn block(&mut self, time_s: u32, random: &mut Random, is_calm: bool) -> Vec<Message> {
        let mut failed = Vec::new();
        if self.is_halted {
            return failed;
        }
        while !self.pool.is_empty() && (is_calm || !random.is_one_in(3)) {
            let message = self.pool.swap_remove(random.place(self.pool.len()));
            // Lost before it came to the chain: the wallet's message expired.
            let is_lost = !is_calm && random.is_one_in(8);
            if is_lost || !self.execute(&message.act, time_s) {
                failed.push(message);
            }
        }
        let seqno = self.blocks.last().map_or(1, |last| last.seqno + 1);
        let state = match self.open {
            Some(open) => State::Open(open),
            None => State::Absent {
                claimed: self.was_open.then_some(self.last_claimed),
            },
        };
        self.blocks.push(Fact { seqno, time_s, state });
        failed
    }

    /// Of the last blocks one, or the last.
    pub(crate) fn fact(&self, random: &mut Random, is_calm: bool) -> Option<Fact> {
        let back = if is_calm {
            0
        } else {
            random.place(self.blocks.len().clamp(1, 4))
        };
        self.blocks.len().checked_sub(1 + back).map(|at| self.blocks[at])
    }

    pub(crate) fn newest(&self) -> Option<Fact> {
        self.blocks.last().copied()
    }

    fn execute(&mut self, act: &Act, time_s: u32) -> bool {
        match (act, self.open) {
            (Act::Open { amount }, None) if !self.was_open => {
                self.was_open = true;
                self.paid_in = *amount;
                self.open = Some(OnChain {
                    close_at: None,
                    deposited: *amount,
                    claimed: Nano::ZERO,
                });
                true
            }
            (Act::TopUp { amount, .. }, Some(open)) if open.close_at.is_none() => {
                self.paid_in = more(self.paid_in, *amount);
                let deposited = more(open.deposited, *amount);
                self.open = Some(OnChain { deposited, ..open });
                true
            }
            (Act::RequestClose, Some(open)) if open.close_at.is_none() => {
                let close_at = Some(time_s + self.close_delay_s);
                self.open = Some(OnChain { close_at, ..open });
                true
            }
            (Act::FinishClose, Some(open)) if open.close_at.is_some_and(|at| time_s >= at) => {
                self.close(open);
                true
            }
            (Act::Settle(settlement), Some(open)) => self.settle(settlement, open),
            _ => false,
        }
    }

    fn settle(&mut self, settlement: &Settlement, open: OnChain) -> bool {
        let take = settlement.take();
        let claimed = take.amount().min(open.deposited).max(open.claimed);
        let delta = less(claimed, open.claimed);
        if delta.is_zero() && !(take.is_last() && take.amount() >= open.claimed) {
            return false;
        }
        assert!(
            delta.is_zero()
                || settlement
                    .voucher()
                    .is_some_and(|voucher| take.amount() <= voucher.max()),
            "a settlement that its voucher does not cover"
        );
        self.paid_out = more(self.paid_out, delta);
        self.claimed = claimed;
        let open = OnChain { claimed, ..open };
        self.open = Some(open);
        if take.is_last() {
            self.close(open);
        }
        true
    }

    fn close(&mut self, open: OnChain) {
        self.refunded = less(open.deposited, open.claimed);
        self.last_claimed = open.claimed;
        self.open = None;
    }
}
