//! Payers that close, chains that stand still, gateways that are killed, and two that share a channel.
//!
//! The chain is in this process, and must answer while a gateway is waited for: hence the second thread.

use std::fs;

use e2e::client::{request, send};
use e2e::{Answer, Gateway, World};
use test_postgres::Server;

use super::payer::{Chain, Payer, decoded, until};
use super::streams::stands;
use super::{BODY, CHAT, Shop, nano};
use crate::flow::Flow;

async fn ask(gateway: &Gateway, payment: &str) -> Answer {
    let url = format!("{}{CHAT}", gateway.url());
    Answer::of(send(request(&url, BODY.to_owned()).header("payment-signature", payment)).await).await
}

fn charged(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    nano(&decoded(answer.header("payment-response"))["extra"]["chargedAmount"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_on_one_database_share_a_channel() {
    let Some(server) = Server::shared() else { return };
    let chain = Chain::start().await;
    let world = World::new();
    let key = world.file("payee.key", "07".repeat(32));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    }
    let more = format!(
        "\x20 key_file: {}\ndatabase: \"{}\"\n",
        key.display(),
        server.database()
    );
    let shop = Shop::in_world(world, &chain.url, &more);
    let south = shop
        .yaml
        .replace("node: shop-1", "node: shop-2")
        .replace("/data\n", "/south\n");
    let south = shop.world.gateway(&south);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;

    let mut sum = charged(&ask(&shop.gateway, &payer.pays(Some(50_000_000), true)).await);
    // The other one knows neither the channel nor its voucher, and finds both.
    sum += charged(&ask(&south, &payer.pays(None, true)).await);
    for round in 0..10 {
        let max = (round == 5).then_some(60_000_000);
        let (with_north, with_south) = (payer.pays(None, true), payer.pays(max, true));
        let (one, other) = tokio::join!(ask(&shop.gateway, &with_north), ask(&south, &with_south));
        sum += charged(&one) + charged(&other);
    }
    for gateway in [&shop.gateway, &south] {
        until("each says what both were paid", async || {
            nano(&stands(gateway, &payer.pays(None, true)).await["chargedCumulativeAmount"]) == sum
        })
        .await;
    }
    let path = format!("channels/{}", payer.id.account);
    until("nothing runs", async || {
        shop.operator(reqwest::Method::POST, &format!("{path}/close"))
            .await
            .status
            == 200
    })
    .await;
    let closed = shop.operator(reqwest::Method::GET, &path).await.json();
    assert_eq!(nano(&closed["settlement"]["take"]["totalClaimed"]), sum, "{closed}");
    until("the other one hears of the end", async || {
        ask(&south, &payer.pays(None, true)).await.status == 402
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_starts_to_close_is_served_no_more_and_pays_for_what_ran() {
    let chain = Chain::start().await;
    let mut shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let late = Payer::open(&chain, &offer, 2, 1_000_000_000).await;
    let pays = payer.pays(Some(100_000_000), true);
    assert!(charged(&ask(&shop.gateway, &late.pays(Some(100_000_000), true)).await) > 0);

    let body = BODY.replace("\"mock\"", "\"fault/stall\",\"stream\":true");
    let url = format!("{}{CHAT}", shop.gateway.url());
    let mut running = Flow::begin(request(&url, body).header("payment-signature", &pays)).await;
    running.until(" am").await;
    payer.asks_to_close(&chain).await;
    until("it is refused", async || {
        let refused = ask(&shop.gateway, &payer.pays(None, true)).await;
        refused.status == 402 && refused.envelope().is(402, "insufficient_quota", "channel_refused")
    })
    .await;
    drop(running);
    let path = format!("channels/{}", payer.id.account);
    let mut shown = shop.operator(reqwest::Method::GET, &path).await.json();
    until("what ran is signed", async || {
        shown = shop.operator(reqwest::Method::GET, &path).await.json();
        shown["settlement"].is_object() && shown["spent"] == shown["taken"]
    })
    .await;
    assert_eq!(shown["stage"], "stopping", "{shown}");
    let taken = nano(&shown["settlement"]["take"]["totalClaimed"]);
    assert_eq!(chain.settle(&payer, &shown["settlement"]).await, Some(taken));

    // One that closed while nobody looked is known to before the first request.
    shop.gateway.kill();
    late.asks_to_close(&chain).await;
    shop.gateway = shop.world.gateway(&shop.yaml);
    let refused = ask(&shop.gateway, &late.pays(None, true)).await;
    assert!(
        refused.envelope().is(402, "insufficient_quota", "channel_refused"),
        "{}",
        refused.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_that_stands_still_stops_nobody_who_is_known() {
    let chain = Chain::start().await;
    let mut shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    assert!(charged(&ask(&shop.gateway, &payer.pays(Some(100_000_000), true)).await) > 0);
    chain.halt();
    assert!(charged(&ask(&shop.gateway, &payer.pays(None, true)).await) > 0);
    shop.gateway.kill();
    shop.gateway = shop.world.gateway(&shop.yaml);
    assert!(charged(&ask(&shop.gateway, &payer.pays(None, true)).await) > 0);
    let unopened = Payer::new(&offer, 2);
    let refused = ask(&shop.gateway, &unopened.pays(Some(400_000), true)).await;
    assert!(
        refused.envelope().is(503, "server_error", "chain_unavailable"),
        "{}",
        refused.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voucher_that_was_answered_outlives_the_gateway() {
    let chain = Chain::start().await;
    let mut shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let (mut known, mut paid) = (1_000_000, 0);
    paid += charged(&ask(&shop.gateway, &payer.pays(Some(known), true)).await);
    for round in 1..=5_u64 {
        let url = format!("{}{CHAT}", shop.gateway.url());
        let asked: Vec<_> = (0..8)
            .map(|at| {
                let max = round * 10_000_000 + at * 1_000;
                let request = request(&url, BODY.to_owned()).header("payment-signature", payer.pays(Some(max), true));
                tokio::spawn(async move {
                    let response = request.send().await.ok().filter(|response| response.status() == 200)?;
                    let told = response.headers().get("payment-response")?.to_str().ok()?.to_owned();
                    Some((max, told))
                })
            })
            .collect();
        // In the middle, wherever that is.
        tokio::time::sleep(std::time::Duration::from_millis(round * 3)).await;
        shop.gateway.kill();
        for answer in asked {
            if let Some((max, told)) = answer.await.expect("it does not panic") {
                known = known.max(max);
                paid += nano(&decoded(&told)["extra"]["chargedAmount"]);
            }
        }
        shop.gateway = shop.world.gateway(&shop.yaml);
        let path = format!("channels/{}", payer.id.account);
        let shown = shop.operator(reqwest::Method::GET, &path).await.json();
        let amount = |name: &str| -> u64 {
            let text = shown[name].as_str().expect("an amount").replace('.', "");
            text.parse().expect("digits")
        };
        assert!(amount("voucher_max") >= known, "{known} was answered: {shown}");
        assert!(amount("spent") >= paid, "{paid} was answered: {shown}");
        known = amount("voucher_max");
        paid = amount("spent");
    }
    let verified = shop.operator(reqwest::Method::POST, "ledger/verify").await;
    assert_eq!(verified.json()["ok"], true, "{}", verified.text());
}
