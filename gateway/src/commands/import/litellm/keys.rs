//! The keys of LiteLLM's database, by the hashes under which it keeps them.

use billing_store::NewKey;

use super::super::{draft::Draft, report::Report};
use crate::{commands::key::litellm::Found, config::Shown, directory};

/// Adds the keys of an export called `file`.
pub(in super::super) fn add_keys(found: Found, file: &str, draft: &mut Draft, report: &mut Report) {
    for (name, why) in found.skipped {
        report.of_file(file, &name, format!("the key is left out: {why}"), true);
    }
    for (name, what) in found.changed {
        report.of_file(file, &name, what, true);
    }
    for (field, count) in found.dropped {
        let words = format!("{count} keys have it, and nothing here has this meaning");
        report.of_file(file, &field, words, true);
    }
    draft.keys.extend(found.keys.iter().map(shown));
}

fn shown(key: &NewKey) -> Shown {
    let grant = &key.grant;
    let hash: String = key.sha256.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut fields = vec![("name", Shown::text(&key.name)), ("sha256", Shown::text(hash))];
    fields.extend(grant.owner.iter().map(|owner| ("owner", Shown::text(owner))));
    if grant.models != ["*"] {
        let models = grant.models.iter().map(Shown::text);
        fields.push(("models", Shown::List(models.collect())));
    }
    let limits = [
        ("requests_per_minute", grant.requests_per_minute),
        ("tokens_per_minute", grant.tokens_per_minute),
        ("concurrency", grant.concurrency),
    ];
    let limits: Vec<(&str, Shown)> = limits
        .into_iter()
        .filter_map(|(name, limit)| Some((name, Shown::Plain(limit?.to_string()))))
        .collect();
    if !limits.is_empty() {
        fields.push(("limits", Shown::map(limits)));
    }
    fields.extend(
        grant
            .expires_at_ms
            .map(|at_ms| ("expires", Shown::text(directory::time(at_ms)))),
    );
    if grant.disabled {
        fields.push(("disabled", Shown::Plain("true".to_owned())));
    }
    let budget = [
        ("total", grant.budget.total),
        ("day", grant.budget.day),
        ("month", grant.budget.month),
    ];
    let budget: Vec<(&str, Shown)> = budget
        .into_iter()
        .filter_map(|(name, bound)| Some((name, Shown::Plain(bound?.to_string()))))
        .collect();
    if !budget.is_empty() {
        fields.push(("budget", Shown::map(budget)));
    }
    if !grant.tags.is_empty() {
        let tags = grant
            .tags
            .iter()
            .map(|(name, value)| (name.clone(), Shown::text(value)));
        fields.push(("tags", Shown::Map(tags.collect())));
    }
    Shown::map(fields)
}
