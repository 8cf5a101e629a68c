//! As a worker serves: HTTP/2 with the roles turned, evidence in its control stream, prompts in the others.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use attestation::{Role, Tier};
use attestation_ratls::{
    Connection, Endpoint,
    channel::{BadLine, Binder, Cut, Footing, MAX_LINE, Message, Outgoing},
};
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Bytes, Frame, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
};

use crate::world::{Soft, World, draft, endpoint, guest, image, meet, policy};

const STREAMS: usize = 50;
const CONTROL: &str = "/control";

/// A body of what is put into a queue; open as long as the queue is.
struct Queue(mpsc::Receiver<Bytes>);

impl Body for Queue {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|bytes| Some(Ok(Frame::data(bytes?))))
    }
}

/// A binder whose messages are lines of a request and its response.
fn speak(binder: Binder, hears: impl Future<Output = Incoming> + Send + 'static) -> (Queue, JoinHandle<Cut>) {
    let (says, said) = mpsc::channel(8);
    let (to_us, incoming) = mpsc::channel(1);
    let (outgoing, mut from_us) = mpsc::channel::<Outgoing>(8);
    tokio::spawn(async move {
        while let Some(Outgoing { message, written }) = from_us.recv().await {
            if says.send(message.to_line().into()).await.is_err() {
                return;
            }
            // Whoever waited may have stopped waiting.
            written.and_then(|written| written.send(()).ok());
        }
    });
    tokio::spawn(async move { hear(hears.await, to_us).await });
    (Queue(said), tokio::spawn(binder.run(incoming, outgoing)))
}

async fn hear(mut body: Incoming, to: mpsc::Sender<Result<Message, BadLine>>) {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        read.extend_from_slice(&frame.into_data().unwrap_or_default());
        assert!(read.len() <= MAX_LINE);
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = read.drain(..=end).collect();
            if to.send(Message::from_line(&line[..end])).await.is_err() {
                return;
            }
        }
    }
}

/// The worker's side: the server of the connection that it dialled.
fn serve(worker: &Endpoint, connection: Connection<TcpStream>) {
    let binder = worker.binder(&connection);
    let footing = binder.footing();
    let binder = Arc::new(Mutex::new(Some(binder)));
    // Answers that have begun and go on.
    let open: Arc<Mutex<Vec<mpsc::Sender<Bytes>>>> = Arc::default();
    let service = service_fn(move |request: Request<Incoming>| {
        let (binder, footing, open) = (Arc::clone(&binder), footing.clone(), Arc::clone(&open));
        async move {
            let (says, said) = mpsc::channel(1);
            let (status, body) = if request.uri().path() == CONTROL {
                let binder = binder.lock().unwrap().take().unwrap();
                let body = request.into_body();
                (StatusCode::OK, speak(binder, async { body }).0)
            } else if footing.borrow().ready().is_some() {
                says.send(Bytes::from_static(b"data: first\n\n")).await.unwrap();
                open.lock().unwrap().push(says);
                (StatusCode::OK, Queue(said))
            } else {
                (StatusCode::FORBIDDEN, Queue(said))
            };
            let response = Response::builder().status(status).body(body).unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    tokio::spawn(async move {
        let served = server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(connection), service)
            .await;
        // A connection that is cut is an error to whoever serves it.
        drop(served);
    });
}

type Sender = client::conn::http2::SendRequest<Queue>;

/// The gateway's side, before it has asked for anything.
struct Worker {
    sender: Sender,
    binder: Binder,
    footing: watch::Receiver<Footing>,
}

impl Worker {
    async fn connected(gateway: &Endpoint, worker: &Endpoint) -> Self {
        let (accepted, dialled) = meet(gateway, worker).await;
        serve(worker, dialled.unwrap());
        let connection = accepted.unwrap();
        let binder = gateway.binder(&connection);
        let footing = binder.footing();
        let (sender, driving) = client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(connection))
            .await
            .unwrap();
        tokio::spawn(async move { driving.await.ok() });
        Self {
            sender,
            binder,
            footing,
        }
    }

    async fn bound(self) -> (Sender, watch::Receiver<Footing>, JoinHandle<Cut>) {
        let Self {
            mut sender,
            binder,
            mut footing,
        } = self;
        let (tell, told) = tokio::sync::oneshot::channel();
        let (body, end) = speak(binder, async { told.await.unwrap() });
        let response = sender.send_request(request(CONTROL, body)).await.unwrap();
        tell.send(response.into_body()).unwrap();
        footing.wait_for(|footing| footing.ready().is_some()).await.unwrap();
        (sender, footing, end)
    }
}

fn request(path: &str, body: Queue) -> Request<Queue> {
    Request::post(format!("http://worker{path}")).body(body).unwrap()
}

/// One with nothing in it.
fn empty() -> Queue {
    Queue(mpsc::channel(1).1)
}

#[tokio::test]
async fn nothing_is_answered_before_the_verdicts() {
    let world = World::new(Tier::Tee);
    let mut worker = Worker::connected(&world.gateway, &world.worker).await;
    let early = worker.sender.send_request(request("/early", empty())).await.unwrap();
    assert_eq!(early.status(), StatusCode::FORBIDDEN);
    let (mut sender, _footing, _end) = worker.bound().await;
    // The worker's own verdict may be a moment later than ours.
    let answered = loop {
        let response = sender.send_request(request("/later", empty())).await.unwrap();
        if response.status() != StatusCode::FORBIDDEN {
            break response.status();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(answered, StatusCode::OK);
}

#[tokio::test]
async fn a_revoked_measurement_ends_its_streams_and_no_others() {
    let mut both = policy(Tier::Tee);
    let second = guest("worker-2");
    both.images.push(image("worker-2", second.td(), &[Role::Worker]));
    let mut without = both.clone();
    without.images.retain(|image| image.name != "worker");
    let worker = draft(Role::Worker, Some(Soft::honest(&guest("worker"))));
    let world = World::with(both, &worker);
    let other = draft(Role::Worker, Some(Soft::honest(&second)));
    let other = endpoint(&other, &world.trust, &world.clock);

    let (mut revoked, footing, end) = Worker::connected(&world.gateway, &world.worker).await.bound().await;
    let (mut kept, _footing, _end) = Worker::connected(&world.gateway, &other).await.bound().await;
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let mut body = begun(&mut revoked).await;
        // Ends with an error, never as if the answer were whole.
        streams.spawn(async move { body.frame().await.is_none_or(|frame| frame.is_ok()) });
    }
    let mut goes_on = begun(&mut kept).await;

    let began = Instant::now();
    world.trust.set_policy(without).unwrap();
    let ends = streams.join_all().await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(ends, [false; STREAMS]);
    assert_eq!(end.await.unwrap().code(), "image_unknown");
    assert!(footing.borrow().ready().is_none());
    assert!(revoked.send_request(request("/new", empty())).await.is_err());

    // The other answers, and what it was answering is neither ended nor broken.
    assert!(!begun(&mut kept).await.is_end_stream());
    let mut next = std::pin::pin!(goes_on.frame());
    let waits = std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await;
    assert!(waits);
}

/// An answer whose first frame has come.
async fn begun(sender: &mut Sender) -> Incoming {
    loop {
        let response = sender.send_request(request("/stream", empty())).await.unwrap();
        if response.status() == StatusCode::OK {
            let mut body = response.into_body();
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "data: first\n\n");
            return body;
        }
        tokio::task::yield_now().await;
    }
}
