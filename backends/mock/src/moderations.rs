//! `/v1/moderations`: a text is flagged where it holds the word `violence`.

use serde_json::{Map, Value, json};

use crate::refusal::Refusal;
use crate::text;

const CATEGORIES: &[&str] = &[
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

pub(crate) fn unary(body: &Value, id: u64) -> Result<Value, Refusal> {
    let texts = match &body["input"] {
        Value::String(text) => vec![text.clone()],
        // A list of parts is one input; a list of texts is several.
        Value::Array(parts) if parts.iter().any(Value::is_object) => vec![text::of_content(&body["input"])],
        Value::Array(texts) if !texts.is_empty() => texts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => {
            return Err(Refusal::param(
                "input",
                "`input` must be text, or a list of texts or parts.",
            ));
        }
    };
    text::check_inputs(texts.len(), "input")?;
    let results: Vec<_> = texts.iter().map(|text| result(text)).collect();
    Ok(json!({"id": format!("modr-mock-{id}"), "model": body["model"], "results": results}))
}

fn result(text: &str) -> Value {
    let flagged = text.to_lowercase().contains("violence");
    let mut categories = Map::new();
    let mut scores = Map::new();
    let mut kinds = Map::new();
    for &category in CATEGORIES {
        let hit = flagged && category == "violence";
        categories.insert(category.to_owned(), hit.into());
        scores.insert(category.to_owned(), if hit { 0.9 } else { 0.01 }.into());
        kinds.insert(category.to_owned(), json!(["text"]));
    }
    json!({
        "flagged": flagged, "categories": categories,
        "category_scores": scores, "category_applied_input_types": kinds,
    })
}
