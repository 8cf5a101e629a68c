//! `mulberry demo`: all that exists so far in one process, and the lines to try it with.
//!
//! Nobody needs a key, and everybody is charged to one organisation, with play money: see [`purse`].
//! Nothing outlives it: records and the ledger go to a temporary folder, and their sums are shown at the end.

use std::{
    collections::BTreeMap,
    fs::DirBuilder,
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use attestation::Tier;
use backends::{
    body::Outgoing,
    client::{Client, Connector, HttpVersion, Target},
    serve::BoxError,
};
use backends_mock::Config as MockConfig;
use billing::AccountId;
use billing_store::{GroupBy, Reader, UsageQuery};
use http::Request;
use http_body_util::{BodyExt, Limited};
use openapi::model::ModelList;

use super::{
    serve::serve,
    usage::{plain, sums},
};
use crate::{
    admin::token,
    app::{App, database},
    cli::{By, DemoArgs},
    layers::rescue::Chain,
    listener,
    source::{Origin, Source},
};
use guest::Guest;

mod guest;
mod purse;

/// The engines that people run, and where they listen unless told otherwise.
const USUAL: [(&str, &str, &str); 5] = [
    ("Ollama", "ollama", "http://127.0.0.1:11434"),
    ("vLLM", "vllm", "http://127.0.0.1:8000"),
    ("llama.cpp", "llamacpp", "http://127.0.0.1:8080"),
    ("LM Studio", "openai-compatible", "http://127.0.0.1:1234"),
    ("SGLang", "sglang", "http://127.0.0.1:30000"),
];
/// What every model of the demo costs, in coins; the tokens are counted by the million. With a price for a request, so that audio
/// and images are served too, whose tokens nobody counts.
const PRICE: &str = "{currency: TON, prompt: 0.02, cached: 0.005, completion: 0.16, request: 0.000001, fee: {prompt: 0.001, completion: 0.008}}";
/// How long a port gets to show that an engine is behind it.
const LOOK: Duration = Duration::from_millis(700);

/// How long the worker has to be let in, in all.
const TRIES: u32 = 100;
const TRY: Duration = Duration::from_millis(100);

/// The engine that answers.
struct Engine {
    name: String,
    kind: &'static str,
    url: String,
    model: String,
    is_scripted: bool,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "the demo asks for no key, so it listens on this machine only: leave --listen out, or name a port of 127.0.0.1"
)]
struct Public;

#[derive(Debug, thiserror::Error)]
#[error("no OpenAI-compatible server answers at {0}: check the address, or leave --upstream out")]
struct NoEngine(String);

#[derive(Debug, thiserror::Error)]
#[error("the demo needs a place for its ledger, and MULBERRY_DATA_DIR is set to null: unset it")]
struct NoDatabase;

