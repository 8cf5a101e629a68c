//! `router_settings` and `litellm_settings`: what is said of all deployments, and who stands in for whom.

use super::super::{
    draft::{Draft, Model},
    fields::{Field, Fields},
    report::Report,
};
use super::deployment::{Deployment, duration};
use super::models::{Choice, group};
use crate::config::Shown;

pub(super) fn read<'a>(
    router: Option<Field<'a>>,
    litellm: Option<Field<'a>>,
    deployments: Vec<Deployment<'a>>,
    draft: &mut Draft,
    report: &mut Report,
) {
    let mut sections: Vec<Fields<'a>> = [router, litellm]
        .into_iter()
        .flatten()
        .map(|section| Fields::open(section, report))
        .collect();
    let choice = strategy(take(&mut sections, "routing_strategy", report), draft, report);
    draft.models = group(deployments, choice, report);

    if let Some(retries) = take(&mut sections, "num_retries", report).and_then(|field| field.whole_number(report)) {
        draft.attempts = Some(retries.saturating_add(1));
    }
    let total = take(&mut sections, "timeout", report).or_else(|| take(&mut sections, "request_timeout", report));
    draft.total = total.and_then(|field| duration(&field, report));
    draft.first_frame = take(&mut sections, "stream_timeout", report).and_then(|field| duration(&field, report));
    if let Some(field) = take(&mut sections, "allowed_fails", report)
        && let Some(fails) = field.whole_number(report)
    {
        draft.failures = Some(fails.saturating_add(1));
        report.note(&field, "failures count in a row here, and there within a minute");
    }
    draft.cooldown = take(&mut sections, "cooldown_time", report).and_then(|field| duration(&field, report));
    logging(&mut sections, draft, report);

    if let Some(aliases) = take(&mut sections, "model_group_alias", report) {
        for (alias, field) in aliases.members() {
            add_alias(alias, field, &mut draft.models, report);
        }
    }
    if let Some(fallbacks) = take(&mut sections, "fallbacks", report) {
        for item in fallbacks.items() {
            for (model, field) in item.members() {
                add_fallbacks(model, &field, &mut draft.models, report);
            }
        }
    }
    if let Some(defaults) = take(&mut sections, "default_fallbacks", report) {
        add_fallbacks_to(&without_fallbacks(&draft.models), &defaults, &mut draft.models, report);
    }
    for section in sections {
        section.close(REASONS, report);
    }
}

/// From the first section that says it; what the other says of it is told.
fn take<'a>(sections: &mut [Fields<'a>], name: &'static str, report: &mut Report) -> Option<Field<'a>> {
    let mut found = None;
    for section in sections {
        let field = section.take(name);
        match (&found, field) {
            (Some(_), Some(second)) => report.lost(&second, "router_settings says it already"),
            (None, field) => found = field,
            (Some(_), None) => {}
        }
    }
    found
}

fn strategy(field: Option<Field<'_>>, draft: &mut Draft, report: &mut Report) -> Choice {
    let Some(field) = field else {
        return Choice::Shuffle;
    };
    let (strategy, what) = match field.text_or_lost(report) {
        Some("simple-shuffle") | None => return Choice::Shuffle,
        Some("least-busy") => ("least_outstanding", None),
        Some("latency-based-routing") => ("latency", None),
        Some("usage-based-routing" | "usage-based-routing-v2") => (
            "least_outstanding",
            Some("the one with the fewest requests under way is asked, rather than the one with the fewest tokens"),
        ),
        Some("cost-based-routing") => {
            report.lost(
                &field,
                "prices do not decide here; give the cheaper route a lower priority number",
            );
            return Choice::Shuffle;
        }
        Some(_) => {
            report.lost(&field, "this strategy is not known here");
            return Choice::Shuffle;
        }
    };
    if let Some(what) = what {
        report.note(&field, what);
    }
    draft.strategy = Some(strategy);
    Choice::Observed
}

