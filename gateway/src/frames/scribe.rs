//! The scribe: writes a journal in a thread of its own, so that nobody who has something to write waits for a disk.
//!
//! What was handed in first is written first, and all that has come together waits for the disk once.
//! After an error it writes nothing more: what waits for it never happens, and the log says why.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use billing::channel::{Account, Ticket};
use serde::Serialize;
use tokio::sync::oneshot;

use super::Frames;
use crate::layers::rescue::Chain;

/// What is written with one wait, at most.
const TOGETHER: usize = 1024;
/// So many that wait say that the disk is behind.
const BEHIND: usize = 4096;
/// What was begun before that is far less.
const MOST: usize = 262_144;

/// What happens when something is on the disk.
#[derive(Debug)]
pub(crate) enum Then {
    /// The machine of this channel is told.
    Tell(Account, Ticket),
    /// Somebody waits until all before it is written.
    Wake(oneshot::Sender<()>),
}

enum Order<L> {
    Add(Vec<L>),
    /// These in place of all that was written.
    Replace(Vec<Vec<L>>),
}

/// Takes lines for a journal; a frame has those of one order, so that all of them are there or none is.
#[derive(Debug)]
pub(crate) struct Scribe<L> {
    orders: mpsc::SyncSender<(Order<L>, Vec<Then>)>,
    waiting: Arc<AtomicUsize>,
    /// Something could not be handed in: what comes after it must not pass for written.
    has_stopped: Arc<AtomicBool>,
}

impl<L: Serialize + Send + 'static> Scribe<L> {
    /// Begins to write; `done` hears what is on the disk, in order.
    pub(crate) fn begin(frames: Frames, done: impl FnMut(Vec<Then>) + Send + 'static) -> io::Result<Self> {
        let (orders, incoming) = mpsc::sync_channel(MOST);
        let waiting = Arc::new(AtomicUsize::new(0));
        let written = waiting.clone();
        let has_stopped = Arc::new(AtomicBool::new(false));
        let stopped = has_stopped.clone();
        thread::Builder::new()
            .name("mulberry-scribe".to_owned())
            .spawn(move || {
                write(frames, &incoming, &written, done);
                // Whoever asks before it hands something in is told at once.
                stopped.store(true, Ordering::Release);
            })?;
        Ok(Self {
            orders,
            waiting,
            has_stopped,
        })
    }

    pub(crate) fn add(&self, lines: Vec<L>, then: Vec<Then>) {
        self.order(Order::Add(lines), then);
    }

    /// The same journal, shorter.
    pub(crate) fn replace(&self, frames: Vec<Vec<L>>) {
        self.order(Order::Replace(frames), Vec::new());
    }

    /// Whether so much waits for the disk that nothing more should be begun.
    pub(crate) fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > BEHIND || self.has_stopped.load(Ordering::Relaxed)
    }

    fn order(&self, order: Order<L>, then: Vec<Then>) {
        if self.has_stopped.load(Ordering::Acquire) {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let Err(error) = self.orders.try_send((order, then)) else {
            return;
        };
        self.has_stopped.store(true, Ordering::Release);
        // A thread that has ended has said why.
        if matches!(error, mpsc::TrySendError::Full(_)) {
            tracing::error!("so much waits for a disk that a journal of channels is given up; start again");
        }
    }
}

fn write<L: Serialize>(
    mut frames: Frames,
    incoming: &mpsc::Receiver<(Order<L>, Vec<Then>)>,
    waiting: &AtomicUsize,
    mut done: impl FnMut(Vec<Then>),
) {
    while let Ok(first) = incoming.recv() {
        let mut orders = vec![first];
        while orders.len() < TOGETHER
            && let Ok(next) = incoming.try_recv()
        {
            orders.push(next);
        }
        let count = orders.len();
        let (mut adding, mut thens) = (Vec::new(), Vec::new());
        let mut outcome = Ok(());
        for (order, then) in orders {
            match order {
                Order::Add(lines) if lines.is_empty() => {}
                Order::Add(lines) => adding.push(lines),
                Order::Replace(all) => {
                    // What is in it has what was added before it.
                    adding.clear();
                    outcome = outcome.and_then(|()| frames.replace(all.iter()));
                }
            }
            thens.extend(then);
        }
        if !adding.is_empty() {
            outcome = outcome.and_then(|()| frames.add_all(adding.iter()));
        }
        if let Err(error) = outcome {
            tracing::error!(cause = %Chain(&error), "a journal of channels cannot be written; nothing more is signed");
            return;
        }
        waiting.fetch_sub(count, Ordering::Relaxed);
        done(thens);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_handed_in_is_written_in_order_and_told() {
        let path = std::env::temp_dir().join(format!("mulberry-scribe-{}", std::process::id()));
        drop(fs::remove_file(&path));
        let frames = Frames::open::<Vec<u32>>(&path).expect("it is begun").frames;
        let (tell, told) = mpsc::sync_channel(8);
        let scribe = Scribe::begin(frames, move |thens| {
            for then in thens {
                tell.send(then).expect("the test listens");
            }
        });
        let scribe = scribe.expect("a thread");
        for number in 0..100_u32 {
            scribe.add(vec![number, number], Vec::new());
        }
        scribe.replace(vec![vec![7], vec![8]]);
        scribe.add(vec![9], Vec::new());
        let (wake, woken) = oneshot::channel();
        scribe.add(Vec::new(), vec![Then::Wake(wake)]);
        let Ok(Then::Wake(wake)) = told.recv() else {
            panic!("nothing else waits");
        };
        wake.send(()).expect("the test waits");
        woken.blocking_recv().expect("it is told");
        assert!(!scribe.is_behind());
        let all: Vec<Vec<u32>> = Frames::peek(&path).expect("it is there");
        assert_eq!(all, [vec![7], vec![8], vec![9]]);
        drop(fs::remove_file(&path));
    }
}
