use billing_ton::chain::{Cursor, Head};

use super::*;
use crate::config::Prices;
use crate::world::{Block, Written};

fn block() -> Entry {
    Entry::Block(Block {
        head: Head {
            seqno: 7,
            time: 1_790_000_000,
        },
        lt: 3_000_004,
        offset_s: -5,
        prices: Prices::New,
        transactions: vec![Written {
            account: billing::channel::Account {
                workchain: -1,
                hash: [1; 32],
            },
            at: Cursor {
                lt: 3_000_001,
                hash: [2; 32],
            },
            cell: (*b"a transaction").into(),
            state: (*b"a state").into(),
        }],
        queue: vec![(*b"a message").into(), (*b"another").into()],
    })
}

#[test]
fn entries_are_read_as_they_were_written() {
    let genesis = Entry::Genesis(Genesis {
        network: billing::channel::Network(-217),
        time: 5,
        seed: [9; 32],
        finality_lag: 3,
    });
    for entry in [
        genesis,
        block(),
        Entry::TakenBack(3),
        Entry::Snapshot((*b"state").into()),
    ] {
        let bytes = entry.write();
        let again = Entry::read(&bytes).expect("just written");
        assert_eq!(again.write(), bytes);
    }
}

#[test]
fn no_bytes_are_too_strange_to_refuse() {
    let bytes = block().write();
    for end in 0..bytes.len() {
        assert!(Entry::read(&bytes[..end]).is_err(), "{end} bytes");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Entry::read(&longer).is_err());
    // A number of transactions that would take more memory than there is.
    let mut many = bytes;
    many[26..30].fill(0xff);
    assert!(Entry::read(&many).is_err());
}

impl Disk {
    /// Puts another file in the place of this one, for tests of disks that fail.
    pub(crate) fn danger_swap_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }
}
