//! `mulberry demo`: app's side, gateway, worker and chain in one process, and the lines to try it with.
//!
//! Nobody needs a key: in front of the gateway stands what stands beside an app elsewhere, [`client`], which pays each
//! request from a channel on a simulated chain, [`coins`]; behind it the gateway pays its worker, [`guest`], the same way.
//! Nothing outlives it: records, ledger and chain are in a temporary folder. At the end the channels are closed, and it
//! is told who got what, in [`purse`] and [`payday`].

use std::{
    collections::BTreeMap,
    fs::DirBuilder,
    io::Write as _,
    net::SocketAddr,
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
use billing::channel::{Settlement, payer::Phase, x402::Offer};
use billing_store::{GroupBy, Location, Reader, UsageQuery, ledger::channel_account};
use http::Request;
use http_body_util::{BodyExt, Limited};
use openapi::model::ModelList;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::{
    serve::serve_until,
    usage::{plain, sums},
};
use crate::{
    admin::token,
    app::{App, database},
    cli::{By, DemoArgs},
    config::{Address, KeyDigest},
    connect::Gateway,
    layers::rescue::Chain,
    listener,
    signal::Signals,
    source::{Origin, Source},
    trust::TrustSettings,
    wages::Wages,
    worker::IncomeSettings,
};
use client::{DEPOSIT, Patron};
use coins::Coins;
use guest::Guest;
use payday::{Earned, Sums};

mod client;
mod coins;
mod guest;
mod payday;
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
/// Where the demo listens unless told otherwise.
const PORTS: std::ops::RangeInclusive<u16> = 8080..=8099;
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
    let listener = listen(args.listen)?;
    let ours = listener.local_addr()?;
    let engine = match &args.upstream {
        Some(url) => look("the server", "openai-compatible", url)
            .await
            .ok_or_else(|| NoEngine(url.clone()))?,
        None => match find(ours.port()).await {
            Some(engine) => engine,
            None => scripted().await?,
        },
    };
    // The second one ends what is open.
    let (mut first, mut second) = (Signals::install()?, Signals::install()?);
    let base = format!("http://{ours}");
    let folder = Folder::new()?;
    let coins = Coins::begin(&folder.0).await?;
    let guest = Guest::prepare(&folder.0, &engine)?;
    let source = Source::new(
        Origin::Text("demo", yaml(&folder.0, &engine, guest.as_ref(), &coins)?),
        BTreeMap::new(),
    );
    let config = source.read().config?.config;
    let records = database(&config).ok_or(NoDatabase)?;
    let stop = async move { first.next().await };
    let hurry = async move {
        // Both hear the first signal.
        second.next().await;
        second.next().await;
    };
    // One falls when the gateway shall end, the other when it has.
    let (end, told) = oneshot::channel::<()>();
    let (alive, gone) = oneshot::channel::<()>();
    let mut playing = None;
    let served = serve_until(
        source,
        |app| {
            // Made when the gateway was built; on this terminal only, and gone with the folder.
            let token = token::file(&config).and_then(|path| token::read(&path).ok().flatten());
            let greeting = greeting(app, &base, &engine, guest.as_ref(), &token.unwrap_or_default());
            let play = Play {
                base,
                greeting,
                worker: guest.zip(app.workers().map(|(address, _)| address)),
                attested: app.attested().ok_or("the gateway listens for no app")?,
                own: app.address().ok_or("the gateway listens nowhere")?,
                offer: app.payments().offer().ok_or("the gateway takes no payment")?,
                wages: app.wages().clone(),
                coins,
            };
            let stop = async {
                tokio::select! {
                    () = stop => {}
                    _ = gone => {}
                }
            };
            playing = Some(tokio::spawn(async move {
                let played = play.run(listener, stop, hurry).await;
                drop(end);
                played
            }));
            Ok(())
        },
        async { drop(told.await) },
        std::future::pending(),
    )
    .await;
    drop(alive);
    served?;
    let played = playing.ok_or("the demo has not begun")?.await??;
    let ended = played.end(&records, &folder.0.join("payee.key")).await?;
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
    let bill = purse::bill(&records, &channel_account(&ended.client.kept.id)).await?;
    let text = format!(
        "\nWhat was used:\n\n{}\nWhat it cost:\n\n{bill}",
        sums(By::Model, &rows)
    );
    std::io::stdout().write_all(text.as_bytes())?;
    let sums = Sums::check(&ended.coins, &ended.client, &ended.last, bill.spent, ended.earned).await?;
    Ok(std::io::stdout().write_all(format!("\n{sums}").as_bytes())?)
}

/// Where it was told, or on the first port from the usual one that is free: an engine may have that.
fn listen(at: Option<SocketAddr>) -> Result<TcpListener, BoxError> {
    if let Some(at) = at {
        if !at.ip().to_canonical().is_loopback() {
            return Err(Public.into());
        }
        return Ok(listener::bind(at)?);
    }
    let mut ports = PORTS.map(|port| listener::bind(([127, 0, 0, 1], port).into()));
    // The last one says what is wrong with the usual one.
    let first = ports.next().ok_or("there is no usual port")?;
    let found = first.or_else(|error| ports.find_map(Result::ok).ok_or(error));
    Ok(found?)
}

