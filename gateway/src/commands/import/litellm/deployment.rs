//! One item of `model_list`.

use super::super::{
    decimal,
    draft::{Backend, Upstream},
    fields::{Field, Fields},
    report::Report,
};
use super::provider::{self, Provider};
use super::secrets::{Secrets, plain, reference, variable_reference};
use crate::config::{Shown, is_pattern};

/// A model at one place.
#[derive(Debug)]
pub(super) struct Deployment<'a> {
    pub(super) whole: Field<'a>,
    /// What clients call it; perhaps a pattern.
    pub(super) name: String,
    pub(super) backend: Backend,
    /// What it is called there; a pattern under a pattern.
    pub(super) model: String,
    pub(super) weight: Option<Field<'a>>,
    pub(super) order: Option<u32>,
    pub(super) rpm: Option<Field<'a>>,
    pub(super) tpm: Option<Field<'a>>,
    pub(super) price: Vec<(&'static str, String)>,
}

pub(super) fn read<'a>(
    item: Field<'a>,
    credentials: Option<&Field<'a>>,
    secrets: &mut Secrets,
    report: &mut Report,
) -> Option<Deployment<'a>> {
    let mut fields = Fields::open(item, report);
    let name = fields.take("model_name");
    let mut params = match fields.take("litellm_params") {
        Some(params) => Fields::open(params, report),
        None => {
            report.lost(fields.whole(), "it has no litellm_params, so nothing says where it is");
            return None;
        }
    };
    let info = fields.take("model_info");
    let whole = fields.whole().clone();
    fields.close(&[("model_group", "the name is model_name")], report);

    let model_field = params.take("model");
    let Some((model_field, model)) = model_field.as_ref().and_then(|field| Some((field, field.text()?))) else {
        report.lost(&whole, "its litellm_params have no model");
        return None;
    };
    let name = name.as_ref().and_then(Field::text).unwrap_or(model).to_owned();
    let stated = params.take("custom_llm_provider").and_then(|field| field.text());
    let (provider, model) = match provider::find(model, stated) {
        Ok(found) => found,
        Err(why) => {
            report.lost(model_field, format!("`{}` is left out: {why}", name.escape_debug()));
            return None;
        }
    };
    if let Err(why) = check_names(&name, model) {
        report.lost(model_field, format!("`{}` is left out: {why}", name.escape_debug()));
        return None;
    }
    let credential = credential(&mut params, credentials, report);
    let backend = backend(provider, &name, &mut params, credential, secrets, report)?;
    let price = price(&mut params, info, report);
    let deployment = Deployment {
        whole,
        name,
        backend,
        model: model.to_owned(),
        weight: params.take("weight"),
        order: params.take("order").and_then(|field| field.whole_number(report)),
        rpm: params.take("rpm"),
        tpm: params.take("tpm"),
        price,
    };
    params.close(REASONS, report);
    Some(deployment)
}

const REASONS: &[(&str, &str)] = &[
    ("max_retries", "retries are counted for all: see retry.attempts"),
    ("num_retries", "retries are counted for all: see retry.attempts"),
    (
        "temperature",
        "the gateway adds no parameters to a request; clients set it",
    ),
    ("top_p", "the gateway adds no parameters to a request; clients set it"),
    (
        "max_tokens",
        "the gateway adds no parameters to a request; clients set it",
    ),
    (
        "max_completion_tokens",
        "the gateway adds no parameters to a request; clients set it",
    ),
    ("seed", "the gateway adds no parameters to a request; clients set it"),
    ("stop", "the gateway adds no parameters to a request; clients set it"),
    (
        "reasoning_effort",
        "the gateway adds no parameters to a request; clients set it",
    ),
    (
        "thinking",
        "the gateway adds no parameters to a request; clients set it",
    ),
    (
        "extra_body",
        "the gateway adds no parameters to a request; clients set it",
    ),
    (
        "drop_params",
        "parameters pass as they are; the upstream refuses what it does not know",
    ),
    (
        "additional_drop_params",
        "parameters pass as they are; the upstream refuses what it does not know",
    ),
    ("allowed_openai_params", "parameters pass as they are"),
    ("tags", "routes are not chosen by tags"),
    ("cooldown_time", "it is one for all: see breaker.cooldown"),
    (
        "mock_response",
        "nothing is made up here; `mulberry mock` is a scripted server",
    ),
    ("max_budget", "budgets are of keys and accounts, not of upstreams"),
    ("budget_duration", "budgets are of keys and accounts, not of upstreams"),
    (
        "ssl_verify",
        "no switch turns the check of certificates off; see ca_file",
    ),
    ("azure_ad_token", "azure is asked with an API key"),
    ("tenant_id", "azure is asked with an API key"),
    ("client_id", "azure is asked with an API key"),
    ("client_secret", "azure is asked with an API key"),
    ("input_cost_per_second", "prices are per token and per request"),
    ("output_cost_per_second", "prices are per token and per request"),
    ("input_cost_per_character", "prices are per token and per request"),
    ("output_cost_per_character", "prices are per token and per request"),
    ("input_cost_per_image", "prices are per token and per request"),
    ("output_cost_per_image", "prices are per token and per request"),
    ("input_cost_per_pixel", "prices are per token and per request"),
    ("output_cost_per_pixel", "prices are per token and per request"),
];

