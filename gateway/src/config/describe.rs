//! The JSON Schema of the configuration, for editors: <https://json-schema.org/draft/2020-12>.
//!
//! It comes from the same fields as reading and printing, so that none can be missing.
//! It knows the shape of a file: keys, types, words, units, defaults.
//! It does not know what is checked across fields, nor what a reference will bring: `mulberry check` has the last word.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Config;
use super::decode::Decode;
use super::show::Shown;
use super::units::{Amount, Size, Timestamp};

/// A value whose schema is known.
pub(super) trait Describe {
    fn describe(definitions: &mut Definitions) -> Value;
}

/// The mappings described so far, each once, by name.
#[derive(Debug, Default)]
pub(super) struct Definitions(Map<String, Value>);

impl Definitions {
    /// A reference to the mapping called `name`, described by `build` if it is new.
    pub(super) fn mapping(&mut self, name: &str, build: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            // So that the definitions stand in the order in which a reader meets them.
            self.0.insert(name.to_owned(), Value::Null);
            let built = build(self);
            self.0.insert(name.to_owned(), built);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }
}

/// One mapping with a fixed list of keys, field by field.
pub(super) struct Mapping {
    description: String,
    properties: Map<String, Value>,
    required: Vec<&'static str>,
}

impl Mapping {
    pub(super) fn new(doc: &[&str]) -> Self {
        Self {
            description: sentence(doc),
            properties: Map::new(),
            required: Vec::new(),
        }
    }

    /// A field that must be there.
    pub(super) fn required<T: Describe>(&mut self, name: &'static str, doc: &[&str], definitions: &mut Definitions) {
        let schema = documented(T::describe(definitions), doc);
        self.properties.insert(name.to_owned(), schema);
        self.required.push(name);
    }

    /// A field that may be left out, and then is `default`.
    pub(super) fn or<T: Describe + Decode>(
        &mut self,
        name: &'static str,
        doc: &[&str],
        default: &Shown,
        definitions: &mut Definitions,
    ) {
        let mut schema = documented(nullable(T::describe(definitions)), doc);
        // The defaults of a mapping stand at its own keys.
        if !matches!(default, Shown::Map(_))
            && let Value::Object(schema) = &mut schema
        {
            schema.insert("default".to_owned(), plain(default));
        }
        self.properties.insert(name.to_owned(), schema);
    }

    /// One of several fields of which one must be there; see [`build`](Self::build).
    pub(super) fn alternative<T: Describe>(&mut self, name: &'static str, doc: &[&str], definitions: &mut Definitions) {
        let schema = documented(T::describe(definitions), doc);
        self.properties.insert(name.to_owned(), schema);
    }

    /// The schema, in which exactly one of the fields in `one_of` must be there.
    pub(super) fn build(self, one_of: &[&str]) -> Value {
        let mut schema = json!({ "type": "object" });
        if !self.description.is_empty() {
            schema["description"] = self.description.into();
        }
        schema["additionalProperties"] = false.into();
        if !self.required.is_empty() {
            schema["required"] = self.required.into();
        }
        if !one_of.is_empty() {
            let choices = one_of.iter().map(|name| json!({ "required": [name] }));
            schema["oneOf"] = choices.collect();
        }
        schema["properties"] = self.properties.into();
        schema
    }
}

