//! Models as clients name them, and the routes that lead to backends.

use std::path::Path;

use billing::Currency;

use super::decode::{Section, unwritten};
use super::problem::Problems;
use super::schema::section;
use super::units::Amount;

section! {
    /// A name that clients may ask for.
    pub(crate) struct Model {
        /// A name, or the beginning of names and one `*`.
        name: String,
        aliases: Vec<String> = Vec::new(),
        routes: Vec<Route> = Vec::new(),
        /// Names of models, tried in order when every route failed before the first frame.
        fallbacks: Vec<String> = Vec::new(),
        /// What it costs; without one its use is counted and not priced.
        price: Option<Price> = None,
        /// Tokens of a prompt at most, for prompts that are not plain text.
        context: u32 = 131_072,
        /// Tokens of an answer at most, where an account is charged and the client gave no bound.
        max_output: u32 = 4096,
        /// The path of a `tokenizer.json`, or `o200k_base` or `cl100k_base`; without one the upstream's counts are believed within bounds.
        tokenizer: Option<String> = None,
    }
    check |model: &Model, section: &Section<'_>, problems: &mut Problems| {
        if !is_pattern(&model.name) {
            section.report("name", bad_pattern(&section.quoted("name")), PATTERN_FIX, problems);
        }
        section.refuse_zero(
            &[
                ("context", model.context == 0),
                ("max_output", model.max_output == 0),
            ],
            problems,
        );
        let starred = |(_, alias): &(usize, &String)| alias.contains('*');
        for (i, _) in model.aliases.iter().enumerate().filter(starred) {
            let fix = "write the pattern as the `name` of a model of its own";
            section.report(&format!("aliases[{i}]"), "an alias has no `*`", fix, problems);
        }
        let models = model.routes.iter().map(|route| route.model.as_deref());
        for (i, there) in models.enumerate().filter_map(|(i, there)| Some((i, there?))) {
            let item = format!("routes[{i}].model");
            if there.contains('*') && !model.name.ends_with('*') {
                let fix = "leave it out to send the name that the client sent";
                section.report(&item, "the name that a backend knows has no `*`", fix, problems);
            } else if !is_pattern(there) {
                section.report(&item, bad_pattern(&section.quoted(&item)), PATTERN_FIX, problems);
            }
        }
        if !section.has("routes") || section.is_empty_list("routes") {
            let fix = "add `routes: [{backend: NAME}]`";
            section.report("routes", "a model needs a route", fix, problems);
        }
    }
}

section! {
    /// What a model costs, per million tokens.
    pub(crate) struct Price {
        /// Three capital letters: ISO 4217's, and TON.
        currency: Currency = Currency::USD,
        prompt: Amount = Amount::ZERO,
        /// Prompt tokens that the upstream had cached; as `prompt` where it is not set.
        cached: Option<Amount> = None,
        completion: Amount = Amount::ZERO,
        /// As `completion` where it is not set.
        reasoning: Option<Amount> = None,
        /// Each request, whatever its tokens.
        request: Amount = Amount::ZERO,
        /// The least that a request costs.
        minimum: Amount = Amount::ZERO,
        /// The gateway's own fee, on top.
        fee: Fee = unwritten(),
    }
}

section! {
    /// The gateway's own fee, per million tokens.
    pub(crate) struct Fee {
        /// Cached ones too.
        prompt: Amount = Amount::ZERO,
        /// Reasoning too.
        completion: Amount = Amount::ZERO,
    }
}

section! {
    /// A backend that serves a model.
    pub(crate) struct Route {
        /// The name of a backend.
        backend: String,
        /// The name that the backend knows; `null` for the one that the client sent. Under a pattern it may be one too: what stands for the `*` there stands for it here.
        model: Option<String> = None,
        /// Its share among routes of equal priority.
        weight: u32 = 1,
        /// The lowest number is tried first.
        priority: u32 = 0,
    }
    check |route: &Route, section: &Section<'_>, problems: &mut Problems| {
        section.refuse_zero(&[("weight", route.weight == 0)], problems);
    }
}

impl Model {
    /// The file of its tokenizer, where it is none that we have.
    pub(super) fn tokenizer_file(&self) -> Option<&Path> {
        let tokenizer = self.tokenizer.as_deref()?;
        (!BUILT_IN_TOKENIZERS.contains(&tokenizer)).then(|| Path::new(tokenizer))
    }
}

/// Tokenizers that need no file.
pub(crate) const BUILT_IN_TOKENIZERS: &[&str] = &["o200k_base", "cl100k_base"];

/// A `*` may stand only at the end.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    !pattern.strip_suffix('*').unwrap_or(pattern).contains('*')
}

pub(super) fn bad_pattern(quoted: &str) -> String {
    format!("{quoted} has a `*` that is not its last character")
}

pub(super) const PATTERN_FIX: &str = "write a name, or the beginning of names and one `*`";

/// The model that serves `name`: the one so called, else the one with the longest matching pattern.
pub(super) fn find(models: &[Model], name: &str) -> Option<usize> {
    let exact = models
        .iter()
        .position(|model| model.name == name || model.aliases.iter().any(|alias| alias == name));
    exact.or_else(|| {
        models
            .iter()
            .enumerate()
            .filter_map(|(i, model)| Some((i, model.name.strip_suffix('*')?)))
            .filter(|(_, prefix)| name.starts_with(prefix))
            .max_by_key(|(_, prefix)| prefix.len())
            .map(|(i, _)| i)
    })
}
