//! Graceful shutdown: first nobody new, then nobody left, at last nobody waited for.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::watch;

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Serving,
    /// Readiness fails; what is open goes on.
    Draining,
    /// No connection is accepted, idle ones are closed.
    Closing,
    /// What is still open ends with an error event.
    Cutting,
}

/// The end, as everyone may watch it.
#[derive(Clone)]
pub(crate) struct Drain(watch::Receiver<Phase>);

/// The end, as its owner brings it about.
#[derive(Debug)]
pub(crate) struct DrainControl(watch::Sender<Phase>);

pub(crate) fn drain() -> (DrainControl, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (DrainControl(sender), Drain(receiver))
}

impl DrainControl {
    pub(crate) fn enter(&self, phase: Phase) {
        self.0.send_replace(phase);
    }
}

impl Drain {
    pub(crate) fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits for a phase or a later one.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.clone();
        // An error means that the control is gone, which is the end too.
        drop(receiver.wait_for(|now| *now >= phase).await);
    }

    /// A watch for the last phase that costs a stream nothing until it waits.
    pub(crate) fn cut(&self) -> Cut {
        Cut {
            drain: self.clone(),
            waiting: None,
        }
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Drain({:?})", self.phase())
    }
}

/// Ready when open streams must end.
pub(crate) struct Cut {
    drain: Drain,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Cut {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let drain = &self.drain;
        let waiting = self.waiting.get_or_insert_with(|| {
            let drain = drain.clone();
            Box::pin(async move { drain.reached(Phase::Cutting).await })
        });
        waiting.as_mut().poll(cx)
    }
}
