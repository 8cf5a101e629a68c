//! The tokenizer of a model: loaded once, counts texts, remembers none.
//!
//! Texts come from strangers. They are counted in pieces of [`PIECE`] bytes with a look at the clock between them, so
//! that no text takes a core for long; a cut costs at most about a token, for whoever claims.
//! Tokenizers keep a cache of the words that they met: here it is off, for words are content.

use std::{collections::HashMap, fmt, fs, io::Read as _, path::PathBuf, sync::Arc, time::Instant};

use sha2::{Digest as _, Sha256};
use tiktoken_rs::CoreBPE;
use tokenizers::Tokenizer;

/// Why a tokenizer cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read '{path}'")]
    Read { path: String, source: std::io::Error },
    #[error("'{path}' is larger than {MAX_FILE} bytes, which no tokenizer is")]
    TooLarge { path: String },
    #[error("'{path}' is not a tokenizer.json")]
    Malformed {
        path: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The count was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
    /// It would have taken too long.
    Late,
    /// The tokenizer refused the text.
    Refused,
}

/// Ten times the largest that models come with.
const MAX_FILE: u64 = 256 * 1024 * 1024;
/// Bytes that are counted between two looks at the clock.
const PIECE: usize = 16 * 1024;
/// How far before its end a piece is searched for a better place to cut.
const REACH: usize = 1024;

/// Counts the tokens of texts as one model does.
pub(crate) enum Vocabulary {
    File(Box<Tokenizer>),
    BuiltIn(&'static CoreBPE),
}

impl Vocabulary {
    fn built_in(name: &str) -> Option<Self> {
        match name {
            "o200k_base" => Some(Self::BuiltIn(tiktoken_rs::o200k_base_singleton())),
            "cl100k_base" => Some(Self::BuiltIn(tiktoken_rs::cl100k_base_singleton())),
            _ => None,
        }
    }

    fn parse(path: &str, bytes: &[u8]) -> Result<Self, LoadError> {
        let malformed = |source| LoadError::Malformed {
            path: path.to_owned(),
            source,
        };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(malformed)?;
        let mut model = tokenizer.get_model().clone();
        model.resize_cache(0);
        tokenizer.with_model(model);
        // What is cut off or filled up is counted wrongly.
        tokenizer.with_truncation(None).map_err(malformed)?;
        tokenizer.with_padding(None);
        Ok(Self::File(Box::new(tokenizer)))
    }

    /// The tokens of a text, without those that a template adds.
    pub(super) fn count(&self, text: &str, until: Instant) -> Result<u64, Unfinished> {
        let mut tokens: u64 = 0;
        for piece in pieces(text) {
            if Instant::now() >= until {
                return Err(Unfinished::Late);
            }
            let counted = match self {
                Self::File(tokenizer) => tokenizer
                    .encode_fast(piece, false)
                    .map_err(|_| Unfinished::Refused)?
                    .len(),
                Self::BuiltIn(vocabulary) => vocabulary.encode_ordinary(piece).len(),
            };
            tokens = tokens.saturating_add(counted as u64);
        }
        Ok(tokens)
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vocabulary")
    }
}

/// A text in pieces, cut before a space where there is one.
fn pieces(mut rest: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if rest.len() <= PIECE {
            return (!rest.is_empty()).then(|| std::mem::take(&mut rest));
        }
        let end = rest.floor_char_boundary(PIECE);
        let from = rest.floor_char_boundary(PIECE - REACH);
        let is_word_end = |(at, _): &(usize, &str)| {
            rest[..from + at]
                .chars()
                .next_back()
                .is_some_and(|before| !before.is_whitespace())
        };
        let space = rest[from..end].rmatch_indices(' ').find(is_word_end);
        let (piece, left) = rest.split_at(space.map_or(end, |(at, _)| from + at));
        rest = left;
        Some(piece)
    })
}

/// The tokenizers of a configuration, by the name that it gives them.
#[derive(Default)]
pub(crate) struct Vocabularies(HashMap<String, Loaded>);

struct Loaded {
    vocabulary: Arc<Vocabulary>,
    /// Of the file.
    digest: Option<[u8; 32]>,
}

impl Vocabularies {
    /// Loads what `names` name; what stands in `before` and has not changed is taken over.
    pub(crate) fn load<'a>(names: impl Iterator<Item = &'a str>, before: &Self) -> Result<Self, LoadError> {
        let mut loaded = HashMap::new();
        for name in names {
            if !loaded.contains_key(name) {
                loaded.insert(name.to_owned(), Loaded::read(name, before.0.get(name))?);
            }
        }
        Ok(Self(loaded))
    }

    pub(crate) fn of(&self, name: &str) -> Option<Arc<Vocabulary>> {
        self.0.get(name).map(|loaded| loaded.vocabulary.clone())
    }
}

