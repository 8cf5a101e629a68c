//! What goes through as it came: bodies, headers, paths, and endpoints that the gateway does not read.

use e2e::client::{chat, chat_stream, client, get, post, send};
use e2e::sse::Stream;
use e2e::{Answer, Gateway, Rig, Scripted, World};
use serde_json::{Value, json};

mod endpoints;
mod headers;
mod models;
pub(crate) mod tls;
mod versions;

/// A request as no library writes it: order, white space, escapes, numbers and fields of its own.
const ODD: &str = "{ \"zzz\" : 1e400,\n\t\"model\":\"mock\" , \"big\": 18446744073709551615, \"neg\": -9223372036854775808,\
    \"exact\": 0.1000000000000000055511151231257827, \"m\u{e4}\": \"\\u00e9\\/\\ud83c\\udf53\", \"null\": null, \"\": {},\
    \"messages\" : [ {\"content\":\"Say hello\",\"role\":\"user\",\"x_vendor\":[1,2,{\"deep\":-0.0}]} ], \"temperature\": 1.0e0 }  ";

/// A gateway before an upstream that takes everything and parses nothing.
struct Sink {
    gateway: Gateway,
    upstream: Scripted,
    _world: World,
}

impl Sink {
    fn new(upstream: Scripted) -> Self {
        let world = World::new();
        let gateway = world.gateway(&format!("backends: [{{name: a, url: '{}'}}]", upstream.url()));
        Self {
            gateway,
            upstream,
            _world: world,
        }
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        Answer::of(post(&format!("{}{path}", self.gateway.url()), body.to_owned()).await).await
    }

    /// What the upstream got for this body.
    async fn seen(&self, path: &str, body: &str) -> String {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let last = self.upstream.bodies().pop().expect("a request came");
        String::from_utf8(last).expect("it was UTF-8 when it left")
    }
}

