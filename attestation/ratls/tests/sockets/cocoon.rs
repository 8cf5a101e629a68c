//! Peers of Cocoon's network: its proof of work, its certificates, and only where the policy says so.

use attestation::{CocoonImage, Hex, Interop, Policy, Role, Tier};
use attestation_ratls::{Admit, Certificate, Draft, Format, KeyKind, Keys, Shown, gate};
use attestation_soft_tdx::{Builder, SoftTdx, Td};
use aws_lc_rs::digest::{SHA256, SHA512, digest};

use crate::world::{NOW, Soft, World, draft, expect, guest, policy, sockets};

/// `image_hash` as Cocoon's `tdx.cpp` makes it.
fn image_hash(td: &Td) -> Hex<32> {
    let registers = [td.mr_td, td.mr_config_id, td.mr_owner, td.mr_owner_config];
    let bytes = [registers.as_flattened(), td.rtmr.as_flattened(), &[0; 64]].concat();
    assert_eq!(bytes.len(), 448);
    Hex(digest(&SHA256, &bytes).as_ref().try_into().unwrap())
}

fn interop() -> Policy {
    let td = Td::of("worker");
    Policy {
        interop: Interop::Cocoon,
        cocoon_images: vec![CocoonImage {
            name: "cocoon".to_owned(),
            roles: vec![Role::Worker],
            image_hash: image_hash(&td),
            td_attributes: Hex(td.attributes),
            xfam: Hex(td.xfam),
            mr_seam: Vec::new(),
        }],
        ..policy(Tier::Tee)
    }
}

fn cocoons(soft: &SoftTdx) -> Draft {
    Draft {
        format: Format::Cocoon,
        ..draft(Role::Worker, Some(Soft::honest(soft)))
    }
}

async fn check(policy: Policy, build: impl FnOnce(Builder) -> Builder, code: &str) {
    let soft = build(SoftTdx::builder().image("worker")).build();
    assert_eq!(World::with(policy, &cocoons(&soft)).verdict().await, code);
}

#[tokio::test]
async fn its_certificates_count_where_the_policy_says_so() {
    check(interop(), |sound| sound, "accepted").await;
    check(policy(Tier::Tee), |sound| sound, "interop_refused").await;
    // What Cocoon itself does not look at.
    check(interop(), Builder::debug, "td_debug").await;
    check(interop(), |sound| sound.image("other"), "image_unknown").await;
}

#[test]
fn our_certificates_in_its_form_have_its_layout() {
    let identity = cocoons(&guest("worker")).issue(NOW).unwrap();
    let der = identity.certificate();
    let read = Certificate::read(der, &[], NOW).unwrap();
    let attestation_ratls::PublicKey::Ed25519(key) = read.key() else {
        panic!("Cocoon has no other");
    };
    let Shown::Cocoon(quote) = read.shown() else {
        panic!("it shows {:?}", read.shown());
    };
    // The report data of a v4 quote stand at 48 + 520.
    assert_eq!(&quote[568..632], digest(&SHA512, key).as_ref());
    for text in [
        &b"TDLib Development"[..],
        b"DUBAI",
        b"Security",
        b"localhost",
        b"127.0.0.1",
    ] {
        assert!(der.windows(text.len()).any(|window| window == text), "{text:?}");
    }
    // Critical, as 1.3.6.1.4.1.12345.1 and .2.
    for last in [1, 2] {
        let extension = [
            0x06, 0x08, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xe0, 0x39, last, 0x01, 0x01, 0xff,
        ];
        assert!(der.windows(extension.len()).any(|window| window == extension), "{last}");
    }
}

#[test]
fn it_needs_an_ed25519_key_and_a_quote() {
    let keyed = Draft {
        format: Format::Cocoon,
        ..draft(Role::Worker, None)
    };
    assert!(keyed.issue(NOW).is_err());
    let p256 = Draft {
        keys: Keys::Fresh(KeyKind::P256),
        ..cocoons(&guest("worker"))
    };
    assert!(p256.issue(NOW).is_err());
}

#[tokio::test]
async fn work_comes_before_tls() {
    let world = World::with(interop(), &cocoons(&guest("worker")));
    let (mut accepted, mut dialled) = sockets().await;
    let (asked, answered) = tokio::join!(
        gate::ask(&mut accepted, 10),
        gate::answer(&mut dialled, gate::MAX_DIFFICULTY),
    );
    asked.unwrap();
    answered.unwrap();
    let (gateway, worker) = tokio::join!(
        world.gateway.accept(accepted, expect(Role::Worker), Admit::Certified),
        world.worker.connect(dialled, expect(Role::Gateway)),
    );
    worker.unwrap();
    assert!(gateway.unwrap().peer().unwrap().is_attested());
}
