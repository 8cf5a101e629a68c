//! Shipper: what is durable in this node's own journal goes on to the ledger, in order, behind the requests.
//!
//! A group that was posted already is posted again without harm, so that nothing has to be remembered: what the ledger
//! has is taken out of the journal, and the rest is what there is to do, after a crash too.

use std::{sync::Arc, time::Duration};

use billing::ledger::PostRefusal;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use super::central::{Central, Journal, Trouble};
use crate::layers::rescue::Chain;

/// Charges in one post at most.
const GROUP: u32 = 512;
/// How long one post may take.
const TRY: Duration = Duration::from_secs(15);
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) struct Shipper {
    journal: Arc<dyn Journal>,
    central: Arc<dyn Central>,
}

impl Shipper {
    pub(super) fn new(journal: Arc<dyn Journal>, central: Arc<dyn Central>) -> Self {
        Self { journal, central }
    }

    /// Ships whenever there is something, until dropped.
    pub(super) async fn run(self, wake: Arc<Notify>) {
        let mut backoff = FIRST_BACKOFF;
        let mut is_behind = false;
        loop {
            match self.ship().await {
                Ok(()) => {
                    if std::mem::take(&mut is_behind) {
                        tracing::info!("the journal was shipped");
                    }
                    backoff = FIRST_BACKOFF;
                    wake.notified().await;
                }
                Err(trouble) => {
                    if !std::mem::replace(&mut is_behind, true) {
                        tell(&trouble);
                    }
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    /// Ships all there is, after the last charge was shown to the ledger once more: one that was restored from a backup
    /// does not have it, and would be given none of what came before it.
    pub(super) async fn ship_again(&self) -> Result<(), Trouble> {
        if let Some(before) = self.journal.last_seq().await?.checked_sub(1) {
            self.journal.rewind(before).await?;
        }
        self.ship().await
    }

    /// Ships all there is.
    pub(super) async fn ship(&self) -> Result<(), Trouble> {
        let mut rewound = None;
        loop {
            let (epoch, charges) = self.journal.pending(GROUP).await?;
            let Some(last) = charges.last() else { return Ok(()) };
            let posted = timeout(TRY, self.central.post(epoch, &charges)).await;
            match posted.unwrap_or_else(|elapsed| Err(Trouble::Passing(elapsed.into()))) {
                Ok(()) => self.journal.trim(last.charge.seq).await?,
                Err(trouble) => {
                    let to = last_known(&trouble).filter(|to| rewound != Some(*to));
                    let Some(to) = to else { return Err(trouble) };
                    if !self.journal.rewind(to).await? {
                        return Err(trouble);
                    }
                    tracing::warn!(
                        after = to,
                        "the ledger was restored from a backup; what it lacks of this node is shipped again"
                    );
                    rewound = Some(to);
                }
            }
        }
    }
}

/// Of the last charge that the ledger has, where it has fewer than were shipped.
fn last_known(trouble: &Trouble) -> Option<u64> {
    let Trouble::Astray(error) = trouble else { return None };
    match error.downcast_ref() {
        Some(PostRefusal::Gap { seq, expected }) if seq > expected => expected.checked_sub(1),
        _ => None,
    }
}

fn tell(trouble: &Trouble) {
    let cause = Chain(trouble);
    match trouble {
        Trouble::Passing(_) => {
            tracing::warn!(%cause, "charges of the journal cannot be shipped now; they are safe on this disk");
        }
        Trouble::Closed => {
            tracing::error!(%cause, "charges of the journal are of an incarnation of this node that was ended by another gateway of the same name; they stay in the journal");
        }
        Trouble::Refused(_) | Trouble::Astray(_) => {
            tracing::error!(%cause, "charges of the journal are refused by the ledger; they stay in the journal");
        }
    }
}
