//! Guests get a new key with each certificate, and are known again all the same.

use super::{Ground, address, up};
use crate::renewal::{FLAGS, LIFE, nothing_is_cut};

#[tokio::test]
async fn a_guest_that_nobody_named_keeps_its_place_when_it_dials_anew() {
    let ground = Ground::of(&["worker"]);
    let mock = ground.world.mock(&[]);
    let attestation = ground.attestation(&format!("{}  enrolment: attested\n  {LIFE}\n", ground.evidence()));
    // There is one place, so that it must be the same.
    let gateway = ground.world.gateway(&format!(
        "{attestation}backends: [{{name: gpu, workers: [], enrolment: {{places: 1, min_tier: tee}}}}]\n"
    ));
    let evidence = format!("danger-software:{}#worker", ground.seed.display());
    let (policy, root) = (ground.policy.display().to_string(), ground.root.display().to_string());
    let flags = [
        "--gateway",
        &address(&gateway),
        "--evidence",
        &evidence,
        "--gateway-policy",
        &policy,
        "--collateral",
        &ground.pccs.url(),
        "--danger-development-trust-anchor",
        &root,
    ];
    let worker = ground.world.worker_in(&[], &mock.url(), &[&flags[..], &FLAGS].concat());
    up(&gateway, "gpu/enrolled-1").await;
    nothing_is_cut(&gateway.url()).await;
    worker.says("connecting anew", 2).await;
    let both = [gateway.log(), worker.log()].concat();
    assert!(both.contains("code=\"relieved\""), "{both}");
    assert!(!both.contains("no_place") && !both.contains("claims_expired"), "{both}");
}
