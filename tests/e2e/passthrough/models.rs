//! Names of models: patterns, slashes, aliases, lists.

use e2e::client::{chat, chat_stream, get, post};
use e2e::sse::Stream;
use e2e::{Answer, Rig, World, eventually, wait::SOON};
use serde_json::Value;

/// The ids that the gateway lists.
async fn listed(url: &str) -> Vec<String> {
    let list = Answer::of(get(&format!("{url}/v1/models")).await).await.json();
    assert_eq!(list["object"], "list");
    let data = list["data"].as_array().expect("a list of models");
    for model in data {
        assert_eq!(model["object"], "model", "{model}");
        assert!(model["created"].is_u64() && model["owned_by"].is_string(), "{model}");
    }
    data.iter()
        .filter_map(|model| model["id"].as_str())
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn without_models_every_name_goes_through_as_it_is() {
    let world = World::new();
    let mock = world.mock(&["--model", "meta-llama/Llama-3.1-8B:free"]);
    let gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", mock.url()));
    let url = gateway.url();
    let body = chat("meta-llama/Llama-3.1-8B:free");
    let answer = Answer::of(post(&format!("{url}/v1/chat/completions"), body.clone()).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(mock.only()["body"], body);
    // A name that the upstream does not know is refused in its words.
    let unknown = Answer::of(post(&format!("{url}/v1/chat/completions"), chat("gpt-9")).await).await;
    assert_eq!(unknown.envelope().status, 404);
}

#[tokio::test]
async fn a_model_is_found_by_an_id_with_slashes() {
    let world = World::new();
    let mock = world.mock(&["--model", "meta-llama/Llama-3"]);
    let gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", mock.url()));
    let url = gateway.url();
    let known = eventually(SOON, || {
        // The list of the upstream is read beside the requests.
        let body = e2e::raw::exchange(
            gateway.address(),
            b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        );
        String::from_utf8_lossy(&body).contains("meta-llama/Llama-3")
    });
    assert!(known.await);
    for path in [
        "/v1/models/meta-llama/Llama-3",
        "/v1/models/meta-llama%2FLlama-3",
        "/models/meta-llama/Llama-3/",
    ] {
        let model = Answer::of(get(&format!("{url}{path}")).await).await;
        assert_eq!(model.status, 200, "{path}: {}", model.text());
        assert_eq!(model.json()["id"], "meta-llama/Llama-3", "{path}");
    }
    let ids = listed(&url).await;
    assert!(
        ids.iter().any(|id| id == "mock") && ids.iter().any(|id| id == "meta-llama/Llama-3"),
        "{ids:?}"
    );
}

#[tokio::test]
async fn a_route_renames_the_model_and_nothing_else() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: a, url: '{}'}}]\nmodels:\n\
         - {{name: small, aliases: [small-latest], routes: [{{backend: a, model: mock}}]}}\n\
         - {{name: 'fault/*', routes: [{{backend: a}}]}}\n",
        mock.url()
    ));
    let url = format!("{}/v1/chat/completions", gateway.url());
    for name in ["small", "small-latest"] {
        mock.reset();
        let body = format!(
            "{{ \"messages\":[{{\"role\":\"user\",\"content\":\"{name}\"}}], \"q\":18446744073709551615 ,\"model\" : \"{name}\"}}"
        );
        let answer = Answer::of(post(&url, body.clone()).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            mock.only()["body"],
            body.replace(&format!("\"model\" : \"{name}\""), "\"model\" : \"mock\"")
        );
    }
    // Under the pattern, the name goes as it is.
    assert!(
        Stream::of(post(&url, chat_stream("fault/no-done")).await)
            .await
            .is_done()
    );
    let unknown = Answer::of(post(&url, chat("large")).await).await.envelope();
    assert!(
        unknown.is(404, "invalid_request_error", "model_not_found"),
        "{unknown:?}"
    );
    let mut ids = listed(&gateway.url()).await;
    ids.sort_unstable();
    assert_eq!(ids, ["small", "small-latest"]);
}

#[tokio::test]
async fn a_model_that_does_not_exist_is_a_404_by_id_too() {
    let rig = Rig::with("", "models: [{name: mock, routes: [{backend: only}]}]\n");
    let answer = Answer::of(get(&rig.url("/v1/models/nothing/at/all")).await).await;
    let envelope = answer.envelope();
    assert!(
        envelope.is(404, "invalid_request_error", "model_not_found"),
        "{envelope:?}"
    );
    let model: Value = Answer::of(get(&rig.url("/v1/models/mock")).await).await.json();
    assert_eq!(model["id"], "mock");
}
