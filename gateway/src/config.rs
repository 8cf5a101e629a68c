//! The configuration of the gateway: one typed schema, read from YAML, JSON or TOML.
//!
//! The steps, in order: the text becomes a tree in which every value knows its place; `MULBERRY_SECTION__KEY` variables override; `${NAME}` and `${file:PATH}` are resolved; the tree becomes the types below; rules across sections are checked.
//! All problems are told together, each with its place, its key and a fix.
//!
//! Refused: unknown keys, a listener that others can reach without keys, and whatever else could only go wrong later.
//! A problem quotes what is written in the file itself, and not what came from the environment, another file, or a field that holds a secret; only addresses, and names in a circle of fallbacks, are told wherever they came from, once they were understood as such.
//!
//! A [`Config`] that exists was checked.
//! Paths are left as written: a relative one starts at the working directory.

mod admin_address;
mod attestation;
mod backend;
mod check;
mod convert;
mod decode;
mod describe;
mod document;
mod environment;
mod header;
mod interpolate;
mod key;
mod ledger;
mod model;
mod oidc;
mod overrides;
mod payments;
mod problem;
mod registry;
mod schema;
mod secret;
mod settings;
mod show;
#[cfg(test)]
mod tests;
mod units;
mod url;
mod worker;
mod workers;

use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub(crate) use attestation::{Attestation, CollateralFrom, Enrolment, EvidenceFrom};
pub(crate) use backend::{Backend, Endpoint, HiddenReasoning, HttpVersion, Kind, Strategy};
pub(crate) use convert::{as_json, convert};
pub(crate) use describe::document as json_schema;
pub(crate) use document::{Entry, Format, Node, Value as NodeValue, parse as parse_document};
pub(crate) use environment::{Environment, Process};
pub(crate) use key::{AdminToken, Key, KeyHash, KeyLimits, MAX_KEY_NAME, Tags, Tier, is_key_name};
pub(crate) use ledger::{Budget, DatabaseUrl, Journal, Ledger, Rate, Unpriced, is_node_name};
pub(crate) use model::{Model, Price, is_pattern};
pub(crate) use oidc::{Oidc, OidcRule};
pub(crate) use payments::Payments;
pub(crate) use problem::{ConfigError, Place, Problems};
pub(crate) use registry::Registry;
pub(crate) use settings::{
    Admin, Cors, Drain, Idempotency, Limits, Log, LogFormat, LogLevel, Otlp, Reload, Retry, Telemetry, Tls,
};
pub(crate) use units::{Amount, Timestamp, duration};
pub(crate) use worker::{Address, KeyDigest, Worker};
pub(crate) use workers::{Pay, Workers};

use decode::{Decode as _, unwritten};
use document::Value;
use schema::section;
use show::Show as _;
pub(crate) use show::Shown;

section! {
    /// All that an operator decides.
    pub(crate) struct Config {
        /// Where clients connect.
        listen: SocketAddr = loopback(8080),
        /// Where operators and metrics connect; `null` turns it off.
        admin_listen: Option<SocketAddr> = Some(loopback(9090)),
        /// Where workers connect; `null` turns it off.
        worker_listen: Option<SocketAddr> = None,
        /// Where `mulberry connect` connects, which verifies this gateway for an app; `null` turns it off.
        attested_listen: Option<SocketAddr> = None,
        attestation: Attestation = unwritten(),
        tls: Option<Tls> = None,
        /// Where `mulberry.db` lives; `null` keeps nothing on disk.
        data_dir: Option<PathBuf> = Some(PathBuf::from("mulberry-data")),
        /// A PostgreSQL database that several gateways may share; `null` keeps everything in `mulberry.db` of `data_dir`.
        database: Option<DatabaseUrl> = None,
        /// Without any, only this machine may ask.
        keys: Vec<Key> = Vec::new(),
        /// Issuers whose bearer tokens are accepted beside API keys.
        oidc: Vec<Oidc> = Vec::new(),
        admin: Admin = unwritten(),
        /// At least one.
        backends: Vec<Backend> = Vec::new(),
        /// Without any, every name goes to all backends, in order.
        models: Vec<Model> = Vec::new(),
        ledger: Ledger = unwritten(),
        /// How clients pay by payment channels on TON; without it they need a key.
        payments: Option<Payments> = None,
        workers: Workers = unwritten(),
        /// Who besides this file says what is allowed; it takes away, and never adds.
        registry: Option<Registry> = None,
        limits: Limits = unwritten(),
        retry: Retry = unwritten(),
        cors: Option<Cors> = None,
        /// `null` turns it off.
        idempotency: Option<Idempotency> = Some(unwritten()),
        reload: Reload = unwritten(),
        telemetry: Telemetry = unwritten(),
        drain: Drain = unwritten(),
        log: Log = unwritten(),
    }
}

