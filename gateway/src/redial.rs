//! Redial: one connection after another to the same peer, each made while the one before still serves.
//!
//! No connection outlives the certificates on it. So whoever dialled dials anew when half of the time of either is over,
//! a little at random, lest all come at once; both ends have issued the next one by then. New requests take the newer
//! connection; what runs on the older has the other half of its time to end in.

use std::{pin::Pin, time::Duration};

use attestation_ratls::{Connection, Identity, Peer};
use tokio::{
    task::JoinSet,
    time::{Instant, Sleep},
};

use crate::wall_clock::unix_seconds;

/// No two connections follow each other faster, however soon a certificate ends.
const PAUSE: Duration = Duration::from_secs(5);

/// When a connection shall have a successor.
pub(crate) fn due<IO>(connection: &Connection<IO>) -> Duration
where
    IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    of(
        connection.identity().map(|ours| &**ours),
        connection.peer().map(|peer| &**peer),
    )
}

/// The same, of these two.
pub(crate) fn of(ours: Option<&Identity>, peer: Option<&Peer>) -> Duration {
    let ours = ours.map(|ours| (ours.claims().not_before, ours.not_after()));
    let peer = peer.map(|peer| (peer.claims().not_before, peer.not_after()));
    let now = unix_seconds();
    let waits = ours
        .into_iter()
        .chain(peer)
        .map(|dates| wait(dates, now, fastrand::f64()));
    waits.min().unwrap_or(Duration::MAX)
}

/// For a certificate of these dates. `chance`: from 0 to 1.
fn wait((not_before, not_after): (u64, u64), now: u64, chance: f64) -> Duration {
    let life = not_after.saturating_sub(not_before);
    let half = not_before.saturating_add(life / 2);
    let seconds = match half.checked_sub(now) {
        Some(until) => until as f64 + chance * (life as f64) / 8.0,
        // It was not renewed in time; perhaps it is when half of what is left is over.
        None => not_after.saturating_sub(now) as f64 * (1.0 + chance) / 4.0,
    };
    Duration::from_secs_f64(seconds).max(PAUSE)
}

/// Connections to one peer, of which the newest serves. Dropped, it ends them.
#[derive(Debug)]
pub(crate) struct Succession<E> {
    /// With the number of each.
    open: JoinSet<(u64, E)>,
    newest: u64,
    /// When the newest is to have a successor; none while there is no newest.
    due: Option<Pin<Box<Sleep>>>,
}

impl<E: Send + 'static> Succession<E> {
    pub(crate) fn new() -> Self {
        Self {
            open: JoinSet::new(),
            newest: 0,
            due: None,
        }
    }

    /// Takes a connection for the newest; `work` is ready when it has ended.
    pub(crate) fn follow(&mut self, work: impl Future<Output = E> + Send + 'static, due: Duration) {
        self.newest += 1;
        let number = self.newest;
        self.open.spawn(async move { (number, work.await) });
        // Some years, where nothing ends.
        let due = Instant::now() + due.min(Duration::from_secs(365 * 24 * 3600));
        self.due = Some(Box::pin(tokio::time::sleep_until(due)));
    }

    /// Waits until the newest shall have a successor, and after that is told once; or why it has ended.
    /// For ever where there is none. May be given up at any time.
    pub(crate) async fn next(&mut self) -> Option<E> {
        loop {
            let due = async {
                match &mut self.due {
                    Some(due) => due.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = self.open.join_next() => match ended {
                    Ok((number, why)) if number == self.newest => {
                        self.due = None;
                        return Some(why);
                    }
                    // Relieved; or it panicked, and that was told.
                    Ok(_) | Err(_) => {}
                },
                () = due => {
                    let never = Instant::now() + Duration::from_secs(365 * 24 * 3600);
                    self.due = Some(Box::pin(tokio::time::sleep_until(never)));
                    return None;
                }
            }
        }
    }

    /// Waits for the end of all.
    pub(crate) async fn end(&mut self) {
        while self.open.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn who_dialled_dials_anew_between_half_and_five_eighths() {
        let day = 24 * 3600;
        for (now, chance, expected) in [
            (0, 0.0, day / 2),
            (0, 1.0, day / 2 + day / 8),
            (day / 2, 0.0, 5),
            // Nobody renewed it.
            (day / 2 + 1, 0.0, day / 8 - 1),
            (day - 100, 1.0, 50),
            (day - 1, 0.0, 5),
            (day + 1, 0.0, 5),
        ] {
            let waited = wait((0, day), now, chance).as_secs();
            assert_eq!(waited, expected, "at {now} by {chance}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_is_the_one_that_counts() {
        let mut line = Succession::new();
        let (older, ended) = oneshot::channel::<&str>();
        line.follow(async { ended.await.unwrap_or("dropped") }, Duration::from_secs(10));
        let began = Instant::now();
        assert_eq!(line.next().await, None, "it shall have a successor");
        assert_eq!(began.elapsed(), Duration::from_secs(10));
        let (newer, ended) = oneshot::channel();
        line.follow(async { ended.await.unwrap_or("dropped") }, Duration::from_secs(100));
        older.send("relieved").expect("it waits");
        newer.send("cut").expect("it waits");
        assert_eq!(line.next().await, Some("cut"), "the older is not told of");
        line.end().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_older_is_told_of_while_there_is_no_newer() {
        let mut line = Succession::new();
        let (older, ended) = oneshot::channel::<&str>();
        line.follow(async { ended.await.unwrap_or("dropped") }, Duration::from_secs(10));
        assert_eq!(line.next().await, None);
        // Dialled in vain.
        older.send("cut").expect("it waits");
        assert_eq!(line.next().await, Some("cut"));
    }
}
