//! Peers with software TDX under their own root, appraised by the same code as real ones.

#![expect(clippy::expect_used, reason = "a test that panics has failed, and says where")]

mod gpus;
mod peer;

use attestation::{
    Anchor, Basis, Claims, CollateralSet, Evidence, Expected, Interop, PlatformMode, Policy, Refusal, Role, Tier,
    TrustAnchor, Verdict, Verifier,
    binding::{Channel, cocoon_report_data, user_report_data},
};
use attestation_soft_tdx::SoftTdx;
use peer::{HOUR, NOW, Peer, SPKI, collateral_of, ppid_of, set_of};

fn code(result: Result<Verdict, Refusal>) -> Result<Tier, &'static str> {
    result.map(|verdict| verdict.tier()).map_err(|refusal| refusal.code())
}

#[test]
fn a_certificate_is_appraised() {
    let peer = Peer::worker();
    let verdict = peer.appraise(Role::Worker, &SPKI, NOW).expect("a valid peer");
    assert_eq!(verdict.tier(), Tier::Tee);
    assert_eq!(verdict.role(), Role::Worker);
    assert_eq!(verdict.anchor(), Some(Anchor::Development));
    assert_eq!(verdict.image(), Some("worker"));
    assert_eq!(verdict.claims(), &peer.claims);
    assert_eq!(verdict.policy(), peer.policy.digest());
    assert_eq!(verdict.collateral(), peer.collateral.generation());
    assert_eq!((verdict.appraised_at(), verdict.expires()), (NOW, NOW + 600));
    assert!(verdict.holds_at(NOW + 599) && !verdict.holds_at(NOW + 600));

    let document = serde_json::to_value(&verdict).expect("a verdict is shown as JSON");
    assert_eq!(document["tier"], "tee");
    assert_eq!(document["anchor"], "development");
    assert_eq!(document["tcb"]["status"], "UpToDate");
    assert_eq!(document["platform"]["listed"], false);
    assert_eq!(document["promise"], Tier::Tee.promise());
}

/// `docs/attestation.md` shows a verdict whole: each name of it, and no other.
#[test]
fn a_verdict_is_shown_as_documented() {
    let document = include_str!("../../../docs/attestation.md");
    let (_, shown) = document
        .split_once("A verdict is shown as JSON:\n\n```json\n")
        .expect("the document shows one");
    let (shown, _) = shown.split_once("```").expect("it ends");
    let shown: serde_json::Value = serde_json::from_str(shown).expect("JSON");
    let peer = Peer::worker();
    let verdict = peer.appraise(Role::Worker, &SPKI, NOW).expect("a valid peer");
    let made = serde_json::to_value(&verdict).expect("a verdict is shown as JSON");
    let names = |value: &serde_json::Value| {
        let object = value.as_object().expect("an object");
        object.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(names(&shown), names(&made));
    for part in ["platform", "tcb"] {
        assert_eq!(names(&shown[part]), names(&made[part]), "{part}");
    }
}

#[test]
fn a_certificate_says_who_and_when() {
    let mut peer = Peer::worker();
    for (role, spki, now, expect) in [
        (Role::Worker, SPKI, NOW + HOUR - 1, Ok(Tier::Tee)),
        (Role::Gateway, SPKI, NOW, Err("role_mismatch")),
        (Role::Worker, [1; 32], NOW, Err("spki_mismatch")),
        (Role::Worker, SPKI, NOW - 1, Err("claims_not_yet_valid")),
        (Role::Worker, SPKI, NOW + HOUR, Err("claims_expired")),
    ] {
        assert_eq!(code(peer.appraise(role, &spki, now)), expect, "{role} at {now}");
    }
    // What is wrong in two ways has the code that comes first.
    assert_eq!(
        code(peer.appraise(Role::Gateway, &[1; 32], NOW + HOUR)),
        Err("role_mismatch")
    );

    // Another claim than the quote was made for.
    let claims = Claims::new(Role::Worker, SPKI, NOW, NOW + 2 * HOUR);
    peer.evidence.claims = claims.encode();
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW)), Err("binding_mismatch"));
}

