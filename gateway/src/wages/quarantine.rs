//! Quarantine: to whom no request goes, because a worker took more than it earned.
//!
//! A thief would come back under another address, so that it is known by more than what it says of itself: one that an
//! operator named by its place, whoever is there; one that enrolled itself by its TLS key and by its processor.
//! Who enrols itself and is paid where a thief was is held as well. That an honest stranger is shut out so, by a thief
//! who gave its address and stole for it, is the price; an operator's own workers are not, and a person can lift it.

use std::collections::BTreeMap;

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

/// Marks, and whose each is.
#[derive(Debug, Default)]
pub(super) struct Quarantine(BTreeMap<Mark, PayeeId>);

impl Quarantine {
    /// Whether any of these is a thief's.
    pub(super) fn holds(&self, marks: &[Mark]) -> bool {
        !self.0.is_empty() && marks.iter().any(|mark| self.0.contains_key(mark))
    }

    pub(super) fn has(&self, payee: &PayeeId) -> bool {
        self.0.contains_key(&Mark::Payee(Hex(*payee)))
    }

    /// Says whether it is new.
    pub(super) fn add(&mut self, thief: PayeeId, mark: Mark) -> bool {
        self.0.insert(mark, thief).is_none()
    }

    /// All that this thief is known by is forgotten.
    pub(super) fn lift(&mut self, thief: &PayeeId) {
        self.0.retain(|_, whose| whose != thief);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Mark, &PayeeId)> {
        self.0.iter()
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
}
