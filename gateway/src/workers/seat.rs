//! Seats: places of workers that nobody named, each of which one line of connections has at a time.
//!
//! A worker that dials anew keeps its place over both connections. It is known again by a number that it drew for us and
//! tells no other gateway; whoever guessed it would have to be accepted too, and would get the place and no more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use attestation::Hex;

/// Connections of one worker: the newest, and those that end.
const CONNECTIONS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Seat(Mutex<Option<Holder>>);

#[derive(Debug)]
struct Holder {
    line: Option<Hex<16>>,
    connections: u32,
}

impl Seat {
    /// Takes it if it is free.
    pub(super) fn take(seat: &Arc<Self>, line: Option<Hex<16>>) -> Option<Seated> {
        let mut holder = seat.lock();
        if holder.is_some() {
            return None;
        }
        *holder = Some(Holder { line, connections: 1 });
        Some(Seated(seat.clone()))
    }

    /// Has it once more, for the line that has it.
    pub(super) fn join(seat: &Arc<Self>, line: Hex<16>) -> Option<Seated> {
        let mut holder = seat.lock();
        let same = holder.as_mut().filter(|holder| holder.line == Some(line));
        let same = same.filter(|holder| holder.connections < CONNECTIONS)?;
        same.connections += 1;
        Some(Seated(seat.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A seat that is free again when the last is dropped.
#[derive(Debug)]
pub(super) struct Seated(Arc<Seat>);

impl Drop for Seated {
    fn drop(&mut self) {
        let mut holder = self.0.lock();
        let left = holder.as_ref().map_or(0, |holder| holder.connections.saturating_sub(1));
        match &mut *holder {
            Some(holder) if left > 0 => holder.connections = left,
            _ => *holder = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_one_line_s() {
        let seat = Arc::new(Seat::default());
        let (ours, theirs) = (Hex([1; 16]), Hex([2; 16]));
        let first = Seat::take(&seat, Some(ours)).expect("it is free");
        assert!(Seat::take(&seat, Some(ours)).is_none());
        assert!(Seat::join(&seat, theirs).is_none());
        let second = Seat::join(&seat, ours).expect("it is its own");
        drop(first);
        assert!(Seat::take(&seat, None).is_none(), "the newer connection has it");
        let more: Vec<_> = (0..8).map_while(|_| Seat::join(&seat, ours)).collect();
        assert_eq!(more.len(), 3);
        drop((second, more));
        let anonymous = Seat::take(&seat, None).expect("it is free again");
        assert!(Seat::join(&seat, ours).is_none());
        drop(anonymous);
    }
}