#[test]
fn a_role_is_of_the_image_too() {
    let mut peer = Peer::with(SoftTdx::builder().build(), Role::Gateway);
    assert_eq!(code(peer.appraise(Role::Gateway, &SPKI, NOW)), Err("image_role"));
    for image in &mut peer.policy.images {
        image.roles.push(Role::Gateway);
    }
    assert_eq!(code(peer.appraise(Role::Gateway, &SPKI, NOW)), Ok(Tier::Tee));
}

#[test]
fn a_key_alone_is_open_where_the_policy_lets_it() {
    let mut peer = Peer::worker();
    peer.evidence.quote = None;
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW)), Err("tier_too_low"));
    peer.policy.min_tier = Tier::Open;
    let verdict = peer.appraise(Role::Worker, &SPKI, NOW).expect("a keyed peer");
    assert_eq!((verdict.tier(), verdict.anchor()), (Tier::Open, None));
    assert_eq!(code(peer.appraise(Role::Worker, &[1; 32], NOW)), Err("spki_mismatch"));
    assert_eq!(
        code(peer.appraise(Role::Worker, &SPKI, NOW + HOUR)),
        Err("claims_expired")
    );
}

#[test]
fn a_channel_is_of_one_guest_on_one_connection() {
    let peer = Peer::worker();
    let first = peer.appraise(Role::Worker, &SPKI, NOW).expect("a valid peer");
    let (nonce, exporter, gateway) = ([2; 32], [3; 32], [4; 32]);
    let channel = Channel {
        role: Role::Worker,
        nonce: &nonce,
        exporter: &exporter,
        attester_spki: &SPKI,
        verifier_spki: &gateway,
    };
    let verifier = peer.verifier();
    let check = |quote: &[u8], channel: &Channel<'_>, now| {
        let basis = Basis::new(&peer.policy, &peer.collateral, now);
        code(verifier.appraise_channel(quote, channel, &first, None, &basis))
    };
    let quote = peer.soft.quote(&channel.report_data());
    assert_eq!(check(&quote, &channel, NOW + 420), Ok(Tier::Tee));
    assert_eq!(check(&quote, &channel, NOW + HOUR), Err("claims_expired"));

    let other = [9; 32];
    let elsewhere = [
        Channel {
            nonce: &other,
            ..channel
        },
        Channel {
            exporter: &other,
            ..channel
        },
        Channel {
            verifier_spki: &other,
            ..channel
        },
    ];
    for channel in &elsewhere {
        assert_eq!(check(&quote, channel, NOW), Err("binding_mismatch"), "relayed");
    }
    // Sent back to its sender: who attests is somebody else there, in another role.
    let reflected = Channel {
        attester_spki: &gateway,
        verifier_spki: &SPKI,
        ..channel
    };
    assert_eq!(check(&quote, &reflected, NOW), Err("spki_mismatch"));
    let role = Channel {
        role: Role::Gateway,
        ..channel
    };
    assert_eq!(check(&quote, &role, NOW), Err("role_mismatch"));

    // Another machine of the same root, another guest of the policy on the same machine.
    let machine = peer.soft.platform(1);
    assert_eq!(
        check(&machine.quote(&channel.report_data()), &channel, NOW),
        Err("platform_changed")
    );
    let guest = peer.soft.clone().with_td(peer::other_td());
    assert_eq!(
        check(&guest.quote(&channel.report_data()), &channel, NOW),
        Err("image_changed")
    );
}

#[test]
fn a_user_asks_with_a_nonce() {
    let peer = Peer::worker();
    let report_data = user_report_data(Role::Worker, &[5; 32], &SPKI);
    let quote = peer.soft.quote(&report_data);
    let verifier = peer.verifier();
    let basis = Basis::new(&peer.policy, &peer.collateral, NOW);
    let ask = |report_data| {
        let expected = Expected {
            role: Role::Worker,
            report_data,
            claims: &peer.claims,
            gpu: None,
        };
        code(verifier.appraise(&quote, &expected, &basis))
    };
    assert_eq!(ask(&report_data), Ok(Tier::Tee));
    assert_eq!(
        ask(&user_report_data(Role::Worker, &[6; 32], &SPKI)),
        Err("binding_mismatch")
    );
}

