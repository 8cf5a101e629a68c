//! What an operator wants of a key: the body of the admin API's POST and PATCH, and the flags of `mulberry key`.
//!
//! What is not mentioned stays as it is; `null` takes a limit, an owner or an expiry away.

use std::collections::BTreeMap;

use billing::Budget;
use billing_store::Grant;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    config::{MAX_KEY_NAME, Tier, Timestamp, is_key_name, is_pattern},
    treasury::{self, BudgetEdit, some},
};

/// Longest name, owner, tag and pattern, in bytes.
const MAX_TEXT: usize = MAX_KEY_NAME;
/// Most patterns and tags of one key.
const MAX_ITEMS: usize = 256;

/// Changes to a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyEdit {
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) models: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_tier: Option<String>,
    #[serde(default, skip_serializing_if = "LimitsEdit::is_empty")]
    pub(crate) limits: LimitsEdit,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) disabled: Option<bool>,
    /// Who pays: `org:NAME` or `team:ORGANISATION/TEAM`. With a budget and without one, `org:default` does.
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "BudgetEdit::is_empty")]
    pub(crate) budget: BudgetEdit,
    /// All tags: those that are not among them go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsEdit {
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) requests_per_minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) tokens_per_minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<Option<u32>>,
}

/// Why a key cannot be as an operator wants it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    #[error(
        "a key's name has 1 to {MAX_TEXT} bytes, no white space at its ends, no control character, no `/`, is not `.` or `..`, and does not begin with `oidc:`"
    )]
    Name,
    #[error("this is the hash of an empty text, which everybody has; hash the key itself")]
    HashOfNothing,
    #[error("`{field}` is longer than {MAX_TEXT} bytes, or holds a control character")]
    Text { field: &'static str },
    #[error("more than {MAX_ITEMS} {field} are too many")]
    TooMany { field: &'static str },
    #[error("{pattern:?} is no model: write a name, or the beginning of names and one `*`")]
    Pattern { pattern: String },
    #[error("{tier:?} is no tier: write open, tee or tee+gpu")]
    Tier { tier: String },
    #[error("a limit of 0 for `{field}` would let nothing through; disable the key instead")]
    Zero { field: &'static str },
    #[error(transparent)]
    Account(treasury::EditError),
    #[error("{expires:?} is no time: write a day such as 2027-12-31, or an RFC 3339 time that ends in Z")]
    Expires { expires: String },
}

impl LimitsEdit {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl KeyEdit {
    /// Changes a grant, or refuses and leaves it half changed.
    pub(crate) fn apply(&self, grant: &mut Grant) -> Result<(), EditError> {
        if let Some(owner) = &self.owner {
            if let Some(owner) = owner {
                check_text("owner", owner)?;
            }
            grant.owner.clone_from(owner);
        }
        if let Some(models) = &self.models {
            check_count("models", models.len())?;
            for pattern in models {
                check_text("models", pattern)?;
                if pattern.is_empty() || !is_pattern(pattern) {
                    return Err(EditError::Pattern {
                        pattern: pattern.clone(),
                    });
                }
            }
            grant.models.clone_from(models);
        }
        if let Some(tier) = &self.min_tier {
            if !Tier::ALL.iter().any(|known| known.as_str() == tier) {
                return Err(EditError::Tier { tier: cut(tier) });
            }
            grant.min_tier.clone_from(tier);
        }
        let limits = [
            (
                "requests_per_minute",
                self.limits.requests_per_minute,
                &mut grant.requests_per_minute,
            ),
            (
                "tokens_per_minute",
                self.limits.tokens_per_minute,
                &mut grant.tokens_per_minute,
            ),
            ("concurrency", self.limits.concurrency, &mut grant.concurrency),
        ];
        for (field, wanted, limit) in limits {
            match wanted {
                Some(Some(0)) => return Err(EditError::Zero { field }),
                Some(wanted) => *limit = wanted,
                None => {}
            }
        }
        if let Some(expires) = &self.expires {
            grant.expires_at_ms = expires.as_deref().map(expiry).transpose()?;
        }
        if let Some(disabled) = self.disabled {
            grant.disabled = disabled;
        }
        if let Some(account) = &self.account {
            let account = account.as_deref().map(treasury::account).transpose();
            grant.account = account.map_err(EditError::Account)?;
        }
        self.budget.apply(&mut grant.budget);
        if let Some(tags) = &self.tags {
            check_count("tags", tags.len())?;
            for (name, value) in tags {
                check_text("tags", name)?;
                check_text("tags", value)?;
            }
            let tags = tags.iter();
            grant.tags = tags.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        Ok(())
    }
}

/// What a key may use of which nothing was said.
pub(crate) fn fresh() -> Grant {
    Grant {
        owner: None,
        models: vec!["*".to_owned()],
        min_tier: Tier::Open.as_str().to_owned(),
        requests_per_minute: None,
        tokens_per_minute: None,
        concurrency: None,
        expires_at_ms: None,
        disabled: false,
        account: None,
        budget: Budget::default(),
        tags: Vec::new(),
    }
}

/// The rule of the configuration file, for all keys.
pub(crate) fn check_name(name: &str) -> Result<(), EditError> {
    if is_key_name(name) {
        Ok(())
    } else {
        Err(EditError::Name)
    }
}

pub(crate) fn check_text(field: &'static str, text: &str) -> Result<(), EditError> {
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err(EditError::Text { field });
    }
    Ok(())
}

pub(crate) fn check_count(field: &'static str, count: usize) -> Result<(), EditError> {
    if count > MAX_ITEMS {
        return Err(EditError::TooMany { field });
    }
    Ok(())
}

fn expiry(text: &str) -> Result<i64, EditError> {
    let bad = || EditError::Expires { expires: cut(text) };
    let moment = Timestamp::parse(text).ok_or_else(bad)?;
    let at_ms = moment.unix_seconds().checked_mul(1000);
    at_ms.and_then(|at_ms| i64::try_from(at_ms).ok()).ok_or_else(bad)
}

/// What a message repeats of a text.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(json: &str) -> Result<Grant, EditError> {
        let edit: KeyEdit = serde_json::from_str(json).expect("the shape is right");
        let mut grant = Grant {
            owner: Some("before".to_owned()),
            requests_per_minute: Some(7),
            ..fresh()
        };
        edit.apply(&mut grant).map(|()| grant)
    }

    #[test]
    fn what_is_not_mentioned_stays_and_null_takes_away() {
        let grant = applied("{}").expect("nothing is wrong");
        assert_eq!(
            (grant.owner.as_deref(), grant.requests_per_minute),
            (Some("before"), Some(7))
        );
        let grant = applied(r#"{"owner": null, "limits": {"requests_per_minute": null, "concurrency": 2}}"#);
        let grant = grant.expect("nothing is wrong");
        assert_eq!(
            (grant.owner, grant.requests_per_minute, grant.concurrency),
            (None, None, Some(2))
        );
        let grant = applied(r#"{"expires": "2027-01-01", "tags": {"a": "b"}, "min_tier": "tee"}"#);
        let grant = grant.expect("nothing is wrong");
        assert_eq!(grant.expires_at_ms, Some(1_798_761_600_000));
        assert_eq!(grant.tags, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(grant.min_tier, "tee");
        let grant = applied(r#"{"account": "acme/research", "budget": {"day": "0.5"}}"#).expect("nothing is wrong");
        let account = grant.account.as_ref().map(billing::AccountId::as_str);
        assert_eq!((account, grant.budget.month), (Some("team:acme/research"), None));
        assert_eq!(grant.budget.day, "0.5".parse().ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |json: &str, what: &str| {
            let error = applied(json).expect_err(json).to_string();
            assert!(error.contains(what), "{json}: {error}");
        };
        refused(r#"{"models": ["a*b"]}"#, "\"a*b\" is no model");
        refused(r#"{"models": [""]}"#, "is no model");
        refused(r#"{"min_tier": "TEE"}"#, "is no tier");
        refused(r#"{"limits": {"tokens_per_minute": 0}}"#, "disable the key");
        refused(r#"{"expires": "tomorrow"}"#, "is no time");
        refused(r#"{"owner": "a\nb"}"#, "control character");
        refused(r#"{"account": "system:fees"}"#, "nobody changes by hand");
        refused(r#"{"account": "a b"}"#, "write org:NAME");
        for json in [
            r#"{"modles": []}"#,
            r#"{"limits": {"rpm": 1}}"#,
            r#"{"limits": {"concurrency": -1}}"#,
        ] {
            assert!(serde_json::from_str::<KeyEdit>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn names() {
        for good in ["alice", "team a", "a.b-c_d@e", "\u{fc}ber", &"x".repeat(256)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", " a", "a ", "a\nb", "a/b", ".", "..", "oidc:alice", &"x".repeat(257)] {
            assert_eq!(check_name(bad), Err(EditError::Name), "{bad}");
        }
    }

    #[test]
    fn an_edit_goes_over_the_wire_whole() {
        let json = r#"{"owner":null,"limits":{"concurrency":2},"disabled":true}"#;
        let edit: KeyEdit = serde_json::from_str(json).expect("the shape is right");
        assert_eq!(serde_json::to_string(&edit).expect("it has only texts"), json);
        assert_eq!(serde_json::to_string(&KeyEdit::default()).expect("it is empty"), "{}");
    }
}
