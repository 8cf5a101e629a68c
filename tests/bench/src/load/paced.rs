//! Open loop: requests leave on a schedule, whether or not earlier ones were answered.
//!
//! A request that finds no idle connection opens one, so the proxy's slowness never delays the next
//! request, and latency may be counted from the moment of sending. What the generator itself is late
//! (tokio's timer ticks once a millisecond) is reported apart. At most [`IN_FLIGHT_MAX`] wait at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::exchange::Asker;
use super::tally::Tally;
use crate::verdict::Wrong;

const IN_FLIGHT_MAX: usize = 1000;

pub(super) async fn run(asker: Asker, tally: Rc<Tally>, rate: u32) {
    let idle = Rc::new(RefCell::new(Vec::<Asker>::new()));
    let mut in_flight = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !tally.is_over() {
        let due = ticks.tick().await.into_std();
        while let Some(ended) = in_flight.try_join_next() {
            ended.expect("nothing aborts a request, and a panic is ours to show");
        }
        if in_flight.len() >= IN_FLIGHT_MAX {
            tally.fault(&Wrong::Overrun);
            continue;
        }
        let mut asker = idle.borrow_mut().pop().unwrap_or_else(|| asker.another());
        let idle = Rc::clone(&idle);
        let tally = Rc::clone(&tally);
        in_flight.spawn_local(async move {
            let late = Instant::now().saturating_duration_since(due);
            tally.count(|counts| counts.late.add(late));
            if asker.ask(&tally).await {
                idle.borrow_mut().push(asker);
            }
        });
    }
    while let Some(ended) = in_flight.join_next().await {
        ended.expect("nothing aborts a request, and a panic is ours to show");
    }
}