#[tokio::test]
async fn a_request_body_goes_as_it_came_to_the_byte() {
    let sink = Sink::new(Scripted::json(r#"{"object":"anything"}"#));
    assert_eq!(sink.seen("/v1/chat/completions", ODD).await, ODD);
    for (path, body) in [
        (
            "/v1/completions",
            "{\"prompt\": \"a\",  \"model\":\"mock\", \"q\": 1E+400}",
        ),
        (
            "/v1/embeddings",
            "{\"input\": [\"a\"],  \"model\":\"mock\", \"q\": 1E+400}",
        ),
        (
            "/v1/responses",
            "{\"input\": \"a\",  \"model\":\"mock\", \"q\": 1E+400}",
        ),
        ("/v1/moderations", "{\"input\": \"a\",  \"q\": 1E+400}"),
        (
            "/v1/rerank",
            "{\"query\": \"a\", \"documents\":[\"a\",\"b\"], \"model\":\"mock\", \"q\": 1E+400}",
        ),
        ("/v1/responses/r-1/cancel", "{ \"q\": 1E+400}"),
    ] {
        assert_eq!(sink.seen(path, body).await, body, "{path}");
    }
}

#[tokio::test]
async fn a_streaming_request_gains_only_the_wish_for_usage() {
    let sink = Sink::new(Scripted::events("data: {\"choices\":[]}\n\ndata: [DONE]\n\n"));
    let seen = async |body: &str| sink.seen("/v1/chat/completions", body).await;
    let streaming = ODD.replacen("{ \"zzz\"", "{ \"stream\" :true, \"zzz\"", 1);
    let gained = r#""stream_options":{"include_usage":true},"#;
    let got = seen(&streaming).await;
    assert_eq!(got.replacen(gained, "", 1), streaming);
    assert_eq!(got.len(), streaming.len() + gained.len());

    let options = |options: &str| streaming.replacen("\"zzz\"", &format!("\"stream_options\" : {options} ,\"zzz\""), 1);
    for (sent, wanted) in [
        // Nothing is left to wish for.
        (
            "{ \"include_usage\":\ttrue, \"zzz\":1 }",
            "{ \"include_usage\":\ttrue, \"zzz\":1 }",
        ),
        (
            "{ \"include_usage\":\tfalse, \"zzz\":1 }",
            "{ \"include_usage\":\ttrue, \"zzz\":1 }",
        ),
        ("{ \"zzz\":1 }", "{\"include_usage\":true, \"zzz\":1 }"),
        ("{}", "{\"include_usage\":true}"),
        ("null", "{\"include_usage\":true}"),
    ] {
        assert_eq!(seen(&options(sent)).await, options(wanted), "{sent}");
    }
}

#[tokio::test]
async fn a_backend_without_stream_usage_is_not_asked_for_it() {
    let rig = Rig::with("capabilities: {stream_usage: false}", "");
    assert!(rig.stream("mock").await.is_done());
    assert_eq!(rig.mock.only()["body"], chat_stream("mock"));
}

#[tokio::test]
async fn roles_and_names_change_only_where_a_backend_needs_it() {
    let body = r#"{"model":"mock","messages":[{"role":"developer","content":"developer"},{"role": "user","content":"\"role\":\"developer\""}],"max_completion_tokens": 9}"#;
    let kept = Rig::new();
    assert_eq!(kept.chat_of(body).await.status, 200);
    assert_eq!(kept.mock.only()["body"], body);
    let changed = Rig::with("kind: ollama", "");
    assert_eq!(changed.chat_of(body).await.status, 200);
    let wanted = body
        .replacen(r#""role":"developer""#, r#""role":"system""#, 1)
        .replace("max_completion_tokens", "max_tokens");
    assert_eq!(changed.mock.only()["body"], wanted);
}

/// An answer as no library writes it.
const ODD_ANSWER: &str = "{ \"zzz\":1e400 ,\"id\":\"x\", \"big\":18446744073709551616,\"choices\":[ {\"index\":0,\
    \"message\":{\"role\":\"assistant\",\"content\":\"\\u00e9\",\"reasoning\":\"r\",\"vendor\":{}},\"finish_reason\":\"stop\"}],\
    \"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2,\"vendor_tokens\":-0.0}}\n";

#[tokio::test]
async fn an_answer_goes_as_it_came_to_the_byte() {
    let sink = Sink::new(Scripted::json(ODD_ANSWER));
    let answer = sink.post("/v1/chat/completions", ODD).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), ODD_ANSWER);
}

#[tokio::test]
async fn the_events_of_a_stream_go_as_they_came_to_the_byte() {
    let events = "data: { \"id\" :\"x\",\"zzz\":1e400,\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\u00e9\",\"vendor\":{}}}]}\n\n\
        : a comment\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"a_new_reason\"}],\"big\":18446744073709551616}\n\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}\n\n\
        data: [DONE]\n\n";
    let sink = Sink::new(Scripted::events(events));
    let url = format!("{}/v1/chat/completions", sink.gateway.url());
    let asked = chat_stream("m").replace("true}", r#"true,"stream_options":{"include_usage":true}}"#);
    assert_eq!(Stream::of(post(&url, asked).await).await.text, events);
    // Usage that was not asked for is the one event left out.
    let without: String = events
        .split_inclusive("\n\n")
        .filter(|event| !event.contains("usage"))
        .collect();
    assert_eq!(Stream::of(post(&url, chat_stream("m")).await).await.text, without);
}

#[tokio::test]
async fn paths_work_with_and_without_v1_and_a_slash() {
    let rig = Rig::new();
    for path in [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions/",
        "/openai/v1/chat/completions",
        "/v1/chat/completions?beta=true",
    ] {
        rig.mock.reset();
        let answer = rig.post(path, chat("mock")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let query = path
            .split_once('?')
            .map_or(String::new(), |(_, query)| format!("?{query}"));
        assert_eq!(
            rig.mock.only()["path"],
            format!("/v1/chat/completions{query}"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_base_path_of_the_upstream_is_kept_and_its_v1_is_not_doubled() {
    let world = World::new();
    let mock = world.mock(&[]);
    for (base, seen) in [
        ("/v1", "/v1/chat/completions"),
        ("/v1/", "/v1/chat/completions"),
        ("/api/v1", "/api/v1/chat/completions"),
    ] {
        mock.reset();
        let gateway = world.gateway(&format!(
            "backends: [{{name: a, url: '{}{base}', health: {{enabled: false}}}}]",
            mock.url()
        ));
        drop(post(&format!("{}/v1/chat/completions", gateway.url()), chat("mock")).await);
        let log = mock.log();
        let posts: Vec<_> = log
            .iter()
            .filter(|entry| entry["method"] == "POST")
            .map(|entry| &entry["path"])
            .collect();
        assert_eq!(posts, [seen], "{base}");
    }
}

#[tokio::test]
async fn an_azure_path_names_the_model() {
    let rig = Rig::new();
    let path = "/openai/deployments/mock/chat/completions?api-version=2024-10-21";
    let unnamed = r#"{"messages":[{"role":"user","content":"hi"}], "q":18446744073709551615}"#;
    assert_eq!(rig.post(path, unnamed).await.status, 200);
    let seen = rig.mock.only();
    assert_eq!(seen["path"], "/v1/chat/completions");
    assert_eq!(
        seen["body"],
        r#"{"model":"mock","messages":[{"role":"user","content":"hi"}], "q":18446744073709551615}"#
    );
    // What the path says counts.
    rig.mock.reset();
    assert_eq!(rig.post(path, chat("other")).await.status, 200);
    assert_eq!(rig.mock.only()["body"], chat("mock"));
    // The mock knows no deployments: the body, the path and the key of an Azure backend are seen in its log.
    let azure = Rig::with("kind: azure, api_key: sk-azure, api_version: 2025-01-01", "");
    drop(azure.chat("gpt/4o").await);
    let seen = azure.mock.only();
    assert_eq!(
        seen["path"],
        "/openai/deployments/gpt%2F4o/chat/completions?api-version=2025-01-01"
    );
    assert_eq!(seen["headers"]["api-key"], "sk-azure");
    assert!(seen["headers"].get("authorization").is_none(), "{seen}");
}

#[tokio::test]
async fn a_preflight_is_answered_for_pages_that_may_ask() {
    let rig = Rig::with(
        "",
        "cors: {origins: ['https://app.example']}\nkeys: [{name: a, secret: sk-a-0123456789}]\n",
    );
    let preflight = |origin: &'static str| {
        let request = client()
            .request(http::Method::OPTIONS, rig.url("/v1/chat/completions"))
            .header("origin", origin);
        request.header("access-control-request-method", "POST").header(
            "access-control-request-headers",
            "authorization,content-type,x-stainless-lang",
        )
    };
    let answer = Answer::of(send(preflight("https://app.example")).await).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
    assert!(answer.header("access-control-allow-methods").contains("POST"));
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "authorization,content-type,x-stainless-lang"
    );
    assert!(
        answer.header("vary").to_ascii_lowercase().contains("origin"),
        "{:?}",
        answer.headers
    );
    let other = Answer::of(send(preflight("https://evil.example")).await).await;
    assert_eq!(other.header("access-control-allow-origin"), "");

    let exposed = |answer: &Answer| {
        assert_eq!(answer.header("access-control-allow-origin"), "https://app.example");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        let names = answer.header("access-control-expose-headers").to_owned();
        for name in [
            "x-request-id",
            "retry-after",
            "retry-after-ms",
            "x-ratelimit-remaining-requests",
        ] {
            assert!(names.contains(name), "{name} is not in {names}");
        }
    };
    let ask = |key: &'static str| {
        rig.request(chat("mock"))
            .header("origin", "https://app.example")
            .bearer_auth(key)
    };
    let good = Answer::of(send(ask("sk-a-0123456789")).await).await;
    assert_eq!(good.status, 200);
    exposed(&good);
    // A page must be able to read why it was refused.
    let refused = Answer::of(send(ask("sk-wrong")).await).await;
    assert_eq!(refused.envelope().status, 401);
    exposed(&refused);
    assert!(
        rig.mock
            .log()
            .iter()
            .all(|entry| entry["method"] != "OPTIONS" && entry["headers"].get("origin").is_none())
    );
}

#[tokio::test]
async fn without_cors_no_page_is_told_anything() {
    let rig = Rig::with("", "keys: [{name: a, secret: sk-a-0123456789}]\n");
    let request = client().request(http::Method::OPTIONS, rig.url("/v1/chat/completions"));
    let request = request
        .header("origin", "https://app.example")
        .header("access-control-request-method", "POST");
    let answer = Answer::of(send(request).await).await;
    assert!(answer.status.is_client_error(), "{}", answer.status);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn the_document_is_served() {
    let rig = Rig::new();
    let document = Answer::of(get(&rig.url("/openapi.json")).await).await;
    assert_eq!(document.status, 200);
    let paths = document.json()["paths"].clone();
    assert!(paths.get("/v1/chat/completions").is_some(), "{paths}");
    assert_ne!(paths, json!({}));
    let unknown: Value = rig.post("/v1/nothing", "{}").await.json();
    assert!(
        unknown["error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains("/openapi.json"))
    );
}
