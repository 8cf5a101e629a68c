//! Values of get-methods in toncenter's two forms: pairs of kind and value outside, objects with `@type` inside tuples.

use num_bigint::BigInt;
use serde_json::{Value as Json, json};
use tycho_types::boc::Boc;
use tycho_types::cell::Cell;

use super::failure::Failure;
use super::form;
use super::parameters::base64_bytes;
use crate::machine::Value;

/// No method that a client calls has so many arguments.
const MAX_ARGUMENTS: usize = 255;

/// Arguments: `["num", 5]`, `["num", "0x5"]`, `["tvm.Cell", boc]`, `["tvm.Slice", boc]`, `["tvm.Builder", boc]`,
/// `["null"]`.
pub(super) fn read(stack: Option<&Json>) -> Result<Vec<Value>, Failure> {
    let malformed = || {
        Failure::Parameter(
            "stack must be a list of pairs of kind (num, tvm.Cell, tvm.Slice, tvm.Builder, null) and value".to_owned(),
        )
    };
    let entries = match stack {
        None => return Ok(Vec::new()),
        Some(Json::Array(entries)) if entries.len() <= MAX_ARGUMENTS => entries,
        Some(_) => return Err(malformed()),
    };
    entries
        .iter()
        .map(|entry| {
            let kind = entry.get(0).and_then(Json::as_str)?;
            let value = entry.get(1);
            match kind {
                "null" => Some(Value::Null),
                "num" | "int" => integer(value?).map(Value::Int),
                "tvm.Cell" | "cell" => cell(value?).map(Value::Cell),
                "tvm.Slice" | "slice" => cell(value?).map(Value::Slice),
                "tvm.Builder" | "builder" => cell(value?).map(Value::Builder),
                _ => None,
            }
        })
        .collect::<Option<_>>()
        .ok_or_else(malformed)
}

fn integer(value: &Json) -> Option<BigInt> {
    let text = match value {
        Json::Number(number) => number.to_string(),
        Json::String(text) => text.clone(),
        _ => return None,
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.as_str()),
    };
    // Longer than 256 bits in any base, with room for zeros in front.
    if digits.len() > 100 {
        return None;
    }
    let number = match digits.strip_prefix("0x") {
        Some(digits) => BigInt::parse_bytes(digits.as_bytes(), 16)?,
        None => BigInt::parse_bytes(digits.as_bytes(), 10)?,
    };
    (number.bits() <= 256).then_some(if negative { -number } else { number })
}

fn cell(value: &Json) -> Option<Cell> {
    let text = value.as_str().or_else(|| value.get("bytes")?.as_str())?;
    Boc::decode(base64_bytes(text)?).ok()
}

pub(super) fn write(stack: &[Value]) -> Json {
    stack.iter().map(outer).collect()
}

fn outer(value: &Value) -> Json {
    match value {
        // TON writes an empty list where nothing is.
        Value::Null => json!(["list", { "@type": "tvm.list", "elements": [] }]),
        Value::NaN => json!(["num", "NaN"]),
        Value::Int(number) => json!(["num", hexadecimal(number)]),
        Value::Cell(cell) => json!(["cell", bytes("tvm.cell", cell)]),
        Value::Slice(cell) => json!(["slice", bytes("tvm.slice", cell)]),
        Value::Builder(cell) => json!(["builder", bytes("tvm.builder", cell)]),
        Value::Tuple(items) => json!(["tuple", tuple(items)]),
    }
}

fn inner(value: &Value) -> Json {
    match value {
        Value::Null => json!({ "@type": "tvm.stackEntryList", "list": { "@type": "tvm.list", "elements": [] } }),
        Value::NaN => number("NaN"),
        Value::Int(int) => number(&int.to_string()),
        Value::Cell(cell) => json!({ "@type": "tvm.stackEntryCell", "cell": bytes("tvm.cell", cell) }),
        Value::Slice(cell) => json!({ "@type": "tvm.stackEntrySlice", "slice": bytes("tvm.slice", cell) }),
        Value::Builder(cell) => json!({ "@type": "tvm.stackEntryBuilder", "builder": bytes("tvm.builder", cell) }),
        Value::Tuple(items) => json!({ "@type": "tvm.stackEntryTuple", "tuple": tuple(items) }),
    }
}

fn tuple(items: &[Value]) -> Json {
    json!({ "@type": "tvm.tuple", "elements": items.iter().map(inner).collect::<Vec<_>>() })
}

fn number(decimal: &str) -> Json {
    json!({ "@type": "tvm.stackEntryNumber", "number": { "@type": "tvm.numberDecimal", "number": decimal } })
}

fn bytes(kind: &str, cell: &Cell) -> Json {
    json!({ "@type": kind, "bytes": form::base64(Boc::encode(cell)) })
}

fn hexadecimal(number: &BigInt) -> String {
    let (sign, digits) = (number.sign(), number.magnitude());
    let minus = if sign == num_bigint::Sign::Minus { "-" } else { "" };
    format!("{minus}0x{digits:x}")
}
