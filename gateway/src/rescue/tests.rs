//! Every error that a layer can make has its row in docs/errors.md, and every row an error.

use std::{collections::BTreeSet, sync::Arc};

use backends::error::Exclusion;
use billing::{
    Nano,
    channel::{Account, payer::Phase, x402},
};
use billing_store::ledger::CloseError;
use billing_ton::{address::AddressError, chain::ChainError, inquiry::InquiryError};
use http::Method;
use openapi::{dialect::Untranslatable, endpoint::Endpoint, sse::TooLong};

use super::*;
use crate::connect::{CashierError, link::Why};
use crate::layers::{decode::DemandError, failover::ShuttingDown};
use crate::payer::teller::TellerError;
use crate::payments::{PaymentError, PaymentRequired};

/// `status | type | code`, as the table begins its rows.
fn row(status: impl std::fmt::Display, kind: &str, code: &str) -> String {
    format!("| {status} | {kind} | `{code}` |")
}

fn attempt(failure: Failure) -> BoxError {
    let last = Box::new(AttemptError {
        place: "backend/upstream".into(),
        failure,
    });
    Box::new(FailoverError { last })
}

fn errors() -> Vec<BoxError> {
    let after = Duration::from_secs(1);
    let requests = [
        RequestError::NotUtf8,
        RequestError::TooDeep { limit: 64 },
        RequestError::NotObject,
        RequestError::TooMany { limit: 1024 },
        RequestError::Duplicate { name: "x".to_owned() },
        RequestError::Missing { param: "messages" },
        RequestError::WrongType {
            param: "n",
            expected: "an integer",
        },
        RequestError::OutOfRange {
            param: "n",
            expected: "an integer",
        },
    ];
    let decodes = [
        DecodeError::TooLarge { limit: 1 },
        DecodeError::TooSlow { after },
        DecodeError::Incomplete,
        DecodeError::UnknownEncoding,
        DecodeError::BadEncoding,
        DecodeError::Demand(DemandError::MinTier),
        DecodeError::Salt(crate::receipts::witness::NoSalt),
    ];
    let failures = [
        Failure::NoUpstream(Vec::new()),
        Failure::NoneQualifies(vec![Exclusion {
            upstream: "backend/upstream".into(),
            reason: Reason::TierTooLow,
        }]),
        Failure::Unverified(Reason::VerdictLapsed),
        Failure::Untranslatable(Untranslatable {
            param: "n".into(),
            message: "Anthropic gives one answer. Leave n out.".to_owned(),
        }),
        Failure::Unreadable,
        Failure::Closed,
        Failure::QueueFull,
        Failure::QueueTimeout(after),
        Failure::NotAdmitted("no".into()),
        Failure::Connect(backends::client::ConnectError::NoTls),
        Failure::Upload("ended".into()),
        Failure::Upload(Box::new(DecodeError::TooLarge { limit: 1 })),
        Failure::Timeout(Clock::Connect(after)),
        Failure::Timeout(Clock::FirstFrame(after)),
        Failure::Timeout(Clock::Idle(after)),
        Failure::Timeout(Clock::Total(after)),
        Failure::Status {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            error: ErrorBody::new("invalid_request_error", "context_length_exceeded", "too long"),
            headers: Box::default(),
        },
        Failure::Credentials(StatusCode::UNAUTHORIZED),
        Failure::NotJson(StatusCode::OK),
        Failure::TooLarge { limit: 1 },
        Failure::Stream(Fault::Truncated),
        Failure::Stream(Fault::Malformed),
        Failure::Stream(Fault::TooLong(TooLong { limit: 1 })),
        Failure::Body("broken".into()),
    ];
    let mut errors: Vec<BoxError> = vec![
        Box::new(AuthenticateError::Missing),
        Box::new(AuthenticateError::Unknown),
        Box::new(AuthenticateError::Token(TokenError::Signature)),
        Box::new(AuthenticateError::Token(TokenError::NoKeys)),
        Box::new(AuthenticateError::Token(TokenError::TooMany)),
        Box::new(AuthenticateError::Changing),
        Box::new(AuthenticateError::Payment(PaymentError::Known)),
        Box::new(PaymentError::Header(x402::DecodeError::Base64)),
        Box::new(PaymentError::Ended),
        Box::new(PaymentError::NotFound),
        Box::new(PaymentError::Close(CloseError::InFlight {
            id: Account {
                workchain: 0,
                hash: [0; 32],
            },
            leased: Nano::ZERO,
        })),
        Box::new(PaymentError::Unseen),
        Box::new(PaymentError::Busy),
        Box::new(PaymentError::Chain(Arc::new(
            InquiryError::Chain(ChainError::Limited).into(),
        ))),
        Box::new(PaymentRequired::for_tests()),
        Box::new(LimitError::Requests {
            limit: 1,
            used: 1,
            wait: after,
        }),
        Box::new(LimitError::Tokens {
            limit: 2,
            used: 1,
            requested: 2,
            wait: after,
        }),
        Box::new(LimitError::NeverTokens { limit: 1, requested: 2 }),
        Box::new(LimitError::Concurrency { limit: 1 }),
        Box::new(LimitError::Elsewhere {
            kind: Kind::Tokens,
            limit: 1,
            round: None,
        }),
        Box::new(LimitError::Unavailable),
        Box::new(AuthenticateError::ForeignHost),
        Box::new(AuthenticateError::ForeignOrigin),
        Box::new(RouteError::Path {
            method: Method::GET,
            path: "/x".to_owned(),
        }),
        Box::new(RouteError::Method {
            method: Method::GET,
            path: "/x".to_owned(),
            allow: "POST",
        }),
        Box::new(ResolveError::UnknownModel { model: "m".to_owned() }),
        Box::new(ResolveError::ModelNotAllowed { model: "m".to_owned() }),
        Box::new(ResolveError::NoModelNamed {
            endpoint: Endpoint::Files,
        }),
        Box::new(ResolveError::NotForChannels {
            endpoint: Endpoint::Files,
        }),
        Box::new(ResolveError::MissingModel),
        Box::new(ResolveError::NotServed {
            endpoint: Endpoint::Audio,
            model: None,
        }),
        Box::new(BadKey),
        Box::new(ReceiptsError::NotFound { id: "req_1".to_owned() }),
        Box::new(ReceiptsError::NoChain),
        Box::new(ReceiptsError::Late),
        Box::new(PageError::NoAddress),
        Box::new(PageError::Address(AddressError::Empty)),
        Box::new(EvidenceError::NoNonce { base64: true }),
        Box::new(EvidenceError::BadNonce { base64: false }),
        Box::new(EvidenceError::NotFound),
        Box::new(EvidenceError::Own(OwnError::Nobody)),
        Box::new(EvidenceError::Own(OwnError::NotAttested)),
        Box::new(EvidenceError::Own(OwnError::TooOften { wait: after })),
        Box::new(EvidenceError::Own(OwnError::NoProof)),
        Box::new(TurnError::UnderWay),
        Box::new(TurnError::Reused),
        Box::new(CoverError::Unmeasured {
            endpoint: Endpoint::Audio,
        }),
        Box::new(CoverError::Background),
        Box::new(CoverError::Pricing(PricingError::Unpriced { model: "m".to_owned() })),
        Box::new(CoverError::Pricing(PricingError::NoRate {
            model: "m".to_owned(),
            from: Currency::USD,
            to: Currency::TON,
        })),
        Box::new(ReserveError::Disabled {
            account: AccountId::key("k"),
        }),
        Box::new(ReserveError::Unknown {
            account: AccountId::key("k"),
        }),
        Box::new(ReserveError::Unavailable),
        Box::new(ReserveError::Short {
            account: AccountId::key("k"),
            window: Window::Total,
            missing: Nano::MOST,
            currency: Currency::USD,
        }),
        Box::new(CaptureError::Late),
        Box::new(Panicked),
        Box::new(ChannelError::Twice),
        Box::new(ChannelError::Unverified),
        Box::new(ShuttingDown),
        "an error that nobody knows".into(),
    ];
    errors.extend(requests.map(|error| Box::new(DecodeError::Request(error)) as BoxError));
    errors.extend(decodes.map(|error| Box::new(error) as BoxError));
    errors.extend(failures.map(attempt));
    errors
}

