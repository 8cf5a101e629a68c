//! Where records of requests go: the database, or nowhere when the operator keeps nothing on disk.

use billing::RequestRecord;
use billing_store::Recorder;

#[derive(Clone)]
pub(crate) struct Records(Option<Recorder>);

impl Records {
    pub(crate) fn new(recorder: Option<Recorder>) -> Self {
        Self(recorder)
    }

    /// Never waits.
    pub(crate) fn write(&self, record: RequestRecord) {
        if let Some(recorder) = &self.0 {
            recorder.record(record);
        }
    }

    /// Records that were lost since start.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, Recorder::dropped)
    }

    /// Whether the disk refuses.
    pub(crate) fn stalled(&self) -> bool {
        self.0.as_ref().is_some_and(Recorder::stalled)
    }

    /// Writes what is left.
    pub(crate) async fn close(&self) {
        if let Some(recorder) = &self.0 {
            recorder.close().await;
        }
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Records")
    }
}
