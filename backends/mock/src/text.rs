//! The engine's words: what it says, how words are counted, where an answer is cut.

use serde_json::Value;

use crate::fault::Plan;
use crate::refusal::Refusal;

/// Words of the prompt that an answer repeats; a long prompt need not make a long answer.
const ECHO_WORDS: usize = 64;
/// All texts of one answer together; many choices could otherwise multiply a long one.
pub(crate) const MOST_BYTES: usize = 64 << 20;
/// Log probabilities take many times the room of their text.
const MOST_BYTES_WITH_LOGPROBS: usize = 256 << 10;
/// Entries of a list that are answered one by one.
const MOST_INPUTS: usize = 2048;
const SIZED_DEFAULT_TOKENS: usize = 16;

/// The answer to `prompt`, the same for the same prompt.
pub(crate) fn reply(prompt: &str) -> String {
    let words: Vec<_> = prompt.split_whitespace().take(ECHO_WORDS).collect();
    if words.is_empty() {
        return "I am the scripted engine of Mulberry, and you said nothing.".to_owned();
    }
    format!(
        "I am the scripted engine of Mulberry: no model runs here, and every word is known beforehand. \
         You said: {}",
        words.join(" ")
    )
}

/// The answer that a plan's `tokens-<n>` and `size-<bytes>` ask for, if they do.
pub(crate) fn sized(plan: &Plan) -> Option<String> {
    if plan.tokens.is_none() && plan.token_bytes.is_none() {
        return None;
    }
    let tokens = plan.tokens.unwrap_or(SIZED_DEFAULT_TOKENS);
    // Each but the last word is followed by the space that makes up its size.
    let bytes = plan.token_bytes.unwrap_or("token ".len());
    let word = if bytes == 1 {
        " x".to_owned()
    } else {
        format!(" {}", "x".repeat(bytes - 1))
    };
    Some(word.repeat(tokens))
}

/// Refuses an answer whose texts would be too large together.
pub(crate) fn check_size(bytes: usize, logprobs: bool) -> Result<(), Refusal> {
    let most = if logprobs { MOST_BYTES_WITH_LOGPROBS } else { MOST_BYTES };
    if bytes > most {
        return Err(Refusal::bad(format!("The answer would be over {most} bytes.")));
    }
    Ok(())
}

/// Refuses a list that is too long to answer one by one.
pub(crate) fn check_inputs(count: usize, param: &'static str) -> Result<(), Refusal> {
    if count > MOST_INPUTS {
        return Err(Refusal::param(
            param,
            format!("At most {MOST_INPUTS} are answered at once."),
        ));
    }
    Ok(())
}

/// A text in pieces of one word each, white space before its word; joined they are the text.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut in_word = false;
    for (at, letter) in text.char_indices() {
        let word = !letter.is_whitespace();
        if in_word && !word {
            pieces.push(&text[start..at]);
            start = at;
        }
        in_word = word;
    }
    if in_word || pieces.is_empty() {
        if start < text.len() {
            pieces.push(&text[start..]);
        }
    } else if let Some(last) = pieces.last_mut() {
        *last = &text[start - last.len()..];
    }
    pieces
}

pub(crate) fn count(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// Where an answer ends before its own end.
pub(crate) struct Limits {
    pub(crate) most_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
}

impl Limits {
    /// Reads `stop` and the first of the named token limits that is set.
    pub(crate) fn of_request(body: &Value, limits: &[&'static str]) -> Result<Self, Refusal> {
        let mut most_tokens = None;
        for &name in limits {
            match &body[name] {
                Value::Null => continue,
                value => match value.as_u64() {
                    Some(limit) if limit > 0 => {
                        most_tokens = most_tokens.or(usize::try_from(limit).ok());
                    }
                    _ => return Err(Refusal::param(name, format!("`{name}` must be at least 1."))),
                },
            }
        }
        let wrong = || Refusal::param("stop", "`stop` must be a string or a list of strings.");
        let stop = match &body["stop"] {
            Value::Null => Vec::new(),
            Value::String(one) => vec![one.clone()],
            Value::Array(several) => several
                .iter()
                .map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong))
                .collect::<Result<_, _>>()?,
            _ => return Err(wrong()),
        };
        Ok(Self { most_tokens, stop })
    }

    /// Cuts `text` and says why it ends there.
    pub(crate) fn cut(&self, mut text: String) -> (String, &'static str) {
        let stops = self.stop.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
            text.truncate(at);
        }
        let Some(most) = self.most_tokens else {
            return (text, "stop");
        };
        let pieces = pieces(&text);
        if pieces.len() <= most {
            return (text, "stop");
        }
        let kept = pieces[..most].iter().map(|piece| piece.len()).sum();
        text.truncate(kept);
        (text, "length")
    }
}

/// The text of a message's content, which is a string or a list of parts.
pub(crate) fn of_content(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<_> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            texts.join(" ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_words_and_join_to_the_text() {
        for text in ["", " ", "a", " a b ", "a  b\n\nc", "ü ß\t", "one two"] {
            let pieces = pieces(text);
            assert_eq!(pieces.concat(), text);
            if text.trim() != "" {
                assert_eq!(pieces.len() as u64, count(text), "{text:?}");
            }
        }
    }

    #[test]
    fn the_earlier_of_stop_and_length_cuts() {
        let cut = |most_tokens, stop: &[&str]| {
            let stop = stop.iter().map(|&stop| stop.to_owned()).collect();
            Limits { most_tokens, stop }.cut("one two three four".to_owned())
        };
        assert_eq!(cut(None, &[]), ("one two three four".to_owned(), "stop"));
        assert_eq!(cut(Some(4), &[]), ("one two three four".to_owned(), "stop"));
        assert_eq!(cut(Some(2), &[]), ("one two".to_owned(), "length"));
        assert_eq!(cut(Some(2), &["three", " two"]), ("one".to_owned(), "stop"));
        assert_eq!(cut(Some(1), &["three"]), ("one".to_owned(), "length"));
    }

    #[test]
    fn sized_answers_have_their_size() {
        let plan = Plan::of_model("fault/tokens-3+size-5").expect("a plan");
        let text = sized(&plan).expect("a text");
        assert_eq!(pieces(&text), [" xxxx"; 3]);
    }
}
