//! The one table from error to envelope. Nothing else in the program knows the status of an error.
//!
//! `docs/errors.md` has the same rows.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use backends::{
    body::BoxBody,
    error::{AttemptError, Clock, Failure},
    serve::BoxError,
    verdict::Reason,
};
use billing::{AccountId, Currency, Level, Nano, Window, channel::x402};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use openapi::{dialect::messages, error::ErrorBody, request::RequestError, stream::Fault};

use crate::call::RequestId;
use crate::layers::{
    admit::Overloaded,
    authenticate::AuthenticateError,
    body_limit::TooLarge,
    catch_panic::Panicked,
    decode::DecodeError,
    failover::{FailoverError, ShuttingDown},
    idempotency::BadKey,
    reserve::CoverError,
    resolve::ResolveError,
    route::RouteError,
    throttle::Limited,
};
use crate::{
    connect::ForwardError,
    evidence::OwnError,
    ledger::{CaptureError, ReserveError},
    limiter::{Kind, LimitError},
    listener::attested::ChannelError,
    oidc::TokenError,
    payments::{PaymentError, PaymentRequired},
    pricing::PricingError,
    receipts::ReceiptsError,
    replays::TurnError,
    routes::{evidence::EvidenceError, pay::PageError},
};

mod sidecar;

/// Of a fault of ours the text is for the log.
const INTERNAL: &str = "The gateway failed to handle this request. Report the request id to its operator.";

