//! Whom a handshake lets in.

use std::{sync::Arc, time::Instant};

use attestation::{Attester, CollateralSet, Hex, NoQuote, Policy, Role, Tier};
use attestation_ratls::{Admit, BURST, Draft, Endpoint, KeyKind, Keys, REFILL, Trust, Wanted};
use attestation_soft_tdx::{Builder, SoftTdx};

use crate::{
    resumption::{raw_client, raw_meet, worker_with_known_key},
    world::{
        Clock, NOW, Soft, World, anchor, collateral, draft, endpoint, expect, guest, meet, policy, sockets, verifier,
    },
};

#[tokio::test]
async fn two_guests_accept_each_other() {
    let world = World::new(Tier::Tee);
    let (gateway, worker) = world.meet().await;
    let (gateway, worker) = (gateway.unwrap(), worker.unwrap());
    let seen = gateway.peer().unwrap();
    assert_eq!(seen.role(), Role::Worker);
    assert_eq!(seen.shown().tier(), Tier::Tee);
    assert_eq!(seen.shown().image(), Some("worker"));
    assert_eq!(seen.spki_sha256(), worker.identity().unwrap().spki_sha256());
    assert_eq!(worker.peer().unwrap().shown().image(), Some("gateway"));
    assert_eq!(gateway.alpn().as_deref(), Some(crate::world::ALPN));
}

#[tokio::test]
async fn keys_of_both_kinds_serve() {
    for kind in [KeyKind::Ed25519, KeyKind::P256] {
        let worker = Draft {
            attester: Some(Soft::honest(&guest("worker"))),
            ..Draft::new(Role::Worker, Keys::Fresh(kind))
        };
        assert_eq!(
            World::with(policy(Tier::Tee), &worker).verdict().await,
            "accepted",
            "{kind:?}"
        );
    }
}

#[tokio::test]
async fn a_key_alone_is_open() {
    let keyed = draft(Role::Worker, None);
    assert_eq!(World::with(policy(Tier::Open), &keyed).verdict().await, "accepted");
    assert_eq!(World::with(policy(Tier::Tee), &keyed).verdict().await, "tier_too_low");
}

/// What the gateway says of a worker that is such a guest, under the policy of a sound one.
async fn check_guest(build: impl FnOnce(Builder) -> Builder, code: &str) {
    let soft = build(SoftTdx::builder().image("worker")).build();
    let worker = draft(Role::Worker, Some(Soft::honest(&soft)));
    let world = World::with(policy(Tier::Tee), &worker);
    assert_eq!(world.verdict().await, code);
}

#[tokio::test]
async fn a_guest_that_is_not_the_image_is_refused() {
    check_guest(|sound| sound, "accepted").await;
    check_guest(|sound| sound.image("other"), "image_unknown").await;
    check_guest(Builder::debug, "td_debug").await;
    check_guest(Builder::perfmon, "td_attributes").await;
    check_guest(|sound| sound.xfam([3, 0, 0, 0, 0, 0, 0, 0]), "xfam").await;
    check_guest(
        |sound| sound.form(attestation_soft_tdx::recipe::Form::V5Td15).service_td(),
        "service_td",
    )
    .await;
    check_guest(Builder::other_root, "chain_untrusted").await;
}

#[tokio::test]
async fn one_roles_evidence_is_not_anothers() {
    // A gateway as a worker; and the image of a gateway that says it is a worker.
    let gateway = draft(Role::Gateway, Some(Soft::honest(&guest("gateway"))));
    assert_eq!(
        World::with(policy(Tier::Tee), &gateway).verdict().await,
        "role_mismatch"
    );
    let posing = draft(Role::Worker, Some(Soft::honest(&guest("gateway"))));
    assert_eq!(World::with(policy(Tier::Tee), &posing).verdict().await, "image_role");
}

/// Hands out one quote, whatever it is asked for.
struct Copied(Vec<u8>);

