//! What a request says of who may serve it: `x-mulberry-min-tier`, `x-attest-policy`, and its key.
//!
//! The stricter of all counts. Each header is sent once: which of several is meant nobody can say.
//! A policy with a word that we do not know is refused: it would be one that silently asks for less.

use std::{borrow::Cow, fmt};

use backends::verdict::{Demand, Requirement, Tier};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Deserializer, de};

const MIN_TIER: &str = "x-mulberry-min-tier";
const POLICY: &str = "x-attest-policy";
const MAX_POLICY: usize = 1024;

/// Why nobody can say what a request demands.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemandError {
    #[error("Invalid value for the header '{MIN_TIER}': expected open, tee or tee+gpu, once.")]
    MinTier,
    #[error("The header '{POLICY}' was sent more than once. Put all that is required into one.")]
    Twice,
    #[error("The header '{POLICY}' has {bytes} bytes, more than the {MAX_POLICY} that are read.")]
    TooLong { bytes: usize },
    #[error(
        "Invalid value for the header '{POLICY}': {0}. Send JSON such as {{\"min_tier\":\"tee\",\"max_age_s\":300,\"require\":[\"up_to_date\"]}}."
    )]
    Policy(#[source] serde_json::Error),
}

/// What an app asks of whoever serves this request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    #[serde(default)]
    min_tier: Option<Tier>,
    #[serde(default, deserialize_with = "seconds")]
    max_age_s: Option<u32>,
    #[serde(default)]
    require: Vec<Required>,
}

struct Required(Requirement);

/// `key`: the least that the key of the request has its prompts protected by.
pub(super) fn demand(headers: &HeaderMap, key: Tier) -> Result<Demand, DemandError> {
    let said = min_tier(headers)?;
    let policy = policy(headers)?;
    let asked = said.max(policy.min_tier);
    let mut require: Vec<Requirement> = policy.require.into_iter().map(|Required(one)| one).collect();
    require.sort_unstable();
    require.dedup();
    Ok(Demand {
        // The key's own is never lowered.
        min_tier: asked.unwrap_or(Tier::Open).max(key),
        max_age_s: policy.max_age_s,
        require,
        accepts_strangers: asked == Some(Tier::Open),
    })
}

fn min_tier(headers: &HeaderMap) -> Result<Option<Tier>, DemandError> {
    let Some(value) = once(headers, MIN_TIER).map_err(|_| DemandError::MinTier)? else {
        return Ok(None);
    };
    let named = Tier::ALL
        .into_iter()
        .find(|tier| tier.name().as_bytes() == value.as_bytes());
    named.map(Some).ok_or(DemandError::MinTier)
}

fn policy(headers: &HeaderMap) -> Result<Policy, DemandError> {
    let Some(value) = once(headers, POLICY).map_err(|_| DemandError::Twice)? else {
        return Ok(Policy {
            min_tier: None,
            max_age_s: None,
            require: Vec::new(),
        });
    };
    let bytes = value.len();
    if bytes > MAX_POLICY {
        return Err(DemandError::TooLong { bytes });
    }
    if !value.as_bytes().trim_ascii_start().starts_with(b"{") {
        // serde would read an array as the members in their order.
        let error: serde_json::Error = de::Error::custom("it is no JSON object");
        return Err(DemandError::Policy(error));
    }
    serde_json::from_slice(value.as_bytes()).map_err(DemandError::Policy)
}

struct Several;

fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Several),
    }
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let seconds = Option::<u32>::deserialize(from)?;
    if seconds == Some(0) {
        return Err(de::Error::custom("max_age_s is at least 1"));
    }
    Ok(seconds)
}

impl<'de> Deserialize<'de> for Required {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(from)?;
        Requirement::named(&name).map(Self).ok_or_else(|| {
            let known = Requirement::ALL.map(Requirement::name).join(", ");
            de::Error::custom(Unknown(&name, &known))
        })
    }
}