#[test]
fn platforms_are_listed_by_processor_or_instance() {
    let mut peer = Peer::worker();
    peer.policy.platforms.mode = PlatformMode::Listed;
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW)), Err("platform_unlisted"));
    peer.policy.platforms.ppid.push(ppid_of(&peer.soft));
    let verdict = peer.appraise(Role::Worker, &SPKI, NOW).expect("a listed platform");
    let platform = verdict.platform().expect("a quote names one");
    assert!(platform.listed);
    peer.policy.platforms.ppid.clear();
    peer.policy.platforms.instance.extend(platform.instance);
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW)), Ok(Tier::Tee));
}

#[test]
fn without_gpus_nothing_is_more_than_tee() {
    let mut peer = Peer::worker();
    peer.policy.platforms.ppid.push(ppid_of(&peer.soft));
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW)), Ok(Tier::Tee));
    peer.policy.min_tier = Tier::TeeGpu;
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW)), Err("gpu_missing"));
}

#[test]
fn nothing_is_believed_under_another_anchor() {
    let peer = Peer::worker();
    let basis = Basis::new(&peer.policy, &peer.collateral, NOW);
    let verifier = Verifier::new(TrustAnchor::Intel);
    let verdict = verifier.appraise_certificate(&peer.evidence, Role::Worker, &SPKI, &basis);
    assert_eq!(code(verdict), Err("anchor_mismatch"));
    let mut intel = CollateralSet::new(TrustAnchor::Intel);
    let refused = intel.insert(collateral_of(&peer.soft, NOW), NOW);
    assert_eq!(refused.map_err(|refusal| refusal.code()), Err("collateral_untrusted"));
}

#[test]
fn what_was_found_is_found_again_until_something_changes() {
    let mut peer = Peer::worker();
    let verifier = peer.verifier();
    let appraise = |peer: &Peer, now| {
        let basis = Basis::new(&peer.policy, &peer.collateral, now);
        verifier.appraise_certificate(&peer.evidence, Role::Worker, &SPKI, &basis)
    };
    let at = |peer: &Peer, now| appraise(peer, now).map(|verdict| verdict.appraised_at()).ok();
    assert_eq!(at(&peer, NOW), Some(NOW));
    assert_eq!(at(&peer, NOW + 599), Some(NOW), "from memory");
    assert_eq!(at(&peer, NOW + 600), Some(NOW + 600), "too old");
    assert_eq!(at(&peer, NOW + 610), Some(NOW + 600));

    // Another policy asks anew, and sees what the old one would not have.
    peer.policy.tcb.min_evaluation = u32::MAX;
    assert_eq!(code(appraise(&peer, NOW + 611)), Err("evaluation_too_low"));
    peer.policy.tcb.min_evaluation = 0;
    assert_eq!(at(&peer, NOW + 612), Some(NOW + 600));

    // So does other collateral: the platform is revoked in it.
    let revoked = SoftTdx::builder().revoked_pck().crl_number(u64::from(u32::MAX)).build();
    peer.collateral
        .insert(collateral_of(&revoked, NOW + 620), NOW + 620)
        .expect("genuine collateral");
    assert_eq!(code(appraise(&peer, NOW + 621)), Err("pck_revoked"));
}

#[test]
fn a_broken_copy_does_not_speak_against_the_quote() {
    let peer = Peer::worker();
    let verifier = peer.verifier();
    let basis = Basis::new(&peer.policy, &peer.collateral, NOW);
    let mut broken = peer.evidence.clone();
    // The first byte of the signature: header, body and length stand before it.
    let quote = broken.quote.as_mut().expect("it has a quote");
    *quote.get_mut(48 + 584 + 4).expect("it is longer") ^= 1;
    let appraise = |evidence: &Evidence| code(verifier.appraise_certificate(evidence, Role::Worker, &SPKI, &basis));
    assert_eq!(appraise(&broken), Err("quote_signature"));
    assert_eq!(appraise(&broken), Err("quote_signature"), "from memory");
    assert_eq!(appraise(&peer.evidence), Ok(Tier::Tee));
}

