//! Evidence of GPUs, which comes on the channel and may be renewed there.

use std::sync::Arc;

use attestation::{
    Hex, NoQuote, Platforms, Policy, Role, Tier,
    gpu::{GpuEvidence, GpuPolicy},
};
use attestation_ratls::{
    Draft, GpuAttester,
    channel::{Answer, Bytes, Cut},
};
use attestation_soft_tdx::gpu::SoftGpus;

use crate::world::{NOW, Soft, World, draft, gpus, guest, keep, policy};

/// Asked at this time.
struct Machine(SoftGpus, u64);

impl GpuAttester for Machine {
    fn evidence(&self, nonce: &[u8; 32]) -> Result<GpuEvidence, NoQuote> {
        Ok(self.0.evidence(nonce, self.1))
    }
}

pub(crate) fn with_gpus(gpus: SoftGpus, asked_at: u64) -> Draft {
    Draft {
        gpu: Some(Arc::new(Machine(gpus, asked_at))),
        ..draft(Role::Worker, Some(Soft::honest(&guest("worker"))))
    }
}

pub(crate) fn listed(min_tier: Tier) -> Policy {
    let platforms = Platforms {
        // The gateway has another role and the same machine.
        ppid: vec![Hex(guest("worker").recipe().platform.ppid)],
        ..Platforms::default()
    };
    Policy {
        platforms,
        gpu: Some(gpus().policy()),
        ..policy(min_tier)
    }
}

/// What the gateway says of such a worker.
async fn check(policy: Policy, worker: &Draft, expected: Result<Tier, &str>) {
    let mut world = World::with(policy, worker);
    // What the worker asks of the gateway, which has no GPU, is another matter.
    world.worker.trust = crate::world::trust(crate::world::policy(Tier::Tee), &guest("worker")).0;
    check_in(&world, expected).await;
}

async fn check_in(world: &World, expected: Result<Tier, &str>) {
    let (gateway, worker) = world.meet().await;
    let found = match gateway {
        Err(error) => Err(error.code().to_owned()),
        Ok(connection) => {
            let (gateway, _worker) = (keep(&world.gateway, Ok(connection)), keep(&world.worker, worker));
            let settled = gateway.settled().await;
            settled.map(|(tier, _)| tier).map_err(|cut: Cut| cut.code().to_owned())
        }
    };
    assert_eq!(found, expected.map_err(str::to_owned));
}

#[tokio::test]
async fn gpus_lift_a_known_machine() {
    let worker = with_gpus(gpus(), NOW);
    check(listed(Tier::TeeGpu), &worker, Ok(Tier::TeeGpu)).await;
    check(listed(Tier::Tee), &worker, Ok(Tier::TeeGpu)).await;
    // On a machine that nobody knows they say nothing: whose are they?
    let unlisted = Policy {
        platforms: Platforms::default(),
        ..listed(Tier::Tee)
    };
    check(unlisted, &worker, Ok(Tier::Tee)).await;
    // A policy that names none counts none.
    let none: Option<GpuPolicy> = None;
    check(
        Policy {
            gpu: none,
            ..listed(Tier::Tee)
        },
        &worker,
        Ok(Tier::Tee),
    )
    .await;
}

#[tokio::test]
async fn a_worker_without_them_is_not_taken_where_they_are_asked_for() {
    let worker = draft(Role::Worker, Some(Soft::honest(&guest("worker"))));
    check(listed(Tier::TeeGpu), &worker, Err("gpu_missing")).await;
    check(listed(Tier::Tee), &worker, Ok(Tier::Tee)).await;
}

#[tokio::test]
async fn answers_about_their_certificates_are_renewed_on_the_channel() {
    let two_days = 2 * 24 * 3600;
    let mut world = World::with(listed(Tier::TeeGpu), &with_gpus(gpus(), NOW - two_days));
    world.worker.trust = crate::world::trust(policy(Tier::Tee), &guest("worker")).0;
    check_in(&world, Err("gpu_ocsp_expired")).await;
    let identity = world.worker.identities.as_ref().unwrap().current();
    let old = identity.gpu_evidence().unwrap();
    let nonce = attestation::binding::gpu_nonce(identity.spki_sha256(), identity.claims().not_before);
    let newer = GpuEvidence {
        staples: gpus().evidence(&nonce, NOW).staples,
        ..GpuEvidence::clone(&old)
    };
    identity.renew_gpu_evidence(newer).unwrap();
    check_in(&world, Ok(Tier::TeeGpu)).await;
    // Other devices are not the same ones renewed.
    let other = SoftGpus::new([4; 32]).evidence(&nonce, NOW);
    assert!(identity.renew_gpu_evidence(other).is_err());
}

#[test]
fn an_answer_carries_them() {
    let identity = with_gpus(gpus(), NOW).issue(NOW).unwrap();
    let Answer { gpu, .. } = identity.prove(&[0; 64]).unwrap();
    let Some(Bytes(encoded)) = gpu else {
        panic!("nothing came");
    };
    let evidence = GpuEvidence::decode(&encoded).unwrap();
    assert_eq!(identity.claims().gpu_evidence, Some(evidence.digest()));
}