/// The schema as a file.
pub(crate) fn document() -> String {
    let mut definitions = Definitions::default();
    definitions.0.insert(
        "Reference".to_owned(),
        json!({
            "description": "Text that holds ${NAME}, ${NAME:-default} or ${file:PATH}.",
            "type": "string",
            "pattern": "\\$\\{",
        }),
    );
    Config::describe(&mut definitions);
    let mut top = definitions.0.shift_remove("Config").unwrap_or_default();
    if let Value::Object(properties) = &mut top["properties"] {
        let schema = json!({ "description": "Where this schema is, for editors.", "type": "string" });
        properties.shift_insert(0, "$schema".to_owned(), schema);
    }
    let mut schema = Map::new();
    schema.insert(
        "$schema".to_owned(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    schema.insert("title".to_owned(), "The configuration of Mulberry".into());
    if let Value::Object(top) = top {
        schema.extend(top);
    }
    schema.insert("$defs".to_owned(), definitions.0.into());
    let mut text = serde_json::to_string_pretty(&schema).expect("a tree with text keys is always JSON");
    text.push('\n');
    text
}

/// The lines of a doc comment as text.
fn sentence(doc: &[&str]) -> String {
    let lines: Vec<&str> = doc.iter().map(|line| line.trim()).collect();
    lines.join("\n").replace('`', "")
}

/// The schema with the words of its field, which go before those of its type.
fn documented(mut schema: Value, doc: &[&str]) -> Value {
    let description = sentence(doc);
    if !description.is_empty() {
        schema["description"] = description.into();
    }
    schema
}

/// The same, or null, which TOML writes as the text `"null"`.
fn nullable(schema: Value) -> Value {
    let nothing = json!({ "enum": [null, "null"] });
    let Value::Object(mut schema) = schema else {
        return schema;
    };
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        if !choices.contains(&nothing) {
            choices.push(nothing);
        }
        return schema.into();
    }
    let types: Vec<Value> = match schema.get("type") {
        // Behind a reference nothing can be added.
        None => return json!({ "anyOf": [schema, nothing] }),
        Some(Value::Array(names)) => names.clone(),
        Some(name) => vec![name.clone()],
    };
    if !types.contains(&"null".into()) {
        if let Some(Value::String(pattern)) = schema.get_mut("pattern") {
            pattern.push_str("|^null$");
        }
        let types = types.into_iter().chain(["null".into()]).collect();
        schema.insert("type".to_owned(), Value::Array(types));
    }
    schema.into()
}

/// A default as JSON.
fn plain(shown: &Shown) -> Value {
    serde_json::from_str(&shown.document(super::Format::Json)).unwrap_or_default()
}

/// Text of this pattern, or of the types named, or with a reference in it.
pub(super) fn text(types: &[&str], pattern: &str) -> Value {
    let types: Value = match types {
        [] => "string".into(),
        types => types.iter().copied().chain(["string"]).collect(),
    };
    json!({ "type": types, "pattern": format!("{pattern}|\\$\\{{") })
}

/// A word of a list, or a reference.
pub(super) fn words(words: &[&str], doc: &[&str]) -> Value {
    json!({
        "description": sentence(doc),
        "anyOf": [{ "enum": words }, { "$ref": "#/$defs/Reference" }],
    })
}

/// Names of the operator's, each with a text.
pub(super) fn names(doc: &[&str]) -> Value {
    json!({
        "description": sentence(doc),
        "type": "object",
        "additionalProperties": any_text(),
    })
}

/// Text that is not empty; a number is read as it is written.
pub(super) fn any_text() -> Value {
    json!({ "type": ["string", "number"], "minLength": 1 })
}

impl Describe for String {
    fn describe(_: &mut Definitions) -> Value {
        any_text()
    }
}

impl Describe for PathBuf {
    fn describe(_: &mut Definitions) -> Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Describe for bool {
    fn describe(_: &mut Definitions) -> Value {
        text(&["boolean"], "^(true|True|TRUE|false|False|FALSE)$")
    }
}

impl Describe for u32 {
    fn describe(_: &mut Definitions) -> Value {
        let mut schema = text(&["integer"], "^[0-9]+$");
        schema["minimum"] = 0.into();
        schema["maximum"] = Self::MAX.into();
        schema
    }
}

impl Describe for Duration {
    fn describe(_: &mut Definitions) -> Value {
        text(&[], "^[0-9]+ *(ms|s|m|h)$")
    }
}

impl Describe for Size {
    fn describe(_: &mut Definitions) -> Value {
        let mut schema = text(&["integer"], "^0*[1-9][0-9]* *(B|KiB|MiB|GiB)?$");
        schema["minimum"] = 1.into();
        schema
    }
}

impl Describe for Timestamp {
    fn describe(_: &mut Definitions) -> Value {
        text(
            &[],
            "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?Z)?$",
        )
    }
}

impl Describe for Amount {
    fn describe(_: &mut Definitions) -> Value {
        let mut schema = text(&["number"], "^[0-9]+([.][0-9]{1,9})?$");
        schema["minimum"] = 0.into();
        schema
    }
}

impl Describe for SocketAddr {
    fn describe(_: &mut Definitions) -> Value {
        text(&[], "^([0-9.]+|\\[[0-9A-Fa-f:.%]+\\]):[0-9]{1,5}$")
    }
}

impl<T: Describe> Describe for Option<T> {
    fn describe(definitions: &mut Definitions) -> Value {
        nullable(T::describe(definitions))
    }
}

impl<T: Describe + Decode> Describe for Vec<T> {
    fn describe(definitions: &mut Definitions) -> Value {
        let list = json!({ "type": "array", "items": T::describe(definitions) });
        if T::IS_MAPPING {
            return list;
        }
        // A reference may bring words with commas between.
        json!({ "anyOf": [list, { "$ref": "#/$defs/Reference" }] })
    }
}
