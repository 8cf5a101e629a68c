//! `/v1/images/generations`: a PNG of one pixel, as base64.

use serde_json::{Value, json};

use crate::chat::choice_count;
use crate::journal::now_ms;
use crate::refusal::Refusal;

/// One transparent pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

pub(crate) fn unary(body: &Value) -> Result<Value, Refusal> {
    let prompt = body["prompt"].as_str().filter(|prompt| !prompt.is_empty());
    prompt.ok_or_else(|| Refusal::param("prompt", "`prompt` must be text."))?;
    if body["response_format"] == "url" {
        return Err(Refusal::param("response_format", "Only `b64_json` is served."));
    }
    let count = choice_count(body)?;
    let data = vec![json!({"b64_json": PIXEL}); count];
    Ok(json!({"created": now_ms() / 1000, "data": data}))
}
