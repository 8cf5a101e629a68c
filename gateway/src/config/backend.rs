//! Backends: groups of equal upstreams, and how each group is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use http::header::AUTHORIZATION;

use super::attestation::Places;
use super::decode::{Decode, Section, unwritten};
use super::describe::{Definitions, Describe, Mapping};
use super::document::Node;
use super::header::Headers;
use super::problem::Problems;
use super::schema::{choice, section};
use super::secret::Secret;
use super::show::{Show, Shown};
use super::url::BaseUrl;
use super::worker::{Worker, is_name};

/// Servers close idle connections after five seconds and more.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// A group of equal upstreams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// `url: X` in the file is one upstream of weight 1. At least one, or else there are workers.
    pub(crate) upstreams: Vec<Upstream>,
    /// Machines that hold the connection themselves, instead of addresses.
    pub(crate) workers: Vec<Worker>,
    /// Places that workers take by themselves.
    pub(crate) enrolment: Option<Places>,
    /// Set for kind azure, and only there.
    pub(crate) api_version: Option<String>,
    /// Sent with every request, in the order of the file.
    pub(crate) headers: Headers,
    /// `None` where the kind decides.
    pub(crate) endpoints: Option<Vec<Endpoint>>,
    pub(crate) strategy: Strategy,
    pub(crate) concurrency: Concurrency,
    pub(crate) timeouts: Timeouts,
    /// A connection that was idle for longer is not used again.
    pub(crate) keep_alive: Duration,
    pub(crate) http: HttpVersion,
    /// A trust root for `https` besides the system's.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) health: Health,
    pub(crate) breaker: Breaker,
    pub(crate) capabilities: Capabilities,
    /// `None` where the kind decides.
    pub(crate) hidden_reasoning: Option<HiddenReasoning>,
}

section! {
    /// One address of a backend.
    pub(crate) struct Upstream {
        url: BaseUrl,
        weight: u32 = 1,
        /// Its own, or else its backend's.
        api_key: Option<Secret> = None,
    }
    check |upstream: &Upstream, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(&[("weight", upstream.weight == 0)], problems);
    }
}

choice! {
    /// The program behind a backend.
    pub(crate) enum Kind {
        Openai = "openai",
        Azure = "azure",
        Vllm = "vllm",
        Sglang = "sglang",
        Llamacpp = "llamacpp",
        Ollama = "ollama",
        Tgi = "tgi",
        Anthropic = "anthropic",
        Gemini = "gemini",
        OpenaiCompatible = "openai-compatible",
    }
}

choice! {
    /// What a backend can be asked.
    pub(crate) enum Endpoint {
        ChatCompletions = "chat_completions",
        Completions = "completions",
        Embeddings = "embeddings",
        Responses = "responses",
        Messages = "messages",
        Moderations = "moderations",
        Rerank = "rerank",
        Score = "score",
        Tokenize = "tokenize",
        Detokenize = "detokenize",
        Audio = "audio",
        Images = "images",
        Files = "files",
        Batches = "batches",
    }
}

choice! {
    /// How one upstream of a backend is chosen.
    pub(crate) enum Strategy {
        PowerOfTwo = "power_of_two",
        LeastOutstanding = "least_outstanding",
        Latency = "latency",
        PrefixAffinity = "prefix_affinity",
    }
}

choice! {
    /// Reasoning that a backend counts and does not show.
    pub(crate) enum HiddenReasoning {
        Billed = "billed",
        Free = "free",
    }
}

choice! {
    /// The HTTP version spoken to an upstream.
    pub(crate) enum HttpVersion {
        /// What ALPN agrees on; HTTP/1.1 without TLS.
        Auto = "auto",
        Http1 = "http1",
        /// Without TLS: prior knowledge.
        Http2 = "http2",
    }
}

section! {
    /// How much is in flight at once.
    pub(crate) struct Concurrency {
        /// Per upstream; without one nothing is queued.
        limit: Option<u32> = None,
        /// Requests that may wait, per backend.
        queue: u32 = 1024,
        queue_timeout: Duration = Duration::from_secs(10),
    }
    check |concurrency: &Concurrency, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(&[("limit", concurrency.limit == Some(0))], problems);
    }
}