/// A word that nothing is required by.
struct Unknown<'a>(&'a str, &'a str);

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(name, known) = self;
        write!(f, "{name:?} cannot be required, expected one of {known}")
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn asked(pairs: &[(&'static str, &str)], key: Tier) -> Result<Demand, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("visible"),
            );
        }
        demand(&headers, key).map_err(|error| error.to_string())
    }

    #[test]
    fn the_stricter_counts() {
        let check = |pairs: &[(&'static str, &str)], key, tier, accepts_strangers| {
            let demand = asked(pairs, key).expect("it can be read");
            assert_eq!(
                (demand.min_tier, demand.accepts_strangers),
                (tier, accepts_strangers),
                "{pairs:?} {key}"
            );
        };
        check(&[], Tier::Open, Tier::Open, false);
        check(&[], Tier::Tee, Tier::Tee, false);
        check(&[(MIN_TIER, "open")], Tier::Open, Tier::Open, true);
        check(&[(MIN_TIER, "open")], Tier::TeeGpu, Tier::TeeGpu, true);
        check(&[(MIN_TIER, "tee")], Tier::Open, Tier::Tee, false);
        check(&[(POLICY, r#"{"min_tier":"tee+gpu"}"#)], Tier::Tee, Tier::TeeGpu, false);
        check(&[(POLICY, r#"{"min_tier":"open"}"#)], Tier::Open, Tier::Open, true);
        check(&[(POLICY, "{}")], Tier::Open, Tier::Open, false);
        for (one, other) in [("open", "tee"), ("tee", "open")] {
            let policy = format!(r#"{{"min_tier":"{other}"}}"#);
            check(&[(MIN_TIER, one), (POLICY, &policy)], Tier::Open, Tier::Tee, false);
        }
    }

    #[test]
    fn a_policy_is_read_whole() {
        let policy = r#"{"min_tier":"tee","max_age_s":300,"require":["up_to_date","intel_anchor","up_to_date"]}"#;
        let demand = asked(&[(POLICY, policy)], Tier::Open).expect("it can be read");
        assert_eq!(demand.max_age_s, Some(300));
        assert_eq!(demand.require, [Requirement::IntelAnchor, Requirement::UpToDate]);
        for requirement in Requirement::ALL {
            let policy = format!(r#"{{"require":["{}"]}}"#, requirement.name());
            let demand = asked(&[(POLICY, &policy)], Tier::Open).expect("it can be read");
            assert_eq!(demand.require, [requirement]);
        }
    }

    #[test]
    fn what_nobody_can_say_is_refused() {
        let long = format!(r#"{{"require":[{}]}}"#, [r#""gpu""#; 200].join(","));
        for (value, says) in [
            ("", "no JSON object"),
            ("tee", "no JSON object"),
            ("[]", "no JSON object"),
            (r#"["tee"]"#, "no JSON object"),
            ("{", "EOF"),
            (r#"{"min_tier":"tea"}"#, "unknown variant `tea`"),
            (r#"{"mintier":"tee"}"#, "unknown field `mintier`"),
            (r#"{"min_tier":"tee","min_tier":"open"}"#, "duplicate field"),
            (r#"{"max_age_s":-1}"#, "-1"),
            (r#"{"max_age_s":0}"#, "at least 1"),
            (r#"{"max_age_s":"300"}"#, "invalid type"),
            (r#"{"require":["tpm"]}"#, "cannot be required, expected one of"),
            (r#"{"require":"gpu"}"#, "invalid type"),
            (r#"{"min_tier":"tee"} {}"#, "trailing"),
            (&long, "bytes, more than"),
        ] {
            let refused = asked(&[(POLICY, value)], Tier::Open).expect_err(value);
            assert!(refused.contains(says), "{value}: {refused}");
        }
        let twice = [(POLICY, "{}"), (POLICY, r#"{"min_tier":"tee"}"#)];
        assert!(asked(&twice, Tier::Open).is_err_and(|error| error.contains("more than once")));
        for pairs in [
            &[(MIN_TIER, "TEE")][..],
            &[(MIN_TIER, "")],
            &[(MIN_TIER, "tee"), (MIN_TIER, "tee")],
        ] {
            assert!(asked(pairs, Tier::Open).is_err(), "{pairs:?}");
        }
    }
}
