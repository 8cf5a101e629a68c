//! Our certificate is another before it ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use attestation::{Attester, Claims, Evidence, NoQuote, Role, Tier};
use attestation_ratls::{Certificate, Draft, Identities, IssueError, Key, KeyKind, Keys, Shown};

use crate::world::{Clock, NOW, Soft, World, draft, guest, policy};

#[test]
fn what_is_issued_is_what_is_read() {
    let worker = Draft {
        receipt_key: Some(attestation::Hex([1; 32])),
        payee_key: Some(attestation::Hex([2; 32])),
        ..draft(Role::Worker, Some(Soft::honest(&guest("worker"))))
    };
    let identity = worker.issue(NOW).unwrap();
    let read = Certificate::read(identity.certificate(), &[], NOW).unwrap();
    assert_eq!(read.spki_sha256(), identity.spki_sha256());
    let Shown::Evidence(evidence) = read.shown() else {
        panic!("it shows {:?}", read.shown());
    };
    let evidence = Evidence::decode(evidence).unwrap();
    let claims = Claims::decode(&evidence.claims).unwrap();
    assert_eq!(&claims, identity.claims());
    assert_eq!(
        (claims.not_before, claims.not_after),
        (NOW - 300, NOW + 24 * 3600 - 300)
    );
    assert_eq!(
        (read.not_before(), read.not_after()),
        (claims.not_before, claims.not_after)
    );
    assert_eq!(claims.receipt_key, worker.receipt_key);
    assert_eq!(claims.payee_key, worker.payee_key);
}

#[test]
fn what_cannot_be_issued_is_not() {
    let sound = draft(Role::Worker, None);
    for lifetime in [0, 59, 24 * 3600 + 1] {
        let wrong = Draft {
            lifetime: Duration::from_secs(lifetime),
            ..sound.clone()
        };
        assert!(
            matches!(wrong.issue(NOW), Err(IssueError::Lifetime { .. })),
            "{lifetime}"
        );
    }
    assert!(matches!(sound.issue(0), Err(IssueError::Clock { now: 0 })));
    assert!(matches!(sound.issue(u64::MAX), Err(IssueError::Clock { .. })));
    let broken = draft(Role::Worker, Some(Arc::new(Broken)));
    assert!(matches!(broken.issue(NOW), Err(IssueError::Quote(_))));
}

struct Broken;

impl Attester for Broken {
    fn quote(&self, _report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
        Err(NoQuote::new("this machine has no TDX"))
    }
}

#[tokio::test]
async fn it_is_renewed_when_half_its_time_is_over() {
    for fresh in [true, false] {
        let keys = match fresh {
            true => Keys::Fresh(KeyKind::P256),
            false => Keys::Own(Key::generate(KeyKind::P256).unwrap()),
        };
        let worker = Draft {
            keys,
            ..draft(Role::Worker, Some(Soft::honest(&guest("worker"))))
        };
        let clock = Clock::at(NOW);
        let identities = Arc::new(Identities::new(worker.issue(NOW).unwrap()));
        let before = identities.current();
        let mut issued = identities.issued();
        // Some hours later; at a time of its own the task would look once a minute.
        clock.set(NOW + 12 * 3600);
        let renewing = {
            let identities = Arc::clone(&identities);
            tokio::spawn(async move { identities.renew(worker, clock).await })
        };
        issued.changed().await.unwrap();
        let after = identities.current();
        assert_eq!(after.not_after(), NOW + 36 * 3600 - 300);
        // A guest's key is new each time, a node's own stays.
        assert_eq!(after.spki_sha256() != before.spki_sha256(), fresh);
        renewing.abort();
    }
}

/// A proof fails on the channel: whoever was asked says nothing wrong, and leaves.
#[tokio::test]
async fn a_machine_that_makes_no_quote_leaves() {
    struct Once(Arc<Soft>, AtomicBool);
    impl Attester for Once {
        fn quote(&self, report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
            match self.1.swap(true, Ordering::SeqCst) {
                false => self.0.quote(report_data),
                true => Err(NoQuote::new("the quoting service is gone")),
            }
        }
    }
    let attester = Once(Soft::honest(&guest("worker")), AtomicBool::new(false));
    let world = World::with(policy(Tier::Tee), &draft(Role::Worker, Some(Arc::new(attester))));
    let (gateway, worker) = world.meet().await;
    let gateway = crate::world::keep(&world.gateway, gateway);
    let worker = crate::world::keep(&world.worker, worker);
    assert_eq!(worker.cut().await.code(), "own_evidence");
    assert_eq!(gateway.cut().await.code(), "channel_closed");
}
