//! An app, `mulberry connect` beside it, and a gateway: all as processes, over real sockets.

use std::time::Duration;

use e2e::client::{chat_stream, get, send};
use e2e::ports::lasting;
use e2e::wait::SOON;
use e2e::{Answer, Connect, Gateway, Mock, World};

use crate::flow::Flow;

mod verified;

const KEYS: &str = "keys: [{name: app, secret: sk-app}]\n";

/// An app's side that knows the gateway by its key. They end in this order.
struct Site {
    connect: Connect,
    gateway: Gateway,
    mock: Mock,
    world: World,
}

fn yaml(mock: &Mock, more: &str) -> String {
    format!(
        "attested_listen: {}\nbackends: [{{name: only, url: \"{}\"}}]\n{more}",
        lasting(),
        mock.url()
    )
}

/// The flag that pins the gateway's key.
fn pinned(gateway: &Gateway) -> String {
    let (address, key) = gateway.for_connect();
    format!("{key}@{address}")
}

impl Site {
    async fn new(more: &str) -> Self {
        let world = World::new();
        let mock = world.mock(&[]);
        let gateway = world.gateway(&yaml(&mock, more));
        let connect = world.connect(&["--gateway", &pinned(&gateway)]);
        connect.stands("verified").await;
        Self {
            connect,
            gateway,
            mock,
            world,
        }
    }

    fn asked(&self) -> usize {
        asked(&self.mock)
    }
}

fn asked(mock: &Mock) -> usize {
    let log = mock.log();
    log.iter()
        .filter(|entry| entry["path"] == "/v1/chat/completions")
        .count()
}

#[tokio::test]
async fn an_app_changes_its_base_url_and_nothing_else() {
    let site = Site::new(KEYS).await;
    let body = e2e::client::chat("mock");
    let answer = Answer::of(send(site.connect.request(body.clone()).bearer_auth("sk-app")).await).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-mulberry-via"), "keyed gateway");
    assert!(!answer.header("x-request-id").is_empty() && !answer.header("x-mulberry-upstream").is_empty());
    let direct = e2e::client::request(&format!("{}/v1/chat/completions", site.gateway.url()), body);
    let direct = Answer::of(send(direct.bearer_auth("sk-app")).await).await;
    assert_eq!(direct.header("x-mulberry-via"), "unverified gateway");
    let content = |answer: &Answer| answer.json()["choices"][0]["message"]["content"].clone();
    assert_eq!(content(&answer), content(&direct));

    let stream = Flow::begin(site.connect.request(chat_stream("mock")).bearer_auth("sk-app")).await;
    let stream = stream.end().await;
    assert!(stream.is_done(), "{}", stream.text);
    assert_eq!(Some(stream.content().as_str()), content(&direct).as_str());

    // The gateway judges the key, and says so in its own words.
    let refused = site.connect.chat("mock").await;
    assert_eq!(
        (refused.status.as_u16(), refused.envelope().code),
        (401, Some("invalid_api_key".to_owned()))
    );
    let unknown = Answer::of(get(&site.connect.url("/v1/nothing")).await).await;
    assert_eq!(unknown.status, 404);

    let status = site.connect.status().await;
    assert_eq!(
        (&status["tier"], &status["image"]),
        (&"open".into(), &serde_json::Value::Null)
    );
    for log in [site.connect.log(), site.gateway.log()] {
        assert!(!log.contains("sk-app") && !log.contains("Say hello"), "{log}");
    }
    assert!(
        site.connect.log().contains("known by its key alone"),
        "{}",
        site.connect.log()
    );
}

