//! Rules that concern more than one section.

use std::net::SocketAddr;

use super::document::Node;
use super::environment::Environment;
use super::model;
use super::problem::{Problems, nearest};
use super::{AdminToken, Config, Enrolment, Journal, Key, Oidc};

/// Reports every rule that `config`, read from `root`, breaks.
pub(super) fn check(config: &Config, root: &Node, env: &dyn Environment, problems: &mut Problems) {
    let mut checker = Checker { root, problems };
    checker.listeners(config);
    checker.unique("keys", "name", config.keys.iter().map(|key| &key.name));
    checker.key_hashes(&config.keys);
    checker.token_hashes(&config.admin.tokens);
    checker.unique("oidc", "issuer", config.oidc.iter().map(|oidc| &oidc.issuer));
    checker.unique(
        "admin.tokens",
        "name",
        config.admin.tokens.iter().map(|token| &token.name),
    );
    if config.backends.is_empty() {
        checker.report(
            "backends",
            "there is no backend, so nothing could be answered",
            "add `backends: [{name: local, url: \"http://127.0.0.1:8000\"}]`",
        );
    }
    let names = config.backends.iter().map(|backend| &backend.name);
    checker.unique("backends", "name", names);
    checker.workers(config);
    checker.price_of_strangers(config);
    checker.attested(config);
    checker.registry(config);
    checker.model_names(config);
    checker.routes(config);
    checker.fallbacks(config);
    checker.ledger(config);
    checker.files(config, env);
}

struct Checker<'a> {
    root: &'a Node,
    problems: &'a mut Problems,
}

