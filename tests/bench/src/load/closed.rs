//! Closed loop: each connection asks again as soon as it was answered.

use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::exchange::Asker;
use super::tally::Tally;

/// After a wrong answer, so that a dead proxy is not hammered.
const PAUSE: Duration = Duration::from_millis(5);

/// Starts are spread over half the warm-up, so that paced streams do not run in step.
pub(super) fn start(asker: &Asker, tally: &Rc<Tally>, connections: u32, warm_up: Duration) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for index in 0..connections {
        let mut asker = asker.another();
        let tally = Rc::clone(tally);
        let delay = warm_up / 2 * index / connections;
        tasks.spawn_local(async move {
            tokio::time::sleep(delay).await;
            while !tally.is_over() {
                if !asker.ask(&tally).await {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
    }
    tasks
}
