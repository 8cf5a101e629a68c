//! Quarantine: to whom no request goes, because a worker took more than it earned.
//!
//! A thief would come back under another address, so that it is known by more than what it says of itself: one that an
//! operator named by its place, whoever is there; one that enrolled itself by its TLS key and by its processor.
//! Who enrols itself and is paid where a thief was is held as well. That an honest stranger is shut out so, by a thief
//! who gave its address and stole for it, is the price; an operator's own workers are not, and a person can lift it.

use std::collections::{BTreeMap, BTreeSet};

use attestation::Hex;
use billing::channel::Account;
use serde::{Deserialize, Serialize};

use super::payee::PayeeId;

/// By what a thief is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    /// Who is paid, as [`super::payee::id`] makes it.
    Payee(Hex<32>),
    /// Of a worker that an operator named.
    Place(String),
    /// Of one that enrolled itself: the SHA-256 of its TLS key.
    Key(Hex<32>),
    /// Of one that enrolled itself: its processor.
    Platform(Hex<16>),
    /// Of one that enrolled itself: where it is paid.
    Payout(Account),
}

/// Who a worker is, by what it has proved.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// An operator named it, so that nobody else is in its place.
    pub(crate) is_named: bool,
    /// The SHA-256 of its TLS key.
    pub(crate) key: [u8; 32],
    /// Its processor's, where evidence shows one.
    pub(crate) platform: Option<[u8; 16]>,
}

impl Who {
    /// What stays the same whatever it says.
    pub(super) fn marks(&self, place: &str) -> Vec<Mark> {
        if self.is_named {
            return vec![Mark::Place(place.to_owned())];
        }
        let platform = self.platform.map(|platform| Mark::Platform(Hex(platform)));
        [Mark::Key(Hex(self.key))].into_iter().chain(platform).collect()
    }
}

/// A thief that comes with a new key each time is held by what it was known by before.
const MARKS_OF_ONE: usize = 64;

/// Marks, and whose each is: two thieves may have been at one place.
#[derive(Debug, Default)]
pub(super) struct Quarantine(BTreeMap<Mark, BTreeSet<PayeeId>>);

impl Quarantine {
    /// Whether any of these is a thief's.
    pub(super) fn holds(&self, marks: &[Mark]) -> bool {
        !self.0.is_empty() && marks.iter().any(|mark| self.0.contains_key(mark))
    }

    /// The thieves that any of these is of.
    pub(super) fn owners<'a>(&'a self, marks: &'a [Mark]) -> impl Iterator<Item = PayeeId> + 'a {
        marks.iter().filter_map(|mark| self.0.get(mark)).flatten().copied()
    }

    pub(super) fn has(&self, payee: &PayeeId) -> bool {
        self.0.contains_key(&Mark::Payee(Hex(*payee)))
    }

    /// Says whether it is new.
    pub(super) fn add(&mut self, thief: PayeeId, mark: Mark) -> bool {
        let known = self.0.values().filter(|owners| owners.contains(&thief)).count();
        if known >= MARKS_OF_ONE && !self.0.contains_key(&mark) {
            return false;
        }
        self.0.entry(mark).or_default().insert(thief)
    }

    /// All that this thief is known by is forgotten, but for what another is known by.
    pub(super) fn lift(&mut self, thief: &PayeeId) {
        self.0.retain(|_, owners| {
            owners.remove(thief);
            !owners.is_empty()
        });
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Mark, &PayeeId)> {
        let pairs = self.0.iter();
        pairs.flat_map(|(mark, owners)| owners.iter().map(move |owner| (mark, owner)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIEF: PayeeId = [7; 32];

    fn payout(byte: u8) -> Mark {
        Mark::Payout(Account {
            workchain: 0,
            hash: [byte; 32],
        })
    }

    #[test]
    fn a_thief_with_another_address_is_known() {
        let who = |is_named, key| Who {
            is_named,
            key: [key; 32],
            platform: Some([3; 16]),
        };
        let mut quarantine = Quarantine::default();
        assert!(!quarantine.holds(&who(true, 1).marks("gpu/box")));
        for mark in who(true, 1).marks("gpu/box").into_iter().chain([payout(1)]) {
            assert!(quarantine.add(THIEF, mark));
        }
        let check = |marks: Vec<Mark>, is_held| assert_eq!(quarantine.holds(&marks), is_held, "{marks:?}");
        check(who(true, 2).marks("gpu/box"), true);
        check(who(true, 1).marks("gpu/other"), false);
        check(vec![payout(1)], true);
        check(vec![payout(2)], false);
        for mark in who(false, 1).marks("gpu/enrolled-1") {
            quarantine.add(THIEF, mark);
        }
        let check = |marks: Vec<Mark>, is_held| assert_eq!(quarantine.holds(&marks), is_held, "{marks:?}");
        check(who(false, 2).marks("gpu/enrolled-2"), true);
        let elsewhere = Who {
            platform: Some([4; 16]),
            ..who(false, 2)
        };
        check(elsewhere.marks("gpu/enrolled-2"), false);
        quarantine.lift(&THIEF);
        assert_eq!(quarantine.iter().count(), 0);
    }

    #[test]
    fn what_two_thieves_are_known_by_is_held_until_both_are_free() {
        const OTHER: PayeeId = [8; 32];
        let mut quarantine = Quarantine::default();
        assert!(quarantine.add(THIEF, payout(1)) && quarantine.add(OTHER, payout(1)));
        assert!(!quarantine.add(OTHER, payout(1)), "known already");
        assert_eq!(quarantine.owners(&[payout(1)]).collect::<Vec<_>>(), [THIEF, OTHER]);
        quarantine.lift(&OTHER);
        assert!(quarantine.holds(&[payout(1)]));
        quarantine.lift(&THIEF);
        assert!(!quarantine.holds(&[payout(1)]));
    }

    #[test]
    fn one_thief_is_known_by_so_much_and_no_more() {
        let mut quarantine = Quarantine::default();
        for byte in 0..=u8::MAX {
            quarantine.add(THIEF, payout(byte));
        }
        assert_eq!(quarantine.iter().count(), MARKS_OF_ONE);
    }
}