section! {
    /// How long each part of an attempt may take.
    pub(crate) struct Timeouts {
        connect: Duration = Duration::from_secs(5),
        first_frame: Duration = Duration::from_secs(120),
        /// Between two frames.
        idle: Duration = Duration::from_secs(120),
        total: Duration = Duration::from_secs(600),
    }
    check |timeouts: &Timeouts, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(
            &[
                ("connect", timeouts.connect.is_zero()),
                ("first_frame", timeouts.first_frame.is_zero()),
                ("idle", timeouts.idle.is_zero()),
                ("total", timeouts.total.is_zero()),
            ],
            problems,
        );
    }
}

section! {
    /// How an upstream is probed.
    pub(crate) struct Health {
        enabled: bool = true,
        /// `None` where the kind decides.
        path: Option<String> = None,
        interval: Duration = Duration::from_secs(5),
        timeout: Duration = Duration::from_secs(2),
    }
    check |health: &Health, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(
            &[
                ("interval", health.interval.is_zero()),
                ("timeout", health.timeout.is_zero()),
            ],
            problems,
        );
        if let Some(path) = &health.path
            && (!path.starts_with('/') || path.parse::<http::uri::PathAndQuery>().is_err())
        {
            section.report("path", "is not a path", "write it like `/health`", problems);
        }
    }
}

section! {
    /// When an upstream that fails is left alone.
    pub(crate) struct Breaker {
        /// In a row.
        failures: u32 = 5,
        cooldown: Duration = Duration::from_secs(5),
    }
    check |breaker: &Breaker, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(
            &[
                ("failures", breaker.failures == 0),
                ("cooldown", breaker.cooldown.is_zero()),
            ],
            problems,
        );
    }
}

section! {
    /// What the backend can do, where that differs from its kind.
    pub(crate) struct Capabilities {
        stream_usage: Option<bool> = None,
        developer_role: Option<bool> = None,
        max_completion_tokens: Option<bool> = None,
        n: Option<bool> = None,
    }
}

impl Decode for Backend {
    const IS_MAPPING: bool = true;

    fn decode(node: &Node, key: &str, problems: &mut Problems) -> Option<Self> {
        let mut section = Section::open(node, key, problems);
        let name: String = section.required("name", problems);
        if !is_name(&name) {
            section.report(
                "name",
                "has a character that a backend's name cannot have",
                "use a-z, 0-9, `-`, `_` and `.`",
                problems,
            );
        }
        let kind = section.or("kind", Kind::OpenaiCompatible, problems);
        let backend = Self {
            name,
            kind,
            upstreams: upstreams(&mut section, kind, problems),
            workers: section.or("workers", Vec::new(), problems),
            enrolment: section.or("enrolment", None, problems),
            api_version: section.or("api_version", None, problems),
            headers: section.or("headers", Headers::default(), problems),
            endpoints: section.or("endpoints", None, problems),
            strategy: section.or("strategy", Strategy::PowerOfTwo, problems),
            concurrency: section.or("concurrency", unwritten(), problems),
            timeouts: section.or("timeouts", unwritten(), problems),
            keep_alive: section.or("keep_alive", KEEP_ALIVE, problems),
            http: section.or("http", HttpVersion::Auto, problems),
            ca_file: section.or("ca_file", None, problems),
            health: section.or("health", unwritten(), problems),
            breaker: section.or("breaker", unwritten(), problems),
            capabilities: section.or("capabilities", unwritten(), problems),
            hidden_reasoning: section.or("hidden_reasoning", None, problems),
        };
        backend.check(&section, problems);
        backend.check_workers(&section, problems);
        section.close(problems);
        Some(backend)
    }
}

