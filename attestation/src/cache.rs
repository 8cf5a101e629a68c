//! What was found of quotes before, so that a peer who comes back costs a look-up.
//!
//! Remembered is what `dcap-qvl` and the rules of step 9 said of one quote under one policy and one generation of
//! collateral; a change of either finds nothing. Whom it is for, dates, measurements and lists are asked every time.
//! A quote is found again by all its bytes. By the signed part alone a good one would be found under a broken signature
//! too, and whoever archives the evidence of a verdict would archive bytes that nobody verified; and a broken copy would
//! speak against the good one. Good and refused ones are bounded apart from each other: who floods us with broken quotes
//! drives out no good one.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{Hex, Quote, Refusal, digest::sha256};

/// Of each kind.
const ENTRIES: usize = 1024;

/// What was refused may have been a fault that was just repaired.
const REFUSAL_SECONDS: u64 = 10;

pub(crate) struct Cache<T> {
    shelves: Mutex<Shelves<T>>,
}

struct Shelves<T> {
    good: Shelf<T>,
    refused: Shelf<Refusal>,
    /// Counts uses, to know what was not used for longest.
    uses: u64,
}

struct Shelf<T>(BTreeMap<Hex<32>, Entry<T>>);

struct Entry<T> {
    value: T,
    from: u64,
    until: u64,
    used: u64,
}

/// Under what something was found; the same quote under another is another question.
#[derive(Clone, Copy)]
pub(crate) struct Under {
    pub(crate) policy: Hex<32>,
    pub(crate) collateral: Hex<32>,
}

impl<T: Clone> Cache<T> {
    pub(crate) fn new() -> Self {
        Self {
            shelves: Mutex::new(Shelves {
                good: Shelf(BTreeMap::new()),
                refused: Shelf(BTreeMap::new()),
                uses: 0,
            }),
        }
    }

    pub(crate) fn find(&self, quote: &Quote<'_>, under: Under, now: u64) -> Option<Result<T, Refusal>> {
        let mut shelves = self.shelves();
        let used = shelves.count();
        let key = under.key(quote);
        let good = shelves.good.find(key, now, used).map(Ok);
        good.or_else(|| shelves.refused.find(key, now, used).map(Err))
    }

    /// `until` is the first second in which it is asked anew.
    pub(crate) fn keep(&self, quote: &Quote<'_>, under: Under, found: &Result<T, Refusal>, now: u64, until: u64) {
        let mut shelves = self.shelves();
        let (used, key) = (shelves.count(), under.key(quote));
        match found {
            Ok(value) => shelves.good.keep(key, Entry::new(value, now, until, used)),
            Err(refusal) => {
                let until = now.saturating_add(REFUSAL_SECONDS);
                shelves.refused.keep(key, Entry::new(refusal, now, until, used));
            }
        }
    }

    fn shelves(&self) -> MutexGuard<'_, Shelves<T>> {
        // Each change is whole before the next begins, so what a panic left is in order.
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<T> Shelves<T> {
    fn count(&mut self) -> u64 {
        self.uses = self.uses.saturating_add(1);
        self.uses
    }
}

impl<T: Clone> Shelf<T> {
    /// A clock that went back finds nothing from its future.
    fn find(&mut self, key: Hex<32>, now: u64, used: u64) -> Option<T> {
        let entry = self.0.get_mut(&key)?;
        if !(entry.from..entry.until).contains(&now) {
            self.0.remove(&key);
            return None;
        }
        entry.used = used;
        Some(entry.value.clone())
    }

    fn keep(&mut self, key: Hex<32>, entry: Entry<T>) {
        if self.0.len() >= ENTRIES && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.0.remove(&oldest);
            }
        }
        self.0.insert(key, entry);
    }
}

impl<T: Clone> Entry<T> {
    fn new(value: &T, from: u64, until: u64, used: u64) -> Self {
        Self {
            value: value.clone(),
            from,
            until,
            used,
        }
    }
}

impl Under {
    fn key(self, quote: &Quote<'_>) -> Hex<32> {
        sha256(&[&self.policy.0, &self.collateral.0, quote.bytes()])
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Entry, Shelf};
    use crate::Hex;
    use std::collections::BTreeMap;

    fn key(number: usize) -> Hex<32> {
        crate::digest::sha256(&[&number.to_be_bytes()])
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let mut shelf = Shelf(BTreeMap::new());
        for (used, number) in (0..ENTRIES).enumerate() {
            shelf.keep(
                key(number),
                Entry::new(&number, 0, 100, u64::try_from(used).unwrap_or(0)),
            );
        }
        assert_eq!(shelf.find(key(0), 1, 5000), Some(0));
        shelf.keep(key(ENTRIES), Entry::new(&ENTRIES, 0, 100, 5001));
        assert_eq!(shelf.0.len(), ENTRIES);
        assert_eq!(shelf.find(key(1), 1, 5002), None);
        assert_eq!(shelf.find(key(0), 1, 5003), Some(0));
        assert_eq!(shelf.find(key(ENTRIES), 1, 5004), Some(ENTRIES));
    }

    #[test]
    fn nothing_is_found_outside_of_its_time() {
        let mut shelf = Shelf(BTreeMap::new());
        for (now, expect) in [(99, None), (100, Some(7)), (159, Some(7)), (160, None)] {
            shelf.keep(key(0), Entry::new(&7, 100, 160, 1));
            assert_eq!(shelf.find(key(0), now, 2), expect, "{now}");
        }
    }
}
