//! A worker of our own making at the other end of HTTP/2: what it says behind its answers is heard, and harms nobody.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Incoming, client::conn::http2::SendRequest, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::mpsc;

use super::*;
use crate::{
    body::{BoxBody, Outgoing},
    client::{Answering, Client},
    serve::BoxError,
    worker::{Passage, Worker},
};

const SALT: [u8; 32] = [5; 32];
const SIGNER: Signer = Signer {
    key: [9; 32],
    claims: [8; 32],
    engine: None,
    models: None,
};

type Piece = Result<Frame<Bytes>, BoxError>;

fn data(text: &'static str) -> Piece {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers(pairs: &[(HeaderName, &'static str)]) -> Piece {
    let pairs = pairs.iter().cloned();
    let pairs = pairs.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok(Frame::trailers(pairs.collect()))
}

/// A worker that answers with these pieces, and a client on its connection.
struct Scene {
    client: Client,
    sender: SendRequest<Outgoing>,
    asked: mpsc::Receiver<(HeaderMap, Bytes)>,
}

impl Scene {
    async fn new(pieces: impl Fn() -> Vec<Piece> + Send + Sync + 'static) -> Self {
        Self::answering(move || BoxBody::new(StreamBody::new(futures_util::stream::iter(pieces())))).await
    }

    async fn answering(answer: impl Fn() -> BoxBody + Send + Sync + 'static) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (tell, asked) = mpsc::channel(16);
        let answer = Arc::new(answer);
        let service = service_fn(move |request: Request<Incoming>| {
            let (tell, answer) = (tell.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.expect("it comes whole").to_bytes();
                drop(tell.try_send((parts.headers, body)));
                Ok::<_, Infallible>(Response::new(answer()))
            }
        });
        tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(theirs), service));
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        Self {
            client: Client::of_worker(Arc::new(Worker::new("box"))),
            sender,
            asked,
        }
    }

    async fn ask(&self, body: Outgoing) -> (Arc<Trail>, Answering) {
        let trail = Arc::new(Trail::default());
        trail.ask_statements(SALT);
        let asking = trail.asking(SIGNER).expect("it was asked for");
        let mut request = Request::new(body);
        *request.method_mut() = http::Method::POST;
        let sent = self
            .client
            .send_to_worker(Passage::new(self.sender.clone()), request, Some(asking));
        (trail, sent.await.expect("an answer").into_body())
    }
}

fn of(body: &[u8]) -> Seen {
    let mut tally = Tally::new(&SALT);
    tally.update(body);
    tally.seen()
}

fn heard(trail: &Trail) -> Heard {
    match trail.take_word() {
        Word::Heard(heard) => *heard,
        other => panic!("the answer has ended: {other:?}"),
    }
}

#[tokio::test]
async fn a_statement_is_heard_and_not_passed_on() {
    let mut scene = Scene::new(|| vec![data("ans"), data("wer"), trailers(&[(STATEMENT, "said")])]).await;
    for upload in [false, true] {
        let body = if upload {
            let pieces = [data("ques"), data("tion")];
            Outgoing::upload(BoxBody::new(StreamBody::new(futures_util::stream::iter(pieces))))
        } else {
            Outgoing::whole(Bytes::from_static(b"question"))
        };
        let (trail, answer) = scene.ask(body).await;
        assert!(!answer.is_end_stream());
        let answer = answer.collect().await.expect("it is whole");
        assert!(answer.trailers().is_none(), "trailers are not for the client");
        assert_eq!(answer.to_bytes(), "answer");
        let heard = heard(&trail);
        assert_eq!((heard.request, heard.response), (of(b"question"), of(b"answer")));
        assert_eq!((heard.signer, heard.status, heard.is_cut), (SIGNER, 200, false));
        assert_eq!(heard.statement, Some(HeaderValue::from_static("said")));
        let (headers, body) = scene.asked.recv().await.expect("it was asked");
        assert_eq!(headers[STATEMENT], URL_SAFE_NO_PAD.encode(SALT));
        assert_eq!(body, "question");
    }
}

