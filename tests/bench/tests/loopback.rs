//! The generator against the upstream, without a proxy: what it counts, and what it refuses to count.

use std::net::SocketAddr;
use std::time::Duration;

use bench::load::{self, Job, Name, Shape};
use bench::question::{Address, Pace, Question};
use bench::run::{Kind, Run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

const WINDOW: Duration = Duration::from_secs(2);
const WARM_UP: Duration = Duration::from_millis(50);

fn job(address: SocketAddr, path: &str, shape: Shape, pace: Option<Pace>) -> Job {
    let address = Address::parse(&format!("http://{address}{path}")).expect("a url");
    let question = Question::new(&address, Some("sk-x"), "mock-model", 700, pace);
    Job {
        address,
        question,
        shape,
        warm_up: WARM_UP,
        window: WINDOW,
        pid: Some(std::process::id()),
        name: Name {
            scenario: "test".to_owned(),
            target: "direct".to_owned(),
            round: 0,
        },
    }
}

async fn against_upstream(path: &str, shape: Shape, pace: Option<Pace>) -> Run {
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = bench::upstream::bind(any_port).expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    let tasks = LocalSet::new();
    tasks.spawn_local(bench::upstream::serve(listener));
    tasks
        .run_until(load::run(job(address, path, shape, pace)))
        .await
        .expect("we can read ourselves")
}

/// A server that answers every request with these bytes and closes.
async fn against(answer: &'static str, pace: Option<Pace>) -> Run {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has ports");
    let address = listener.local_addr().expect("it is bound");
    let tasks = LocalSet::new();
    tasks.spawn_local(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if socket.read(&mut request).await.is_ok() {
                drop(socket.write_all(answer.as_bytes()).await);
            }
        }
    });
    let shape = Shape::Closed { connections: 1 };
    let job = job(address, "/v1/chat/completions", shape, pace);
    tasks.run_until(load::run(job)).await.expect("we can read ourselves")
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_closed_loop_counts_requests_and_cpu() {
    let run = against_upstream(CHAT, Shape::Closed { connections: 4 }, None).await;
    assert_eq!((run.kind, run.errors), (Kind::Closed, 0), "{:?}", run.faults);
    assert!(run.requests > 20, "{run:?}");
    assert_eq!(run.latency_us.as_ref().map(|latency| latency.count), Some(run.requests));
    let cpu = run.cpu.expect("a process was named");
    assert!(cpu.us_per_request.expect("requests were answered") > 1.0);
}

#[tokio::test]
async fn a_paced_run_keeps_its_rate() {
    let run = against_upstream(CHAT, Shape::Paced { rate: 200 }, None).await;
    assert_eq!((run.kind, run.errors), (Kind::Paced, 0), "{:?}", run.faults);
    let rate = run.requests as f64 / run.seconds;
    assert!((120.0..=280.0).contains(&rate), "{rate}");
}

#[tokio::test]
async fn streams_count_chunks_and_gaps() {
    let pace = Pace {
        chunks: 10,
        delay_us: 10_000,
    };
    let run = against_upstream(CHAT, Shape::Closed { connections: 2 }, Some(pace)).await;
    assert_eq!((run.kind, run.errors), (Kind::Streams, 0), "{:?}", run.faults);
    let gap = run.gap_us.expect("chunks followed chunks");
    assert!(gap.p50 > 5_000.0, "{gap:?}");
    assert!(run.ttft_us.is_some() && run.chunks > 10);
}

#[tokio::test]
async fn held_streams_are_measured_while_open() {
    let pace = Pace {
        chunks: 12,
        delay_us: 200_000,
    };
    let run = against_upstream(CHAT, Shape::Hold { streams: 20 }, Some(pace)).await;
    assert_eq!((run.kind, run.errors), (Kind::Hold, 0), "{:?}", run.faults);
    assert!(run.rss_mb_per_1000_streams.is_some());
}

#[tokio::test]
async fn streams_that_end_before_memory_is_read_are_an_error() {
    let pace = Pace { chunks: 1, delay_us: 0 };
    let run = against_upstream(CHAT, Shape::Hold { streams: 5 }, Some(pace)).await;
    assert_eq!(
        run.faults.get("stream ended before it was measured"),
        Some(&1),
        "{:?}",
        run.faults
    );
    assert_eq!(run.rss_mb_per_1000_streams, None);
}

#[tokio::test]
async fn a_refusal_is_not_a_request() {
    let run = against_upstream("/v1/elsewhere", Shape::Closed { connections: 1 }, None).await;
    assert_eq!((run.requests, run.latency_us), (0, None));
    assert!(run.faults.contains_key("status 404"), "{:?}", run.faults);
}

#[tokio::test]
async fn an_empty_200_is_an_error() {
    let unary = against("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", None).await;
    assert_eq!(unary.requests, 0);
    assert!(
        unary.faults.contains_key("not the JSON of a chat completion"),
        "{:?}",
        unary.faults
    );
    let pace = Some(Pace { chunks: 3, delay_us: 0 });
    let stream = against("HTTP/1.1 200 OK\r\n\r\ndata: [DONE]\n\n", pace).await;
    assert_eq!((stream.requests, stream.chunks), (0, 0));
    assert!(stream.faults.contains_key("chunks missing"), "{:?}", stream.faults);
}
