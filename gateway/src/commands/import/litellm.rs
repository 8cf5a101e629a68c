//! LiteLLM's `config.yaml`: <https://docs.litellm.ai/docs/proxy/config_settings>.
//!
//! The order is that of the file: deployments become routes, then what is said of all of them, then who may ask.

use super::{
    draft::Draft,
    fields::{Field, Fields},
    report::Report,
};
use crate::config::Node;

mod deployment;
mod general;
mod keys;
mod models;
mod provider;
mod routing;
mod secrets;

pub(super) use keys::add_keys;
use secrets::Secrets;

/// Reads the whole file.
pub(super) fn read(root: &Node, keep_secrets: bool, report: &mut Report) -> Draft {
    let mut draft = Draft::default();
    let mut secrets = Secrets::of(root, keep_secrets);
    let mut top = Fields::open(Field::root(root), report);
    let credentials = top.take("credential_list");
    let models = top.take("model_list");
    let deployments = models.as_ref().map(|list| {
        let read = list
            .items()
            .into_iter()
            .filter_map(|item| deployment::read(item, credentials.as_ref(), &mut secrets, report));
        read.collect::<Vec<_>>()
    });
    // Both sections may say the same, and that of the router goes first.
    let router = top.take("router_settings");
    let litellm = top.take("litellm_settings");
    routing::read(router, litellm, deployments.unwrap_or_default(), &mut draft, report);
    if let Some(list) = &models {
        let unpriced: Vec<&str> = draft
            .models
            .iter()
            .filter(|model| model.price.is_empty())
            .map(|model| model.name.as_str())
            .collect();
        if !unpriced.is_empty() {
            let names = unpriced.join(", ").escape_debug().to_string();
            report.note(
                list,
                format!("no price is said for {names}; LiteLLM has a table of its own, and here none is"),
            );
        }
    }
    if let Some(general) = top.take("general_settings") {
        general::read(general, &mut secrets, &mut draft, report);
    } else {
        general::no_master_key(&Field::root(root), report);
    }
    if let Some(variables) = top.take("environment_variables") {
        for (name, field) in variables.members() {
            let words = format!(
                "set {} where the gateway starts; values are not copied",
                name.escape_debug()
            );
            report.note(&field, words);
        }
    }
    top.close(REASONS, report);
    draft
}

const REASONS: &[(&str, &str)] = &[
    ("include", "join the files into one before you import it"),
    ("guardrails", "the gateway does not change or judge what is said"),
    ("mcp_servers", "the gateway serves no tools"),
    ("mcp_tools", "the gateway serves no tools"),
    ("vector_store_registry", "the gateway has no stores of vectors"),
    ("prompts", "the gateway has no prompts of its own"),
    (
        "files_settings",
        "files go to the backends that serve them, with the backend's key",
    ),
    ("finetune_settings", "fine-tuning is not served"),
    ("callback_settings", "there are no callbacks"),
];
