//! Models as clients name them, and the routes that lead to backends.

use super::decode::Section;
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
    }
    check |model: &Model, section: &Section<'_>, problems: &mut Problems| {
        if !is_pattern(&model.name) {
            section.report("name", bad_pattern(&section.quoted("name")), PATTERN_FIX, problems);
        }
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
        /// Three capital letters, ISO 4217.
        currency: String = "USD".to_owned(),
        prompt: Amount = Amount::ZERO,
        /// Prompt tokens that the upstream had cached; as `prompt` where it is not set.
        cached: Option<Amount> = None,
        completion: Amount = Amount::ZERO,
        /// As `completion` where it is not set.
        reasoning: Option<Amount> = None,
        /// Each request, whatever its tokens.
        request: Amount = Amount::ZERO,
    }
    check |price: &Price, section: &Section<'_>, problems: &mut Problems| {
        let is_code = price.currency.len() == 3 && price.currency.bytes().all(|b| b.is_ascii_uppercase());
        if !is_code {
            let fix = "write its code, such as `USD` or `EUR`";
            section.report("currency", "is not the code of a currency", fix, problems);
        }
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
