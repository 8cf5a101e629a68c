//! `/v1/embeddings`: unit vectors drawn from a hash of the text, as floats or base64.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fault::{Fault, Plan};
use crate::refusal::Refusal;
use crate::text;

const DIMENSIONS: u64 = 16;
const MOST_DIMENSIONS: u64 = 4096;

pub(crate) fn unary(body: &Value, plan: &Plan) -> Result<Value, Refusal> {
    let inputs = inputs(&body["input"])?;
    text::check_inputs(inputs.len(), "input")?;
    let dimensions = match &body["dimensions"] {
        Value::Null => DIMENSIONS,
        count => count
            .as_u64()
            .filter(|count| (1..=MOST_DIMENSIONS).contains(count))
            .ok_or_else(|| Refusal::param("dimensions", "`dimensions` must be between 1 and 4096."))?,
    };
    let base64 = match body["encoding_format"].as_str() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Refusal::param("encoding_format", "Must be `float` or `base64`.")),
    };
    let data: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, input)| {
            let vector = vector(&input.text, dimensions);
            let embedding = if base64 {
                let bytes: Vec<_> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
                Value::String(encode_base64(&bytes))
            } else {
                vector.into()
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens: u64 = inputs.iter().map(|input| input.tokens).sum();
    let mut whole = json!({"object": "list", "data": data, "model": body["model"]});
    if !plan.has(Fault::NoUsage) {
        whole["usage"] = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    }
    Ok(whole)
}

struct Input {
    text: String,
    tokens: u64,
}

fn inputs(input: &Value) -> Result<Vec<Input>, Refusal> {
    let wrong = || Refusal::param("input", "`input` must be text, token ids, or a list of either.");
    let one = |input: &Value| match input {
        Value::String(text) => Ok(Input {
            text: text.clone(),
            tokens: text::count(text),
        }),
        Value::Array(ids) if !ids.is_empty() && ids.iter().all(Value::is_u64) => Ok(Input {
            text: input.to_string(),
            tokens: ids.len() as u64,
        }),
        _ => Err(wrong()),
    };
    match input {
        Value::Array(several) if several.is_empty() => Err(wrong()),
        Value::Array(several) if !several.iter().all(Value::is_u64) => several.iter().map(one).collect(),
        _ => Ok(vec![one(input)?]),
    }
}

fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    let seed = Sha256::digest(text);
    let raw: Vec<f32> = (0..dimensions)
        .map(|place| {
            let hash = Sha256::new()
                .chain_update(seed)
                .chain_update(place.to_le_bytes())
                .finalize();
            f32::from(i16::from_le_bytes([hash[0], hash[1]])) + 0.5
        })
        .collect();
    // Never zero: each part is at least a half away from it.
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.into_iter().map(|x| x / length).collect()
}

/// RFC 4648, section 4.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            if place <= three.len() {
                let letter = bits >> (18 - 6 * place) & 63;
                text.push(char::from(LETTERS[letter as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode_base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn vectors_are_units_and_differ() {
        let one = vector("one", 32);
        let length: f32 = one.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-4, "{length}");
        assert_ne!(one, vector("two", 32));
        assert_eq!(one, vector("one", 32));
    }
}
