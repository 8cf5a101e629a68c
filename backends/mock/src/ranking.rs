//! `/v1/rerank` and `/v1/score`: relevance is the share of the query's words that a text holds.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::text;

/// Words of a query that are looked for.
const QUERY_WORDS: usize = 1024;

pub(crate) fn rerank(body: &Value, id: u64) -> Result<Value, Refusal> {
    let query = body["query"]
        .as_str()
        .ok_or_else(|| Refusal::param("query", "`query` must be text."))?;
    let documents = body["documents"]
        .as_array()
        .ok_or_else(|| Refusal::param("documents", "`documents` must be a list."))?;
    text::check_inputs(documents.len(), "documents")?;
    let texts: Vec<_> = documents
        .iter()
        .map(|document| {
            document
                .as_str()
                .or_else(|| document["text"].as_str())
                .unwrap_or_default()
        })
        .collect();
    let mut results: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(at, text)| (at, relevance(query, text)))
        .collect();
    results.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    if let Some(most) = body["top_n"].as_u64().and_then(|most| usize::try_from(most).ok()) {
        results.truncate(most);
    }
    let results: Vec<_> = results
        .into_iter()
        .map(|(index, score)| json!({"index": index, "relevance_score": score, "document": {"text": texts[index]}}))
        .collect();
    let tokens = text::count(query) + texts.iter().map(|text| text::count(text)).sum::<u64>();
    Ok(json!({
        "id": format!("rerank-mock-{id}"), "model": body["model"], "results": results,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
}

/// vLLM's: one text against one or several, or several against as many.
pub(crate) fn score(body: &Value, id: u64) -> Result<Value, Refusal> {
    let first = texts(&body["text_1"], "text_1")?;
    let second = texts(&body["text_2"], "text_2")?;
    if first.len() != 1 && first.len() != second.len() {
        return Err(Refusal::param(
            "text_1",
            "`text_1` must be one text, or as many as `text_2`.",
        ));
    }
    let pairs = second
        .iter()
        .enumerate()
        .map(|(at, text)| (first[at % first.len()], *text));
    let data: Vec<_> = pairs
        .enumerate()
        .map(|(index, (one, other))| json!({"index": index, "object": "score", "score": relevance(one, other)}))
        .collect();
    let tokens: u64 = first.iter().chain(&second).map(|text| text::count(text)).sum();
    Ok(json!({
        "id": format!("score-mock-{id}"), "object": "list", "model": body["model"], "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }))
}

fn texts<'a>(value: &'a Value, name: &'static str) -> Result<Vec<&'a str>, Refusal> {
    let texts: Vec<_> = match value {
        Value::String(text) => vec![text.as_str()],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if texts.is_empty() {
        return Err(Refusal::param(
            name,
            format!("`{name}` must be text or a list of texts."),
        ));
    }
    text::check_inputs(texts.len(), name)?;
    Ok(texts)
}

fn relevance(query: &str, text: &str) -> f64 {
    let held: HashSet<_> = text.split_whitespace().map(str::to_lowercase).collect();
    let wanted = query.split_whitespace().take(QUERY_WORDS);
    let wanted: Vec<_> = wanted.map(str::to_lowercase).collect();
    let found = wanted.iter().filter(|word| held.contains(*word)).count();
    found as f64 / wanted.len().max(1) as f64
}
