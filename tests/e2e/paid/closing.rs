//! What is left when one side is gone for good, or leaves while it is served.

use std::fs;

use e2e::World;
use serde_json::{Value, json};

use super::ask::{CLIENT, Seen, WORKER};
use super::site::{DEPOSIT, Engine, Site, gram, units, until};
use crate::channels::{UNIT, document};
use crate::flow::Flow;
use crate::watch::Watch;

/// Asks so often, one after another; what it costs the app, and what it earns the worker.
async fn serve(site: &Site, requests: u64) -> (u64, u64) {
    let app = site.app();
    let (mut front, mut back) = (0, 0);
    for number in 0..requests {
        match app.ask(number).await {
            Seen::Whole(one) => {
                front += CLIENT.of(one.usage);
                back += WORKER.of(one.usage);
            }
            other => panic!("{other:?}\n{}", site.logs()),
        }
    }
    (front, back)
}

/// What the gateway left for whoever watches.
fn left(site: &Site) -> u64 {
    let account = site.front.strip_prefix("0:").expect("workchain 0");
    let file = site.world().dir().join(format!("settlements/{account}.json"));
    let Ok(text) = fs::read(file) else { return 0 };
    let blob: Value = serde_json::from_slice(&text).expect("JSON");
    let taken = blob["take"]["totalClaimed"].as_str().expect("an amount");
    taken.parse().expect("digits")
}

/// The payer's wallet and channels again in another folder, where no sidecar holds the channel.
fn elsewhere(world: &World) -> String {
    let (from, to) = (
        world.dir().join("mulberry/channels/work"),
        world.dir().join("elsewhere/work"),
    );
    fs::create_dir_all(&to).expect("it is new");
    for file in ["channel.json", "key.json", "slate.json"] {
        fs::copy(from.join(file), to.join(file)).expect("it is there");
    }
    to.parent().expect("a folder").display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_gateway_gone_for_good_each_gets_what_is_theirs_by_hand() {
    let mut site = Site::open(Engine::mock).await;
    let (front, mut back) = serve(&site, 60).await;
    until(
        "the worker has a channel",
        || site.logs(),
        async || site.wage().await["channel"]["phase"] == "open",
    )
    .await;
    back += serve(&site, 20).await.1;
    assert_eq!(site.back_agrees().await, back);
    let channel = site.wage().await["channel"]["id"]
        .as_str()
        .expect("a channel")
        .to_owned();
    site.gateway.kill();
    site.worker.kill();
    site.connect.kill();
    // The worker's last voucher covers all of it.
    site.cash(&channel, back).await;

    // The client starts the clock, waits, and has the rest.
    let payer = document(site.world(), &["wallet", "balance", "--chain", &site.chain.url]);
    let had = units(&payer["balance"]);
    let closing = site.told(&["close", "work", "--yes"]);
    assert!(closing.contains("The clock runs"), "{closing}");
    let closed = site.told(&["close", "work", "--yes"]);
    assert!(closed.contains("closing; the rest can be fetched from"), "{closed}");
    site.chain.advance(3_601);
    let closed = site.told(&["close", "work", "--yes"]);
    assert!(closed.contains("Closed:"), "{closed}");
    assert_eq!(site.claimed(&site.front).await, None);
    let payer = document(site.world(), &["wallet", "balance", "--chain", &site.chain.url]);
    let came = units(&payer["balance"]) - had;
    // All but what the contract paid the gateway while that was there, and the gas.
    let paid = site.arrived(super::site::PAYOUT[0], &site.front).await;
    let fee = site.arrived(super::site::FEE[0], &site.front).await;
    assert!(paid + fee <= front + serve_most(20), "{paid} and {fee} of {front}");
    assert!(
        came + UNIT / 20 >= DEPOSIT - paid - fee && came <= DEPOSIT - paid - fee + UNIT / 50,
        "{came} came back, {paid} and {fee} were taken"
    );
}

/// What so many requests cost at most.
fn serve_most(requests: u64) -> u64 {
    requests * CLIENT.ceiling()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_that_closes_while_streams_run_is_settled_by_the_watch_alone() {
    let mut site = Site::that_only_signs(Engine::mock).await;
    let watch = Watch::start(site.world(), &site.chain.url, "watch", &[]);
    let (front, _) = serve(&site, 120).await;
    assert_eq!(site.front_agrees().await, front);
    until(
        "something is left for the watch",
        || site.logs(),
        async || left(&site) > 0,
    )
    .await;

    let body = json!({"model": "fault/stall", "max_tokens": 50, "stream": true,
        "messages": [{"role": "user", "content": "hello"}]});
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut flow = Flow::begin(site.connect.request(body.to_string())).await;
        flow.until(" am").await;
        streams.push(flow);
    }
    let channels = elsewhere(site.world());
    let closing = site.told(&["close", "work", "--yes", "--channels", &channels]);
    assert!(closing.contains("The clock runs"), "{closing}");
    // The gateway sees it, signs what it has earned, and is gone.
    until(
        "what was earned is signed",
        || site.logs(),
        async || {
            let books = site.books().await;
            books["stage"] == "stopping" && gram(&books["taken"]) >= front && left(&site) == gram(&books["taken"])
        },
    )
    .await;
    let taken = left(&site);
    site.gateway.kill();
    drop(streams);
    until(
        "the watch has settled it",
        || watch.log(),
        async || site.claimed(&site.front).await == Some(taken),
    )
    .await;
    assert!(taken >= front, "{taken} of {front}");
    // It has read that too: of a contract that is gone nobody says what it paid.
    watch.says("settled: the contract shows the payment", crate::watch::SETTLED);
    // The payer gets the rest, and no more.
    site.connect.kill();
    site.chain.advance(3_601);
    let closed = site.told(&["close", "work", "--yes"]);
    assert!(closed.contains("Closed:"), "{closed}");
    watch.says("a channel is over", crate::watch::SETTLED);
    assert!(!watch.log().contains("missed"), "{}", watch.log());
    let paid = site.arrived(super::site::PAYOUT[0], &site.front).await;
    let fee = site.arrived(super::site::FEE[0], &site.front).await;
    assert_eq!(paid + fee, taken, "every nanoton");
    assert_eq!(fee, taken * super::site::FEE_BPS[0] / 10_000);
}