fn logging(sections: &mut [Fields<'_>], draft: &mut Draft, report: &mut Report) {
    if take(sections, "json_logs", report).is_some_and(|field| field.is_true()) {
        draft.settings.push(("log", "format", Shown::text("json")));
    }
    if take(sections, "set_verbose", report).is_some_and(|field| field.is_true()) {
        draft.settings.push(("log", "level", Shown::text("debug")));
    }
    for name in ["callbacks", "success_callback", "failure_callback", "service_callback"] {
        for (field, word) in take(sections, name, report)
            .iter()
            .flat_map(|field| field.words(&mut Report::default()))
        {
            match word {
                "prometheus" => report.note(&field, "metrics are always there: /metrics on admin_listen"),
                "otel" | "arize" | "langfuse_otel" => {
                    report.lost(&field, "write where the traces go: telemetry.otlp.endpoint");
                }
                _ => report.lost(
                    &field,
                    "there are no callbacks; see /metrics, telemetry and `mulberry usage`",
                ),
            }
        }
    }
}

fn add_alias(alias: &str, field: Field<'_>, models: &mut [Model], report: &mut Report) {
    let mut target = field.clone();
    if !field.members().is_empty() {
        let mut fields = Fields::open(field.clone(), report);
        if let Some(hidden) = fields.take("hidden").filter(Field::is_true) {
            report.lost(&hidden, "an alias is listed like a name");
        }
        let Some(model) = fields.take("model") else {
            report.lost(&field, "it names no model");
            return;
        };
        target = model;
        fields.close(&[], report);
    }
    let Some(name) = target.text_or_lost(report) else {
        return;
    };
    let is_taken = models
        .iter()
        .any(|model| model.name == alias || model.aliases.iter().any(|other| other == alias));
    let found = models.iter_mut().find(|model| model.name == name);
    match found {
        _ if is_taken => report.lost(&target, "the alias is the name of another model"),
        _ if alias.contains('*') => report.lost(&target, "an alias has no `*`"),
        Some(model) if !model.name.ends_with('*') => model.aliases.push(alias.to_owned()),
        _ => report.lost(&target, "it stands for no model that was carried over"),
    }
}

/// `*` is every model that has no fallbacks of its own, unless a model is called so.
fn add_fallbacks(name: &str, field: &Field<'_>, models: &mut [Model], report: &mut Report) {
    let from = if name == "*" && !models.iter().any(|model| model.name == "*") {
        without_fallbacks(models)
    } else {
        find(models, name).into_iter().collect()
    };
    if from.is_empty() {
        report.lost(field, "no model of this name was carried over");
        return;
    }
    add_fallbacks_to(&from, field, models, report);
}

fn without_fallbacks(models: &[Model]) -> Vec<usize> {
    let indices = 0..models.len();
    indices.filter(|i| models[*i].fallbacks.is_empty()).collect()
}

fn add_fallbacks_to(from: &[usize], field: &Field<'_>, models: &mut [Model], report: &mut Report) {
    let targets = field.words(report);
    for &from in from {
        for (place, target) in &targets {
            let Some(to) = find(models, target) else {
                report.lost(place, "no model of this name was carried over");
                continue;
            };
            if to == from && models[from].name == *target || models[from].fallbacks.iter().any(|old| old == target) {
                continue;
            }
            if to == from || leads(models, to, from) {
                let whose = models[from].name.escape_debug().to_string();
                report.lost(place, format!("as a fallback of `{whose}` it would close a circle"));
                continue;
            }
            models[from].fallbacks.push((*target).to_owned());
        }
    }
}

/// As the gateway finds it: by name or alias, else by the longest pattern.
fn find(models: &[Model], name: &str) -> Option<usize> {
    let exact = models
        .iter()
        .position(|model| model.name == name || model.aliases.iter().any(|alias| alias == name));
    exact.or_else(|| {
        let patterns = models.iter().enumerate().filter_map(|(i, model)| {
            let start = model.name.strip_suffix('*')?;
            name.starts_with(start).then_some((i, start.len()))
        });
        patterns.max_by_key(|(_, length)| *length).map(|(i, _)| i)
    })
}

/// Whether fallbacks lead from one model to the other.
fn leads(models: &[Model], from: usize, to: usize) -> bool {
    let mut seen = vec![false; models.len()];
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if !std::mem::replace(&mut seen[at], true) {
            open.extend(models[at].fallbacks.iter().filter_map(|name| find(models, name)));
        }
    }
    false
}

const REASONS: &[(&str, &str)] = &[
    ("routing_strategy_args", "the strategies have no arguments"),
    (
        "context_window_fallbacks",
        "a prompt that is too long is the client's error, and is not sent elsewhere",
    ),
    (
        "content_policy_fallbacks",
        "a refusal of the upstream passes to the client",
    ),
    ("max_fallbacks", "every fallback has attempts of its own: see retry"),
    (
        "retry_policy",
        "what is retried is fixed: docs/request.md, failover and retries",
    ),
    (
        "model_group_retry_policy",
        "what is retried is fixed: docs/request.md, failover and retries",
    ),
    ("allowed_fails_policy", "failures are not told apart: see breaker"),
    ("retry_after", "the next upstream is asked at once"),
    (
        "disable_cooldowns",
        "a breaker cannot be turned off; raise breaker.failures",
    ),
    (
        "enable_pre_call_checks",
        "prompts are not measured before they are sent",
    ),
    ("optional_pre_call_checks", "see the strategy prefix_affinity"),
    ("enable_tag_filtering", "routes are not chosen by tags"),
    ("cache", "answers are not cached; see idempotency for repeated requests"),
    (
        "cache_params",
        "answers are not cached; see idempotency for repeated requests",
    ),
    (
        "cache_responses",
        "answers are not cached; see idempotency for repeated requests",
    ),
    ("redis_host", "gateways share nothing; each has its own state"),
    ("redis_port", "gateways share nothing; each has its own state"),
    ("redis_password", "gateways share nothing; each has its own state"),
    ("redis_url", "gateways share nothing; each has its own state"),
    (
        "drop_params",
        "parameters pass as they are; the upstream refuses what it does not know",
    ),
    (
        "additional_drop_params",
        "parameters pass as they are; the upstream refuses what it does not know",
    ),
    ("modify_params", "parameters pass as they are"),
    ("request_timeout", "router_settings.timeout says it already"),
    ("turn_off_message_logging", "prompts and answers are never logged"),
    ("redact_user_api_key_info", "keys are never logged"),
    ("telemetry", "nothing is sent home"),
    (
        "ssl_verify",
        "no switch turns the check of certificates off; see ca_file",
    ),
    (
        "max_budget",
        "there is no budget of the whole gateway; give the keys an organisation, and that one a budget: docs/money.md",
    ),
    (
        "budget_duration",
        "there is no budget of the whole gateway; give the keys an organisation, and that one a budget: docs/money.md",
    ),
    (
        "default_internal_user_params",
        "there are no users; give keys a budget, or an account: docs/money.md",
    ),
    (
        "default_team_settings",
        "make each team with `mulberry account create`: docs/money.md",
    ),
    ("upperbound_key_generate_params", "whoever may administer decides"),
    ("public_model_groups", "models are listed for keys"),
    ("force_ipv4", "addresses are tried in the order in which they are found"),
    ("json_logs", "logs are text unless log.format says json"),
];
