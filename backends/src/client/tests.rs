use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper::rt::Executor as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;

/// A server that counts its connections and handles each by `serve`.
async fn server<F, Fut>(serve: F) -> (Client, Arc<AtomicUsize>)
where
    F: Fn(TcpStream, usize) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let number = count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(serve(stream, number));
        }
    });
    let target = Target::parse(&url).expect("a URL");
    let connector = Connector::new(target, HttpVersion::Auto, Duration::from_secs(5), None);
    (Client::new(connector, Duration::from_secs(30)), connections)
}

/// Reads one request without a body; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream) -> Option<()> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        seen.extend(byte);
    }
    Some(())
}

fn request() -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::Empty);
    *request.uri_mut() = "/x".parse().expect("a path");
    request
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const EMPTY: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";

#[tokio::test]
async fn a_connection_is_used_again_after_any_kind_of_body() {
    for answer in [ANSWER, EMPTY, CHUNKED] {
        let (client, connections) = server(move |mut stream, _| async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(answer).await.expect("the client reads");
            }
        })
        .await;
        for _ in 0..20 {
            let response = client.send(request(), true).await.expect("an answer");
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            assert!(body.is_empty() || body == "ok");
        }
        assert_eq!(
            connections.load(Ordering::SeqCst),
            1,
            "for {}",
            String::from_utf8_lossy(answer)
        );
    }
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_replaced() {
    let (client, connections) = server(|mut stream, _| async move {
        if read_request(&mut stream).await.is_some() {
            stream.write_all(ANSWER).await.expect("the client reads");
        }
    })
    .await;
    for _ in 0..50 {
        let response = client.send(request(), true).await.expect("an answer");
        response.into_body().collect().await.expect("a body");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 50);
}

#[tokio::test]
async fn the_race_with_a_closing_server_is_answered_by_a_fresh_connection() {
    // Reads the second request of the first connection and closes without an answer: what a race looks like.
    let (client, connections) = server(|mut stream, number| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(ANSWER).await.expect("the client reads");
            if number == 0 && read_request(&mut stream).await.is_some() {
                return;
            }
        }
    })
    .await;
    for _ in 0..3 {
        let response = client.send(request(), true).await.expect("an answer");
        response.into_body().collect().await.expect("a body");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_fresh_connection_that_drops_is_an_error() {
    let (client, _) = server(|mut stream, _| async move {
        read_request(&mut stream).await;
    })
    .await;
    assert!(matches!(client.send(request(), true).await, Err(SendError::Dropped(_))));
}

#[tokio::test]
async fn dropping_the_body_closes_the_connection() {
    let (closed, was_closed) = tokio::sync::oneshot::channel();
    let closed = Mutex::new(Some(closed));
    let closed = Arc::new(closed);
    let (client, _) = server(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
                .await
                .expect("the client reads");
            let end = stream.read(&mut [0]).await;
            let closed = closed.lock().expect("no panic holds it").take();
            closed
                .expect("one connection")
                .send(end.is_ok_and(|read| read == 0))
                .expect("the test waits");
        }
    })
    .await;
    let mut body = client.send(request(), true).await.expect("an answer").into_body();
    body.frame().await.expect("a frame").expect("data");
    drop(body);
    let was_closed = tokio::time::timeout(Duration::from_secs(5), was_closed).await;
    assert!(was_closed.expect("within five seconds").expect("an end"));
}

/// Every task of one connection, which the gateway ends together.
#[derive(Clone, Default)]
struct Crew(Arc<Mutex<Vec<tokio::task::AbortHandle>>>);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Crew {
    fn execute(&self, task: F) {
        let task = tokio::spawn(async move { drop(task.await) });
        self.0.lock().expect("no panic holds it").push(task.abort_handle());
    }
}

#[tokio::test]
async fn a_workers_connection_that_is_cut_is_not_the_fault_of_who_asked() {
    let (near, _far) = tokio::io::duplex(64 << 10);
    let crew = Crew::default();
    let (sender, connection) = http2::handshake(crew.clone(), TokioIo::new(near))
        .await
        .expect("it speaks first");
    crew.execute(connection);
    let client = Client::of_worker(Arc::new(Worker::new("box")));
    let asking = tokio::spawn(async move { client.send_over(Passage::new(sender), request()).await });
    tokio::task::yield_now().await;
    for task in crew.0.lock().expect("no panic holds it").drain(..) {
        task.abort();
    }
    let error = tokio::time::timeout(Duration::from_secs(60), asking)
        .await
        .expect("it hears of the end")
        .expect("it is asked")
        .map(drop)
        .expect_err("nobody answers");
    assert!(matches!(error, SendError::Dropped(_)), "{error:?}");
}
