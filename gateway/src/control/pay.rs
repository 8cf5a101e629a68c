//! Pay: what a worker asks for its work, and the notices of payment channels on the control stream.
//!
//! Notices are absolute and said again where that matters, so that of two of a kind the newer is enough, and one that
//! finds no room is left out. They go at a pace that leaves room for the other lines.

use std::time::Duration;

use attestation::Hex;
use billing::{
    Tariff,
    channel::{Account, Envelope, Network},
};
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, time::Instant};

use super::{ControlError, Speaking};

/// Between two notices, over time: well below the lines that the other end takes.
const PACE: Duration = Duration::from_millis(75);
/// So many go at once after a pause, for work may wait for them: far fewer than the other end takes so.
const AT_ONCE: u32 = 16;
/// Notices that wait to be said.
const WAITING: usize = 256;

/// On what terms a worker works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayOffer {
    pub(crate) network: Network,
    /// Ed25519: signs what it takes. Its claims name the same.
    pub(crate) payee_key: Hex<32>,
    /// Where what it earns goes.
    pub(crate) payout: Account,
    /// Parts of 10000 of what it takes that it lets go to `fee_dest`.
    pub(crate) fee_bps: u16,
    pub(crate) fee_dest: Account,
    /// What it needs to settle in.
    pub(crate) close_delay_s: u32,
    pub(crate) price: Prices,
}

/// In nanoton: for a million tokens of each class, and for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) completion: u64,
    pub(crate) request: u64,
}

impl Prices {
    /// Reasoning costs what completion costs.
    pub(crate) const fn tariff(self) -> Tariff {
        Tariff {
            prompt: self.prompt,
            cached: self.cached,
            completion: self.completion,
            reasoning: self.completion,
            request: self.request,
            minimum: 0,
        }
    }
}

/// Takes notices for a connection.
pub(crate) type Notices = mpsc::Sender<Envelope>;

/// Where notices are handed in, and what comes of them.
pub(crate) fn notices() -> (Notices, Waiting) {
    let (give, take) = mpsc::channel(WAITING);
    (give, Waiting(take))
}

/// Notices that wait to be said on one connection.
#[derive(Debug)]
pub(crate) struct Waiting(mpsc::Receiver<Envelope>);

impl Waiting {
    /// Says them until nobody hands in any more, or the connection is over. `line`: how this end says one.
    pub(crate) async fn say<L: Serialize>(
        mut self,
        speaking: Speaking,
        line: fn(Envelope) -> L,
    ) -> Result<(), ControlError> {
        // When the last would have been said, had each kept its distance.
        let mut paced = Instant::now();
        while let Some(first) = self.0.recv().await {
            let mut said = vec![first];
            while let Ok(next) = self.0.try_recv() {
                // Of a kind, on a channel, the newest says it all.
                said.retain(|earlier| !replaces(&next, earlier));
                said.push(next);
            }
            for notice in said {
                speaking.say(&line(notice)).await?;
                let earliest = Instant::now().checked_sub(PACE * AT_ONCE);
                paced = earliest.map_or(paced, |earliest| paced.max(earliest)) + PACE;
                tokio::time::sleep_until(paced).await;
            }
        }
        Ok(())
    }
}

fn replaces(next: &Envelope, earlier: &Envelope) -> bool {
    let is_same_kind = std::mem::discriminant(&next.notice) == std::mem::discriminant(&earlier.notice);
    is_same_kind && next.channel() == earlier.channel()
}

#[cfg(test)]
mod tests {
    use billing::{
        Nano,
        channel::{ChannelId, Notice},
    };

    use super::*;
    use crate::control::{FromGateway, Listening, speaking};

    #[tokio::test(start_paused = true)]
    async fn of_notices_that_wait_the_newest_of_a_kind_is_said() {
        let account = Account {
            workchain: 0,
            hash: [7; 32],
        };
        let id = ChannelId {
            network: Network::TESTNET,
            account,
        };
        let tally = |spent: u64| {
            let (spent, open) = (Nano::saturating(spent), Nano::ZERO);
            Envelope::new(&id, Notice::Tally { spent, open })
        };
        let (give, take) = notices();
        for spent in 1..=40 {
            give.try_send(tally(spent)).expect("there is room");
        }
        give.try_send(Envelope::new(&id, Notice::Accept {}))
            .expect("there is room");
        drop(give);
        let (speaking, body) = speaking();
        let mut listening = Listening::new(body);
        take.say(speaking, |message| FromGateway::Pay {
            message: Box::new(message),
        })
        .await
        .expect("somebody listens");
        for expect in [tally(40), Envelope::new(&id, Notice::Accept {})] {
            let heard: FromGateway = listening.next(Duration::from_secs(1)).await.expect("a line");
            let message = Box::new(expect);
            assert_eq!(heard, FromGateway::Pay { message });
        }
    }
}
