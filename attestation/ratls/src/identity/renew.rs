//! Replacing our certificate while connections run.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::time_provider::TimeProvider;
use tokio::sync::watch;

use super::{Draft, Identity};

/// After a failure; the half of the lifetime that is left bounds how often it may fail.
const RETRY: Duration = Duration::from_secs(60);
/// How often the clock of the day is asked, which may jump.
const LOOK: Duration = Duration::from_secs(60);

/// The identity that new connections take.
#[derive(Debug)]
pub struct Identities {
    current: ArcSwap<Identity>,
    issued: watch::Sender<u64>,
}

impl Identities {
    pub fn new(first: Identity) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
            issued: watch::Sender::new(0),
        }
    }

    pub fn current(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    pub fn replace(&self, next: Identity) {
        self.current.store(Arc::new(next));
        self.issued.send_modify(|count| *count += 1);
    }

    /// Says when there is another: who dialled, dials anew before the old one ends.
    pub fn issued(&self) -> watch::Receiver<u64> {
        self.issued.subscribe()
    }

    /// Issues the next identity when half of the current one's time is over, for ever. Dropped, it stops.
    pub async fn renew(&self, draft: Draft, clock: Arc<dyn TimeProvider>) {
        loop {
            match clock.current_time().map(|time| time.as_secs()) {
                Some(now) if now >= halfway(&self.current()) => {
                    if !self.renew_once(&draft, now).await {
                        tokio::time::sleep(RETRY).await;
                    }
                }
                Some(now) => {
                    let left = Duration::from_secs(halfway(&self.current()).saturating_sub(now));
                    tokio::time::sleep(left.min(LOOK)).await;
                }
                // A machine without a clock cannot say when anything ends.
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    async fn renew_once(&self, draft: &Draft, now: u64) -> bool {
        let draft = draft.clone();
        match tokio::task::spawn_blocking(move || draft.issue(now)).await {
            Ok(Ok(next)) => {
                tracing::info!(not_after = next.not_after(), "our certificate was renewed");
                self.replace(next);
                true
            }
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "our certificate was not renewed");
                false
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the making of our certificate broke off");
                false
            }
        }
    }
}

fn halfway(identity: &Identity) -> u64 {
    let claims = identity.claims();
    claims.not_before + claims.not_after.saturating_sub(claims.not_before) / 2
}