pub(super) async fn run(args: DemoArgs) -> Result<(), BoxError> {
    if !args.listen.ip().to_canonical().is_loopback() {
        return Err(Public.into());
    }
    let engine = match &args.upstream {
        Some(url) => look("the server", "openai-compatible", url)
            .await
            .ok_or_else(|| NoEngine(url.clone()))?,
        None => match find(args.listen.port()).await {
            Some(engine) => engine,
            None => scripted().await?,
        },
    };
    let folder = Folder::new()?;
    let guest = Guest::prepare(&folder.0, &engine)?;
    let backends = match &guest {
        Some(guest) => guest.yaml(engine.kind)?,
        None => format!(
            "backends: [{{name: engine, kind: {}, url: \"{}\"}}]\n",
            engine.kind, engine.url
        ),
    };
    let text = format!(
        "listen: \"{}\"\nadmin_listen: 127.0.0.1:0\ndata_dir: {}\n{backends}log: {{level: warn}}\ndrain: {{timeout: 5s}}\nledger: {{currency: TON, anonymous: {}, prices: [{{price: {PRICE}}}]}}\n",
        args.listen,
        serde_json::to_string(&folder.0)?,
        AccountId::default_organisation(),
    );
    let source = Source::new(Origin::Text("demo", text), BTreeMap::new());
    let config = source.read().config?.config;
    let records = database(&config).ok_or(NoDatabase)?;
    purse::fill(&records).await?;
    serve(source, |app| {
        // Made when the gateway was built; on this terminal only, and gone with the folder.
        let token = token::file(&config).and_then(|path| token::read(&path).ok().flatten());
        let text = greeting(app, &engine, guest.as_ref(), &token.unwrap_or_default());
        let Some((guest, (workers, _))) = guest.zip(app.workers()) else {
            return Ok(std::io::stdout().write_all(text.as_bytes())?);
        };
        let address = app.address();
        tokio::spawn(async move {
            tokio::spawn(async move {
                if let Err(error) = guest.serve(workers).await {
                    tracing::error!(error = %Chain(&*error), "the demo's worker ended");
                }
            });
            // What is printed works at once.
            let base = address.map(|address| format!("http://{address}")).unwrap_or_default();
            for _ in 0..TRIES {
                if list_models(&base).await.is_some_and(|models| !models.is_empty()) {
                    break;
                }
                tokio::time::sleep(TRY).await;
            }
            // A terminal that is gone is told nothing.
            drop(std::io::stdout().write_all(text.as_bytes()));
        });
        Ok(())
    })
    .await?;
    let reader = Reader::open(&records).await?;
    let rows = reader
        .usage(UsageQuery {
            since_ms: 0,
            until_ms: i64::MAX,
            group_by: GroupBy::Model,
            limit: 100,
        })
        .await?;
    reader.close().await;
    let bill = purse::bill(&records).await?;
    let text = format!(
        "\nWhat was used:\n\n{}\nWhat it cost:\n\n{bill}",
        sums(By::Model, &rows)
    );
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// The first engine that answers on a usual port; not the port that we shall listen on ourselves.
async fn find(ours: u16) -> Option<Engine> {
    let candidates = USUAL.iter().filter(|(_, _, url)| !url.ends_with(&format!(":{ours}")));
    let looks = candidates.map(|(name, kind, url)| look(name, kind, url));
    futures_util::future::join_all(looks).await.into_iter().flatten().next()
}

/// An engine at this address, if one lists a model.
async fn look(name: &str, kind: &'static str, url: &str) -> Option<Engine> {
    let models = tokio::time::timeout(LOOK, list_models(url)).await.ok()??;
    // An embedder cannot hold a conversation.
    let talks = models.iter().find(|model| !model.contains("embed"));
    let model = talks.or(models.first())?.clone();
    Some(Engine {
        name: name.to_owned(),
        kind,
        url: url.to_owned(),
        model,
        is_scripted: false,
    })
}

async fn list_models(url: &str) -> Option<Vec<String>> {
    let target = Target::parse(url).ok()?;
    let tls = target.is_https().then(|| crate::tls::client(None)).transpose().ok()?;
    let path = format!("{}/v1/models", target.base_path());
    let host = target.authority();
    let client = Client::new(Connector::new(target, HttpVersion::Auto, LOOK, tls.as_deref()), LOOK);
    let request = Request::get(path).header("host", host).body(Outgoing::Empty).ok()?;
    let response = client.send(request, true).await.ok()?;
    let body = Limited::new(response.into_body(), 1 << 20).collect().await.ok()?;
    let models = ModelList::from_upstream(&body.to_bytes())?;
    Some(models.into_iter().map(|model| model.id).collect())
}

/// The built-in engine on a port of its own.
async fn scripted() -> Result<Engine, BoxError> {
    let listener = listener::bind(([127, 0, 0, 1], 0).into())?;
    let url = format!("http://{}", listener.local_addr()?);
    let config = MockConfig {
        models: Vec::new(),
        chunk_delay: Duration::from_millis(40),
        require_key: None,
    };
    tokio::spawn(async move {
        if let Err(error) = backends_mock::serve(listener, config, std::future::pending()).await {
            tracing::error!(%error, "the scripted engine ended");
        }
    });
    Ok(Engine {
        name: "scripted".to_owned(),
        kind: "openai-compatible",
        url,
        model: "mock".to_owned(),
        is_scripted: true,
    })
}

fn greeting(app: &App, engine: &Engine, guest: Option<&Guest>, token: &str) -> String {
    let address = app.address().map(|address| address.to_string()).unwrap_or_default();
    let base = format!("http://{address}");
    let mut text = format!(
        "\nMulberry {} demo: everything that exists so far, in one process.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:9} {value}\n"));
    line("gateway", format!("{base}   real; no key needed from this machine"));
    if engine.is_scripted {
        line(
            "engine",
            "SIMULATED: scripted and built in, for no engine was found on the usual ports".to_owned(),
        );
    } else {
        line(
            "engine",
            format!(
                "{} at {}, model {}   real",
                engine.name,
                engine.url,
                plain(&engine.model)
            ),
        );
    }
    line(
        "records",
        "real, in a temporary folder that goes when the demo ends".to_owned(),
    );
    if let Some(admin) = app.admin_address() {
        line("console", format!("http://{admin}/   sign in with {token}"));
        line("metrics", format!("http://{admin}/metrics"));
    }
    line(
        "money",
        format!(
            "real ledger, play money: {} has {} {}, and pays 0.021 for a million tokens of prompt, 0.168 of answer",
            AccountId::default_organisation(),
            purse::DEPOSIT,
            purse::COIN,
        ),
    );
    match guest {
        Some(_) => {
            line(
                "worker",
                "SIMULATED TDX guest beside the engine, behind real attested TLS: both ends show evidence and check it"
                    .to_owned(),
            );
            line(
                "trust",
                "tier tee, by a root of the demo's own: it shows the whole path and protects nothing on this machine"
                    .to_owned(),
            );
        }
        None => line("trust", format!("tier open. {}", Tier::Open.promise())),
    }
    // The name is the engine's, and the line is for a shell: no quote of it may end ours.
    let model = serde_json::to_string(&engine.model)
        .unwrap_or_default()
        .replace('\'', "\\u0027");
    let curl = |flags: &str, header: &str, more: &str| {
        format!(
            "curl {flags}{base}/v1/chat/completions {header}-H 'content-type: application/json' -d '{{\"model\":{model},\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}],\"max_tokens\":64{more}}}'"
        )
    };
    text.push_str(&format!(
        "\nTry it:\n\n{}\n\n{}\n\nOr open {base}/docs, or set the base URL of any OpenAI client to {base}/v1\n",
        curl("", "", ""),
        curl("-N ", "", ",\"stream\":true"),
    ));
    if let Some(key) = app.receipt_key() {
        text.push_str(&format!(
            "\nSee what it costs (x-mulberry-cost, total_cost), and check the receipt that the gateway signed for it:\n\n{}\n\ncurl -s {base}/v1/receipts/first | {} verify - --allow-gaps --key {key}\n",
            curl("-si ", "-H 'x-request-id: first' ", ""),
            program(),
        ));
        if let Some(guest) = guest {
            text.push_str(&format!(
                "\nFetch the evidence of the guest that gave that answer, and verify it (under the demo's own root, which proves nothing):\n\n{} attest fetch {base} --answer first --save {} --danger-development-trust-anchor {}\n",
                program(),
                guest.kept().display(),
                guest.root().display(),
            ));
        }
    }
    text.push_str("\nCtrl-C ends the demo.\n\n");
    text
}

/// This program, as a shell runs it.
fn program() -> String {
    let path = std::env::current_exe().ok();
    let path = path.as_deref().and_then(Path::to_str).unwrap_or("mulberry");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(is_plain) {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// A folder that goes with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!(
            "mulberry-demo-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        ));
        // The key that signs receipts will be in it.
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "the demo's folder could not be removed");
        }
    }
}
