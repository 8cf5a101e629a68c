//! What is said on an open connection, and who is cut.

use std::collections::{BTreeMap, BTreeSet};

use attestation::{Allowed, Hex, Policy, Role, Tier};
use attestation_ratls::{
    Admit, Connection, Endpoint, Identities,
    channel::{Acceptance, Bytes, Cut, Footing, MAX_LINE, Message, Proof, Status},
};
use attestation_soft_tdx::SoftTdx;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines, ReadHalf, WriteHalf, split},
    net::TcpStream,
};

use crate::world::{NOW, Soft, World, collateral, draft, expect, guest, keep, meet, policy, sockets};

#[tokio::test]
async fn both_verdicts_stand_before_a_request() {
    let world = World::new(Tier::Tee);
    let (gateway, worker) = world.meet().await;
    let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
    let (of_worker, gateway) = gateway.settled().await.unwrap();
    let (of_gateway, _worker) = worker.settled().await.unwrap();
    assert_eq!((of_worker, of_gateway), (Tier::Tee, Tier::Tee));
    let footing = gateway.footing.borrow().clone();
    let Some(Status::Bound(attested)) = footing.peer else {
        panic!("{footing:?}");
    };
    assert_eq!(attested.verdict().expires(), NOW + 600);
    // What an archive needs to look at it again.
    let Proof::Quote(quote) = attested.proof() else {
        panic!("a guest answers with a quote");
    };
    let report_data = attested.channel().report_data();
    assert!(quote.0.windows(64).any(|window| window == report_data));
}

#[tokio::test]
async fn a_keyed_worker_is_bound_too() {
    let world = World::with(policy(Tier::Open), &draft(Role::Worker, None));
    let (gateway, worker) = world.meet().await;
    let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
    assert_eq!(gateway.settled().await.unwrap().0, Tier::Open);
    assert_eq!(worker.settled().await.unwrap().0, Tier::Tee);
}

#[tokio::test]
async fn an_app_without_a_certificate_checks_the_gateway() {
    let world = World::new(Tier::Tee);
    let nobody = Endpoint {
        identities: None,
        ..world.worker.clone()
    };
    let (accepted, dialled) = sockets().await;
    let (gateway, app) = tokio::join!(
        world.gateway.accept(accepted, expect(Role::Connect), Admit::Anyone),
        nobody.connect(dialled, expect(Role::Gateway)),
    );
    let gateway = keep(&world.gateway, gateway);
    let app = keep(&nobody, app);
    // Its own requests may go out, to a gateway that it checked; whom the gateway serves is not this channel's matter.
    let (tier, _app) = app.settled().await.unwrap();
    assert_eq!(tier, Tier::Tee);
    let mut footing = gateway.footing.clone();
    let accepted = |footing: &Footing| matches!(footing.ours, Acceptance::Until(_));
    footing.wait_for(accepted).await.unwrap();
    assert!(footing.borrow().ready().is_none());
    assert!(footing.borrow().peer.is_none());
}

/// The guest on the channel is not the one of the certificate.
async fn check_second(first: &SoftTdx, then: &SoftTdx, code: &str) {
    let worker = draft(Role::Worker, Some(Soft::changing(first, then)));
    let both = Policy {
        images: [
            policy(Tier::Tee).images,
            vec![crate::world::image("worker-2", guest("worker-2").td(), &[Role::Worker])],
        ]
        .concat(),
        ..policy(Tier::Tee)
    };
    let world = World::with(both, &worker);
    let (gateway, worker) = world.meet().await;
    let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
    match gateway.settled().await {
        Ok(_) => assert_eq!(code, "accepted"),
        Err(cut) => {
            assert_eq!(cut.code(), code);
            told(&worker.cut().await, code);
        }
    }
}

/// The other side found the same, or was told, or saw no more than the end: whoever cuts does not wait to be read.
fn told(cut: &Cut, code: &str) {
    assert!(*cut == Cut::Closed || cut.code() == code, "{cut:?}");
}

