//! The configuration that is being made, before it is text.

use crate::config::Shown;

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) keys: Vec<Shown>,
    pub(super) admin_tokens: Vec<Shown>,
    pub(super) models: Vec<Model>,
    pub(super) attempts: Option<u32>,
    /// For every backend that has none of its own.
    pub(super) total: Option<String>,
    pub(super) first_frame: Option<String>,
    pub(super) strategy: Option<&'static str>,
    pub(super) failures: Option<u32>,
    pub(super) cooldown: Option<String>,
    /// The sections that are plain numbers and words: section, key, value.
    pub(super) settings: Vec<(&'static str, &'static str, Shown)>,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) routes: Vec<Route>,
    pub(super) fallbacks: Vec<String>,
    pub(super) price: Vec<(&'static str, String)>,
}

#[derive(Debug)]
pub(super) struct Route {
    pub(super) backend: Backend,
    pub(super) model: Option<String>,
    pub(super) weight: u32,
    pub(super) priority: u32,
}

/// Equal ones become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backend {
    /// What its name begins with.
    pub(super) label: String,
    pub(super) kind: &'static str,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) api_version: Option<Shown>,
    pub(super) headers: Vec<(String, Shown)>,
    pub(super) total: Option<String>,
    pub(super) first_frame: Option<String>,
    pub(super) limit: Option<u32>,
    /// The model that has it alone, since a limit is not shared.
    pub(super) only_for: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Upstream {
    pub(super) url: Shown,
    pub(super) api_key: Option<Shown>,
    pub(super) weight: u32,
}

impl Draft {
    /// The whole as it is written.
    pub(super) fn shown(&self) -> Shown {
        let mut names: Vec<String> = Vec::new();
        let mut backends: Vec<(&Backend, String)> = Vec::new();
        for backend in self
            .models
            .iter()
            .flat_map(|model| &model.routes)
            .map(|route| &route.backend)
        {
            if !backends.iter().any(|(other, _)| *other == backend) {
                let name = free(&backend.label, &names);
                names.push(name.clone());
                backends.push((backend, name));
            }
        }
        let name_of = |backend: &Backend| {
            let found = backends.iter().find(|(other, _)| *other == backend);
            found.map(|(_, name)| name.clone()).unwrap_or_default()
        };

        let mut whole: Vec<(&str, Shown)> = Vec::new();
        if !self.keys.is_empty() {
            whole.push(("keys", Shown::List(self.keys.clone())));
        }
        if !self.admin_tokens.is_empty() {
            let tokens = Shown::List(self.admin_tokens.clone());
            whole.push(("admin", Shown::map(vec![("tokens", tokens)])));
        }
        let shown = backends.iter().map(|(backend, name)| self.backend(backend, name));
        whole.push(("backends", Shown::List(shown.collect())));
        let models = self.models.iter().map(|model| model.shown(&name_of));
        whole.push(("models", Shown::List(models.collect())));
        if let Some(attempts) = self.attempts {
            let attempts = Shown::Plain(attempts.to_string());
            whole.push(("retry", Shown::map(vec![("attempts", attempts)])));
        }
        for (section, key, value) in &self.settings {
            let same = whole.iter_mut().find(|(name, _)| name == section);
            match same {
                Some((_, Shown::Map(entries))) => entries.push(((*key).to_owned(), value.clone())),
                _ => whole.push((section, Shown::map(vec![(key, value.clone())]))),
            }
        }
        Shown::map(whole)
    }

    fn backend(&self, backend: &Backend, name: &str) -> Shown {
        let mut fields = vec![("name", Shown::text(name)), ("kind", Shown::text(backend.kind))];
        match backend.upstreams.as_slice() {
            [
                Upstream {
                    url,
                    api_key,
                    weight: 1,
                },
            ] => {
                fields.push(("url", url.clone()));
                fields.extend(api_key.iter().map(|key| ("api_key", key.clone())));
            }
            several => {
                let shown = several.iter().map(|upstream| {
                    let mut fields = vec![("url", upstream.url.clone())];
                    if upstream.weight != 1 {
                        fields.push(("weight", Shown::Plain(upstream.weight.to_string())));
                    }
                    fields.extend(upstream.api_key.iter().map(|key| ("api_key", key.clone())));
                    Shown::map(fields)
                });
                fields.push(("upstreams", Shown::List(shown.collect())));
            }
        }
        fields.extend(
            backend
                .api_version
                .iter()
                .map(|version| ("api_version", version.clone())),
        );
        if !backend.headers.is_empty() {
            fields.push(("headers", Shown::Map(backend.headers.clone())));
        }
        if let (Some(strategy), true) = (self.strategy, backend.upstreams.len() > 1) {
            fields.push(("strategy", Shown::text(strategy)));
        }
        let timeouts = section(&[
            (
                "first_frame",
                backend.first_frame.as_ref().or(self.first_frame.as_ref()),
            ),
            ("total", backend.total.as_ref().or(self.total.as_ref())),
        ]);
        fields.extend(timeouts.map(|timeouts| ("timeouts", timeouts)));
        if let Some(limit) = backend.limit {
            let limit = Shown::Plain(limit.to_string());
            fields.push(("concurrency", Shown::map(vec![("limit", limit)])));
        }
        let failures = self.failures.map(|failures| failures.to_string());
        let breaker = section(&[("failures", failures.as_ref()), ("cooldown", self.cooldown.as_ref())]);
        fields.extend(breaker.map(|breaker| ("breaker", breaker)));
        Shown::map(fields)
    }
}

impl Model {
    fn shown(&self, name_of: &dyn Fn(&Backend) -> String) -> Shown {
        let texts = |words: &[String]| Shown::List(words.iter().map(Shown::text).collect());
        let mut fields = vec![("name", Shown::text(&self.name))];
        if !self.aliases.is_empty() {
            fields.push(("aliases", texts(&self.aliases)));
        }
        let routes = self.routes.iter().map(|route| {
            let mut fields = vec![("backend", Shown::text(name_of(&route.backend)))];
            fields.extend(route.model.iter().map(|model| ("model", Shown::text(model))));
            if route.weight != 1 {
                fields.push(("weight", Shown::Plain(route.weight.to_string())));
            }
            if route.priority != 0 {
                fields.push(("priority", Shown::Plain(route.priority.to_string())));
            }
            Shown::map(fields)
        });
        fields.push(("routes", Shown::List(routes.collect())));
        if !self.fallbacks.is_empty() {
            fields.push(("fallbacks", texts(&self.fallbacks)));
        }
        if !self.price.is_empty() {
            let price = self.price.iter();
            let price = price.map(|(name, amount)| (*name, Shown::Plain(amount.clone())));
            fields.push(("price", Shown::map(price.collect())));
        }
        Shown::map(fields)
    }
}

/// The fields that have a value, if any has.
fn section(fields: &[(&str, Option<&String>)]) -> Option<Shown> {
    let set = fields
        .iter()
        .filter_map(|(name, value)| Some((*name, Shown::Plain((*value)?.clone()))));
    let set: Vec<(&str, Shown)> = set.collect();
    (!set.is_empty()).then(|| Shown::map(set))
}

/// The label as the name of a backend, or with the first number that makes it one that is not taken.
fn free(label: &str, taken: &[String]) -> String {
    let clean: String = label
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.') {
                c
            } else {
                '-'
            }
        })
        .collect();
    let clean = clean.trim_matches('-').to_owned();
    let numbered = (2..).map(|number: u32| format!("{clean}-{number}"));
    let mut candidates = std::iter::once(clean.clone()).chain(numbered);
    candidates.find(|name| !taken.contains(name)).unwrap_or(clean)
}
