//! From a request to its answer: key, body, journal, plan, endpoint.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use serde_json::Value;

use crate::batches::Batches;
use crate::body::{self, Body};
use crate::connection::Peer;
use crate::deliver::{Reply, Return};
use crate::fault::Plan;
use crate::fault::whole::{self, Whole};
use crate::files::Files;
use crate::journal::Journal;
use crate::multipart::{self, Upload};
use crate::refusal::Refusal;
use crate::tokenizer::Tokenizer;
use crate::wire::Wire;
use crate::{
    Config, anthropic, audio, chat, completions, control, embeddings, gemini, images, models, moderations, ranking,
    responses,
};

/// All that one mock knows.
pub(crate) struct Mock {
    pub(crate) config: Config,
    pub(crate) journal: Arc<Journal>,
    pub(crate) files: Files,
    batches: Batches,
    tokenizer: Tokenizer,
    ids: AtomicU64,
}

/// What was asked, once its body has arrived.
enum Asked {
    Json(Value),
    Upload(Upload),
    Nothing,
}

pub(crate) async fn answer(mock: Arc<Mock>, peer: Arc<Peer>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (parts, incoming) = request.into_parts();
    let allowed = mock.allows(&parts);
    if (allowed || parts.uri.path() == "/health")
        && let Some(response) = control::answer(&mock, parts.uri.path())
    {
        return Ok(response);
    }
    let nth = peer.count_request();
    let wire = Wire::of(parts.uri.path());
    let way = Return {
        wire,
        exchange: mock.journal.open(),
        peer,
        id: mock.next_id(),
        whole_socket: parts.version != Version::HTTP_2,
        chunk_delay: mock.config.chunk_delay,
    };
    if !allowed {
        mock.journal.record(&parts, "", b"", 0);
        return Ok(way.refusal(&Refusal::key()));
    }
    let (asked, mut plan, count) = match mock.ask(&parts, incoming).await {
        Ok(asked) => asked,
        Err(refusal) => return Ok(way.refusal(&refusal)),
    };
    plan.wire = wire;
    if let Some(missing) = wire.missing(&parts) {
        return Ok(way.refusal(&Refusal::bad(missing)));
    }
    if let Some(refuse) = plan.refuse.as_ref().filter(|refuse| count <= refuse.times) {
        return way.whole(Whole::Other(refuse.answer(wire))).await;
    }
    if let Some(whole) = whole::of_plan(&plan, nth) {
        return way.whole(whole).await;
    }
    match mock.reply(&parts, asked, &plan, way.id) {
        Ok(reply) => way.reply(reply, &plan).await,
        Err(refusal) => Ok(way.refusal(&refusal)),
    }
}