/// An error as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) body: ErrorBody,
    pub(crate) headers: HeaderMap,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: ErrorBody::new(kind, code, message),
            headers: HeaderMap::new(),
        }
    }

    fn invalid(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, "invalid_request_error", code, message)
    }

    fn ours(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, "server_error", code, message)
    }

    fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.body = self.body.with_param(param);
        self
    }

    fn reasons(mut self, reasons: BTreeMap<&'static str, u32>) -> Self {
        self.body = self.body.with_reasons(reasons);
        self
    }

    fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// At most a minute: openai-node takes more for a mistake, and comes back in half a second.
    fn retry_after(self, after: Duration) -> Self {
        let millis = after.as_millis().min(60_000) as u64;
        self.header("retry-after", HeaderValue::from(millis.div_ceil(1000).max(1)))
            .header("retry-after-ms", HeaderValue::from(millis))
    }

    fn do_retry(self) -> Self {
        self.header("x-should-retry", HeaderValue::from_static("true"))
    }

    fn never_retry(self) -> Self {
        self.header("x-should-retry", HeaderValue::from_static("false"))
    }

    /// The code that metrics and records keep.
    pub(crate) fn code(&self) -> Option<&str> {
        self.body.code.as_deref()
    }

    /// `anthropic` is the id of a request whose client reads errors in Anthropic's shape.
    pub(crate) fn into_response(self, anthropic: Option<&RequestId>) -> Response<BoxBody> {
        let body = match anthropic {
            None => self.body.to_json(),
            Some(id) => messages::error(self.status.as_u16(), &self.body, id.as_str()),
        };
        let mut response = Response::new(full(body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// What the client is told of an error.
pub(crate) fn rescue(error: &BoxError) -> Refusal {
    if let Some(limited) = error.downcast_ref::<Limited>() {
        let mut refusal = rescue(&limited.error);
        limited.mark(&mut refusal.headers);
        return refusal;
    }
    if let Some(error) = error.downcast_ref::<LimitError>() {
        return from_limit(error);
    }
    if let Some(error) = error.downcast_ref::<FailoverError>() {
        return from_attempt(&error.last);
    }
    if let Some(error) = error.downcast_ref::<AuthenticateError>() {
        let forbidden = |code| Refusal::new(StatusCode::FORBIDDEN, "permission_error", code, error.to_string());
        return match error {
            AuthenticateError::Missing | AuthenticateError::Unknown | AuthenticateError::Expired { .. } => {
                Refusal::invalid(StatusCode::UNAUTHORIZED, "invalid_api_key", error.to_string())
                    .header("www-authenticate", HeaderValue::from_static("Bearer"))
            }
            AuthenticateError::Token(error) => from_token(error),
            AuthenticateError::Payment(error) => from_payment(error),
            AuthenticateError::Unpaid(error) => payment_required(error),
            AuthenticateError::Changing => ledger_unavailable(error.to_string()),
            AuthenticateError::ForeignHost => forbidden("foreign_host"),
            AuthenticateError::ForeignOrigin => forbidden("foreign_origin"),
        };
    }
    if let Some(error) = error.downcast_ref::<RouteError>() {
        return from_route(error);
    }
    if let Some(error) = error.downcast_ref::<DecodeError>() {
        return from_decode(error);
    }
    if let Some(error) = error.downcast_ref::<ReceiptsError>() {
        return from_receipts(error);
    }
    if let Some(error) = error.downcast_ref::<EvidenceError>() {
        return from_evidence(error);
    }
    if let Some(error) = error.downcast_ref::<TooLarge>() {
        return Refusal::invalid(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", error.to_string());
    }
    if let Some(error) = error.downcast_ref::<ResolveError>() {
        return match error {
            ResolveError::UnknownModel { .. } => {
                Refusal::invalid(StatusCode::NOT_FOUND, "model_not_found", error.to_string()).param("model")
            }
            ResolveError::ModelNotAllowed { .. } => Refusal::new(
                StatusCode::FORBIDDEN,
                "permission_error",
                "model_not_allowed",
                error.to_string(),
            )
            .param("model"),
            ResolveError::NoModelNamed { .. } | ResolveError::NotForChannels { .. } => Refusal::new(
                StatusCode::FORBIDDEN,
                "permission_error",
                "model_not_allowed",
                error.to_string(),
            ),
            ResolveError::MissingModel => {
                Refusal::invalid(StatusCode::BAD_REQUEST, "missing_required_parameter", error.to_string())
                    .param("model")
            }
            ResolveError::NotServed { .. } => {
                Refusal::invalid(StatusCode::NOT_FOUND, "unsupported_endpoint", error.to_string())
            }
        };
    }
    if let Some(error) = error.downcast_ref::<BadKey>() {
        return Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_value", error.to_string()).param("Idempotency-Key");
    }
    if let Some(error) = error.downcast_ref::<TurnError>() {
        return match error {
            TurnError::UnderWay => Refusal::invalid(StatusCode::CONFLICT, "idempotency_in_progress", error.to_string())
                .retry_after(Duration::from_secs(1))
                .do_retry(),
            TurnError::Reused => Refusal::invalid(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                error.to_string(),
            ),
        };
    }
    if let Some(error) = error.downcast_ref::<PaymentRequired>() {
        return payment_required(error);
    }
    if let Some(error) = error.downcast_ref::<PaymentError>() {
        return from_payment(error);
    }
    if let Some(error) = error.downcast_ref::<PageError>() {
        return from_pay(error);
    }
    if let Some(error) = error.downcast_ref::<CoverError>() {
        return from_cover(error);
    }
    if let Some(error) = error.downcast_ref::<ReserveError>() {
        return from_reserve(error);
    }
    if let Some(error) = error.downcast_ref::<CaptureError>() {
        return from_capture(*error);
    }
    if let Some(error) = error.downcast_ref::<ForwardError>() {
        return sidecar::from_forward(error);
    }
    if let Some(error) = error.downcast_ref::<ChannelError>() {
        return match error {
            ChannelError::Twice => Refusal::invalid(StatusCode::CONFLICT, "channel_open", error.to_string()),
            ChannelError::Unverified => Refusal::new(
                StatusCode::FORBIDDEN,
                "permission_error",
                "gateway_unverified",
                error.to_string(),
            ),
        };
    }
    if let Some(error) = error.downcast_ref::<Overloaded>() {
        return overloaded(error.to_string());
    }
    if error.is::<ShuttingDown>() {
        return Refusal::ours(
            StatusCode::SERVICE_UNAVAILABLE,
            "shutting_down",
            "The gateway is shutting down and could not finish this request. Retry.",
        )
        .retry_after(Duration::from_secs(1));
    }
    // What is left is a fault of ours.
    let code = if error.is::<Panicked>() {
        "panic"
    } else {
        "internal_error"
    };
    Refusal::ours(StatusCode::INTERNAL_SERVER_ERROR, code, INTERNAL)
}

fn from_token(error: &TokenError) -> Refusal {
    match error {
        TokenError::NoKeys => Refusal::ours(StatusCode::SERVICE_UNAVAILABLE, "issuer_unavailable", error.to_string())
            .retry_after(Duration::from_secs(5)),
        TokenError::TooMany => overloaded(error.to_string()),
        _ => Refusal::invalid(StatusCode::UNAUTHORIZED, "invalid_api_key", error.to_string()).header(
            "www-authenticate",
            HeaderValue::from_static("Bearer error=\"invalid_token\""),
        ),
    }
}

/// Money is missing, and this is how it can be paid. Whoever cannot read the header reads the message.
fn payment_required(error: &PaymentRequired) -> Refusal {
    let refusal = Refusal::new(
        StatusCode::PAYMENT_REQUIRED,
        "insufficient_quota",
        "payment_required",
        error.to_string(),
    )
    .never_retry();
    match error.header() {
        Some(value) => refusal.header(x402::REQUIRED, value),
        None => refusal,
    }
}

fn from_payment(error: &PaymentError) -> Refusal {
    let message = error.to_string();
    let unauthorized = |message| Refusal::invalid(StatusCode::UNAUTHORIZED, "invalid_payment", message);
    let refused = |message| {
        Refusal::new(
            StatusCode::PAYMENT_REQUIRED,
            "insufficient_quota",
            "channel_refused",
            message,
        )
        .never_retry()
    };
    let unavailable = |message| {
        Refusal::ours(StatusCode::SERVICE_UNAVAILABLE, "chain_unavailable", message).retry_after(Duration::from_secs(5))
    };
    match error {
        PaymentError::Off
        | PaymentError::Known
        | PaymentError::Unproved
        | PaymentError::Others
        | PaymentError::Voucher(_)
        | PaymentError::Access(_) => unauthorized(message),
        PaymentError::Header(_) | PaymentError::Payment(_) | PaymentError::Notice(_) => {
            Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_payment", message).param("PAYMENT-SIGNATURE")
        }
        PaymentError::Unwanted(_) | PaymentError::Ended | PaymentError::Used => refused(message),
        PaymentError::Unseen => unavailable(message),
        PaymentError::Chain(cause) if cause.may_pass() => unavailable(message),
        PaymentError::Chain(_) => refused(message),
        PaymentError::Busy => overloaded(message),
        PaymentError::NotFound => Refusal::invalid(StatusCode::NOT_FOUND, "channel_not_found", message),
        PaymentError::Close(_) => Refusal::invalid(StatusCode::CONFLICT, "channel_in_use", message)
            .retry_after(Duration::from_secs(2))
            .do_retry(),
        PaymentError::Store(_) => ledger_unavailable(message),
    }
}

fn from_pay(error: &PageError) -> Refusal {
    let invalid = |code| Refusal::invalid(StatusCode::BAD_REQUEST, code, error.to_string()).param("address");
    match error {
        PageError::NoAddress => invalid("missing_required_parameter"),
        PageError::Address(_) => invalid("invalid_value"),
    }
}

fn from_limit(error: &LimitError) -> Refusal {
    let too_many = |kind, code| Refusal::new(StatusCode::TOO_MANY_REQUESTS, kind, code, error.to_string());
    match error {
        LimitError::Requests { wait, .. } => too_many("requests", "rate_limit_exceeded")
            .retry_after(*wait)
            .do_retry(),
        LimitError::Tokens { wait, .. } => too_many("tokens", "rate_limit_exceeded").retry_after(*wait).do_retry(),
        LimitError::NeverTokens { .. } => too_many("tokens", "rate_limit_exceeded").never_retry(),
        LimitError::Concurrency { .. } => too_many("requests", "concurrency_limit_exceeded")
            .retry_after(Duration::from_secs(1))
            .do_retry(),
        LimitError::Elsewhere { kind, .. } => {
            let (kind, code) = match kind {
                Kind::Requests => ("requests", "rate_limit_exceeded"),
                Kind::Tokens => ("tokens", "rate_limit_exceeded"),
                Kind::Concurrency => ("requests", "concurrency_limit_exceeded"),
            };
            too_many(kind, code).retry_after(Duration::from_secs(2)).do_retry()
        }
        LimitError::Unavailable => ledger_unavailable(error.to_string()),
    }
}

/// Why a call that somebody would pay for is not run.
fn from_cover(error: &CoverError) -> Refusal {
    let forbidden = |code| Refusal::new(StatusCode::FORBIDDEN, "permission_error", code, error.to_string());
    match error {
        CoverError::Pricing(PricingError::Unpriced { .. }) => forbidden("model_not_priced").param("model"),
        CoverError::Pricing(PricingError::NoRate { .. }) => forbidden("currency_without_rate").param("model"),
        CoverError::Unmeasured { .. } => forbidden("model_not_priced"),
        CoverError::Background => {
            Refusal::invalid(StatusCode::BAD_REQUEST, "unsupported_parameter", error.to_string()).param("background")
        }
    }
}

/// Why nothing was held. Lack of money is 402 and never 429: SDKs repeat the latter.
fn from_reserve(error: &ReserveError) -> Refusal {
    let forbidden = |code| Refusal::new(StatusCode::FORBIDDEN, "permission_error", code, error.to_string());
    match error {
        ReserveError::Disabled { .. } => forbidden("account_disabled"),
        ReserveError::Unknown { .. } => forbidden("unknown_account"),
        ReserveError::Short {
            account,
            window,
            missing,
            currency,
        } => Refusal::new(
            StatusCode::PAYMENT_REQUIRED,
            "insufficient_quota",
            "insufficient_quota",
            short(account, *window, *missing, *currency),
        )
        .never_retry(),
        ReserveError::Unavailable => ledger_unavailable(
            "The ledger of the gateway cannot be reached, so that this request cannot be charged. Retry.",
        ),
    }
}

/// What is missing, where, and what to do about it.
fn short(account: &AccountId, window: Window, missing: Nano, currency: Currency) -> String {
    let lower = "Ask for less, with a smaller `max_tokens` or a shorter prompt";
    match (account.level(), window) {
        (Level::Organisation, Window::Total) => format!(
            "The balance of {account} does not cover what this request may cost: {missing} {currency} are missing. \
             Top it up (`mulberry account deposit {account} AMOUNT`), or ask the operator of the gateway to. {lower}."
        ),
        (_, Window::Total) => format!(
            "The budget of {account} does not cover what this request may cost: {missing} {currency} are missing. \
             Ask the operator of the gateway to raise it. {lower}."
        ),
        (_, Window::Day(_) | Window::Month(_)) => format!(
            "The budget of {account} for {window} (UTC) does not cover what this request may cost: {missing} {currency} \
             are missing. Ask the operator of the gateway to raise it, or wait until it begins anew. {lower}."
        ),
    }
}

/// What the client is told in place of an answer, or of the end of a stream, whose charge is not known to be durable.
pub(crate) fn from_capture(error: CaptureError) -> Refusal {
    match error {
        CaptureError::Late => ledger_unavailable(
            "The answer was made, but the gateway could not write down its charge in time. It may still be charged.",
        ),
        CaptureError::Refused => ledger_unavailable(
            "The answer was made, but the gateway may not charge it any more. It is not charged. Retry.",
        ),
    }
}

fn from_receipts(error: &ReceiptsError) -> Refusal {
    let not_found = || Refusal::invalid(StatusCode::NOT_FOUND, "receipt_not_found", error.to_string());
    match error {
        ReceiptsError::NotFound { .. } | ReceiptsError::NoChain => not_found(),
        ReceiptsError::Late | ReceiptsError::Ledger(_) | ReceiptsError::Journal(_) => {
            ledger_unavailable("The database of the gateway does not answer. Retry.")
        }
    }
}

fn from_evidence(error: &EvidenceError) -> Refusal {
    let invalid = |status, code| Refusal::invalid(status, code, error.to_string());
    match error {
        EvidenceError::NoNonce { .. } => invalid(StatusCode::BAD_REQUEST, "missing_required_parameter").param("nonce"),
        EvidenceError::BadNonce { .. } => invalid(StatusCode::BAD_REQUEST, "invalid_value").param("nonce"),
        EvidenceError::NotFound => invalid(StatusCode::NOT_FOUND, "evidence_not_found"),
        EvidenceError::Own(OwnError::Nobody | OwnError::NotAttested) => {
            invalid(StatusCode::NOT_FOUND, "gateway_not_attested")
        }
        EvidenceError::Own(OwnError::TooOften { wait }) => Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "requests",
            "rate_limit_exceeded",
            error.to_string(),
        )
        .retry_after(*wait)
        .do_retry(),
        EvidenceError::Own(OwnError::NoProof) | EvidenceError::Read(_) => Refusal::ours(
            StatusCode::SERVICE_UNAVAILABLE,
            "evidence_unavailable",
            error.to_string(),
        )
        .retry_after(Duration::from_secs(1)),
    }
}

fn ledger_unavailable(message: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::ours(StatusCode::SERVICE_UNAVAILABLE, "ledger_unavailable", message).retry_after(Duration::from_secs(1))
}

fn overloaded(message: String) -> Refusal {
    Refusal::ours(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).retry_after(Duration::from_secs(1))
}

fn from_route(error: &RouteError) -> Refusal {
    let refusal = |status| Refusal::invalid(status, "unknown_url", error.to_string());
    match error {
        RouteError::Path { .. } => refusal(StatusCode::NOT_FOUND),
        RouteError::Method { allow, .. } => {
            let refusal = Refusal::invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", error.to_string());
            refusal.header("allow", HeaderValue::from_static(allow))
        }
    }
}

fn from_decode(error: &DecodeError) -> Refusal {
    let message = error.to_string();
    match error {
        DecodeError::Request(request) => {
            let refusal = Refusal::invalid(StatusCode::BAD_REQUEST, RequestError::code(request), message);
            match request.param() {
                Some(param) => refusal.param(param),
                None => refusal,
            }
        }
        DecodeError::TooLarge { .. } => Refusal::invalid(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message),
        DecodeError::TooSlow { .. } => {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout_error", "request_timeout", message)
        }
        DecodeError::Incomplete => Refusal::invalid(StatusCode::BAD_REQUEST, "incomplete_body", message),
        DecodeError::UnknownEncoding => {
            Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message)
        }
        DecodeError::Demand(_) => Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_value", message),
        DecodeError::Salt(_) => Refusal::ours(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", INTERNAL),
        DecodeError::BadEncoding => Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_encoding", message),
    }
}

/// What the client is told of an attempt that failed, in the status before a stream and in an event within one.
pub(crate) fn from_attempt(error: &AttemptError) -> Refusal {
    let bad_gateway = |code, message: &'static str| Refusal::ours(StatusCode::BAD_GATEWAY, code, message);
    match &error.failure {
        Failure::Status { status, error, headers } => {
            let status = if error.code.as_deref() == Some("context_length_exceeded") {
                StatusCode::BAD_REQUEST
            } else {
                *status
            };
            Refusal {
                status,
                body: error.clone(),
                headers: (**headers).clone(),
            }
        }
        Failure::Disguised(error) => Refusal {
            status: StatusCode::BAD_GATEWAY,
            body: error.clone(),
            headers: HeaderMap::new(),
        },
        Failure::Credentials(_) => bad_gateway(
            "upstream_credentials_exhausted",
            "The upstream refused the gateway's own credentials. Your API key is fine; tell the gateway's operator.",
        )
        .never_retry(),
        Failure::NoUpstream(_) => Refusal::ours(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_available_backend",
            "No upstream that may serve this request is in use.",
        )
        .retry_after(Duration::from_secs(1)),
        Failure::NoneQualifies(excluded) => unattested(excluded.iter().map(|exclusion| exclusion.reason)),
        Failure::Unverified(reason) => unattested([*reason]),
        Failure::Untranslatable(part) => {
            Refusal::invalid(StatusCode::BAD_REQUEST, "unsupported_parameter", part.message.clone())
                .param(part.param.clone())
        }
        Failure::Unreadable => Refusal::invalid(
            StatusCode::BAD_REQUEST,
            "invalid_value",
            "A worker serves this model, and must not learn who asks: send application/json or multipart/form-data, not compressed.",
        )
        .param("content-type"),
        Failure::Closed => Refusal::invalid(
            StatusCode::NOT_FOUND,
            "unsupported_endpoint",
            "No backend behind this gateway serves this operation for the model.",
        ),
        Failure::QueueFull => overloaded("Every upstream for this model is busy and the queue is full.".to_owned()),
        Failure::QueueTimeout(after) => overloaded(format!("Every upstream for this model stayed busy for {after:?}.")),
        Failure::NotAdmitted(_) => Refusal::ours(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_admitted",
            "The chosen upstream was not admitted.",
        ),
        Failure::Connect(_) | Failure::Timeout(Clock::Connect(_)) => {
            bad_gateway("upstream_connect_error", "The gateway cannot connect to the upstream.")
        }
        Failure::Dropped(_) => bad_gateway(
            "upstream_connect_error",
            "The upstream closed the connection before it answered.",
        ),
        Failure::Protocol(_) => bad_gateway("upstream_error", "The upstream's answer was not valid HTTP."),
        Failure::Upload(cause) => match decode_error(&**cause) {
            Some(error) => from_decode(error),
            None => Refusal::invalid(
                StatusCode::BAD_REQUEST,
                "incomplete_body",
                "The request body ended early or could not be sent on.",
            ),
        },
        Failure::Timeout(clock) => {
            Refusal::ours(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", timeout_message(*clock))
        }
        Failure::NotJson(status) => Refusal::ours(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            format!(
                "The upstream answered {} with a body that is not a JSON object.",
                status.as_u16()
            ),
        ),
        Failure::TooLarge { limit } => Refusal::ours(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            format!("The upstream's answer is larger than {limit} bytes."),
        ),
        Failure::Stream(fault) => from_fault(fault),
        Failure::Body(_) => bad_gateway("upstream_error", "The upstream broke off its answer."),
    }
}

/// Why nobody qualifies: how many upstreams there are for each reason, and no word of who they are.
fn unattested(reasons: impl IntoIterator<Item = Reason>) -> Refusal {
    let mut counts: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut may_pass = false;
    for reason in reasons {
        *counts.entry(reason.code()).or_default() += 1;
        may_pass |= reason.may_pass();
    }
    let listed: Vec<String> = counts.iter().map(|(code, count)| format!("{code}: {count}")).collect();
    let why = match listed.is_empty() {
        true => "none serves this model".to_owned(),
        false => listed.join(", "),
    };
    let refusal = Refusal::ours(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_attested_upstream",
        format!("No upstream has shown what this request demands ({why}). Nothing was sent."),
    )
    .reasons(counts);
    match may_pass {
        true => refusal.retry_after(Duration::from_secs(1)),
        false => refusal.never_retry(),
    }
}

/// Why our own reading of the client's body stopped, somewhere below what hyper made of it.
fn decode_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a DecodeError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<DecodeError>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// What the client is told of a stream that is not whole.
pub(crate) fn from_fault(fault: &Fault) -> Refusal {
    let bad_gateway = |code, message: &'static str| Refusal::ours(StatusCode::BAD_GATEWAY, code, message);
    match fault {
        Fault::Truncated => bad_gateway(
            "stream_truncated",
            "The upstream ended the stream before the answer was finished.",
        ),
        Fault::Malformed => bad_gateway("upstream_error", "The upstream sent an event that is not JSON."),
        Fault::TooLong(_) => bad_gateway("upstream_error", "The upstream sent an event without end."),
        Fault::Upstream(error) => Refusal {
            status: StatusCode::BAD_GATEWAY,
            body: error.clone(),
            headers: HeaderMap::new(),
        },
    }
}

fn timeout_message(clock: Clock) -> String {
    match clock {
        Clock::Connect(after) | Clock::FirstFrame(after) => format!("The upstream sent nothing within {after:?}."),
        Clock::Idle(after) => format!("The upstream paused for more than {after:?}."),
        Clock::Total(_) => "The upstream was not done within the time allowed.".to_owned(),
    }
}

/// A body of bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> BoxBody {
    BoxBody::new(Full::new(bytes.into()).map_err(|never| match never {}))
}

#[cfg(test)]
mod tests;
