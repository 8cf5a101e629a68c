//! `mulberry worker doctor`: is all there that a worker needs, and if not, what is to be done?
//!
//! It asks the engine for a few small answers, and visits the gateways without taking a worker's place.
//! It shows names, numbers and codes, and neither what a model said nor a key.

use std::{
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use attestation_ratls::HandshakeError;
use backends::{body::Outgoing, kind::Kind, serve::BoxError};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use crate::{
    cli::worker::WorkerArgs,
    config::EvidenceFrom,
    control::VERSION,
    identity::Shown,
    layers::rescue::Chain,
    trust::Judging,
    wall_clock::unix_seconds,
    worker::{
        Engine, Gateway,
        engine::{load, look},
        visit::{Heard, VisitError, visit},
    },
};

/// How long one answer of the engine may take.
const ANSWER: Duration = Duration::from_secs(60);
/// What an engine has to notice that its client left.
const NOTICE: Duration = Duration::from_secs(3);
const LARGEST: usize = 8 << 20;
/// Certificates and evidence are dated: beyond this they are refused.
const CLOCK: u64 = 60;

/// One thing that was looked at.
struct Finding {
    check: String,
    found: String,
    /// What to do; nothing where all is well.
    fix: Option<String>,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn good(&mut self, check: &str, found: impl Into<String>) {
        self.note(check, found.into(), None);
    }

    fn bad(&mut self, check: &str, found: impl Into<String>, fix: impl Into<String>) {
        self.note(check, found.into(), Some(fix.into()));
    }

    fn note(&mut self, check: &str, found: String, fix: Option<String>) {
        self.0.push(Finding {
            check: check.to_owned(),
            found,
            fix,
        });
    }
}

pub(super) async fn run(args: &WorkerArgs) -> Result<ExitCode, BoxError> {
    let mut findings = Findings::default();
    match Engine::new(&super::settings(args)) {
        Ok(engine) => examine(&engine, &mut findings).await,
        Err(error) => findings.bad("engine", Chain(&error).to_string(), "give its address with --engine"),
    }
    if let Some(shown) = evidence(args, &mut findings).await {
        if let Some(path) = &args.join_token_file {
            match super::read_token(path) {
                Ok(token) => findings.good("token", super::digest_of_token(&token.0).to_string()),
                Err(error) => findings.bad("token", Chain(&error).to_string(), "see above"),
            }
        }
        if args.gateway.is_empty() {
            let fix = "name one with --gateway KEY@HOST:PORT, unless this worker is dialled";
            findings.bad("gateway", "none is named", fix);
        }
        match super::judging(args).await {
            Ok((judging, _)) => {
                // Whose key it is, is compared with what was given, to be able to say whose it is.
                judging.trust().know(|_| true);
                for gateway in &args.gateway {
                    call_on(gateway, args, &shown, &judging, &mut findings).await;
                }
            }
            Err(error) => findings.bad("policy", Chain(&*error).to_string(), "see above"),
        }
    }
    let Findings(findings) = findings;
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in &findings {
        let grade = if finding.fix.is_none() { "ok" } else { "FAULT" };
        text.push_str(&format!("{grade:5}  {:width$}  {}\n", finding.check, finding.found));
        if let Some(fix) = &finding.fix {
            text.push_str(&format!("{:5}  {:width$}  fix: {fix}\n", "", ""));
        }
    }
    std::io::stdout().write_all(text.as_bytes())?;
    let is_well = findings.iter().all(|finding| finding.fix.is_none());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What this machine shows of itself.
async fn evidence(args: &WorkerArgs, findings: &mut Findings) -> Option<Shown> {
    let check = if args.evidence == EvidenceFrom::None {
        "key"
    } else {
        "evidence"
    };
    let gpus = match super::gpus(args) {
        Ok(gpus) => gpus,
        Err(error) => {
            findings.bad("gpus", Chain(&error).to_string(), "check --gpu-ocsp");
            return None;
        }
    };
    let shown = match super::draft(args, gpus) {
        Ok(draft) => Shown::begin_in_time(draft).await,
        Err(error) => Err(error),
    };
    match shown {
        Ok(shown) => {
            let made = match args.evidence {
                EvidenceFrom::None => shown.key().to_string(),
                EvidenceFrom::Tdx => "this machine is a TDX guest, and quotes".to_owned(),
                EvidenceFrom::DangerSoftware { .. } => "made by software, which proves nothing".to_owned(),
            };
            findings.good(check, made);
            Some(shown)
        }
        Err(error) => {
            let fix = match args.evidence {
                EvidenceFrom::None => "see above, or name another file with --key-file",
                EvidenceFrom::Tdx | EvidenceFrom::DangerSoftware { .. } => {
                    "see above, or leave out --evidence to serve in tier open"
                }
            };
            findings.bad(check, Chain(&error).to_string(), fix);
            None
        }
    }
}

async fn examine(engine: &Engine, findings: &mut Findings) {
    let Some(kind) = look::kind(engine).await else {
        let found = format!("nothing that is an inference engine answers at {}", engine.target());
        let fix = "start the engine, give its address with --engine, or its key with --engine-key";
        return findings.bad("engine", found, fix);
    };
    findings.good("engine", format!("{kind} at {}", engine.target()));
    if look::is_well(engine, kind).await {
        findings.good("health", "it says that it is well");
    } else {
        let fix = "wait until its model is loaded; a worker takes no requests before";
        findings.bad("health", "it says that it is not well", fix);
    }
    let models = look::models(engine, kind).await.unwrap_or_default();
    let Some(model) = models.first() else {
        let fix = "start it with a model; nothing can be asked of it";
        return findings.bad("models", "it lists none", fix);
    };
    let named = models.iter().map(|model| {
        let context = model.context.map(|tokens| format!(" ({tokens} tokens)"));
        format!(
            "{}{}",
            crate::commands::usage::plain(&model.id),
            context.unwrap_or_default()
        )
    });
    findings.good("models", named.collect::<Vec<_>>().join(", "));
    answer(engine, &model.id, findings).await;
    stream(engine, &model.id, findings).await;
    abort(engine, kind, &model.id, findings).await;
}

/// A whole answer.
async fn answer(engine: &Engine, model: &str, findings: &mut Findings) {
    let asked = chat(model, json!({ "max_tokens": 4 }));
    match ask(engine, &asked).await {
        Ok((StatusCode::OK, body)) => {
            let usage =
                serde_json::from_slice::<Value>(&body).is_ok_and(|said| said["usage"]["prompt_tokens"].is_u64());
            if usage {
                findings.good("answer", "it answers, and says what it used");
            } else {
                let fix = "upgrade the engine: without `usage` the gateway can only estimate";
                findings.bad("answer", "it answers without saying what it used", fix);
            }
        }
        Ok((status, _)) => {
            let fix = "look at the engine's log; a model that does not chat is examined with `mulberry doctor`";
            findings.bad("answer", format!("it refuses a chat with {status}"), fix);
        }
        Err(why) => findings.bad("answer", why, "look at the engine's log"),
    }
}

/// A streamed answer, which must end and say what it used.
async fn stream(engine: &Engine, model: &str, findings: &mut Findings) {
    let more = json!({ "max_tokens": 4, "stream": true, "stream_options": { "include_usage": true } });
    let fix = "look at the engine's log, and examine it with `mulberry doctor`";
    match ask(engine, &chat(model, more)).await {
        Ok((StatusCode::OK, body)) => {
            let text = String::from_utf8_lossy(&body);
            let data: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .map(str::trim)
                .collect();
            let usage = data.iter().any(|data| {
                serde_json::from_str::<Value>(data).is_ok_and(|chunk| chunk["usage"]["prompt_tokens"].is_u64())
            });
            match (data.contains(&"[DONE]"), usage) {
                (true, true) => findings.good("stream", "it streams, ends, and says what it used"),
                (false, _) => findings.bad("stream", "a stream does not end with [DONE]", fix),
                (true, false) => {
                    let fix = "upgrade the engine: without usage at its end a stream can only be estimated";
                    findings.bad("stream", "a stream does not say what it used", fix);
                }
            }
        }
        Ok((status, _)) => findings.bad("stream", format!("it refuses a stream with {status}"), fix),
        Err(why) => findings.bad("stream", why, fix),
    }
}

/// A client that leaves must not leave the engine at work. Seen only where the engine tells what it does.
async fn abort(engine: &Engine, kind: Kind, model: &str, findings: &mut Findings) {
    const CHECK: &str = "abort";
    match load::ask(engine, kind).await {
        Some(load) if load.running == 0 => {}
        Some(_) => return findings.good(CHECK, "not examined: it is at work for others"),
        None => return findings.good(CHECK, "not examined: it does not say what it is doing"),
    }
    let more = json!({ "max_tokens": 4000, "stream": true, "ignore_eos": true });
    let Ok(response) = tokio::time::timeout(ANSWER, send(engine, &chat(model, more))).await else {
        return findings.bad(CHECK, "a stream does not begin", "look at the engine's log");
    };
    let Ok(mut body) = response.map(http::Response::into_body) else {
        return findings.bad(CHECK, "a stream does not begin", "look at the engine's log");
    };
    let first = tokio::time::timeout(ANSWER, body.frame()).await;
    let was_busy = load::ask(engine, kind).await.is_some_and(|load| load.running > 0);
    drop(body);
    if !matches!(first, Ok(Some(Ok(_)))) || !was_busy {
        return findings.good(CHECK, "not examined: it was done before one could leave");
    }
    let left = Instant::now();
    while left.elapsed() < NOTICE {
        if load::ask(engine, kind).await.is_some_and(|load| load.running == 0) {
            return findings.good(CHECK, "it stops when its client leaves");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let fix = "upgrade the engine: it works for nobody, and others wait";
    findings.bad(CHECK, format!("still at work {NOTICE:?} after its client left"), fix);
}

async fn call_on(gateway: &Gateway, args: &WorkerArgs, shown: &Shown, judging: &Judging, findings: &mut Findings) {
    let place = gateway.address.as_str();
    let check = format!("gateway {place}");
    match visit(gateway, shown, judging).await {
        Ok(Heard {
            version: VERSION,
            now,
            tier,
        }) => {
            let knows = match args.evidence {
                EvidenceFrom::None => "it knows this worker",
                EvidenceFrom::Tdx | EvidenceFrom::DangerSoftware { .. } => "it accepts what this worker shows",
            };
            findings.good(&check, format!("{knows}; tier {tier}"));
            let off = unix_seconds().abs_diff(now);
            let check = format!("clock beside {place}");
            if off > CLOCK {
                let fix =
                    "set the clock of this machine, or that of the gateway: systemctl enable --now systemd-timesyncd";
                findings.bad(&check, format!("{off} s apart"), fix);
            } else {
                findings.good(&check, format!("{off} s apart"));
            }
        }
        Ok(Heard { version, .. }) => {
            let found = format!("it speaks version {version}, and this program {VERSION}");
            findings.bad(&check, found, "upgrade the older of the two");
        }
        Err(error) => {
            let fix = match &error {
                VisitError::Refused if args.evidence != EvidenceFrom::None => {
                    "it does not accept this guest: its log has the code of the refusal, and docs/attestation.md what to do".to_owned()
                }
                VisitError::Refused => format!(
                    "it does not know this worker: add `{{name: NAME, key_sha256: {}}}` to `workers` of a backend there, and reload",
                    shown.key()
                ),
                VisitError::Other(key) => format!(
                    "if that is the gateway you mean (it logs its key_sha256 at start), write --gateway {key}@{place}"
                ),
                VisitError::Tcp(_) | VisitError::Timeout => {
                    "check the address and port (`worker_listen` there), and the firewalls between".to_owned()
                }
                VisitError::NoEvidence => format!("write --gateway KEY@{place}: it logs its key_sha256 at start"),
                VisitError::Handshake(HandshakeError::Refused(_)) => {
                    "compare --gateway-policy with what the gateway is: docs/attestation.md has the codes".to_owned()
                }
                VisitError::Handshake(_) => {
                    "check that the port is `worker_listen` and that nothing between ends TLS".to_owned()
                }
                VisitError::Control(_) => "check that both are of the same version".to_owned(),
            };
            findings.bad(&check, Chain(&error).to_string(), fix);
        }
    }
}

fn chat(model: &str, more: Value) -> Value {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "Count from one to ten." }] });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    body
}

async fn ask(engine: &Engine, body: &Value) -> Result<(StatusCode, bytes::Bytes), String> {
    let answered = async {
        let (parts, body) = send(engine, body).await?.into_parts();
        let read = Limited::new(body, LARGEST).collect().await;
        let body = read.map_err(|_| "its answer breaks off, or does not end".to_owned())?;
        Ok((parts.status, body.to_bytes()))
    };
    let done = tokio::time::timeout(ANSWER, answered).await;
    done.unwrap_or_else(|_| Err(format!("no answer within {ANSWER:?}")))
}

async fn send(engine: &Engine, body: &Value) -> Result<http::Response<backends::client::Answering>, String> {
    let mut request = Request::new(Outgoing::whole(body.to_string().into()));
    *request.method_mut() = Method::POST;
    let path = format!("{}/v1/chat/completions", engine.target().base_path());
    *request.uri_mut() = path.parse().map_err(|_| "its address has no such path".to_owned())?;
    *request.headers_mut() = engine.own_headers();
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    let sent = engine.client().send(request, true).await;
    sent.map_err(|error| Chain(&error).to_string())
}
