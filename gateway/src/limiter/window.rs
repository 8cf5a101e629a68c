//! A sum over any 60 seconds, in constant memory.
//!
//! Amounts fall into buckets of 100 ms, and a bucket counts until 60 s after its *latest* amount: what is in a window
//! is never counted too little, and too long by less than a bucket.
//! Time is an argument, in milliseconds since any start; a time before the latest seen is taken as the latest.

/// The length of the window.
pub(super) const SPAN_MS: u64 = 60_000;
const BUCKET_MS: u64 = 100;
/// Those of 60 s, and the one that is being filled.
const BUCKETS: u64 = SPAN_MS / BUCKET_MS + 1;

/// What was used in the last 60 s.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The latest time seen.
    now_ms: u64,
    /// The oldest bucket that counts; all before it are empty.
    oldest: u64,
    /// The bucket that was filled last.
    newest: u64,
    sum: u64,
    /// By the number of the bucket, modulo their count. Empty until something was added: most accounts rest.
    counts: Box<[u32]>,
    /// When the latest amount of a bucket came, in milliseconds after the bucket's beginning.
    latest: Box<[u8]>,
}

/// Where an amount was added, so that it can be taken back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(u64);

impl Window {
    /// What counts now.
    pub(super) fn used(&mut self, now_ms: u64) -> u64 {
        self.now_ms = self.now_ms.max(now_ms);
        let current = self.now_ms / BUCKET_MS;
        while self.sum > 0 && (self.count(self.oldest) == 0 || self.expiry(self.oldest) <= self.now_ms) {
            let slot = slot(self.oldest);
            self.sum -= u64::from(self.counts[slot]);
            self.counts[slot] = 0;
            self.oldest += 1;
        }
        if self.sum == 0 {
            self.oldest = current;
            self.newest = current;
        }
        self.sum
    }

    /// Adds an amount, whether or not there is room.
    pub(super) fn add(&mut self, now_ms: u64, amount: u64) -> Mark {
        self.used(now_ms);
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS as usize].into();
            self.latest = vec![0; BUCKETS as usize].into();
        }
        let current = self.now_ms / BUCKET_MS;
        let slot = slot(current);
        let before = self.counts[slot];
        // A limit has 32 bits: a bucket that is full is above every limit.
        self.counts[slot] = before.saturating_add(u32::try_from(amount).unwrap_or(u32::MAX));
        self.sum += u64::from(self.counts[slot] - before);
        self.latest[slot] = (self.now_ms % BUCKET_MS) as u8;
        self.newest = current;
        Mark(current)
    }

    /// Takes back what was added at `mark`, where it still counts.
    pub(super) fn take_back(&mut self, mark: Mark, amount: u64) {
        if amount == 0 || !(self.oldest..=self.newest).contains(&mark.0) {
            return;
        }
        let slot = slot(mark.0);
        let amount = self.counts[slot].min(u32::try_from(amount).unwrap_or(u32::MAX));
        self.counts[slot] -= amount;
        self.sum -= u64::from(amount);
    }

    /// How long until `amount` more stays within `limit`, if nothing else comes; 0 if it does now.
    ///
    /// An amount above the limit never does: then it is how long until nothing counts.
    pub(super) fn wait_ms(&self, amount: u64, limit: u64) -> u64 {
        let mut left = (self.sum + amount).saturating_sub(limit).min(self.sum);
        let mut bucket = self.oldest;
        while left > 0 {
            let count = u64::from(self.count(bucket));
            if count >= left {
                return self.expiry(bucket).saturating_sub(self.now_ms);
            }
            left -= count;
            bucket += 1;
        }
        0
    }

    fn count(&self, bucket: u64) -> u32 {
        self.counts[slot(bucket)]
    }

    /// From when on a bucket no longer counts. One more than the span, for times were rounded down.
    fn expiry(&self, bucket: u64) -> u64 {
        bucket * BUCKET_MS + u64::from(self.latest[slot(bucket)]) + SPAN_MS + 1
    }
}