impl Attester for Copied {
    fn quote(&self, _report_data: &[u8; 64]) -> Result<Vec<u8>, NoQuote> {
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn a_quote_of_another_key_is_refused() {
    let quote = guest("worker").quote(&[7; 64]);
    let thief = draft(Role::Worker, Some(Arc::new(Copied(quote))));
    assert_eq!(
        World::with(policy(Tier::Tee), &thief).verdict().await,
        "binding_mismatch"
    );
}

#[tokio::test]
async fn what_ended_is_refused() {
    let (key, worker) = worker_with_known_key();
    let certificate = worker.issue(NOW).unwrap().certificate().clone();
    let config = raw_client(vec![certificate], &key, &rustls::version::TLS13);
    let mut world = World::with(policy(Tier::Tee), &worker);
    let gateway = draft(Role::Gateway, Some(Soft::honest(&guest("gateway"))));
    for (now, code) in [
        (NOW, "accepted"),
        (NOW + 24 * 3600, "certificate_expired"),
        (NOW - 600, "certificate_not_yet_valid"),
    ] {
        world.gateway = endpoint(&gateway, &world.trust, &Clock::at(now));
        assert_eq!(raw_meet(&world, &config).await.0, code);
    }
}

#[tokio::test]
async fn collateral_that_says_otherwise_counts() {
    // Revoked, old, and none at all.
    let (revoked, stale, none) = (
        SoftTdx::builder().image("worker").revoked_pck().build(),
        guest("worker"),
        guest("worker"),
    );
    let worker = draft(Role::Worker, Some(Soft::honest(&guest("worker"))));

    let mut world = World::with(policy(Tier::Tee), &worker);
    let mut set = CollateralSet::new(anchor(&revoked));
    set.insert(collateral(&revoked, NOW), NOW).unwrap();
    world.gateway.trust = Trust::new(verifier(&revoked), policy(Tier::Tee), set).unwrap().0;
    assert_eq!(world.verdict().await, "pck_revoked");

    let mut set = CollateralSet::new(anchor(&stale));
    let long_ago = NOW - 365 * 24 * 3600;
    set.insert(collateral(&stale, long_ago), long_ago).unwrap();
    world.gateway.trust = Trust::new(verifier(&stale), policy(Tier::Tee), set).unwrap().0;
    assert_eq!(world.verdict().await, "collateral_expired");

    let set = CollateralSet::new(anchor(&none));
    let (trust, mut wanted) = Trust::new(verifier(&none), policy(Tier::Tee), set).unwrap();
    world.gateway.trust = trust;
    assert_eq!(world.verdict().await, "collateral_missing");
    let asked = Wanted {
        fmspc: Hex(attestation_soft_tdx::FMSPC),
        ca: "platform",
    };
    assert_eq!(wanted.try_recv(), Ok(asked));

    // Fetched meanwhile, it is accepted when it comes again.
    world
        .gateway
        .trust
        .change_collateral(|set| set.insert(collateral(&none, NOW), NOW))
        .unwrap();
    assert_eq!(world.verdict().await, "accepted");
    assert!(wanted.try_recv().is_err());
}

#[tokio::test]
async fn the_worker_checks_the_gateway_too() {
    let world = World::new(Tier::Tee);
    let impostor = draft(Role::Gateway, Some(Soft::honest(&guest("other"))));
    let impostor = endpoint(&impostor, &world.trust, &world.clock);
    let (_, worker) = meet(&impostor, &world.worker).await;
    assert_eq!(worker.unwrap_err().code(), "image_unknown");
    let (_, worker) = meet(&world.worker, &world.worker).await;
    assert_eq!(worker.unwrap_err().code(), "role_mismatch");
}

#[tokio::test]
async fn who_shows_nothing_is_let_in_where_anyone_is() {
    let world = World::new(Tier::Tee);
    let nobody = Endpoint {
        identities: None,
        ..world.worker.clone()
    };
    let (gateway, _) = meet(&world.gateway, &nobody).await;
    assert_eq!(gateway.unwrap_err().code(), "handshake_failed");
    let (accepted, dialled) = sockets().await;
    let (gateway, app) = tokio::join!(
        world.gateway.accept(accepted, expect(Role::Connect), Admit::Anyone),
        nobody.connect(dialled, expect(Role::Gateway)),
    );
    assert!(gateway.unwrap().peer().is_none());
    assert_eq!(app.unwrap().peer().unwrap().shown().tier(), Tier::Tee);
}

#[tokio::test]
async fn a_flood_of_invalid_evidence_is_not_verified() {
    let debug = SoftTdx::builder().image("worker").debug().build();
    let mut world = World::with(policy(Tier::Tee), &draft(Role::Worker, Some(Soft::honest(&debug))));
    // One address is on both sides here.
    let (own, _wanted) = crate::world::trust(policy(Tier::Tee), &guest("worker"));
    world.worker.trust = Arc::clone(&own);
    let began = Instant::now();
    let mut verified = 0;
    let refused = loop {
        let code = world.verdict().await;
        if code != "td_debug" {
            break code;
        }
        verified += 1;
        let refilled = began.elapsed().as_secs() / REFILL.as_secs();
        assert!(
            verified <= u64::from(BURST) + refilled,
            "{verified} in {:?}",
            began.elapsed()
        );
    };
    assert_eq!(refused, "flood");
    assert!(verified >= u64::from(BURST), "{verified}");
    // An honest one from there waits too: addresses are all that is known before evidence is.
    let sound = draft(Role::Worker, Some(Soft::honest(&guest("worker"))));
    let sound = endpoint(&sound, &own, &world.clock);
    for _ in 0..10 {
        let (gateway, worker) = meet(&world.gateway, &sound).await;
        worker.unwrap();
        match gateway {
            Err(refused) => return assert_eq!(refused.code(), "flood"),
            // On a slow machine the next token came first: it is spent, and asked again.
            Ok(_) => while world.verdict().await == "td_debug" {},
        }
    }
    panic!("an honest peer was let in ten times while its address was refused");
}

#[tokio::test]
async fn honest_peers_are_never_a_flood() {
    let world = World::new(Tier::Tee);
    for _ in 0..=BURST {
        assert_eq!(world.verdict().await, "accepted");
    }
}

#[test]
fn what_cannot_be_meant_or_is_in_force_changes_nothing() {
    let soft = guest("worker");
    let nonsense = Policy {
        max_age_s: 0,
        ..policy(Tier::Tee)
    };
    assert!(Trust::new(verifier(&soft), nonsense.clone(), CollateralSet::new(anchor(&soft))).is_err());
    let (trust, _wanted) = crate::world::trust(policy(Tier::Tee), &soft);
    let generation = trust.generation();
    assert!(trust.set_policy(nonsense).is_err());
    trust.set_policy(policy(Tier::Tee)).unwrap();
    assert!(!generation.has_changed().unwrap());
    assert_eq!(trust.policy().digest(), policy(Tier::Tee).digest());
}
