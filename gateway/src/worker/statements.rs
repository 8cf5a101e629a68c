//! Statements: what this worker signs about each answer that it is asked to state, and the key that it signs with.
//!
//! Bodies are hashed as they pass, with the salt that the gateway sent, and nothing of them is kept but the last
//! [`TAIL`] bytes of an answer, in which engines say the usage.
//! A statement is sent as a trailer, also when the engine broke off: then it says so, and so does a trailer of its own.
//! Without a salt there is none, and a gateway that resets the stream gets none: nobody is there to read it.

use std::{
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use backends::{
    body::BoxBody,
    serve::BoxError,
    statement::{CUT, ENDED, Passing, STATEMENT, Signer, Tallied, Tally},
};
use billing::{
    Usage,
    receipt::{
        PublicKey, SigningKey,
        statement::{Ended, Exchange, Statement},
    },
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use openapi::{endpoint::Protocol, usage::WireUsage};

use crate::{
    receipts::key::{self, KeyError},
    statement,
    wall_clock::unix_seconds,
};

/// The end of an answer, in which the usage is looked for.
pub(super) const TAIL: usize = 4096;

/// Signs the statements of one worker.
#[derive(Debug)]
pub(crate) struct Statements {
    key: Arc<SigningKey>,
}

impl Statements {
    /// The key that is kept beside the worker's own, made if there is none: of a worker that is known by its key.
    pub(crate) fn beside(worker_key: &Path) -> Result<Self, KeyError> {
        let key = key::read_or_make(&worker_key.with_extension("statements.key"))?;
        Ok(Self { key: Arc::new(key) })
    }

    /// Of a guest, whose evidence names the key and whose disk is somebody else's: it lives as long as the process.
    pub(crate) fn fresh() -> Result<Self, KeyError> {
        Ok(Self {
            key: Arc::new(key::fresh()?),
        })
    }

    /// For the worker's claims.
    pub(crate) fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// What is to be stated of an exchange that begins now; `None` where nobody asks. `shown`: what the connection's
    /// certificate says of us.
    pub(super) fn asked(&self, headers: &HeaderMap, shown: Signer) -> Option<Stating> {
        let salt = headers.get(STATEMENT).and_then(statement::read_salt)?;
        // By another key it would be no statement of ours.
        let is_ours = shown.key == *self.public().as_bytes();
        is_ours.then(|| Stating {
            key: self.key.clone(),
            shown,
            started_at: unix_seconds(),
            request: Passing::new(&salt),
            response: Tally::new(&salt),
        })
    }
}

/// A statement in the making.
pub(super) struct Stating {
    key: Arc<SigningKey>,
    shown: Signer,
    started_at: u64,
    request: Passing,
    response: Tally,
}

impl Stating {
    /// The request on its way to the engine.
    pub(super) fn request(&self, body: BoxBody) -> BoxBody {
        BoxBody::new(Tallied::new(body, self.request.clone()))
    }

    /// The answer on its way to the gateway, with the statement behind it. `protocol`: how it is written.
    pub(super) fn response(self, body: BoxBody, status: StatusCode, protocol: Protocol) -> BoxBody {
        // Anthropic's wire says usage in two places, of which the last is not all.
        let tail = (protocol != Protocol::Messages).then(|| Vec::with_capacity(TAIL));
        BoxBody::new(Stated {
            body,
            making: Some((self, status)),
            tail,
        })
    }

    fn trailers(self, status: StatusCode, ended: Ended, usage: Option<Usage>) -> HeaderMap {
        let statement = Statement {
            exchange: Exchange {
                request: statement::seen(self.request.seen()),
                response: statement::seen(self.response.seen()),
                status: status.as_u16(),
                ended,
                claims: self.shown.claims,
                engine: self.shown.engine,
                models: self.shown.models,
            },
            started_at: self.started_at,
            ended_at: unix_seconds(),
            usage,
        };
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(STATEMENT, statement::write(&statement.sign(&self.key)));
        if ended == Ended::Cut {
            trailers.insert(ENDED, CUT);
        }
        trailers
    }
}

/// An answer that ends with a statement.
struct Stated {
    body: BoxBody,
    /// `None` once it was made.
    making: Option<(Stating, StatusCode)>,
    tail: Option<Vec<u8>>,
}

/// Keeps the last bytes of what has passed.
pub(super) fn keep(tail: &mut Vec<u8>, data: &[u8]) {
    let new = data.get(data.len().saturating_sub(TAIL)..).unwrap_or_default();
    let surplus = (tail.len() + new.len()).saturating_sub(TAIL);
    tail.drain(..surplus);
    tail.extend_from_slice(new);
}

impl Body for Stated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some((stating, _)) = &mut this.making else {
            return Poll::Ready(None);
        };
        let ended = loop {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // An engine's own trailers are nobody's.
                    if let Ok(data) = frame.into_data() {
                        stating.response.update(&data);
                        if let Some(tail) = &mut this.tail {
                            keep(tail, &data);
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "the engine broke off; its answer is stated as cut");
                    break Ended::Cut;
                }
                None => break Ended::Whole,
            }
        };
        let usage = this.tail.as_deref().and_then(last_usage);
        let made = this.making.take();
        let trailers = made.map(|(stating, status)| stating.trailers(status, ended, usage));
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.making.is_none()
    }

    /// None is told: a length would be a promise, and an answer that breaks off would break it before it is stated.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The last usage that the end of an answer tells. Within a text the quotes would be escaped, so that no words of a model