/// Whoever archives the evidence of a verdict archives what was verified.
#[test]
fn a_quote_does_not_vouch_for_a_broken_copy() {
    let peer = Peer::worker();
    let verifier = peer.verifier();
    let basis = Basis::new(&peer.policy, &peer.collateral, NOW);
    let appraise = |evidence: &Evidence| code(verifier.appraise_certificate(evidence, Role::Worker, &SPKI, &basis));
    assert_eq!(appraise(&peer.evidence), Ok(Tier::Tee));
    let mut broken = peer.evidence.clone();
    let quote = broken.quote.as_mut().expect("it has a quote");
    *quote.get_mut(48 + 584 + 4).expect("it is longer") ^= 1;
    assert_eq!(appraise(&broken), Err("quote_signature"));
    let mut broken = peer.evidence.clone();
    let quote = broken.quote.as_mut().expect("it has a quote");
    // In the report of the quoting enclave, behind two blocks of 64 bytes and two lengths.
    *quote.get_mut(48 + 584 + 4 + 128 + 6 + 16).expect("it is longer") ^= 1;
    assert!(appraise(&broken).is_err(), "the platform did not sign this");
    assert_eq!(appraise(&peer.evidence), Ok(Tier::Tee), "from memory");
}

#[test]
fn collateral_never_gets_older() {
    let soft = |evaluation, crl| SoftTdx::builder().evaluation(evaluation).crl_number(crl).build();
    let insert = |set: &mut CollateralSet, soft: &SoftTdx, at| {
        set.insert(collateral_of(soft, at), NOW + 60)
            .map_err(|refusal| refusal.code())
    };
    let mut set = set_of(&soft(20, 7), NOW + 60);
    let generation = set.generation();
    assert_eq!(insert(&mut set, &soft(19, 7), NOW + 60), Err("collateral_rolled_back"));
    assert_eq!(insert(&mut set, &soft(20, 6), NOW + 60), Err("collateral_rolled_back"));
    assert_eq!(
        insert(&mut set, &soft(20, 7), NOW),
        Err("collateral_rolled_back"),
        "issued before"
    );
    assert_eq!(set.generation(), generation, "what was refused changed nothing");
    assert_eq!(insert(&mut set, &soft(21, 7), NOW + 60), Ok(()));
    assert_ne!(set.generation(), generation);
    // What nobody signed is refused as that, however new it says to be.
    let forged = SoftTdx::builder().other_root().evaluation(99).build();
    assert_eq!(insert(&mut set, &forged, NOW + 60), Err("collateral_untrusted"));
}

#[test]
fn collateral_that_ended_is_still_remembered() {
    let soft = |evaluation| SoftTdx::builder().evaluation(evaluation).build();
    let old = collateral_of(&soft(20), NOW);
    let later = old.expires() + 1;
    let mut set = CollateralSet::new(TrustAnchor::Development(soft(20).root_der()));
    let code = |result: Result<(), Refusal>| result.map_err(|refusal| refusal.code());
    assert_eq!(code(set.insert(old.clone(), later)), Err("collateral_expired"));
    let generation = set.generation();
    assert_eq!(code(set.recall(&old)), Ok(()));
    assert!(set.is_empty() && set.generation() == generation, "it serves no quote");
    assert_eq!(
        code(set.insert(collateral_of(&soft(19), later), later)),
        Err("collateral_rolled_back")
    );
    assert_eq!(code(set.insert(collateral_of(&soft(20), later), later)), Ok(()));
    assert_eq!(code(set.recall(&old)), Err("collateral_rolled_back"));
    let forged = SoftTdx::builder().other_root().evaluation(99).build();
    assert_eq!(
        code(set.recall(&collateral_of(&forged, NOW))),
        Err("collateral_untrusted")
    );
}

#[test]
fn what_was_kept_is_restored_in_any_order() {
    let one = SoftTdx::builder().build();
    let other = SoftTdx::builder().fmspc([1, 2, 3, 4, 5, 6]).build();
    let made = [collateral_of(&one, NOW), collateral_of(&other, NOW + 60)];
    for kept in [made.to_vec(), made.iter().rev().cloned().collect()] {
        let mut set = CollateralSet::new(TrustAnchor::Development(one.root_der()));
        assert_eq!(set.restore(kept, NOW + 60), []);
        assert_eq!(set.iter().count(), 2);
    }
    let mut set = CollateralSet::new(TrustAnchor::Development(one.root_der()));
    let later = made.iter().map(|member| member.expires()).max().expect("two") + 1;
    assert_eq!(set.restore(made.to_vec(), later), []);
    assert!(set.is_empty());
}