#[tokio::test]
async fn a_second_quote_is_of_the_same_guest_and_platform() {
    let worker = guest("worker");
    check_second(&worker, &worker, "accepted").await;
    check_second(&worker, &guest("worker-2"), "image_changed").await;
    check_second(&worker, &worker.platform(1), "platform_changed").await;
    let debug = SoftTdx::builder().image("worker").debug().build();
    check_second(&worker, &debug, "td_debug").await;
}

/// Somebody who holds the keys of both certificates, as leaked ones are held, and passes on what the two say.
#[tokio::test]
async fn a_relayed_binding_is_refused() {
    let world = World::new(Tier::Tee);
    let stolen = |endpoint: &Endpoint| endpoint.clone();
    let (towards_gateway, towards_worker) = (stolen(&world.worker), stolen(&world.gateway));
    let (gateway, relay_to_gateway) = meet(&world.gateway, &towards_gateway).await;
    let (relay_to_worker, worker) = meet(&towards_worker, &world.worker).await;
    let (mut left, mut right) = (relay_to_gateway.unwrap(), relay_to_worker.unwrap());
    let relay = tokio::spawn(async move {
        // It ends with an error when the first of the two cuts.
        tokio::io::copy_bidirectional(&mut left, &mut right).await.ok();
    });
    let gateway = keep(&world.gateway, gateway);
    let worker = keep(&world.worker, worker);
    let (gateway, worker) = tokio::join!(gateway.cut(), worker.cut());
    relay.await.unwrap();
    // Whoever is first tells the other.
    let first = [&gateway, &worker]
        .into_iter()
        .find(|cut| matches!(cut, Cut::Refused(_)));
    assert_eq!(first.map(Cut::code), Some("binding_mismatch"), "{gateway:?} {worker:?}");
    told(&gateway, "binding_mismatch");
    told(&worker, "binding_mismatch");
}

/// A peer that says lines.
struct Scripted {
    lines: Lines<BufReader<ReadHalf<Connection<TcpStream>>>>,
    writer: WriteHalf<Connection<TcpStream>>,
}

impl Scripted {
    fn new(connection: Connection<TcpStream>) -> Self {
        let (reader, writer) = split(connection);
        Self {
            lines: BufReader::new(reader).lines(),
            writer,
        }
    }

    async fn hear(&mut self) -> Message {
        let line = self.lines.next_line().await.unwrap().unwrap();
        Message::from_line(line.as_bytes()).unwrap()
    }

    async fn challenge(&mut self) -> Hex<32> {
        match self.hear().await {
            Message::Challenge { nonce } => nonce,
            other => panic!("{other:?}"),
        }
    }

    async fn say(&mut self, message: Message) {
        self.writer.write_all(&message.to_line()).await.unwrap();
    }
}

async fn scripted(world: &World) -> (crate::world::Kept, Scripted) {
    let (gateway, worker) = world.meet().await;
    (keep(&world.gateway, gateway), Scripted::new(worker.unwrap()))
}

#[tokio::test]
async fn a_reflected_binding_is_refused() {
    // Attested, and by signature.
    for (tier, worker) in [
        (Tier::Tee, draft(Role::Worker, Some(Soft::honest(&guest("worker"))))),
        (Tier::Open, draft(Role::Worker, None)),
    ] {
        let world = World::with(policy(tier), &worker);
        let (gateway, mut peer) = scripted(&world).await;
        let nonce = peer.challenge().await;
        peer.say(Message::Challenge { nonce }).await;
        let evidence = peer.hear().await;
        assert!(matches!(evidence, Message::Evidence { .. }), "{evidence:?}");
        peer.say(evidence).await;
        let cut = gateway.cut().await;
        match tier {
            Tier::Open => assert!(matches!(cut, Cut::Protocol(_)), "{cut:?}"),
            _ => assert_eq!(cut.code(), "binding_mismatch"),
        }
    }
}

/// What the gateway makes of an answer to its first question.
async fn check_answer(answer: impl FnOnce(Hex<32>) -> Message, code: &str) {
    let world = World::new(Tier::Tee);
    let (gateway, mut peer) = scripted(&world).await;
    let nonce = peer.challenge().await;
    peer.say(answer(nonce)).await;
    assert_eq!(gateway.cut().await.code(), code);
}

