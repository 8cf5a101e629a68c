//! A disk that has what was synced, may have some of what was not, and may end in the middle of a record.

use billing::channel::{Ticket, journal};
use serde::{Serialize, de::DeserializeOwned};

use crate::random::Random;

#[derive(Debug)]
pub(crate) struct Disk<R> {
    bytes: Vec<u8>,
    /// Written and not synced, with the ticket to give back.
    dirty: Vec<(Vec<u8>, R, Option<Ticket>)>,
}

impl<R: Serialize + DeserializeOwned> Disk<R> {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            dirty: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, record: R, ticket: Option<Ticket>) {
        self.dirty.push((journal::frame(&record), record, ticket));
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// All of it is on disk: the records, and the last ticket.
    pub(crate) fn sync(&mut self) -> (Vec<R>, Option<Ticket>) {
        let mut records = Vec::new();
        let mut last = None;
        for (bytes, record, ticket) in self.dirty.drain(..) {
            self.bytes.extend(bytes);
            records.push(record);
            last = ticket.or(last);
        }
        (records, last)
    }

    /// Of what was not synced some prefix is there, cut anywhere. Whether it was cut.
    pub(crate) fn crash(&mut self, random: &mut Random) -> bool {
        let dirty: Vec<u8> = self.dirty.drain(..).flat_map(|(bytes, ..)| bytes).collect();
        let kept = random.place(dirty.len() + 1);
        self.bytes.extend(&dirty[..kept]);
        kept > 0 && kept < dirty.len()
    }

    /// What the next life reads; the torn end is cut off.
    pub(crate) fn read(&mut self) -> Vec<R> {
        let read = journal::read(&self.bytes).expect("our own records");
        assert_eq!(read.whole + read.torn, self.bytes.len());
        self.bytes.truncate(read.whole);
        read.records
    }

    /// The journal anew, from a snapshot.
    pub(crate) fn replace(&mut self, records: &[R]) {
        assert!(!self.is_dirty());
        self.bytes = records.iter().flat_map(journal::frame).collect();
    }

    /// Bytes of the first record.
    pub(crate) fn first(&self) -> usize {
        let length = self.bytes.first_chunk().copied().map_or(0, u32::from_be_bytes);
        12 + usize::try_from(length).expect("small")
    }

    pub(crate) fn copy(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    pub(crate) fn restore(&mut self, copy: Vec<u8>) {
        self.dirty.clear();
        self.bytes = copy;
    }
}
