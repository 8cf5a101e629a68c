//! `mulberry worker doctor`: it finds what is wrong, says what to do, and disturbs nobody.

use std::process::Command;

use e2e::process::mulberry;
use e2e::{WorkerKey, World};

use super::{Site, up, yaml};

/// What it says, and whether it found all well.
fn doctor(key: &WorkerKey, engine: &str, gateways: &[&str]) -> (String, bool) {
    let mut command = Command::new(mulberry());
    command
        .args(["worker", "doctor", "--engine", engine, "--key-file"])
        .arg(key.file());
    for gateway in gateways {
        command.args(["--gateway", gateway]);
    }
    let done = command.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(!said.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    (said, done.status.success())
}

#[track_caller]
fn assert_says(said: &str, lines: &[&str]) {
    for line in lines {
        assert!(said.contains(line), "'{line}' is not in:\n{said}");
    }
}

#[tokio::test]
async fn all_is_well_and_the_worker_at_work_is_not_disturbed() {
    let site = Site::new("").await;
    let flow = site.flow("fault/slow-50+tokens-100").await;
    let (said, is_well) = doctor(&site.key, &site.mock.url(), &[&site.gateway.for_workers()]);
    assert!(is_well, "{said}");
    assert_says(
        &said,
        &[
            "openai-compatible at http://127.0.0.1:",
            "it says that it is well",
            "it answers, and says what it used",
            "it streams, ends, and says what it used",
            "it knows this worker",
            "s apart",
            &site.key.sha256,
        ],
    );
    assert!(flow.end().await.is_done());
    up(&site.gateway, "gpu/box").await;
    assert_eq!(
        site.worker.log().matches("connected").count(),
        1,
        "{}",
        site.worker.log()
    );
}

#[tokio::test]
async fn it_says_what_is_wrong_and_what_to_do() {
    let world = World::new();
    let mock = world.mock(&[]);
    let key = world.worker_key("box");
    let stranger = world.worker_key("stranger");
    let gateway = world.gateway(&yaml(&key, ""));
    let to = gateway.for_workers();
    let (gateway_key, address) = to.split_once('@').expect("KEY@ADDRESS");

    let (said, is_well) = doctor(&stranger, &mock.url(), &[&to]);
    assert!(!is_well, "{said}");
    let add = format!("key_sha256: {}}}` to `workers`", stranger.sha256);
    assert_says(&said, &["it does not know this worker", &add]);

    let (said, is_well) = doctor(&key, &mock.url(), &[&format!("{}@{address}", "ab".repeat(32))]);
    assert!(!is_well, "{said}");
    let meant = format!("--gateway {gateway_key}@{address}");
    assert_says(&said, &["another gateway answers there", &meant]);

    let closed = "127.0.0.1:1";
    let (said, is_well) = doctor(&key, &format!("http://{closed}"), &[&format!("{gateway_key}@{closed}")]);
    assert!(!is_well, "{said}");
    assert_says(
        &said,
        &[
            "nothing that is an inference engine answers",
            "start the engine",
            "worker_listen",
        ],
    );

    let (said, is_well) = doctor(&key, "http://10.1.2.3:8000", &[]);
    assert!(!is_well, "{said}");
    assert_says(&said, &["not on this machine", "none is named"]);
}