impl Checker<'_> {
    fn report(&mut self, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        let place = &self.root.nearest(key).place;
        self.problems.report(place, key, message, fix);
    }

    fn quoted(&self, key: &str) -> String {
        self.root.nearest(key).quoted()
    }

    fn listeners(&mut self, config: &Config) {
        // With a `data_dir` or a `database` keys may be in the database. Where none is, everyone is refused: see `Directory`.
        let may_have_keys = !config.keys.is_empty()
            || !config.oidc.is_empty()
            || config.payments.is_some()
            || config.data_dir.is_some()
            || config.database.is_some();
        for (name, address) in [
            ("listen", Some(config.listen)),
            ("attested_listen", config.attested_listen),
        ] {
            if let Some(address) = address.filter(|address| !address.ip().to_canonical().is_loopback())
                && !may_have_keys
            {
                self.report(
                    name,
                    format!(
                        "{address} can be reached from other machines, and there can be no keys, so anyone could use the backends"
                    ),
                    format!(
                        "add `keys:`, set `data_dir` and make keys with `mulberry key create`, or listen on 127.0.0.1:{}",
                        address.port()
                    ),
                );
            }
        }
        if let Some(admin) = config.admin_listen
            && collide(config.listen, admin)
        {
            self.report(
                "admin_listen",
                format!("{admin} takes the port of `listen`"),
                "use another port, or write `admin_listen: null`",
            );
        }
    }

    fn attested(&mut self, config: &Config) {
        let Some(attested) = config.attested_listen else {
            return;
        };
        let others = [
            ("listen", Some(config.listen)),
            ("admin_listen", config.admin_listen),
            ("worker_listen", config.worker_listen),
        ];
        let taken = others
            .into_iter()
            .find(|(_, other)| other.is_some_and(|other| collide(attested, other)));
        if let Some((name, _)) = taken {
            let message = format!("{attested} takes the port of `{name}`");
            let fix = "use another port, or write `attested_listen: null`";
            self.report("attested_listen", message, fix);
        }
        if config.data_dir.is_none() {
            let fix = "set `data_dir`";
            let message = "needs a key of the gateway, which could be kept nowhere";
            self.report("attested_listen", message, fix);
        }
    }

    fn registry(&mut self, config: &Config) {
        if config.registry.is_some() && config.data_dir.is_none() {
            let fix = "set `data_dir`";
            let message = "needs what was read of it to be kept, or an earlier state could be shown at each start";
            self.report("registry", message, fix);
        }
    }

    /// A key is one machine's, and stands for one place.
    fn workers(&mut self, config: &Config) {
        if config.workers.pay.is_some() && config.data_dir.is_none() {
            let message = "what workers are paid could be kept nowhere";
            self.report("workers.pay", message, "set `data_dir`");
        }
        let settles = config
            .payments
            .as_ref()
            .and_then(|payments| payments.wallet_file.as_ref());
        if let Some(pay) = &config.workers.pay
            && settles == Some(&pay.wallet_file)
        {
            let message =
                "is that of `payments.wallet_file` too, and two who pay from one wallet undo each other's messages";
            let fix = "make another with `mulberry wallet create --wallet FILE`";
            self.report("workers.pay.wallet_file", message, fix);
        }
        if let Some(workers) = config.worker_listen {
            let taken = [("listen", Some(config.listen)), ("admin_listen", config.admin_listen)];
            let taken = taken
                .into_iter()
                .find(|(_, other)| other.is_some_and(|other| collide(workers, other)));
            if let Some((name, _)) = taken {
                let message = format!("{workers} takes the port of `{name}`");
                self.report(
                    "worker_listen",
                    message,
                    "use another port, or write `worker_listen: null`",
                );
            }
        }
        let mut seen = Vec::new();
        for (i, backend) in config.backends.iter().enumerate() {
            for (j, worker) in backend.workers.iter().enumerate() {
                let key = format!("backends[{i}].workers[{j}]");
                if config.data_dir.is_none() {
                    let fix = "set `data_dir`";
                    self.report(&key, "needs a key of the gateway, which could be kept nowhere", fix);
                }
                if worker.address.is_none() && config.worker_listen.is_none() {
                    let fix = "add `worker_listen: 0.0.0.0:8444`, or its `address` where it listens itself";
                    self.report(&key, "could not connect: there is no `worker_listen`", fix);
                }
                // One that was wrong is told already.
                let Some(known) = worker.key_sha256.or(worker.join_token_sha256) else {
                    continue;
                };
                if seen.contains(&known) {
                    let fix =
                        "give each machine a key or a token of its own: a key is made when a worker is first started";
                    self.report(&key, "has the key or token of an earlier one", fix);
                }
                seen.push(known);
                if backend.enrolment.is_some() && worker.name.starts_with("enrolled-") {
                    self.report(
                        &key,
                        "has the name of a place that workers take by themselves",
                        "choose another name",
                    );
                }
                if worker.join_token_sha256.is_some()
                    && worker.min_tier() != super::Tier::Open
                    && config.attestation.policy.is_none()
                {
                    let fix = "set `attestation.policy`: mulberry attest policy init; or say `min_tier: open`";
                    self.report(&key, "could prove nothing: there is no policy", fix);
                }
            }
            if backend.enrolment.is_some() {
                let key = format!("backends[{i}].enrolment");
                if config.attestation.enrolment == Enrolment::Closed {
                    let fix = "set `attestation.enrolment: attested`, or remove the places";
                    self.report(&key, "can be taken by nobody: enrolment is closed", fix);
                }
                if config.worker_listen.is_none() {
                    let fix = "add `worker_listen: 0.0.0.0:8444`";
                    self.report(&key, "can be taken by nobody: there is no `worker_listen`", fix);
                }
                if config.data_dir.is_none() {
                    self.report(
                        &key,
                        "needs a key of the gateway, which could be kept nowhere",
                        "set `data_dir`",
                    );
                }
            }
        }
    }

    /// A stranger names its own price.
    fn price_of_strangers(&mut self, config: &Config) {
        let Some(pay) = &config.workers.pay else { return };
        if config.attestation.enrolment != Enrolment::Closed && !pay.max_price.is_whole() {
            let fix = "write `prompt`, `completion` and `request`, each below what clients pay";
            self.report(
                "workers.pay.max_price",
                "lets workers that enrol themselves ask any price",
                fix,
            );
        }
    }

    fn unique<'a>(&mut self, list: &str, field: &str, names: impl Iterator<Item = &'a String>) {
        let mut seen: Vec<&String> = Vec::new();
        for (i, name) in names.enumerate() {
            // An empty name stands for one that was missing, which is told already.
            if name.is_empty() {
                continue;
            }
            if !seen.contains(&name) {
                seen.push(name);
                continue;
            }
            let key = format!("{list}[{i}].{field}");
            let message = format!("{} is the name of an earlier one", self.quoted(&key));
            self.report(&key, message, "give each its own name");
        }
    }

    fn key_hashes(&mut self, keys: &[Key]) {
        for (i, key) in keys.iter().enumerate() {
            if key.sha256 != super::KeyHash::STAND_IN
                && let Some(other) = keys[..i].iter().position(|other| other.sha256 == key.sha256)
            {
                let other = self.quoted(&format!("keys[{other}].name"));
                let message = format!("is the same API key as that of {other}");
                let fix = "give each client a key of its own";
                self.report(&format!("keys[{i}]"), message, fix);
            }
        }
    }

    /// Whose token it is stands in the audit log. One may be an API key too, as LiteLLM's master key is.
    fn token_hashes(&mut self, tokens: &[AdminToken]) {
        for (i, token) in tokens.iter().enumerate() {
            if token.sha256 != super::KeyHash::STAND_IN
                && let Some(other) = tokens[..i].iter().position(|other| other.sha256 == token.sha256)
            {
                let other = self.quoted(&format!("admin.tokens[{other}].name"));
                let message = format!("is the same token as that of {other}");
                let fix = "give each administrator a token of its own";
                self.report(&format!("admin.tokens[{i}]"), message, fix);
            }
        }
    }

    /// Names and aliases share one space.
    fn model_names(&mut self, config: &Config) {
        let mut seen: Vec<&str> = Vec::new();
        for (i, model) in config.models.iter().enumerate() {
            let aliases = model.aliases.iter().enumerate();
            let name = (format!("models[{i}].name"), &model.name);
            let named =
                std::iter::once(name).chain(aliases.map(|(j, alias)| (format!("models[{i}].aliases[{j}]"), alias)));
            for (key, name) in named.filter(|(_, name)| !name.is_empty()) {
                if seen.contains(&name.as_str()) {
                    let message = format!("{} is already a name or alias", self.quoted(&key));
                    self.report(&key, message, "give each its own name");
                } else {
                    seen.push(name);
                }
            }
        }
    }

    fn routes(&mut self, config: &Config) {
        let names: Vec<&str> = config.backends.iter().map(|b| b.name.as_str()).collect();
        for (i, model) in config.models.iter().enumerate() {
            for (j, route) in model.routes.iter().enumerate() {
                let name = route.backend.as_str();
                if !name.is_empty() && !names.contains(&name) {
                    let key = format!("models[{i}].routes[{j}].backend");
                    let message = format!("no such backend: {}", self.quoted(&key));
                    let fix = did_you_mean(name, &names, "add it to `backends`");
                    self.report(&key, message, fix);
                }
            }
        }
    }

    fn fallbacks(&mut self, config: &Config) {
        let models = &config.models;
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let mut next: Vec<Vec<usize>> = Vec::new();
        for (i, model) in models.iter().enumerate() {
            let mut found = Vec::new();
            for (j, name) in model.fallbacks.iter().enumerate() {
                match model::find(models, name) {
                    Some(target) => found.push(target),
                    None => {
                        let key = format!("models[{i}].fallbacks[{j}]");
                        let message = format!("no such model: {}", self.quoted(&key));
                        let fix = did_you_mean(name, &names, "add it to `models`");
                        self.report(&key, message, fix);
                    }
                }
            }
            next.push(found);
        }
        for (i, model) in models.iter().enumerate() {
            // Told once, at the first model of the cycle.
            if let Some(cycle) = cycle(i, &next)
                && cycle.iter().all(|other| *other >= i)
            {
                let mut path: Vec<&str> = cycle.iter().map(|i| names[*i]).collect();
                path.push(&model.name);
                let message = format!("fall back in a circle: {}", path.join(" -> "));
                self.report(&format!("models[{i}].fallbacks"), message, "remove one of them");
            }
        }
    }

    /// Fails closed: what is to be charged must be kept somewhere.
    fn ledger(&mut self, config: &Config) {
        let on_disk = config.data_dir.is_some();
        if config.ledger.anonymous.is_some() {
            self.anonymous(config);
        }
        if config.database.is_none() {
            if config.ledger.journal == Journal::Direct {
                self.report(
                    "ledger.journal",
                    "there is no `database`, and the journal is in this gateway's own ledger already",
                    "add `database: postgres://…`, or leave it out",
                );
            }
            if !on_disk {
                let charged = |key: &Key| key.account.is_some() || key.budget.is_some();
                for (i, _) in config.keys.iter().enumerate().filter(|(_, key)| charged(key)) {
                    self.report(
                        &format!("keys[{i}]"),
                        "is charged, and with `data_dir: null` what it spends could be kept nowhere",
                        "set `data_dir` or `database`, or remove its `account` and `budget`",
                    );
                }
                let charged = |oidc: &Oidc| oidc.accounts().next().is_some();
                for (i, _) in config.oidc.iter().enumerate().filter(|(_, oidc)| charged(oidc)) {
                    self.report(
                        &format!("oidc[{i}]"),
                        "is charged, and with `data_dir: null` what it spends could be kept nowhere",
                        "set `data_dir` or `database`, or remove each `account` in it",
                    );
                }
            }
            return;
        }
        if on_disk {
            return;
        }
        if config.ledger.journal == Journal::Local {
            self.report(
                "ledger.journal",
                "a local journal needs a disk, and `data_dir` is null",
                "write `journal: direct`, or set `data_dir`",
            );
        }
        if config.ledger.node.is_none() {
            self.report(
                "ledger.node",
                "without a `data_dir` the name of this gateway cannot be kept",
                "give each gateway a name of its own: `node: gateway-1`",
            );
        }
        if config.ledger.receipts && config.ledger.receipt_key.is_none() {
            self.report(
                "ledger.receipt_key",
                "without a `data_dir` the key that signs receipts cannot be kept",
                "name a file with `receipt_key`, or write `receipts: false`",
            );
        }
    }

    /// Who needs no key is served, and so charged, where nobody else could be: on this machine, without keys.
    fn anonymous(&mut self, config: &Config) {
        let others = [("keys", !config.keys.is_empty()), ("oidc", !config.oidc.is_empty())];
        let others: Vec<&str> = others
            .into_iter()
            .filter(|(_, are)| *are)
            .map(|(name, _)| name)
            .collect();
        let message = if !others.is_empty() {
            format!(
                "pays for requests without a key, and with `{}` none is served",
                others.join("` and `")
            )
        } else if !config.listen.ip().to_canonical().is_loopback() {
            let listen = config.listen;
            format!("pays for requests without a key, and none is served where other machines can connect ({listen})")
        } else if config.data_dir.is_none() && config.database.is_none() {
            let fix = "set `data_dir` or `database`, or leave it out";
            let message = "is charged, and with `data_dir: null` what it spends could be kept nowhere";
            return self.report("ledger.anonymous", message, fix);
        } else {
            return;
        };
        self.report("ledger.anonymous", message, "leave it out");
    }

    fn files(&mut self, config: &Config, env: &dyn Environment) {
        let tls = config.tls.iter().flat_map(|tls| {
            [
                ("tls.certificate".to_owned(), &tls.certificate),
                ("tls.key".to_owned(), &tls.key),
            ]
        });
        let jwks = config
            .oidc
            .iter()
            .enumerate()
            .filter_map(|(i, oidc)| Some((format!("oidc[{i}].jwks_file"), oidc.jwks_file.as_ref()?)));
        let roots = config
            .backends
            .iter()
            .enumerate()
            .filter_map(|(i, b)| Some((format!("backends[{i}].ca_file"), b.ca_file.as_ref()?)));
        let tokenizers = config
            .models
            .iter()
            .enumerate()
            .filter_map(|(i, model)| Some((format!("models[{i}].tokenizer"), model.tokenizer_file()?)));
        let attestation = &config.attestation;
        let named = [
            ("ledger.receipt_key", &config.ledger.receipt_key),
            ("attestation.policy", &attestation.policy),
            (
                "attestation.danger_development_trust_anchor",
                &attestation.danger_development_trust_anchor,
            ),
        ];
        let named = named
            .into_iter()
            .filter_map(|(key, path)| Some((key.to_owned(), path.as_deref()?)));
        let paths = tls.chain(roots).chain(jwks).map(|(key, path)| (key, path.as_path()));
        for (key, path) in paths.chain(tokenizers).chain(named) {
            if !path.as_os_str().is_empty() && !env.is_file(path) {
                // Quoted with care: the key itself may stand where its path should.
                let message = format!("no such file: {}", self.quoted(&key));
                let fix = "check the path; a relative one starts at the working directory";
                self.report(&key, message, fix);
            }
        }
    }
}

fn did_you_mean(name: &str, names: &[&str], otherwise: &str) -> String {
    match nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => otherwise.to_owned(),
    }
}

/// Port 0 asks the system for any free port, so it never collides.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let everywhere = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (everywhere || a.ip() == b.ip())
}

/// The way from `start` back to itself, if there is one.
fn cycle(start: usize, next: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut from: Vec<Option<usize>> = vec![None; next.len()];
    let mut open = vec![start];
    while let Some(at) = open.pop() {
        for &target in &next[at] {
            if target == start {
                let mut path = vec![at];
                // The start was never reached from anywhere, so this ends there.
                while let Some(before) = from[*path.last()?] {
                    path.push(before);
                }
                path.reverse();
                return Some(path);
            }
            if from[target].is_none() {
                from[target] = Some(at);
                open.push(target);
            }
        }
    }
    None
}