impl Config {
    /// Reads a file, which is TOML or JSON if its name ends so, and else YAML.
    pub(crate) fn load(path: &Path, env: &dyn Environment) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        match env.read(path) {
            Ok(text) => Self::parse(&text, &name, env),
            Err(error) => {
                let mut problems = Problems::default();
                problems.report(
                    &Place::Whole,
                    "",
                    format!("cannot be read: {}", error.kind()),
                    "check the path and its permissions, or start with `--backend URL` and no file",
                );
                Err(problems.into_error(&name))
            }
        }
    }

    /// Reads the text of a file called `name`.
    pub(crate) fn parse(text: &str, name: &str, env: &dyn Environment) -> Result<Self, ConfigError> {
        let format = Format::of(Path::new(name));
        let mut problems = Problems::of(format);
        match document::parse(text, format, &mut problems) {
            Some(root) => Self::read(root, name, env, problems),
            None => Err(problems.into_error(name)),
        }
    }

    /// The configuration of `mulberry serve --backend URL`: one backend named `default`, no models, and whatever the environment overrides.
    pub(crate) fn single(url: &str, env: &dyn Environment) -> Result<Self, ConfigError> {
        let text = |text: &str| Value::Scalar {
            text: text.to_owned(),
            plain: false,
        };
        let map = |entries: Vec<(&str, Value)>| {
            let entry = |(key, value): (&str, Value)| Entry {
                key: key.to_owned(),
                place: Place::Whole,
                node: Node::new(Place::Whole, value),
            };
            Value::Map(entries.into_iter().map(entry).collect())
        };
        let backend = map(vec![("name", text("default")), ("url", text(url))]);
        let backends = Value::List(vec![Node::new(Place::Whole, backend)]);
        let root = Node::new(Place::Whole, map(vec![("backends", backends)]));
        Self::read(root, "--backend", env, Problems::default())
    }

    fn read(mut root: Node, name: &str, env: &dyn Environment, mut problems: Problems) -> Result<Self, ConfigError> {
        // For editors; it says nothing to us.
        if let Value::Map(entries) = &mut root.value {
            entries.retain(|entry| entry.key != "$schema");
        }
        overrides::apply(&mut root, Self::FIELDS, env.variables(), &mut problems);
        interpolate::resolve(&mut root, "", env, &mut problems);
        // An empty file is a mapping with nothing in it.
        if root.is_null() {
            root.value = Value::Map(Vec::new());
        }
        let config = Self::decode(&root, "", &mut problems);
        if let (Some(config), Value::Map(_)) = (&config, &root.value) {
            check::check(config, &root, env, &mut problems);
        }
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems.into_error(name)),
        }
    }

    /// What looks like a slip in the environment, for the log once there is one.
    pub(crate) fn warnings(env: &dyn Environment) -> Vec<String> {
        overrides::near_misses(Self::FIELDS, env.variables())
    }

    /// The sections in which two configurations differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<&'static str> {
        // Taken apart, so that a new section cannot be forgotten here.
        let Self {
            listen,
            admin_listen,
            worker_listen,
            attested_listen,
            attestation,
            tls,
            data_dir,
            database,
            keys,
            oidc,
            admin,
            backends,
            models,
            ledger,
            payments,
            workers,
            registry,
            limits,
            retry,
            cors,
            idempotency,
            reload,
            telemetry,
            drain,
            log,
        } = self;
        let sections = [
            ("listen", *listen != other.listen),
            ("admin_listen", *admin_listen != other.admin_listen),
            ("worker_listen", *worker_listen != other.worker_listen),
            ("attested_listen", *attested_listen != other.attested_listen),
            ("attestation", *attestation != other.attestation),
            ("tls", *tls != other.tls),
            ("data_dir", *data_dir != other.data_dir),
            ("database", *database != other.database),
            ("keys", *keys != other.keys),
            ("oidc", *oidc != other.oidc),
            ("admin", *admin != other.admin),
            ("backends", *backends != other.backends),
            ("models", *models != other.models),
            ("ledger", *ledger != other.ledger),
            ("payments", *payments != other.payments),
            ("workers", *workers != other.workers),
            ("registry", *registry != other.registry),
            ("limits", *limits != other.limits),
            ("retry", *retry != other.retry),
            ("cors", *cors != other.cors),
            ("idempotency", *idempotency != other.idempotency),
            ("reload", *reload != other.reload),
            ("telemetry", *telemetry != other.telemetry),
            ("drain", *drain != other.drain),
            ("log", *log != other.log),
        ];
        let differing = sections.into_iter().filter(|(_, differs)| *differs);
        differing.map(|(name, _)| name).collect()
    }

    /// Whether only this machine can ask: where it is so, a gateway may do without keys.
    pub(crate) fn is_local(&self) -> bool {
        let mut asked = iter::once(self.listen).chain(self.attested_listen);
        asked.all(|address| address.ip().to_canonical().is_loopback())
    }

    /// The configuration as YAML, with every default written out and `***` for every secret.
    pub(crate) fn normalised(&self) -> String {
        self.normalised_as(Format::Yaml)
    }

    /// The same, in any format.
    pub(crate) fn normalised_as(&self, format: Format) -> String {
        self.show().document(format)
    }
}

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}