fn slot(bucket: u64) -> usize {
    (bucket % BUCKETS) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a window must not forget, and what it must have forgotten.
    #[derive(Default)]
    struct Model(Vec<(u64, u64)>);

    impl Model {
        fn within(&self, now_ms: u64, span_ms: u64) -> u64 {
            let recent = self.0.iter().filter(|(at, _)| now_ms - at <= span_ms);
            recent.map(|(_, amount)| amount).sum()
        }
    }

    /// Pauses as clients make them: none, short, about a bucket, about a window.
    fn pause() -> impl Strategy<Value = u64> {
        prop_oneof![4 => Just(0_u64), 4 => 0..50_u64, 4 => 90..110_u64, 2 => 0..5_000_u64, 1 => 59_800..60_200_u64, 1 => 0..200_000_u64]
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_in_any_window(
            limit in 1..40_u64,
            steps in prop::collection::vec((pause(), 1..4_u64), 1..400),
        ) {
            let mut window = Window::default();
            let mut model = Model::default();
            let mut now_ms = 0;
            for (pause, amount) in steps {
                now_ms += pause;
                let used = window.used(now_ms);
                prop_assert!(used >= model.within(now_ms, SPAN_MS), "forgot something");
                prop_assert!(used <= model.within(now_ms, SPAN_MS + BUCKET_MS), "remembers too much");
                let wait = window.wait_ms(amount, limit);
                prop_assert!(wait <= SPAN_MS + 1);
                if used + amount <= limit {
                    prop_assert_eq!(wait, 0);
                    window.add(now_ms, amount);
                    model.0.push((now_ms, amount));
                } else if amount <= limit {
                    prop_assert!(wait > 0);
                    // What was told is true to the millisecond.
                    let then = now_ms + wait;
                    let left: u64 = model.within(then, SPAN_MS);
                    prop_assert!(left + amount <= limit, "told to come too early");
                }
            }
            let ends: Vec<u64> = model.0.iter().map(|(at, _)| *at).collect();
            for end in ends {
                let earlier = Model(model.0.iter().filter(|(at, _)| *at <= end).copied().collect());
                prop_assert!(earlier.within(end, SPAN_MS) <= limit, "more than {limit} in the window up to {end}");
            }
        }

        #[test]
        fn what_is_taken_back_no_longer_counts(
            steps in prop::collection::vec((pause(), 1..1000_u64, 0..1000_u64), 1..300),
        ) {
            let mut window = Window::default();
            let mut model = Model::default();
            let mut marks = Vec::new();
            let mut now_ms = 0;
            for (pause, amount, choice) in steps {
                now_ms += pause;
                marks.push((model.0.len(), window.add(now_ms, amount)));
                model.0.push((now_ms, amount));
                if choice % 3 == 0 {
                    let (index, mark) = marks.swap_remove(choice as usize % marks.len());
                    let back = choice % (model.0[index].1 + 1);
                    // A bucket counts as one; what it took back may have been another's that expired with it.
                    window.used(now_ms);
                    window.take_back(mark, back);
                    model.0[index].1 -= back;
                }
                let used = window.used(now_ms);
                prop_assert!(used >= model.within(now_ms, SPAN_MS));
                prop_assert!(used <= model.within(now_ms, SPAN_MS + BUCKET_MS));
            }
            prop_assert_eq!(window.used(now_ms + 2 * SPAN_MS), 0);
        }
    }

    #[test]
    fn room_returns_when_the_first_is_a_window_old() {
        let mut window = Window::default();
        window.add(1_234, 1);
        window.add(5_000, 1);
        assert_eq!(window.wait_ms(1, 2), 1_234 + SPAN_MS + 1 - 5_000);
        assert_eq!(window.used(1_234 + SPAN_MS), 2);
        assert_eq!(window.used(1_234 + SPAN_MS + 1), 1);
        assert_eq!(window.wait_ms(1, 2), 0);
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing() {
        let mut window = Window::default();
        window.add(100_000, 3);
        assert_eq!(window.used(1), 3);
        window.add(1, 1);
        assert_eq!(window.used(100_000 + SPAN_MS), 4);
        assert_eq!(window.used(100_000 + SPAN_MS + 1), 0);
    }

    #[test]
    fn absurd_amounts_do_not_overflow() {
        let mut window = Window::default();
        let mark = window.add(0, u64::MAX);
        window.add(0, u64::MAX);
        assert_eq!(window.used(0), u64::from(u32::MAX));
        window.take_back(mark, u64::MAX);
        assert_eq!(window.used(0), 0);
    }
}
