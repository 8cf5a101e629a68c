//! A payer that starts to close, and what a gateway makes of it.

use billing::Nano;
use billing_ton::contract::Request;
use e2e::{Answer, World};
use reqwest::Method;
use serde_json::Value;

use super::payer::{Chain, Payer, until};
use super::{BODY, Shop};

async fn shown(shop: &Shop, payer: &Payer) -> Value {
    let path = format!("channels/{}", payer.id.account);
    shop.operator(Method::GET, &path).await.json()
}

/// An amount as the admin API shows it, in nanoton.
fn digits(amount: &Value) -> u64 {
    let text = amount.as_str().expect("an amount").replace('.', "");
    text.parse().expect("digits")
}

/// Beyond what one source is believed for, its word of a deposit is nothing and its word of a close is enough: whoever
/// tops up by a little must not be served for nothing.
#[tokio::test]
async fn a_close_is_seen_though_one_source_is_too_few_for_the_deposit() {
    let chain = Chain::start().await;
    let shop = Shop::in_world(World::new(), &chain.url, "\x20 two_sources_above: \"1\"\n");
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 900_000_000).await;
    let first = shop.ask(&payer.pays(Some(400_000_000), true), BODY).await;
    assert_eq!(first.status, 200, "{}", first.text());

    let more = Request::TopUp {
        query_id: 2,
        amount: Nano::saturating(300_000_000),
    };
    chain.request(&payer, &more, 300_000_000).await;
    until("the top-up is on the chain", async || {
        chain.deposited(&payer).await == Some(1_200_000_000)
    })
    .await;
    let second = shop.ask(&payer.pays(None, true), BODY).await;
    assert_eq!(second.status, 200, "what is known is served: {}", second.text());
    let deposited = digits(&shown(&shop, &payer).await["deposited"]);
    assert_eq!(deposited, 900_000_000, "nobody else says so");

    chain.request(&payer, &Request::RequestClose { query_id: 3 }, 0).await;
    until("the close is seen, and what was earned is signed", async || {
        let shown = shown(&shop, &payer).await;
        shown["stage"] == "stopping" && shown["spent"] == shown["taken"] && digits(&shown["taken"]) > 0
    })
    .await;
    let refused: Answer = shop.ask(&payer.pays(None, true), BODY).await;
    assert!(
        refused.envelope().is(402, "insufficient_quota", "channel_refused"),
        "{}",
        refused.text()
    );
}

/// A place costs something, and who has paid too little for one may pay in more.
#[tokio::test]
async fn a_channel_with_too_little_is_told_how_much_it_takes() {
    let chain = Chain::start().await;
    let shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 9_000_000).await;
    let payment = payer.pays(Some(400_000), true);
    until("it says how much is needed", async || {
        let refused = shop.ask(&payment, BODY).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        refused.text().contains("0.010000000 or more")
    })
    .await;
}

/// The key of a folder that was lost is not made anew under channels that pay to it.
#[tokio::test]
async fn a_gateway_without_the_key_of_its_channels_does_not_start() {
    let chain = Chain::start().await;
    let mut shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let first = shop.ask(&payer.pays(Some(400_000), true), BODY).await;
    assert_eq!(first.status, 200, "{}", first.text());
    shop.gateway.kill();
    std::fs::remove_file(shop.world.dir().join("data/payee.key")).expect("it was made at the start");
    let refused = shop.world.gateway_error(&shop.yaml);
    assert!(
        refused.contains("payee.key") && refused.contains("open channel"),
        "{refused}"
    );
}
