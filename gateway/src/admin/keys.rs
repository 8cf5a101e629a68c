//! The API keys of clients. A secret is in the answer that makes it, and nowhere else.

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use billing_store::{KeyError, Sha256};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Admin, data, problem, token::Actor};
use crate::{
    config::{KeyHash, duration},
    directory::{DirectoryError, Issued, KeyEdit, KeyView, time},
    layers::rescue::Chain,
};

pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/keys", get(list).post(create))
        .route("/keys/{name}", get(show).patch(update).delete(revoke))
        .route("/keys/{name}/rotate", post(rotate))
}

/// A key with what it used in the last 60 seconds.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyNow {
    #[serde(flatten)]
    key: KeyView,
    now: Now,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Now {
    requests: u64,
    tokens: u64,
    in_flight: u32,
}

#[derive(Serialize, ToSchema)]
pub(super) struct IssuedView {
    key: KeyNow,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_valid_until: Option<String>,
}

async fn list(State(admin): State<Admin>) -> Response {
    let keys = admin.directory.list().into_iter().map(|key| now(&admin, key));
    data(keys.collect::<Vec<_>>())
}

async fn show(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    match admin.directory.find(&name) {
        Some(key) => Json(now(&admin, key)).into_response(),
        None => refused(DirectoryError::NotFound { name }),
    }
}

async fn create(State(admin): State<Admin>, Extension(actor): Extension<Actor>, body: Bytes) -> Response {
    let New { name, sha256, edit } = match New::read(&body) {
        Ok(new) => new,
        Err(response) => return *response,
    };
    match admin.directory.create(&name, &edit, sha256, &actor.0).await {
        Ok(made) => {
            charged(&admin, &edit).await;
            issued(&admin, StatusCode::CREATED, made)
        }
        Err(error) => refused(error),
    }
}

async fn update(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    let edit: KeyEdit = match read(&body) {
        Ok(edit) => edit,
        Err(response) => return *response,
    };
    match admin.directory.update(&name, &edit, &actor.0).await {
        Ok(key) => {
            charged(&admin, &edit).await;
            Json(now(&admin, key)).into_response()
        }
        Err(error) => refused(error),
    }
}

async fn rotate(
    State(admin): State<Admin>,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields)]
    struct Rotate {
        grace: Option<String>,
    }
    let wanted: Rotate = match read(if body.is_empty() { b"{}" } else { &body }) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let Some(grace) = duration(wanted.grace.as_deref().unwrap_or("0s")) else {
        let message = "`grace` is a number and a unit, such as 30m or 24h.";
        return problem(StatusCode::BAD_REQUEST, "invalid_value", message);
    };
    match admin.directory.rotate(&name, grace, &actor.0).await {
        Ok(rotated) => issued(&admin, StatusCode::OK, rotated),
        Err(error) => refused(error),
    }
}

async fn revoke(State(admin): State<Admin>, Extension(actor): Extension<Actor>, Path(name): Path<String>) -> Response {
    match admin.directory.revoke(&name, &actor.0).await {
        Ok(key) => Json(now(&admin, key)).into_response(),
        Err(error) => refused(error),
    }
}

/// Who pays for a key, and how much, is in force in the ledger too when its change is answered.
async fn charged(admin: &Admin, edit: &KeyEdit) {
    if edit.account.is_some() || !edit.budget.is_empty() {
        admin.treasury.refresh().await;
    }
}

/// The body that makes a key: what may be edited, its name, and perhaps a hash that clients have the key of.
struct New {
    name: String,
    sha256: Option<Sha256>,
    edit: KeyEdit,
}

impl New {
    fn read(body: &[u8]) -> Result<Self, Box<Response>> {
        let invalid = |message: &str| {
            let response = problem(StatusCode::BAD_REQUEST, "invalid_value", message);
            Box::new(response)
        };
        let mut value: Value = read(body)?;
        let members = value.as_object_mut();
        let members = members.ok_or_else(|| invalid("The body is a JSON object with at least a `name`."))?;
        let Some(Value::String(name)) = members.remove("name") else {
            return Err(invalid("`name` is missing, or no text."));
        };
        let sha256 = match members.remove("sha256") {
            None | Some(Value::Null) => None,
            Some(Value::String(hex)) => {
                // Never repeated: the likeliest mistake is the key itself.
                let hash = KeyHash::parse(&hex).ok_or_else(|| invalid("`sha256` is not 64 hexadecimal digits."))?;
                Some(Sha256(*hash.as_bytes()))
            }
            Some(_) => return Err(invalid("`sha256` is no text.")),
        };
        let edit = serde_json::from_value(value).map_err(|error| invalid(&error.to_string()))?;
        Ok(Self { name, sha256, edit })
    }
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| {
        let code = if error.is_data() {
            "invalid_value"
        } else {
            "invalid_json"
        };
        Box::new(problem(StatusCode::BAD_REQUEST, code, error.to_string()))
    })
}

fn now(admin: &Admin, key: KeyView) -> KeyNow {
    let recent = admin.parts.limiters.recent(&key.name);
    KeyNow {
        now: Now {
            requests: recent.requests,
            tokens: recent.tokens,
            in_flight: recent.in_flight,
        },
        key,
    }
}

fn issued(admin: &Admin, status: StatusCode, issued: Issued) -> Response {
    let view = IssuedView {
        key: now(admin, issued.key),
        secret: issued.secret.map(|secret| secret.expose().to_owned()),
        old_valid_until: issued.old_valid_until_ms.map(time),
    };
    let mut response = (status, Json(view)).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What an administrator is told of a key that was not made, changed or shown.
pub(super) fn refused(error: DirectoryError) -> Response {
    let message = error.to_string();
    let (status, code) = match &error {
        DirectoryError::Edit(_) => (StatusCode::BAD_REQUEST, "invalid_value"),
        DirectoryError::NotFound { .. } | DirectoryError::Key(KeyError::NotFound { .. }) => {
            (StatusCode::NOT_FOUND, "key_not_found")
        }
        DirectoryError::NoDatabase => (StatusCode::CONFLICT, "no_database"),
        DirectoryError::InFile { .. } | DirectoryError::Resting { .. } => (StatusCode::CONFLICT, "key_in_file"),
        DirectoryError::HashInFile { .. }
        | DirectoryError::Key(KeyError::NameTaken { .. } | KeyError::NameRevoked { .. } | KeyError::HashTaken { .. }) => {
            (StatusCode::CONFLICT, "key_exists")
        }
        DirectoryError::Key(KeyError::Revoked { .. }) => (StatusCode::CONFLICT, "key_revoked"),
        DirectoryError::Key(KeyError::NoAccount { .. }) => (StatusCode::NOT_FOUND, "account_not_found"),
        DirectoryError::Key(KeyError::Currency { .. }) => (StatusCode::CONFLICT, "other_currency"),
        DirectoryError::Default(_) | DirectoryError::Key(_) | DirectoryError::Audit(_) | DirectoryError::Random => {
            tracing::error!(cause = %Chain(&error), "an administrator's request failed");
            (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable")
        }
    };
    problem(status, code, message)
}