#[tokio::test]
async fn answers_that_answer_nothing_are_refused() {
    let quote = |bytes: Vec<u8>| Proof::Quote(Bytes(bytes));
    let evidence = |nonce, proof| Message::Evidence {
        nonce,
        proof,
        gpu: None,
    };
    let other = guest("worker").quote(&[7; 64]);
    check_answer(|nonce| evidence(nonce, quote(other.clone())), "binding_mismatch").await;
    check_answer(|nonce| evidence(nonce, quote(vec![4, 0])), "malformed").await;
    check_answer(|nonce| evidence(nonce, quote(vec![0; 64 * 1024])), "too_large").await;
    check_answer(|_| evidence(Hex([9; 32]), quote(other.clone())), "channel_protocol").await;
    let signature = |nonce| evidence(nonce, Proof::Signature(Bytes(vec![0; 64])));
    check_answer(signature, "quote_missing").await;
    let refused = |_| Message::Refused {
        code: "Any Thing\n".to_owned(),
    };
    check_answer(refused, "unnamed").await;
    let accepted = |nonce| Message::Accepted {
        nonce,
        tier: Tier::Tee,
        until: NOW + 600,
    };
    check_answer(accepted, "channel_protocol").await;
}

#[tokio::test]
async fn a_statement_of_another_key_is_refused() {
    let world = World::with(policy(Tier::Open), &draft(Role::Worker, None));
    let (gateway, mut peer) = scripted(&world).await;
    let nonce = peer.challenge().await;
    let stranger = attestation_ratls::Key::generate(attestation_ratls::KeyKind::Ed25519).unwrap();
    let proof = Proof::Signature(Bytes(stranger.state(&[0; 64]).unwrap()));
    peer.say(Message::Evidence {
        nonce,
        proof,
        gpu: None,
    })
    .await;
    assert_eq!(gateway.cut().await, Cut::Statement);
}

#[tokio::test]
async fn a_flood_of_questions_is_cut() {
    let world = World::new(Tier::Tee);
    let (gateway, mut peer) = scripted(&world).await;
    peer.challenge().await;
    for n in 0..11 {
        peer.say(Message::Challenge { nonce: Hex([n; 32]) }).await;
        if n < 10 {
            assert!(matches!(peer.hear().await, Message::Evidence { .. }));
        }
    }
    assert_eq!(gateway.cut().await, Cut::Flood);
}

#[tokio::test]
async fn what_is_no_message_is_cut() {
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"{}\n", &[b'{'; MAX_LINE + 1]] {
        let world = World::new(Tier::Tee);
        let (gateway, mut peer) = scripted(&world).await;
        // The gateway may be gone before all of it is written.
        peer.writer.write_all(noise).await.ok();
        assert_eq!(gateway.cut().await.code(), "channel_protocol");
    }
    let world = World::new(Tier::Tee);
    let (gateway, peer) = scripted(&world).await;
    drop(peer);
    assert_eq!(gateway.cut().await, Cut::Closed);
}

#[tokio::test]
async fn a_measurement_struck_from_the_policy_cuts_at_once() {
    let world = World::new(Tier::Tee);
    let (gateway, worker) = world.meet().await;
    let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
    let (_, gateway) = gateway.settled().await.unwrap();
    let (_, worker) = worker.settled().await.unwrap();
    let mut without = policy(Tier::Tee);
    without.images.retain(|image| image.name != "worker");
    world.trust.set_policy(without).unwrap();
    let footing = gateway.footing.clone();
    assert_eq!(gateway.cut().await.code(), "image_unknown");
    assert!(footing.borrow().ready().is_none());
    told(&worker.cut().await, "image_unknown");
}