#[test]
fn who_has_no_key_is_not_asked() {
    let claims = |key: Option<[u8; 32]>| Claims {
        receipt_key: key.map(attestation::Hex),
        ..Claims::new(attestation::Role::Worker, [7; 32], 0, 60)
    };
    assert_eq!(Signer::of(&claims(None)), None);
    let signer = Signer::of(&claims(Some([1; 32]))).expect("it names a key");
    assert_eq!((signer.key, signer.engine, signer.models), ([1; 32], None, None));
    assert_ne!(
        Signer::of(&claims(Some([2; 32]))).expect("it names a key").claims,
        signer.claims
    );
    // Nor anybody where there is no receipt.
    let trail = Arc::new(Trail::default());
    assert!(trail.asking(signer).is_none());
    assert!(matches!(trail.take_word(), Word::Unasked));
}

#[tokio::test]
async fn an_answer_without_a_statement_is_heard_to_its_end() {
    let scene = Scene::new(|| vec![data("answer"), data("")]).await;
    let (trail, answer) = scene.ask(Outgoing::Empty).await;
    answer.collect().await.expect("it is whole");
    let heard = heard(&trail);
    assert_eq!(heard.statement, None);
    assert_eq!((heard.request, heard.response), (of(b""), of(b"answer")));
}

