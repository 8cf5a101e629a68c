//! The model list: `GET /v1/models` and `GET /v1/models/{id}`.

use serde::{Deserialize, Serialize};

/// One model. The four members are required by OpenAI's document (schema `Model`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    pub id: String,
    #[serde(default = "object_model")]
    pub object: String,
    /// Unix seconds; llama-cpp-python leaves it out, so that 0 stands in.
    #[serde(default)]
    pub created: u64,
    #[serde(default)]
    pub owned_by: String,
    /// What protects prompts where it is served; never what an upstream says of itself.
    #[serde(flatten, skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub protection: Option<Protection>,
}

/// The tiers of those who serve a model now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Protection {
    /// The highest; `None` while nobody serves it.
    pub tier: Option<&'static str>,
    /// The lowest first.
    pub tiers: Vec<&'static str>,
}

impl Model {
    pub fn new(id: impl Into<String>, created: u64, owned_by: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            object: object_model(),
            created,
            owned_by: owned_by.into(),
            protection: None,
        }
    }
}

/// A page of models; there is only ever one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelList {
    pub object: &'static str,
    pub data: Vec<Model>,
}

impl ModelList {
    pub fn new(data: Vec<Model>) -> Self {
        Self { object: "list", data }
    }

    /// Reads an upstream's list, skipping entries that are no models.
    ///
    /// Accepts `{"data": [...]}` and Ollama's and llama.cpp's `{"models": [{"name"}]}`.
    pub fn from_upstream(body: &[u8]) -> Option<Vec<Model>> {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        if let Some(data) = value.get("data").and_then(|data| data.as_array()) {
            let models = data.iter().filter_map(|model| Model::deserialize(model).ok());
            return Some(models.collect());
        }
        let named = value.get("models")?.as_array()?.iter();
        let names = named.filter_map(|model| model.get("name")?.as_str());
        Some(names.map(|name| Model::new(name, 0, "")).collect())
    }
}

fn object_model() -> String {
    "model".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists_that_leave_things_out() {
        let models =
            ModelList::from_upstream(br#"{"data":[{"id":"a"},{"id":"b","created":7,"owned_by":"x","x":1},{"no":1}]}"#);
        assert_eq!(models, Some(vec![Model::new("a", 0, ""), Model::new("b", 7, "x")]));
        assert_eq!(
            ModelList::from_upstream(br#"{"data":[{"id":"a","tier":"tee+gpu","tiers":["tee+gpu"]}]}"#),
            Some(vec![Model::new("a", 0, "")]),
            "an upstream's word of its own tier is none"
        );
        assert_eq!(
            ModelList::from_upstream(br#"{"models":[{"name":"llama3:8b"}]}"#),
            Some(vec![Model::new("llama3:8b", 0, "")])
        );
        assert_eq!(ModelList::from_upstream(b"<html>"), None);
    }
}
