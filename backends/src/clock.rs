//! The clock of a body: idle between frames, and the total.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::time::Sleep;

use crate::error::Clock;

/// Runs out when nothing came for `idle`, or when `deadline` has passed.
///
/// Noting a frame is one look at the time; the timer itself moves only when it fires.
#[derive(Debug)]
pub struct BodyClock {
    idle: Duration,
    total: Duration,
    deadline: Instant,
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl BodyClock {
    pub fn new(idle: Duration, started: Instant, total: Duration, deadline: Instant) -> Self {
        Self {
            idle,
            total: deadline.saturating_duration_since(started).min(total),
            deadline,
            last: Instant::now(),
            timer: None,
        }
    }

    /// A frame came. Refuses it when the total is over, for a body that never pauses is never pending.
    pub fn touch(&mut self) -> Result<(), Clock> {
        self.last = Instant::now();
        if self.last >= self.deadline {
            Err(Clock::Total(self.total))
        } else {
            Ok(())
        }
    }

    /// Ready when time is up. Call it after the body was pending.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Clock> {
        loop {
            let (due, clock) = self.due();
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(clock);
            }
            timer.as_mut().reset(due.into());
        }
    }

    fn due(&self) -> (Instant, Clock) {
        let idle = self.last + self.idle;
        if idle < self.deadline {
            (idle, Clock::Idle(self.idle))
        } else {
            (self.deadline, Clock::Total(self.total))
        }
    }
}

/// The time of day, in seconds since 1970: what verdicts are dated in.
#[expect(
    clippy::disallowed_methods,
    reason = "a verdict ends at a date, which only the clock of the day knows"
)]
pub(crate) fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}
