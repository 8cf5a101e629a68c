//! Workers: machines without an open port that serve over a connection which they dialled.
//!
//! Everything here is real: the gateway, the worker and the engine are processes, and the sockets carry TLS.

use e2e::client::{chat, chat_stream, get, request, send};
use e2e::wait::SOON;
use e2e::{Answer, Gateway, Mock, Worker, WorkerKey, World, eventually};
use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UnixListener};

use crate::count;
use crate::flow::Flow;

mod doctor;
mod forms;
mod leaving;
mod strangers;
mod tiers;

/// A gateway, a worker that it names, and the engine beside the worker. They end in this order.
struct Site {
    gateway: Gateway,
    worker: Worker,
    key: WorkerKey,
    mock: Mock,
    world: World,
}

/// A configuration with one worker; `more` is added to the file.
fn yaml(key: &WorkerKey, more: &str) -> String {
    format!(
        "worker_listen: 127.0.0.1:0\nbackends: [{{name: gpu, workers: [{{name: box, key_sha256: {}}}]}}]\n{more}",
        key.sha256
    )
}

impl Site {
    async fn new(more: &str) -> Self {
        let world = World::new();
        let mock = world.mock(&[]);
        let key = world.worker_key("box");
        let gateway = world.gateway(&yaml(&key, more));
        let worker = world.worker(&key, &mock.url(), &["--gateway", &gateway.for_workers()]);
        up(&gateway, "gpu/box").await;
        Self {
            gateway,
            worker,
            key,
            mock,
            world,
        }
    }

    fn url(&self) -> String {
        format!("{}/v1/chat/completions", self.gateway.url())
    }

    async fn chat(&self, model: &str) -> Answer {
        ask(&self.gateway, model).await
    }

    async fn flow(&self, model: &str) -> Flow {
        Flow::begin(request(&self.url(), chat_stream(model))).await
    }

    /// The chats that reached the engine.
    fn chats(&self) -> Vec<Value> {
        chats(&self.mock)
    }
}

fn chats(mock: &Mock) -> Vec<Value> {
    let mut log = mock.log();
    log.retain(|entry| entry["path"] == "/v1/chat/completions");
    log
}

async fn ask(gateway: &Gateway, model: &str) -> Answer {
    let url = format!("{}/v1/chat/completions", gateway.url());
    Answer::of(send(request(&url, chat(model))).await).await
}

