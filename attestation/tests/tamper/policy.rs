//! Every rule of a policy, by evidence that breaks this one.

use attestation::{Basis, Hex, PlatformMode, Policy, Refusal, Role, Standing, Tier, Verdict};
use attestation_soft_tdx::{SoftTdx, recipe::Form};

use crate::{
    matrix::Matrix,
    world::{NOW, SPKI, World, evidence},
};

/// 2024-03-13, of the platform's level.
const TCB_DATE: u64 = 1_710_288_000;

#[test]
fn a_rule_that_is_broken() {
    let world = World::new();
    let mut matrix = Matrix::default();
    let mut add = |name: &str, edit: &dyn Fn(&mut Policy)| {
        let mut policy = world.policy.clone();
        edit(&mut policy);
        let outcome = world.judges_by(&evidence(&world.tdx), &policy, &world.collateral);
        matrix.add(name, outcome);
    };
    add("as it is", &|_| {});
    add("no image", &|policy| policy.images.clear());
    add("mrtd", &|policy| policy.images[0].mrtd = Hex([1; 48]));
    for (number, name) in ["rtmr0", "rtmr1", "rtmr2", "rtmr3"].into_iter().enumerate() {
        add(name, &|policy| policy.images[0].rtmr[number] = Hex([1; 48]));
    }
    add("roles", &|policy| {
        policy.images[0].roles = vec![Role::Gateway, Role::Connect]
    });
    add("no role", &|policy| policy.images[0].roles.clear());
    add("td_attributes", &|policy| policy.images[0].td_attributes.0[7] ^= 0x80);
    add("xfam", &|policy| policy.images[0].xfam.0[0] ^= 0x80);
    add("mr_config_id", &|policy| policy.images[0].mr_config_id = Hex([1; 48]));
    add("mr_owner", &|policy| policy.images[0].mr_owner = Hex([1; 48]));
    add("mr_owner_config", &|policy| {
        policy.images[0].mr_owner_config = Hex([1; 48])
    });
    add("mr_seam", &|policy| policy.images[0].mr_seam = vec![Hex([1; 48])]);
    add("mr_seam with the right one", &|policy| {
        policy.images[0].mr_seam = vec![Hex([1; 48]), Hex(world.tdx.td().mr_seam)];
    });
    add("tcb.statuses", &|policy| {
        policy.tcb.statuses = vec![Standing::SwHardeningNeeded]
    });
    add("tcb.min_evaluation", &|policy| policy.tcb.min_evaluation = 19);
    add("tcb.min_evaluation just met", &|policy| policy.tcb.min_evaluation = 18);
    add("tcb.min_tee_tcb_svn", &|policy| {
        let mut min = [0; 16];
        min[2] = 3;
        policy.tcb.min_tee_tcb_svn = Some(Hex(min));
    });
    add("platforms.mode", &|policy| policy.platforms.mode = PlatformMode::Listed);
    add("platforms.ppid of another", &|policy| {
        policy.platforms.mode = PlatformMode::Listed;
        policy.platforms.ppid = vec![Hex([1; 16])];
    });
    add("platforms.ppid of this one", &|policy| {
        policy.platforms.mode = PlatformMode::Listed;
        policy.platforms.ppid = vec![Hex(world.tdx.recipe().platform.ppid)];
    });
    add("platforms.instance of this one", &|policy| {
        policy.platforms.mode = PlatformMode::Listed;
        policy.platforms.instance = world.tdx.recipe().platform.instance.map(Hex).into_iter().collect();
    });
    add("models", &|policy| policy.models = Some(vec![Hex([12; 32])]));
    add("models, none of them", &|policy| policy.models = Some(Vec::new()));
    add("models with this one", &|policy| {
        policy.models = Some(vec![Hex([12; 32]), Hex([11; 32])]);
    });
    add("min_tier", &|policy| policy.min_tier = Tier::TeeGpu);
    matrix.check("policy");
}

/// An out-of-date platform, and rules that say for how long it is accepted.
#[test]
fn a_platform_that_is_behind() {
    let world = World::new();
    let mut matrix = Matrix::default();
    let days = |count: u64| u16::try_from((NOW - TCB_DATE) / 86_400 + count).expect("some years");
    let mut add = |name: &str, tdx: &SoftTdx, edit: &dyn Fn(&mut Policy)| {
        let mut policy = world.policy.clone();
        policy.tcb.statuses.push(Standing::OutOfDate);
        edit(&mut policy);
        let outcome = world
            .took(tdx.collateral(NOW).into())
            .and_then(|collateral| world.judges_by(&evidence(tdx), &policy, &collateral));
        matrix.add(name, outcome);
    };
    let tdx = SoftTdx::builder()
        .tcb("OutOfDate", &["INTEL-SA-01036", "INTEL-SA-01079"])
        .build();
    add("without grace", &tdx, &|_| {});
    add("grace that is over", &tdx, &|policy| policy.tcb.grace_days = days(0));
    add("grace that lasts", &tdx, &|policy| policy.tcb.grace_days = days(1));
    add("an advisory", &tdx, &|policy| {
        policy.tcb.grace_days = days(1);
        policy.tcb.rejected_advisories = vec!["INTEL-SA-01079".to_owned()];
    });
    add("an advisory in small letters", &tdx, &|policy| {
        policy.tcb.grace_days = days(1);
        policy.tcb.rejected_advisories = vec!["intel-sa-01036".to_owned()];
    });
    add("another advisory", &tdx, &|policy| {
        policy.tcb.grace_days = days(1);
        policy.tcb.rejected_advisories = vec!["INTEL-SA-01103".to_owned()];
    });
    let module = SoftTdx::builder().module_svn(3).build();
    add("an old module, without grace", &module, &|_| {});
    let enclave = SoftTdx::builder().old_enclave().build();
    add("an old enclave, without grace", &enclave, &|_| {});
    add("an old enclave, grace of its platform", &enclave, &|policy| {
        policy.tcb.grace_days = days(1)
    });
    let updated = SoftTdx::builder().form(Form::V5Td15).module_svn(3).build();
    add("a guest older than its module", &updated, &|_| {});
    add(
        "a guest older than its module, where that is accepted",
        &updated,
        &|policy| {
            policy.tcb.statuses.push(Standing::TdRelaunchAdvised);
        },
    );
    matrix.check("policy behind");
}

/// The same evidence at other times.
#[test]
fn a_time_that_is_another() {
    let world = World::new();
    let valid = evidence(&world.tdx);
    let judged = |now: u64| -> Result<Verdict, Refusal> {
        let basis = Basis::new(&world.policy, &world.collateral, now);
        world
            .verifier()
            .appraise_certificate(&valid, Role::Worker, &SPKI, &basis)
    };
    let mut matrix = Matrix::default();
    matrix.add("now", judged(NOW));
    matrix.add("before the claims", judged(NOW - 61));
    matrix.add("the last second of the claims", judged(NOW + 3_599));
    matrix.add("after the claims", judged(NOW + 3_600));
    matrix.add("1970", judged(0));
    matrix.add("the end of time", judged(u64::MAX));
    matrix.check("time");
}
