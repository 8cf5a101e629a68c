//! The check of the whole ledger: one at a time, beside everything else, and remembered until the next.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use billing_store::{
    LedgerStore,
    ledger::{Discrepancy, Report, VerifyError},
};
use tokio::sync::watch;

use super::{
    Treasury, TreasuryError,
    view::{CheckView, DiscrepancyView},
};
use crate::{directory::time, layers::rescue::Chain, wall_clock::unix_ms};

/// How long whoever asks for a check waits for its end; after that they ask again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Discrepancies that are told.
const TOLD: usize = 200;

/// The last check, or the one that runs.
#[derive(Debug, Default)]
pub(crate) struct Check(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    known: Option<CheckView>,
    /// Somebody asked while one ran, which may have looked already at what they want checked: another one follows.
    is_asked_again: bool,
}

impl State {
    fn is_running(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.finished_at.is_none())
    }

    /// Takes note of the end of a check. The next one, which has begun where somebody asked for it.
    fn end(&mut self, done: CheckView) -> Option<CheckView> {
        let next = std::mem::take(&mut self.is_asked_again).then(|| CheckView::begun(unix_ms()));
        self.known = Some(next.clone().unwrap_or(done));
        next
    }
}

impl Treasury {
    /// Begins a check, behind the one that runs if there is one, and waits a little for its end.
    pub(crate) async fn verify(&self) -> Result<CheckView, TreasuryError> {
        let ledger = self.ledger()?.clone();
        let check = self.check().clone();
        let begun = CheckView::begun(unix_ms());
        let is_first = check.0.send_if_modified(|state| {
            state.is_asked_again = state.is_running();
            if !state.is_asked_again {
                state.known = Some(begun.clone());
            }
            !state.is_asked_again
        });
        let mut state = check.0.subscribe();
        if is_first {
            tokio::spawn(run(ledger, check, begun));
        }
        // What runs is told as it is where it takes longer.
        drop(tokio::time::timeout(PATIENCE, state.wait_for(|state| !state.is_running())).await);
        let known = self.checked()?;
        Ok(known.unwrap_or_else(|| CheckView::begun(unix_ms())))
    }

    /// The check that runs, or the last one.
    pub(crate) fn checked(&self) -> Result<Option<CheckView>, TreasuryError> {
        self.ledger()?;
        Ok(self.check().0.borrow().known.clone())
    }
}

/// This check, and those that are asked for while one runs.
async fn run(ledger: LedgerStore, check: Arc<Check>, mut begun: CheckView) {
    loop {
        let done = look(ledger.clone(), begun).await;
        let mut next = None;
        check.0.send_modify(|state| next = state.end(done));
        match next {
            Some(next) => begun = next,
            None => return,
        }
    }
}

async fn look(ledger: LedgerStore, begun: CheckView) -> CheckView {
    // In a task of its own, so that a panic in it is an end too.
    let verifying = tokio::spawn(async move { ledger.verify().await });
    let outcome = verifying.await;
    let done = match outcome {
        Ok(outcome) => begun.ended(outcome),
        Err(_panicked) => begun.failed("the gateway failed at this; its log has the place".to_owned()),
    };
    if done.ok == Some(false) {
        tracing::error!(
            discrepancies = done.discrepancies.len(),
            failure = done.failure,
            "the ledger is not as it must be"
        );
    }
    done
}

impl CheckView {
    fn begun(at_ms: i64) -> Self {
        Self {
            state: "running",
            started_at: time(at_ms),
            finished_at: None,
            ok: None,
            checked: BTreeMap::new(),
            discrepancies: Vec::new(),
            more: 0,
            notes: Vec::new(),
            failure: None,
        }
    }

    fn failed(self, failure: String) -> Self {
        Self {
            state: "done",
            finished_at: Some(time(unix_ms())),
            ok: Some(false),
            failure: Some(failure),
            ..self
        }
    }

    fn ended(self, outcome: Result<Report, VerifyError>) -> Self {
        let report = match outcome {
            Ok(report) => report,
            Err(error) => return self.failed(Chain(&error).to_string()),
        };
        let told = |found: &[Discrepancy]| {
            let found = found.iter().take(TOLD).map(|found| DiscrepancyView {
                message: found.to_string(),
            });
            found.collect::<Vec<_>>()
        };
        let discrepancies = told(&report.discrepancies);
        let checked = [
            ("accounts", report.checked.accounts),
            ("nodes", report.checked.nodes),
            ("transfers", report.checked.transfers),
            ("charges", report.checked.charges),
            ("receipts", report.checked.receipts),
        ];
        Self {
            state: "done",
            finished_at: Some(time(unix_ms())),
            ok: Some(report.is_clean()),
            checked: checked.map(|(what, count)| (what.to_owned(), count)).into(),
            more: report.found.saturating_sub(discrepancies.len() as u64),
            discrepancies,
            notes: told(&report.notes),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_while_a_check_runs_gets_one_that_began_after() {
        let mut state = State::default();
        assert!(!state.is_running());
        state.known = Some(CheckView::begun(0));
        assert!(state.is_running());
        state.is_asked_again = true;
        let failed = || CheckView::begun(0).failed("told".to_owned());
        let next = state.end(failed()).expect("another one follows");
        assert_ne!(next.started_at, CheckView::begun(0).started_at);
        assert!(state.is_running() && !state.is_asked_again);
        // And is the last, as nobody has asked since.
        assert!(state.end(failed()).is_none());
        assert!(!state.is_running());
    }
}
