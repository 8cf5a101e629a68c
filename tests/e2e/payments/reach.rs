//! What a payment channel, which anybody may open, does not reach.

use e2e::Answer;
use e2e::client::{client, request, send};
use reqwest::Method;

use super::payer::{Chain, Payer};
use super::{BODY, CHAT, Shop};

/// Files, batches and stored answers are those of all who ask here; what pays belongs to nobody upstream.
#[tokio::test]
async fn a_channel_reaches_models_and_nothing_that_upstreams_keep() {
    let chain = Chain::start().await;
    let shop = Shop::open(&chain.url);
    let offer = shop.offer().await["accepts"][0].clone();
    let payer = Payer::open(&chain, &offer, 1, 1_000_000_000).await;
    let ask = async |method: Method, path: &str, payment: &str| {
        let url = format!("{}{path}", shop.gateway.url());
        let request = client()
            .request(method.clone(), url)
            .header("payment-signature", payment);
        let request = match method {
            Method::POST => request
                .header("content-type", "application/json")
                .body(r#"{"model":"mock"}"#),
            _ => request,
        };
        Answer::of(send(request).await).await
    };
    let shown = payer.pays(None, true);
    for (method, path) in [
        (Method::GET, "/v1/files"),
        (Method::GET, "/v1/files/file-1/content"),
        (Method::DELETE, "/v1/files/file-1"),
        (Method::GET, "/v1/batches"),
        (Method::POST, "/v1/batches"),
        (Method::GET, "/v1/chat/completions"),
        (Method::POST, "/v1/chat/completions/id"),
        (Method::GET, "/v1/responses/resp_1"),
        (Method::DELETE, "/v1/responses/resp_1"),
        (Method::POST, "/v1/responses/resp_1/cancel"),
        (Method::DELETE, "/v1/models/ft:mock"),
        (Method::POST, "/v1/audio/voices"),
        // A path that names a model as Azure's do.
        (Method::GET, "/openai/deployments/mock/files"),
        (Method::GET, "/openai/deployments/mock/files/file-1/content"),
    ] {
        let refused = ask(method.clone(), path, &shown).await;
        let is_refused = refused.envelope().is(403, "permission_error", "model_not_allowed");
        assert!(is_refused, "{method} {path}: {} {}", refused.status, refused.text());
    }
    assert!(
        shop.mock.log().is_empty(),
        "none of it went out: {:#?}",
        shop.mock.log()
    );

    // What costs nothing is for who has something to lose.
    let counts = "/v1/messages/count_tokens";
    let refused = ask(Method::POST, counts, &shown).await;
    assert_eq!(refused.status, 402, "{}", refused.text());
    assert!(!refused.header("payment-required").is_empty());
    assert!(shop.mock.log().is_empty(), "{:#?}", shop.mock.log());
    let paid = payer.pays(Some(400_000), true);
    let url = format!("{}{CHAT}", shop.gateway.url());
    let answer = Answer::of(send(request(&url, BODY.to_owned()).header("payment-signature", &paid)).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let sent = shop.mock.only()["headers"].to_string();
    assert!(!sent.contains("payment"), "a bearer token went to the upstream: {sent}");
    let counted = ask(Method::POST, counts, &shown).await;
    assert_ne!(counted.status, 402, "{}", counted.text());
}
