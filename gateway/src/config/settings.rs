//! The sections that concern the gateway as a whole.

use std::path::PathBuf;
use std::time::Duration;

use super::decode::Section;
use super::header::Headers;
use super::key::AdminToken;
use super::problem::Problems;
use super::schema::{choice, section};
use super::units::Size;
use super::url::BaseUrl;

section! {
    /// The certificate that `listen` presents.
    pub(crate) struct Tls {
        /// PEM: the certificate and its chain.
        certificate: PathBuf,
        /// PEM: the private key.
        key: PathBuf,
    }
}

section! {
    /// What one client, and all together, may ask of the process.
    pub(crate) struct Limits {
        /// A request body as it arrives.
        body: Size = Size::mib(32),
        /// The same after decompression.
        decompressed: Size = Size::mib(32),
        /// The body of an endpoint that takes files.
        upload: Size = Size::mib(1024),
        /// Requests in flight.
        concurrency: u32 = 10_000,
        /// How long a client may take to send the head of a request.
        header_read: Duration = Duration::from_secs(10),
        /// How long an idle client connection stays open; longer than a balancer in front keeps its own.
        keep_alive: Duration = Duration::from_secs(75),
        /// The longest pause within a request body.
        body_read: Duration = Duration::from_secs(60),
        /// How long a client may read nothing of its answer.
        body_write: Duration = Duration::from_secs(60),
        /// Open client connections.
        connections: u32 = 16_000,
        /// One line of an upstream's event stream.
        sse_line: Size = Size::mib(8),
        /// An upstream's answer that is read whole.
        response: Size = Size::mib(64),
    }
    check |limits: &Limits, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(
            &[
                ("concurrency", limits.concurrency == 0),
                ("connections", limits.connections == 0),
                ("header_read", limits.header_read.is_zero()),
                ("keep_alive", limits.keep_alive.is_zero()),
                ("body_read", limits.body_read.is_zero()),
                ("body_write", limits.body_write.is_zero()),
            ],
            problems,
        );
    }
}

section! {
    /// How a failed attempt is followed by another.
    pub(crate) struct Retry {
        /// Tries of one request in all, the first included.
        attempts: u32 = 2,
        /// Retries in per cent of requests, so that an outage is not multiplied.
        budget_percent: u32 = 20,
        /// How often a comment is sent to a client that waits for the first frame.
        heartbeat: Duration = Duration::from_secs(10),
        /// How long the status is held back while no data frame came.
        commit_after: Duration = Duration::from_secs(10),
    }
    check |retry: &Retry, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(
            &[
                ("attempts", retry.attempts == 0),
                ("heartbeat", retry.heartbeat.is_zero()),
            ],
            problems,
        );
        if retry.budget_percent > 100 {
            let fix = "write a number from 0 to 100";
            section.report("budget_percent", "is more than 100", fix, problems);
        }
    }
}

section! {
    /// The web pages that may call the API.
    pub(crate) struct Cors {
        /// Origins such as `https://app.example`, or `*`.
        origins: Vec<String>,
    }
    check |cors: &Cors, section: &Section<'_>, problems: &mut Problems| {
        if section.is_empty_list("origins") {
            let fix = "name an origin, or remove `cors`";
            section.report("origins", "is empty", fix, problems);
        }
        let bad = |(_, origin): &(usize, &String)| !is_origin(origin);
        for (i, _) in cors.origins.iter().enumerate().filter(bad) {
            let item = format!("origins[{i}]");
            let message = format!("{} is not an origin", section.quoted(&item));
            let fix = "write a scheme, a host and perhaps a port, and no `/` after it: `https://app.example`; or `*`";
            section.report(&item, message, fix, problems);
        }
    }
}

/// `*`, or a scheme and a host as a browser writes them: <https://www.rfc-editor.org/rfc/rfc6454#section-6.2>.
fn is_origin(origin: &str) -> bool {
    let host = origin.split_once("://").map(|(_, host)| host);
    let written_alike = origin == origin.to_lowercase();
    origin == "*"
        || written_alike
            && host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*']))
            && origin.parse::<http::HeaderValue>().is_ok()
}

section! {
    /// Who may administer.
    pub(crate) struct Admin {
        /// Without any, one is made at start and kept in `admin.token` of the data directory.
        tokens: Vec<AdminToken> = Vec::new(),
    }
}

section! {
    /// When the configuration is read again.
    pub(crate) struct Reload {
        /// How often the files are looked at; `null` waits for SIGHUP or the admin API.
        watch: Option<Duration> = Some(Duration::from_secs(1)),
    }
    check |reload: &Reload, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(&[("watch", reload.watch.is_some_and(|watch| watch.is_zero()))], problems);
    }
}

section! {
    /// Answers kept in memory for clients that repeat an `Idempotency-Key`.
    pub(crate) struct Idempotency {
        ttl: Duration = Duration::from_secs(600),
        /// Of all answers together; the oldest go first.
        memory: Size = Size::mib(64),
        /// A larger answer is not kept.
        answer: Size = Size::mib(1),
    }
    check |idempotency: &Idempotency, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(&[("ttl", idempotency.ttl.is_zero())], problems);
    }
}

section! {
    /// Where observations go.
    pub(crate) struct Telemetry {
        /// `service.name` of the traces.
        service_name: String = "mulberry".to_owned(),
        /// OTLP over HTTP; off by default.
        otlp: Option<Otlp> = None,
    }
}

section! {
    /// A collector of traces.
    pub(crate) struct Otlp {
        /// Without `/v1/traces`, such as `http://127.0.0.1:4318`.
        endpoint: BaseUrl,
        headers: Headers = Headers::default(),
        /// Of the requests that bring no trace of their own, so many are traced.
        sample_percent: u32 = 100,
        timeout: Duration = Duration::from_secs(10),
    }
    check |otlp: &Otlp, section: &Section<'_>, problems: &mut Problems| {
        if otlp.sample_percent > 100 {
            let fix = "write a number from 0 to 100";
            section.report("sample_percent", "is more than 100", fix, problems);
        }
        section.refuse_zero(&[("timeout", otlp.timeout.is_zero())], problems);
    }
}

section! {
    /// How the process ends.
    pub(crate) struct Drain {
        /// Between the signal and the last accepted connection, so that a balancer can notice.
        delay: Duration = Duration::ZERO,
        /// What is still open after this is cut.
        timeout: Duration = Duration::from_secs(30),
    }
}

section! {
    /// What is logged.
    pub(crate) struct Log {
        level: LogLevel = LogLevel::Info,
        format: LogFormat = LogFormat::Text,
        /// One line for each request when it has ended, at `info`.
        requests: bool = false,
    }
}

choice! {
    /// The least urgent event that is logged.
    pub(crate) enum LogLevel {
        Off = "off",
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
}

choice! {
    /// How an event is written.
    pub(crate) enum LogFormat {
        Text = "text",
        Json = "json",
    }
}