impl fmt::Debug for Vocabularies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Loaded {
    fn read(name: &str, before: Option<&Self>) -> Result<Self, LoadError> {
        if let Some(vocabulary) = Vocabulary::built_in(name) {
            return Ok(Self {
                vocabulary: Arc::new(vocabulary),
                digest: None,
            });
        }
        let failed = |source| LoadError::Read {
            path: name.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = fs::File::open(PathBuf::from(name)).map_err(failed)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(LoadError::TooLarge { path: name.to_owned() });
        }
        let digest = Some(Sha256::digest(&bytes).into());
        let vocabulary = match before {
            Some(same) if same.digest == digest => same.vocabulary.clone(),
            _ => Arc::new(Vocabulary::parse(name, &bytes)?),
        };
        Ok(Self { vocabulary, digest })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    pub(in crate::recount) fn o200k() -> Vocabulary {
        Vocabulary::built_in("o200k_base").expect("is built in")
    }

    fn check(vocabulary: &Vocabulary, text: &str, expect: u64) {
        assert_eq!(vocabulary.count(text, later()), Ok(expect), "for {text:?}");
    }

    /// What OpenAI's own tokenizer says.
    #[test]
    fn the_vocabularies_of_openai() {
        let o200k = o200k();
        check(&o200k, "", 0);
        check(&o200k, "hello world", 2);
        check(&o200k, "tiktoken is great!", 6);
        check(&o200k, "お誕生日おめでとう", 8);
        // Words that mean something to a template are text like any other.
        check(&o200k, "<|endoftext|>", 7);
        let cl100k = Vocabulary::built_in("cl100k_base").expect("is built in");
        check(&cl100k, "tiktoken is great!", 6);
        check(&cl100k, "お誕生日おめでとう", 9);
        check(&cl100k, "antidisestablishmentarianism", 6);
        assert!(Vocabulary::built_in("r50k_base").is_none());
    }

    /// A tokenizer of one word for each word, and `[UNK]`.
    pub(in crate::recount) const WORDS: &str = r#"{
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2}, "unk_token": "[UNK]"}
    }"#;

    /// Byte-level BPE, as Llama 3's and Qwen's are.
    const BYTE_LEVEL: &str = r#"{
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
        "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
            "vocab": {"h": 0, "e": 1, "l": 2, "o": 3, "Ġ": 4, "ll": 5, "he": 6, "hell": 7, "hello": 8, "Ġhello": 9, "!": 10, "Ġh": 11},
            "merges": [["l", "l"], ["h", "e"], ["he", "ll"], ["hell", "o"], ["Ġ", "hello"]]}
    }"#;

    fn file(content: &str) -> Vocabulary {
        Vocabulary::parse("test", content.as_bytes()).expect("reads")
    }

    #[test]
    fn files_of_models() {
        let words = file(WORDS);
        check(&words, "a b a c", 4);
        let bpe = file(BYTE_LEVEL);
        check(&bpe, "hello hello!", 3);
        check(&bpe, "hell", 1);
        check(&bpe, " hell", 2);
    }

    #[test]
    fn long_texts_are_counted_in_pieces() {
        let text = "a ".repeat(100_000);
        let cut: Vec<&str> = pieces(&text).collect();
        assert!(cut.len() > 10 && cut.iter().all(|piece| piece.len() <= PIECE));
        assert_eq!(cut.concat(), text);
        assert!(cut[1..].iter().all(|piece| piece.starts_with(' ')));
        let endless = "é".repeat(PIECE);
        assert_eq!(pieces(&endless).collect::<String>(), endless);
        assert!(pieces(&endless).all(|piece| piece.len() <= PIECE));
        check(&file(WORDS), &text, 100_000);
        let prose = "The quick brown fox jumps over the lazy dog. ".repeat(2_000);
        let Vocabulary::BuiltIn(whole) = o200k() else {
            panic!("is built in");
        };
        let whole = whole.encode_ordinary(&prose).len() as u64;
        check(&o200k(), &prose, whole);
    }

    #[test]
    fn a_count_ends_in_time() {
        let counted = o200k().count("a", Instant::now());
        assert_eq!(counted, Err(Unfinished::Late));
    }

    #[test]
    fn what_is_no_tokenizer_is_refused() {
        let none = Vocabularies::default();
        let load = |name: &str| Vocabularies::load([name].into_iter(), &none);
        assert!(matches!(load("/nowhere/tokenizer.json"), Err(LoadError::Read { .. })));
        let malformed = Vocabulary::parse("x", b"{\"prompt\":\"tell nobody\"}");
        assert!(matches!(malformed, Err(LoadError::Malformed { .. })));
        assert!(load("o200k_base").expect("is built in").of("o200k_base").is_some());
    }
}