impl Backend {
    fn check(&self, section: &Section<'_>, problems: &mut Problems) {
        match (self.kind, section.has("api_version")) {
            (Kind::Azure, false) => section.report(
                "api_version",
                "missing; kind azure needs it",
                "add the version of your deployment, such as `api_version: 2024-10-21`",
                problems,
            ),
            (Kind::Azure, true) | (_, false) => {}
            (_, true) => section.report(
                "api_version",
                format!("has no meaning for kind {}", self.kind.as_str()),
                "remove it, or write `kind: azure`",
                problems,
            ),
        }
        if section.is_empty_list("endpoints") {
            let fix = "leave it out for the default of the kind, or name an endpoint";
            section.report("endpoints", "is empty", fix, problems);
        }
        let known = |endpoint: &Endpoint| matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Messages);
        let is_translated = matches!(self.kind, Kind::Anthropic | Kind::Gemini);
        if let Some(endpoints) = self.endpoints.as_ref().filter(|_| is_translated)
            && let Some(at) = endpoints.iter().position(|endpoint| !known(endpoint))
        {
            section.report(
                &format!("endpoints[{at}]"),
                format!("kind {} has no {}", self.kind.as_str(), endpoints[at].as_str()),
                "remove it; chat_completions and messages are translated",
                problems,
            );
        }
        if self.ca_file.is_some() && !self.upstreams.iter().any(|u| u.url.is_https()) {
            section.report(
                "ca_file",
                "is never used: no upstream has an https URL",
                "remove it, or write https in the URL",
                problems,
            );
        }
        let authorized = |upstream: &Upstream| upstream.api_key.is_some();
        if self.headers.0.iter().any(|(n, _)| *n == AUTHORIZATION) && self.upstreams.iter().any(authorized) {
            section.report(
                "headers",
                "sets authorization, and so does `api_key`",
                "keep one of the two",
                problems,
            );
        }
    }
}

impl Backend {
    fn check_workers(&self, section: &Section<'_>, problems: &mut Problems) {
        if !section.has("workers") {
            if section.has("enrolment") {
                let fix = "add `workers: []`, and route the addresses apart";
                section.report("enrolment", "is for a backend of workers", fix, problems);
            }
            return;
        }
        if section.is_empty_list("workers") && !section.has("enrolment") {
            let fix = "name a worker, or write `url:` with the address of a server";
            section.report("workers", "is empty", fix, problems);
        }
        let is_engine = matches!(
            self.kind,
            Kind::Vllm | Kind::Sglang | Kind::Llamacpp | Kind::Ollama | Kind::Tgi | Kind::OpenaiCompatible
        );
        if !is_engine {
            section.report(
                "kind",
                format!("{} is a provider and runs on no worker", self.kind.as_str()),
                "write what the workers run: vllm, sglang, llamacpp, ollama, tgi or openai-compatible",
                problems,
            );
        }
        if section.has("api_key") {
            let fix = "remove it, and give the worker the key of its engine: mulberry worker --engine-key";
            section.report("api_key", "no credential is ever sent to a worker", fix, problems);
        }
        for (i, worker) in self.workers.iter().enumerate() {
            // An empty name stands for one that was missing, which is told already.
            let is_again = |other: &Worker| other.name == worker.name && !other.name.is_empty();
            if self.workers[..i].iter().any(is_again) {
                let item = format!("workers[{i}].name");
                let message = format!("{} is the name of an earlier one", section.quoted(&item));
                section.report(&item, message, "give each its own name", problems);
            }
        }
    }
}

/// Reads `url`, `upstreams` and `api_key`, which say the same thing in a short and a long way.
fn upstreams(section: &mut Section<'_>, kind: Kind, problems: &mut Problems) -> Vec<Upstream> {
    let url: BaseUrl = section.or("url", BaseUrl::stand_in(), problems);
    let mut upstreams: Vec<Upstream> = section.or("upstreams", Vec::new(), problems);
    let api_key: Option<Secret> = section.or("api_key", None, problems);
    match (section.has("url"), section.has("upstreams")) {
        (true, true) => section.report(
            "upstreams",
            "a backend has either `url` or `upstreams`, not both",
            "move the url into the list",
            problems,
        ),
        (false, false) if section.has("workers") => {}
        (false, false) => section.report(
            "url",
            "a backend needs `url` or `upstreams`, and neither is set",
            "add `url:` with the address of the server",
            problems,
        ),
        (_, _) if section.has("workers") => section.report(
            "workers",
            "a backend has either addresses or workers, not both",
            "make two backends of it, and route the model to both",
            problems,
        ),
        (true, false) => upstreams.push(Upstream {
            url,
            weight: 1,
            api_key: None,
        }),
        (false, true) if section.is_empty_list("upstreams") => {
            section.report("upstreams", "is empty", "add a `- url:` line", problems);
        }
        (false, true) => {}
    }
    for upstream in &mut upstreams {
        // Hosted providers serve more than one API and keep the base path that they document.
        match kind {
            Kind::Openai | Kind::Azure if upstream.url.path() != "/v1" => {}
            Kind::Gemini => upstream.url.strip("/v1beta"),
            _ => upstream.url.strip("/v1"),
        }
        if upstream.api_key.is_none() {
            upstream.api_key.clone_from(&api_key);
        }
    }
    for (i, upstream) in upstreams.iter().enumerate() {
        let stand_in = upstream.url == BaseUrl::stand_in();
        if !stand_in && upstreams[..i].iter().any(|other| other.url == upstream.url) {
            let item = format!("upstreams[{i}].url");
            let fix = "remove one, and use `weight` to send it more";
            section.report(&item, "is the address of an earlier one", fix, problems);
        }
    }
    upstreams
}