#[tokio::test]
async fn an_answer_that_the_worker_says_was_cut_is_not_whole() {
    let scene = Scene::new(|| vec![data("ans"), trailers(&[(STATEMENT, "said"), (ENDED, "cut")])]).await;
    let (trail, answer) = scene.ask(Outgoing::Empty).await;
    let error = answer.collect().await.expect_err("it broke off");
    assert!(error.to_string().contains("broke off"), "{error}");
    let heard = heard(&trail);
    assert!(heard.is_cut && heard.statement.is_some());
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_is_left_is_not_heard() {
    let (tell, told) = mpsc::channel::<Piece>(16);
    let told = Mutex::new(Some(told));
    let scene = Scene::answering(move || {
        let mut told = told
            .lock()
            .expect("no panic holds it")
            .take()
            .expect("it is asked once");
        BoxBody::new(StreamBody::new(futures_util::stream::poll_fn(move |cx| {
            told.poll_recv(cx)
        })))
    })
    .await;
    tell.try_send(data("ans")).expect("it is heard");
    let (trail, mut answer) = scene.ask(Outgoing::Empty).await;
    let begun = answer.frame().await.expect("it begins").expect("it is data");
    assert_eq!(begun.into_data().expect("it is data"), "ans");
    tell.try_send(Err("reset".into())).expect("it is heard");
    answer.frame().await.expect("not its end").expect_err("it is reset");
    assert!(matches!(trail.take_word(), Word::Open));

    let scene = Scene::new(|| vec![data("answer"), trailers(&[(STATEMENT, "said")])]).await;
    let (trail, answer) = scene.ask(Outgoing::Empty).await;
    drop(answer);
    assert!(matches!(trail.take_word(), Word::Open));
}

#[tokio::test]
async fn trailers_of_an_answer_that_nobody_asked_about_end_here() {
    let scene = Scene::new(|| vec![data("answer"), trailers(&[(STATEMENT, "said")])]).await;
    let mut request = Request::new(Outgoing::Empty);
    *request.method_mut() = http::Method::POST;
    let answer = scene
        .client
        .send_over(Passage::new(scene.sender.clone()), request)
        .await
        .expect("an answer");
    let answer = answer.into_body().collect().await.expect("it is whole");
    assert!(answer.trailers().is_none());
}

/// Streams, whose end is in their bytes and whose statement is behind it.
mod streams {
    use openapi::{
        endpoint::Protocol,
        stream::{Outcome, Reader},
    };

    use super::*;
    use crate::{
        answer::Events,
        breaker::BreakerConfig,
        clock::BodyClock,
        upstream::{Upstream, UpstreamParts},
    };

    const CHUNK: &str =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n";
    const DONE: &str = "data: [DONE]\n\n";
    const WHOLE: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    const LONG: Duration = Duration::from_secs(60);

    fn events(answer: Answering) -> Events {
        let now = std::time::Instant::now();
        let clock = BodyClock::new(LONG, now, LONG, now + LONG);
        let upstream = Arc::new(Upstream::new(UpstreamParts {
            name: "gpu/box".into(),
            mark: HeaderValue::from_static("gpu/1"),
            weight: 1,
            credential: None,
            host: HeaderValue::from_static("worker"),
            client: Client::of_worker(Arc::new(Worker::new("box"))),
            breaker: BreakerConfig {
                failures: 5,
                cooldown: LONG,
            },
            limit: None,
            freed: Arc::default(),
        }));
        let in_use = upstream.try_acquire().expect("there is no limit");
        let reader = Reader::new(Protocol::Chat, false, 1024 * 1024);
        Events::new(answer, reader, None, clock, in_use)
    }

    /// All bytes, those before the one batch that is the end, and how long that took.
    struct Read {
        text: String,
        before: String,
        took: Duration,
        trail: Arc<Trail>,
    }

    async fn read(scene: &Scene) -> Read {
        let (trail, answer) = scene.ask(Outgoing::whole(Bytes::from_static(b"q"))).await;
        let mut events = events(answer);
        let began = tokio::time::Instant::now();
        let (mut text, mut before) = (String::new(), String::new());
        loop {
            let batch = std::future::poll_fn(|cx| events.poll_next(cx)).await;
            let batch = batch.expect("an end comes first").expect("it is whole");
            text.push_str(str::from_utf8(&batch.bytes).expect("text"));
            match batch.outcome {
                None => before.clone_from(&text),
                Some(Outcome::Complete) => break,
                Some(other) => panic!("{other:?}"),
            }
        }
        let after = std::future::poll_fn(|cx| events.poll_next(cx)).await;
        assert!(after.is_none(), "it ends once");
        Read {
            text,
            before,
            took: began.elapsed(),
            trail,
        }
    }

    async fn stating(pieces: &'static [&'static str], behind: fn() -> Vec<Piece>) -> Scene {
        Scene::new(move || pieces.iter().map(|piece| data(piece)).chain(behind()).collect()).await
    }

    #[tokio::test]
    async fn the_end_waits_for_the_statement_and_what_is_before_does_not() {
        let said = || vec![trailers(&[(STATEMENT, "said")])];
        for pieces in [&[CHUNK, DONE][..], &[WHOLE]] {
            let scene = stating(pieces, said).await;
            let read = read(&scene).await;
            assert_eq!(read.text, pieces.concat());
            let heard = heard(&read.trail);
            assert_eq!(heard.response, of(pieces.concat().as_bytes()));
            assert!(heard.statement.is_some());
            if pieces.len() == 2 {
                assert!(read.before.starts_with(CHUNK), "only the word that it is over waits");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_never_states_keeps_the_end_for_two_seconds() {
        let scene = Scene::answering(|| {
            let pieces = futures_util::stream::iter([data(CHUNK), data(DONE)]);
            let open = futures_util::StreamExt::chain(pieces, futures_util::stream::pending());
            BoxBody::new(StreamBody::new(open))
        })
        .await;
        let read = read(&scene).await;
        assert_eq!(read.text, [CHUNK, DONE].concat());
        assert!((2..3).contains(&read.took.as_secs()), "{:?}", read.took);
        assert_eq!(
            heard(&read.trail).statement,
            None,
            "it is missing, by the worker's fault"
        );
    }

    #[tokio::test]
    async fn a_flood_behind_the_end_is_not_read() {
        let scene = stating(&[CHUNK, DONE], || {
            let flood = std::iter::repeat_with(|| data(": more\n\n")).take(10_000);
            flood.chain([trailers(&[(STATEMENT, "said")])]).collect()
        })
        .await;
        let read = read(&scene).await;
        assert_eq!(read.text, [CHUNK, DONE].concat());
        assert!(read.took < Duration::from_secs(2));
        assert_eq!(heard(&read.trail).statement, None);
    }
}
