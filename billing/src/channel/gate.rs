//! Durable first: what may not happen before a record is on disk waits here until the caller says that it is.

use std::collections::VecDeque;

/// Comes with a record and goes back, in a `Persisted` event, when the record is on disk.
///
/// It is neither copied nor made elsewhere. Records must reach the disk in the order in which they were handed out: a
/// ticket speaks for all before it, so that who writes many at once gives back the last one only.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what waits for the record happens when the ticket is given back"]
pub struct Ticket(u64);

#[derive(Debug)]
pub(super) struct Gate<T> {
    /// The last ticket that was handed out, and the last that came back.
    handed: u64,
    back: u64,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Gate<T> {
    pub(super) const fn new() -> Self {
        Self {
            handed: 0,
            back: 0,
            waiting: VecDeque::new(),
        }
    }

    /// So much waits for a disk that what a peer says is better lost than kept: it is said again.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= 1024
    }

    pub(super) const fn ticket(&mut self) -> Ticket {
        // More than a nanosecond's worth of tickets for five hundred years.
        self.handed = self.handed.saturating_add(1);
        Ticket(self.handed)
    }

    /// Given back at once where no record is under way.
    pub(super) fn after(&mut self, what: T) -> Option<T> {
        if self.back == self.handed {
            return Some(what);
        }
        self.waiting.push_back((self.handed, what));
        None
    }

    /// What waited for this record and those before it, in its order.
    pub(super) fn open(&mut self, ticket: &Ticket) -> Vec<T> {
        self.back = self.back.max(ticket.0);
        let mut free = Vec::new();
        while let Some((_, what)) = self.waiting.pop_front_if(|(waits_for, _)| *waits_for <= self.back) {
            free.push(what);
        }
        free
    }
}
