//! Tool calls in deltas: clients need an `index` in each and a name in the first only.
//!
//! A chunk of more than [`MAX_PIECES`], or one to repair that is larger than [`MAX_REPAIR`], is refused: only those
//! who mean harm write one, and the work on it would be out of proportion.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{Facts, Fate, chunk::malformed};

/// The tool calls begun so far, per choice. A stream has a handful.
#[derive(Debug, Default)]
pub(super) struct State {
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    choice: u32,
    index: u64,
    id: Option<Id>,
    is_named: bool,
}

/// A digest of an id as it is written, for ids may be of any length. Whoever makes two collide mixes up its own calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Id(u64);

/// More calls than any model makes; a liar's list must not grow without end, nor the search in it take long.
const MAX_CALLS: usize = 256;
/// The most pieces of calls in one chunk.
const MAX_PIECES: usize = 256;
/// Bytes of what models write around a call, beside its name and arguments.
const MARKUP: u64 = 64;
/// The largest event that is written anew, in bytes: that takes many times its size for a moment.
const MAX_REPAIR: usize = 256 * 1024;

#[derive(Deserialize)]
struct Piece<'a> {
    #[serde(borrow)]
    index: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// The pieces of one choice; one more than [`MAX_PIECES`] stands for any larger number.
struct Pieces<'a>(Vec<Piece<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Pieces<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Pieces<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("tool calls")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pieces<'de>, A::Error> {
                let mut pieces = Vec::new();
                while pieces.len() <= MAX_PIECES {
                    match seq.next_element()? {
                        Some(piece) => pieces.push(piece),
                        None => return Ok(Pieces(pieces)),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Pieces(pieces))
            }
        }
        deserializer.deserialize_seq(Bounded)
    }
}

/// What one piece of a call must become.
struct Repair {
    index: u64,
    drop_name: bool,
}

impl State {
    /// Reads the tool calls of a chunk, each with the index of its choice; answers the whole event anew where it
    /// needs repair.
    pub(super) fn read(&mut self, data: &str, tools: &[(u32, &RawValue)], facts: &mut Facts) -> Fate {
        let mut repairs = Vec::new();
        let mut is_broken = false;
        for (choice, tools) in tools {
            let Ok(Pieces(pieces)) = serde_json::from_str(tools.get()) else {
                // Of an unknown make, which is the client's business.
                return Fate::Keep;
            };
            if repairs.len() + pieces.len() > MAX_PIECES {
                return malformed();
            }
            for piece in &pieces {
                let arguments = piece.function.as_ref().and_then(|function| function.arguments);
                let len = arguments.map_or(0, |arguments| arguments.get().len().saturating_sub(2) as u64);
                facts.text_len += len;
                facts.deltas += u64::from(len > 0);
                let name = piece.function.as_ref().and_then(|function| function.name);
                let name = name.filter(|name| !matches!(name.get(), "null" | r#""""#));
                facts.markup_len += name.map_or(0, |name| name.get().len() as u64 + MARKUP);
                let repair = self.piece(*choice, piece);
                is_broken |= repair.drop_name || piece.index() != Some(repair.index);
                repairs.push(repair);
            }
        }
        if !is_broken {
            return Fate::Keep;
        }
        if data.len() > MAX_REPAIR {
            return malformed();
        }
        rewrite(data, &repairs).map_or(Fate::Keep, Fate::Replace)
    }

    fn piece(&mut self, choice: u32, piece: &Piece<'_>) -> Repair {
        let name = piece.function.as_ref().and_then(|function| function.name);
        let has_name = name.is_some_and(|name| !matches!(name.get(), "null" | r#""""#));
        let id = piece.id();
        let mut index = piece.index().unwrap_or_else(|| self.index_of(choice, id));
        if has_name && self.is_another(choice, index, id) {
            // A new call under an index that is taken: some servers number every call 0.
            index = self.index_of(choice, id);
        }
        if let Some(call) = self
            .calls
            .iter_mut()
            .find(|call| call.choice == choice && call.index == index)
        {
            let drop_name = call.is_named && has_name;
            call.is_named |= has_name;
            return Repair { index, drop_name };
        }
        if self.calls.len() < MAX_CALLS {
            self.calls.push(Call {
                choice,
                index,
                id,
                is_named: has_name,
            });
        }
        Repair {
            index,
            drop_name: false,
        }
    }

    /// Whether the call at an index has an id, and not this one.
    fn is_another(&self, choice: u32, index: u64, id: Option<Id>) -> bool {
        let call = self
            .calls
            .iter()
            .find(|call| call.choice == choice && call.index == index);
        let known = call.and_then(|call| call.id);
        matches!((known, id), (Some(known), Some(id)) if known != id)
    }

    /// The index of a piece that has none: that of the call with its id, a new one for a new id, else the last.
    fn index_of(&self, choice: u32, id: Option<Id>) -> u64 {
        let of_choice = self.calls.iter().filter(|call| call.choice == choice);
        let next = of_choice
            .clone()
            .map(|call| call.index.saturating_add(1))
            .max()
            .unwrap_or(0);
        match id {
            Some(id) => of_choice
                .clone()
                .find(|call| call.id == Some(id))
                .map_or(next, |call| call.index),
            None => next.saturating_sub(1),
        }
    }
}

impl Piece<'_> {
    fn index(&self) -> Option<u64> {
        self.index?.get().parse().ok()
    }

    fn id(&self) -> Option<Id> {
        let id = self.id?.get();
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        id.starts_with('"').then(|| Id(hasher.finish()))
    }
}

fn rewrite(data: &str, repairs: &[Repair]) -> Option<Bytes> {
    let mut chunk: Value = serde_json::from_str(data).ok()?;
    let mut repairs = repairs.iter();
    for choice in chunk.get_mut("choices")?.as_array_mut()? {
        let Some(pieces) = choice.pointer_mut("/delta/tool_calls").and_then(Value::as_array_mut) else {
            continue;
        };
        for piece in pieces {
            let (Some(piece), Some(repair)) = (piece.as_object_mut(), repairs.next()) else {
                continue;
            };
            piece.insert("index".to_owned(), repair.index.into());
            if repair.drop_name {
                piece.shift_remove("id");
                piece.shift_remove("type");
                if let Some(function) = piece.get_mut("function").and_then(Value::as_object_mut) {
                    function.shift_remove("name");
                }
            }
        }
    }
    Some(Bytes::from(format!("data: {chunk}\n\n")))
}
