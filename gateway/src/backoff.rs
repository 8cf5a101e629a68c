//! Backoff: how long to wait before the next try, longer each time, and never at the same moment as everybody else.

use std::time::Duration;

/// Doubles from `first` to `last`; what is waited is drawn between half of it and all of it.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, last: Duration) -> Self {
        Self {
            first,
            last,
            next: first,
        }
    }

    /// How long to wait now.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.last);
        wait.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// It went well for a while.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_anew() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, second * 4);
        for full in [1, 2, 4, 4] {
            let wait = backoff.next();
            assert!(
                wait >= second * full / 2 && wait <= second * full,
                "{wait:?} of {full} s"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= second);
    }
}