impl Mock {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            journal: Journal::new(),
            files: Files::default(),
            batches: Batches::default(),
            tokenizer: Tokenizer::default(),
            ids: AtomicU64::new(1),
        }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn allows(&self, parts: &Parts) -> bool {
        let Some(key) = &self.config.require_key else {
            return true;
        };
        let shown = Wire::of(parts.uri.path()).key(parts);
        // Not constant in time: this key guards a test instrument.
        shown == Some(key.as_bytes())
    }

    /// Reads the body, writes the request down, and finds the plan of its model.
    async fn ask(&self, parts: &Parts, incoming: Incoming) -> Result<(Asked, Plan, u64), Refusal> {
        if parts.method != Method::POST {
            let count = self.journal.record(parts, "", b"", 0);
            return Ok((Asked::Nothing, Plan::default(), count));
        }
        let path = path(parts);
        if path.starts_with("/audio/trans") || path == "/files" {
            let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let upload = multipart::read(incoming, kind.unwrap_or_default()).await?;
            let model = upload.fields.get("model").cloned().unwrap_or_default();
            let count = self.journal.record(parts, &model, &upload.prefix, upload.body_bytes);
            let plan = self.plan(path, &model)?;
            return Ok((Asked::Upload(upload), plan, count));
        }
        let bytes = body::read(incoming).await?;
        let parsed = serde_json::from_slice::<Value>(&bytes).ok().filter(Value::is_object);
        let model = match gemini::Call::parse(path) {
            Some(call) => call.model,
            None => parsed
                .as_ref()
                .and_then(|body| body["model"].as_str())
                .unwrap_or_default()
                .to_owned(),
        };
        let count = self.journal.record(parts, &model, &bytes, bytes.len());
        let body = parsed.ok_or_else(|| Refusal::bad("The body is not a JSON object."))?;
        let plan = self.plan(path, &model)?;
        Ok((Asked::Json(body), plan, count))
    }

    /// Paths that may leave the model out get the friendly engine.
    fn plan(&self, path: &str, model: &str) -> Result<Plan, Refusal> {
        const WITHOUT: &[&str] = &[
            "/moderations",
            "/images/generations",
            "/files",
            "/batches",
            "/tokenize",
            "/detokenize",
        ];
        if model.is_empty() {
            if WITHOUT.contains(&path) {
                return Ok(Plan::default());
            }
            return Err(Refusal::param("model", "You must provide a model parameter."));
        }
        models::plan(&self.config.models, model)
    }

    fn reply(&self, parts: &Parts, asked: Asked, plan: &Plan, id: u64) -> Result<Reply, Refusal> {
        let path = path(parts);
        let unknown = || Refusal::unknown_url(&parts.method, parts.uri.path());
        match asked {
            Asked::Json(body) if path == "/batches" => self.batches.create(self, &body, id).map(Reply::Json),
            Asked::Json(body) => self.run(path, &body, plan, id),
            Asked::Upload(upload) => match path {
                "/audio/transcriptions" | "/audio/translations" => audio::transcription(&upload),
                "/files" => self.files.upload(upload, id).map(Reply::Json),
                _ => Err(unknown()),
            },
            Asked::Nothing => {
                let path = path.trim_start_matches('/');
                let (place, rest) = path.split_once('/').unwrap_or((path, ""));
                self.read(&parts.method, place, rest).unwrap_or_else(|| Err(unknown()))
            }
        }
    }

    /// Requests without a body; none where the path is unknown.
    fn read(&self, method: &Method, place: &str, name: &str) -> Option<Result<Reply, Refusal>> {
        let get = method == Method::GET;
        let whole = match (place, name) {
            ("v1beta", "models") if get => Ok(gemini::list(&models::list(&self.config.models))),
            ("models", "") if get => Ok(models::list(&self.config.models)),
            ("models", model) if get => models::retrieve(&self.config.models, model),
            ("files", "") if get => Ok(self.files.list()),
            ("files", id) if get => match id.strip_suffix("/content") {
                Some(id) => return Some(self.files.download(id)),
                None => self.files.retrieve(id),
            },
            ("files", id) if method == Method::DELETE => self.files.delete(id),
            ("batches", "") if get => Ok(self.batches.list()),
            ("batches", id) if get => self.batches.retrieve(id),
            _ => return None,
        };
        Some(whole.map(Reply::Json))
    }

    /// The endpoints that take JSON, as functions of the request.
    pub(crate) fn run(&self, path: &str, body: &Value, plan: &Plan, id: u64) -> Result<Reply, Refusal> {
        let stream = body["stream"] == true;
        if let Some(call) = gemini::Call::parse(path) {
            return if call.is_stream {
                gemini::stream(&call, body, plan, id).map(Reply::Events)
            } else {
                gemini::unary(&call, body, plan, id).map(Reply::Json)
            };
        }
        if plan.wire == Wire::OpenAi && !stream && !body["stream_options"].is_null() {
            return Err(Refusal::param(
                "stream_options",
                "`stream_options` needs `stream: true`.",
            ));
        }
        match path {
            "/chat/completions" if stream => chat::stream(body, plan, id).map(Reply::Events),
            "/chat/completions" => chat::unary(body, plan, id).map(Reply::Json),
            "/completions" if stream => completions::stream(body, plan, id).map(Reply::Events),
            "/completions" => completions::unary(body, plan, id).map(Reply::Json),
            "/responses" if stream => responses::stream(body, plan, id).map(Reply::Events),
            "/responses" => responses::unary(body, plan, id).map(Reply::Json),
            "/messages" if stream => anthropic::stream(body, plan, id).map(Reply::Events),
            "/messages" => anthropic::unary(body, plan, id).map(Reply::Json),
            "/messages/count_tokens" => anthropic::count_tokens(body).map(Reply::Json),
            "/embeddings" => embeddings::unary(body, plan).map(Reply::Json),
            "/moderations" => moderations::unary(body, id).map(Reply::Json),
            "/rerank" => ranking::rerank(body, id).map(Reply::Json),
            "/score" => ranking::score(body, id).map(Reply::Json),
            "/tokenize" => self.tokenizer.tokenize(body).map(Reply::Json),
            "/detokenize" => self.tokenizer.detokenize(body).map(Reply::Json),
            "/images/generations" => images::unary(body).map(Reply::Json),
            "/audio/speech" => audio::speech(body),
            _ => Err(Refusal::unknown_url(&Method::POST, path)),
        }
    }
}

/// The path without `/v1` and without a slash at its end: servers differ in both.
fn path(parts: &Parts) -> &str {
    let path = parts.uri.path().trim_end_matches('/');
    let rest = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/'));
    rest.unwrap_or(path)
}