/// What others allow cuts as the policy does; what they name besides is not let in, and what they say again cuts nobody.
#[tokio::test]
async fn what_others_no_longer_allow_is_cut_at_once() {
    let world = World::new(Tier::Tee);
    let listed = policy(Tier::Tee).images.into_iter();
    let images: BTreeMap<_, _> = listed
        .map(|image| (image.digest(), image.roles.into_iter().collect::<BTreeSet<_>>()))
        .collect();
    let all = Allowed {
        images: Some(images.clone()),
        models: None,
    };
    world.trust.allow_only(all.clone());
    let (gateway, worker) = world.meet().await;
    let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
    let (_, gateway) = gateway.settled().await.unwrap();
    let (_, worker) = worker.settled().await.unwrap();
    let generation = world.trust.generation();
    world.trust.allow_only(all);
    assert!(!generation.has_changed().unwrap(), "the same again is no change");
    world.trust.allow_only(Allowed {
        images: Some(BTreeMap::from([(Hex([7; 32]), BTreeSet::from([Role::Worker]))])),
        models: None,
    });
    assert_eq!(world.trust.written().digest(), policy(Tier::Tee).digest());
    assert_eq!(world.trust.policy().images, []);
    assert_eq!(gateway.cut().await.code(), "image_unknown");
    told(&worker.cut().await, "image_unknown");
}

#[tokio::test]
async fn a_platform_revoked_in_a_new_list_cuts_at_once() {
    let world = World::new(Tier::Tee);
    let (gateway, worker) = world.meet().await;
    let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
    let (_, gateway) = gateway.settled().await.unwrap();
    let (_, worker) = worker.settled().await.unwrap();
    let revoked = SoftTdx::builder().image("worker").revoked_pck().crl_number(9).build();
    world
        .trust
        .change_collateral(|set| set.insert(collateral(&revoked, NOW), NOW))
        .unwrap();
    assert_eq!(gateway.cut().await.code(), "pck_revoked");
    told(&worker.cut().await, "pck_revoked");
}

#[tokio::test]
async fn a_change_that_changes_nothing_for_a_peer_asks_it_again() {
    let world = World::new(Tier::Tee);
    let (gateway, worker) = world.meet().await;
    let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
    let (_, mut gateway) = gateway.settled().await.unwrap();
    let (_, _worker) = worker.settled().await.unwrap();
    let changed = Policy {
        max_age_s: 300,
        ..policy(Tier::Tee)
    };
    let digest = changed.digest();
    world.trust.set_policy(changed).unwrap();
    let footing = gateway
        .footing
        .wait_for(|footing| {
            footing
                .ready()
                .is_some_and(|attested| attested.verdict().policy() == digest)
        })
        .await
        .unwrap();
    assert_eq!(footing.ready().unwrap().verdict().expires(), NOW + 300);
}

#[tokio::test]
async fn a_cut_connection_reads_and_writes_no_more() {
    let world = World::new(Tier::Tee);
    let (gateway, worker) = world.meet().await;
    let (gateway, mut worker) = (gateway.unwrap(), worker.unwrap());
    let handle = gateway.handle();
    let (mut reader, mut writer) = split(gateway);
    let reading = tokio::spawn(async move { reader.read(&mut [0; 16]).await });
    tokio::task::yield_now().await;
    handle.cut();
    assert_eq!(
        reading.await.unwrap().unwrap_err().kind(),
        std::io::ErrorKind::ConnectionAborted
    );
    let refused = writer.write(b"late").await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionAborted);
    // The other side sees an end without TLS' farewell.
    assert!(worker.read(&mut [0; 16]).await.is_err());
}

#[tokio::test]
async fn a_connection_keeps_the_certificate_that_it_began_with() {
    let world = World::new(Tier::Tee);
    let (gateway, worker) = world.meet().await;
    let identities: &Identities = world.worker.identities.as_ref().unwrap();
    let before = *identities.current().spki_sha256();
    let next = draft(Role::Worker, Some(Soft::honest(&guest("worker"))));
    identities.replace(next.issue(NOW).unwrap());
    let (gateway, worker) = (keep(&world.gateway, gateway), keep(&world.worker, worker));
    gateway.settled().await.unwrap();
    worker.settled().await.unwrap();
    let (gateway, _worker) = world.meet().await;
    assert_ne!(*gateway.unwrap().peer().unwrap().spki_sha256(), before);
}
