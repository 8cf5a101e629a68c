//! Look: what runs here, is it well, and which models has it?
//!
//! | engine | known by | context from |
//! |---|---|---|
//! | Ollama | `GET /api/version`, with a `version` | `POST /api/show`: `model_info["….context_length"]` |
//! | llama.cpp | `GET /props`, with `default_generation_settings` | there: `n_ctx` |
//! | SGLang | `GET /get_model_info` or `/model_info`, with a `model_path` | `GET /v1/models`: `max_model_len` |
//! | vLLM | `GET /version`, with a `version` | `GET /v1/models`: `max_model_len` |
//! | TGI | `GET /info`, with a `model_id` | there: `max_total_tokens` |
//! | another | `GET /v1/models` | nowhere, unless it has `max_model_len` |

use std::time::Duration;

use backends::{body::Outgoing, kind::Kind};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use super::Engine;
use crate::control::{MAX_MODELS, Offered};

/// Of an engine's answer about itself; metrics are the longest.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// How long it may take to say something about itself.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What runs there; `None` while nothing that we know answers.
pub(crate) async fn kind(engine: &Engine) -> Option<Kind> {
    let says = async |path: &str, member: &str| {
        let said = json(engine, Method::GET, path, None).await;
        said.is_some_and(|said| said.get(member).is_some())
    };
    if says("/api/version", "version").await {
        return Some(Kind::Ollama);
    }
    if says("/props", "default_generation_settings").await {
        return Some(Kind::LlamaCpp);
    }
    if says("/get_model_info", "model_path").await || says("/model_info", "model_path").await {
        return Some(Kind::SgLang);
    }
    if says("/version", "version").await {
        return Some(Kind::Vllm);
    }
    if says("/info", "model_id").await {
        return Some(Kind::Tgi);
    }
    says("/v1/models", "data").await.then_some(Kind::Compatible)
}

/// Whether it would take a request now.
pub(crate) async fn is_well(engine: &Engine, kind: Kind) -> bool {
    let path = kind.health_path().unwrap_or("/v1/models");
    let answer = get(engine, path).await;
    answer.is_some_and(|(status, _)| status.is_success())
}

/// The models that it lists, each with the context it was started with; `None` where it gives no list.
pub(crate) async fn models(engine: &Engine, kind: Kind) -> Option<Vec<Offered>> {
    let list = json(engine, Method::GET, "/v1/models", None).await?;
    let mut models = listed(&list);
    match kind {
        Kind::LlamaCpp => {
            let props = json(engine, Method::GET, "/props", None).await.unwrap_or_default();
            // What a request may have, which is less than what the model could.
            let context = props["default_generation_settings"]["n_ctx"].as_u64();
            models.iter_mut().for_each(|model| model.context = context);
        }
        Kind::Tgi => {
            let info = json(engine, Method::GET, "/info", None).await.unwrap_or_default();
            let context = info["max_total_tokens"].as_u64();
            models.iter_mut().for_each(|model| model.context = context);
        }
        Kind::Ollama => {
            for model in &mut models {
                let asked = json!({ "model": model.id });
                let shown = json(engine, Method::POST, "/api/show", Some(asked))
                    .await
                    .unwrap_or_default();
                let info = shown["model_info"].as_object();
                let mut members = info.into_iter().flatten();
                model.context = members.find_map(|(name, value)| {
                    let is_length = name.ends_with(".context_length");
                    is_length.then(|| value.as_u64()).flatten()
                });
            }
        }
        _ => {}
    }
    Some(models)
}

/// The entries of a model list that have a name, with what vLLM and SGLang say of their context.
fn listed(list: &Value) -> Vec<Offered> {
    let entries = list["data"].as_array().into_iter().flatten();
    let named = entries.filter_map(|entry| {
        let id = entry["id"].as_str()?;
        Some(Offered {
            id: id.to_owned(),
            context: entry["max_model_len"].as_u64(),
        })
    });
    named.take(MAX_MODELS).collect()
}

async fn json(engine: &Engine, method: Method, path: &str, body: Option<Value>) -> Option<Value> {
    let (status, answer) = ask(engine, method, path, body).await?;
    status
        .is_success()
        .then(|| serde_json::from_slice(&answer).ok())
        .flatten()
}

pub(crate) async fn get(engine: &Engine, path: &str) -> Option<(StatusCode, Bytes)> {
    ask(engine, Method::GET, path, None).await
}

async fn ask(engine: &Engine, method: Method, path: &str, body: Option<Value>) -> Option<(StatusCode, Bytes)> {
    let base = engine.target().base_path();
    let mut request = Request::new(Outgoing::Empty);
    *request.uri_mut() = format!("{base}{path}").parse().ok()?;
    *request.method_mut() = method;
    *request.headers_mut() = engine.own_headers();
    if let Some(body) = body {
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        *request.body_mut() = Outgoing::whole(body.to_string().into());
    }
    let answered = async {
        let (parts, body) = engine.client().send(request, true).await.ok()?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.ok()?;
        Some((parts.status, body.to_bytes()))
    };
    tokio::time::timeout(TIMEOUT, answered).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_with_and_without_a_context() {
        let list = json!({ "object": "list", "data": [
            { "id": "a", "max_model_len": 32768, "owned_by": "vllm" },
            { "id": "b", "meta": { "n_ctx_train": 4096 } },
            { "name": "no id" },
        ]});
        let offered = |id: &str, context| Offered {
            id: id.to_owned(),
            context,
        };
        assert_eq!(listed(&list), [offered("a", Some(32768)), offered("b", None)]);
        assert_eq!(listed(&json!({ "data": "none" })), []);
    }
}
