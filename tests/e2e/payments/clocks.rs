//! Clocks that are wrong for a while: nobody is served by them for nothing, and nothing is lost.

use e2e::wait::skipped;
use e2e::{Clocks, World};
use reqwest::Method;
use serde_json::Value;

use super::payer::{Chain, Payer, decoded, until};
use super::{BODY, Shop, nano};

const DAY_S: i64 = 86_400;
/// To 1970, as on a machine without a battery.
const EPOCH_S: i64 = -1_790_000_000;

/// Asks, and must be served; what was charged. A lease of the ledger that ended by the wrong clock is renewed a moment
/// later.
async fn served(shop: &Shop, payer: &Payer, max: Option<u64>) -> u64 {
    let mut answer = shop.ask(&payer.pays(max, true), BODY).await;
    until("the ledger is open", async || {
        if answer.status == 503 {
            assert!(
                answer.envelope().is(503, "server_error", "ledger_unavailable"),
                "{}",
                answer.text()
            );
            answer = shop.ask(&payer.pays(max, true), BODY).await;
        }
        answer.status != 503
    })
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    nano(&decoded(answer.header("payment-response"))["extra"]["chargedAmount"])
}

/// With an access proof whose time is not the gateway's; what was charged before it was refused. One that was good in
/// this second is remembered.
async fn refused(shop: &Shop, payer: &Payer) -> u64 {
    let mut charged = 0;
    let mut answer = shop.ask(&payer.pays(None, true), BODY).await;
    until("it is refused", async || {
        if answer.status == 200 {
            charged += nano(&decoded(answer.header("payment-response"))["extra"]["chargedAmount"]);
            answer = shop.ask(&payer.pays(None, true), BODY).await;
        }
        answer.status != 200
    })
    .await;
    assert!(
        answer.envelope().is(401, "invalid_request_error", "invalid_payment"),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("the access proof is"), "{}", answer.text());
    charged
}

async fn shown(shop: &Shop, payer: &Payer) -> Value {
    let path = format!("channels/{}", payer.id.account);
    shop.operator(Method::GET, &path).await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_clock_jumps_says_so_and_goes_on_where_it_was() {
    let chain = Chain::start().await;
    let world = World::new();
    let clocks = match Clocks::of(&world) {
        Ok(clocks) => clocks,
        Err(why) => return skipped("a_gateway_whose_clock_jumps_says_so_and_goes_on_where_it_was", &why),
    };
    let mut shop = Shop::in_world(world, &chain.url, "");
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let mut charged = served(&shop, &payer, Some(100_000_000)).await;
    for ahead_s in [3_600, -3_600, 30 * DAY_S, EPOCH_S, 4_000 * DAY_S] {
        clocks.set("serve", ahead_s);
        charged += refused(&shop, &payer).await;
        clocks.set("serve", 0);
        charged += served(&shop, &payer, None).await;
    }
    // One that starts with a wrong clock, and is put right while it runs.
    for ahead_s in [EPOCH_S, 30 * DAY_S] {
        shop.gateway.kill();
        clocks.set("serve", ahead_s);
        shop.gateway = shop.world.gateway(&shop.yaml);
        charged += refused(&shop, &payer).await;
        clocks.set("serve", 0);
        charged += served(&shop, &payer, None).await;
    }
    let now = shown(&shop, &payer).await;
    assert_eq!(now["stage"], "open", "{now}");
    // It hears of the chain as before.
    payer.asks_to_close(&chain).await;
    let mut now = Value::Null;
    until("what was earned is signed", async || {
        now = shown(&shop, &payer).await;
        now["stage"] == "stopping" && now["settlement"].is_object() && now["spent"] == now["taken"]
    })
    .await;
    assert_eq!(nano(&now["settlement"]["take"]["totalClaimed"]), charged, "{now}");
    assert_eq!(chain.settle(&payer, &now["settlement"]).await, Some(charged));
    let verified = shop.operator(Method::POST, "ledger/verify").await;
    assert_eq!(verified.json()["ok"], true, "{}", verified.text());
}