fn yaml(folder: &Path, engine: &Engine, guest: Option<&Guest>, coins: &Coins) -> Result<String, BoxError> {
    let backends = match guest {
        Some(guest) => guest.yaml(engine.kind)?,
        None => format!(
            "backends: [{{name: engine, kind: {}, url: \"{}\"}}]\n",
            engine.kind, engine.url
        ),
    };
    Ok(format!(
        "listen: 127.0.0.1:0\nattested_listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\ndata_dir: {}\n{backends}{}log: {{level: warn}}\ndrain: {{timeout: 5s}}\nledger: {{currency: TON, prices: [{{price: {PRICE}}}]}}\n",
        serde_json::to_string(folder)?,
        coins.yaml(guest.is_some())?,
    ))
}

/// All who take part beside the gateway, from its start to its end.
struct Play {
    base: String,
    greeting: String,
    worker: Option<(Guest, SocketAddr)>,
    attested: (SocketAddr, KeyDigest),
    own: SocketAddr,
    offer: Offer,
    wages: Wages,
    coins: Coins,
}

/// When the client has closed, and the gateway ends.
struct Played {
    client: Patron,
    /// Missing where an administrator ended the gateway first.
    last: Option<Settlement>,
    coins: Coins,
    has_worker: bool,
}

/// The worker in its task. It ends when the sender falls.
struct Working {
    leave: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// When all have ended, and all is paid.
struct Ended {
    client: Patron,
    last: Settlement,
    coins: Coins,
    earned: Option<Earned>,
}

impl Play {
    /// Until the client has closed its channel.
    async fn run(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
        hurry: impl Future<Output = ()>,
    ) -> Result<Played, BoxError> {
        let Self {
            base,
            greeting,
            worker,
            attested: (address, key),
            own,
            offer,
            wages,
            coins,
        } = self;
        let trust = worker.as_ref().map(|(guest, _)| guest.trust());
        let worker = match worker {
            Some((guest, gateway)) => Some(Working::begin(guest, gateway, guest::income(&coins)?)),
            None => None,
        };
        let client = Patron::open(&coins, offer, format!("http://{own}")).await?;
        let gateway = Gateway {
            address: Address::parse(&address.to_string()).ok_or("the gateway listens nowhere")?,
            // Where it has no evidence.
            key: trust.is_none().then_some(key),
        };
        let trust = trust.unwrap_or(TrustSettings {
            policy: None,
            collateral: Vec::new(),
            danger_anchor: None,
            shelf: None,
        });
        let sidecar = client.sidecar(&coins, &trust, gateway)?;
        let cashier = sidecar.cashier();
        let greet = tokio::spawn(async move {
            // What is printed works at once.
            for _ in 0..TRIES {
                let is_paying = cashier.picture().phase == Phase::Open;
                if is_paying && list_models(&base).await.is_some_and(|models| !models.is_empty()) {
                    break;
                }
                tokio::time::sleep(TRY).await;
            }
            // A terminal that is gone is told nothing.
            drop(std::io::stdout().write_all(greeting.as_bytes()));
        });
        sidecar.run(listener, stop, hurry).await;
        greet.abort();
        let last = client.close(&coins).await;
        let last = last.inspect_err(|error| {
            tracing::warn!(
                error = %Chain(&**error),
                "the gateway does not close the demo's channel; it is closed when it has ended"
            );
        });
        let last = last.ok();
        payday::covered(&wages).await;
        let has_worker = worker.is_some();
        // Before the gateway, which it would look for.
        if let Some(Working { leave, task }) = worker {
            drop(leave);
            task.await?;
        }
        Ok(Played {
            client,
            last,
            coins,
            has_worker,
        })
    }
}

impl Working {
    fn begin(guest: Guest, gateway: SocketAddr, income: IncomeSettings) -> Self {
        let (leave, left) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            if let Err(error) = guest.serve(gateway, income, async { drop(left.await) }).await {
                tracing::error!(error = %Chain(&*error), "the demo's worker ended");
            }
        });
        Self { leave, task }
    }
}

impl Played {
    /// The gateway has ended, and nothing else pays from its wallet any more: the worker is paid.
    async fn end(self, ledger: &Location, key: &Path) -> Result<Ended, BoxError> {
        let Self {
            client,
            last,
            coins,
            has_worker,
        } = self;
        let last = match last {
            Some(last) => last,
            None => client.close_for(&coins, ledger, key).await?,
        };
        let earned = if has_worker {
            Some(payday::pay_worker(&coins, coins.earned()).await?)
        } else {
            None
        };
        Ok(Ended {
            client,
            last,
            coins,
            earned,
        })
    }
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

fn greeting(app: &App, base: &str, engine: &Engine, guest: Option<&Guest>, token: &str) -> String {
    let mut text = format!(
        "\nMulberry {} demo: app, connect, gateway, worker and chain in one process.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    let mut line = |name: &str, value: String| text.push_str(&format!("  {name:9} {value}\n"));
    line(
        "gateway",
        format!("{base}   real, behind mulberry connect; no key is needed, and one that is sent goes nowhere"),
    );
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
            "real ledger, play money: a million tokens of prompt cost 0.021 {}, of answer 0.168, and each request 0.000001",
            purse::COIN,
        ),
    );
    line(
        "channel",
        format!(
            "real contract on a SIMULATED chain: {DEPOSIT} {} are paid in, and mulberry connect at the gateway's address pays each request from it",
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
        "\nTry it:\n\n{}\n\n{}\n\nOr open {base}/docs, or set the base URL of any OpenAI client to {base}/v1; its API key may be anything\n",
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