impl Describe for Backend {
    fn describe(definitions: &mut Definitions) -> serde_json::Value {
        definitions.mapping("Backend", |to| {
            let mut mapping = Mapping::new(&["A group of equal upstreams."]);
            mapping.required::<String>("name", &["a-z, 0-9, -, _ and ."], to);
            mapping.or::<Kind>("kind", &["The program behind it."], &Kind::OpenaiCompatible.show(), to);
            mapping.alternative::<BaseUrl>("url", &["Its address, where there is one."], to);
            mapping.alternative::<Vec<Upstream>>("upstreams", &["Its addresses, where there are several."], to);
            let doc = ["Machines that hold the connection themselves, instead of addresses."];
            mapping.alternative::<Vec<Worker>>("workers", &doc, to);
            let doc = ["Places that workers take by themselves, where `attestation.enrolment` lets them; beside `workers`, which may be empty then."];
            mapping.or::<Option<Places>>("enrolment", &doc, &Shown::Null, to);
            mapping.or::<Option<Secret>>(
                "api_key",
                &["Sent to every upstream without its own."],
                &Shown::Null,
                to,
            );
            let doc = ["The version of Azure's API; kind azure needs it, and no other has it."];
            mapping.or::<Option<String>>("api_version", &doc, &Shown::Null, to);
            let doc = ["Sent with every request, in this order."];
            mapping.or::<Headers>("headers", &doc, &Headers::default().show(), to);
            let doc = ["What it can be asked; null where the kind decides."];
            mapping.or::<Option<Vec<Endpoint>>>("endpoints", &doc, &Shown::Null, to);
            mapping.or::<Strategy>("strategy", &[], &Strategy::PowerOfTwo.show(), to);
            mapping.or::<Concurrency>("concurrency", &[], &unwritten::<Concurrency>().show(), to);
            mapping.or::<Timeouts>("timeouts", &[], &unwritten::<Timeouts>().show(), to);
            let doc = ["A connection that was idle for longer is not used again."];
            mapping.or::<Duration>("keep_alive", &doc, &KEEP_ALIVE.show(), to);
            mapping.or::<HttpVersion>("http", &[], &HttpVersion::Auto.show(), to);
            let doc = ["A trust root for https besides the system's."];
            mapping.or::<Option<PathBuf>>("ca_file", &doc, &Shown::Null, to);
            mapping.or::<Health>("health", &[], &unwritten::<Health>().show(), to);
            mapping.or::<Breaker>("breaker", &[], &unwritten::<Breaker>().show(), to);
            mapping.or::<Capabilities>("capabilities", &[], &unwritten::<Capabilities>().show(), to);
            let doc = ["Whether reasoning that it counts and does not show is charged; null where the kind decides."];
            mapping.or::<Option<HiddenReasoning>>("hidden_reasoning", &doc, &Shown::Null, to);
            mapping.build(&["url", "upstreams", "workers"])
        })
    }
}

impl Show for Backend {
    fn show(&self) -> Shown {
        let fields = [
            ("name", self.name.show()),
            ("kind", self.kind.show()),
            if self.workers.is_empty() && self.enrolment.is_none() {
                ("upstreams", self.upstreams.show())
            } else {
                ("workers", self.workers.show())
            },
            ("enrolment", self.enrolment.show()),
            ("api_version", self.api_version.show()),
            ("headers", self.headers.show()),
            ("endpoints", self.endpoints.show()),
            ("strategy", self.strategy.show()),
            ("concurrency", self.concurrency.show()),
            ("timeouts", self.timeouts.show()),
            ("keep_alive", self.keep_alive.show()),
            ("http", self.http.show()),
            ("ca_file", self.ca_file.show()),
            ("health", self.health.show()),
            ("breaker", self.breaker.show()),
            ("capabilities", self.capabilities.show()),
            ("hidden_reasoning", self.hidden_reasoning.show()),
        ];
        Shown::Map(fields.map(|(name, value)| (name.to_owned(), value)).into())
    }
}
