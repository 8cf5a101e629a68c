//! The smallest instance of a JSON schema.
//!
//! Understands `const`, `enum`, `$ref` within the document, `anyOf`, `oneOf`, `allOf`, `type`,
//! required properties, `minItems`, `prefixItems`, `minLength`, the common `format`s, numeric
//! bounds and `multipleOf`.
//! Ignores `pattern`, `not` and conditions: an instance may break those.
//! A schema that would grow past a bound, by recursion or by size, gets `null` there.

use serde_json::{Map, Value};

const DEPTH: usize = 32;
const NODES: usize = 10_000;
const ITEMS: u64 = 256;
/// Bytes of a constant that count as one node.
const CONSTANT_BYTES: usize = 256;
const LETTERS: u64 = 4096;

pub(crate) fn instance(schema: &Value) -> Value {
    Builder { root: schema, nodes: 0 }.build(schema, 0)
}

struct Builder<'a> {
    root: &'a Value,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn build(&mut self, schema: &'a Value, depth: usize) -> Value {
        self.nodes += 1;
        if depth > DEPTH || self.nodes > NODES {
            return Value::Null;
        }
        if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)) {
            // A large constant, repeated, would outgrow its schema: it counts by its size.
            self.nodes += value.to_string().len() / CONSTANT_BYTES;
            return value.clone();
        }
        if let Some(target) = schema["$ref"].as_str().and_then(|name| self.target(name)) {
            return self.build(target, depth + 1);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(first) = schema[choice].get(0) {
                return self.build(first, depth + 1);
            }
        }
        if let Some(all) = schema["allOf"].as_array() {
            return self.merged(all, depth);
        }
        match kind(schema) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => Value::String(string(schema)),
            "integer" | "number" => number(schema),
            "boolean" => Value::Bool(true),
            _ => Value::Null,
        }
    }

    fn target(&self, name: &str) -> Option<&'a Value> {
        self.root.pointer(name.strip_prefix('#')?)
    }

    fn merged(&mut self, all: &'a [Value], depth: usize) -> Value {
        let mut whole = Map::new();
        let mut last = Value::Null;
        for part in all {
            match self.build(part, depth + 1) {
                Value::Object(fields) => whole.extend(fields),
                other => last = other,
            }
        }
        if whole.is_empty() { last } else { Value::Object(whole) }
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let mut fields = Map::new();
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        for name in required.iter().filter_map(Value::as_str) {
            let value = match schema["properties"].get(name) {
                Some(property) => self.build(property, depth + 1),
                None => Value::Null,
            };
            fields.insert(name.to_owned(), value);
        }
        Value::Object(fields)
    }

    fn array(&mut self, schema: &'a Value, depth: usize) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0).min(ITEMS);
        let first = schema["prefixItems"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut items: Vec<_> = first.iter().map(|item| self.build(item, depth + 1)).collect();
        while (items.len() as u64) < least {
            items.push(self.build(&schema["items"], depth + 1));
        }
        Value::Array(items)
    }
}

/// The type, or what the schema's other words imply.
fn kind(schema: &Value) -> &str {
    let named = match &schema["type"] {
        Value::String(one) => Some(one.as_str()),
        Value::Array(several) => several.iter().filter_map(Value::as_str).find(|one| *one != "null"),
        _ => None,
    };
    named.unwrap_or_else(|| match () {
        () if schema.get("properties").is_some() => "object",
        () if schema.get("items").is_some() => "array",
        () => "null",
    })
}

fn string(schema: &Value) -> String {
    let known = match schema["format"].as_str() {
        Some("date-time") => "2026-01-01T00:00:00Z",
        Some("date") => "2026-01-01",
        Some("time") => "00:00:00Z",
        Some("duration") => "PT0S",
        Some("email") => "a@example.com",
        Some("hostname") => "example.com",
        Some("ipv4") => "127.0.0.1",
        Some("ipv6") => "::1",
        Some("uuid") => "00000000-0000-4000-8000-000000000000",
        Some("uri") => "https://example.com/",
        _ => "text",
    };
    if schema.get("format").is_some() && known != "text" {
        return known.to_owned();
    }
    let least = schema["minLength"].as_u64().unwrap_or(0).min(LETTERS);
    let most = schema["maxLength"].as_u64().unwrap_or(u64::MAX);
    let length = least.max(known.len() as u64).min(most);
    let padding = std::iter::repeat('x');
    let length = usize::try_from(length).unwrap_or(known.len());
    known.chars().chain(padding).take(length).collect()
}

fn number(schema: &Value) -> Value {
    let bound = |name: &str| schema[name].as_f64();
    let whole = kind(schema) == "integer";
    let step = bound("multipleOf").filter(|step| *step > 0.0);
    let grain = step.unwrap_or(if whole { 1.0 } else { 0.5 });
    let mut value = 0.0_f64;
    if let Some(least) = bound("minimum") {
        value = value.max(least);
    }
    if let Some(least) = bound("exclusiveMinimum").filter(|least| value <= *least) {
        value = least + grain;
    }
    if let Some(most) = bound("maximum") {
        value = value.min(most);
    }
    if let Some(most) = bound("exclusiveMaximum").filter(|most| value >= *most) {
        value = most - grain;
    }
    if whole || step.is_some() {
        let down = bound("maximum").or_else(|| bound("exclusiveMaximum")).is_some() && value < 0.0;
        value = if down {
            (value / grain).floor()
        } else {
            (value / grain).ceil()
        } * grain;
    }
    if whole && value.abs() < 9e15 {
        return Value::from(value as i64);
    }
    Value::from(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, expected: &Value) {
        assert_eq!(instance(schema), *expected, "{schema}");
    }

    #[test]
    fn smallest_instances() {
        check(&json!({"const": [1]}), &json!([1]));
        check(&json!({"enum": ["b", "a"]}), &json!("b"));
        check(&json!({"type": "string"}), &json!("text"));
        check(&json!({"type": "string", "minLength": 6}), &json!("textxx"));
        check(&json!({"type": "string", "maxLength": 2}), &json!("te"));
        check(&json!({"type": "string", "format": "date"}), &json!("2026-01-01"));
        check(&json!({"type": "integer"}), &json!(0));
        check(&json!({"type": "integer", "minimum": 2.5}), &json!(3));
        check(&json!({"type": "integer", "exclusiveMinimum": 4}), &json!(5));
        check(&json!({"type": "integer", "maximum": -3}), &json!(-3));
        check(&json!({"type": "number", "exclusiveMinimum": 0}), &json!(0.5));
        check(&json!({"type": "integer", "minimum": 4, "multipleOf": 3}), &json!(6));
        check(&json!({"type": ["null", "boolean"]}), &json!(true));
        check(
            &json!({"type": "array", "items": {"type": "null"}, "minItems": 2}),
            &json!([null, null]),
        );
        check(
            &json!({
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"type": "string"}},
                "required": ["a"],
                "$defs": {"n": {"anyOf": [{"type": "number"}]}},
            }),
            &json!({"a": 0.0}),
        );
    }

    #[test]
    fn growth_is_bounded() {
        let endless = json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}});
        assert!(instance(&endless).is_object());
        let wide = json!({
            "type": "array", "minItems": 1_000_000, "items": {"$ref": "#"},
        });
        assert!(instance(&wide).to_string().len() < NODES * 600);
    }
}