/// Where a `*` may stand so that one name follows from the other.
fn check_names(name: &str, model: &str) -> Result<(), &'static str> {
    if name.starts_with("os.environ/") || model.starts_with("os.environ/") {
        return Err("a name that stands in a variable is not read; write it out");
    }
    match (name.contains('*'), model.contains('*')) {
        (false, true) => Err("one name cannot stand for a pattern of the provider's"),
        _ if !is_pattern(name) || !is_pattern(model) => Err("a `*` may stand only at the end of a name"),
        _ => Ok(()),
    }
}

/// The values of the credential that is named, if one is.
fn credential<'a>(params: &mut Fields<'a>, credentials: Option<&Field<'a>>, report: &mut Report) -> Option<Fields<'a>> {
    let named = params.take("litellm_credential_name")?;
    let name = named.text()?;
    for item in credentials.map(Field::items).unwrap_or_default() {
        let mut fields = Fields::open(item, report);
        if fields.take("credential_name").and_then(|field| field.text()) == Some(name) {
            return Some(Fields::open(fields.take("credential_values")?, report));
        }
    }
    report.lost(&named, "there is no such credential in credential_list");
    None
}

fn backend<'a>(
    provider: &'static Provider,
    name: &str,
    params: &mut Fields<'a>,
    mut credential: Option<Fields<'a>>,
    secrets: &mut Secrets,
    report: &mut Report,
) -> Option<Backend> {
    let mut either = |field: &'static str, params: &mut Fields<'a>| {
        let own = params.take(field);
        own.or_else(|| credential.as_mut().and_then(|credential| credential.take(field)))
    };
    let base = either("api_base", params).or_else(|| either("base_url", params));
    let api_key = either("api_key", params);
    let api_version = either("api_version", params);

    let stated = base.as_ref().and_then(|field| field.text_or_lost(report));
    let (url, place) = match (stated, provider.base, provider.base_variable) {
        (Some(text), _, _) => (plain(text), place(text)),
        (None, Some(base), _) => (Shown::text(base), None),
        (None, None, Some(variable)) => (variable_reference(variable), Some(short(variable))),
        (None, None, None) => {
            report.lost(
                params.whole(),
                format!("`{}` is left out: it has no api_base", name.escape_debug()),
            );
            return None;
        }
    };
    // Whoever speaks OpenAI's API at another address is another program.
    let is_own = stated.is_none() || stated.is_some_and(|text| text.contains("//api.openai.com"));
    let kind = if provider.kind == "openai" && !is_own {
        "openai-compatible"
    } else {
        provider.kind
    };
    if let (Some(base), Some(text), "openai-compatible") = (&base, stated, kind) {
        if reference(text).is_none() && !text.trim_end_matches('/').ends_with("/v1") {
            report.note(base, "requests go to /v1/… below it; LiteLLM added no /v1");
        }
        if let (Some(variable), "openai") = (text.strip_prefix("os.environ/"), provider.kind) {
            let words =
                format!("{variable}: kind openai-compatible; write kind: openai if it holds OpenAI's own address");
            report.note_once(base, words);
        }
    }

    let shown_key = match (&api_key, provider.key_variable) {
        // Named after the model: the provider's own variable may hold another key.
        (Some(field), _) => secrets.shown(field, &format!("{}_API_KEY", variable_name(name)), report),
        (None, Some(variable)) if is_own || provider.kind == "azure" => Some(variable_reference(variable)),
        (None, Some(_)) => {
            let what = "it has no api_key, and none is sent: a provider's own key does not go to other addresses";
            report.note(params.whole(), what);
            None
        }
        (None, None) => None,
    };
    let api_version = match (kind, &api_version) {
        ("azure", Some(field)) => field.text_or_lost(report).map(plain),
        ("azure", None) => {
            report.note(params.whole(), "it has no api_version: 2024-10-21 is asked for");
            Some(Shown::text("2024-10-21"))
        }
        (_, Some(field)) => {
            report.lost(field, "only azure has versions");
            None
        }
        (_, None) => None,
    };

    let mut headers = Vec::new();
    if let Some(extra) = params.take("extra_headers").or_else(|| params.take("headers")) {
        for (header, field) in extra.members() {
            let is_secret = ["auth", "key", "token", "secret", "cookie"]
                .iter()
                .any(|word| header.to_lowercase().contains(word));
            let value = if is_secret {
                secrets.shown(&field, &variable_name(header), report)
            } else {
                field.text_or_lost(report).map(plain)
            };
            headers.extend(value.map(|value| (header.to_owned(), value)));
        }
    }
    if let Some(text) = params.take("organization").and_then(|field| field.text_or_lost(report)) {
        headers.push(("openai-organization".to_owned(), plain(text)));
    }
    let limit = params
        .take("max_parallel_requests")
        .and_then(|field| field.whole_number(report))
        .filter(|limit| *limit > 0);
    // What does not concern a gateway.
    params.ignore(&[
        "use_in_pass_through",
        "use_litellm_proxy",
        "merge_reasoning_content_in_choices",
    ]);
    let mut clock = |field| {
        let field = params.take(field)?;
        duration(&field, report)
    };
    Some(Backend {
        label: match place {
            // A place such as `azure_eu` says whose it is.
            Some(place) if place.starts_with(provider.label) => place,
            Some(place) => format!("{}-{place}", provider.label),
            None => provider.label.to_owned(),
        },
        kind,
        upstreams: vec![Upstream {
            url,
            api_key: shown_key,
            weight: 1,
        }],
        api_version,
        headers,
        total: clock("timeout"),
        first_frame: clock("stream_timeout"),
        only_for: limit.map(|_| name.to_owned()),
        limit,
    })
}

