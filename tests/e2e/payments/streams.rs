//! What a stream cost its payer stands behind it.

use e2e::client::{client, get, request, send};
use e2e::{Gateway, wait::SOON};
use http_body_util::BodyExt;
use reqwest::{Client, Response};
use serde_json::Value;

use super::payer::{Chain, Payer, decoded, until};
use super::{CHAT, Shop, nano};
use crate::flow::Flow;

/// A stream as it came: what the head promised, what was in it, and what stood behind.
struct Read {
    promised: String,
    text: String,
    paid: Option<Value>,
}

impl Read {
    async fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        let (head, body) = http::Response::<reqwest::Body>::from(response).into_parts();
        assert!(
            !head.headers.contains_key("payment-response"),
            "nobody knows the cost yet"
        );
        let collected = body.collect().await.expect("it ends well");
        let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
        Self {
            promised: head.headers.get("trailer").map(text).unwrap_or_default(),
            paid: collected
                .trailers()
                .and_then(|trailers| trailers.get("payment-response"))
                .map(|value| decoded(&text(value))),
            text: String::from_utf8(collected.to_bytes().to_vec()).expect("UTF-8"),
        }
    }

    /// By the comment at the end.
    fn cost(&self) -> u64 {
        let cost = self.text.lines().find_map(|line| line.strip_prefix(": cost "));
        let cost = cost.unwrap_or_else(|| panic!("no cost in {}", self.text));
        let digits: String = cost.chars().filter(char::is_ascii_digit).collect();
        digits.parse().expect("an amount")
    }
}

fn stream(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}],"max_tokens":20,"stream":true}}"#)
}

fn http2() -> Client {
    let client = Client::builder().http2_prior_knowledge().no_proxy().timeout(SOON);
    client.build().expect("a client can be made")
}

/// Where the channel stands, by a question that costs nothing.
pub(super) async fn stands(gateway: &Gateway, payment: &str) -> Value {
    let url = format!("{}/v1/models", gateway.url());
    let answer = send(client().get(url).header("payment-signature", payment)).await;
    assert_eq!(answer.status(), 200);
    let header = answer.headers()["payment-response"].to_str().expect("text");
    let said = decoded(header);
    assert_eq!(said["extra"]["chargedAmount"], "0", "{said}");
    said["extra"]["channelState"].clone()
}

#[tokio::test]
async fn a_stream_says_behind_its_end_what_was_charged() {
    let chain = Chain::start().await;
    let shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let pays = payer.pays(Some(100_000_000), true);
    let url = format!("{}{CHAT}", shop.gateway.url());
    let ask = |client: Client, model: &str| {
        let body = stream(model);
        client
            .post(&url)
            .header("content-type", "application/json")
            .body(body)
            .header("payment-signature", &pays)
    };

    let mut charged = 0;
    let over_2 = Read::of(send(ask(http2(), "mock")).await).await;
    let over_1 = Read::of(send(ask(client(), "mock").header("te", "gzip, trailers")).await).await;
    for read in [over_2, over_1] {
        assert_eq!(read.promised, "payment-response");
        let paid = read.paid.as_ref().expect("it is there");
        let cost = nano(&paid["extra"]["chargedAmount"]);
        assert_eq!((cost, cost > 0), (read.cost(), true), "{paid}");
        charged += cost;
        let state = &paid["extra"]["channelState"];
        assert_eq!(nano(&state["chargedCumulativeAmount"]), charged, "{state}");
        assert_eq!(state["heldAmount"], "0", "nothing else runs: {state}");
    }
    // Who did not say that it reads them has none, and is charged the same.
    let without = Read::of(send(ask(client(), "mock")).await).await;
    assert_eq!((without.promised.as_str(), without.paid.is_none()), ("", true));
    charged += without.cost();

    // One that breaks off says what was delivered.
    let broken = Read::of(send(ask(http2(), "fault/err-data")).await).await;
    let paid = broken.paid.expect("what was delivered is charged");
    let cost = nano(&paid["extra"]["chargedAmount"]);
    assert!(cost > 0, "{paid}");
    charged += cost;
    // A charge may come a moment after the end of an answer that does not tell it.
    until("all of it is charged", async || {
        let state = stands(&shop.gateway, &pays).await;
        assert!(nano(&state["chargedCumulativeAmount"]) <= charged, "{state}");
        nano(&state["chargedCumulativeAmount"]) == charged && state["heldAmount"] == "0"
    })
    .await;

    // What is held while a stream runs is told apart from what was charged.
    let running = request(&url, stream("fault/stall")).header("payment-signature", &pays);
    let mut running = Flow::begin(running).await;
    running.until(" am").await;
    let state = stands(&shop.gateway, &pays).await;
    assert_eq!(nano(&state["chargedCumulativeAmount"]), charged, "{state}");
    assert!(nano(&state["heldAmount"]) > 0, "{state}");
    drop(running);
    until("what the client was given before it left is charged", async || {
        let state = stands(&shop.gateway, &pays).await;
        state["heldAmount"] == "0" && nano(&state["chargedCumulativeAmount"]) > charged
    })
    .await;

    let shown = shop
        .operator(reqwest::Method::GET, &format!("channels/{}", payer.id.account))
        .await
        .json();
    let state = stands(&shop.gateway, &pays).await;
    let spent = shown["spent"].as_str().expect("an amount").replace('.', "");
    let spent: u64 = spent.parse().expect("digits");
    assert_eq!(
        spent,
        nano(&state["chargedCumulativeAmount"]),
        "the ledger says the same"
    );
    assert_eq!(get(&format!("{}/v1/models", shop.gateway.url())).await.status(), 402);
}
