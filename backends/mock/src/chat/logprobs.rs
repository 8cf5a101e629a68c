//! Log probabilities: invented, but the same for the same word, and ordered as real ones are.

use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::text;

const MOST_ALTERNATIVES: u64 = 20;

/// How many alternatives the request wants, if it wants log probabilities at all.
pub(super) fn wanted(body: &Value) -> Result<Option<usize>, Refusal> {
    let wrong = || {
        Refusal::param(
            "top_logprobs",
            "`top_logprobs` must be between 0 and 20, with `logprobs`.",
        )
    };
    let asked = body["logprobs"] == true;
    match &body["top_logprobs"] {
        Value::Null => Ok(asked.then_some(0)),
        count => {
            let count = count.as_u64().filter(|count| asked && *count <= MOST_ALTERNATIVES);
            let count = count.and_then(|count| usize::try_from(count).ok());
            count.map(Some).ok_or_else(wrong)
        }
    }
}

pub(super) fn of_text(text: &str, alternatives: usize) -> Value {
    let content: Vec<_> = text::pieces(text)
        .into_iter()
        .map(|piece| of_piece(piece, alternatives))
        .collect();
    json!({"content": content, "refusal": null})
}

fn of_piece(piece: &str, alternatives: usize) -> Value {
    let one = |token: &str, logprob: f64| json!({"token": token, "logprob": logprob, "bytes": token.as_bytes()});
    let likely = surprise(piece);
    let mut entry = one(piece, likely);
    let others: Vec<_> = (0..alternatives)
        .map(|rank| match rank {
            0 => one(piece, likely),
            rank => one(&format!("{piece}~{rank}"), likely - rank as f64),
        })
        .collect();
    entry["top_logprobs"] = others.into();
    entry
}

/// A log probability between -1 and 0 that depends on the word alone.
pub(crate) fn surprise(piece: &str) -> f64 {
    let sum: u32 = piece.bytes().map(u32::from).sum();
    -f64::from(sum % 100) / 100.0
}
