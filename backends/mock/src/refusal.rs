//! What we refuse on our own account, in the error envelope of the API that was asked.

use http::StatusCode;
use serde_json::Value;

use crate::wire::Wire;

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    message: String,
}

impl Refusal {
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            code: None,
            param: None,
            message: message.into(),
        }
    }

    pub(crate) fn param(param: &'static str, message: impl Into<String>) -> Self {
        Self {
            param: Some(param),
            ..Self::bad(message)
        }
    }

    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        Self {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: Some("request_too_large"),
            ..Self::bad(format!("The body is over the limit of {limit_bytes} bytes."))
        }
    }

    pub(crate) fn key() -> Self {
        Self {
            status: StatusCode::UNAUTHORIZED,
            code: Some("invalid_api_key"),
            ..Self::bad("Missing or incorrect API key.")
        }
    }

    pub(crate) fn unknown_model(model: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: Some("model_not_found"),
            param: Some("model"),
            ..Self::bad(format!(
                "The model `{model}` does not exist. GET /_modes lists the scripted ones."
            ))
        }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            ..Self::bad(format!("No such {what}."))
        }
    }

    pub(crate) fn unknown_url(method: &http::Method, path: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: Some("unknown_url"),
            ..Self::bad(format!("Unknown request URL: {method} {path}."))
        }
    }

    pub(crate) fn envelope(&self, wire: Wire) -> Value {
        let mut envelope = wire.error(self.status, &self.message, self.kind, self.code);
        if let (Wire::OpenAi, Some(param)) = (wire, self.param) {
            envelope["error"]["param"] = param.into();
        }
        envelope
    }
}
