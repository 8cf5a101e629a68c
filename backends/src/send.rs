//! Send: over the wire, under the clocks, and back as an answer or a failure.

use std::{
    future::{Future, poll_fn},
    marker,
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body::Body;
use openapi::{
    endpoint::{Endpoint, Protocol},
    error::ErrorBody,
    redact::Content,
    response::{self, Text, inspect},
    stream::{Reader, Watch},
};
use tokio::time::timeout_at;

use crate::{
    answer::{Answer, AnswerBody, Events, Raw, Whole},
    backend::Backend,
    balance::Placed,
    body::Outgoing,
    client::{Answering, ConnectError, SendError},
    clock::BodyClock,
    encode::Encoded,
    error::{AttemptError, Clock, Failure},
    headers,
    serve::{BoxError, Serve},
    statement::Asking,
    translation::Translation,
    upstream::InUse,
    worker::Passage,
};

/// An error body is read up to here.
const MAX_ERROR_BODY: usize = 64 * 1024;

/// The innermost of the floor.
#[derive(Debug, Clone, Copy)]
pub struct Send;

impl Serve<Encoded> for Send {
    type Response = Answer;

    async fn call(&self, encoded: Encoded) -> Result<Answer, BoxError> {
        let Encoded {
            verified,
            request,
            protocol,
            is_stream,
            hide_usage,
            translation,
        } = encoded;
        // The last look before bytes leave. Where it is refused nothing of the request was taken.
        let passage = verified.passage();
        let asking = verified.asking();
        let Placed { attempt, in_use } = verified.into_placed();
        let started = Instant::now();
        let backend = attempt.leg.backend;
        let by_clock = started + backend.clocks.total;
        let exchange = Exchange {
            started,
            deadline: attempt.deadline.map_or(by_clock, |deadline| deadline.min(by_clock)),
            endpoint: attempt.outbound.operation.endpoint,
            is_root_post: attempt.outbound.operation.is_root_post,
            backend,
            protocol,
            is_stream,
            hide_usage,
            translation,
            watch: attempt.watch,
            again: attempt.outbound.is_repeatable(),
        };
        let upstream = in_use.upstream().name.clone();
        let mut in_use = Some(in_use);
        let waiting = attempt.trail.wait();
        let answer = match passage {
            Ok(passage) => exchange.run(passage, asking, request, &mut in_use).await,
            Err(reason) => Err(Failure::Unverified(reason)),
        };
        drop(waiting);
        if let Ok(answer) = &answer {
            attempt.trail.answered(answer.status);
        }
        answer.map_err(|failure| {
            attempt.trail.failed(&failure);
            if let Some(mut in_use) = in_use {
                in_use.judge(&failure);
            }
            AttemptError {
                place: upstream,
                failure,
            }
            .into()
        })
    }
}

/// One request and its answer, with what is known of both before either begins.
struct Exchange {
    started: Instant,
    deadline: Instant,
    backend: Arc<Backend>,
    endpoint: Endpoint,
    is_root_post: bool,
    protocol: Protocol,
    is_stream: bool,
    hide_usage: bool,
    translation: Option<Box<Translation>>,
    watch: Watch,
    /// The upstream may see the request twice.
    again: bool,
}

impl Exchange {
    /// `in_use` is taken into the answer's body when there is one, and stays for the caller to judge when not.
    /// `passage`: the connection of a worker. `asking`: where it is to state what it answers.
    async fn run(
        &self,
        passage: Option<Passage>,
        asking: Option<Asking>,
        request: Request<Outgoing>,
        in_use: &mut Option<InUse>,
    ) -> Result<Answer, Failure> {
        let upstream = in_use
            .as_ref()
            .map(|in_use| in_use.upstream().clone())
            .ok_or(Failure::QueueFull)?;
        let sent = async {
            let answer = match passage {
                // In a box, so that requests to other upstreams have no room for it.
                Some(passage) => Box::pin(upstream.client.send_to_worker(passage, request, asking)).await,
                None => upstream.client.send(request, self.again).await,
            };
            answer.map_err(from_send)
        };
        let due = match self.is_stream {
            true => self.first_frame_due(),
            false => self.deadline,
        };
        let response = self.by(due, pin!(sent)).await?;
        let (mut parts, body) = response.into_parts();
        if upstream.worker().is_some() {
            parts.headers = headers::from_worker(&parts.headers);
        }
        if !parts.status.is_success() {
            return Err(Box::pin(self.refusal(parts.status, &parts.headers, body)).await);
        }
        let body = match self.reading(&parts.headers) {
            Reading::Events => self.events(body, in_use).await?,
            Reading::Whole => {
                let whole = self.whole(parts.status, body).await?;
                in_use.take().iter_mut().for_each(InUse::succeeded);
                AnswerBody::Whole(whole)
            }
            // Nobody can translate what cannot be read.
            Reading::Raw if self.translation.is_some() => return Err(Failure::NotJson(parts.status)),
            Reading::Raw => {
                let mut in_use = in_use.take().ok_or(Failure::QueueFull)?;
                if body.is_end_stream() {
                    // Nobody polls a body that is over.
                    in_use.succeeded();
                }
                AnswerBody::Raw(Raw::new(body, self.body_clock(), in_use))
            }
        };
        upstream.latency.note(self.started.elapsed());
        Ok(Answer {
            upstream: upstream.name.clone(),
            backend: self.backend.name.clone(),
            status: parts.status,
            headers: headers::to_client(parts.headers),
            body,
        })
    }

    /// How an answer of this content type is read.
    fn reading(&self, headers: &HeaderMap) -> Reading {
        let is_json = headers::is_content_type(headers, "application/json");
        // Compressed although we did not ask: pass it as it is rather than guess.
        let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        let is_readable = encoding.is_none_or(|encoding| encoding.eq_ignore_ascii_case(b"identity"));
        // Who asked for a whole answer cannot read a stream; who asked for something else than an answer may.
        let may_stream = self.is_stream || !self.is_root_post;
        let is_event_stream = may_stream && headers::is_content_type(headers, "text/event-stream");
        let is_page = headers::is_content_type(headers, "text/html");
        match self.protocol {
            _ if !is_readable => Reading::Raw,
            Protocol::Opaque if self.is_root_post && is_json => Reading::Whole,
            Protocol::Opaque => Reading::Raw,
            // Servers that mislabel their stream still stream: the request decides, JSON and pages apart.
            Protocol::Chat | Protocol::Responses | Protocol::Messages
                if is_event_stream || (self.is_stream && !is_json && !is_page) =>
            {
                Reading::Events
            }
            Protocol::Chat | Protocol::Responses | Protocol::Messages if self.is_root_post || is_json => Reading::Whole,
            Protocol::Chat | Protocol::Responses | Protocol::Messages => Reading::Raw,
        }
    }

    async fn events(&self, body: Answering, in_use: &mut Option<InUse>) -> Result<AnswerBody, Failure> {
        let reader = Reader::new(self.protocol, self.hide_usage, self.backend.max_event).watching(self.watch);
        let in_use = in_use.take().ok_or(Failure::QueueFull)?;
        let interpreter = self.translation.as_ref().map(|way| Box::new(way.stream()));
        let mut rest = Box::new(Events::new(body, reader, interpreter, self.body_clock(), in_use));
        let first = self.by(self.first_frame_due(), pin!(rest.first())).await;
        match first {
            Ok(first) => Ok(AnswerBody::Events { first, rest }),
            // Our clock, perhaps, and not the stream's own: then nobody has judged yet.
            Err(failure) => Err(rest.fail(failure)),
        }
    }

    async fn whole(&self, status: StatusCode, body: Answering) -> Result<Whole, Failure> {
        let bytes = self
            .by(self.deadline, pin!(self.collect(body, self.backend.max_answer)))
            .await?;
        let mut bytes = bytes.map_err(|limit| Failure::TooLarge { limit })?;
        if let Some(translation) = &self.translation {
            bytes = translation.read(status, bytes)?;
        }
        match inspect(&bytes) {
            response::Answer::Good { usage, text } => Ok(Whole {
                bytes: Content::new(match &self.translation {
                    Some(translation) => translation.tell(status, bytes)?,
                    None => bytes,
                }),
                usage,
                text,
            }),
            response::Answer::Error(error) => Err(Failure::Disguised(error)),
            // Embeddings and the like may be arrays on some engines; only what must be an object is held to it.
            response::Answer::NotJson if self.endpoint.is_inference() => Err(Failure::NotJson(status)),
            response::Answer::NotJson => Ok(Whole {
                bytes: Content::new(bytes),
                usage: None,
                text: Text::default(),
            }),
        }
    }

    async fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: Answering) -> Failure {
        let collected = self.by(self.deadline, pin!(self.collect(body, MAX_ERROR_BODY))).await;
        let body = match collected {
            Ok(Ok(body)) => body,
            Ok(Err(_)) => Bytes::new(),
            Err(failure) => return failure,
        };
        // Some providers have other numbers for what OpenAI has a number for.
        let spoken = self.backend.kind.dialect().and_then(|dialect| {
            let (status, error) = dialect.error(status.as_u16(), &body)?;
            Some((StatusCode::from_u16(status).ok()?, error))
        });
        let status = spoken.as_ref().map_or(status, |(status, _)| *status);
        if matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN
        ) {
            return Failure::Credentials(status);
        }
        // RFC 9110 section 15: there is no class beyond 5.
        let is_status = !status.is_redirection() && status.as_u16() < 600;
        let error = spoken.map(|(_, error)| error);
        match error.or_else(|| ErrorBody::from_upstream(&body)) {
            Some(error) if is_status => Failure::Status {
                status,
                error,
                headers: Box::new(headers::retry_hints(headers)),
            },
            _ if status.is_client_error() => {
                let error = ErrorBody::new(
                    "invalid_request_error",
                    "upstream_error",
                    format!("The upstream answered {status} without a reason."),
                );
                Failure::Status {
                    status,
                    error,
                    headers: Box::new(headers::retry_hints(headers)),
                }
            }
            _ => Failure::NotJson(status),
        }
    }

    /// The body in one piece; `Ok(Err)` when it grows past the limit. A body of one frame is not copied.
    async fn collect(&self, mut body: Answering, limit: usize) -> Result<Result<Bytes, usize>, Failure> {
        let mut clock = self.body_clock();
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        loop {
            let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
                std::task::Poll::Ready(frame) => std::task::Poll::Ready(Ok(frame)),
                std::task::Poll::Pending => clock.poll(cx).map(Err),
            });
            let frame = frame.await.map_err(Failure::Timeout)?;
            let Some(frame) = frame.transpose().map_err(Failure::Body)? else {
                break;
            };
            let Ok(data) = frame.into_data() else { continue };
            clock.touch().map_err(Failure::Timeout)?;
            if first.len() + rest.len() + data.len() > limit {
                return Ok(Err(limit));
            }
            if first.is_empty() {
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        if rest.is_empty() {
            return Ok(Ok(first));
        }
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        Ok(Ok(whole.freeze()))
    }

    fn body_clock(&self) -> BodyClock {
        BodyClock::new(
            self.backend.clocks.idle,
            self.started,
            self.backend.clocks.total,
            self.deadline,
        )
    }

    fn first_frame_due(&self) -> Instant {
        (self.started + self.backend.clocks.first_frame).min(self.deadline)
    }

    /// Pinned by the caller: whatever is handed in would be here twice.
    async fn by<T>(
        &self,
        due: Instant,
        work: Pin<&mut (impl Future<Output = Result<T, Failure>> + marker::Send)>,
    ) -> Result<T, Failure> {
        match timeout_at(due.into(), work).await {
            Ok(done) => done,
            Err(_) if due == self.deadline => Err(self.total_timeout()),
            Err(_) => Err(Failure::Timeout(Clock::FirstFrame(self.backend.clocks.first_frame))),
        }
    }

    fn total_timeout(&self) -> Failure {
        let total: Duration = self.deadline.saturating_duration_since(self.started);
        Failure::Timeout(Clock::Total(total))
    }
}

enum Reading {
    Events,
    Whole,
    Raw,
}

fn from_send(error: SendError) -> Failure {
    match error {
        SendError::Connect(ConnectError::Timeout(after)) => Failure::Timeout(Clock::Connect(after)),
        SendError::Connect(error) => Failure::Connect(error),
        SendError::Dropped(error) => Failure::Dropped(error),
        SendError::Protocol(error) => Failure::Protocol(error),
        SendError::Upload(error) => Failure::Upload(error),
        SendError::Unmet(reason) => Failure::Unverified(reason),
    }
}
