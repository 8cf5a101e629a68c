//! Policies as people write them: what is read, what is refused, what cannot be meant, and the one text of each.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, and says where"
)]

use attestation::{Policy, Tier};
use serde_json::{Value, json};

fn valid() -> Value {
    json!({
        "images": [{
            "name": "worker-2026.11",
            "roles": ["worker"],
            "mrtd": "11".repeat(48),
            "rtmr": ["22".repeat(48), "33".repeat(48), "44".repeat(48), "00".repeat(48)],
            "td_attributes": "0000001000000000",
            "xfam": "e702060000000000"
        }]
    })
}

fn read(value: &Value) -> Result<Policy, String> {
    Policy::from_json(&value.to_string()).map_err(|error| error.to_string())
}

/// The valid policy with one value set, by JSON pointer.
fn changed(pointer: &str, value: Value) -> Value {
    let mut policy = valid();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = policy.pointer_mut(parent).expect("the parent is there");
    match parent {
        Value::Array(items) => items[name.parse::<usize>().expect("an index")] = value,
        parent => parent[name] = value,
    }
    policy
}

#[test]
fn defaults_are_strict() {
    let policy = read(&valid()).expect("a policy");
    assert_eq!(policy.problems(), []);
    assert_eq!(policy.min_tier, Tier::Tee);
    let written: Value = serde_json::from_str(&policy.canonical()).expect("JSON");
    assert_eq!(written["tcb"]["statuses"], json!(["UpToDate"]));
    assert_eq!(written["platforms"]["mode"], "any");
    assert_eq!(written["interop"], "none");
    assert_eq!(written["max_age_s"], 600);
    assert_eq!(written["images"][0]["mr_owner"], "00".repeat(48));
}

#[test]
fn one_policy_has_one_text() {
    let policy = Policy::from_json(r#"{"max_age_s": 60, "min_tier": "open"}"#).expect("a policy");
    let text = concat!(
        r#"{"cocoon_images":[],"gpu":null,"images":[],"interop":"none","max_age_s":60,"min_tier":"open","#,
        r#""platforms":{"instance":[],"mode":"any","ppid":[]},"#,
        r#""tcb":{"grace_days":0,"min_evaluation":0,"min_tee_tcb_svn":null,"rejected_advisories":[],"statuses":["UpToDate"]}}"#,
    );
    assert_eq!(policy.canonical(), text);
    assert_eq!(
        policy.digest(),
        Policy::from_json(text).expect("a policy").digest(),
        "read back, it is the same"
    );
    let spelt_out = Policy::from_json(r#"{"interop":"none","min_tier":"open","images":[],"max_age_s":60}"#);
    assert_eq!(spelt_out.expect("a policy").digest(), policy.digest());
    let other = Policy::from_json(r#"{"max_age_s": 61, "min_tier": "open"}"#).expect("a policy");
    assert_ne!(other.digest(), policy.digest());
}

#[test]
fn what_nobody_knows_is_refused() {
    for (pointer, value) in [
        ("/imagse", json!([])),
        ("/images/0/rtmr0", json!("22")),
        ("/tcb", json!({ "status": ["UpToDate"] })),
        ("/platforms", json!({ "mode": "some" })),
        ("/images/0/rtmr", json!(["22".repeat(48)])),
        ("/images/0/mrtd", json!("*")),
        ("/images/0/mrtd", json!("11".repeat(47))),
        ("/images/0/roles", json!(["owner"])),
        ("/tcb", json!({ "statuses": ["Fine"] })),
        ("/min_tier", json!("tee+tpm")),
        ("/max_age_s", json!(-1)),
        ("/gpu", json!({ "arch": ["hopper"], "rim": [] })),
    ] {
        let policy = changed(pointer, value);
        assert!(read(&policy).is_err(), "{pointer}");
    }
    assert!(read(&changed("/images/0/mr_seam", json!(["55".repeat(48)]))).is_ok());
}

#[test]
fn what_cannot_be_meant_is_told() {
    let zero = "00".repeat(48);
    for (pointer, value, at) in [
        ("/images", json!([]), "images"),
        ("/images/0/name", json!(""), "images[0].name"),
        ("/images/0/roles", json!([]), "images[0].roles"),
        ("/images/0/mrtd", json!(zero), "images[0].mrtd"),
        ("/images/0/rtmr/0", json!(zero), "images[0].rtmr[0]"),
        ("/images/0/rtmr/1", json!(zero), "images[0].rtmr[1]"),
        ("/images/0/rtmr/2", json!(zero), "images[0].rtmr[2]"),
        (
            "/images/0/td_attributes",
            json!("0100001000000000"),
            "images[0].td_attributes",
        ),
        (
            "/images/0/td_attributes",
            json!("0000000000000000"),
            "images[0].td_attributes",
        ),
        ("/images/0/xfam", json!("0000000000000000"), "images[0].xfam"),
        ("/tcb", json!({ "statuses": [] }), "tcb.statuses"),
        ("/tcb", json!({ "statuses": ["Revoked"] }), "tcb.statuses"),
        (
            "/tcb",
            json!({ "statuses": ["UpToDate", "OutOfDate"] }),
            "tcb.grace_days",
        ),
        ("/tcb", json!({ "grace_days": 14 }), "tcb.grace_days"),
        ("/platforms", json!({ "mode": "listed" }), "platforms"),
        ("/platforms", json!({ "ppid": ["00".repeat(16)] }), "platforms"),
        ("/interop", json!("cocoon"), "interop"),
        ("/max_age_s", json!(0), "max_age_s"),
        ("/max_age_s", json!(601), "max_age_s"),
        ("/gpu", json!({ "arch": ["ls10"], "rims": [] }), "gpu.arch"),
    ] {
        let policy = read(&changed(pointer, value)).expect("it can be read");
        let problems = policy.problems();
        assert!(problems.iter().any(|problem| problem.at == at), "{at}: {problems:?}");
    }

    // PERFMON may be listed by who means to.
    let perfmon = read(&changed("/images/0/td_attributes", json!("0000001000000080")));
    assert_eq!(perfmon.expect("a policy").problems(), []);

    let twice = json!([valid()["images"][0], valid()["images"][0]]);
    let problems = read(&changed("/images", twice)).expect("a policy").problems();
    assert_eq!(problems.len(), 1, "{problems:?}");

    let gpu = read(&changed("/min_tier", json!("tee+gpu")))
        .expect("a policy")
        .problems();
    let at: Vec<_> = gpu.iter().map(|problem| problem.at.as_str()).collect();
    assert_eq!(at, ["platforms", "gpu"]);

    // Open to all, it needs no image.
    assert_eq!(read(&json!({ "min_tier": "open" })).expect("a policy").problems(), []);
}