/// Waits until this worker may be used.
async fn up(gateway: &Gateway, worker: &str) {
    count::until(gateway, &format!(r#"mulberry_upstream_up{{upstream="{worker}"}}"#), 1).await;
}

/// Waits until it may not.
async fn down(gateway: &Gateway, worker: &str) {
    count::until(gateway, &format!(r#"mulberry_upstream_up{{upstream="{worker}"}}"#), 0).await;
}

#[tokio::test]
async fn a_worker_serves_what_its_engine_does() {
    let site = Site::new("").await;
    let answer = site.chat("mock").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.json()["choices"][0]["message"]["content"].clone();
    let direct = Answer::of(
        send(request(
            &format!("{}/v1/chat/completions", site.mock.url()),
            chat("mock"),
        ))
        .await,
    )
    .await;
    assert_eq!(said, direct.json()["choices"][0]["message"]["content"]);

    let stream = site.flow("mock").await.end().await;
    assert_eq!(Some(stream.content().as_str()), said.as_str());
    assert!(stream.is_done(), "{}", stream.text);

    let models = Answer::of(get(&format!("{}/v1/models", site.gateway.url())).await)
        .await
        .json();
    let listed = models["data"].as_array().expect("a list").iter();
    assert!(listed.clone().any(|model| model["id"] == "mock"), "{models}");

    // An answer that is no answer of a model, and one that is refused.
    let refused = site.chat("fault/400").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[tokio::test]
async fn a_long_stream_and_a_large_body_pass_as_they_are() {
    let site = Site::new("").await;
    let stream = site.flow("fault/tokens-3000").await.end().await;
    let chunks = stream.chunks();
    let is_text = |chunk: &&Value| chunk["choices"][0]["delta"]["content"].is_string();
    assert!(chunks.iter().filter(is_text).count() >= 3000, "{} chunks", chunks.len());
    // Larger than every window of HTTP/2.
    let text = "word ".repeat(400_000);
    let body = format!(r#"{{"model":"mock","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let answer = Answer::of(send(request(&site.url(), body)).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn nothing_that_tells_who_asks_reaches_a_worker() {
    let site = Site::new("").await;
    let body = r#"{"model":"mock","messages":[{"role":"user","content":"Say hello to me"}],"user":"alice@example.com","metadata":{"user_id":"u-1"},"safety_identifier":"s-1","seed":7}"#;
    let asked = request(&site.url(), body)
        .header("authorization", "Bearer sk-client")
        .header("cookie", "session=1")
        .header("user-agent", "alices-app/1.0")
        .header("x-forwarded-for", "10.9.8.7")
        .header("x-request-id", "alices-request")
        .header("x-stainless-os", "Linux")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .header("openai-beta", "kept");
    let answer = Answer::of(send(asked).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let chats = site.chats();
    let [seen] = chats.as_slice() else {
        panic!("one chat was expected: {chats:#?}");
    };
    let text = seen.to_string();
    for private in [
        "alice",
        "u-1",
        "s-1",
        "sk-client",
        "session",
        "10.9.8.7",
        "stainless",
        "0af7651916cd43dd",
        "x-forwarded",
    ] {
        assert!(!text.contains(private), "{private} reached the engine: {text}");
    }
    assert!(text.contains("openai-beta"), "{text}");
    // What the engine says of itself does not reach the client either.
    assert!(answer.headers.get("x-powered-by").is_none() && answer.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_engine() {
    let site = Site::new("").await;
    let flow = site.flow("fault/slow-50+tokens-600").await;
    assert!(eventually(SOON, || site.mock.inflight() == 1).await);
    drop(flow);
    assert!(
        eventually(SOON, || site.mock.inflight() == 0).await,
        "the engine works on"
    );
    assert_eq!(site.mock.cancelled(), 1);
    // Before the head of an answer, too.
    let asking = tokio::spawn(request(&site.url(), chat("fault/hang")).send());
    assert!(eventually(SOON, || site.mock.inflight() == 1).await);
    asking.abort();
    assert!(
        eventually(SOON, || site.mock.inflight() == 0).await,
        "the engine works on"
    );
}

#[tokio::test]
async fn an_engine_behind_a_unix_socket() {
    let world = World::new();
    let mock = world.mock(&[]);
    let socket = world.dir().join("engine.sock");
    let listener = UnixListener::bind(&socket).expect("a socket in a directory of ours");
    let engine = mock.address().to_owned();
    let bridge = tokio::spawn(async move {
        while let Ok((mut inside, _)) = listener.accept().await {
            let engine = engine.clone();
            tokio::spawn(async move {
                let mut outside = TcpStream::connect(engine).await.expect("the mock listens");
                // Either side may leave first.
                drop(copy_bidirectional(&mut inside, &mut outside).await);
            });
        }
    });
    let key = world.worker_key("box");
    let gateway = world.gateway(&yaml(&key, ""));
    let engine = format!("unix:{}", socket.display());
    let _worker = world.worker(&key, &engine, &["--gateway", &gateway.for_workers()]);
    up(&gateway, "gpu/box").await;
    let answer = ask(&gateway, "mock").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    bridge.abort();
}

#[tokio::test]
async fn a_worker_that_listens_is_dialled() {
    let world = World::new();
    let mock = world.mock(&[]);
    let key = world.worker_key("box");
    // The gateway's key is made at its first start, and only then can the worker be told.
    let data = world.dir().join("data");
    let first = world.gateway(&format!("data_dir: {}\n{}", data.display(), yaml(&key, "")));
    let for_workers = first.for_workers();
    let (gateway_key, _) = for_workers.split_once('@').expect("KEY@ADDRESS");
    drop(first);
    let worker = world.worker(
        &key,
        &mock.url(),
        &["--listen", "127.0.0.1:0", "--gateway-key", gateway_key],
    );
    let gateway = world.gateway(&format!(
        "data_dir: {}\nbackends: [{{name: gpu, workers: [{{name: box, key_sha256: {}, address: '{}'}}]}}]\n",
        data.display(),
        key.sha256,
        worker.address()
    ));
    up(&gateway, "gpu/box").await;
    let answer = ask(&gateway, "mock").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let stream = Flow::begin(request(
        &format!("{}/v1/chat/completions", gateway.url()),
        chat_stream("mock"),
    ));
    assert!(stream.await.end().await.is_done());
}

#[tokio::test]
async fn two_workers_share_and_one_that_is_gone_is_left_out() {
    let world = World::new();
    let (one, other) = (world.mock(&[]), world.mock(&[]));
    let (first, second) = (world.worker_key("one"), world.worker_key("other"));
    let gateway = world.gateway(&format!(
        "worker_listen: 127.0.0.1:0\nbackends: [{{name: gpu, workers: [{{name: one, key_sha256: {}}}, {{name: other, key_sha256: {}}}]}}]\n",
        first.sha256, second.sha256
    ));
    let to = gateway.for_workers();
    let _one = world.worker(&first, &one.url(), &["--gateway", &to]);
    let mut leaving = world.worker(&second, &other.url(), &["--gateway", &to]);
    up(&gateway, "gpu/one").await;
    up(&gateway, "gpu/other").await;
    for _ in 0..40 {
        assert_eq!(ask(&gateway, "mock").await.status, 200);
    }
    let (here, there) = (chats(&one).len(), chats(&other).len());
    assert!(here > 0 && there > 0 && here + there == 40, "{here} and {there}");
    leaving.kill();
    down(&gateway, "gpu/other").await;
    for _ in 0..10 {
        assert_eq!(ask(&gateway, "mock").await.status, 200);
    }
    assert_eq!(chats(&one).len(), here + 10);
}

/// A listener on a free port of this machine.
async fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}
