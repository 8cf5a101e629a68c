//! Tool calls in deltas: clients need an `index` in each and a name in the first only.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::Facts;

/// The tool calls begun so far, per choice. A stream has a handful.
#[derive(Debug, Default)]
pub(super) struct State {
    calls: Vec<Call>,
}

#[derive(Debug)]
struct Call {
    choice: u64,
    index: u64,
    id: Option<String>,
    is_named: bool,
}

/// More calls than any model makes; a liar's list must not grow without end.
const MAX_CALLS: usize = 1024;

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Piece<'a>>>,
}

#[derive(Deserialize)]
struct Piece<'a> {
    index: Option<u64>,
    id: Option<String>,
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

/// What one piece of a call must become.
struct Repair {
    index: u64,
    drop_name: bool,
}

impl State {
    /// Reads a chunk with tool calls; answers the whole event anew where it needs repair.
    pub(super) fn read(&mut self, data: &[u8], facts: &mut Facts) -> Option<Bytes> {
        let chunk: Chunk<'_> = serde_json::from_slice(data).ok()?;
        let mut repairs = Vec::new();
        let mut is_broken = false;
        for choice in &chunk.choices {
            let pieces = choice
                .delta
                .as_ref()
                .and_then(|delta| delta.tool_calls.as_deref())
                .unwrap_or_default();
            for piece in pieces {
                let arguments = piece.function.as_ref().and_then(|function| function.arguments);
                let len = arguments.map_or(0, |arguments| arguments.get().len().saturating_sub(2) as u64);
                facts.text_len += len;
                facts.deltas += u64::from(len > 0);
                let repair = self.piece(choice.index, piece);
                is_broken |= repair.drop_name || piece.index != Some(repair.index);
                repairs.push(repair);
            }
        }
        if is_broken { rewrite(data, &repairs) } else { None }
    }

    fn piece(&mut self, choice: u64, piece: &Piece<'_>) -> Repair {
        let name = piece.function.as_ref().and_then(|function| function.name);
        let has_name = name.is_some_and(|name| !matches!(name.get(), "null" | r#""""#));
        let mut index = piece
            .index
            .unwrap_or_else(|| self.index_of(choice, piece.id.as_deref()));
        if has_name && self.is_another(choice, index, piece.id.as_deref()) {
            // A new call under an index that is taken: some servers number every call 0.
            index = self.index_of(choice, piece.id.as_deref());
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
                id: piece.id.clone(),
                is_named: has_name,
            });
        }
        Repair {
            index,
            drop_name: false,
        }
    }

    /// Whether the call at an index has an id, and not this one.
    fn is_another(&self, choice: u64, index: u64, id: Option<&str>) -> bool {
        let call = self
            .calls
            .iter()
            .find(|call| call.choice == choice && call.index == index);
        let known = call.and_then(|call| call.id.as_deref());
        matches!((known, id), (Some(known), Some(id)) if known != id)
    }

    /// The index of a piece that has none: that of the call with its id, a new one for a new id, else the last.
    fn index_of(&self, choice: u64, id: Option<&str>) -> u64 {
        let of_choice = self.calls.iter().filter(|call| call.choice == choice);
        let next = of_choice
            .clone()
            .map(|call| call.index.saturating_add(1))
            .max()
            .unwrap_or(0);
        match id {
            Some(id) => of_choice
                .clone()
                .find(|call| call.id.as_deref() == Some(id))
                .map_or(next, |call| call.index),
            None => next.saturating_sub(1),
        }
    }
}

fn rewrite(data: &[u8], repairs: &[Repair]) -> Option<Bytes> {
    let mut chunk: Value = serde_json::from_slice(data).ok()?;
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
