//! Holds, in places that are used again.

use std::sync::Arc;

use crate::{Bounds, Nano, Windows};

/// The name of a hold in its book. Names are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "a hold stays until it is captured or released"]
pub struct HoldId {
    place: usize,
    serial: u64,
}

#[derive(Debug)]
pub(super) struct Hold {
    pub(super) amount: Nano,
    pub(super) pots: Arc<[usize]>,
    pub(super) windows: Windows,
    pub(super) bounds: Bounds,
}

/// Why there is no hold of a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Absent {
    Unknown,
    Void,
    Resolved,
}

#[derive(Debug, Default)]
pub(super) struct Holds {
    places: Vec<Option<(u64, Hold)>>,
    vacant: Vec<usize>,
    /// Of the last hold; the first one is 1.
    serial: u64,
    /// No hold up to this one counts any more.
    voided: u64,
}

impl Holds {
    pub(super) fn insert(&mut self, hold: Hold) -> HoldId {
        // A name for each nanosecond of five hundred years.
        self.serial = self.serial.saturating_add(1);
        let entry = Some((self.serial, hold));
        let place = match self.vacant.pop() {
            Some(place) => {
                self.places[place] = entry;
                place
            }
            None => {
                self.places.push(entry);
                self.places.len().saturating_sub(1)
            }
        };
        HoldId {
            place,
            serial: self.serial,
        }
    }

    pub(super) fn get(&self, id: HoldId) -> Result<&Hold, Absent> {
        match self.places.get(id.place) {
            Some(Some((serial, hold))) if *serial == id.serial => Ok(hold),
            _ => Err(self.absent(id)),
        }
    }

    pub(super) fn remove(&mut self, id: HoldId) -> Result<Hold, Absent> {
        let absent = self.absent(id);
        let place = self.places.get_mut(id.place).ok_or(absent)?;
        match place.take_if(|(serial, _)| *serial == id.serial) {
            Some((_, hold)) => {
                self.vacant.push(id.place);
                Ok(hold)
            }
            None => Err(absent),
        }
    }

    pub(super) fn open(&self) -> usize {
        self.places.len().saturating_sub(self.vacant.len())
    }

    pub(super) fn void(&mut self) {
        self.places.clear();
        self.vacant.clear();
        self.voided = self.serial;
    }

    fn absent(&self, id: HoldId) -> Absent {
        if id.serial > self.serial {
            Absent::Unknown
        } else if id.serial <= self.voided {
            Absent::Void
        } else {
            Absent::Resolved
        }
    }
}
