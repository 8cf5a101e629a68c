//! Streams that stay open, to see what an open stream holds in memory.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::exchange::Asker;
use super::tally::Tally;
use crate::verdict::Wrong;

/// After the last stream began, before memory is read.
const SETTLE: Duration = Duration::from_millis(200);

/// Opens the streams evenly over `ramp`; each is asked for once and read to its end.
pub(super) fn start(asker: &Asker, tally: &Rc<Tally>, streams: u32, ramp: Duration) -> JoinSet<()> {
    tally.open();
    let mut tasks = JoinSet::new();
    for index in 0..streams {
        let mut asker = asker.another();
        let tally = Rc::clone(tally);
        let delay = ramp * index / streams;
        tasks.spawn_local(async move {
            tokio::time::sleep(delay).await;
            asker.ask(&tally).await;
        });
    }
    tasks
}

/// Returns once all streams are open, and says whether they still were at the end.
pub(super) async fn wait_until_open(tally: &Tally, streams: u32, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while tally.begun.get() < streams && tally.faults() == 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(SETTLE).await;
    let open = tally.begun.get() == streams && tally.ended.get() == 0;
    if !open {
        tally.fault(&Wrong::Early);
    }
    open
}
