//! `general_settings`: who may ask, and how much at once.

use super::super::{
    draft::Draft,
    fields::{Field, Fields},
    report::Report,
};
use super::secrets::Secrets;
use crate::config::Shown;

pub(super) fn read(section: Field<'_>, secrets: &mut Secrets, draft: &mut Draft, report: &mut Report) {
    let mut fields = Fields::open(section, report);
    match fields.take("master_key") {
        Some(field) => {
            if let Some(secret) = secrets.shown(&field, "LITELLM_MASTER_KEY", report) {
                let entry = Shown::map(vec![("name", Shown::text("master")), ("secret", secret)]);
                draft.keys.push(entry.clone());
                draft.admin_tokens.push(entry);
                report.note(
                    &field,
                    "it stays a key for every model and becomes a token of the admin API",
                );
            }
        }
        None => no_master_key(fields.whole(), report),
    }
    if let Some(field) = fields.take("database_url") {
        let words = "the keys in LiteLLM's database come by `mulberry key import litellm`, or into this file by --keys";
        report.lost(&field, words);
    }
    if let Some(field) = fields.take("global_max_parallel_requests")
        && let Some(limit) = field.whole_number(report)
    {
        draft
            .settings
            .push(("limits", "concurrency", Shown::Plain(limit.to_string())));
    }
    for (theirs, ours) in [("max_request_size_mb", "body"), ("max_response_size_mb", "response")] {
        if let Some(field) = fields.take(theirs)
            && let Some(size) = field.whole_number(report)
        {
            draft
                .settings
                .push(("limits", ours, Shown::Plain(format!("{size}MiB"))));
        }
    }
    fields.close(REASONS, report);
}

pub(super) fn no_master_key(field: &Field<'_>, report: &mut Report) {
    let words = "there is no master_key: without keys only this machine may ask, and others are refused";
    report.note(field, words);
}

const REASONS: &[(&str, &str)] = &[
    (
        "max_parallel_requests",
        "it is per deployment there; see concurrency.limit of a backend",
    ),
    (
        "database_connection_pool_limit",
        "the database is a file of the gateway's own",
    ),
    (
        "database_connection_timeout",
        "the database is a file of the gateway's own",
    ),
    ("database_type", "the database is a file of the gateway's own"),
    (
        "store_model_in_db",
        "models are in the file, which is read again when it changes",
    ),
    ("store_prompts_in_spend_logs", "prompts are never kept"),
    ("disable_spend_logs", "use is always recorded; see data_dir"),
    ("disable_master_key_return", "secrets are never returned"),
    ("alerting", "there are no alerts; see /metrics"),
    ("alerting_threshold", "there are no alerts; see /metrics"),
    ("alert_types", "there are no alerts; see /metrics"),
    ("alerting_args", "there are no alerts; see /metrics"),
    ("background_health_checks", "upstreams are always probed; see health"),
    ("health_check_interval", "see health.interval of a backend"),
    ("health_check_details", "see /admin/v1/upstreams"),
    (
        "custom_auth",
        "there is no code of yours in the gateway; see keys and oidc",
    ),
    ("enable_jwt_auth", "write the issuer as oidc"),
    ("litellm_jwtauth", "write the issuer as oidc"),
    (
        "key_management_system",
        "secrets come from variables and files: ${NAME}, ${file:PATH}",
    ),
    (
        "key_management_settings",
        "secrets come from variables and files: ${NAME}, ${file:PATH}",
    ),
    (
        "use_google_kms",
        "secrets come from variables and files: ${NAME}, ${file:PATH}",
    ),
    ("allowed_routes", "keys are limited to models, not to paths"),
    ("public_routes", "no inference is answered without a key"),
    ("allowed_ips", "filter addresses before the gateway"),
    ("enforce_user_param", "parameters pass as they are"),
    ("infer_model_from_keys", "a model is what its entry says"),
    ("completion_model", "a request without a model is refused"),
    ("pass_through_endpoints", "only the paths of OpenAI's API are served"),
    ("ui_access_mode", "see admin_listen"),
    (
        "proxy_budget_rescheduler_min_time",
        "budgets begin anew at midnight UTC, by themselves",
    ),
    (
        "proxy_budget_rescheduler_max_time",
        "budgets begin anew at midnight UTC, by themselves",
    ),
    ("proxy_batch_write_at", "records are written within 50 ms"),
    ("maximum_spend_logs_retention_period", "records are kept"),
];
