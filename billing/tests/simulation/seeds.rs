//! Histories on all cores, the first seeds first, and what who runs them asks for.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A number in the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration; its seed comes from who runs it"
)]
pub(crate) fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Plays from seed 0 on, until `is_enough` says so of a seed or one went wrong. `play` adds what happened to the sum, and
/// says whether all was well. The sum, and the first seed that went wrong.
pub(crate) fn play_all<S: Default + Send>(
    is_enough: impl Fn(u64) -> bool + Sync,
    play: impl Fn(u64, &mut S) -> bool + Sync,
    add: impl Fn(&mut S, &S) + Sync,
) -> (S, Option<u64>) {
    let next = AtomicU64::new(0);
    let wrong = AtomicU64::new(u64::MAX);
    let sum = Mutex::new(S::default());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut stats = S::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if is_enough(seed) || seed >= wrong.load(Ordering::Relaxed) {
                        break;
                    }
                    if !play(seed, &mut stats) {
                        wrong.fetch_min(seed, Ordering::Relaxed);
                    }
                }
                add(&mut sum.lock().expect("no thread panicked"), &stats);
            });
        }
    });
    let wrong = wrong.into_inner();
    let sum = sum.into_inner().expect("no thread panicked");
    (sum, (wrong != u64::MAX).then_some(wrong))
}