#[test]
fn the_documented_table_is_this_one() {
    let document = include_str!("../../../docs/errors.md");
    let section = document
        .split("\n## ")
        .find(|section| section.starts_with("The gateway's own"));
    let rows = section
        .unwrap_or_default()
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| status"));
    let documented: BTreeSet<String> = rows.map(|line| line.split_inclusive('|').take(4).collect()).collect();
    let refusals = errors().into_iter().map(|error| {
        let refusal = rescue(&error);
        row(
            refusal.status.as_u16(),
            &refusal.body.kind,
            refusal.code().unwrap_or("null"),
        )
    });
    let mut made: BTreeSet<String> = refusals.collect();
    // Its only constructor is Admit itself, which needs a server.
    made.insert(row(503, "server_error", "overloaded"));
    let missing: Vec<_> = made.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&made).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "docs/errors.md lacks {missing:#?} and has too much {stale:#?}"
    );
}

#[test]
fn what_connect_says_is_documented() {
    let name = || "work".to_owned();
    let document = include_str!("../../../docs/errors.md");
    let mut sections = document.split("\n## ");
    let section = sections.find(|section| section.starts_with("Of `mulberry connect`"));
    let refused = Why {
        code: "image_unknown".into(),
        sentence: "it is another".to_owned(),
        is_refusal: true,
    };
    for error in [
        ForwardError::ForeignHost,
        ForwardError::ForeignOrigin,
        ForwardError::Refused(refused),
        ForwardError::Away(None),
        ForwardError::Late,
        ForwardError::Body("it broke".into()),
        CashierError::Unlisted.into(),
        CashierError::Gone.into(),
        CashierError::Greedy.into(),
        CashierError::Again.into(),
        CashierError::from(TellerError::Broken).into(),
        CashierError::from(TellerError::Doubted).into(),
        CashierError::from(TellerError::Leaving(name())).into(),
        CashierError::from(TellerError::Unready(Phase::Opening)).into(),
        CashierError::from(TellerError::Empty {
            name: name(),
            missing: Nano::ZERO,
        })
        .into(),
        CashierError::from(TellerError::Budget {
            most: Nano::ZERO,
            left: Nano::ZERO,
        })
        .into(),
        CashierError::from(TellerError::Busy { most: Nano::ZERO }).into(),
    ] {
        let refusal = rescue(&BoxError::from(error));
        let code = refusal.code().expect("each has a code");
        let is_there = section.unwrap_or_default().lines().any(|row| {
            row.starts_with(&format!("| {} | {} |", refusal.status.as_u16(), refusal.body.kind))
                && row.contains(&format!("`{code}`"))
        });
        assert!(is_there, "docs/errors.md lacks {code}");
    }
}

#[test]
fn what_a_client_reads_holds_nothing_of_the_inside() {
    for error in errors() {
        let body = String::from_utf8_lossy(&rescue(&error).body.to_json()).into_owned();
        assert!(
            !body.contains("backend/upstream") && !body.contains("nobody knows"),
            "{body}"
        );
    }
}