/// pass for it.
pub(super) fn last_usage(tail: &[u8]) -> Option<Usage> {
    const NAME: &[u8] = b"\"usage\":";
    let at = memchr::memmem::rfind(tail, NAME)?;
    let value = tail.get(at + NAME.len()..)?.trim_ascii_start();
    // What else could be read as one is not what engines say.
    if value.first() != Some(&b'{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_slice(value).into_iter::<Option<WireUsage>>();
    let usage = values.next()?.ok()??;
    Some(Usage::from_totals(
        usage.prompt.min(Usage::MOST),
        usage.cached,
        usage.completion.min(Usage::MOST),
        usage.reasoning,
    ))
}

#[cfg(test)]
mod tests {
    use backends::body::BoxBody;
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use billing::receipt::statement::salt;
    use http::HeaderValue;
    use http_body_util::{BodyExt as _, Empty, Full, StreamBody};

    use super::*;

    const SALT: [u8; 32] = [5; 32];

    fn asking() -> HeaderMap {
        let mut headers = HeaderMap::new();
        let salt = HeaderValue::from_str(&URL_SAFE_NO_PAD.encode(SALT)).expect("base64url");
        headers.insert(STATEMENT, salt);
        headers
    }

    fn full(bytes: &'static [u8]) -> BoxBody {
        Full::new(Bytes::from_static(bytes))
            .map_err(|never| match never {})
            .boxed_unsync()
    }

    fn of(body: &[u8]) -> billing::receipt::statement::Seen {
        let mut tally = Tally::new(&SALT);
        tally.update(body);
        statement::seen(tally.seen())
    }

    fn shown(statements: &Statements) -> Signer {
        Signer {
            key: *statements.public().as_bytes(),
            claims: [3; 32],
            engine: Some([4; 32]),
            models: None,
        }
    }

    /// What the gateway receives: the bytes, the statement, and whether it is told that they were cut.
    async fn exchange(asked: &'static [u8], answer: BoxBody) -> (Bytes, Statement, bool) {
        let statements = Statements::fresh().expect("random bytes");
        let stating = statements.asked(&asking(), shown(&statements)).expect("it is asked");
        stating.request(full(asked)).collect().await.expect("it passes");
        let answer = stating.response(answer, StatusCode::OK, Protocol::Chat);
        let received = answer.collect().await.expect("trailers end it");
        let trailers = received.trailers().expect("they are there").clone();
        let signed = statement::read(&trailers[STATEMENT]).expect("a statement");
        let says = signed.verify(&statements.public()).expect("its own");
        (received.to_bytes(), says, trailers.get(ENDED) == Some(&CUT))
    }

    #[tokio::test]
    async fn what_passed_is_stated() {
        let answer = b"{\"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 2}, \"id\": 1}";
        let (received, says, is_cut) = exchange(b"question", full(answer)).await;
        assert_eq!(received, &answer[..]);
        let Exchange {
            request,
            response,
            status,
            ended,
            claims,
            engine,
            models,
        } = says.exchange;
        assert_eq!((request, response), (of(b"question"), of(answer)));
        assert_eq!((status, ended, is_cut), (200, Ended::Whole, false));
        assert_eq!((claims, engine, models), ([3; 32], Some([4; 32]), None));
        assert_eq!(says.usage, Some(Usage::from_totals(3, 0, 2, 0)));
        assert!(says.started_at <= says.ended_at);
        let (_, says, _) = exchange(b"", Empty::new().map_err(|never| match never {}).boxed_unsync()).await;
        assert_eq!((says.exchange.request, says.exchange.response), (of(b""), of(b"")));
        assert_eq!(says.usage, None);
    }

    #[tokio::test]
    async fn an_engine_that_breaks_off_is_stated_as_cut() {
        let frames = [
            Ok(Frame::data(Bytes::from_static(b"data: {}\n\n"))),
            Err(BoxError::from("reset")),
        ];
        let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
        let (received, says, is_cut) = exchange(b"q", body).await;
        assert_eq!(received, "data: {}\n\n");
        assert_eq!((says.exchange.ended, is_cut), (Ended::Cut, true));
        assert_eq!(says.exchange.response, of(b"data: {}\n\n"));
    }

    #[test]
    fn nobody_asks_without_a_salt() {
        let statements = Statements::fresh().expect("random bytes");
        let shown = shown(&statements);
        assert!(statements.asked(&asking(), shown).is_some());
        assert!(statements.asked(&HeaderMap::new(), shown).is_none());
        let mut headers = asking();
        headers.insert(STATEMENT, HeaderValue::from_static("AAAA"));
        assert!(statements.asked(&headers, shown).is_none());
        let other = Statements::fresh().expect("random bytes");
        assert!(
            other.asked(&asking(), shown).is_none(),
            "the certificate names another key"
        );
        assert_ne!(statements.public(), other.public());
        assert_ne!(salt(&SALT), SALT);
    }

    #[test]
    fn the_last_usage_is_read_where_it_is_plain() {
        let check = |tail: &str, expect: Option<(u64, u64)>| {
            let read = last_usage(tail.as_bytes()).map(|usage| (usage.prompt, usage.completion));
            assert_eq!(read, expect, "{tail}");
        };
        let usage = r#""usage":{"prompt_tokens":7,"completion_tokens":5}"#;
        check(&format!("data: {{{usage}}}\n\ndata: [DONE]\n\n"), Some((7, 5)));
        check(&format!("data: {{\"usage\":null}}\n\ndata: {{{usage}}}"), Some((7, 5)));
        check(&format!("{{{usage}}}\n{{\"usage\":null}}"), None);
        check(r#"{"content":"\"usage\":{\"prompt_tokens\":9}"}"#, None);
        check(r#"{"usage":{"prompt_tokens":7,"comp"#, None);
        check(r#"{"usage":[]}"#, None);
        check("", None);
    }

    #[test]
    fn usage_is_found_across_pieces() {
        let mut tail = Vec::new();
        keep(&mut tail, &[b'x'; TAIL + 7]);
        keep(&mut tail, b"\"usage\":{\"prompt_tokens\":1,");
        keep(&mut tail, b"\"completion_tokens\":2}");
        assert_eq!(tail.len(), TAIL);
        assert_eq!(last_usage(&tail), Some(Usage::from_totals(1, 0, 2, 0)));
    }
}
