//! Certificates end, and connections with them; what runs does not, for a newer connection is there in good time.
//!
//! They hold for a minute here, the shortest that there is: three quarters of it from their issue on.

use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, request, send};
use e2e::{Answer, World};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::{count, flow::Flow};

/// In which the first certificates end, and those that follow them are followed too.
const LONG: Duration = Duration::from_secs(60);
/// Of a stream: a hundred tokens, one after another. A connection lives so long and half as long again when another
/// takes its place.
const STREAM: Duration = Duration::from_secs(15);
const SLOW: &str = "fault/slow-150+tokens-100";

/// For a gateway's file.
pub(crate) const LIFE: &str = "certificate_life: 60s";
/// For a worker.
pub(crate) const FLAGS: [&str; 2] = ["--certificate-life", "60"];

/// Asks all the time, and has streams under way at every moment. All is answered, and no stream is cut.
pub(crate) async fn nothing_is_cut(url: &str) {
    let url = format!("{url}/v1/chat/completions");
    let until = Instant::now() + LONG;
    let mut streams = JoinSet::new();
    let mut pace = interval(Duration::from_millis(250));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked = 0;
    while Instant::now() < until {
        pace.tick().await;
        // One every three seconds.
        if asked % 12 == 0 && Instant::now() + STREAM < until {
            let begun = request(&url, chat_stream(SLOW)).timeout(4 * STREAM);
            streams.spawn(async move { Flow::begin(begun).await.end().await });
        }
        let answer = Answer::of(send(request(&url, chat("mock"))).await).await;
        assert_eq!(answer.status, 200, "the {asked}th: {}", answer.text());
        asked += 1;
    }
    while let Some(stream) = streams.join_next().await {
        let stream = stream.expect("a stream was cut");
        assert!(stream.is_done(), "{}", stream.text);
    }
}

#[tokio::test]
async fn a_worker_dials_anew_before_a_certificate_ends() {
    let world = World::new();
    let mock = world.mock(&[]);
    let key = world.worker_key("box");
    let gateway = world.gateway(&format!(
        "worker_listen: 127.0.0.1:0\nattestation: {{{LIFE}}}\nbackends: [{{name: gpu, workers: [{{name: box, key_sha256: {}}}]}}]\n",
        key.sha256
    ));
    let address = gateway.for_workers();
    let worker = world.worker(&key, &mock.url(), &[&["--gateway", &address][..], &FLAGS].concat());
    count::until(&gateway, r#"mulberry_upstream_up{upstream="gpu/box"}"#, 1).await;
    nothing_is_cut(&gateway.url()).await;
    worker.says("connecting anew", 2).await;
    // What is not needed any more is not kept until its certificate ends.
    assert!(gateway.log().contains("code=\"relieved\""), "{}", gateway.log());
    let both = [gateway.log(), worker.log()].concat();
    assert!(!both.contains("claims_expired"), "{both}");
}

#[tokio::test]
async fn a_gateway_dials_anew_before_a_certificate_ends() {
    let world = World::new();
    let mock = world.mock(&[]);
    let key = world.worker_key("box");
    let data = world.dir().join("data");
    // Its key is made at its first start.
    let first = world.gateway(&format!(
        "data_dir: {}\nworker_listen: 127.0.0.1:0\nbackends: [{{name: gpu, workers: [{{name: box, key_sha256: {}}}]}}]\n",
        data.display(),
        key.sha256
    ));
    let for_workers = first.for_workers();
    let (gateway_key, _) = for_workers.split_once('@').expect("KEY@ADDRESS");
    drop(first);
    let flags = ["--listen", "127.0.0.1:0", "--gateway-key", gateway_key];
    let worker = world.worker(&key, &mock.url(), &[&flags[..], &FLAGS].concat());
    let gateway = world.gateway(&format!(
        "data_dir: {}\nattestation: {{{LIFE}}}\nbackends: [{{name: gpu, workers: [{{name: box, key_sha256: {}, address: '{}'}}]}}]\n",
        data.display(),
        key.sha256,
        worker.address()
    ));
    count::until(&gateway, r#"mulberry_upstream_up{upstream="gpu/box"}"#, 1).await;
    nothing_is_cut(&gateway.url()).await;
    let log = gateway.log();
    assert!(log.matches("worker connected").count() >= 3, "{log}");
    assert!(
        log.contains("code=\"relieved\"") && !log.contains("claims_expired"),
        "{log}"
    );
}

#[tokio::test]
async fn an_apps_side_dials_anew_before_the_gateways_certificate_ends() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "attested_listen: 127.0.0.1:0\nattestation: {{{LIFE}}}\nbackends: [{{name: only, url: '{}'}}]\n",
        mock.url()
    ));
    let (address, key) = gateway.for_connect();
    let connect = world.connect(&["--gateway", &format!("{key}@{address}")]);
    connect.stands("verified").await;
    nothing_is_cut(&connect.url("")).await;
    let log = connect.log();
    assert!(log.matches("connected to the gateway").count() >= 3, "{log}");
    assert!(!log.contains("trying again"), "{log}");
}
