//! What one run counted. Shared by all its tasks, on one thread.

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::verdict::Wrong;

pub(super) struct Tally {
    from: Instant,
    to: Instant,
    open: Cell<bool>,
    closed: Cell<bool>,
    next_id: Cell<u32>,
    /// Streams whose first chunk came, and streams that ended, since the run began.
    pub(super) begun: Cell<u32>,
    pub(super) ended: Cell<u32>,
    counts: RefCell<Counts>,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) chunks: u64,
    pub(super) latency: Histogram,
    pub(super) ttft: Histogram,
    pub(super) gap: Histogram,
    pub(super) late: Histogram,
    pub(super) faults: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn windowed(warm_up: Duration, window: Duration) -> Rc<Self> {
        let from = Instant::now() + warm_up;
        Rc::new(Self {
            from,
            to: from + window,
            open: Cell::new(false),
            closed: Cell::new(false),
            // Ids of an earlier run must not pass in this one.
            next_id: Cell::new(std::process::id() << 16),
            begun: Cell::new(0),
            ended: Cell::new(0),
            counts: RefCell::default(),
        })
    }

    pub(super) fn window(&self) -> (Instant, Instant) {
        (self.from, self.to)
    }

    /// From here on answers count.
    pub(super) fn open(&self) {
        self.open.set(true);
    }

    pub(super) fn close(&self) {
        self.open.set(false);
        self.closed.set(true);
    }

    /// After the window nothing new is asked.
    pub(super) fn is_over(&self) -> bool {
        self.closed.get()
    }

    pub(super) fn id(&self) -> u32 {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        id
    }

    /// Counts only while the window is open.
    pub(super) fn count(&self, add: impl FnOnce(&mut Counts)) {
        if self.open.get() {
            add(&mut self.counts.borrow_mut());
        }
    }

    /// Faults count whenever they occur. Their texts are few: kinds, status codes, OS errors.
    pub(super) fn fault(&self, wrong: &Wrong) {
        *self.counts.borrow_mut().faults.entry(wrong.to_string()).or_default() += 1;
    }

    pub(super) fn faults(&self) -> u64 {
        self.counts.borrow().faults.values().sum()
    }

    pub(super) fn counts(&self) -> Ref<'_, Counts> {
        self.counts.borrow()
    }
}
