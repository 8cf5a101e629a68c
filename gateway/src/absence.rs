//! Absence: what the chain showed, and shows no more.
//!
//! Of one name there are many servers, and not all know the same: one that lags, or knows nothing yet, says that there is
//! no contract. So it is believed when it is said for some minutes by the chain's own time, of blocks that are not older
//! than what was seen, by a source that does not stand still.

use billing_ton::{chain::Head, reconciler::STALE_S};
use serde::{Deserialize, Serialize};

use crate::wall_clock::unix_seconds;

/// What is absent for so long, in seconds by the chain's time, is gone.
const GONE_AFTER_S: u32 = 120;

/// What was seen of one account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Absence {
    /// The newest block that showed it.
    seqno: u32,
    /// Since when, by the chain's time, it is not shown.
    since: Option<u32>,
}

impl Absence {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn shown(&mut self, head: Head) {
        self.seqno = self.seqno.max(head.seqno);
        self.since = None;
    }

    /// It is not shown; says whether that is to be believed now.
    pub(crate) fn is_gone(&mut self, head: Head) -> bool {
        self.is_gone_at(head, unix_seconds())
    }

    fn is_gone_at(&mut self, head: Head, now_s: u64) -> bool {
        let is_stale = now_s.saturating_sub(head.time.into()) > STALE_S;
        if is_stale || head.seqno < self.seqno {
            return false;
        }
        let since = *self.since.get_or_insert(head.time);
        head.time.saturating_sub(since) >= GONE_AFTER_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_read_of_not_there_ends_nothing() {
        const NOW: u32 = 1_800_000_000;
        let head = |seqno, after_s| Head {
            seqno,
            time: NOW + after_s,
        };
        let mut absence = Absence::default();
        let mut check = |seqno, after_s: u32, expect: bool, why: &str| {
            let now_s = u64::from(NOW + after_s);
            assert_eq!(absence.is_gone_at(head(seqno, after_s), now_s), expect, "{why}");
        };
        check(10, 0, false, "the first look");
        check(20, 119, false, "too soon");
        check(21, 120, true, "still not there");
        let mut absence = Absence::default();
        absence.shown(head(50, 0));
        assert!(!absence.is_gone_at(head(49, 300), u64::from(NOW)), "an older block");
        assert_eq!(absence.since, None, "it says nothing");
        let late = u64::from(NOW) + 100_000;
        assert!(!absence.is_gone_at(head(60, 0), late), "a source that stands still");
        assert!(!absence.is_gone_at(head(60, 0), u64::from(NOW)));
        absence.shown(head(61, 10));
        assert!(!absence.is_gone_at(head(62, 400), u64::from(NOW)), "counted anew");
    }
}