/// A list is of an authority: it comes with the collateral of any of its kinds of platform.
#[test]
fn what_one_list_revokes_is_revoked_for_all() {
    let mut peer = Peer::worker();
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW + 60)), Ok(Tier::Tee));
    let other = SoftTdx::builder()
        .revoked_pck()
        .crl_number(1_000_000)
        .fmspc([1, 2, 3, 4, 5, 6])
        .build();
    peer.collateral
        .insert(collateral_of(&other, NOW + 60), NOW + 60)
        .expect("genuine collateral");
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW + 60)), Err("pck_revoked"));
}

#[test]
fn cocoon_is_accepted_only_where_the_policy_says_so() {
    let mut peer = Peer::worker();
    let key = [0xed; 32];
    let certificate = attestation::CocoonCertificate {
        key: &key,
        not_before: NOW,
        not_after: NOW + 24 * HOUR,
    };
    let mut quote = peer.soft.quote(&cocoon_report_data(&key));
    // Cocoon sends what its quoting service gave, padding and all.
    quote.extend([0; 70]);
    let appraise = |policy: &Policy, quote: &[u8], certificate| {
        let basis = Basis::new(policy, &peer.collateral, NOW);
        peer.verifier()
            .appraise_cocoon(quote, certificate, Role::Worker, &basis)
    };
    assert_eq!(
        code(appraise(&peer.policy, &quote, &certificate)),
        Err("interop_refused")
    );
    let mut policy = peer.policy.clone();
    policy.interop = Interop::Cocoon;
    assert_eq!(code(appraise(&policy, &quote, &certificate)), Err("image_unknown"));
    policy.cocoon_images.push(peer::cocoon_image(&peer.soft));
    let verdict = appraise(&policy, &quote, &certificate).expect("a peer of Cocoon's");
    assert_eq!((verdict.tier(), verdict.interop()), (Tier::Tee, Interop::Cocoon));
    assert_eq!(verdict.image(), Some("cocoon"));
    let other = attestation::CocoonCertificate {
        key: &[1; 32],
        ..certificate
    };
    assert_eq!(code(appraise(&policy, &quote, &other)), Err("binding_mismatch"));
    // Nor is a quote of Cocoon's one of ours.
    peer.policy = policy;
    peer.evidence.quote = Some(peer.soft.quote(&cocoon_report_data(&key)));
    assert_eq!(code(peer.appraise(Role::Worker, &SPKI, NOW)), Err("binding_mismatch"));
}

#[test]
fn what_dcap_qvl_lets_pass_is_refused_here() {
    let of = |peer: Peer| code(peer.appraise(Role::Worker, &SPKI, NOW));
    let under_its_image = |soft: SoftTdx| {
        let mut peer = Peer::with(soft, Role::Worker);
        peer.policy = Peer::worker().policy;
        of(peer)
    };
    assert_eq!(under_its_image(SoftTdx::builder().build()), Ok(Tier::Tee));
    assert_eq!(
        under_its_image(SoftTdx::builder().perfmon().build()),
        Err("td_attributes")
    );
    assert_eq!(
        under_its_image(SoftTdx::builder().xfam([0xe7, 0x1a, 0x06, 0, 0, 0, 0, 0]).build()),
        Err("xfam")
    );
    let mut garbage = Peer::worker();
    garbage.evidence.quote.as_mut().expect("it has a quote").push(0);
    assert_eq!(of(garbage), Err("malformed"));

    // With such an image listed, the same guests are genuine: it is the policy that keeps them out.
    for soft in [
        SoftTdx::builder().perfmon().build(),
        SoftTdx::builder().xfam([0xe7, 0x1a, 0x06, 0, 0, 0, 0, 0]).build(),
    ] {
        assert_eq!(of(Peer::with(soft, Role::Worker)), Ok(Tier::Tee));
    }
}