/// A name as that of a variable.
fn variable_name(name: &str) -> String {
    let upper = name.to_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let upper = upper.trim_matches('_');
    // A variable does not begin with a digit, and has a name.
    if upper.starts_with(|c: char| c.is_ascii_alphabetic()) {
        upper.to_owned()
    } else {
        format!("MODEL_{upper}")
    }
}

/// What an address adds to the name of a backend.
fn place(text: &str) -> Option<String> {
    if let Some(variable) = text.strip_prefix("os.environ/") {
        return Some(short(variable));
    }
    let host = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = host.split(['/', '?']).next().unwrap_or_default();
    Some(host.trim_end_matches(".openai.azure.com").to_owned())
}

/// What a variable with an address is about.
fn short(variable: &str) -> String {
    let lower = variable.to_lowercase();
    let endings = ["_api_base", "_base_url", "_api_url", "_endpoint", "_url", "_base"];
    let stem = endings.iter().find_map(|ending| lower.strip_suffix(ending));
    stem.unwrap_or(&lower).to_owned()
}

/// Seconds as LiteLLM writes them.
pub(super) fn duration(field: &Field<'_>, report: &mut Report) -> Option<String> {
    let text = field.text_or_lost(report)?;
    let read = decimal::seconds(text).filter(|read| read != "0s");
    if read.is_none() {
        report.lost(field, "a number of seconds was expected; write it by hand");
    }
    read
}

/// Where a price is said, and what it is here.
const PRICES: [(&str, &str); 4] = [
    ("input_cost_per_token", "prompt"),
    ("cache_read_input_token_cost", "cached"),
    ("output_cost_per_token", "completion"),
    ("output_cost_per_reasoning_token", "reasoning"),
];

fn price<'a>(params: &mut Fields<'a>, info: Option<Field<'a>>, report: &mut Report) -> Vec<(&'static str, String)> {
    let mut info = info.map(|info| Fields::open(info, report));
    let mut price = Vec::new();
    let per_request = [("input_cost_per_request", "request")];
    for (theirs, ours) in PRICES.into_iter().chain(per_request) {
        let said = info.as_mut().and_then(|info| info.take(theirs));
        let Some(field) = said.or_else(|| params.take(theirs)) else {
            continue;
        };
        let read = match ours {
            "request" => field.text().and_then(decimal::per_request),
            _ => field.text().and_then(decimal::per_million),
        };
        match read {
            Some(amount) => price.push((ours, amount)),
            None => report.lost(
                &field,
                "it is no price with at most nine digits after the point, per million",
            ),
        }
    }
    if let Some(mut info) = info {
        // What it says of a model that nobody here asks.
        info.ignore(&[
            "id",
            "db_model",
            "mode",
            "base_model",
            "description",
            "litellm_provider",
            "created_at",
            "updated_at",
            "max_tokens",
            "max_input_tokens",
            "max_output_tokens",
            "supported_openai_params",
        ]);
        info.ignore_where(|name| name.starts_with("supports_"));
        info.close(INFO, report);
    }
    price
}

const INFO: &[(&str, &str)] = &[
    (
        "cache_creation_input_token_cost",
        "tokens that fill a cache are priced as prompt tokens",
    ),
    ("input_cost_per_token_batches", "there is one price for a model"),
    ("output_cost_per_token_batches", "there is one price for a model"),
    (
        "input_cost_per_token_above_128k_tokens",
        "there is one price for a model, however long the prompt",
    ),
    (
        "output_cost_per_token_above_128k_tokens",
        "there is one price for a model, however long the prompt",
    ),
    (
        "input_cost_per_token_above_200k_tokens",
        "there is one price for a model, however long the prompt",
    ),
    (
        "output_cost_per_token_above_200k_tokens",
        "there is one price for a model, however long the prompt",
    ),
    ("input_cost_per_second", "prices are per token and per request"),
    ("input_cost_per_audio_token", "prices are per token and per request"),
    ("output_cost_per_audio_token", "prices are per token and per request"),
    ("access_groups", "keys name models, or beginnings of names"),
    ("health_check_model", "upstreams are asked what they list"),
    ("health_check_timeout", "see health.timeout"),
    ("disable_background_health_check", "see health.enabled"),
    (
        "team_id",
        "there are no teams; give the keys of a team the models that they may use",
    ),
];
