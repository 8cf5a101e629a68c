//! The answers that are errors, the same for every operation.

use utoipa::{
    ToSchema as _,
    openapi::{
        Components, ContentBuilder, Header, HeaderBuilder, ObjectBuilder, Ref, ResponseBuilder, ResponsesBuilder, Type,
    },
};

use super::answer;
use crate::endpoint::is_anthropic_path;

/// An error that any operation may answer.
struct Row {
    status: &'static str,
    name: &'static str,
    description: &'static str,
    /// A header that comes with it, beside those of every answer.
    header: Option<&'static str>,
    /// Whether only a request with a body can meet it.
    needs_body: bool,
}

const ROWS: [Row; 16] = [
    row(
        "400",
        "BadRequest",
        "The request is malformed, or the upstream refused it.",
    ),
    row("401", "Unauthorized", "The API key is missing or not valid."),
    row(
        "402",
        "PaymentRequired",
        "A balance or a budget does not cover what the request may cost. The message says how much is missing.",
    ),
    row(
        "403",
        "Forbidden",
        "The API key may not use this model or this operation.",
    ),
    row("404", "NotFound", "There is no such model, resource or path."),
    Row {
        header: Some("allow"),
        ..row("405", "MethodNotAllowed", "The path exists for other methods.")
    },
    row("408", "RequestTimeout", "The request did not arrive in time."),
    Row {
        needs_body: true,
        ..row("413", "ContentTooLarge", "The body is larger than the gateway accepts.")
    },
    Row {
        needs_body: true,
        ..row(
            "415",
            "UnsupportedMediaType",
            "The type or the encoding of the body is not understood.",
        )
    },
    Row {
        needs_body: true,
        ..row(
            "422",
            "UnprocessableContent",
            "The upstream refused what the body says.",
        )
    },
    Row {
        header: Some("retry-after"),
        ..row(
            "429",
            "TooManyRequests",
            "A limit of the caller or of the upstream is reached.",
        )
    },
    row("500", "InternalError", "The gateway or the upstream has a fault."),
    row("502", "BadGateway", "No upstream gave a usable answer."),
    Row {
        header: Some("retry-after"),
        ..row(
            "503",
            "ServiceUnavailable",
            "No upstream may serve the request now, or the gateway is at its limit.",
        )
    },
    row("504", "GatewayTimeout", "The upstream did not answer in time."),
    row(
        "default",
        "OtherError",
        "Any other status of an upstream passes, in the same envelope.",
    ),
];

/// Headers of answers: name, type, description.
const HEADERS: [(&str, Type, &str); 5] = [
    (
        "x-request-id",
        Type::String,
        "Names this request in the gateway's log. Quote it when you report a fault.",
    ),
    (
        "x-mulberry-backend",
        Type::String,
        "The backend that answered. Absent when the gateway answered by itself.",
    ),
    (
        "x-mulberry-attempts",
        Type::Integer,
        "How many upstreams were tried. Absent when the gateway answered by itself.",
    ),
    (
        "retry-after",
        // An upstream's passes as it came, and HTTP allows a date here.
        Type::String,
        "Seconds to wait before the next request, or the date to wait for.",
    ),
    ("allow", Type::String, "The methods of this path."),
];

/// The headers that every answer may carry.
pub(super) const EVERYWHERE: [&str; 3] = ["x-request-id", "x-mulberry-backend", "x-mulberry-attempts"];

const fn row(status: &'static str, name: &'static str, description: &'static str) -> Row {
    Row {
        status,
        name,
        description,
        header: None,
        needs_body: false,
    }
}

/// Puts the errors and the headers among the components.
pub(super) fn register(components: &mut Components) {
    register_rows(components, "", answer::Error::name().as_ref());
    register_rows(components, MESSAGES, answer::MessagesError::name().as_ref());
    for (name, kind, description) in HEADERS {
        let header: Header = HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(kind)))
            .description(Some(description))
            .build();
        components.headers.insert(name.to_owned(), header.into());
    }
}

/// Stands before the names of errors in Anthropic's shape.
const MESSAGES: &str = "Messages";

fn register_rows(components: &mut Components, prefix: &str, schema: &str) {
    for row in &ROWS {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(schema)))
            .build();
        let mut response = ResponseBuilder::new()
            .description(row.description)
            .content("application/json", content);
        for name in EVERYWHERE.into_iter().chain(row.header) {
            response = response.header_ref(name, header(name));
        }
        components
            .responses
            .insert(format!("{prefix}{}", row.name), response.build().into());
    }
}

/// Adds the errors that the operation at `path` may answer.
pub(super) fn add(mut responses: ResponsesBuilder, path: &str, has_body: bool) -> ResponsesBuilder {
    let prefix = if is_anthropic_path(path) { MESSAGES } else { "" };
    for row in ROWS.iter().filter(|row| has_body || !row.needs_body) {
        responses = responses.response(row.status, Ref::from_response_name(format!("{prefix}{}", row.name)));
    }
    responses
}

/// A header among the components.
pub(super) fn header(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}
