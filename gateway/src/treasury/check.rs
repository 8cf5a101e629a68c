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
#[derive(Debug)]
pub(crate) struct Check(watch::Sender<Option<CheckView>>);

impl Default for Check {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Treasury {
    /// Begins a check where none runs, and waits a little for its end.
    pub(crate) async fn verify(&self) -> Result<CheckView, TreasuryError> {
        let ledger = self.ledger()?.clone();
        let check = self.check().clone();
        let begun = CheckView::begun(unix_ms());
        let is_first = check.0.send_if_modified(|state| {
            let is_idle = state.as_ref().is_none_or(|known| known.finished_at.is_some());
            if is_idle {
                *state = Some(begun.clone());
            }
            is_idle
        });
        let mut state = check.0.subscribe();
        if is_first {
            tokio::spawn(run(ledger, check, begun));
        }
        let is_done = |state: &Option<CheckView>| state.as_ref().is_some_and(|known| known.finished_at.is_some());
        match tokio::time::timeout(PATIENCE, state.wait_for(is_done)).await {
            Ok(Ok(state)) => Ok(state.clone().unwrap_or_else(|| CheckView::begun(unix_ms()))),
            _ => self
                .checked()
                .map(|known| known.unwrap_or_else(|| CheckView::begun(unix_ms()))),
        }
    }

    /// The check that runs, or the last one.
    pub(crate) fn checked(&self) -> Result<Option<CheckView>, TreasuryError> {
        self.ledger()?;
        Ok(self.check().0.borrow().clone())
    }
}

async fn run(ledger: LedgerStore, check: Arc<Check>, begun: CheckView) {
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
    check.0.send_replace(Some(done));
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
