//! The clocks of a backend, each at its end: connect, first frame, idle, total; and the client's own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use e2e::client::{chat, chat_stream, post, request, send};
use e2e::sse::Stream;
use e2e::{Answer, Envelope, World, eventually};
use tokio::net::{TcpSocket, TcpStream};

/// What a slow machine may add to a clock of a second or less.
const LATE: Duration = Duration::from_secs(10);

/// The answer to a request under these clocks, which must come when the clock of `ms` runs out.
async fn check(timeouts: &str, ms: u64, body: String) -> Answer {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!(
        "backends: [{{name: only, url: '{}', timeouts: {{{timeouts}}}}}]",
        mock.url()
    ));
    let asked = Instant::now();
    let answer = Answer::of(post(&format!("{}/v1/chat/completions", gateway.url()), body).await).await;
    let took = asked.elapsed();
    let due = Duration::from_millis(ms);
    assert!((due..due + LATE).contains(&took), "{timeouts}: answered after {took:?}");
    answer
}

fn of_stream(answer: &Answer) -> Envelope {
    assert_eq!(answer.status, 200, "{}", answer.text());
    Stream { text: answer.text() }.error()
}

#[tokio::test]
async fn the_first_frame_is_awaited_so_long() {
    for mode in ["fault/hang", "fault/hang-after-headers"] {
        let error = check("first_frame: 400ms", 400, chat_stream(mode)).await.envelope();
        assert!(error.is(504, "server_error", "upstream_timeout"), "{mode}: {error:?}");
        assert!(error.message.contains("400ms"), "{error:?}");
    }
}

#[tokio::test]
async fn a_pause_may_last_so_long() {
    let error = of_stream(&check("idle: 400ms", 400, chat_stream("fault/stall")).await);
    assert!(error.is(0, "server_error", "upstream_timeout"), "{error:?}");
    let error = check("idle: 400ms", 400, chat("fault/stall")).await.envelope();
    assert!(error.is(504, "server_error", "upstream_timeout"), "{error:?}");
    // Pauses that are shorter add up to more, and are allowed.
    let answer = check("idle: 2s", 2700, chat_stream("fault/slow-300+tokens-10")).await;
    assert!(Stream { text: answer.text() }.is_done(), "{}", answer.text());
}

#[tokio::test]
async fn an_answer_may_take_so_long_in_all() {
    for mode in ["fault/hang", "fault/stall", "fault/slow-60000"] {
        let error = check("total: 400ms", 400, chat(mode)).await.envelope();
        assert!(error.is(504, "server_error", "upstream_timeout"), "{mode}: {error:?}");
    }
    let error = check("total: 400ms", 400, chat_stream("fault/hang")).await.envelope();
    assert!(error.is(504, "server_error", "upstream_timeout"), "{error:?}");
    for mode in ["fault/stall", "fault/slow-20+tokens-5000"] {
        let error = of_stream(&check("total: 400ms", 400, chat_stream(mode)).await);
        assert!(error.is(0, "server_error", "upstream_timeout"), "{mode}: {error:?}");
    }
}

#[tokio::test]
async fn a_client_that_says_how_long_it_waits_is_not_kept_longer() {
    let world = World::new();
    let mock = world.mock(&[]);
    let gateway = world.gateway(&format!("backends: [{{name: only, url: '{}'}}]", mock.url()));
    let url = format!("{}/v1/chat/completions", gateway.url());
    let asked = Instant::now();
    let sent = request(&url, chat("fault/hang")).header("x-stainless-read-timeout", "1");
    let error = Answer::of(send(sent).await).await.envelope();
    assert!(error.is(504, "server_error", "upstream_timeout"), "{error:?}");
    assert!(asked.elapsed() < LATE, "after {:?}", asked.elapsed());
    assert!(
        eventually(LATE, || mock.inflight() == 0).await,
        "the upstream works for nobody"
    );
}

#[tokio::test]
async fn a_connection_is_awaited_so_long() {
    // A listener whose queue is full answers no further handshake.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let listener = socket.listen(1).expect("it can listen");
    let address = listener.local_addr().expect("it is bound");
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queued.push(stream);
        assert!(queued.len() < 64, "the queue does not fill");
    }
    let world = World::new();
    let other = world.mock(&[]);
    let deaf =
        format!("{{name: deaf, url: 'http://{address}', timeouts: {{connect: 400ms}}, health: {{enabled: false}}}}");
    let gateway = world.gateway(&format!("backends: [{deaf}]"));
    let asked = Instant::now();
    let error = Answer::of(post(&format!("{}/v1/chat/completions", gateway.url()), chat("mock")).await)
        .await
        .envelope();
    let took = asked.elapsed();
    assert!(error.is(502, "server_error", "upstream_connect_error"), "{error:?}");
    assert!(
        (Duration::from_millis(400)..Duration::from_millis(400) + LATE).contains(&took),
        "after {took:?}"
    );

    let gateway = world.gateway(&format!("backends: [{deaf}, {{name: other, url: '{}'}}]", other.url()));
    let answer = Answer::of(post(&format!("{}/v1/chat/completions", gateway.url()), chat("mock")).await).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-mulberry-backend")),
        (200, "other"),
        "{}",
        answer.text()
    );
    drop((queued, listener));
}
