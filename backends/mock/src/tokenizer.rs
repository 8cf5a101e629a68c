//! `/tokenize` and `/detokenize`, as vLLM has them: words numbered in the order they are first seen.
//!
//! Counts agree with `usage`. A number means its word only within one run of the mock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::text;

/// Words come from outside; past this many, new ones are refused.
const MOST_WORDS: usize = 65_536;

#[derive(Default)]
pub(crate) struct Tokenizer(Mutex<Vocabulary>);

#[derive(Default)]
struct Vocabulary {
    pieces: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl Tokenizer {
    pub(crate) fn tokenize(&self, body: &Value) -> Result<Value, Refusal> {
        let prompt = match (&body["prompt"], &body["messages"]) {
            (Value::String(prompt), _) => prompt.clone(),
            (_, Value::Array(messages)) => {
                let texts = messages.iter().map(|message| text::of_content(&message["content"]));
                texts.collect::<Vec<_>>().join(" ")
            }
            _ => return Err(Refusal::param("prompt", "`prompt` or `messages` is needed.")),
        };
        let pieces = text::pieces(&prompt);
        let mut vocabulary = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens: Vec<_> = pieces
            .iter()
            .map(|piece| vocabulary.number(piece))
            .collect::<Result<_, _>>()?;
        let strings = (body["return_token_strs"] == true).then_some(pieces);
        Ok(json!({
            "count": tokens.len(), "max_model_len": 131_072, "tokens": tokens, "token_strs": strings,
        }))
    }

    pub(crate) fn detokenize(&self, body: &Value) -> Result<Value, Refusal> {
        let wrong = || Refusal::param("tokens", "`tokens` must be a list of numbers that /tokenize gave.");
        let tokens = body["tokens"].as_array().ok_or_else(wrong)?;
        let vocabulary = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut prompt = String::new();
        for token in tokens {
            let number = token.as_u64().and_then(|number| usize::try_from(number).ok());
            prompt += number
                .and_then(|number| vocabulary.pieces.get(number))
                .ok_or_else(wrong)?;
        }
        Ok(json!({"prompt": prompt}))
    }
}

impl Vocabulary {
    fn number(&mut self, piece: &str) -> Result<usize, Refusal> {
        if let Some(number) = self.numbers.get(piece) {
            return Ok(*number);
        }
        if self.pieces.len() == MOST_WORDS {
            return Err(Refusal::bad("This mock has seen too many different words."));
        }
        self.pieces.push(piece.to_owned());
        self.numbers.insert(piece.to_owned(), self.pieces.len() - 1);
        Ok(self.pieces.len() - 1)
    }
}