#[tokio::test]
async fn a_gateway_that_dies_ends_streams_and_is_found_again() {
    let mut site = Site::new("").await;
    let flow = Flow::begin(site.connect.request(chat_stream("fault/slow-50+tokens-2000"))).await;
    let (address, key) = site.gateway.for_connect();
    let data = site.gateway.data_dir();
    site.gateway.kill();
    let stream = flow.end().await;
    assert!(
        !stream.is_done() && stream.text.contains("gateway_connection_lost"),
        "{}",
        stream.text
    );
    let answer = site.connect.chat("mock").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.envelope().code.as_deref(), Some("gateway_unreachable"));
    assert_eq!(site.asked(), 1);

    // The same gateway, where it was.
    let file = format!(
        "attested_listen: {address}\nlisten: 127.0.0.1:0\nadmin_listen: null\ndata_dir: {}\nbackends: [{{name: only, url: \"{}\"}}]\n",
        data.display(),
        site.mock.url()
    );
    site.world.file("again.yaml", file);
    let again = site.world.gateway_of("again.yaml", &[]);
    assert_eq!(again.for_connect().1, key);
    site.connect.stands("verified").await;
    assert_eq!(site.connect.chat("mock").await.status, 200);
}

#[tokio::test]
async fn another_key_is_another_gateway() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&yaml(&mock, ""));
    let (address, _) = gateway.for_connect();
    let other = format!("{}@{address}", "07".repeat(32));
    let connect = world.connect(&["--gateway", &other]);
    let status = connect.stands("refused").await;
    assert_eq!(status["why"]["code"], "gateway_key");
    let answer = connect.chat("mock").await;
    assert_eq!(
        (answer.status.as_u16(), answer.envelope().code),
        (503, Some("gateway_key".to_owned()))
    );
    assert_eq!(asked(&mock), 0);
    let doctor = Connect::doctor(world.dir(), &["--gateway", &other]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        !doctor.status.success() && said.contains("gateway_key") && said.contains("fix:"),
        "{said}"
    );
    let doctor = Connect::doctor(world.dir(), &["--gateway", &pinned(&gateway)]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(
        doctor.status.success() && said.contains("tier open: Not confidential"),
        "{said}"
    );
}

#[tokio::test]
async fn what_would_weaken_it_is_refused_at_the_start() {
    let world = World::new();
    let key = "07".repeat(32);
    let (pin, place) = (format!("{key}@127.0.0.1:1"), "127.0.0.1:1");
    let open = world.file("open.json", "{\"min_tier\": \"open\"}");
    let broken = world.file("broken.json", "{\"min_tier\": \"tee\", \"imagse\": []}");
    let (open, broken) = (open.display().to_string(), broken.display().to_string());
    for (flags, why) in [
        (vec![], "name the gateway"),
        (vec!["--gateway", place], "say which gateway to believe"),
        (vec!["--gateway", &pin, "--policy", &open], "leave out KEY@"),
        (vec!["--gateway", place, "--policy", &open], "accepts tier open"),
        (vec!["--gateway", place, "--policy", &broken], "is no policy"),
        (vec!["--gateway", place, "--policy", "nothing.json"], "cannot be read"),
        (
            vec!["--gateway", &pin, "--listen", "0.0.0.0:0"],
            "--danger-listen-beyond-loopback",
        ),
    ] {
        let said = world.connect_error(&flags);
        assert!(said.contains(why), "{flags:?}: {said}");
    }
    let doctor = Connect::doctor(world.dir(), &["--gateway", place, "--policy", &open]);
    assert!(!doctor.status.success());
}

#[tokio::test]
async fn a_signal_lets_answers_end() {
    let mut site = Site::new("").await;
    let flow = Flow::begin(site.connect.request(chat_stream("fault/slow-50+tokens-20"))).await;
    site.connect.signal("TERM");
    let stream = flow.end().await;
    assert!(stream.is_done(), "{}", stream.text);
    assert!(site.connect.wait(SOON).await.success());

    // And the gateway's own end, seen through the sidecar.
    let site = Site::new("").await;
    let flow = Flow::begin(site.connect.request(chat_stream("fault/slow-50+tokens-20"))).await;
    site.gateway.signal("TERM");
    let stream = flow.end().await;
    assert!(stream.is_done(), "{}", stream.text);
    let mut gateway = site.gateway;
    assert!(gateway.wait(Duration::from_secs(20)).await.success());
}
