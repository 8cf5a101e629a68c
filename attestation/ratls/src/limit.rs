//! How many verifications of a quote an address may cost us.
//!
//! A verification is about a millisecond of a core, and whoever connects can ask for one. So each address has a bucket:
//! [`BURST`] at once, then one each [`REFILL`]. What ended in a verdict is given back: an honest peer that reconnects
//! is never limited, and a flood of invalid evidence costs a bounded rate. Cheap checks need no token.
//!
//! An IPv6 address counts as its /64, which is what one host is given. At most [`ADDRESSES`] are remembered; past
//! that, those unknown share one bucket, so that a flood from everywhere is bounded too.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

pub const BURST: u32 = 20;
pub const REFILL: Duration = Duration::from_secs(3);
pub const ADDRESSES: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Limit {
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: u32,
    /// When the last token was added.
    since: Instant,
}

impl Limit {
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = place(&mut buckets, subnet(address), now);
        let bucket = buckets.entry(key).or_insert(Bucket::full(now));
        bucket.refill(now);
        let Some(left) = bucket.tokens.checked_sub(1) else {
            return false;
        };
        bucket.tokens = left;
        true
    }

    /// After a verdict.
    pub(crate) fn give_back(&self, address: IpAddr) {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = subnet(address);
        let key = if buckets.contains_key(&key) { key } else { OTHERS };
        if let Some(bucket) = buckets.get_mut(&key) {
            bucket.tokens = (bucket.tokens + 1).min(BURST);
        }
    }
}

/// The bucket of all who found no place of their own. Nobody connects from here.
const OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

fn place(buckets: &mut HashMap<IpAddr, Bucket>, key: IpAddr, now: Instant) -> IpAddr {
    if buckets.contains_key(&key) || buckets.len() < ADDRESSES {
        return key;
    }
    // A full bucket says nothing that a new one would not.
    buckets.retain(|_, bucket| {
        bucket.refill(now);
        bucket.tokens < BURST
    });
    if buckets.len() < ADDRESSES { key } else { OTHERS }
}

fn subnet(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 1))
        }
        v4 => v4,
    }
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self {
            tokens: BURST,
            since: now,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_millis() / REFILL.as_millis();
        let added = u32::try_from(passed).unwrap_or(BURST).min(BURST);
        self.tokens = (self.tokens + added).min(BURST);
        self.since = if self.tokens == BURST {
            now
        } else {
            self.since + REFILL * added
        };
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use std::{net::IpAddr, time::Instant};

    use super::{ADDRESSES, BURST, Limit, REFILL};

    fn taken(limit: &Limit, address: &str, now: Instant) -> u32 {
        let address: IpAddr = address.parse().unwrap();
        (0..BURST * 4).map(|_| u32::from(limit.take(address, now))).sum()
    }

    #[test]
    fn an_address_spends_its_burst_and_then_its_rate() {
        let (limit, now) = (Limit::default(), Instant::now());
        assert_eq!(taken(&limit, "192.0.2.1", now), BURST);
        assert_eq!(taken(&limit, "192.0.2.1", now + REFILL / 2), 0);
        assert_eq!(taken(&limit, "192.0.2.1", now + REFILL), 1);
        assert_eq!(taken(&limit, "192.0.2.1", now + REFILL * 3), 2);
        assert_eq!(taken(&limit, "192.0.2.1", now + REFILL * 1000), BURST);
        assert_eq!(taken(&limit, "192.0.2.2", now), BURST);
    }

    #[test]
    fn a_verdict_costs_nothing() {
        let (limit, now) = (Limit::default(), Instant::now());
        for _ in 0..BURST * 10 {
            let address = "192.0.2.1".parse().unwrap();
            assert!(limit.take(address, now));
            limit.give_back(address);
        }
    }

    #[test]
    fn one_host_of_ipv6_is_one_address() {
        let (limit, now) = (Limit::default(), Instant::now());
        assert_eq!(taken(&limit, "2001:db8::1", now), BURST);
        assert_eq!(taken(&limit, "2001:db8::2", now), 0);
        assert_eq!(taken(&limit, "2001:db8:0:1::1", now), BURST);
        assert_eq!(taken(&limit, "::ffff:192.0.2.7", now), BURST);
        assert_eq!(taken(&limit, "192.0.2.7", now), 0);
    }

    #[test]
    fn a_flood_from_everywhere_shares_one_bucket() {
        let (limit, now) = (Limit::default(), Instant::now());
        let address = |n: u32| IpAddr::from((n + 1).to_be_bytes());
        let flood = u32::try_from(ADDRESSES).unwrap() + 500;
        let passed = (0..flood).filter(|n| limit.take(address(*n), now)).count();
        assert_eq!(passed, ADDRESSES + usize::try_from(BURST).unwrap());
        assert!(limit.buckets.lock().unwrap().len() <= ADDRESSES + 1);
        // When the first have their tokens again, there is place for new ones.
        let later = now + REFILL;
        assert!(limit.take(address(flood), later));
        assert!(limit.buckets.lock().unwrap().len() <= 2);
    }
}
