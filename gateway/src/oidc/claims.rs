//! From claims to what they say: by name or path, and by the forms in which providers write lists.

use serde_json::{Map, Value};

/// The longest name of an account, in bytes; an e-mail address has at most 254.
const MAX_NAME: usize = 256;

/// The claim of this name; else the one that dots lead to, such as `realm_access.roles`.
///
/// Names with dots exist: `https://example.com/roles` is one.
pub(super) fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(claim) = claims.get(path) {
        return Some(claim);
    }
    let mut steps = path.split('.');
    let first = claims.get(steps.next()?)?;
    steps.try_fold(first, |value, step| value.as_object()?.get(step))
}

/// Whether a claim is this value, or holds it where it is a list or words with spaces between.
pub(super) fn holds(claim: &Value, value: &str) -> bool {
    match claim {
        Value::String(text) => text == value || text.split_whitespace().any(|word| word == value),
        Value::Array(items) => items.iter().any(|item| is(item, value)),
        other => is(other, value),
    }
}

fn is(claim: &Value, value: &str) -> bool {
    match claim {
        Value::String(text) => text == value,
        Value::Bool(claim) => claim.to_string() == value,
        Value::Number(claim) => claim.to_string() == value,
        _ => false,
    }
}

/// A claim that can name something: it will stand in records and in the operator's tables.
pub(super) fn name(claims: &Map<String, Value>, path: &str) -> Option<String> {
    let name = match find(claims, path)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_sane = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
    is_sane.then_some(name)
}

/// A time as RFC 7519 writes it: seconds since 1970, perhaps with a fraction.
pub(super) fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, ()> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    if let Some(seconds) = claim.as_u64() {
        return Ok(Some(seconds));
    }
    match claim.as_f64() {
        // A fraction is dropped, to the refusing side for an expiry.
        Some(seconds) if (0.0..1e15).contains(&seconds) => Ok(Some(seconds as u64)),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn paths_and_names_with_dots() {
        let claims = claims(json!({
            "sub": "1", "https://example.com/roles": ["a"], "a.b": 1,
            "realm_access": {"roles": ["x"]}, "a": {"b": 2, "c": {"d": true}},
        }));
        let check = |path: &str, expect: Option<Value>| assert_eq!(find(&claims, path), expect.as_ref(), "for {path}");
        check("sub", Some(json!("1")));
        check("https://example.com/roles", Some(json!(["a"])));
        check("realm_access.roles", Some(json!(["x"])));
        check("a.b", Some(json!(1)));
        check("a.c.d", Some(json!(true)));
        check("a.c.d.e", None);
        check("sub.x", None);
        check("", None);
    }

    #[test]
    fn lists_words_and_single_values() {
        let check =
            |claim: Value, value: &str, expect: bool| assert_eq!(holds(&claim, value), expect, "{claim} {value}");
        check(json!("research"), "research", true);
        check(json!("openid research"), "research", true);
        check(json!("two words"), "two words", true);
        check(json!("researcher"), "research", false);
        check(json!(["sales", "research"]), "research", true);
        check(json!(["sales research"]), "research", false);
        check(json!(true), "true", true);
        check(json!([7]), "7", true);
        check(json!({"research": 1}), "research", false);
        check(json!(null), "null", false);
    }

    #[test]
    fn names_that_can_stand_in_a_record() {
        let check = |claim: Value, expect: Option<&str>| {
            let name = name(&claims(json!({"n": claim})), "n");
            assert_eq!(name.as_deref(), expect, "for {claim}");
        };
        check(json!("alice@example.com"), Some("alice@example.com"));
        check(json!(42), Some("42"));
        check(json!(""), None);
        check(json!("a\nb"), None);
        check(json!("x".repeat(257)), None);
        check(json!(["a"]), None);
    }

    #[test]
    fn times() {
        let check = |claim: Value, expect: Result<Option<u64>, ()>| {
            assert_eq!(time(&claims(json!({"exp": claim})), "exp"), expect, "for {claim}");
        };
        check(json!(17), Ok(Some(17)));
        check(json!(17.9), Ok(Some(17)));
        check(json!(-1), Err(()));
        check(json!(1e300), Err(()));
        check(json!("17"), Err(()));
        assert_eq!(time(&Map::new(), "exp"), Ok(None));
    }
}
