//! Crew: every task of one connection, which ends when the connection does.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// Every task of one connection. hyper would let the connection live for as long as a stream on it does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crew(Arc<Mutex<JoinSet<()>>>);

/// Ends a crew when dropped.
#[derive(Debug)]
pub(crate) struct Dismissed(Crew);

impl Dismissed {
    pub(crate) fn crew(&self) -> &Crew {
        &self.0
    }
}

impl Crew {
    /// Ends when what is returned is dropped.
    pub(crate) fn hire() -> Dismissed {
        Dismissed(Self::default())
    }
}

impl Drop for Dismissed {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl<F> Executor<F> for Crew
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that ended meanwhile.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            drop(task.await);
        });
    }
}
