//! A key as administrators see it: everything but the secret and its hash.

use billing_store::StoredKey;
use serde::{Serialize, Serializer, ser::SerializeMap};
use utoipa::ToSchema;

use super::merge::moment;
use crate::{config::Key, treasury::BudgetView};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct KeyView {
    pub(crate) name: String,
    owner: Option<String>,
    /// `file` or `database`.
    pub(crate) source: &'static str,
    models: Vec<String>,
    min_tier: String,
    limits: LimitsView,
    /// Times are texts of RFC 3339, in UTC.
    expires: Option<String>,
    pub(super) disabled: bool,
    revoked_at: Option<String>,
    /// Who pays for it: an organisation or a team.
    pub(crate) account: Option<String>,
    /// What it may spend.
    pub(crate) budget: BudgetView,
    #[serde(serialize_with = "object")]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    tags: Vec<(String, String)>,
    created_at: Option<String>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LimitsView {
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u32>,
    concurrency: Option<u32>,
}

impl KeyView {
    pub(super) fn of_file(key: &Key) -> Self {
        Self {
            name: key.name.clone(),
            owner: key.owner.clone(),
            source: "file",
            models: key.models.clone(),
            min_tier: key.min_tier.as_str().to_owned(),
            limits: LimitsView {
                requests_per_minute: key.limits.requests_per_minute,
                tokens_per_minute: key.limits.tokens_per_minute,
                concurrency: key.limits.concurrency,
            },
            expires: key.expires.map(|moment| moment.to_string()),
            disabled: key.disabled,
            revoked_at: None,
            account: key.account.as_ref().map(ToString::to_string),
            budget: key
                .budget
                .as_ref()
                .map(|budget| budget.rules().into())
                .unwrap_or_default(),
            tags: key.tags.0.clone(),
            created_at: None,
        }
    }

    pub(super) fn of_database(key: &StoredKey) -> Self {
        let grant = &key.grant;
        Self {
            name: key.name.clone(),
            owner: grant.owner.clone(),
            source: "database",
            models: grant.models.clone(),
            min_tier: grant.min_tier.clone(),
            limits: LimitsView {
                requests_per_minute: grant.requests_per_minute,
                tokens_per_minute: grant.tokens_per_minute,
                concurrency: grant.concurrency,
            },
            expires: grant.expires_at_ms.map(time),
            disabled: grant.disabled,
            revoked_at: key.revoked_at_ms.map(time),
            account: grant.account.as_ref().map(ToString::to_string),
            budget: grant.budget.into(),
            tags: grant.tags.clone(),
            created_at: Some(time(key.created_at_ms)),
        }
    }
}

/// A moment as text.
pub(crate) fn time(at_ms: i64) -> String {
    moment(at_ms).to_string()
}

fn object<S: Serializer>(tags: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
    let mut object = to.serialize_map(Some(tags.len()))?;
    for (name, value) in tags {
        object.serialize_entry(name, value)?;
    }
    object.end()
}
